//! Leaving a remote alone that does not answer.
//!
//! After some failures in a row nothing is asked for a while; then one request tries, and its failure
//! doubles the pause. Any answer ends it.

use std::time::{Duration, Instant};

/// Failures in a row that are put up with.
const FAILURES_MAX: u32 = 3;
const PAUSE_MIN: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_mins(2);

#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    until: Option<Instant>,
}

impl Breaker {
    /// Whether a request may be made at `now`. The first one after a pause has the next ones wait
    /// for how it ends.
    pub(super) fn may_try(&mut self, now: Instant) -> bool {
        match self.until {
            None => true,
            Some(until) if now < until => false,
            Some(_) => {
                self.until = Some(now + self.pause());
                true
            }
        }
    }

    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    pub(super) fn failed(&mut self, now: Instant) {
        self.failures += 1;
        if self.failures >= FAILURES_MAX {
            self.until = Some(now + self.pause());
        }
    }

    /// How long the next pause is.
    pub(super) fn pause(&self) -> Duration {
        let doublings = self.failures.saturating_sub(FAILURES_MAX).min(16);
        PAUSE_MIN.saturating_mul(1 << doublings).min(PAUSE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_failures_in_a_row_open_it_and_one_request_tries_again() {
        let mut breaker = Breaker::default();
        let start = Instant::now();
        for _ in 0..FAILURES_MAX {
            assert!(breaker.may_try(start));
            breaker.failed(start);
        }
        assert!(!breaker.may_try(start) && breaker.is_open(start));
        let later = start + PAUSE_MIN;
        assert!(breaker.may_try(later));
        assert!(!breaker.may_try(later), "the others wait for the one");
        breaker.failed(later);
        assert!(!breaker.may_try(later + PAUSE_MIN), "the pause is longer now");
        assert!(breaker.may_try(later + 2 * PAUSE_MIN));
        breaker.succeeded();
        assert!(breaker.may_try(later) && breaker.may_try(later));
    }

    #[test]
    fn pauses_have_a_limit() {
        let mut breaker = Breaker::default();
        let now = Instant::now();
        (0..1000).for_each(|_| breaker.failed(now));
        assert_eq!(breaker.pause(), PAUSE_MAX);
    }
}
