//! What is done with a file that is no index: it is set aside, and the sound records in it make up
//! a new one.
//!
//! Records prove themselves by their checksums, wherever they lie; neither the header nor the table
//! is asked. Of several under one key the last in the file counts, which was appended last. What
//! had been removed may come back: every user of a record has to cope with one that is out of date
//! anyway. A sound file of another version is set aside as it is.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;
use store_format::frame::{FRAME_HEAD_WORDS, FRAME_MAGIC, FRAME_MAGIC_SHIFT};
use store_format::header::{IndexHeader, WORD_BYTES};
use store_format::{Digest, FormatError, Kind};

use super::IndexError;
use super::file::{NewFile, ReplaceRight, quarantine};
use super::generation::{Generation, OpenError};
use super::map::Map;
use super::swap::slots_log2_for;
use super::table::{Expected, Memory, Table};

/// Most bytes of a file that are searched.
const SEARCHED_BYTES_MAX: u64 = 4 << 30;

/// Moves a file that is no index aside, and puts what is sound in it in its place. Returns whether
/// it was there to be moved.
pub(super) fn set_aside(path: &Path) -> Result<bool, IndexError> {
    let io = |source: Errno| IndexError::Io {
        operation: "set aside",
        path: path.into(),
        source: source.into(),
    };
    let _right = match ReplaceRight::try_take(path) {
        Ok(right) => right,
        Err(Errno::WOULDBLOCK) => return Err(IndexError::Busy { path: path.into() }),
        Err(error) => return Err(io(error)),
    };
    // With the right to replace it, what is looked at is what is moved.
    let error = match Generation::open(path) {
        Ok(_) | Err(OpenError::Io(_)) => return Ok(false),
        Err(OpenError::Damaged(error)) => error,
    };
    // A new index can be begun without what was in the old one.
    let salvaged = if matches!(error, FormatError::Version { .. }) {
        None
    } else {
        salvage(path).ok().flatten()
    };
    quarantine(path).map_err(io)?;
    match salvaged.map(|new| new.place(path)) {
        // Another process may have begun one by now.
        None | Some(Ok(()) | Err(Errno::EXIST)) => Ok(true),
        Some(Err(error)) => Err(io(error)),
    }
}

/// A file of unknown structure: all of it may be heap.
struct Wreck(Map);

impl Memory for Wreck {
    type Word = AtomicU64;

    fn control(&self) -> &[AtomicU64] {
        &[]
    }

    fn claims(&self) -> &[AtomicU64] {
        &[]
    }

    fn slots(&self) -> &[AtomicU64] {
        &[]
    }

    fn heap(&self) -> &[AtomicU64] {
        self.0.words()
    }

    fn refresh(&self) {}

    fn extend(&self, _words: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn heap_words_max(&self) -> u64 {
        self.0.words().len() as u64
    }
}

/// A new file, not in its place yet, with the sound records of an old one; `None` if there are
/// none.
fn salvage(path: &Path) -> io::Result<Option<NewFile>> {
    let file = super::file::open(path)?;
    let bytes = u64::try_from(rustix::fs::fstat(&file)?.st_size).unwrap_or(0);
    if bytes < WORD_BYTES as u64 || bytes > SEARCHED_BYTES_MAX {
        return Ok(None);
    }
    let wreck = Table::new(Wreck(Map::new(file, bytes)?));
    let found = search(&wreck);
    if found.is_empty() {
        return Ok(None);
    }
    let slots_log2 = slots_log2_for(found.len() as u64);
    let words = wreck.memory().heap().len() as u64;
    let (new, generation) = Generation::create(path, slots_log2, words, IndexHeader::FIRST)?;
    let table = Table::new(generation);
    for offset in found.into_values() {
        if let Some((kind, key, payload)) = wreck.record_at(offset) {
            // What does not fit is a later miss.
            let _later_miss = table.publish(kind, &key, &payload, Expected::Vacant);
        }
    }
    Ok(Some(new))
}

/// Where the last record of each key is.
fn search(wreck: &Table<Wreck>) -> HashMap<(Kind, Digest), u64> {
    let heap = wreck.memory().heap();
    let mut found = HashMap::new();
    let mut place = 0;
    while let Some(word) = heap.get(place) {
        let may_begin = word.load(Ordering::Relaxed) >> FRAME_MAGIC_SHIFT == FRAME_MAGIC;
        let record = may_begin.then(|| wreck.record_at(place as u64)).flatten();
        place += match record {
            Some((kind, key, payload)) => {
                found.insert((kind, key), place as u64);
                FRAME_HEAD_WORDS + payload.len().div_ceil(WORD_BYTES)
            }
            None => 1,
        };
    }
    found
}
