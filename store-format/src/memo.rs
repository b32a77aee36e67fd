//! The memo's entries: one cache line each, so that a torn one costs one line and is noticed.

use crate::{Digest, checksum};

/// Sets of the memo, and entries in each.
pub const MEMO_SETS: usize = 16_384;
pub const MEMO_WAYS: usize = 4;
/// Words of an entry: identity (two), digest (four), sequence, checksum.
pub const MEMO_ENTRY_WORDS: usize = 8;
/// The word of the header that counts insertions.
pub const MEMO_SEQUENCE_WORD: usize = crate::header::CONTROL_WORD;

const _: () = assert!(MEMO_SETS * MEMO_WAYS == 65_536);
const _: () = assert!(MEMO_SETS.is_power_of_two());
const _: () = assert!(MEMO_ENTRY_WORDS * crate::header::WORD_BYTES == 64);

/// Words of the whole file.
pub const MEMO_WORDS: usize =
    crate::header::HEADER_WORDS + MEMO_SETS * MEMO_WAYS * MEMO_ENTRY_WORDS;

/// 128 bits of the BLAKE3 digest of a file's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IdentityHash(pub [u64; 2]);

impl IdentityHash {
    /// The first word of the set that an identity belongs to.
    pub fn set_word(self) -> usize {
        let set = usize::try_from(self.0[0] & (MEMO_SETS as u64 - 1)).unwrap_or(0);
        crate::header::HEADER_WORDS + set * MEMO_WAYS * MEMO_ENTRY_WORDS
    }
}

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoEntry {
    pub identity: IdentityHash,
    pub digest: Digest,
    /// Counts insertions: within a set the lowest is the oldest.
    pub sequence: u64,
}

impl MemoEntry {
    pub fn encode(&self) -> [u64; MEMO_ENTRY_WORDS] {
        let mut words = [0; MEMO_ENTRY_WORDS];
        words[..2].copy_from_slice(&self.identity.0);
        for (word, bytes) in words[2..6].iter_mut().zip(self.digest.0.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        words[6] = self.sequence;
        words[7] = entry_checksum(&words);
        words
    }

    /// `None` for an entry that is empty, torn or damaged.
    pub fn decode(words: &[u64; MEMO_ENTRY_WORDS]) -> Option<Self> {
        if words[7] != entry_checksum(words) {
            return None;
        }
        let mut digest = [0; 32];
        for (bytes, word) in digest.as_chunks_mut::<8>().0.iter_mut().zip(&words[2..6]) {
            *bytes = word.to_le_bytes();
        }
        Some(Self {
            identity: IdentityHash([words[0], words[1]]),
            digest: Digest(digest),
            sequence: words[6],
        })
    }
}

/// Of the first seven words. That of seven zeros is not zero, so that an empty entry is none.
fn entry_checksum(words: &[u64; MEMO_ENTRY_WORDS]) -> u64 {
    let mut bytes = [0; 56];
    for (bytes, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *bytes = word.to_le_bytes();
    }
    checksum(&bytes)
}
