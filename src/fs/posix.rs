//! System calls that all kernels share, and Linux's own for clones and copies.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{LEAD_BYTES, retry};

/// Bytes that a copy by reading and writing moves at once.
const COPY_BUFFER_BYTES: usize = 256 << 10;

/// Where a filesystem cannot be synced by itself, all are.
pub(super) fn sync_file_system(path: &Path) -> Result<(), Errno> {
    #[cfg(target_os = "linux")]
    {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let directory = retry(|| rustix::fs::open(path, flags, Mode::empty()))?;
        retry(|| rustix::fs::syncfs(&directory))
    }
    #[cfg(not(target_os = "linux"))]
    {
        rustix::fs::stat(path)?;
        rustix::fs::sync();
        Ok(())
    }
}

pub(super) fn open(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
    retry(|| rustix::fs::open(path, flags, Mode::empty()))
}

/// A new file, writable through the descriptor whatever `mode` says.
pub(super) fn create_new(path: &Path, mode: Mode) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    retry(|| rustix::fs::open(path, flags, mode))
}

/// The whole content: one `read` for the size that the kernel tells, one that finds the end.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Errno> {
    let file = open(path)?;
    let size = rustix::fs::fstat(&file)?.st_size;
    let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or(0).saturating_add(1));
    read_on(&file, &mut content)?;
    Ok(content)
}

/// Appends what is left of a file.
pub(super) fn read_on(file: impl AsFd, content: &mut Vec<u8>) -> Result<(), Errno> {
    loop {
        if content.capacity() - content.len() == 0 {
            content.reserve(COPY_BUFFER_BYTES.min(content.len().max(4096)));
        }
        let spare = rustix::buffer::spare_capacity(content);
        if retry_read(&file, spare)? == 0 {
            return Ok(());
        }
    }
}

fn retry_read<B: rustix::buffer::Buffer<u8>>(
    file: impl AsFd,
    buffer: B,
) -> Result<B::Output, Errno> {
    // An interrupted read of a regular file has moved nothing, and kernels do not interrupt one;
    // the buffer is taken by the call, so there is no trying again with it.
    rustix::io::read(file, buffer)
}

pub(super) fn read_in_windows(
    path: &Path,
    window_bytes: usize,
    mut visit: impl FnMut(&[u8]) -> usize,
) -> Result<(), Errno> {
    let file = open(path)?;
    advise_sequential(&file);
    let mut buffer = Vec::with_capacity(LEAD_BYTES + window_bytes);
    buffer.resize(LEAD_BYTES, 0);
    loop {
        let seen = buffer.len();
        buffer.reserve(window_bytes);
        let mut ended = false;
        while !ended && buffer.len() < seen + window_bytes {
            ended = retry_read(&file, rustix::buffer::spare_capacity(&mut buffer))? == 0;
        }
        if buffer.len() > seen {
            let kept = visit(&buffer[LEAD_BYTES..]);
            let end = buffer.len();
            buffer.copy_within(end - kept.., LEAD_BYTES);
            buffer.truncate(LEAD_BYTES + kept);
        }
        if ended {
            return Ok(());
        }
    }
}

pub(super) fn write_all(file: impl AsFd, mut content: &[u8]) -> Result<(), Errno> {
    while !content.is_empty() {
        match retry(|| rustix::io::write(&file, content))? {
            0 => return Err(Errno::IO),
            written => content = &content[written..],
        }
    }
    Ok(())
}

/// Copies from the current offsets to the end by reading and writing.
pub(super) fn copy_by_hand(from: impl AsFd, to: impl AsFd) -> Result<(), Errno> {
    let mut buffer = Vec::with_capacity(COPY_BUFFER_BYTES);
    loop {
        buffer.clear();
        match retry_read(&from, rustix::buffer::spare_capacity(&mut buffer))? {
            0 => return Ok(()),
            _ => write_all(&to, &buffer)?,
        }
    }
}

/// Gives a new file the bits that the creation mask may have taken. Looking first is cheaper than
/// changing: a change makes the filesystem write the inode once more.
pub(super) fn set_mode_bits(file: &OwnedFd, mode: Mode) -> Result<(), Errno> {
    if Mode::from_raw_mode(rustix::fs::fstat(file)?.st_mode) == mode {
        return Ok(());
    }
    retry(|| rustix::fs::fchmod(file, mode))
}

/// Gives a new file, whose only name is `temporary`, the name `to`, in place of the file that has it.
///
/// ext4 writes a file's content out before a rename over another file, which takes longer than all
/// else that puts a small file in place. It does not where the two change places; the one that had
/// the name is then removed.
#[cfg(target_os = "linux")]
pub(super) fn put(temporary: &Path, to: &Path) -> Result<(), Errno> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let rename = |flags| retry(|| renameat_with(CWD, temporary, CWD, to, flags));
    let done = match rename(RenameFlags::NOREPLACE) {
        Err(Errno::EXIST) => rename(RenameFlags::EXCHANGE).and_then(|()| {
            retry(|| rustix::fs::unlink(temporary)).inspect_err(|_| {
                // A directory had the name, and gets it back.
                rename(RenameFlags::EXCHANGE).ok();
            })
        }),
        done => done,
    };
    match done {
        // A filesystem that knows no such renames, or nothing has the name any more.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP | Errno::NOENT) => {
            retry(|| rustix::fs::rename(temporary, to))
        }
        done => done,
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn put(temporary: &Path, to: &Path) -> Result<(), Errno> {
    retry(|| rustix::fs::rename(temporary, to))
}

/// Whether a refusal to clone, link or copy within the kernel means "not between these two
/// places": another filesystem, or one without the operation, or a policy, or a full inode.
pub(super) fn is_not_here(errno: Errno) -> bool {
    [
        Errno::XDEV,
        Errno::OPNOTSUPP,
        Errno::NOTSUP,
        Errno::NOTTY,
        Errno::INVAL,
        Errno::NOSYS,
        Errno::PERM,
        Errno::ACCESS,
        Errno::MLINK,
        Errno::TXTBSY,
    ]
    .contains(&errno)
}

#[cfg(not(target_vendor = "apple"))]
mod kernel {
    use super::{
        AsFd, Errno, Mode, OwnedFd, Path, copy_by_hand, create_new, is_not_here, open, retry,
        set_mode_bits,
    };

    /// Makes `to`, which must not exist, share the blocks of `from`.
    pub(in crate::fs) fn clone_new(from: &Path, to: &Path, mode: Mode) -> Result<(), Errno> {
        let source = open(from)?;
        let target = create_new(to, mode)?;
        let cloned = clone_content(&source, &target).and_then(|()| set_mode_bits(&target, mode));
        if cloned.is_err() {
            // The clone's own failure is what matters; an empty temporary file is harmless.
            retry(|| rustix::fs::unlink(to)).ok();
        }
        cloned
    }

    /// Makes `to`, which must not exist, a copy of `from`, sharing blocks if `may_clone` and the
    /// filesystem can. Returns whether it shares them.
    pub(in crate::fs) fn copy_new(
        from: &Path,
        to: &Path,
        mode: Mode,
        may_clone: bool,
    ) -> Result<bool, Errno> {
        let source = open(from)?;
        let target = create_new(to, mode)?;
        let copied = fill(&source, &target, may_clone)
            .and_then(|cloned| set_mode_bits(&target, mode).map(|()| cloned));
        if copied.is_err() {
            // As above.
            retry(|| rustix::fs::unlink(to)).ok();
        }
        copied
    }

    fn fill(source: &OwnedFd, target: &OwnedFd, may_clone: bool) -> Result<bool, Errno> {
        if may_clone {
            match clone_content(source, target) {
                Ok(()) => return Ok(true),
                Err(errno) if is_not_here(errno) => {}
                Err(errno) => return Err(errno),
            }
        }
        copy_content(source, target)?;
        Ok(false)
    }

    #[cfg(target_os = "linux")]
    fn clone_content(source: &OwnedFd, target: &OwnedFd) -> Result<(), Errno> {
        retry(|| rustix::fs::ioctl_ficlone(target, source))
    }

    #[cfg(not(target_os = "linux"))]
    fn clone_content(_: &OwnedFd, _: &OwnedFd) -> Result<(), Errno> {
        Err(Errno::NOSYS)
    }

    /// Within the kernel, and by hand where that is refused or finds nothing (files whose size
    /// the kernel does not know).
    #[cfg(target_os = "linux")]
    fn copy_content(source: &OwnedFd, target: &OwnedFd) -> Result<(), Errno> {
        const STEP_BYTES: usize = 1 << 30;
        let mut found = false;
        loop {
            match retry(|| rustix::fs::copy_file_range(source, None, target, None, STEP_BYTES)) {
                Ok(0) if found => return Ok(()),
                Ok(0) => return copy_by_hand(source, target),
                Ok(_) => found = true,
                Err(errno) if is_not_here(errno) => return copy_by_hand(source, target),
                Err(errno) => return Err(errno),
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn copy_content(source: &OwnedFd, target: &OwnedFd) -> Result<(), Errno> {
        copy_by_hand(source, target)
    }

    pub(in crate::fs) fn sync(file: impl AsFd) -> Result<(), Errno> {
        retry(|| rustix::fs::fsync(&file))
    }

    pub(in crate::fs) fn advise_sequential(file: impl AsFd) {
        advise(file, rustix::fs::Advice::Sequential);
    }

    /// Asks for the file's pages, without waiting for them.
    pub(in crate::fs) fn advise_needed(file: impl AsFd) {
        advise(file, rustix::fs::Advice::WillNeed);
    }

    #[cfg(target_os = "linux")]
    fn advise(file: impl AsFd, advice: rustix::fs::Advice) {
        // Advice only: the read that follows works without.
        rustix::fs::fadvise(file, 0, None, advice).ok();
    }

    #[cfg(not(target_os = "linux"))]
    fn advise(_: impl AsFd, _: rustix::fs::Advice) {}
}

#[cfg(target_vendor = "apple")]
use super::darwin as kernel;

pub(super) use kernel::{advise_needed, advise_sequential, clone_new, copy_new, sync};
