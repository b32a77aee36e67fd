//! A shared file as atomic words; and the system call that waits on a kernel queue, since what is
//! unsafe about the index is in this file alone.
//!
//! Invariants, on which the `unsafe` rests:
//! - `backed_words` words from the start of the mapping are inside the file: it is set from the
//!   file's own length, and files of this program never become shorter (a swap replaces them; see
//!   SPEC.md, "what the medium is assumed to guarantee"). So no access meets the end of the file.
//! - All of those have their space on the disk before they are used, so no access meets a full one.
//! - The mapping lives as long as [`Map`], and every slice borrows from it.
//! - Each access, here and in other processes, is that of an atomic word.
#![expect(
    unsafe_code,
    reason = "the one place where mapped memory becomes words and is asked for, and a queue is asked"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::slice;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use memmap2::{MmapOptions, MmapRaw};
use store_format::header::WORD_BYTES;

/// A file mapped for reading and writing, shared with every process that maps it.
#[derive(Debug)]
pub struct Map {
    raw: MmapRaw,
    file: OwnedFd,
    backed_words: AtomicUsize,
}

impl Map {
    /// Maps room for `bytes_max` bytes, of which the file may have fewer.
    pub fn new(file: OwnedFd, bytes_max: u64) -> io::Result<Self> {
        let bytes_max =
            usize::try_from(bytes_max).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        let raw = MmapOptions::new().len(bytes_max).map_raw(file.as_raw_fd())?;
        let map = Self { raw, file, backed_words: AtomicUsize::new(0) };
        map.refresh()?;
        Ok(map)
    }

    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Notices a file that has become longer.
    pub fn refresh(&self) -> io::Result<()> {
        let status = rustix::fs::fstat(&self.file)?;
        let bytes = usize::try_from(status.st_size).unwrap_or(0).min(self.raw.len());
        // Release, for the length alone: the words carry their own orderings.
        self.backed_words.fetch_max(bytes / WORD_BYTES, Ordering::Release);
        Ok(())
    }

    /// Makes the file at least `bytes` long, with space on the disk for all of it.
    pub fn extend(&self, bytes: u64) -> io::Result<()> {
        // Another process may have done it.
        self.refresh()?;
        if (size_of_val(self.words()) as u64) >= bytes {
            return Ok(());
        }
        super::file::allocate(self.file(), bytes)?;
        self.refresh()
    }

    /// The words that are inside the file.
    pub fn words(&self) -> &[AtomicU64] {
        let count = self.backed_words.load(Ordering::Acquire);
        #[expect(clippy::cast_ptr_alignment, reason = "a mapping begins at a page")]
        let start = self.raw.as_ptr().cast::<AtomicU64>();
        // SAFETY: the mapping is page-aligned, lives as long as `self`, and its first
        // `backed_words` words are inside the file (see the module's invariants); any bits are a
        // value of `AtomicU64`, which is laid out like `u64`.
        unsafe { slice::from_raw_parts(start, count) }
    }
}

/// Words of a cache line.
const LINE_WORDS: usize = 8;
/// Lines that are asked for: those of a record of 1000 bytes.
const LINES_FETCHED: usize = 17;

/// Asks for the first lines of these words, without waiting for them.
pub(super) fn prefetch(words: &[AtomicU64]) {
    for word in words.iter().step_by(LINE_WORDS).take(LINES_FETCHED) {
        let word: *const AtomicU64 = word;
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a hint, by which nothing is read that a program could see.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(word.cast());
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        unsafe {
            std::arch::asm!("prfm pldl1keep, [{}]", in(reg) word, options(nostack, readonly));
        }
    }
}

/// Adds `change` to a kernel queue and waits for the first event; `None` when `bound` has passed.
#[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
pub(super) fn await_event(
    queue: &OwnedFd,
    change: &rustix::event::kqueue::Event,
    bound: std::time::Duration,
) -> rustix::io::Result<Option<rustix::event::kqueue::Event>> {
    let mut events = Vec::with_capacity(1);
    let buffer = rustix::buffer::spare_capacity(&mut events);
    // SAFETY: what the kernel reads and fills are these two values. Of descriptors named in a filter
    // it keeps none alive; a queue that outlives one loses an event, and no memory is concerned.
    unsafe {
        rustix::event::kqueue::kevent(queue, std::slice::from_ref(change), buffer, Some(bound))
    }?;
    Ok(events.pop())
}
