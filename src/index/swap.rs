//! A new generation of the index file in the place of the old one: growth and compaction.
//!
//! In order: take the right to replace the file, or leave it; copy the records into a new file;
//! rename it over the old one; mark the old one superseded; look through the old one again, for
//! what was published between copying and marking. A publisher looks at the mark after its
//! compare-exchange, so either the second look sees the publication, or the publisher repeats it.
//! Should the swapping process die in between, what is lost is a later miss.

use std::sync::Arc;

use rustix::io::Errno;
use store_format::header::{SLOTS_LOG2_MAX, SLOTS_LOG2_MIN};
use store_format::slot::Slot;
use store_format::{Digest, Kind};

use super::file::{ReplaceRight, sweep};
use super::generation::Generation;
use super::table::{Expected, Memory, PublishError, Table};
use super::{Index, IndexError};

/// What a slot of the old table held when it was copied, and the word that it became.
#[derive(Clone, Copy)]
struct Copied {
    old: u64,
    /// 0 for what was left out.
    new: u64,
}

impl Index {
    /// Begins a new generation with the records that `keep` wants.
    pub fn compact(
        &self,
        keep: impl FnMut(Kind, &Digest, &[u8]) -> bool,
    ) -> Result<(), IndexError> {
        self.swap(keep)
    }

    /// Grows while there still is room, and leaves it to another process if one is at it.
    pub(super) fn grow_if_due(&self, table: &Table<Generation>) {
        let slots = table.memory().slots().len() as u64;
        let heap = table.memory().heap_words_max();
        let table_due = table.slots_used() > slots / 8 * 5;
        let heap_due = table.heap_used_words() > heap / 8 * 7;
        if table_due || heap_due {
            // Nothing is lost by a failure: the publication stands, and the next one tries again.
            let _next_time = self.swap(|_, _, _| true);
        }
    }

    pub(super) fn swap(
        &self,
        mut keep: impl FnMut(Kind, &Digest, &[u8]) -> bool,
    ) -> Result<(), IndexError> {
        let path = &self.path;
        let _right = match ReplaceRight::try_take(path) {
            Ok(right) => right,
            Err(Errno::WOULDBLOCK) => return Err(IndexError::Busy { path: path.clone() }),
            Err(error) => return Err(self.io("lock", error)),
        };
        // What cannot be swept now can be later.
        let _later = sweep(path);
        let old = self.table();
        if !old.memory().is_at(path) {
            // Replaced, or removed by hand: not this file's turn. The next attempt looks again.
            return Err(self.contended());
        }
        let (slots_log2, heap_words) = size_for(&old);
        let number = old.memory().number().saturating_add(1);
        let (mut file, new) = Generation::create(path, slots_log2, heap_words, number)
            .map_err(|error| self.io("create", error))?;
        let new = Table::new(new);
        let mut copied = Vec::with_capacity(old.memory().slots().len());
        for place in 0..old.memory().slots().len() {
            copied.push(self.copy(&old, place, &new, &mut keep)?);
        }
        file.replace(path).map_err(|error| self.io("replace", error))?;
        old.supersede();
        for (place, copied) in copied.iter().enumerate() {
            copy_late(&old, place, *copied, &new);
        }
        self.set_current(Arc::new(new));
        Ok(())
    }

    fn copy(
        &self,
        old: &Table<Generation>,
        place: usize,
        new: &Table<Generation>,
        keep: &mut impl FnMut(Kind, &Digest, &[u8]) -> bool,
    ) -> Result<Copied, IndexError> {
        let (word, record) = old.record_in(place);
        let mut copied = Copied { old: word, new: 0 };
        let Some((kind, key, payload)) =
            record.filter(|(kind, key, payload)| keep(*kind, key, payload))
        else {
            return Ok(copied);
        };
        match new.publish(kind, &key, &payload, Expected::Vacant) {
            Ok(published) => copied.new = published.word,
            // A damaged table can have a key twice; the first one counts, as it does in lookups.
            Err(PublishError::Conflict) => {}
            Err(PublishError::Io(error)) => return Err(self.io("extend", error)),
            Err(PublishError::Full | PublishError::TooLarge) => return Err(self.contended()),
        }
        Ok(copied)
    }
}

/// Repeats in the new table what happened to a slot since it was copied, unless its key has been
/// published there already. Whatever fails is a later miss.
fn copy_late(old: &Table<Generation>, place: usize, copied: Copied, new: &Table<Generation>) {
    let (word, record) = old.record_in(place);
    if word == copied.old {
        return;
    }
    if let Some((kind, key, payload)) = record {
        let expected = if copied.new == 0 { Expected::Vacant } else { Expected::Word(copied.new) };
        let _later_miss = new.publish(kind, &key, &payload, expected);
    } else if Slot(word).is_removed()
        && let Some((kind, key, _)) = old.record_at(Slot(word).offset())
    {
        new.remove(kind, &key);
    }
}

/// A table that is at most half full with what is live, and heap for twice of it.
fn size_for(old: &Table<Generation>) -> (u32, u64) {
    let mut live_slots: u64 = 0;
    let mut live_words: u64 = 0;
    for place in 0..old.memory().slots().len() {
        if let (_, Some((_, _, payload))) = old.record_in(place) {
            live_slots += 1;
            live_words +=
                (store_format::frame::FRAME_HEAD_WORDS + payload.len().div_ceil(8)) as u64;
        }
    }
    let slots_log2 = (live_slots * 2).next_power_of_two().trailing_zeros();
    (slots_log2.clamp(SLOTS_LOG2_MIN, SLOTS_LOG2_MAX), live_words * 2)
}
