//! Parallel builds and garbage collections on one store, killed anywhere.
//!
//! Each worker compiles the same crates in a place of its own, so that they meet in the store: they
//! wait for each other, publish the same results, restore what another is about to evict. Kills come
//! at each system call of a call as it was recorded, and at any instruction.

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::random::{Bound, Random, is_full, turn};
use crate::scene::{Scene, name};
use crate::strace::{Call, calls, killer, recorder};
use crate::support::toolchain::{Toolchain, sysroot};

const WORKERS: usize = 4;
const CRATES: usize = 4;
/// Kills of a worker between two looks at what can be built.
const KILLS_PER_ROUND: usize = 20;
/// Seconds of a bounded run, and kills of one that is not.
const SECONDS: u64 = 15;
const KILLS_FULL: usize = 5_000;
const KILLS_MIN: usize = 100;

/// A place to build in, and the store that all share.
struct Worker {
    scene: Scene,
    random: Random,
    cap_bytes: u64,
    killed: usize,
    ended: usize,
}

/// The first one's space holds what all need.
fn workers() -> (Scene, Vec<Worker>) {
    let mut workers: Vec<Worker> = Vec::new();
    let first = Scene::new(0);
    let toolchain = Toolchain::witnessed(&first.space.path(""), "shared", sysroot());
    for number in 0..WORKERS {
        let mut scene = Scene::by(&toolchain, CRATES);
        if let Some(first) = workers.first() {
            scene.share_store(&first.scene);
        }
        let random = Random::numbered(number as u64);
        workers.push(Worker { scene, random, cap_bytes: 0, killed: 0, ended: 0 });
    }
    let scene = &workers[0].scene;
    for number in 0..CRATES {
        scene.check(&name(number), "at first", |run| run);
        workers[1].scene.check_hit(&name(number), "at the next");
    }
    // Something has to go at each collection.
    let cap_bytes = scene.blob_bytes() / 4 * 3;
    for worker in &mut workers {
        worker.cap_bytes = cap_bytes;
    }
    (first, workers)
}

impl Worker {
    /// A compilation or, now and then, a collection. What a killed one leaves behind is not looked
    /// at, so it goes to a place of its own.
    fn victim(&mut self, launcher: &[String]) -> Command {
        if self.random.below(8) == 0 {
            return self.scene.gc(self.cap_bytes).launched_by(launcher).command();
        }
        let number = self.killed + self.ended;
        let (name, out) = (name(self.random.below(CRATES)), format!("killed{number}"));
        self.scene.clear(&name, &out);
        self.scene.run(&name, &out).launched_by(launcher).command()
    }

    fn count(&mut self, killed: bool) {
        if killed {
            self.killed += 1;
        } else {
            self.ended += 1;
        }
    }

    fn kill_at_a_call(&mut self, recorded: &[Call]) {
        let log = self.scene.space.path("log");
        let call = &recorded[self.random.below(recorded.len())];
        let mut victim = self.victim(&killer(&log, call));
        let status = victim.stdout(Stdio::null()).stderr(Stdio::null()).status();
        let status = status.expect("strace can be started");
        self.count(status.signal() == Some(9));
    }

    /// Most calls are hits of a few milliseconds; the rest takes a compiler's time.
    fn kill_at_an_instruction(&mut self) {
        let mut victim = self.victim(&[]);
        victim.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let bound_us = if self.random.below(3) == 0 { 150_000 } else { 8_000 };
        let delay_us = self.random.below(bound_us) as u64;
        let mut child = victim.spawn().expect("kache can be started");
        let end = Instant::now() + Duration::from_micros(delay_us);
        while Instant::now() < end {
            std::hint::spin_loop();
        }
        let pid = Pid::from_child(&child);
        // The wrapper alone, as when the memory is full, or all, as when a build is stopped.
        let killed = if self.random.below(2) == 0 {
            kill_process(pid, Signal::KILL)
        } else {
            kill_process_group(pid, Signal::KILL)
        };
        // It is a zombie at least until it is waited for.
        killed.expect("a child can be killed");
        let status = child.wait().expect("it has ended");
        self.count(status.signal() == Some(9));
    }

    /// Whatever was killed, everything can be built.
    fn check(&self) {
        let what = format!("after {} kills", self.killed);
        for number in 0..CRATES {
            self.scene.check(&name(number), &what, |run| run);
        }
    }

    fn clean(&self) {
        for number in 0..CRATES {
            let crate_directory = self.scene.space.path(name(number));
            let entries = std::fs::read_dir(&crate_directory).expect("a crate").flatten();
            for entry in entries {
                if entry.file_name().as_encoded_bytes().starts_with(b"killed") {
                    // A compiler that was killed a moment ago may still write there.
                    drop(std::fs::remove_dir_all(entry.path()));
                }
            }
        }
    }
}

fn campaign(kind: &str, kill: impl Fn(&mut Worker) + Sync) {
    let _turn = turn();
    let (_first, mut workers) = workers();
    let bound = Bound::of(SECONDS);
    let killed = AtomicUsize::new(0);
    let is_over = || {
        let killed = killed.load(Ordering::Relaxed);
        killed >= KILLS_FULL || (bound.is_over() && killed >= KILLS_MIN)
    };
    std::thread::scope(|scope| {
        for worker in &mut workers {
            scope.spawn(|| {
                while !is_over() {
                    let before = worker.killed;
                    for _ in 0..KILLS_PER_ROUND {
                        kill(worker);
                    }
                    killed.fetch_add(worker.killed - before, Ordering::Relaxed);
                    worker.check();
                    worker.clean();
                }
            });
        }
    });
    let sum = |count: fn(&Worker) -> usize| workers.iter().map(count).sum::<usize>();
    let (killed, ended) = (sum(|worker| worker.killed), sum(|worker| worker.ended));
    for worker in &workers {
        worker.check();
    }
    let sound = workers[0].scene.is_sound("after all kills");
    for worker in &workers {
        worker.check();
        for number in 0..CRATES {
            worker.scene.check_hit(&name(number), "after all kills");
        }
    }
    println!(
        "{kind}: {killed} killed, {ended} ended before; the store {}; no wrong byte, no failed call",
        if sound { "is sound" } else { "was repaired" }
    );
    assert!(killed >= KILLS_MIN, "{killed} kills are few");
    assert!(!is_full() || killed >= KILLS_FULL);
}

/// The calls of a hit, a miss and a collection, for numbers that kills meet.
fn recorded() -> Vec<Call> {
    let scene = Scene::new(1);
    let log = scene.space.path("log");
    let mut recorded = Vec::new();
    for _ in ["a miss", "a hit"] {
        let launcher = recorder(&log);
        scene.check(&name(0), "recorded", |run| run.launched_by(&launcher));
        recorded.extend(calls(&log));
    }
    scene.gc(1).launched_by(recorder(&log)).run();
    recorded.extend(calls(&log));
    recorded
}

#[test]
fn killed_at_any_system_call() {
    let recorded = recorded();
    campaign("at system calls", |worker| worker.kill_at_a_call(&recorded));
}

#[test]
fn killed_at_any_instruction() {
    campaign("at instructions", Worker::kill_at_an_instruction);
}
