//! What an observed process can do that matters.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::machine::Fact;

/// One thing that an observed process did. Paths are absolute. Each is told once, at the place
/// where it happened first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// A file was opened for reading.
    Read(PathBuf),
    /// Something was created, or opened for writing.
    Wrote(PathBuf),
    /// A symbolic link was made; the target as an absolute path.
    Linked { link: PathBuf, target: PathBuf },
    /// Something was removed, or moved away.
    Removed(PathBuf),
    /// The names in a directory were read.
    Listed(PathBuf),
    /// The names in a directory were read by code that was loaded later, such as a procedural macro.
    ListedLater(PathBuf),
    /// Something was looked for and is not there.
    Missing(PathBuf),
    /// Something was asked for, and is there.
    Found(PathBuf),
    /// The target of a symbolic link was read.
    LinkRead(PathBuf),
    /// An environment variable was looked up, by the code of this executable and the libraries
    /// that it started with; or (without one) by code that was loaded later, such as a procedural
    /// macro.
    Variable { name: OsString, by: Option<PathBuf> },
    /// This executable or library can read all variables without looking one up.
    AllVariables(PathBuf),
    /// A program was looked for by name, and found or not; `is_ours` tells whether the wrapper's
    /// own `PATH` leads to the same. Directories that were probed in turn are told as this, too.
    Searched { name: OsString, path: Option<PathBuf>, is_ours: bool },
    /// A file was run.
    Executed(PathBuf),
    /// A process reported whose executable was not run under that name: an interpreter of
    /// scripts, or the first process.
    Started(PathBuf),
    /// A library that an executable was started with; or (without one) that came with a library
    /// which was loaded later.
    Loaded {
        library: PathBuf,
        by: Option<PathBuf>,
        /// Directories that programs and libraries name where the loader may have looked before.
        passed_over: Vec<PathBuf>,
    },
    /// A library that a process loaded later; a bare name where the loader was to search for it.
    OpenedLibrary(PathBuf),
    /// A connection or a message to another machine, or to this one through its network.
    Network(String),
    /// A fact about the machine was asked for, of the kernel or by an argument.
    Machine(Fact),
    /// A connection to a local socket; abstract ones begin with NUL.
    LocalSocket(PathBuf),
}

impl Access {
    /// The path that this is about, if it has one.
    fn path_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::Read(path)
            | Self::Wrote(path)
            | Self::Linked { link: path, .. }
            | Self::Removed(path)
            | Self::Listed(path)
            | Self::ListedLater(path)
            | Self::Missing(path)
            | Self::Found(path)
            | Self::LinkRead(path)
            | Self::AllVariables(path)
            | Self::Executed(path)
            | Self::Started(path)
            | Self::Loaded { library: path, .. }
            | Self::OpenedLibrary(path)
            | Self::LocalSocket(path)
            | Self::Searched { path: Some(path), .. } => Some(path),
            Self::Searched { path: None, .. }
            | Self::Variable { .. }
            | Self::Machine(_)
            | Self::Network(_) => None,
        }
    }

    /// Tells of what is below the directory `real` as if it had been reached through `given`.
    pub(super) fn rename(&mut self, real: &Path, given: &Path) {
        if let Some(path) = self.path_mut() {
            rename(path, real, given);
        }
        if let Self::Linked { target, .. } = self {
            rename(target, real, given);
        }
    }
}

/// Replaces the directory `real` in a path by `given`.
pub(super) fn rename(path: &mut PathBuf, real: &Path, given: &Path) {
    if let Ok(inside) = path.strip_prefix(real) {
        *path = given.join(inside);
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path) => write!(f, "read {}", path.display()),
            Self::Wrote(path) => write!(f, "wrote {}", path.display()),
            Self::Linked { link, target } => {
                write!(f, "linked {} to {}", link.display(), target.display())
            }
            Self::Removed(path) => write!(f, "removed {}", path.display()),
            Self::Listed(path) => write!(f, "listed {}", path.display()),
            Self::ListedLater(path) => write!(f, "listed later {}", path.display()),
            Self::Missing(path) => write!(f, "missing {}", path.display()),
            Self::Found(path) => write!(f, "found {}", path.display()),
            Self::LinkRead(path) => write!(f, "link {}", path.display()),
            Self::Variable { name, by: Some(by) } => {
                write!(f, "variable {} by {}", name.display(), by.display())
            }
            Self::Variable { name, by: None } => {
                write!(f, "variable {} by loaded code", name.display())
            }
            Self::AllVariables(path) => write!(f, "all variables by {}", path.display()),
            Self::Searched { name, path: Some(path), .. } => {
                write!(f, "program {} at {}", name.display(), path.display())
            }
            Self::Searched { name, path: None, .. } => {
                write!(f, "program {} nowhere", name.display())
            }
            Self::Executed(path) => write!(f, "executed {}", path.display()),
            Self::Started(path) => write!(f, "started {}", path.display()),
            Self::Loaded { library, by: Some(by), .. } => {
                write!(f, "loaded {} by {}", library.display(), by.display())
            }
            Self::Loaded { library, by: None, .. } => write!(f, "loaded {}", library.display()),
            Self::OpenedLibrary(path) => write!(f, "library {}", path.display()),
            Self::Network(address) => write!(f, "network {address}"),
            Self::Machine(fact) => write!(f, "machine's {}", fact.name()),
            Self::LocalSocket(path) => write!(f, "socket {}", path.display()),
        }
    }
}
