//! How long commands take on a large cache: 100,000 events.
//!
//! Each line has the floor beside it: the same executable printing its version.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use store_format::{Event, EventOutcome};

const EVENTS: u64 = 100_000;
const RUNS: usize = 21;

fn main() {
    // `cargo test --benches` only wants to know that it builds and starts.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let space = tempfile::tempdir().expect("a temporary directory");
    write_events(space.path());
    let floor = median(space.path(), &["--version"]);
    for arguments in [&["stats"][..], &["stats", "--json"], &["stats", "--since", "1h"]] {
        let time = median(space.path(), arguments);
        report(&format!("kache {}", arguments.join(" ")), time, floor);
    }
}

fn write_events(cache: &Path) {
    let mut log = Vec::new();
    for number in 0..EVENTS {
        let event = Event {
            started_ms: number,
            elapsed_us: 1_500,
            compile_us: 900_000,
            outcome: if number % 10 == 0 { EventOutcome::Miss } else { EventOutcome::LocalHit },
            crate_name: format!("crate_{}", number % 700),
            crate_version: "1.2.3".to_owned(),
            kind: "lib".to_owned(),
            workspace: "/home/user/projects/workspace".to_owned(),
            size_bytes: 1_000_000,
            linked_bytes: 900_000,
            ..Event::default()
        };
        log.extend(event.encode_frame());
    }
    std::fs::write(cache.join("events"), log).expect("a log");
}

fn median(cache: &Path, arguments: &[&str]) -> Duration {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_kache"));
            command.args(arguments).env("KACHE_CACHE_DIR", cache).stdout(Stdio::null());
            let started = Instant::now();
            let status = command.status().expect("kache starts");
            assert!(status.success(), "kache {arguments:?} ended with {status}");
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[RUNS / 2]
}

#[expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]
fn report(name: &str, time: Duration, floor: Duration) {
    println!("{name:32} {time:>10.1?}   floor {floor:.1?}");
}
