//! The log as the wrapper holds it: where the system has files in memory one of those, else a file among
//! the temporary ones.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::unix::fs::FileExt;
#[cfg(any(test, not(target_os = "linux")))]
use std::path::Path;
use std::path::PathBuf;

#[cfg(target_os = "linux")]
use rustix::io::Errno;

use super::live::Looked;
use super::log::Record;
use super::{layout, native};
use crate::fs;

/// How long it is waited for a process that is at its end, before each look.
#[cfg(target_os = "linux")]
const ENDING_MS: [i64; 6] = [1, 2, 4, 8, 16, 32];

#[derive(Debug)]
pub(super) struct SharedLog {
    file: File,
    /// Under which observed processes open it.
    name: OsString,
    /// To be removed when it has been read.
    path: Option<PathBuf>,
    looked: Looked,
}

impl SharedLog {
    pub(super) fn create() -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        return Self::in_memory();
        #[cfg(not(target_os = "linux"))]
        Self::in_directory(&std::env::temp_dir())
    }

    #[cfg(target_os = "linux")]
    fn in_memory() -> io::Result<Self> {
        use rustix::fs::{MemfdFlags, memfd_create};
        use std::os::fd::AsRawFd;

        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = File::from(memfd_create(c"kache-observe", flags)?);
        let name = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        Self { file, name: name.into(), path: None, looked: Looked::default() }.begun()
    }

    #[cfg(any(test, not(target_os = "linux")))]
    pub(super) fn in_directory(directory: &Path) -> io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt;

        let path = fs::temporary_name(&directory.join("log"));
        let mut options = File::options();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        let name = path.clone().into();
        Self { file, name, path: Some(path), looked: Looked::default() }.begun()
    }

    fn begun(self) -> io::Result<Self> {
        self.set_len(layout::LOG_BYTES as u64)?;
        let own = u64::from(std::process::id());
        self.write_all_at(&native(layout::MAGIC), layout::WORD_MAGIC as u64 * 8)?;
        self.write_all_at(&native(own), layout::WORD_WRAPPER_PID as u64 * 8)?;
        Ok(self)
    }

    /// Whether any record that came since this was asked last is one that `is_meant`.
    pub(super) fn fresh(&self, is_meant: impl Fn(&Record) -> bool) -> io::Result<bool> {
        self.looked.look(&self.file, is_meant)
    }

    pub(super) fn name(&self) -> &OsStr {
        &self.name
    }

    /// Whether a process still has the log mapped when the first one has ended: what it does is not seen
    /// any more. One that is at its end gets a moment for that. If there is none, nothing is
    /// written from now on: who starts only now has been announced, and cannot report.
    #[cfg(target_os = "linux")]
    pub(super) fn is_outlived(&self) -> bool {
        use rustix::event::{Timespec, poll};
        use rustix::fs::{SealFlags, fcntl_add_seals};

        // The kernel refuses that as long as anybody has it mapped: exact, also for who was forked and
        // never reported, and nobody has a parent other than it would have.
        let is_mapped = || fcntl_add_seals(&self.file, SealFlags::WRITE) == Err(Errno::BUSY);
        is_mapped()
            && ENDING_MS.into_iter().all(|wait_ms| {
                let wait = Timespec { tv_sec: 0, tv_nsec: wait_ms * 1_000_000 };
                // A signal ends the wait early, which does no harm.
                poll(&mut [], Some(&wait)).ok();
                is_mapped()
            })
    }

    /// Whether a process still writes to the log: without files in memory nobody tells.
    #[cfg(not(target_os = "linux"))]
    #[expect(clippy::unused_self, reason = "it is as on Linux for whoever asks")]
    pub(super) fn is_outlived(&self) -> bool {
        false
    }
}

impl Deref for SharedLog {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

impl Drop for SharedLog {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // What stays is one file among other temporary ones.
            drop(fs::remove(path));
        }
    }
}
