//! Batches of reads through `io_uring`, without a thread of our own.
//!
//! Every file is a small state machine: open, then read (or advise) until its end, then close.
//! Up to [`DEPTH`] of them are in flight. Where the kernel has no ring to give (old, forbidden,
//! out of memory), every function answers `None` and has done nothing that matters.
//!
//! Safety rests on two invariants:
//! - What the kernel is given a pointer to (a path, a buffer) is owned by a [`Task`], each on the
//!   heap, and neither moved out, freed nor resized while its operation is in flight.
//! - No function returns before every operation that it submitted has completed; if waiting
//!   itself fails, what the kernel may still write to is leaked.
#![expect(unsafe_code, reason = "the ring takes pointers; see the invariants above")]

use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use io_uring::{IoUring, opcode, squeue, types};
use rustix::io::Errno;

use super::{Context, FsError, posix};

/// Operations in flight at once.
const DEPTH: usize = 64;
/// Bytes of the first read: enough for most sources, in two reads with the one that finds the end.
const FIRST_READ_BYTES: usize = 16 << 10;

/// What is done with each file once it is open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Read,
    Prefetch,
}

/// One file on its way through the ring.
struct Task {
    name: CString,
    file: Option<OwnedFd>,
    /// Bytes read so far are its length; the kernel writes behind them, into spare capacity.
    content: Vec<u8>,
    result: Result<(), Errno>,
}

/// The contents of `paths`, in order.
pub(crate) fn read_all(paths: &[PathBuf]) -> Option<Vec<Result<Vec<u8>, FsError>>> {
    let tasks = run(paths, Purpose::Read)?;
    let contents = tasks.into_iter().zip(paths).map(|(task, path)| match task.result {
        Ok(()) => Ok(task.content),
        // What a ring refuses may work without, and if not, the error is the usual one.
        Err(_) => posix::read(path).context("read", path),
    });
    Some(contents.collect())
}

/// Asks for the pages of `paths`.
pub(crate) fn prefetch(paths: &[PathBuf]) -> Option<()> {
    run(paths, Purpose::Prefetch).map(drop)
}

fn run(paths: &[PathBuf], purpose: Purpose) -> Option<Vec<Task>> {
    let mut ring = IoUring::new(u32::try_from(DEPTH).ok()?).ok()?;
    let mut tasks = paths.iter().map(|path| Task::new(path)).collect::<Vec<_>>();
    let mut unopened = (0..tasks.len())
        .filter(|&index| tasks[index].result.is_ok())
        .collect::<Vec<_>>()
        .into_iter();
    let mut flying = 0;
    loop {
        while flying < DEPTH
            && let Some(index) = unopened.next()
        {
            let entry = tasks[index].open();
            flying += usize::from(push(&mut ring, entry, index, &mut tasks));
        }
        if flying == 0 {
            return Some(tasks);
        }
        if let Err(error) = ring.submit_and_wait(1)
            && error.raw_os_error() != Some(Errno::INTR.raw_os_error())
        {
            // Cannot wait for what is in flight, so its memory is never given back.
            std::mem::forget((ring, tasks));
            return None;
        }
        loop {
            let Some(completed) = ring.completion().next() else { break };
            flying -= 1;
            let Ok(index) = usize::try_from(completed.user_data()) else { continue };
            if let Some(entry) = tasks[index].advance(completed.result(), purpose) {
                flying += usize::from(push(&mut ring, entry, index, &mut tasks));
            }
        }
    }
}

/// Queues an operation of the task `index`. There is room for [`DEPTH`], and no more are in
/// flight; should there be none for all that, the task has failed.
fn push(ring: &mut IoUring, entry: squeue::Entry, index: usize, tasks: &mut [Task]) -> bool {
    let entry = entry.user_data(index as u64);
    let mut queue = ring.submission();
    // SAFETY: the entry's pointers lead into a task that outlives the operation and does not
    // touch what they lead to until it completes (first and second invariant).
    let pushed = unsafe { queue.push(&entry) }.is_ok();
    if !pushed {
        tasks[index].result = Err(Errno::AGAIN);
    }
    pushed
}

impl Task {
    fn new(path: &Path) -> Self {
        let name = CString::new(path.as_os_str().as_bytes());
        Self {
            result: if name.is_ok() { Ok(()) } else { Err(Errno::INVAL) },
            name: name.unwrap_or_default(),
            file: None,
            content: Vec::new(),
        }
    }

    fn open(&self) -> squeue::Entry {
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
        let flags = i32::try_from(flags.bits()).unwrap_or_default();
        let directory = types::Fd(rustix::fs::CWD.as_raw_fd());
        opcode::OpenAt::new(directory, self.name.as_ptr()).flags(flags).build()
    }

    /// Takes an operation's result; the next operation, if the file needs one.
    fn advance(&mut self, result: i32, purpose: Purpose) -> Option<squeue::Entry> {
        let Ok(value) = usize::try_from(result) else {
            return self.finish(Err(Errno::from_raw_os_error(-result)));
        };
        if self.file.is_none() {
            // SAFETY: the kernel has just opened this descriptor for us; nobody else knows it.
            self.file = Some(unsafe { OwnedFd::from_raw_fd(result) });
            return match purpose {
                Purpose::Read => Some(self.read(FIRST_READ_BYTES)),
                Purpose::Prefetch => Some(self.advise()),
            };
        }
        if purpose == Purpose::Prefetch || value == 0 {
            return self.finish(Ok(()));
        }
        let length = self.content.len() + value;
        // SAFETY: the kernel has written `value` bytes behind the former length, which is within
        // the capacity that it was told.
        unsafe { self.content.set_len(length) };
        let spare = self.content.capacity() - length;
        Some(self.read(if spare == 0 { self.remaining() } else { spare }))
    }

    /// Bytes to make room for when a read has filled all there was: up to the size that the kernel
    /// tells and one more, to find the end there; as much again for files that outgrow it.
    fn remaining(&self) -> usize {
        let size = self.file.as_ref().and_then(|file| rustix::fs::fstat(file).ok());
        let size = size.and_then(|stat| usize::try_from(stat.st_size).ok()).unwrap_or(0);
        size.checked_sub(self.content.len()).map_or(self.content.len(), |rest| rest + 1)
    }

    fn finish(&mut self, result: Result<(), Errno>) -> Option<squeue::Entry> {
        self.file = None;
        self.result = result;
        None
    }

    /// Reads behind what is there, up to `bytes` of spare capacity.
    fn read(&mut self, bytes: usize) -> squeue::Entry {
        self.content.reserve_exact(bytes);
        let spare = self.content.spare_capacity_mut();
        let length = u32::try_from(spare.len()).unwrap_or(u32::MAX);
        let buffer = spare.as_mut_ptr().cast::<u8>();
        // The offset of the descriptor itself.
        opcode::Read::new(types::Fd(self.raw()), buffer, length).offset(u64::MAX).build()
    }

    fn advise(&self) -> squeue::Entry {
        const WILL_NEED: i32 = 3;
        opcode::Fadvise::new(types::Fd(self.raw()), 0, WILL_NEED).build()
    }

    fn raw(&self) -> RawFd {
        self.file.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }
}
