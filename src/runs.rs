//! Which events are of one run of Cargo: they name its process, and those numbers come again.

use std::collections::HashMap;

use store_format::{Event, EventOutcome};

/// A pause after which the same number is another process.
const PAUSE_MS_MAX: u64 = 10 * 60 * 1000;

/// Tells runs apart that had the same number one after the other.
#[derive(Debug, Default)]
pub struct Runs {
    current: HashMap<u32, Run>,
    count: usize,
}

#[derive(Debug)]
struct Run {
    number: usize,
    ended_ms: u64,
    /// Whether something was compiled, or looked up.
    has_begun: bool,
}

impl Runs {
    /// The run that an event belongs to, counted from 0. Events are to come about in the order of their
    /// start.
    pub fn run_of(&mut self, event: &Event) -> usize {
        // A Cargo asks the compiler what it is before it has anything compiled. In containers that share
        // a store, all of them may have one number.
        let asks = event.outcome == EventOutcome::Passthrough && event.crate_name.is_empty();
        let goes_on = |run: &&mut Run| {
            run.ended_ms.saturating_add(PAUSE_MS_MAX) >= event.started_ms
                && !(asks && run.has_begun)
        };
        if let Some(run) = self.current.get_mut(&event.cargo_pid).filter(goes_on) {
            run.ended_ms = run.ended_ms.max(end_ms(event));
            run.has_begun |= !asks;
            return run.number;
        }
        let number = self.count;
        self.count += 1;
        let run = Run { number, ended_ms: end_ms(event), has_begun: !asks };
        self.current.insert(event.cargo_pid, run);
        number
    }
}

/// When an event ended, milliseconds since 1970.
pub fn end_ms(event: &Event) -> u64 {
    event.started_ms + u64::from(event.elapsed_us).div_ceil(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_comes_again_is_another_run() {
        let event = |cargo_pid, started_ms, outcome, name: &str| Event {
            cargo_pid,
            started_ms,
            outcome,
            elapsed_us: 50_000,
            crate_name: name.to_owned(),
            ..Event::default()
        };
        let (asks, miss) = (EventOutcome::Passthrough, EventOutcome::Miss);
        let events = [
            event(1, 0, asks, ""),
            event(1, 10, asks, ""),
            event(1, 20, miss, "a"),
            event(2, 20, miss, "b"),
            // Not a question of Cargo's.
            event(1, 30, asks, "a"),
            event(1, 70 + PAUSE_MS_MAX, miss, "c"),
            event(1, 80 + PAUSE_MS_MAX, asks, ""),
            event(1, 90 + PAUSE_MS_MAX, miss, "d"),
            event(1, 141 + 2 * PAUSE_MS_MAX, miss, "e"),
        ];
        let mut runs = Runs::default();
        let numbers: Vec<usize> = events.iter().map(|event| runs.run_of(event)).collect();
        assert_eq!(numbers, [0, 0, 0, 1, 0, 0, 2, 2, 3]);
    }
}
