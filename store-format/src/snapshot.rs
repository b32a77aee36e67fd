//! The latest compilation of a crate, in the words that `why-miss` compares: what each component of
//! the key was called and what its value was.

use crate::FormatError;
use crate::wire::{Reader, Writer};

/// Version of the encoding of snapshots.
pub const SNAPSHOT_VERSION: u8 = 1;
/// Most parts of one snapshot.
pub const SNAPSHOT_PARTS_MAX: usize = 65_536;
/// Most bytes in a label or a value; longer ones are cut by who makes them.
pub const SNAPSHOT_TEXT_BYTES_MAX: usize = 4096;

/// One component: an argument, a file, a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPart {
    pub label: Vec<u8>,
    /// The value as text where it is short, else a digest's first bytes.
    pub value: Vec<u8>,
}

/// The parts in the order of the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub parts: Vec<SnapshotPart>,
}

impl Snapshot {
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(SNAPSHOT_VERSION);
        writer.count(self.parts.len());
        for part in &self.parts {
            writer.bytes(&part.label);
            writer.bytes(&part.value);
        }
        writer.finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != SNAPSHOT_VERSION {
            return Err(FormatError::Version { found: version.into() });
        }
        let count = reader.count(SNAPSHOT_PARTS_MAX, 2)?;
        let mut parts = Vec::with_capacity(count);
        for _ in 0..count {
            parts.push(SnapshotPart {
                label: reader.bytes(SNAPSHOT_TEXT_BYTES_MAX)?.to_vec(),
                value: reader.bytes(SNAPSHOT_TEXT_BYTES_MAX)?.to_vec(),
            });
        }
        reader.end()?;
        Ok(Self { parts })
    }
}
