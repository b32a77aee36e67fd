//! What observing costs a process tree, beside the same tree unobserved, in one run.

#[path = "measure/run.rs"]
#[expect(dead_code, reason = "other benchmarks take words")]
mod run;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kache::observe::Observer;
use run::Run;

const RUNS: usize = 21;

fn main() {
    let Some(run) = Run::begin() else { return };
    let space = tempfile::tempdir().expect("a temporary directory");
    let source = space.path().join("a.rs");
    std::fs::write(&source, "pub fn f() {}\nfn main() {}\n").expect("a source");
    let source = source.to_str().expect("a path that is text");
    let out = space.path().to_str().expect("a path that is text");
    let cases: [(&str, &[&str]); 4] = [
        ("one process", &["/bin/sh", "-c", ":"]),
        ("a hundred processes", &["/bin/sh", "-c", "for i in $(seq 99); do ls /; done"]),
        ("a library", &["rustc", source, "--crate-type=lib", "--emit=metadata", "--out-dir", out]),
        ("an executable", &["rustc", source, "--crate-type=bin", "--out-dir", out]),
    ];
    for (name, words) in cases {
        run.note(name, report(name, words, space.path()));
    }
}

#[expect(clippy::print_stdout, reason = "the result of a benchmark")]
fn report(name: &str, words: &[&str], cache: &Path) -> Duration {
    let mut floor = Vec::new();
    let mut watched = Vec::new();
    let mut read = Vec::new();
    // In turns, so that whatever else the machine does falls on both.
    for _ in 0..RUNS {
        let start = Instant::now();
        run(&mut command(words));
        floor.push(start.elapsed());
        let observer = Observer::prepare(cache).expect("observation works here");
        let mut command = command(words);
        observer.attach(&mut command);
        let start = Instant::now();
        run(&mut command);
        watched.push(start.elapsed());
        let start = Instant::now();
        let observation = observer.finish();
        read.push(start.elapsed());
        assert_eq!(observation.complete, Ok(()));
    }
    let [floor, watched, read] = [floor, watched, read].map(median);
    println!("{name:<20} {floor:>10.1?} observed {watched:>10.1?} log read in {read:.1?}");
    watched
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdout(Stdio::null());
    command
}

fn run(command: &mut Command) {
    assert!(command.status().expect("the command runs").success());
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
