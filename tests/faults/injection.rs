//! Each file-system call of a hit, of a miss and of a garbage collection fails in turn.
//!
//! The calls are recorded once; then each case begins with the same store and meets one failure, or
//! one that lasts from some call on, as a full disk does.

use crate::random::{Bound, Random, is_full, turn};
use crate::scene::{Scene, name};
use crate::strace::{Fault, calls, recorder, was_injected};
use crate::support::cargo::Cargo;

/// Seconds that each of the three may take in a bounded run.
const SECONDS: u64 = 15;
const FAULTS_MIN: usize = 20;
/// Failures that do not pass by themselves.
const LASTING: [&str; 4] = ["ENOSPC", "EMFILE", "EROFS", "EIO"];

/// What is done while something fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Hit,
    Miss,
    Collection,
}

/// The crate that is compiled, and one of which the store knows and that nothing happens to.
const FIRST: usize = 0;
const OTHER: usize = 1;

struct Enumeration {
    scene: Scene,
    work: Work,
    cap_bytes: u64,
}

impl Enumeration {
    fn new(work: Work) -> Self {
        let scene = Scene::new(2);
        let mut stored = vec![OTHER];
        if work != Work::Miss {
            stored.insert(0, FIRST);
        }
        for number in stored {
            assert!(scene.check(&name(number), "at first", |run| run), "a compiler runs");
            scene.check_hit(&name(number), "then");
            scene.clear(&name(number), "out");
        }
        scene.keep_store("kept");
        // One of two has to go.
        let cap_bytes = scene.blob_bytes() - 1;
        Self { scene, work, cap_bytes }
    }

    /// Does the work under the launcher, in a store as it was at the beginning.
    fn perform(&self, launcher: &[String], what: &str) {
        let scene = &self.scene;
        scene.restore_store("kept");
        if self.work == Work::Collection {
            // How it ends is its own affair.
            scene.gc(self.cap_bytes).launched_by(launcher).run();
        } else {
            scene.check(&name(FIRST), what, |run: Cargo<'_>| run.launched_by(launcher));
        }
    }

    /// What has to hold whatever failed before. Returns whether the store verified at once.
    fn check_after(&self, what: &str) -> bool {
        let scene = &self.scene;
        if self.work != Work::Collection {
            scene.check_hit(&name(OTHER), what);
        }
        for number in [FIRST, OTHER] {
            scene.check(&name(number), what, |run| run);
            scene.check_hit(&name(number), what);
        }
        let sound = scene.is_sound(what);
        scene.check(&name(FIRST), what, |run| run);
        sound
    }

    fn faults(&self) -> Vec<Fault> {
        let log = self.scene.space.path("log");
        self.perform(&recorder(&log), "recorded");
        let calls = calls(&log);
        let mut faults = Vec::new();
        for call in &calls {
            for error in call.errors() {
                faults.push(Fault { call: call.clone(), error, lasting: false });
                // What a compiler says has to be written.
                if LASTING.contains(error) && call.name != "write" {
                    faults.push(Fault { call: call.clone(), error, lasting: true });
                }
            }
        }
        let about_files = calls.iter().filter(|call| !call.errors().is_empty()).count();
        println!(
            "{:?}: {} system calls, {about_files} about files, {} faults",
            self.work,
            calls.len(),
            faults.len()
        );
        faults
    }
}

fn enumerate(work: Work) {
    let _turn = turn();
    let enumeration = Enumeration::new(work);
    let mut faults = enumeration.faults();
    let log = enumeration.scene.space.path("log");
    Random::new().shuffle(&mut faults);
    let bound = Bound::of(SECONDS);
    let (mut met, mut missed, mut repaired) = (0, 0, 0);
    for fault in &faults {
        if bound.is_over() && met >= FAULTS_MIN {
            break;
        }
        let what = format!("{work:?}, {fault:?}");
        enumeration.perform(&fault.launcher(&log), &what);
        if was_injected(&log) {
            met += 1;
        } else {
            missed += 1;
        }
        if !enumeration.check_after(&what) {
            repaired += 1;
        }
    }
    println!(
        "{work:?}: {met} faults met, {missed} not reached, {repaired} stores repaired, no wrong \
         byte, no failed call"
    );
    assert!(met >= FAULTS_MIN, "{met} faults are few");
    // How often a pipe is read is not the same in each run.
    assert!(missed * 10 <= met, "{missed} faults were not reached, {met} were");
    assert!(!is_full() || met + missed == faults.len());
}

#[test]
fn every_call_of_a_hit_may_fail() {
    enumerate(Work::Hit);
}

#[test]
fn every_call_of_a_miss_may_fail() {
    enumerate(Work::Miss);
}

#[test]
fn every_call_of_a_garbage_collection_may_fail() {
    enumerate(Work::Collection);
}
