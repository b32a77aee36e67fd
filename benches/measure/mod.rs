//! What the benchmarks of whole processes share: medians, processor time and disk use.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// The middle of the times; the benchmarks run every side equally often, interleaved.
pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    assert!(!times.is_empty(), "a median needs times");
    times.sort_unstable();
    times[times.len() / 2]
}

/// Runs a command that has to succeed, from start to exit.
pub(crate) fn time(command: &mut Command) -> Duration {
    let started = Instant::now();
    let status = command.status().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let elapsed = started.elapsed();
    assert!(status.success(), "{command:?}: {status}");
    elapsed
}

/// Prints a ratio as a row of the table that `benches/table` makes.
#[expect(clippy::print_stdout, reason = "a benchmark reports on standard output")]
pub(crate) fn row(what: &str, beside: &str, ratio: f64) {
    println!("| {what} | {beside} | {ratio:.2} |");
}

/// Processor time of all processes that this one has waited for, and of those that they waited for.
/// Zero where the kernel has no `/proc`.
pub(crate) fn processor_time_of_children() -> Duration {
    let Ok(stat) = fs::read_to_string("/proc/self/stat") else { return Duration::ZERO };
    // The name may hold anything up to its closing parenthesis; the third field follows it.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: u64 = fields.skip(13).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    let ticks_per_second = rustix::param::clock_ticks_per_second();
    Duration::from_millis(ticks * 1000 / ticks_per_second)
}

/// Runs a command that has to succeed, and returns the most bytes that its processes had in memory at
/// a time: pages that they share count for each. Looked at so often that the time means nothing. Zero
/// where the kernel has no `/proc`.
pub(crate) fn memory_peak(command: &mut Command) -> u64 {
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let mut peak = 0;
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is a child") {
            break status;
        }
        peak = peak.max(resident_bytes(child.id()));
        std::thread::yield_now();
    };
    assert!(status.success(), "{command:?}: {status}");
    peak
}

/// Of a process and all below it.
fn resident_bytes(pid: u32) -> u64 {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = entries.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    // Number, parent and pages of each; the name may hold anything up to its closing parenthesis.
    let processes: Vec<(u32, u32, u64)> = stats
        .filter_map(|stat| {
            let number = stat.split(' ').next()?.parse().ok()?;
            let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
            Some((number, fields.nth(1)?.parse().ok()?, fields.nth(19)?.parse().ok()?))
        })
        .collect();
    let (mut pages, mut left) = (0, vec![pid]);
    while let Some(pid) = left.pop() {
        left.extend(processes.iter().filter(|(_, parent, _)| *parent == pid).map(|found| found.0));
        pages += processes.iter().find(|found| found.0 == pid).map_or(0, |found| found.2);
    }
    pages * rustix::param::page_size() as u64
}

/// Bytes that the trees occupy together, each inode counted once.
pub(crate) fn bytes_occupied(directories: &[&Path]) -> u64 {
    let mut inodes = HashSet::new();
    let mut bytes = 0;
    let mut left: Vec<_> = directories.iter().map(|directory| directory.to_path_buf()).collect();
    while let Some(path) = left.pop() {
        let metadata = fs::symlink_metadata(&path).expect("what is measured exists");
        if metadata.is_dir() {
            let entries = fs::read_dir(&path).expect("a directory can be listed");
            left.extend(entries.map(|entry| entry.expect("an entry can be read").path()));
        }
        if inodes.insert((metadata.dev(), metadata.ino())) {
            bytes += metadata.blocks() * 512;
        }
    }
    bytes
}

/// Removes a directory that may be absent.
pub(crate) fn remove(directory: &Path) {
    if directory.exists() {
        fs::remove_dir_all(directory).expect("a directory of the benchmark can be removed");
    }
}

/// How many times `whole` goes into `part`.
pub(crate) fn ratio(part: Duration, whole: Duration) -> f64 {
    part.as_secs_f64() / whole.as_secs_f64()
}
