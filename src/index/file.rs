//! Files that processes share by mapping: created whole or not at all, extended with real space,
//! replaced by rename.

use std::ffi::OsString;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use store_format::header::WORD_BYTES;

/// Zeros that are written at once, up to a multiple of as many: the system keeps and maps them as one
/// large page, and writes all of that to the disk when one word of it has changed.
const ZEROS_BYTES: usize = 64 << 10;

/// Between the name of a file and what makes the name of its successor unique.
const NEW_SUFFIX: &str = ".new-";

pub(crate) fn open(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::open(path, flags, Mode::empty())
}

/// Makes a file at least `bytes` long, with space on the disk for all of it. Safe to be called
/// by several processes at once: no byte that is there changes, and no file becomes shorter.
///
/// The zeros are written, although the system would make them up for space that was only reserved:
/// it does that page by page as they are touched, in four times as long.
pub(crate) fn allocate(file: BorrowedFd<'_>, bytes: u64) -> Result<(), Errno> {
    #[cfg(target_os = "linux")]
    reserve(file, bytes)?;
    append_zeros(file, bytes)
}

/// Has the disk set space aside for a file, without making it longer.
#[cfg(target_os = "linux")]
fn reserve(file: BorrowedFd<'_>, bytes: u64) -> Result<(), Errno> {
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, bytes) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        other => other,
    }
}

/// Has changes of a file that is empty yet written where it lies. A file system that writes elsewhere
/// on every change (btrfs) has no room for that when it is full, whatever was allocated, and an access
/// through a mapping then ends the process.
#[cfg(target_os = "linux")]
fn write_in_place(file: BorrowedFd<'_>) {
    if let Ok(flags) = rustix::fs::ioctl_getflags(file) {
        // Other file systems write in place anyway, and refuse.
        rustix::fs::ioctl_setflags(file, flags | rustix::fs::IFlags::NOCOW).ok();
    }
}

#[cfg(not(target_os = "linux"))]
fn write_in_place(_file: BorrowedFd<'_>) {}

/// Appending is atomic: zeros never come to lie over what another process has written. The
/// descriptor appends from then on (on Linux, wherever it is told to write).
fn append_zeros(file: BorrowedFd<'_>, bytes: u64) -> Result<(), Errno> {
    let flags = rustix::fs::fcntl_getfl(file)?;
    rustix::fs::fcntl_setfl(file, flags | OFlags::APPEND)?;
    let zeros = vec![0; ZEROS_BYTES];
    loop {
        let length = u64::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or(0);
        if length >= bytes {
            return Ok(());
        }
        let missing = usize::try_from(bytes - length).unwrap_or(usize::MAX);
        // Whole words, whatever an interrupted write has left.
        let missing = missing.next_multiple_of(WORD_BYTES);
        let whole = zeros.len() - usize::try_from(length).unwrap_or(0) % zeros.len();
        rustix::io::write(file, &zeros[..missing.min(whole)])?;
    }
}

/// A file under a name of its own, until it is put in its place.
#[derive(Debug)]
pub(crate) struct NewFile {
    pub(crate) file: OwnedFd,
    path: PathBuf,
    placed: bool,
}

impl NewFile {
    /// Creates a file beside `target` that begins with `words` and is `bytes` long.
    pub(crate) fn create(target: &Path, bytes: u64, words: &[u64]) -> Result<Self, Errno> {
        Self::create_by(target, bytes, words, allocate)
    }

    fn create_by(
        target: &Path,
        bytes: u64,
        words: &[u64],
        allocate: fn(BorrowedFd<'_>, u64) -> Result<(), Errno>,
    ) -> Result<Self, Errno> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let process = rustix::process::getpid().as_raw_nonzero();
        let path = beside(target, &format!("{NEW_SUFFIX}{process}-{number}"));
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::CREATE | OFlags::TRUNC;
        let file = rustix::fs::open(&path, flags, Mode::from_raw_mode(0o666))?;
        let new = Self { file, path, placed: false };
        write_in_place(new.file.as_fd());
        let content: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        // First, since a file that was extended by appending can only be appended to.
        let written = rustix::io::pwrite(&new.file, &content, 0)?;
        allocate(new.file.as_fd(), bytes)?;
        if written == content.len() { Ok(new) } else { Err(Errno::IO) }
    }

    /// Puts the file at `target` if nothing is there; else `EXIST`.
    pub(crate) fn place(mut self, target: &Path) -> Result<(), Errno> {
        match rename_new(&self.path, target) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                rustix::fs::link(&self.path, target)
            }
            Ok(()) => {
                self.placed = true;
                Ok(())
            }
            other => other,
        }
    }

    /// Waits until the disk has what was written, through a mapping too.
    pub(crate) fn sync(&self) -> Result<(), Errno> {
        rustix::fs::fsync(&self.file)
    }

    /// Puts the file at `target` in place of what is there.
    pub(crate) fn replace(&mut self, target: &Path) -> Result<(), Errno> {
        rustix::fs::rename(&self.path, target)?;
        self.placed = true;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.placed {
            // What is left behind after a failure is swept by the next swap.
            let _left_behind = rustix::fs::unlink(&self.path);
        }
    }
}

/// Moves a name to where there is none yet, in one step.
#[cfg(any(target_os = "linux", target_vendor = "apple"))]
fn rename_new(from: &Path, to: &Path) -> Result<(), Errno> {
    use rustix::fs::{CWD, RenameFlags};
    rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn rename_new(_: &Path, _: &Path) -> Result<(), Errno> {
    Err(Errno::NOSYS)
}

/// The path with something appended to its last component.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Whether `path` still leads to the file that was opened.
pub(crate) fn is_at(file: BorrowedFd<'_>, path: &Path) -> bool {
    let same = |a: &Stat, b: &Stat| a.st_dev == b.st_dev && a.st_ino == b.st_ino;
    match (rustix::fs::fstat(file), rustix::fs::lstat(path)) {
        (Ok(opened), Ok(there)) => same(&opened, &there),
        _ => false,
    }
}

/// The right to replace a file: an advisory lock of the kernel's on a file beside it, which is
/// gone with the process that holds it. Never waited for.
#[derive(Debug)]
pub(crate) struct ReplaceRight {
    _lock: OwnedFd,
}

impl ReplaceRight {
    /// `WOULDBLOCK` when another process has it.
    pub(crate) fn try_take(target: &Path) -> Result<Self, Errno> {
        let path = beside(target, ".lock");
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::CREATE;
        let lock = rustix::fs::open(path, flags, Mode::from_raw_mode(0o666))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { _lock: lock })
    }
}

/// Removes what creators of `target` that were killed have left behind. One that is at it notices
/// and begins again.
pub(crate) fn sweep(target: &Path) -> Result<(), Errno> {
    let (Some(directory), Some(name)) = (target.parent(), target.file_name()) else {
        return Ok(());
    };
    let mut prefix = name.as_bytes().to_vec();
    prefix.extend_from_slice(NEW_SUFFIX.as_bytes());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(directory, flags, Mode::empty())?;
    for entry in Dir::read_from(&opened)? {
        let entry = entry?;
        if entry.file_name().to_bytes().starts_with(&prefix) {
            rustix::fs::unlinkat(&opened, entry.file_name(), AtFlags::empty())?;
        }
    }
    Ok(())
}

/// How many damaged files are kept; the last one is replaced when there are more.
const QUARANTINED_MAX: usize = 4;

/// Moves what is at `path` to `path.damaged-<n>`.
pub(crate) fn quarantine(path: &Path) -> Result<(), Errno> {
    let mut last = path.to_owned();
    for aside in quarantined(path) {
        match rustix::fs::lstat(&aside) {
            Ok(_) => last = aside,
            Err(Errno::NOENT) => return rustix::fs::rename(path, aside),
            Err(error) => return Err(error),
        }
    }
    rustix::fs::rename(path, last)
}

/// Where [`quarantine`] may have moved what was at `path`.
pub(crate) fn quarantined(path: &Path) -> [PathBuf; QUARANTINED_MAX] {
    std::array::from_fn(|place| beside(path, &format!(".damaged-{}", place + 1)))
}

/// Creates a directory and those above it.
pub(crate) fn create_directories(path: &Path) -> Result<(), Errno> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o777)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(Errno::NOENT) => {
            create_directories(path.parent().ok_or(Errno::NOENT)?)?;
            match rustix::fs::mkdir(path, Mode::from_raw_mode(0o777)) {
                Err(Errno::EXIST) => Ok(()),
                other => other,
            }
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where space cannot be allocated (ext2, macOS), the header once came to lie behind the zeros.
    #[test]
    fn a_file_that_is_made_of_zeros_begins_with_its_header() {
        let space = tempfile::TempDir::new().expect("a directory");
        let target = space.path().join("index");
        let words = [1, 2, 3];
        let new = NewFile::create_by(&target, 200_000, &words, append_zeros).expect("created");
        new.place(&target).expect("placed");
        let bytes = std::fs::read(&target).expect("bytes");
        let header: Vec<u8> = words.iter().flat_map(|word| u64::to_le_bytes(*word)).collect();
        assert_eq!(&bytes[..24], header);
        assert!(bytes[24..].iter().all(|byte| *byte == 0));
        assert_eq!(bytes.len(), 200_000);
    }

    #[test]
    fn zeros_never_come_to_lie_over_what_is_there() {
        let space = tempfile::TempDir::new().expect("a directory");
        let path = space.path().join("index");
        std::fs::write(&path, vec![7; 100_003]).expect("written");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let file = open(&path).expect("opened");
                    append_zeros(file.as_fd(), 1_000_000).expect("extended");
                });
            }
        });
        let bytes = std::fs::read(&path).expect("bytes");
        assert!(bytes.len() >= 1_000_000);
        assert!(bytes[..100_003].iter().all(|byte| *byte == 7));
        assert!(bytes[100_003..].iter().all(|byte| *byte == 0));
    }
}
