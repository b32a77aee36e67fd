//! What it costs to understand a call before anything is looked up: microseconds for each recorded
//! call, in four steps that each include the ones before. The floor is a copy of the arguments.

#![expect(clippy::print_stdout, reason = "a benchmark reports there")]

#[path = "measure/run.rs"]
#[expect(dead_code, reason = "other benchmarks take words")]
mod run;

use std::ffi::OsString;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use kache::invocation::{Invocation, Parsed, parse};
use kache::roots::Roots;
use run::Run;

const ROUNDS: u32 = 2000;

/// A recorded call: arguments, and the lines that describe its surroundings.
struct Call {
    name: String,
    arguments: Vec<OsString>,
    lines: Vec<String>,
}

fn calls() -> Vec<Call> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/invocations");
    let entries = std::fs::read_dir(directory).expect("recorded calls");
    let mut calls = entries
        .map(|entry| {
            let entry = entry.expect("an entry");
            let text = std::fs::read_to_string(entry.path()).expect("a recorded call");
            let (arguments, lines) = text.lines().partition::<Vec<_>, _>(|l| l.starts_with("arg "));
            Call {
                name: entry.file_name().to_string_lossy().into_owned(),
                arguments: arguments.into_iter().map(|line| line[4..].into()).collect(),
                lines: lines.into_iter().map(str::to_owned).collect(),
            }
        })
        .filter(|call| matches!(parse(&call.arguments, |_| None), Parsed::Compile(_)))
        .collect::<Vec<_>>();
    // As many crates as a large workspace has, in the layout that names each one's directory.
    let mut large = calls.iter().find(|call| call.name == "new-layout-bin.txt").expect("it").copy();
    "400 dependencies".clone_into(&mut large.name);
    for n in 0..400 {
        let unit = format!("/home/u/code/app/target-new/debug/build/crate{n}/0123456789abcdef/out");
        large.arguments.extend(["-L".into(), format!("dependency={unit}").into()]);
        if n % 4 == 0 {
            let library = format!("crate{n}={unit}/libcrate{n}-0123456789abcdef.rlib");
            large.arguments.extend(["--extern".into(), library.into()]);
        }
    }
    calls.push(large);
    calls.sort_by_key(|call| call.arguments.len());
    calls
}

impl Call {
    fn copy(&self) -> Self {
        Self {
            name: self.name.clone(),
            arguments: self.arguments.clone(),
            lines: self.lines.clone(),
        }
    }

    fn parse(&self) -> Box<Invocation> {
        match parse(&self.arguments, |_| None) {
            Parsed::Compile(invocation) => invocation,
            Parsed::Pass(reason) => panic!("{reason}"),
        }
    }

    fn roots(&self, invocation: &Invocation) -> Roots {
        let find = |prefix: &str| self.lines.iter().find_map(|line| line.strip_prefix(prefix));
        let variable = |name: &str| find(&format!("env {name}=")).map(OsString::from);
        Roots::derive(invocation, Path::new(find("cwd=").expect("a directory")), variable)
    }
}

fn microseconds(mut step: impl FnMut()) -> f64 {
    let started = Instant::now();
    for _ in 0..ROUNDS {
        step();
    }
    started.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS)
}

fn main() {
    let Some(run) = Run::begin() else { return };
    println!(
        "{:28} {:>5} {:>8} {:>8} {:>8} {:>10}",
        "", "args", "copy", "parse", "roots", "normalized"
    );
    for call in calls() {
        let copy = microseconds(|| drop(black_box(call.arguments.clone())));
        let parsed = microseconds(|| drop(black_box(call.parse())));
        let rooted = microseconds(|| drop(black_box(call.roots(&call.parse()))));
        let normalized = microseconds(|| {
            let invocation = call.parse();
            let roots = call.roots(&invocation);
            black_box(invocation.normalized(&roots).map(|part| part.value.len()).sum::<usize>());
        });
        println!(
            "{:28} {:>5} {copy:>8.1} {parsed:>8.1} {rooted:>8.1} {normalized:>10.1}",
            call.name,
            call.arguments.len(),
        );
        run.note(&call.name, Duration::from_secs_f64(normalized / 1e6));
    }
}
