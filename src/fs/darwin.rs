//! System calls of macOS: `clonefile`, `fcopyfile`, `F_RDADVISE`, `F_FULLFSYNC`.
//!
//! A clone takes over the original's mode and times; both are set anew, so that it looks like the
//! file that Linux's calls make.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, CloneFlags, Mode, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use rustix::io::Errno;

use super::posix::{copy_by_hand, create_new, is_not_here, open, set_mode_bits};
use super::retry;

/// Makes `to`, which must not exist, share the blocks of `from`.
pub(super) fn clone_new(from: &Path, to: &Path, mode: Mode) -> Result<(), Errno> {
    let source = open(from)?;
    retry(|| rustix::fs::fclonefileat(&source, CWD, to, CloneFlags::empty()))?;
    let finished = finish(to, mode);
    if finished.is_err() {
        // The failure before is what matters; a temporary file left behind is harmless.
        retry(|| rustix::fs::unlink(to)).ok();
    }
    finished
}

fn finish(to: &Path, mode: Mode) -> Result<(), Errno> {
    retry(|| rustix::fs::chmod(to, mode))?;
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
    };
    retry(|| rustix::fs::utimensat(CWD, to, &times, AtFlags::empty()))
}

/// Makes `to`, which must not exist, a copy of `from`, sharing blocks if `may_clone` and the
/// filesystem can. Returns whether it shares them.
pub(super) fn copy_new(from: &Path, to: &Path, mode: Mode, may_clone: bool) -> Result<bool, Errno> {
    if may_clone {
        match clone_new(from, to, mode) {
            Ok(()) => return Ok(true),
            Err(errno) if is_not_here(errno) => {}
            Err(errno) => return Err(errno),
        }
    }
    let source = open(from)?;
    let target = create_new(to, mode)?;
    let copied = copy_by_hand(&source, &target).and_then(|()| set_mode_bits(&target, mode));
    if copied.is_err() {
        // As above.
        retry(|| rustix::fs::unlink(to)).ok();
    }
    copied.map(|()| false)
}

pub(super) fn sync(file: &OwnedFd) -> Result<(), Errno> {
    retry(|| rustix::fs::fcntl_fullfsync(file)).or_else(|_| retry(|| rustix::fs::fsync(file)))
}

/// This kernel finds out by itself.
pub(super) fn advise_sequential(_: impl AsFd) {}

/// Asks for the file's pages, without waiting for them.
pub(super) fn advise_needed(file: impl AsFd) {
    let size = rustix::fs::fstat(&file).map_or(0, |stat| stat.st_size);
    // Advice only: the read that follows works without.
    rustix::fs::fcntl_rdadvise(file, 0, u64::try_from(size).unwrap_or(0)).ok();
}
