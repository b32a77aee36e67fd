//! Which executables were to run, and which reported.
//!
//! Each executable that an observed process runs is announced by that process, and reports when it
//! starts. One that is linked statically, runs with other privileges or is of another architecture
//! cannot report; its announcement stays open.

use std::collections::HashMap;
use std::path::PathBuf;

/// The number that stands for a process whose number its parent does not know.
const NAMELESS: u64 = 0;

#[derive(Default)]
pub(crate) struct Processes {
    by_pid: HashMap<u64, Balance>,
    reports: u64,
}

/// Reports and announcements of one process number, in order.
#[derive(Default)]
struct Balance {
    reports: usize,
    announced: Vec<PathBuf>,
}

impl Processes {
    /// How many reports there were.
    pub(crate) fn reports(&self) -> u64 {
        self.reports
    }

    /// Counts a report, and returns what the process had said that it would become.
    pub(crate) fn report(&mut self, pid: u64) -> Option<PathBuf> {
        self.reports += 1;
        let balance = self.by_pid.entry(pid).or_default();
        balance.reports += 1;
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

    /// An executable that ran and did not report, if there is one. The first process was started
    /// by the wrapper, which announced nothing.
    pub(crate) fn unreported(&mut self, first_pid: u64) -> Option<PathBuf> {
        if let Some(first) = self.by_pid.get_mut(&first_pid) {
            first.reports = first.reports.saturating_sub(1);
        }
        let nameless = self.by_pid.remove(&NAMELESS).unwrap_or_default().announced;
        let mut spare = 0;
        for balance in self.by_pid.values() {
            if let Some(executable) = balance.announced.get(balance.reports) {
                return Some(executable.clone());
            }
            spare += balance.reports - balance.announced.len();
        }
        nameless.into_iter().nth(spare)
    }
}
