//! The first page of the index and of the memo, as words, and the places that follow from it.

use crate::{FormatError, checksum};

/// Version of the index: of its layout and of everything that its records hold.
pub const INDEX_VERSION: u32 = 3;
/// First word of an index.
pub const INDEX_MAGIC: u64 = u64::from_le_bytes(*b"kacheidx");
/// Version of the memo.
pub const MEMO_VERSION: u32 = 1;
/// First word of a memo.
pub const MEMO_MAGIC: u64 = u64::from_le_bytes(*b"kachemem");

pub const WORD_BYTES: usize = 8;
/// Words of the header page.
pub const HEADER_WORDS: usize = 512;
/// Words of a header that are written once, the checksum included.
pub const HEADER_FIXED_WORDS: usize = 6;
/// First of the words that change, and how many there are.
pub const CONTROL_WORD: usize = 64;
pub const CONTROL_WORDS: usize = 16;
/// Words of the claims region.
pub const CLAIMS_WORDS: usize = 4096;
/// First word of the table.
pub const SLOTS_WORD: usize = HEADER_WORDS + CLAIMS_WORDS;
/// Slots of the smallest and the largest table, as powers of two.
pub const SLOTS_LOG2_MIN: u32 = 16;
pub const SLOTS_LOG2_MAX: u32 = 28;
/// Most words that a heap can be made for: what a slot can address.
pub const HEAP_WORDS_MAX: u64 = 1 << crate::slot::OFFSET_BITS;

/// The control words, counted from [`CONTROL_WORD`]. What changes at each publication shares a cache
/// line, which only a processor that publishes has to have; what is read at each lookup has its own.
pub mod control {
    /// Not zero once a newer generation of the file has taken its place.
    pub const SUPERSEDED: usize = 0;
    /// Words of the heap that are reserved.
    pub const HEAP_NEXT: usize = 8;
    /// Words of the heap under records that were replaced or removed; an estimate.
    pub const HEAP_DEAD: usize = 9;
    /// Slots that are not empty.
    pub const SLOTS_USED: usize = 10;
    /// Bytes that blobs take on the disk; an estimate.
    pub const STORED_BYTES: usize = 11;
}

const _: () = assert!(HEADER_WORDS * WORD_BYTES == 4096);
const _: () = assert!(HEADER_FIXED_WORDS <= CONTROL_WORD);
const _: () = assert!(CONTROL_WORD + CONTROL_WORDS <= HEADER_WORDS);
const _: () = assert!(control::STORED_BYTES < CONTROL_WORDS);
const _: () = assert!(CLAIMS_WORDS.is_power_of_two());

/// What the fixed words of an index say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexHeader {
    pub slots_log2: u32,
    /// Words that the heap may come to; the file is as long as the part in use.
    pub heap_words_max: u64,
    /// One more than that of the file whose place this one took.
    pub generation: u64,
}

impl IndexHeader {
    /// The generation of a file that takes no other's place.
    pub const FIRST: u64 = 1;

    pub fn slots(&self) -> usize {
        1 << self.slots_log2
    }

    /// First word of the heap.
    pub fn heap_word(&self) -> usize {
        SLOTS_WORD + self.slots()
    }

    /// Bytes of the longest file with this header.
    pub fn file_bytes_max(&self) -> u64 {
        (self.heap_word() as u64 + self.heap_words_max) * WORD_BYTES as u64
    }

    pub fn encode(&self) -> [u64; HEADER_FIXED_WORDS] {
        fixed_words(
            INDEX_MAGIC,
            u64::from(INDEX_VERSION),
            [u64::from(self.slots_log2), self.heap_words_max, self.generation],
        )
    }

    pub fn decode(words: &[u64; HEADER_FIXED_WORDS]) -> Result<Self, FormatError> {
        let [slots_log2, heap_words_max, generation] =
            check_fixed_words(words, INDEX_MAGIC, INDEX_VERSION)?;
        let slots_log2 = u32::try_from(slots_log2)
            .ok()
            .filter(|log2| (SLOTS_LOG2_MIN..=SLOTS_LOG2_MAX).contains(log2))
            .ok_or(FormatError::Tag { what: "size of a table", value: slots_log2 })?;
        if heap_words_max > HEAP_WORDS_MAX {
            return Err(FormatError::Tag { what: "size of a heap", value: heap_words_max });
        }
        Ok(Self { slots_log2, heap_words_max, generation })
    }
}

/// What the fixed words of a memo say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoHeader;

impl MemoHeader {
    pub fn encode() -> [u64; HEADER_FIXED_WORDS] {
        let geometry = [crate::memo::MEMO_SETS as u64, crate::memo::MEMO_WAYS as u64, 0];
        fixed_words(MEMO_MAGIC, u64::from(MEMO_VERSION), geometry)
    }

    pub fn decode(words: &[u64; HEADER_FIXED_WORDS]) -> Result<Self, FormatError> {
        check_fixed_words(words, MEMO_MAGIC, MEMO_VERSION)?;
        if *words == Self::encode() {
            Ok(Self)
        } else {
            Err(FormatError::Tag { what: "number of sets", value: words[2] })
        }
    }
}

fn fixed_words(magic: u64, version: u64, fields: [u64; 3]) -> [u64; HEADER_FIXED_WORDS] {
    let mut words = [magic, version, fields[0], fields[1], fields[2], 0];
    words[HEADER_FIXED_WORDS - 1] = words_checksum(&words[..HEADER_FIXED_WORDS - 1]);
    words
}

fn check_fixed_words(
    words: &[u64; HEADER_FIXED_WORDS],
    magic: u64,
    version: u32,
) -> Result<[u64; 3], FormatError> {
    if words[0] != magic {
        return Err(FormatError::Magic);
    }
    if words[HEADER_FIXED_WORDS - 1] != words_checksum(&words[..HEADER_FIXED_WORDS - 1]) {
        return Err(FormatError::Checksum);
    }
    if words[1] != u64::from(version) {
        return Err(FormatError::Version { found: u32::try_from(words[1]).unwrap_or(u32::MAX) });
    }
    Ok([words[2], words[3], words[4]])
}

fn words_checksum(words: &[u64]) -> u64 {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    checksum(&bytes)
}
