//! The values that records carry.

use std::collections::HashSet;

use crate::{ActionKey, Digest, UnitKey};

/// A directory whose place differs between checkouts and machines. Persisted names below one are
/// relative to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Root {
    /// The working directory of the compiler: the workspace for members, else the package.
    Workspace = 1,
    /// `CARGO_MANIFEST_DIR`, where it is not below [`Root::Workspace`].
    Package = 2,
    /// The directory that holds the build's products: the common ancestor of `--out-dir`,
    /// `OUT_DIR`, and the dependency search paths.
    Build = 3,
    /// `CARGO_HOME`.
    CargoHome = 4,
    /// The compiler's sysroot.
    Sysroot = 5,
    /// `HOME`.
    Home = 6,
}

/// A path as persisted: absolute bytes, or bytes relative to a root (no leading slash; empty for
/// the root itself).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RootedPath {
    pub root: Option<Root>,
    pub path: Vec<u8>,
}

/// What about an input the outputs depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum InputKind {
    /// The content of a file, or its absence.
    File = 1,
    /// The names in a directory, or its absence.
    Listing = 2,
    /// Whether something is there, and whether it is a file or a directory.
    Presence = 3,
    /// The value of an environment variable, or its absence.
    Variable = 4,
    /// Every environment variable but those known not to matter; the name is empty.
    AllVariables = 5,
    /// The content and the place of an executable: of the one that a bare name leads to through `PATH`,
    /// or of the one at a path.
    Program = 6,
    /// A compiled crate, named without its extension: its metadata for units that do not link.
    DependencyMetadata = 7,
    /// A compiled crate, named without its extension: its library for units that link.
    DependencyLibrary = 8,
    /// The literal path of a root, for outputs that contain it, or without a root how all of them lie to
    /// each other; the name is empty.
    RootLocation = 9,
    /// The target of a symbolic link, or its absence.
    LinkTarget = 10,
    /// A fact about the machine: `kernel` or `processor`.
    Machine = 11,
}

/// One input by name. For [`InputKind::Variable`] and [`InputKind::Machine`] the name has no root, and
/// is the variable's name or the fact's; a [`InputKind::Program`] that is looked for has none either.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Input {
    pub kind: InputKind,
    pub name: RootedPath,
}

/// Which inputs compilations of a unit key read: names and kinds, sorted, without contents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Manifest {
    pub inputs: Vec<Input>,
}

/// How an output reaches a target directory (see DESIGN, "Restoring").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum OutputRole {
    /// May share its inode with the store and with other target directories.
    Shared = 1,
    /// Gets an inode of its own, and the current time.
    Private = 2,
    /// Text with the roots replaced; written out for the place of restoration.
    Text = 3,
}

/// What kind of node an output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum NodeKind {
    File = 1,
    Directory = 2,
    /// The link's target is the content.
    Symlink = 3,
}

/// One file (or directory, or symbolic link) that an action made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Output {
    /// Relative to the action's output directory; normal components only. One component for
    /// compilations.
    pub name: Vec<u8>,
    pub node: NodeKind,
    pub role: OutputRole,
    /// Permission bits that the compiler gave.
    pub mode: u32,
    /// Digest of the content, zero unless a blob holds it.
    pub blob: Digest,
    /// Bytes of the content.
    pub size_bytes: u64,
    /// Modification time of the blob file, nanoseconds since 1970: with the size, what a restore
    /// checks before it trusts the file. Zero without a blob.
    pub blob_mtime_ns: i64,
    /// The content itself where it is small text, else `None` and the blob holds it.
    pub inline: Option<Inline>,
}

/// The content of an output that is in the result itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Inline {
    /// With the roots replaced.
    Text(Vec<u8>),
    /// Dep-info, told by the names in the manifest of its action ([`crate::dep_info`]).
    DepInfo(Vec<u8>),
}

impl Output {
    /// Whether a blob holds the content.
    pub fn has_blob(&self) -> bool {
        self.node == NodeKind::File && self.inline.is_none()
    }
}

/// What an action produced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultRecord {
    pub action: ActionKey,
    /// Whose manifests lead here: once none of its results is left, they lead nowhere.
    pub unit: UnitKey,
    pub crate_name: Vec<u8>,
    pub outputs: Vec<Output>,
    /// The streams with roots replaced.
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub exit_status: u8,
    /// What it cost to produce: wall time of the compiler, microseconds.
    pub cost_us: u64,
    /// The boot in which it was written; verified against digests when read in a later one, unless
    /// its slot says that it is durable.
    pub boot: [u8; 16],
    /// Whether it came from a remote and was not used yet.
    pub fetched: bool,
    /// Seconds since 1970.
    pub created_s: u64,
}

impl ResultRecord {
    /// The first output of each blob that the result needs: those whose content is not in the
    /// record itself.
    pub fn blobs(&self) -> Vec<&Output> {
        let mut seen = HashSet::new();
        let stored = self.outputs.iter().filter(|output| output.has_blob());
        stored.filter(|output| seen.insert(output.blob)).collect()
    }
}
