//! Choices that a seed decides, and how many of them a run makes.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A small generator (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Self {
        Self::numbered(0)
    }

    /// One of several under the same seed.
    pub(crate) fn numbered(number: u64) -> Self {
        let seed = std::env::var("KACHE_TEST_SEED").ok().and_then(|text| text.parse().ok());
        Self(seed.unwrap_or(4_u64).wrapping_add(number << 32))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).expect("below the bound")
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// Whether nothing is to be left out.
pub(crate) fn is_full() -> bool {
    std::env::var("KACHE_TEST_FAULTS").is_ok_and(|extent| extent == "full")
}

/// Tests of this program take turns: what one does must not use up the time of another.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A test that has failed leaves the turn to the next one.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The time that a test may go on with new faults.
pub(crate) struct Bound(Option<Instant>);

impl Bound {
    pub(crate) fn of(seconds: u64) -> Self {
        Self((!is_full()).then(|| Instant::now() + Duration::from_secs(seconds)))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.is_some_and(|end| Instant::now() > end)
    }
}
