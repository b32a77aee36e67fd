//! How long commands take on a large cache: 50,000 results and 100,000 events.
//!
//! Each line has the floor beside it: the same executable printing its version.

#[path = "measure/run.rs"]
#[expect(dead_code, reason = "other benchmarks take words")]
mod run;

use kache::index::Index;
use run::Run;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use store_format::{
    ActionKey, Digest, Event, EventOutcome, Inline, Kind, NodeKind, Output, OutputRole,
    ResultRecord, UnitKey,
};

const EVENTS: u64 = 100_000;
const RESULTS: u64 = 50_000;
const RUNS: usize = 21;

fn main() {
    let Some(run) = Run::begin() else { return };
    let space = tempfile::tempdir().expect("a temporary directory");
    write_events(space.path());
    write_results(space.path());
    let floor = median(space.path(), &["--version"]);
    for arguments in [
        &["stats"][..],
        &["stats", "--json"],
        &["stats", "--since", "1h"],
        &["list"],
        &["list", "crate_7"],
        &["why-miss", "crate_7"],
        &["report", "--format", "html"],
    ] {
        let time = median(space.path(), arguments);
        let name = format!("kache {}", arguments.join(" "));
        report(&name, time, floor);
        run.note(&name, time);
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
            action: Some(ActionKey(digest(number % RESULTS))),
            unit: Some(UnitKey(digest(number))),
            ..Event::default()
        };
        log.extend(event.encode_frame());
    }
    std::fs::write(cache.join("events"), log).expect("a log");
}

fn write_results(cache: &Path) {
    let index = Index::open(cache).expect("an index");
    for number in 0..RESULTS {
        let output = |name: &str, kind: u64| Output {
            name: name.into(),
            node: NodeKind::File,
            role: OutputRole::Private,
            mode: 0o644,
            blob: digest(number * 10 + kind),
            size_bytes: 300_000,
            blob_mtime_ns: 0,
            inline: None,
        };
        let dep_info = [&digest(number).0[..], &digest(number + 1).0].concat();
        let text = Output { inline: Some(Inline::DepInfo(dep_info)), ..output("crate.d", 1) };
        let result = ResultRecord {
            action: ActionKey(digest(number)),
            unit: UnitKey(digest(number + 1)),
            crate_name: format!("crate_{}", number % 700).into_bytes(),
            outputs: vec![output("libcrate.rlib", 2), output("libcrate.rmeta", 3), text],
            stdout: Vec::new(),
            stderr: [b"{\"$message_type\":\"artifact\"}".to_vec(), digest(number).0.to_vec()]
                .concat(),
            exit_status: 0,
            cost_us: 900_000,
            boot: [0; 16],
            fetched: false,
            created_s: number,
        };
        index.put(Kind::Result, &result.action.0, &result.encode()).expect("room in the index");
    }
}

fn digest(number: u64) -> Digest {
    Digest(*blake3::hash(&number.to_le_bytes()).as_bytes())
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
