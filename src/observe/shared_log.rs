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

use super::{layout, native};
use crate::fs;

#[derive(Debug)]
pub(super) struct SharedLog {
    file: File,
    /// Under which observed processes open it.
    name: OsString,
    /// To be removed when it has been read.
    path: Option<PathBuf>,
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

        let file = File::from(memfd_create(c"kache-observe", MemfdFlags::CLOEXEC)?);
        let name = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        Self { file, name: name.into(), path: None }.begun()
    }

    #[cfg(any(test, not(target_os = "linux")))]
    pub(super) fn in_directory(directory: &Path) -> io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt;

        let path = fs::temporary_name(&directory.join("log"));
        let mut options = File::options();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        Self { file, name: path.clone().into(), path: Some(path) }.begun()
    }

    fn begun(self) -> io::Result<Self> {
        self.set_len(layout::LOG_BYTES as u64)?;
        let own = u64::from(std::process::id());
        self.write_all_at(&native(layout::MAGIC), layout::WORD_MAGIC as u64 * 8)?;
        self.write_all_at(&native(own), layout::WORD_WRAPPER_PID as u64 * 8)?;
        Ok(self)
    }

    pub(super) fn name(&self) -> &OsStr {
        &self.name
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
