//! How a daemon begins: what it inherits and what not, its lock and its socket.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::client::{self, Place};
use crate::fs;

use super::{DaemonError, io};

/// What is left of a start once the daemon runs: the lock, which ends with it.
#[derive(Debug)]
pub struct Start {
    _lock: OwnedFd,
    detached: bool,
}

impl Start {
    /// Whether somebody reads its standard error.
    pub fn is_watched(&self) -> bool {
        !self.detached
    }

    /// Tells who started it that it listens.
    pub fn announce(&self) {
        if !self.detached {
            return;
        }
        let mut out = std::io::stdout();
        // Nobody need be interested.
        drop(out.write_all(b"ready\n").and_then(|()| out.flush()));
        if let Err(error) = silence() {
            crate::log::warn!("standard output stays open: {error}");
        }
    }
}

/// Leaves the channel to who started this process.
fn silence() -> rustix::io::Result<()> {
    use rustix::fs::{Mode, OFlags, open};
    rustix::stdio::dup2_stdout(open("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// The first of two steps of a daemon that another process started: it becomes the leader of a
/// session of its own, and itself once more, without any descriptor that it has inherited besides
/// the standard ones. Returns only if it cannot.
pub fn detach() -> DaemonError {
    if let Err(error) = rustix::process::setsid() {
        return io("begin a session")(error.into());
    }
    close_fds::set_fds_cloexec(3, &[]);
    again(["daemon", "run", "--detached"])
}

/// What keeps GNU's allocator from holding on to the memory of transfers that are done: one arena for
/// all threads, and small thresholds for giving memory back. It is read when a process starts.
const ALLOCATOR: [(&str, &str); 3] = [
    ("MALLOC_ARENA_MAX", "1"),
    ("MALLOC_TRIM_THRESHOLD_", "65536"),
    ("MALLOC_MMAP_THRESHOLD_", "65536"),
];

/// Whether this process began with the allocator's settings, or none are needed.
pub fn is_settled() -> bool {
    !cfg!(all(target_os = "linux", target_env = "gnu"))
        || ALLOCATOR.iter().all(|(name, _)| std::env::var_os(name).is_some())
}

/// Becomes this executable once more, with the allocator's settings. Returns only if it cannot.
pub fn again<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> DaemonError {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return io("find the executable")(error),
    };
    io("start again")(Command::new(program).args(arguments).envs(ALLOCATOR).exec())
}

/// Takes the lock, or takes it over from who started this process. `None`: another daemon runs.
pub fn prepare(place: &Place, detached: bool) -> Result<Option<Start>, DaemonError> {
    client::make_directory(place)?;
    let inherited = std::io::stdin().as_fd().try_clone_to_owned().map_err(io("take the lock"))?;
    let lock = if detached && is_file(&inherited, &place.lock()) {
        Some(inherited)
    } else {
        fs::try_lock(&place.lock())?.map(fs::Lock::into_file)
    };
    Ok(lock.map(|lock| Start { _lock: lock, detached }))
}

fn is_file(descriptor: &OwnedFd, path: &Path) -> bool {
    let own = descriptor.try_clone().map(File::from).and_then(|file| file.metadata());
    let Ok(own) = own else { return false };
    path.metadata().is_ok_and(|file| (file.dev(), file.ino()) == (own.dev(), own.ino()))
}

/// Listens at the socket, in place of whatever is there: it belongs to who has the lock.
pub(super) fn listen(place: &Place) -> Result<UnixListener, DaemonError> {
    if let Some(directory) = place.socket.parent()
        && !directory.exists()
    {
        fs::create_directories(directory)?;
        fs::set_mode(directory, 0o700)?;
    }
    check_owner(&place.socket)?;
    fs::remove_if_present(&place.socket)?;
    let listener = UnixListener::bind(&place.socket).map_err(io("listen at the socket"))?;
    listener.set_nonblocking(true).map_err(io("listen at the socket"))?;
    Ok(listener)
}

/// The short name of a long path lies where others may be first.
fn check_owner(socket: &Path) -> Result<(), DaemonError> {
    let Some(directory) = socket.parent().filter(|parent| parent.starts_with("/tmp")) else {
        return Ok(());
    };
    let metadata = directory.symlink_metadata().map_err(io("look at the socket's directory"))?;
    let own = metadata.uid() == rustix::process::getuid().as_raw() && metadata.is_dir();
    if own || directory == Path::new("/tmp") {
        return Ok(());
    }
    Err(io("use the socket's directory")(std::io::ErrorKind::PermissionDenied.into()))
}
