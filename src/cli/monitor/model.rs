//! What the dashboard knows: events become builds, and builds become projects.

use crate::cli::inventory::Inventory;
use crate::cli::summary::Summary;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use store_format::{Event, EventOutcome};

/// Events that are kept to be listed.
const RECENT_MAX: usize = 500;
/// Builds that are kept to be listed.
const BUILDS_MAX: usize = 500;
/// A pause after which the same process number is another process.
const PAUSE_MS_MAX: u64 = 10 * 60 * 1000;
/// How long after its last event a build counts as running.
const RUNNING_MS: u64 = 3_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tab {
    Builds,
    Projects,
    Calls,
    Store,
    Passed,
}

impl Tab {
    pub(super) const ALL: [Self; 5] =
        [Self::Builds, Self::Projects, Self::Calls, Self::Store, Self::Passed];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Builds => "1 Builds",
            Self::Projects => "2 Projects",
            Self::Calls => "3 Calls",
            Self::Store => "4 Store",
            Self::Passed => "5 Not cached",
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
    pub(super) summary: Summary,
    /// Newest last.
    pub(super) builds: VecDeque<Build>,
    /// Newest last; questions to the compiler are left out.
    pub(super) recent: VecDeque<Event>,
    pub(super) tab: Tab,
    pub(super) scroll: usize,
    /// The build that each Cargo is making, counted from the first one ever seen.
    current: HashMap<u32, usize>,
    dropped: usize,
}

impl Model {
    pub(super) fn new(cache_dir: PathBuf, max_size_bytes: u64) -> Self {
        Self {
            cache_dir,
            max_size_bytes,
            store: Inventory::default(),
            daemon: Vec::new(),
            summary: Summary::default(),
            builds: VecDeque::new(),
            recent: VecDeque::new(),
            tab: Tab::Builds,
            scroll: 0,
            current: HashMap::new(),
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
        let ended_ms = event.started_ms + u64::from(event.elapsed_us) / 1000;
        let known = self.current.get(&event.cargo_pid).copied();
        let known = known.and_then(|number| number.checked_sub(self.dropped)).filter(|place| {
            let build = &self.builds[*place];
            build.ended_ms.saturating_add(PAUSE_MS_MAX) >= event.started_ms
        });
        let place = known.unwrap_or_else(|| {
            self.builds.push_back(Build { started_ms: event.started_ms, ..Build::default() });
            if self.builds.len() > BUILDS_MAX {
                self.builds.pop_front();
                self.dropped += 1;
            }
            self.current.insert(event.cargo_pid, self.dropped + self.builds.len() - 1);
            self.builds.len() - 1
        });
        let build = &mut self.builds[place];
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

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!((last.started_ms, last.summary.hits()), (0, 1), "a dropped build begins anew");
        assert_eq!(model.builds[BUILDS_MAX - 2].summary.hits(), 2);
        assert_eq!(model.projects().len(), 2);
        assert_eq!(model.summary.hits(), u64::from(count) + 2);
    }
}
