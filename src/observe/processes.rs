//! Which executables were to run, and which reported.
//!
//! Each executable that an observed process runs is announced by that process, and reports when it
//! starts. One that is linked statically, runs with other privileges or is of another architecture
//! cannot report. Its announcement stays open, also where it becomes one that can: a report counts
//! only for the image that was announced.
//!
//! kache itself cannot report, and is no exception to that but one in what it hides: under
//! observation it becomes what it was asked to run at once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::programs::Images;

/// The number that stands for a process whose number its parent does not know.
const NAMELESS: u64 = 0;

#[derive(Default)]
pub(crate) struct Processes {
    by_pid: HashMap<u64, Balance>,
    reports: u64,
}

/// What one process number ran, in order: as it reported, and as it was announced.
#[derive(Default)]
struct Balance {
    reports: Vec<PathBuf>,
    announced: Vec<PathBuf>,
    /// How many times it was about to load libraries without having told since which came with them.
    loads: u64,
}

impl Processes {
    /// How many reports there were.
    pub(crate) fn reports(&self) -> u64 {
        self.reports
    }

    /// Counts a report, and returns what the process had said that it would become.
    pub(crate) fn report(&mut self, pid: u64, image: PathBuf) -> Option<PathBuf> {
        self.reports += 1;
        let balance = self.by_pid.entry(pid).or_default();
        balance.reports.push(image);
        balance.announced.last().cloned()
    }

    pub(crate) fn announce(&mut self, pid: u64, executable: PathBuf) -> bool {
        self.by_pid.entry(pid).or_default().announced.push(executable);
        true
    }

    /// Takes the last announcement back; `false` if there is none.
    pub(crate) fn take_back(&mut self, pid: u64) -> bool {
        self.by_pid.get_mut(&pid).and_then(|balance| balance.announced.pop()).is_some()
    }

    pub(crate) fn loads(&mut self, pid: u64) -> bool {
        self.by_pid.entry(pid).or_default().loads += 1;
        true
    }

    /// Notes that a process told what it loaded; `false` if it had not loaded anything.
    pub(crate) fn told(&mut self, pid: u64) -> bool {
        let balance = self.by_pid.get_mut(&pid);
        let less = balance.and_then(|balance| Some((balance.loads.checked_sub(1)?, balance)));
        less.map(|(loads, balance)| balance.loads = loads).is_some()
    }

    /// Whether a process loaded libraries and did not tell which came with them.
    pub(crate) fn owes_libraries(&self) -> bool {
        self.by_pid.values().any(|balance| balance.loads > 0)
    }

    /// The executables that ran and did not report, each as often as that happened. The first process
    /// was started by the wrapper, which announced nothing.
    pub(crate) fn unreported(&mut self, first_pid: u64, images: &mut Images) -> Vec<PathBuf> {
        if let Some(first) = self.by_pid.get_mut(&first_pid)
            && !first.reports.is_empty()
        {
            first.reports.remove(0);
        }
        let nameless = self.by_pid.remove(&NAMELESS).unwrap_or_default().announced;
        let mut unreported = Vec::new();
        let mut spare = Vec::new();
        for balance in self.by_pid.values_mut() {
            unreported.extend(settle(&balance.announced, &mut balance.reports, images));
            spare.append(&mut balance.reports);
        }
        unreported.extend(settle(&nameless, &mut spare, images));
        unreported.into_iter().map(Path::to_owned).collect()
    }
}

/// Takes one report away for each announcement; returns the announcements that have none.
///
/// An executable that is gone may be behind any report, so it gets one that no other needs: a process
/// number is given again in a long run, to a program that has nothing to do with the one before.
fn settle<'a>(
    announced: &'a [PathBuf],
    reports: &mut Vec<PathBuf>,
    images: &mut Images,
) -> Vec<&'a Path> {
    let mut unreported = Vec::new();
    let mut gone = Vec::new();
    for executable in announced {
        let Some(image) = images.of(executable) else {
            gone.push(executable.as_path());
            continue;
        };
        match reports.iter().position(|report| report == image) {
            Some(report) => drop(reports.swap_remove(report)),
            None => unreported.push(executable.as_path()),
        }
    }
    unreported.extend(gone.into_iter().filter(|_| reports.pop().is_none()));
    unreported
}
