//! What the kernel tells about a file, and the few attributes that are set.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use super::{Context, FsError, retry};

/// What kind of thing a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    File,
    Directory,
    Symlink,
    /// Device, socket, pipe.
    Other,
}

impl FileKind {
    fn of(kind: FileType) -> Self {
        match kind {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Symlink,
            _ => Self::Other,
        }
    }

    /// As a directory entry says, where it says.
    pub(super) fn of_entry(kind: FileType) -> Option<Self> {
        (kind != FileType::Unknown).then(|| Self::of(kind))
    }
}

/// Attributes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stat {
    pub device: u64,
    pub inode: u64,
    pub size_bytes: u64,
    /// Nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Nanoseconds since 1970.
    pub ctime_ns: i64,
    /// Permission bits.
    pub mode: u32,
    pub links: u64,
    pub kind: FileKind,
    /// Bytes that the content takes on the disk.
    pub allocated_bytes: u64,
}

impl Stat {
    /// What differs after a write that came in between, as far as the clock can tell.
    pub fn times_and_size(&self) -> (i64, i64, u64) {
        (self.mtime_ns, self.ctime_ns, self.size_bytes)
    }

    /// Whether both are the same inode.
    pub fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

impl From<rustix::fs::Stat> for Stat {
    fn from(stat: rustix::fs::Stat) -> Self {
        Self {
            device: unsigned(stat.st_dev),
            inode: unsigned(stat.st_ino),
            size_bytes: unsigned(stat.st_size),
            mtime_ns: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
            ctime_ns: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
            mode: bits_of(stat.st_mode) & 0o7777,
            links: unsigned(stat.st_nlink),
            kind: FileKind::of(FileType::from_raw_mode(stat.st_mode)),
            allocated_bytes: unsigned(stat.st_blocks) * 512,
        }
    }
}

// The kernels' types differ; these take any of them. What is signed is never negative.

fn unsigned(number: impl TryInto<u64>) -> u64 {
    number.try_into().unwrap_or(0)
}

fn bits_of(mode: impl Into<u32>) -> u32 {
    mode.into()
}

fn nanoseconds(seconds: i64, rest: impl TryInto<i64>) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest.try_into().unwrap_or(0))
}

/// Attributes of what a path leads to.
pub fn stat(path: &Path) -> Result<Stat, FsError> {
    Ok(retry(|| rustix::fs::stat(path)).context("look at", path)?.into())
}

/// Attributes of the name's own inode: symbolic links are not followed.
pub fn lstat(path: &Path) -> Result<Stat, FsError> {
    Ok(retry(|| rustix::fs::lstat(path)).context("look at", path)?.into())
}

/// Sets the permission bits.
pub fn set_mode(path: &Path, mode: u32) -> Result<(), FsError> {
    retry(|| rustix::fs::chmod(path, bits(mode))).context("set the mode of", path)
}

/// Permission bits as the kernel takes them.
pub(super) fn bits(mode: u32) -> Mode {
    #[cfg_attr(
        target_os = "linux",
        expect(clippy::useless_conversion, reason = "the kernel's type differs between systems")
    )]
    Mode::from_raw_mode((mode & 0o7777).try_into().unwrap_or_default())
}

/// Sets the modification time, in nanoseconds since 1970: for times that mark a file, never for
/// "now" (see [`touch`]).
pub fn set_mtime(path: &Path, mtime_ns: i64) -> Result<(), FsError> {
    set_mtime_errno(path, mtime_ns).context("set the time of", path)
}

pub(super) fn set_mtime_errno(path: &Path, mtime_ns: i64) -> Result<(), Errno> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec {
            tv_sec: mtime_ns.div_euclid(1_000_000_000),
            tv_nsec: mtime_ns.rem_euclid(1_000_000_000),
        },
    };
    retry(|| rustix::fs::utimensat(CWD, path, &times, AtFlags::empty()))
}

/// Sets both times to now, by the clock that the kernel stamps new files with. Whoever may write to a
/// file may do that; any other time is for its owner to set.
pub fn touch(path: &Path) -> Result<(), FsError> {
    let now = || Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now(), last_modification: now() };
    retry(|| rustix::fs::utimensat(CWD, path, &times, AtFlags::empty())).context("touch", path)
}

/// Now, by the clock that the kernel stamps files with; nanoseconds since 1970. A file written
/// after this call is never stamped earlier.
pub fn file_clock_ns() -> i64 {
    #[cfg(target_os = "linux")]
    let clock = ClockId::RealtimeCoarse;
    #[cfg(not(target_os = "linux"))]
    let clock = ClockId::Realtime;
    let now = clock_gettime(clock);
    now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
}

/// The precise clock, nanoseconds since 1970: no file that is there now was stamped later. Newer
/// kernels stamp some changes precisely, so that the file clock may lag behind a stamp.
pub fn clock_ns() -> i64 {
    let now = clock_gettime(ClockId::Realtime);
    now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
}

/// Bytes from the kernel as a name.
pub(super) fn os(bytes: &[u8]) -> OsString {
    OsStr::from_bytes(bytes).to_owned()
}
