//! What many events come to. `stats`, `report` and the dashboard show the same numbers.

use crate::events::is_hit;
use std::collections::BTreeMap;
use store_format::{Event, EventOutcome, EventView};

/// Reasons of calls that ask the compiler something begin like this.
const PROBE_PREFIX: &str = "not-a-compile|";
/// Reasons of compilations whose inputs could not be seen begin like this.
const UNOBSERVED_PREFIX: &str = "unobserved";

/// Counts and sums over events. Times are microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) first_ms: Option<u64>,
    pub(super) last_ms: Option<u64>,
    pub(super) local_hits: u64,
    pub(super) prefetch_hits: u64,
    pub(super) remote_hits: u64,
    pub(super) misses: u64,
    pub(super) dups: u64,
    pub(super) errors: u64,
    pub(super) skipped: u64,
    pub(super) probes: u64,
    pub(super) passthroughs: u64,
    /// Compilations whose inputs could not all be seen.
    pub(super) fallbacks: u64,
    /// Without those that only asked the compiler something.
    pub(super) compiler_runs: u64,
    /// From the start to the end of every call.
    pub(super) elapsed_us: u64,
    pub(super) hits_us: u64,
    pub(super) misses_us: u64,
    pub(super) key_us: u64,
    pub(super) lookup_us: u64,
    pub(super) restore_us: u64,
    pub(super) store_us: u64,
    /// What the compilations behind the hits had cost.
    pub(super) hits_compile_us: u64,
    pub(super) misses_compile_us: u64,
    pub(super) restored_bytes: u64,
    /// Restored without a copy.
    pub(super) linked_bytes: u64,
    pub(super) stored_bytes: u64,
    /// How often each reason made the compiler run without a look at the store.
    pub(super) pass_reasons: BTreeMap<String, u64>,
    /// How often each reason kept outputs from being stored.
    pub(super) skip_reasons: BTreeMap<String, u64>,
}

impl Summary {
    pub(super) fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut summary = Self::default();
        for event in events {
            summary.add(&event.view());
        }
        summary
    }

    pub(super) fn add(&mut self, event: &EventView<'_>) {
        let end_ms = event.started_ms + u64::from(event.elapsed_us) / 1000;
        self.first_ms = Some(self.first_ms.map_or(event.started_ms, |ms| ms.min(event.started_ms)));
        self.last_ms = Some(self.last_ms.map_or(end_ms, |ms| ms.max(end_ms)));
        if !is_probe(event) {
            self.compiler_runs += u64::from(event.compiler_runs);
        }
        self.elapsed_us += u64::from(event.elapsed_us);
        if event.outcome == EventOutcome::Passthrough {
            self.add_passed(event);
            return;
        }
        self.key_us += u64::from(event.key_us);
        self.lookup_us += u64::from(event.lookup_us);
        match event.outcome {
            EventOutcome::LocalHit => self.local_hits += 1,
            EventOutcome::PrefetchHit => self.prefetch_hits += 1,
            EventOutcome::RemoteHit => self.remote_hits += 1,
            EventOutcome::Miss => self.misses += 1,
            EventOutcome::Dup => self.dups += 1,
            EventOutcome::Error => self.errors += 1,
            EventOutcome::Skipped | EventOutcome::Passthrough => self.skipped += 1,
        }
        if is_hit(event.outcome) {
            self.hits_us += u64::from(event.elapsed_us);
            self.restore_us += u64::from(event.restore_us);
            self.hits_compile_us += u64::from(event.compile_us);
            self.restored_bytes += event.size_bytes;
            self.linked_bytes += event.linked_bytes;
            return;
        }
        if matches!(event.outcome, EventOutcome::Skipped | EventOutcome::Error) {
            self.fallbacks += u64::from(event.reason.starts_with(UNOBSERVED_PREFIX));
            count_reason(&mut self.skip_reasons, reason_class(event.reason));
            return;
        }
        self.misses_us += u64::from(event.elapsed_us);
        self.misses_compile_us += u64::from(event.compile_us);
        self.store_us += u64::from(event.store_us);
        self.stored_bytes += event.size_bytes;
    }

    fn add_passed(&mut self, event: &EventView<'_>) {
        if is_probe(event) {
            self.probes += 1;
        } else {
            self.passthroughs += 1;
            count_reason(&mut self.pass_reasons, event.reason);
        }
    }

    pub(super) fn hits(&self) -> u64 {
        self.local_hits + self.prefetch_hits + self.remote_hits
    }

    /// Compilations that were made and stored.
    pub(super) fn all_misses(&self) -> u64 {
        self.misses + self.dups
    }

    /// Compilations that looked their result up.
    pub(super) fn lookups(&self) -> u64 {
        self.hits() + self.all_misses()
    }

    /// Compilations, whatever became of them.
    pub(super) fn crates(&self) -> u64 {
        self.lookups() + self.errors + self.skipped
    }

    /// What the hits would have taken, less what they took.
    pub(super) fn saved_us(&self) -> u64 {
        self.hits_compile_us.saturating_sub(self.hits_us)
    }
}

/// Whether a call only asked the compiler something.
pub(super) fn is_probe(event: &EventView<'_>) -> bool {
    event.outcome == EventOutcome::Passthrough && event.reason.starts_with(PROBE_PREFIX)
}

/// The summary as scripts read it.
pub(super) fn json(summary: &Summary) -> serde_json::Value {
    serde_json::json!({
        "hit_rate_pct": percent(summary.hits(), summary.lookups()),
        "weighted_hit_rate_pct": percent(
            summary.hits_compile_us,
            summary.hits_compile_us + summary.misses_compile_us,
        ),
        "time_saved_ms": summary.saved_us() / 1000,
        "total_crates": summary.crates(),
        "local_hits": summary.local_hits,
        "prefetch_hits": summary.prefetch_hits,
        "remote_hits": summary.remote_hits,
        "dups": summary.dups,
        "misses": summary.misses,
        "errors": summary.errors,
        "passthroughs": summary.passthroughs,
        "probes": summary.probes,
        "skipped": summary.skipped,
        "store_failures": summary.errors,
        "fallbacks": summary.fallbacks,
        "compiler_runs": summary.compiler_runs,
        "restored_bytes": summary.restored_bytes,
        "linked_bytes": summary.linked_bytes,
        "stored_bytes": summary.stored_bytes,
        "total_duration_ms": summary.elapsed_us / 1000,
        "cache_efficiency_pct": percent(
            summary.saved_us(),
            summary.hits_compile_us + summary.misses_us,
        ),
    })
}

/// With two decimals; 0 where there is nothing to have a share of.
#[expect(clippy::cast_precision_loss, reason = "at most 10000 after the division")]
fn percent(part: u64, whole: u64) -> f64 {
    let hundredths = (u128::from(part) * 10_000).checked_div(u128::from(whole)).unwrap_or(0);
    hundredths as f64 / 100.0
}

/// The part of a reason that is the same for every file: what stands before a colon.
pub(super) fn reason_class(reason: &str) -> &str {
    reason.split_once(": ").map_or(reason, |(class, _)| class)
}

fn count_reason(reasons: &mut BTreeMap<String, u64>, reason: &str) {
    match reasons.get_mut(reason) {
        Some(count) => *count += 1,
        None => {
            reasons.insert(reason.to_owned(), 1);
        }
    }
}

/// Reasons and their counts, most frequent first.
pub(super) fn by_count(reasons: &BTreeMap<String, u64>) -> Vec<(&str, u64)> {
    let mut sorted: Vec<_> = reasons.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(outcome: EventOutcome, elapsed_us: u32, compile_us: u32, reason: &str) -> Event {
        Event { outcome, elapsed_us, compile_us, reason: reason.to_owned(), ..Event::default() }
    }

    #[test]
    fn every_event_is_counted_in_exactly_one_place() {
        let events: Vec<_> = EventOutcome::ALL
            .into_iter()
            .map(|outcome| event(outcome, 10, 100, "stdin"))
            .chain([event(EventOutcome::Passthrough, 5, 0, "not-a-compile|version")])
            .collect();
        let summary = Summary::of(&events);
        let counted = summary.crates() + summary.passthroughs + summary.probes;
        assert_eq!(counted, events.len() as u64);
        assert_eq!((summary.hits(), summary.lookups(), summary.crates()), (3, 5, 7));
        assert_eq!(summary.probes, 1);
        assert_eq!(by_count(&summary.pass_reasons), [("stdin", 1)]);
    }

    #[test]
    fn time_saved_is_what_the_compilations_cost_less_what_the_hits_took() {
        let events = [
            event(EventOutcome::LocalHit, 10, 1_000, ""),
            event(EventOutcome::RemoteHit, 90, 1_000, ""),
            event(EventOutcome::Miss, 5_000, 4_900, "first build"),
        ];
        let summary = Summary::of(&events);
        assert_eq!(summary.saved_us(), 1_900);
        assert_eq!((summary.hits_us, summary.misses_us), (100, 5_000));
    }

    #[test]
    fn reasons_are_counted_by_what_stands_before_the_name() {
        let events = [
            event(EventOutcome::Skipped, 1, 1, "unobserved: cc"),
            event(EventOutcome::Skipped, 1, 1, "compiler failed"),
            event(EventOutcome::Skipped, 1, 1, "unobserved: ld"),
        ];
        let summary = Summary::of(&events);
        assert_eq!(summary.fallbacks, 2);
        assert_eq!(by_count(&summary.skip_reasons), [("unobserved", 2), ("compiler failed", 1)]);
    }
}
