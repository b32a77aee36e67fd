//! How a record lies in the heap: a head of six words, then the payload, padded to a word.

use crate::slot::Kind;
use crate::{Digest, FormatError, checksum, checksum_seeded};

/// Words in front of the payload: description, checksum, key (four).
pub const FRAME_HEAD_WORDS: usize = 6;
/// Most bytes in a payload.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;
/// The highest 24 bits of every description.
pub const FRAME_MAGIC: u64 = 0xCA_C4_E5;

/// Where they begin.
pub const FRAME_MAGIC_SHIFT: u32 = 40;
const KIND_SHIFT: u32 = 32;
const KIND_BYTE: usize = KIND_SHIFT as usize / 8;

/// The description and key of a record, as read: what the checksum says is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    pub kind: Kind,
    pub key: Digest,
    pub payload_bytes: usize,
    checksum: u64,
}

impl FrameHead {
    /// `None` for a payload that is too long.
    pub fn new(kind: Kind, key: &Digest, payload: &[u8]) -> Option<Self> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return None;
        }
        let mut head = Self { kind, key: *key, payload_bytes: payload.len(), checksum: 0 };
        head.checksum = head.checksum_of(payload);
        Some(head)
    }

    /// Words of the whole record.
    pub fn words(&self) -> usize {
        FRAME_HEAD_WORDS + self.payload_bytes.div_ceil(8)
    }

    pub fn encode(&self) -> [u64; FRAME_HEAD_WORDS] {
        let key = self.key.0.as_chunks::<8>().0;
        let mut words = [self.description(), self.checksum, 0, 0, 0, 0];
        for (word, bytes) in words[2..].iter_mut().zip(key) {
            *word = u64::from_le_bytes(*bytes);
        }
        words
    }

    pub fn decode(words: &[u64; FRAME_HEAD_WORDS]) -> Result<Self, FormatError> {
        let description = words[0];
        if description >> FRAME_MAGIC_SHIFT != FRAME_MAGIC {
            return Err(FormatError::Magic);
        }
        let kind_number = description.to_le_bytes()[KIND_BYTE];
        let kind = Kind::from_number(kind_number)
            .ok_or(FormatError::Tag { what: "kind of record", value: kind_number.into() })?;
        let payload_bytes = (description & 0xffff_ffff) as usize;
        if payload_bytes > PAYLOAD_BYTES_MAX {
            return Err(FormatError::Wire(crate::wire::WireError::Limit));
        }
        let mut key = [0; 32];
        for (bytes, word) in key.as_chunks_mut::<8>().0.iter_mut().zip(&words[2..]) {
            *bytes = word.to_le_bytes();
        }
        Ok(Self { kind, key: Digest(key), payload_bytes, checksum: words[1] })
    }

    /// Whether this is the head of exactly this payload.
    pub fn covers(&self, payload: &[u8]) -> bool {
        payload.len() == self.payload_bytes && self.checksum == self.checksum_of(payload)
    }

    fn description(&self) -> u64 {
        FRAME_MAGIC << FRAME_MAGIC_SHIFT
            | (self.kind as u64) << KIND_SHIFT
            | self.payload_bytes as u64
    }

    /// Covers description, key and payload.
    fn checksum_of(&self, payload: &[u8]) -> u64 {
        let mut head = [0; 40];
        head[..8].copy_from_slice(&self.description().to_le_bytes());
        head[8..].copy_from_slice(&self.key.0);
        checksum_seeded(checksum(&head), payload)
    }
}
