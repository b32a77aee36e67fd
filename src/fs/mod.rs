//! The file system as kache uses it: every call that touches a file goes through here.
//!
//! Invariants:
//! - An error names the operation and the path.
//! - A file appears under its final name complete or not at all: it is made under a temporary
//!   name beside it and renamed. What stood there before loses its name, never its content, so
//!   another link to it stays as it was.
//! - New files get their times from the kernel's own clock, which Cargo's files are stamped with
//!   too. Nothing ever sets the precise clock's time.
//! - A failure that says "not between these two places" leads to the next rung of the ladder
//!   (clone, hard link, copy); any other failure is an error.
//!
//! One file for each kernel: `posix` for what all share and Linux's own calls, `darwin` for those
//! of macOS, `uring` for batches of reads on Linux.

mod batch;
#[cfg(target_vendor = "apple")]
mod darwin;
mod place;
mod posix;
mod stat;
#[cfg(test)]
mod tests;
#[cfg(target_os = "linux")]
pub(crate) mod uring;

use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, Dir, DirEntry, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

pub use crate::config::LinkMode;
pub use batch::{Means, prefetch, prefetch_by, read_all, read_all_by};
pub use place::{
    Placed, clone_or_link_new, link_or_copy_new, place_lent, place_private, place_shared,
    replace_by_link, replace_by_symlink, write_new,
};
pub use stat::{FileKind, Stat, clock_ns, file_clock_ns, lstat, set_mode, set_mtime, stat, touch};

/// A file operation that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot {operation} {}: {errno}", path.display())]
pub struct FsError {
    pub operation: &'static str,
    pub path: PathBuf,
    pub errno: Errno,
}

impl FsError {
    fn new(operation: &'static str, path: &Path, errno: Errno) -> Self {
        Self { operation, path: path.to_owned(), errno }
    }

    /// Nothing is at that path.
    pub fn is_absent(&self) -> bool {
        matches!(self.errno, Errno::NOENT | Errno::NOTDIR)
    }

    /// Something is at that path already.
    pub fn is_occupied(&self) -> bool {
        self.errno == Errno::EXIST
    }

    /// The disk or the quota is full.
    pub fn is_full(&self) -> bool {
        matches!(self.errno, Errno::NOSPC | Errno::DQUOT)
    }

    /// The inode has as many links as its filesystem allows (65,000 on ext4).
    pub fn is_link_limit(&self) -> bool {
        self.errno == Errno::MLINK
    }
}

/// Adds operation and path to what a system call returned.
trait Context<T> {
    fn context(self, operation: &'static str, path: &Path) -> Result<T, FsError>;
}

impl<T> Context<T> for Result<T, Errno> {
    fn context(self, operation: &'static str, path: &Path) -> Result<T, FsError> {
        self.map_err(|errno| FsError::new(operation, path, errno))
    }
}

/// Runs a system call again for as long as a signal interrupts it.
pub fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
}

/// The whole content of a file.
pub fn read(path: &Path) -> Result<Vec<u8>, FsError> {
    posix::read(path).context("read", path)
}

/// Bytes at the beginning of a large buffer that nothing is read into. Allocators put large buffers
/// just behind the beginning of a page, and to there kernels copy at a fifth of their rate on
/// processors of AMD (2.5 instead of 14 GB/s, EPYC).
pub const LEAD_BYTES: usize = 64;

/// The file's bytes in pieces: each call sees up to `window_bytes` more, behind as many of the last
/// bytes that it saw as it said it wants to see again.
pub fn read_in_windows(
    path: &Path,
    window_bytes: usize,
    visit: impl FnMut(&[u8]) -> usize,
) -> Result<(), FsError> {
    posix::read_in_windows(path, window_bytes, visit).context("read", path)
}

/// The names in a directory, without `.` and `..`, in no order.
pub fn list_names(path: &Path) -> Result<Vec<OsString>, FsError> {
    Ok(list(path)?.into_iter().map(|(name, _)| name).collect())
}

/// The names in a directory, with what each is; `None` where the filesystem does not tell.
pub fn list(path: &Path) -> Result<Vec<(OsString, Option<FileKind>)>, FsError> {
    let mut entries = Vec::new();
    let visit = |_: BorrowedFd<'_>, entry: &DirEntry| {
        entries.push((name_of(entry), FileKind::of_entry(entry.file_type())));
        Ok(())
    };
    visit_entries(path, visit).context("list", path)?;
    Ok(entries)
}

/// The names in a directory, with the attributes of each, symbolic links not followed; without what
/// another process removes meanwhile. Looking from the directory takes two thirds of the time that
/// looking from the root does.
fn list_stats(path: &Path) -> Result<Vec<(OsString, Stat)>, FsError> {
    let mut entries = Vec::new();
    let visit = |directory: BorrowedFd<'_>, entry: &DirEntry| {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        match retry(|| rustix::fs::statat(directory, entry.file_name(), flags)) {
            Err(Errno::NOENT) => {}
            stat => entries.push((name_of(entry), stat?.into())),
        }
        Ok(())
    };
    visit_entries(path, visit).context("look at what is in", path)?;
    Ok(entries)
}

fn visit_entries(
    path: &Path,
    mut visit: impl FnMut(BorrowedFd<'_>, &DirEntry) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut directory = Dir::new(retry(|| rustix::fs::open(path, flags, Mode::empty()))?)?;
    while let Some(entry) = directory.read() {
        let entry = entry?;
        if ![c".", c".."].contains(&entry.file_name()) {
            visit(directory.fd()?, &entry)?;
        }
    }
    Ok(())
}

fn name_of(entry: &DirEntry) -> OsString {
    stat::os(entry.file_name().to_bytes())
}

/// A lock that the kernel takes back when its holder ends.
#[derive(Debug)]
pub struct Lock {
    file: std::os::fd::OwnedFd,
}

impl Lock {
    /// The locked file. Whoever inherits it has the lock, until the last copy is closed.
    pub fn into_file(self) -> std::os::fd::OwnedFd {
        self.file
    }
}

/// Locks a file, which is made where it is missing; `None` if another process has it locked.
pub fn try_lock(path: &Path) -> Result<Option<Lock>, FsError> {
    match flock(path, FlockOperation::NonBlockingLockExclusive) {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if error.errno == Errno::WOULDBLOCK => Ok(None),
        Err(error) => Err(error),
    }
}

/// Locks a file, which is made where it is missing, once no other process has it locked.
pub fn lock(path: &Path) -> Result<Lock, FsError> {
    flock(path, FlockOperation::LockExclusive)
}

fn flock(path: &Path, operation: FlockOperation) -> Result<Lock, FsError> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o666);
    let file = retry(|| rustix::fs::open(path, flags, mode)).context("open", path)?;
    retry(|| rustix::fs::flock(&file, operation)).context("lock", path)?;
    Ok(Lock { file })
}

/// The names in a directory; none where there is no such directory.
pub fn list_names_if_present(path: &Path) -> Result<Vec<OsString>, FsError> {
    if_present(list_names(path))
}

/// Like [`list_stats`]; nothing where there is no such directory.
pub fn list_stats_if_present(path: &Path) -> Result<Vec<(OsString, Stat)>, FsError> {
    if_present(list_stats(path))
}

/// What was done to a path, or nothing where there is none.
fn if_present<T: Default>(done: Result<T, FsError>) -> Result<T, FsError> {
    match done {
        Err(error) if error.is_absent() => Ok(T::default()),
        done => done,
    }
}

/// The path without symbolic links.
pub fn real_path(path: &Path) -> Result<PathBuf, FsError> {
    path.canonicalize().map_err(|error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        FsError::new("resolve", path, errno)
    })
}

/// Where a symbolic link leads, as it was written.
pub fn read_link(path: &Path) -> Result<PathBuf, FsError> {
    let target = retry(|| rustix::fs::readlink(path, Vec::new())).context("read link", path)?;
    Ok(stat::os(target.to_bytes()).into())
}

/// A second name for a file. A symbolic link is linked itself, not followed.
pub fn link(from: &Path, to: &Path) -> Result<(), FsError> {
    link_errno(from, to).context("link to", to)
}

fn link_errno(from: &Path, to: &Path) -> Result<(), Errno> {
    retry(|| rustix::fs::linkat(CWD, from, CWD, to, AtFlags::empty()))
}

/// Moves a name, over whatever stands at `to`.
///
/// Two names of one inode are the trap: the kernel then leaves both. The old one is removed.
pub fn rename(from: &Path, to: &Path) -> Result<(), FsError> {
    retry(|| rustix::fs::rename(from, to)).context("rename to", to)?;
    match retry(|| rustix::fs::unlink(from)) {
        // The usual case is that nothing is there. A directory is no second name.
        Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::ISDIR | Errno::PERM) => Ok(()),
        Err(errno) => Err(FsError::new("remove", from, errno)),
    }
}

/// Removes a name of anything but a directory.
pub fn remove(path: &Path) -> Result<(), FsError> {
    retry(|| rustix::fs::unlink(path)).context("remove", path)
}

/// As [`remove`]; nothing there is no failure.
pub fn remove_if_present(path: &Path) -> Result<(), FsError> {
    if_present(remove(path))
}

/// Removes an empty directory.
pub fn remove_directory(path: &Path) -> Result<(), FsError> {
    retry(|| rustix::fs::rmdir(path)).context("remove directory", path)
}

/// Removes whatever is at `path`, and all below it. Symbolic links are removed, not followed.
pub fn remove_tree(path: &Path) -> Result<(), FsError> {
    let stat = lstat(path)?;
    if stat.kind != FileKind::Directory {
        return remove_if_present(path);
    }
    empty(path, &stat)?;
    remove_directory(path)
}

/// Makes a directory empty, and makes it if it is not there.
pub fn clear(path: &Path) -> Result<(), FsError> {
    match stat(path) {
        Ok(stat) => empty(path, &stat),
        Err(error) if error.is_absent() => create_directories(path),
        Err(error) => Err(error),
    }
}

/// Removes all that is in a directory. Its owner may have taken the permission to do so away.
fn empty(directory: &Path, stat: &Stat) -> Result<(), FsError> {
    const OWNERS_ALL: u32 = 0o700;
    if stat.mode & OWNERS_ALL != OWNERS_ALL {
        set_mode(directory, stat.mode & 0o7777 | OWNERS_ALL)?;
    }
    for name in list_names(directory)? {
        match remove_tree(&directory.join(name)) {
            Err(error) if error.is_absent() => {}
            done => done?,
        }
    }
    Ok(())
}

/// The latest moment that a file's time may stand for: some file systems know whole seconds only, or
/// two.
pub fn latest_ns(time_ns: i64) -> i64 {
    const SECOND_NS: i64 = 1_000_000_000;
    if time_ns % SECOND_NS == 0 { time_ns.saturating_add(2 * SECOND_NS) } else { time_ns }
}

/// Makes a directory and those above it; one that is there already is no failure.
pub fn create_directories(path: &Path) -> Result<(), FsError> {
    let made = match create_directory(path) {
        Err(Errno::NOENT) if path.parent().is_some_and(|parent| !parent.as_os_str().is_empty()) => {
            create_directories(path.parent().unwrap_or(path))?;
            create_directory(path)
        }
        made => made,
    };
    made.map_err(|errno| FsError::new("create directory", path, errno))
}

fn create_directory(path: &Path) -> Result<(), Errno> {
    match retry(|| rustix::fs::mkdir(path, Mode::from_raw_mode(0o777))) {
        Err(Errno::EXIST) if stat(path).is_ok_and(|stat| stat.kind == FileKind::Directory) => {
            Ok(())
        }
        made => made,
    }
}

/// Makes a file's content, or a directory's names, outlast a power cut.
pub fn sync(path: &Path) -> Result<(), FsError> {
    let synced = || {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        posix::sync(&retry(|| rustix::fs::open(path, flags, Mode::empty()))?)
    };
    synced().context("sync", path)
}

/// Makes everything that was written so far to the filesystem of `path` outlast a power cut.
pub fn sync_file_system(path: &Path) -> Result<(), FsError> {
    posix::sync_file_system(path).context("sync the file system of", path)
}

/// Bytes that an unprivileged user can still write on the filesystem of `path`.
pub fn free_bytes(path: &Path) -> Result<u64, FsError> {
    let space = retry(|| rustix::fs::statvfs(path)).context("query the space of", path)?;
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}

/// A name beside `path` that nothing else uses. What a killed process leaves under one is told
/// by its ending, `.kache-tmp`.
pub fn temporary_name(path: &Path) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    // Relaxed: only distinctness within this process matters.
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let process = rustix::process::getpid().as_raw_nonzero();
    // Two processes of one number, one after another or in two containers, differ in time.
    // By way of std: rustix would look for the kernel's clock by itself, once in each process.
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let time_ns = time.subsec_nanos();
    path.with_file_name(format!(".{process}-{count}-{time_ns:x}.kache-tmp"))
}
