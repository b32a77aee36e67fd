//! One generation of the index file: its header, checked, and its words in their regions.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use rustix::io::Errno;
use store_format::header::{
    CLAIMS_WORDS, CONTROL_WORD, CONTROL_WORDS, HEADER_FIXED_WORDS, HEADER_WORDS, IndexHeader,
    SLOTS_WORD, WORD_BYTES,
};
use store_format::wire::WireError;
use store_format::{FormatError, header};

use super::file::{self, NewFile};
use super::map::{self, Map};
use super::table::Memory;

/// Bytes by which a file grows: space for hundreds of records, had in a tenth of a millisecond.
const STEP_BYTES: u64 = 512 << 10;
/// Heap words for each slot, at most.
const HEAP_WORDS_PER_SLOT: u64 = 4096 / WORD_BYTES as u64;

/// Why a file cannot be used as an index.
#[derive(Debug)]
pub(super) enum OpenError {
    /// Damaged, foreign, or of another version.
    Damaged(FormatError),
    Io(io::Error),
}

impl From<FormatError> for OpenError {
    fn from(error: FormatError) -> Self {
        Self::Damaged(error)
    }
}

impl From<Errno> for OpenError {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[derive(Debug)]
pub(super) struct Generation {
    header: IndexHeader,
    map: Map,
}

impl Generation {
    /// Opens what is at `path`: four system calls.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let file = file::open(path)?;
        let mut bytes = [0; HEADER_FIXED_WORDS * WORD_BYTES];
        let read = rustix::io::pread(&file, &mut bytes[..], 0)?;
        if read < bytes.len() {
            return Err(FormatError::Wire(WireError::Truncated).into());
        }
        let mut words = [0; HEADER_FIXED_WORDS];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        let header = IndexHeader::decode(&words)?;
        let map = Map::new(file, header.file_bytes_max())?;
        let generation = Self { header, map };
        if generation.map.words().len() < header.heap_word() {
            return Err(FormatError::Wire(WireError::Truncated).into());
        }
        Ok(generation)
    }

    /// Creates a file, not in its place yet, for a table of 2^`slots_log2` slots and a heap that
    /// can hold at least `heap_words`.
    pub(super) fn create(
        path: &Path,
        slots_log2: u32,
        heap_words: u64,
        generation: u64,
    ) -> io::Result<(NewFile, Self)> {
        let heap_words_max =
            heap_words.max(HEAP_WORDS_PER_SLOT << slots_log2).min(header::HEAP_WORDS_MAX);
        let header = IndexHeader { slots_log2, heap_words_max, generation };
        let new = NewFile::create(path, file_bytes(&header, 1), &header.encode())?;
        let map = Map::new(new.file.try_clone()?, header.file_bytes_max())?;
        Ok((new, Self { header, map }))
    }

    pub(super) fn number(&self) -> u64 {
        self.header.generation
    }

    pub(super) fn is_at(&self, path: &Path) -> bool {
        file::is_at(self.map.file().as_fd(), path)
    }
}

/// Of a file with so many words of heap, or some more.
fn file_bytes(header: &IndexHeader, heap_words: u64) -> u64 {
    let bytes = (header.heap_word() as u64 + heap_words) * WORD_BYTES as u64;
    bytes.next_multiple_of(STEP_BYTES).min(header.file_bytes_max())
}

impl Memory for Generation {
    type Word = AtomicU64;

    fn control(&self) -> &[AtomicU64] {
        &self.map.words()[CONTROL_WORD..CONTROL_WORD + CONTROL_WORDS]
    }

    fn claims(&self) -> &[AtomicU64] {
        &self.map.words()[HEADER_WORDS..HEADER_WORDS + CLAIMS_WORDS]
    }

    fn slots(&self) -> &[AtomicU64] {
        &self.map.words()[SLOTS_WORD..self.header.heap_word()]
    }

    fn heap(&self) -> &[AtomicU64] {
        &self.map.words()[self.header.heap_word()..]
    }

    fn refresh(&self) {
        // What cannot be seen is a miss.
        let _unseen = self.map.refresh();
    }

    fn fetch(&self, offset: u64) {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        map::prefetch(self.heap().get(start..).unwrap_or_default());
    }

    fn extend(&self, words: u64) -> io::Result<()> {
        self.map.extend(file_bytes(&self.header, words))
    }

    fn heap_words_max(&self) -> u64 {
        self.header.heap_words_max
    }
}
