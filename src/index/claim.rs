//! One process at a time does the work of a key. A claim is one word; it is given back when its
//! guard goes, or taken over when its owner is gone. Keys share words, so that now and then a
//! claim cannot be had: then the work may be done twice.

use std::fmt;
use std::sync::Arc;

use store_format::Digest;
use store_format::slot::{ClaimWord, ProcessId};

use super::generation::Generation;
use super::table::{ClaimAttempt, Table};
use super::wait;

/// The answer to a claim.
#[derive(Debug)]
pub enum Claim {
    /// The work is this process's, until the guard goes.
    Owned(ClaimGuard),
    /// Another process is at it: [`wait()`](super::wait()) for it, and look again.
    Busy(ProcessId),
    /// Neither can be told.
    Unavailable,
}

/// Gives a claim back when dropped.
pub struct ClaimGuard {
    table: Arc<Table<Generation>>,
    place: usize,
    word: ClaimWord,
}

impl fmt::Debug for ClaimGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimGuard").field("word", &self.word).finish_non_exhaustive()
    }
}

impl Drop for ClaimGuard {
    fn drop(&mut self) {
        self.table.release(self.place, self.word);
    }
}

pub(super) fn claim(table: Arc<Table<Generation>>, key: &Digest) -> Claim {
    let Some(own) = wait::own_id() else { return Claim::Unavailable };
    match table.claim(key, wait::scope(), own, wait::is_alive) {
        ClaimAttempt::Owned(place, word) => Claim::Owned(ClaimGuard { table, place, word }),
        ClaimAttempt::Busy(owner) => Claim::Busy(owner),
        ClaimAttempt::Unavailable => Claim::Unavailable,
    }
}
