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

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use super::{FsError, posix, read};
use crate::env;

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

/// Files from which on a ring pays for its setup, where the environment does not say otherwise.
const URING_FILES_MIN: usize = 16;
/// Threads that read.
const THREADS: usize = 8;

/// The contents of `paths`, in order. For the wrapper: starts no thread.
pub fn read_all(paths: &[PathBuf]) -> Vec<Result<Vec<u8>, FsError>> {
    read_all_by(means_for(paths.len(), env::value(env::URING_FILES_MIN).as_deref()), paths)
}

fn means_for(files: usize, files_min: Option<&OsStr>) -> Means {
    let files_min = files_min.and_then(|number| number.to_str()?.parse().ok());
    if files < files_min.unwrap_or(URING_FILES_MIN) { Means::Sequential } else { Means::Uring }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_sets_where_the_ring_begins() {
        let check = |files, files_min: Option<&str>, means| {
            assert_eq!(means_for(files, files_min.map(OsStr::new)), means, "{files} {files_min:?}");
        };
        check(15, None, Means::Sequential);
        check(16, None, Means::Uring);
        check(1, Some("0"), Means::Uring);
        check(99, Some("100"), Means::Sequential);
        check(100, Some("100"), Means::Uring);
        check(16, Some("few"), Means::Uring);
    }
}
