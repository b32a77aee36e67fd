//! A whole hit of a small crate, process start to exit, beside an empty C program that is linked
//! dynamically: what no wrapper can be faster than.
//!
//! The executable is a copy, as an installed one is: what a linker has written page by page lies in
//! memory in smaller pieces, and takes longer to start.
//!
//! The sides run in turn, so that the machine's moods meet them alike.

#[path = "measure/mod.rs"]
#[expect(dead_code, reason = "whole builds use more of it")]
mod measure;
#[path = "measure/run.rs"]
#[expect(dead_code, reason = "other benchmarks take words")]
mod run;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use measure::{median, row, time};
use run::Run;

/// A hit may cost this many empty programs.
const RATIO_MAX: f64 = 2.2;
const RUNS: usize = 501;

#[expect(clippy::print_stdout, reason = "a benchmark reports on standard output")]
fn main() {
    let Some(run) = Run::begin() else { return };
    let space = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory");
    let empty = empty_program(space.path());
    let executable = space.path().join("kache");
    fs::copy(env!("CARGO_BIN_EXE_kache"), &executable).expect("it can be copied");
    fs::write(space.path().join("lib.rs"), "pub fn weight() -> u32 { 7 }\n").expect("a source");
    fs::create_dir(space.path().join("out")).expect("a directory");
    let plain = time(&mut compile(space.path(), true));
    for _ in 0..3 {
        time(&mut compile(space.path(), false));
    }
    let mut times: [Vec<Duration>; 3] = Default::default();
    for _ in 0..RUNS {
        times[0].push(time(Command::new(&empty).env_clear()));
        times[1].push(time(
            Command::new(&executable).env_clear().arg("--version").stdout(Stdio::null()),
        ));
        times[2].push(time(&mut compile(space.path(), false)));
    }
    let [empty, version, hit] = times.map(median);
    let ratio = hit.as_secs_f64() / empty.as_secs_f64();
    println!("empty C program     {empty:>12.1?}");
    println!("kache --version     {version:>12.1?}");
    println!(
        "hit of a small crate{hit:>12.1?}  {ratio:.2} of the empty program, at most {RATIO_MAX}"
    );
    println!("the compiler        {plain:>12.1?}");
    run.note("empty C program", empty);
    run.note("kache --version", version);
    run.note("hit of a small crate", hit);
    row("a hit of a small crate, start to exit", "an empty C program", ratio);
    let compiler = hit.as_secs_f64() / plain.as_secs_f64();
    row("a hit of a small crate, start to exit", "the compiler", compiler);
}

/// Compiles `int main(void) { return 0; }`.
fn empty_program(space: &Path) -> std::path::PathBuf {
    let source = space.join("empty.c");
    fs::write(&source, "int main(void) { return 0; }\n").expect("a source");
    let program = space.join("empty");
    time(Command::new("cc").arg("-O2").arg("-o").args([&program, &source]));
    program
}

/// A call as Cargo makes it, with or without kache before it.
fn compile(space: &Path, plain: bool) -> Command {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = if plain {
        Command::new(rustc)
    } else {
        let mut command = Command::new(space.join("kache"));
        command.arg(rustc);
        command
    };
    command.current_dir(space).env("KACHE_CACHE_DIR", space.join("cache")).stderr(Stdio::null());
    command.args(["--crate-name", "lib", "--edition=2024", "lib.rs", "--error-format=json"]);
    command.args([
        "--json=diagnostic-rendered-ansi,artifacts,future-incompat",
        "--crate-type",
        "lib",
    ]);
    command.args(["--emit=dep-info,metadata,link", "-C", "embed-bitcode=no", "-C", "debuginfo=2"]);
    command.args(["-C", "metadata=0f6dcd3ed4d5a2b3", "-C", "extra-filename=-34bcd1ff6b3f0a45"]);
    command.args(["--out-dir", "out", "-L", "dependency=out"]);
    command
}
