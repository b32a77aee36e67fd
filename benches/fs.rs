//! What each way to do a batch of file operations costs, in microseconds for each file.
//!
//! `cargo bench --bench fs [-- DIRECTORY [COMMAND]]`; the directory should be on the disk of
//! interest. Each line names a floor (the bare system call, or a sequential pass) and the others as
//! multiples of it. Cold passes drop the files' pages first, or run COMMAND, which may do more
//! (mount the directory's filesystem anew, say); sides of one comparison take turns.

#![expect(clippy::print_stdout, reason = "a benchmark reports there")]

#[path = "measure/run.rs"]
mod run;

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kache::fs::{self, LinkMode, Means};
use run::Run;

const BATCHES: [usize; 5] = [4, 16, 32, 64, 512];
const FILE_BYTES: [usize; 2] = [4 << 10, 256 << 10];
const ROUNDS: usize = 9;

fn main() {
    let Some(run) = Run::begin() else { return };
    let base = run.words().first().map_or(env!("CARGO_TARGET_TMPDIR"), |word| word);
    let command = run.words().get(1).map(String::as_str);
    let space = tempfile::tempdir_in(base).expect("a directory to measure in");
    println!("microseconds for each file, median of {ROUNDS}; in brackets: times the floor");
    for bytes in FILE_BYTES {
        for count in BATCHES {
            if bytes * count <= 32 << 20 {
                batches(&run, space.path(), count, bytes, command);
            }
        }
    }
    for bytes in FILE_BYTES {
        places(&run, space.path(), 128, bytes);
    }
}

/// A set of files, written through to the disk so that their pages can be dropped.
fn files(space: &Path, count: usize, bytes: usize) -> Vec<PathBuf> {
    let directory = space.join(format!("{count}-{bytes}"));
    fs::create_directories(&directory).expect("a directory");
    let content = (0..=u8::MAX).cycle().take(bytes).collect::<Vec<_>>();
    let paths = (0..count).map(|n| directory.join(n.to_string())).collect::<Vec<_>>();
    for path in &paths {
        fs::write_new(path, &content, 0o644).expect("a file");
        fs::sync(path).expect("a file on the disk");
    }
    paths
}

#[cfg(target_os = "linux")]
fn drop_pages(paths: &[PathBuf]) {
    for path in paths {
        let file = std::fs::File::open(path).expect("the file just written");
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("advice taken");
    }
}

#[cfg(not(target_os = "linux"))]
fn drop_pages(_: &[PathBuf]) {}

fn chill(paths: &[PathBuf], command: Option<&str>) {
    match command {
        None => drop_pages(paths),
        Some(command) => {
            let status = std::process::Command::new("sh").args(["-c", command]).status();
            assert!(status.is_ok_and(|status| status.success()), "{command}");
        }
    }
}

/// Medians of several actions that take turns, each prepared anew.
fn compare(prepare: impl Fn(), actions: &[&dyn Fn()]) -> Vec<Duration> {
    let mut times = vec![Vec::new(); actions.len()];
    for _ in 0..ROUNDS {
        for (action, times) in actions.iter().zip(&mut times) {
            prepare();
            let started = Instant::now();
            action();
            times.push(started.elapsed());
        }
    }
    for times in &mut times {
        times.sort();
    }
    times.into_iter().map(|times| times[ROUNDS / 2]).collect()
}

fn report(run: &Run, title: &str, count: usize, names: &[&str], times: &[Duration]) {
    let floor = times[0].as_secs_f64();
    let count = f64::from(u32::try_from(count).expect("a small batch"));
    let columns = names.iter().zip(times).map(|(name, time)| {
        let each = time.as_secs_f64() * 1e6 / count;
        format!("{name} {each:7.1} ({:4.2})", time.as_secs_f64() / floor)
    });
    println!("{title:<28} {}", columns.collect::<Vec<_>>().join("  "));
    for (name, time) in names.iter().zip(times) {
        run.note(&format!("{title}, {name}"), *time);
    }
}

fn batches(run: &Run, space: &Path, count: usize, bytes: usize, command: Option<&str>) {
    let paths = files(space, count, bytes);
    let read = |means| {
        black_box(fs::read_all_by(means, &paths));
    };
    let names = ["sequential", "uring", "threads"];
    let by: [&dyn Fn(); 3] =
        [&|| read(Means::Sequential), &|| read(Means::Uring), &|| read(Means::Threads)];
    let kib = bytes >> 10;
    report(run, &format!("read {count} x {kib} KiB, warm"), count, &names, &compare(|| (), &by));
    let cold = compare(|| chill(&paths, command), &by);
    report(run, &format!("read {count} x {kib} KiB, cold"), count, &names, &cold);
    let ahead = |means| {
        fs::prefetch_by(means, &paths);
        read(Means::Sequential);
    };
    let by: [&dyn Fn(); 4] = [
        &|| read(Means::Sequential),
        &|| ahead(Means::Sequential),
        &|| ahead(Means::Uring),
        &|| ahead(Means::Threads),
    ];
    let names = ["none", "sequential", "uring", "threads"];
    let cold = compare(|| chill(&paths, command), &by);
    report(run, &format!("prefetch {count} x {kib} KiB"), count, &names, &cold);
}

fn places(run: &Run, space: &Path, count: usize, bytes: usize) {
    let paths = files(space, count, bytes);
    let target = |path: &Path| space.join("placed").join(path.file_name().expect("a name"));
    fs::create_directories(&space.join("placed")).expect("a directory");
    let clear = || {
        for path in &paths {
            fs::remove_if_present(&target(path)).expect("a name that can be removed");
        }
    };
    let each = |place: &dyn Fn(&Path, &Path)| {
        for path in &paths {
            place(path, &target(path));
        }
    };
    let by: [&dyn Fn(); 5] = [
        &|| each(&|from, to| rustix::fs::link(from, to).expect("a link")),
        &|| each(&|from, to| drop(fs::place_shared(from, to, LinkMode::Auto, 0o644))),
        &|| each(&|from, to| drop(fs::place_private(from, to, LinkMode::Auto, 0o644))),
        &|| each(&|from, to| drop(fs::place_private(from, to, LinkMode::Copy, 0o644))),
        &|| each(&|from, to| drop(std::fs::copy(from, to))),
    ];
    let names = ["bare link", "shared", "private", "private copy", "std copy"];
    report(
        run,
        &format!("place {count} x {} KiB", bytes >> 10),
        count,
        &names,
        &compare(clear, &by),
    );
    let by: [&dyn Fn(); 3] = [
        &|| each(&|from, to| rustix::fs::link(from, to).expect("a link")),
        &|| each(&|from, to| drop(fs::link_or_copy_new(from, to))),
        &|| each(&|from, to| drop(fs::clone_or_link_new(from, to))),
    ];
    let names = ["bare link", "shared", "private"];
    report(
        run,
        &format!("ingest {count} x {} KiB", bytes >> 10),
        count,
        &names,
        &compare(clear, &by),
    );
    let by: [&dyn Fn(); 2] =
        [&|| each(&|from, _| assert!(rustix::fs::stat(from).is_ok())), &|| {
            each(&|from, _| assert!(fs::stat(from).is_ok()));
        }];
    report(run, &format!("stat {count}"), count, &["bare stat", "stat"], &compare(|| (), &by));
}
