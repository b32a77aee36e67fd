//! Many files at once: read whole, or asked for ahead of their use.
//!
//! One contract, three means. Which of them `read_all` and `prefetch` choose is set by
//! `benches/fs.rs`. Microseconds for a file of 4 KiB on ext4 and two cores, in batches of 64:
//!
//! | | one by one | ring | eight threads |
//! |---|---|---|---|
//! | read, pages in memory | 5–9 | 9–12 | 10–17 |
//! | read, inode in memory, pages not | 66 | 23 | 44 |
//! | read, nothing in memory | 114 | 34 | 81 |
//! | asked for ahead, inode in memory | 18 | 24 | 26 |
//!
//! Setting up a ring takes as long as some thirty reads from memory; from sixteen files on that
//! is little beside what it saves when they are not there.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use super::{FsError, posix, read};

/// How a batch is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// One file after another.
    Sequential,
    /// Through one ring of Linux's; where there is none, one file after another.
    Uring,
    /// By a few threads. Never in the wrapper.
    Threads,
}

/// Files from which on a ring pays for its setup.
const URING_FILES_MIN: usize = 16;
/// Threads that read.
const THREADS: usize = 8;

/// The contents of `paths`, in order. For the wrapper: starts no thread.
pub fn read_all(paths: &[PathBuf]) -> Vec<Result<Vec<u8>, FsError>> {
    let few = paths.len() < URING_FILES_MIN;
    read_all_by(if few { Means::Sequential } else { Means::Uring }, paths)
}

/// As [`read_all`], by the means given.
pub fn read_all_by(means: Means, paths: &[PathBuf]) -> Vec<Result<Vec<u8>, FsError>> {
    match means {
        Means::Sequential => {}
        Means::Threads => return by_threads(paths, |path| read(path)),
        Means::Uring =>
        {
            #[cfg(target_os = "linux")]
            if let Some(contents) = super::uring::read_all(paths) {
                return contents;
            }
        }
    }
    paths.iter().map(|path| read(path)).collect()
}

/// Asks the kernel for the pages of `paths`. Files that cannot be opened are passed over: whoever
/// reads them will say so. Asking does not wait for the disk, so one by one is as fast as any.
pub fn prefetch(paths: &[PathBuf]) {
    prefetch_by(Means::Sequential, paths);
}

/// As [`prefetch`], by the means given.
pub fn prefetch_by(means: Means, paths: &[PathBuf]) {
    let one = |path: &PathBuf| {
        if let Ok(file) = posix::open(path) {
            posix::advise_needed(file);
        }
    };
    match means {
        Means::Sequential => {}
        Means::Threads => {
            by_threads(paths, one);
            return;
        }
        Means::Uring =>
        {
            #[cfg(target_os = "linux")]
            if super::uring::prefetch(paths).is_some() {
                return;
            }
        }
    }
    paths.iter().for_each(one);
}

/// Applies `work` to each item on a few threads; results in the order of the items.
fn by_threads<I: Sync, T: Send>(items: &[I], work: impl Fn(&I) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let (send, receive) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..THREADS.min(items.len()) {
            let send = send.clone();
            scope.spawn(|| {
                let send = send;
                // Relaxed: a ticket; results travel through the channel.
                while let Some((index, item)) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    items.get(index).map(|item| (index, item))
                } {
                    if send.send((index, work(item))).is_err() {
                        return;
                    }
                }
            });
        }
    });
    drop(send);
    let mut results = receive.into_iter().collect::<Vec<_>>();
    results.sort_by_key(|&(index, _)| index);
    results.into_iter().map(|(_, result)| result).collect()
}
