//! Which events belong to one build.

use crate::events::is_hit;
use crate::runs::{Runs, end_ms};
use std::collections::HashMap;
use std::path::Path;
use store_format::{Event, EventOutcome};

/// The events of one run of Cargo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Build {
    pub(super) cargo_pid: u32,
    pub(super) started_ms: u64,
    pub(super) ended_ms: u64,
    /// Places in the list of all events, in order of their start.
    pub(super) events: Vec<usize>,
    /// Where most of what is not a dependency was compiled.
    pub(super) workspace: String,
}

/// Groups events (sorted by start) by the Cargo that made them. Runs that only asked the compiler
/// something are not builds.
pub(super) fn group(events: &[Event]) -> Vec<Build> {
    let mut builds: Vec<Build> = Vec::new();
    let mut runs = Runs::default();
    for (place, event) in events.iter().enumerate() {
        let (number, ended_ms) = (runs.run_of(event), end_ms(event));
        if let Some(build) = builds.get_mut(number) {
            build.events.push(place);
            build.ended_ms = build.ended_ms.max(ended_ms);
        } else {
            builds.push(Build {
                cargo_pid: event.cargo_pid,
                started_ms: event.started_ms,
                ended_ms,
                events: vec![place],
                workspace: String::new(),
            });
        }
    }
    builds.retain(|build| {
        build.events.iter().any(|place| events[*place].outcome != EventOutcome::Passthrough)
    });
    for build in &mut builds {
        build.workspace = workspace_of(build, events);
    }
    builds
}

fn workspace_of(build: &Build, events: &[Event]) -> String {
    let mut counts: HashMap<&str, (bool, usize)> = HashMap::new();
    for place in &build.events {
        let workspace = events[*place].workspace.as_str();
        let own =
            !["/registry/src/", "/git/checkouts/"].iter().any(|part| workspace.contains(part));
        if !workspace.is_empty() {
            counts.entry(workspace).or_insert((own, 0)).1 += 1;
        }
    }
    let most = counts.into_iter().max_by_key(|(name, count)| (*count, std::cmp::Reverse(*name)));
    most.map(|(name, _)| name.to_owned()).unwrap_or_default()
}

impl Build {
    /// Whether something was compiled in this directory or below it.
    pub(super) fn is_in(&self, root: &Path, events: &[Event]) -> bool {
        self.events.iter().any(|place| Path::new(&events[*place].workspace).starts_with(root))
    }

    pub(super) fn of<'a>(&'a self, events: &'a [Event]) -> impl Iterator<Item = &'a Event> {
        self.events.iter().map(|place| &events[*place])
    }

    /// Places in the list of all events, in order: what ended last, before it what had ended last
    /// when that began, and so on. Which call waited for which is not known; this is the chain that
    /// the times admit.
    pub(super) fn critical_path(&self, events: &[Event]) -> Vec<usize> {
        let calls = |place: &&usize| events[**place].outcome != EventOutcome::Passthrough;
        let mut by_end: Vec<usize> = self.events.iter().filter(calls).copied().collect();
        by_end.sort_by_key(|place| (end_ms(&events[*place]), events[*place].elapsed_us));
        let mut path = Vec::new();
        let mut began_ms = u64::MAX;
        for place in by_end.into_iter().rev() {
            if end_ms(&events[place]) <= began_ms {
                began_ms = events[place].started_ms;
                path.push(place);
            }
        }
        path.reverse();
        path
    }

    /// A lane for each event, so that events at the same time lie in different ones.
    pub(super) fn lanes(&self, events: &[Event]) -> (Vec<usize>, usize) {
        let mut free_from_ms: Vec<u64> = Vec::new();
        let mut lanes = Vec::with_capacity(self.events.len());
        for event in self.of(events) {
            let free = free_from_ms.iter().position(|free_ms| *free_ms <= event.started_ms);
            let lane = free.unwrap_or_else(|| {
                free_from_ms.push(0);
                free_from_ms.len() - 1
            });
            // Events within one millisecond still follow each other.
            free_from_ms[lane] = end_ms(event).max(event.started_ms + 1);
            lanes.push(lane);
        }
        (lanes, free_from_ms.len())
    }
}

/// The word for an outcome in reports.
pub(in crate::cli) fn outcome_name(outcome: EventOutcome) -> &'static str {
    match outcome {
        EventOutcome::LocalHit => "local_hit",
        EventOutcome::PrefetchHit => "prefetch_hit",
        EventOutcome::RemoteHit => "remote_hit",
        EventOutcome::Miss => "miss",
        EventOutcome::Dup => "dup",
        EventOutcome::Error => "error",
        EventOutcome::Skipped => "skipped",
        EventOutcome::Passthrough => "passthrough",
    }
}

/// The class of an outcome, for colours.
pub(super) fn outcome_class(outcome: EventOutcome) -> &'static str {
    match outcome {
        EventOutcome::Miss | EventOutcome::Dup => "miss",
        EventOutcome::Error => "error",
        EventOutcome::Skipped => "skipped",
        EventOutcome::Passthrough => "passthrough",
        hit if is_hit(hit) => "hit",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(cargo_pid: u32, started_ms: u64, elapsed_ms: u32, workspace: &str) -> Event {
        Event {
            cargo_pid,
            started_ms,
            elapsed_us: elapsed_ms * 1000,
            workspace: workspace.to_owned(),
            crate_name: "a".to_owned(),
            outcome: EventOutcome::Miss,
            ..Event::default()
        }
    }

    #[test]
    fn a_build_is_what_one_cargo_made() {
        let events = [
            event(1, 0, 50, "/home/.cargo/registry/src/a-1.0"),
            event(2, 10, 50, "/w"),
            event(1, 40, 100, "/w"),
            event(1, 50, 10, "/w"),
            event(1, 5_000_000, 1, "/w"),
            Event { outcome: EventOutcome::Passthrough, ..event(3, 5_000_000, 1, "/w") },
        ];
        let builds = group(&events);
        let places: Vec<_> = builds.iter().map(|build| build.events.clone()).collect();
        assert_eq!(places, [vec![0, 2, 3], vec![1], vec![4]]);
        assert_eq!(builds[0].workspace, "/w", "a dependency's directory is not the workspace");
        assert_eq!(builds[0].ended_ms, 140);
        assert!(builds[1].is_in(Path::new("/w"), &events));
        assert!(!builds[1].is_in(Path::new("/v"), &events));
    }

    #[test]
    fn the_critical_path_goes_back_from_the_last_end() {
        let mut events = vec![
            event(1, 0, 10, "/w"),
            event(1, 0, 40, "/w"),
            event(1, 10, 50, "/w"),
            event(1, 41, 5, "/w"),
            event(1, 60, 30, "/w"),
        ];
        let path = |events: &[Event]| group(events)[0].critical_path(events);
        assert_eq!(path(&events), [0, 2, 4]);
        events[2].outcome = EventOutcome::Passthrough;
        assert_eq!(path(&events), [1, 3, 4]);
    }

    #[test]
    fn events_in_one_lane_never_overlap() {
        let events: Vec<_> = [(0, 10), (0, 5), (5, 1), (6, 0), (6, 9), (10, 3)]
            .map(|(s, e)| event(1, s, e, ""))
            .into();
        let build = &group(&events)[0];
        let (lanes, count) = build.lanes(&events);
        assert_eq!((lanes, count), (vec![0, 1, 1, 1, 2, 0], 3));
    }
}
