//! A new generation of the index file in the place of the old one: growth and compaction.
//!
//! In order: take the right to replace the file, or leave it to who has it; mark the old file;
//! copy its records into a new one; rename that over the old one; look through the old one again,
//! for what was published while it was copied. A publisher looks at the mark after its
//! compare-exchange, and if it is set, at what is in the file's place. No mark: then the copy sees
//! the publication. Still the old file: then the second look does. Else the publisher repeats it.
//!
//! Should the swapping process die before the rename, nothing has happened but a mark, which the
//! next one to open the file takes away. Should it die after, in the second look, then what was
//! published while it copied may be a later miss.

use std::sync::Arc;

use rustix::io::Errno;
use store_format::header::{SLOTS_LOG2_MAX, SLOTS_LOG2_MIN};
use store_format::slot::Slot;
use store_format::{Digest, Kind};

use super::file::{ReplaceRight, sweep};
use super::generation::Generation;
use super::table::{Expected, Memory, PublishError, Published, Table, Word as _};
use super::{Index, IndexError};

/// What a slot of the old table held when it was copied, if anything, and the word that it became.
#[derive(Clone, Copy, Debug)]
pub struct Copied {
    old: u64,
    /// 0 for what was left out.
    new: u64,
}

/// Where the new file has to be before it takes the place of the old one. After a power cut, one that
/// was in memory only may be empty, and what was on the disk before is gone with the old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Medium {
    /// On the way of a build, which waits for no disk.
    Memory,
    Disk,
}

impl Index {
    /// Begins a new generation with the records that `keep` wants; it is asked about the oldest first.
    pub fn compact(
        &self,
        keep: impl FnMut(Kind, &Digest, &[u8]) -> bool,
    ) -> Result<(), IndexError> {
        self.swap(keep, Medium::Disk)
    }

    /// Grows while there still is room, and leaves it to another process if one is at it.
    pub(super) fn grow_if_due(&self, table: &Table<Generation>) {
        let slots = table.memory().slots().len() as u64;
        let heap = table.memory().heap_words_max();
        let table_due = table.slots_used() > slots / 8 * 5;
        let heap_due = table.heap_used_words() > heap / 8 * 7;
        if table_due || heap_due {
            // Nothing is lost by a failure: the publication stands, and the next one tries again.
            let _next_time = self.swap(|_, _, _| true, Medium::Memory);
        }
    }

    pub(super) fn swap(
        &self,
        mut keep: impl FnMut(Kind, &Digest, &[u8]) -> bool,
        medium: Medium,
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
        old.supersede();
        let new = self.replace(&old, &mut keep, medium).inspect_err(|_| old.reinstate())?;
        self.set_current(Arc::new(new));
        Ok(())
    }

    fn replace(
        &self,
        old: &Table<Generation>,
        keep: &mut impl FnMut(Kind, &Digest, &[u8]) -> bool,
        medium: Medium,
    ) -> Result<Table<Generation>, IndexError> {
        let path = &self.path;
        let (slots_log2, heap_words) = size_for(old);
        let number = old.memory().number().saturating_add(1);
        let (mut file, new) = Generation::create(path, slots_log2, heap_words, number)
            .map_err(|error| self.io("create", error))?;
        let new = Table::new(new);
        let copied = copy(old, &new, keep).map_err(|error| match error {
            PublishError::Io(error) => self.io("extend", error),
            _ => self.contended(),
        })?;
        new.add_stored_bytes(old.stored_bytes());
        if medium == Medium::Disk {
            file.sync().map_err(|error| self.io("sync", error))?;
        }
        file.replace(path).map_err(|error| self.io("replace", error))?;
        copy_late(old, &copied, &new);
        Ok(new)
    }
}

/// Copies the records that `keep` wants, in the order of the file, which is that of their publication,
/// and tells what has been copied. The old table is marked before.
pub fn copy<A: Memory, B: Memory>(
    old: &Table<A>,
    new: &Table<B>,
    keep: &mut impl FnMut(Kind, &Digest, &[u8]) -> bool,
) -> Result<Vec<Copied>, PublishError> {
    let mut copied = vec![Copied { old: 0, new: 0 }; old.memory().slots().len()];
    for place in old.places_by_offset(&Kind::ALL) {
        let (word, record) = old.record_in(place);
        copied[place].old = word;
        let wanted = record.filter(|(kind, key, payload)| keep(*kind, key, payload));
        let Some((kind, key, payload)) = wanted else { continue };
        match new.publish(kind, &key, &payload, Expected::Vacant) {
            Ok(published) => copied[place].new = carry_marks(Slot(word), new, published),
            // A damaged table can have a key twice; the first one counts, as it does in lookups.
            Err(PublishError::Conflict) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(copied)
}

/// Repeats in the new table what happened to slots since they were copied, unless their keys have
/// been published there already. Whatever fails is a later miss. The new table is in its place
/// before.
pub fn copy_late<A: Memory, B: Memory>(old: &Table<A>, copied: &[Copied], new: &Table<B>) {
    // Pairs with the fence in `Table::published`: of a slot's new word and the file's new place, at
    // least one is seen by the other side.
    A::Word::fence();
    for (place, copied) in copied.iter().enumerate() {
        let (word, record) = old.record_in(place);
        if word == copied.old {
            continue;
        }
        if let Some((kind, key, payload)) = record {
            let expected =
                if copied.new == 0 { Expected::Vacant } else { Expected::Word(copied.new) };
            // What fails is a later miss.
            if let Ok(published) = new.publish(kind, &key, &payload, expected) {
                carry_marks(Slot(word), new, published);
            }
        } else if Slot(word).is_removed()
            && let Some((kind, key, _)) = old.record_at(Slot(word).offset())
        {
            new.remove(kind, &key);
        }
    }
}

/// Says of a record's copy what its slot said. Returns the copy's word.
fn carry_marks<M: Memory>(from: Slot, new: &Table<M>, published: Published) -> u64 {
    let durable = from.is_durable().then(|| new.mark_durable(published.place, published.word));
    durable.flatten().unwrap_or(published.word)
}

/// A table that is at most half full with what is live, and heap for twice of it. Taken from heads that
/// may be damaged, and so no more than there is.
fn size_for(old: &Table<Generation>) -> (u32, u64) {
    let mut live_slots: u64 = 0;
    let mut live_words: u64 = 0;
    for words in (0..old.memory().slots().len()).filter_map(|place| old.live_words_in(place)) {
        live_slots += 1;
        live_words += words as u64;
    }
    (slots_log2_for(live_slots), live_words.min(old.memory().heap().len() as u64) * 2)
}

/// Of a table that these keys fill by half at most.
pub(super) fn slots_log2_for(keys: u64) -> u32 {
    (keys * 2).next_power_of_two().trailing_zeros().clamp(SLOTS_LOG2_MIN, SLOTS_LOG2_MAX)
}
