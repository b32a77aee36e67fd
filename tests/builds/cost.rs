//! What a hit costs, in numbers that no other load on the machine changes.

use std::process::Command;

use crate::support::toolchain::sysroot;
use crate::support::{Cargo, TestSpace, succeed};

/// System calls of a whole hit of a small library, its start by the kernel and its end included, but
/// not those that look at the toolchain.
const CALLS_MAX: usize = 110;

/// Peak memory of a hit. Pages of the executable near those that run are counted with them; without
/// optimization it is several times as large.
const MEMORY_BYTES_MAX: u64 = if cfg!(debug_assertions) { 20 << 20 } else { 8 << 20 };

/// A call as Cargo makes it for a library of the registry.
fn compile(space: &TestSpace) -> Cargo<'_> {
    let out = space.path("vendored/pebble/out").display().to_string();
    let search = format!("dependency={out}");
    space.rustc(
        "vendored/pebble",
        [
            "--crate-name",
            "pebble",
            "--edition=2024",
            "src/lib.rs",
            "--error-format=json",
            "--json=diagnostic-rendered-ansi,artifacts,future-incompat",
            "--crate-type",
            "lib",
            "--emit=dep-info,metadata,link",
            "-C",
            "embed-bitcode=no",
            "-C",
            "debuginfo=2",
            "--cap-lints",
            "allow",
            "-C",
            "metadata=0f6dcd3ed4d5a2b3",
            "-C",
            "extra-filename=-34bcd1ff6b3f0a45",
            "--out-dir",
            &out,
            "-L",
            &search,
        ],
    )
}

/// A space where [`compile`] is a hit.
fn warm() -> TestSpace {
    let space = TestSpace::new();
    space.vendor("pebble", "", &[("src/lib.rs", "pub fn weight() -> u32 { 7 }\n")]);
    for expected in [1, 0, 0] {
        space.remove("vendored/pebble/out");
        space.write("vendored/pebble/out/.keep", "");
        let build = compile(&space).succeed();
        assert_eq!(build.compiled.len(), expected, "{}", build.text());
    }
    space.remove("vendored/pebble/out");
    space.write("vendored/pebble/out/.keep", "");
    space
}

#[test]
fn a_hit_starts_no_process_and_no_thread_and_makes_few_system_calls() {
    let space = warm();
    let trace = space.path("trace").display().to_string();
    let hit = compile(&space).launched_by(["strace", "-f", "-o", &trace]).succeed();
    assert_eq!(hit.compiled, [""; 0]);
    let trace = space.read("trace");
    // Each line is "PID call(arguments) = result"; the rest are signals and exits.
    let calls: Vec<&str> = trace
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(_, call)| call.trim_start())
        .filter(|call| call.contains('('))
        .collect();
    let named = |name: &str| calls.iter().filter(|call| call.starts_with(name)).count();
    for child in ["clone(", "clone3(", "fork(", "vfork("] {
        assert_eq!(named(child), 0, "{child} in\n{trace}");
    }
    assert_eq!(named("execve("), 1, "{trace}");
    for other in [
        "connect(",
        "fsync(",
        "fdatasync(",
        "sync_file_range(",
        "flock(",
        "nanosleep(",
        "clock_nanosleep(",
    ] {
        assert_eq!(named(other), 0, "{other} in\n{trace}");
    }
    // How many files a toolchain has is not kache's doing: one call tells whether each is the same.
    let sysroot = sysroot().display().to_string();
    let (toolchain, own): (Vec<&str>, Vec<&str>) =
        calls.iter().partition(|call| call.contains(&sysroot));
    let is_look = |call: &&str| call.starts_with("newfstatat(") || call.starts_with("statx(");
    assert!(toolchain.iter().all(is_look), "{trace}");
    assert!(own.len() <= CALLS_MAX, "{} calls, at most {CALLS_MAX}:\n{trace}", own.len());
}

/// ext4 writes a file out before it is renamed over another one: that took longer than all else that
/// a hit does in a target directory that is not empty.
#[test]
fn a_hit_renames_nothing_over_a_file() {
    let space = warm();
    compile(&space).succeed();
    let trace = space.path("trace").display().to_string();
    let hit = compile(&space).launched_by(["strace", "-f", "-o", &trace]).succeed();
    assert_eq!(hit.compiled, [""; 0]);
    let trace = space.read("trace");
    let renames: Vec<&str> = trace.lines().filter(|line| line.contains(" rename")).collect();
    let count = |ending: &str| renames.iter().filter(|line| line.contains(ending)).count();
    // Dep-info and metadata; the library is a link already.
    let found = [count("RENAME_NOREPLACE) = -1 EEXIST"), count("RENAME_EXCHANGE) = 0")];
    assert_eq!((found, renames.len()), ([2, 2], 4), "{trace}");
}

#[test]
fn a_hit_needs_little_memory() {
    let space = warm();
    let source = space.write("peak.c", PEAK);
    let peak = space.path("peak");
    succeed(Command::new("cc").args(["-O1", "-o"]).arg(&peak).arg(source));
    let report = space.path("report").display().to_string();
    let peak = peak.display().to_string();
    let hit = compile(&space).launched_by([peak.as_str(), &report]).succeed();
    assert_eq!(hit.compiled, [""; 0]);
    let kibibytes: u64 = space.read("report").trim().parse().expect("a number");
    assert!(kibibytes > 100, "a process needs memory");
    let bytes = kibibytes * 1024;
    assert!(bytes < MEMORY_BYTES_MAX, "{bytes} bytes, at most {MEMORY_BYTES_MAX}");
}

/// Runs a command and writes its peak resident memory in KiB to a file.
const PEAK: &str = r#"
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv) {
    pid_t child = vfork();
    if (child == 0) {
        execv(argv[2], argv + 2);
        _exit(127);
    }
    int status;
    struct rusage usage;
    if (wait4(child, &status, 0, &usage) != child) return 126;
    FILE *report = fopen(argv[1], "w");
    if (!report) return 125;
    fprintf(report, "%ld\n", usage.ru_maxrss);
    fclose(report);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 124;
}
"#;
