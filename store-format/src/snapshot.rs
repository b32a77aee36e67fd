//! The latest compilation of a crate, in what `why-miss` compares: what the components of its unit key
//! were, and what the values of its inputs were. The names of the inputs are those of its manifest.

use crate::pack::{pack, unpack};
use crate::wire::{Reader, WireError, Writer};
use crate::{FormatError, UnitKey};

/// Version of the encoding of snapshots.
pub const SNAPSHOT_VERSION: u8 = 2;
/// Most parts of one snapshot, and most values.
pub const SNAPSHOT_PARTS_MAX: usize = 65_536;
/// Most bytes in a label or a text; longer ones are cut by who makes them.
pub const SNAPSHOT_TEXT_BYTES_MAX: usize = 4096;
/// Bytes of a digest that are kept to compare it by, and to show it.
pub const SNAPSHOT_DIGEST_BYTES: usize = 4;

/// The first bytes of a digest.
pub type ShortDigest = [u8; SNAPSHOT_DIGEST_BYTES];

/// What has a name that no manifest has: an argument, a variable of a whole environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPart {
    pub label: Vec<u8>,
    pub value: Vec<u8>,
}

/// One compilation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub unit: UnitKey,
    /// Which of the unit's manifests has the names ([`crate::Manifest::checksum`]).
    pub manifest: u64,
    /// In the order of the key.
    pub parts: Vec<SnapshotPart>,
    /// Of the inputs that are not variables, in the order of the manifest.
    pub digests: Vec<ShortDigest>,
    /// Of those that are.
    pub texts: Vec<Vec<u8>>,
}

impl Snapshot {
    pub fn encode(&self) -> Vec<u8> {
        // Kind by kind, since like packs well with like.
        let mut plain = Writer::new();
        write_column(&mut plain, self.parts.iter().map(|part| &part.label));
        write_column(&mut plain, self.parts.iter().map(|part| &part.value));
        write_column(&mut plain, self.texts.iter());
        for digest in &self.digests {
            plain.raw(digest);
        }
        let mut writer = Writer::new();
        writer.u8(SNAPSHOT_VERSION);
        writer.digest(&self.unit.0);
        writer.u64(self.manifest);
        pack(&mut writer, &plain.finish());
        writer.finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut packed = Reader::new(bytes);
        let version = packed.u8()?;
        if version != SNAPSHOT_VERSION {
            return Err(FormatError::Version { found: version.into() });
        }
        let unit = UnitKey(packed.digest()?);
        let manifest = packed.u64()?;
        let plain = unpack(packed)?;
        let mut reader = Reader::new(&plain);
        let labels = read_column(&mut reader)?;
        let values = read_column(&mut reader)?;
        let texts = read_column(&mut reader)?;
        if labels.len() != values.len() {
            return Err(WireError::Limit.into());
        }
        let parts = labels.into_iter().zip(values);
        let parts = parts.map(|(label, value)| SnapshotPart { label, value }).collect();
        let (digests, rest) = reader.raw(reader.remaining())?.as_chunks();
        if !rest.is_empty() {
            return Err(WireError::Trailing.into());
        }
        Ok(Self { unit, manifest, parts, digests: digests.to_vec(), texts })
    }
}

/// Texts that end in a zero byte each. None has one within, or it loses what is behind it.
fn write_column<'a>(writer: &mut Writer, texts: impl Iterator<Item = &'a Vec<u8>>) {
    let mut column = Vec::new();
    for text in texts {
        column.extend(text.iter().take_while(|byte| **byte != 0));
        column.push(0);
    }
    writer.bytes(&column);
}

fn read_column(reader: &mut Reader<'_>) -> Result<Vec<Vec<u8>>, FormatError> {
    let column = reader.bytes(usize::MAX)?;
    let mut texts: Vec<_> = column.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    // Behind the last one is nothing.
    let is_whole = texts.pop().is_some_and(|rest| rest.is_empty());
    let is_short = |text: &Vec<u8>| text.len() <= SNAPSHOT_TEXT_BYTES_MAX;
    if !is_whole || texts.len() > SNAPSHOT_PARTS_MAX || !texts.iter().all(is_short) {
        return Err(WireError::Limit.into());
    }
    Ok(texts)
}
