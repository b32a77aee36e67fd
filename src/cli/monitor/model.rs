//! What the dashboard knows: events become builds, and builds become projects.

use crate::cli::inventory::Inventory;
use crate::cli::summary::Summary;
use crate::runs::{Runs, end_ms};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use store_format::message::Status;
use store_format::{Event, EventOutcome};

/// Events that are kept to be listed.
const RECENT_MAX: usize = 500;
/// Builds that are kept to be listed.
const BUILDS_MAX: usize = 500;
/// How long after its last event a build counts as running.
const RUNNING_MS: u64 = 3_000;
/// Seconds of transfers that are kept to be drawn.
const SECONDS_MAX: usize = 240;
/// Seconds that a rate is of.
const RATE_SECONDS: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tab {
    Builds,
    Projects,
    Calls,
    Store,
    Transfers,
    Passed,
}

impl Tab {
    pub(super) const ALL: [Self; 6] =
        [Self::Builds, Self::Projects, Self::Calls, Self::Store, Self::Transfers, Self::Passed];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Builds => "1 Builds",
            Self::Projects => "2 Projects",
            Self::Calls => "3 Calls",
            Self::Store => "4 Store",
            Self::Transfers => "5 Transfers",
            Self::Passed => "6 Not cached",
        }
    }

    pub(super) fn next(self) -> Self {
        Self::ALL[(self as usize + 1) % Self::ALL.len()]
    }

    pub(super) fn previous(self) -> Self {
        Self::ALL[(self as usize + Self::ALL.len() - 1) % Self::ALL.len()]
    }
}

/// One run of Cargo.
#[derive(Debug, Default)]
pub(super) struct Build {
    pub(super) workspace: String,
    pub(super) started_ms: u64,
    pub(super) ended_ms: u64,
    pub(super) summary: Summary,
}

impl Build {
    pub(super) fn is_running(&self, now_ms: u64) -> bool {
        self.ended_ms.saturating_add(RUNNING_MS) > now_ms
    }
}

#[derive(Debug)]
pub(super) struct Model {
    pub(super) cache_dir: PathBuf,
    pub(super) max_size_bytes: u64,
    pub(super) store: Inventory,
    /// What the daemon says of itself; empty where there is no remote.
    pub(super) daemon: Vec<(&'static str, String)>,
    pub(super) transfers: Transfers,
    pub(super) summary: Summary,
    /// Newest last.
    pub(super) builds: VecDeque<Build>,
    /// Newest last; questions to the compiler are left out.
    pub(super) recent: VecDeque<Event>,
    pub(super) tab: Tab,
    pub(super) scroll: usize,
    runs: Runs,
    /// How many builds are not kept any more.
    dropped: usize,
}

impl Model {
    pub(super) fn new(cache_dir: PathBuf, max_size_bytes: u64) -> Self {
        Self {
            cache_dir,
            max_size_bytes,
            store: Inventory::default(),
            daemon: Vec::new(),
            transfers: Transfers::default(),
            summary: Summary::default(),
            builds: VecDeque::new(),
            recent: VecDeque::new(),
            tab: Tab::Builds,
            scroll: 0,
            runs: Runs::default(),
            dropped: 0,
        }
    }

    pub(super) fn select(&mut self, tab: Tab) {
        self.tab = tab;
        self.scroll = 0;
    }

    pub(super) fn extend(&mut self, events: Vec<Event>) {
        for event in events {
            self.add(event);
        }
    }

    fn add(&mut self, event: Event) {
        self.summary.add(&event.view());
        if event.outcome == EventOutcome::Passthrough && event.crate_name.is_empty() {
            return;
        }
        self.add_to_build(&event);
        self.recent.push_back(event);
        if self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
    }

    fn add_to_build(&mut self, event: &Event) {
        let ended_ms = end_ms(event);
        let number = self.runs.run_of(event);
        if number == self.dropped + self.builds.len() {
            self.builds.push_back(Build { started_ms: event.started_ms, ..Build::default() });
            if self.builds.len() > BUILDS_MAX {
                self.builds.pop_front();
                self.dropped += 1;
            }
        }
        // `None`: it goes on after it was dropped.
        let place = number.checked_sub(self.dropped);
        let Some(build) = place.and_then(|place| self.builds.get_mut(place)) else { return };
        build.started_ms = build.started_ms.min(event.started_ms);
        build.ended_ms = build.ended_ms.max(ended_ms);
        build.summary.add(&event.view());
        // A dependency is compiled in its own directory, which is no project of the user.
        let own = !["/registry/src/", "/git/checkouts/"]
            .iter()
            .any(|part| event.workspace.contains(part));
        if build.workspace.is_empty() || own && !event.workspace.is_empty() {
            build.workspace.clone_from(&event.workspace);
        }
    }

    /// Builds by their workspace, with their numbers added up: builds, hits, lookups, time saved.
    pub(super) fn projects(&self) -> Vec<(&str, Project)> {
        let mut projects: BTreeMap<&str, Project> = BTreeMap::new();
        for build in &self.builds {
            let project = projects.entry(&build.workspace).or_default();
            project.builds += 1;
            project.hits += build.summary.hits();
            project.lookups += build.summary.lookups();
            project.saved_us += build.summary.saved_us();
            project.last_ms = project.last_ms.max(build.ended_ms);
        }
        let mut projects: Vec<_> = projects.into_iter().collect();
        projects.sort_by_key(|(_, project)| std::cmp::Reverse(project.last_ms));
        projects
    }
}

/// All builds of one workspace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Project {
    pub(super) builds: u64,
    pub(super) hits: u64,
    pub(super) lookups: u64,
    pub(super) saved_us: u64,
    pub(super) last_ms: u64,
}

/// What the daemon moves, as it was asked every second.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    status: Option<Status>,
    /// Bytes that were complete in each second, newest last.
    pub(super) downloaded: VecDeque<u64>,
    pub(super) uploaded: VecDeque<u64>,
}

impl Transfers {
    pub(super) fn note(&mut self, status: Option<Status>) {
        let same = |before: &Status, now: &Status| before.pid == now.pid;
        let moved = |bytes: fn(&Status) -> u64| match (&self.status, &status) {
            (Some(before), Some(now)) if same(before, now) => {
                bytes(now).saturating_sub(bytes(before))
            }
            _ => 0,
        };
        let (down, up) = (moved(|s| s.downloaded_bytes), moved(|s| s.uploaded_bytes));
        for (bytes, seconds) in [(down, &mut self.downloaded), (up, &mut self.uploaded)] {
            seconds.push_back(bytes);
            if seconds.len() > SECONDS_MAX {
                seconds.pop_front();
            }
        }
        self.status = status;
    }

    /// Downloads and uploads that go on.
    pub(super) fn active(&self) -> (u64, u64) {
        let status = self.status.as_ref();
        status.map_or((0, 0), |status| (status.downloads_active, status.uploads_active))
    }
}

/// Bytes a second, over the last of the seconds.
pub(super) fn rate(seconds: &VecDeque<u64>) -> u64 {
    let last = seconds.iter().rev().take(RATE_SECONDS);
    last.sum::<u64>() / RATE_SECONDS as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_one_daemon_and_fade() {
        let mut transfers = Transfers::default();
        let status = |pid, downloaded_bytes| Status {
            pid,
            downloaded_bytes,
            downloads_active: 2,
            ..Status::default()
        };
        transfers.note(Some(status(1, 7_000)));
        assert_eq!(rate(&transfers.downloaded), 0, "what was moved before is not counted");
        transfers.note(Some(status(1, 17_000)));
        assert_eq!((rate(&transfers.downloaded), rate(&transfers.uploaded)), (2_000, 0));
        transfers.note(Some(status(2, 90_000)));
        assert_eq!(transfers.active(), (2, 0));
        for _ in 0..SECONDS_MAX {
            transfers.note(None);
        }
        assert_eq!((rate(&transfers.downloaded), transfers.active()), (0, (0, 0)));
        assert_eq!(transfers.downloaded.len(), SECONDS_MAX);
    }

    #[test]
    fn old_builds_are_dropped_and_the_others_still_grow() {
        let mut model = Model::new("/cache".into(), 1);
        let event = |cargo_pid: u32| Event {
            cargo_pid,
            started_ms: cargo_pid.into(),
            outcome: EventOutcome::LocalHit,
            workspace: format!("/w/{}", cargo_pid % 2),
            ..Event::default()
        };
        let count = u32::try_from(BUILDS_MAX).unwrap() + 10;
        model.extend((0..count).map(event).collect());
        assert_eq!(model.builds.len(), BUILDS_MAX);
        model.extend(vec![event(count - 1), event(0)]);
        let last = &model.builds[BUILDS_MAX - 1];
        assert_eq!((last.started_ms, last.summary.hits()), (u64::from(count) - 1, 2));
        assert_eq!(model.projects().len(), 2);
        assert_eq!(model.summary.hits(), u64::from(count) + 2);
    }
}
