//! From blobs to a target directory, all or nothing.
//!
//! A blob is trusted when its size and time are the recorded ones, and verified against its digest
//! when they are not, when the result was never made durable and comes from an earlier boot, or
//! when the configuration asks for it. What fails is a miss; nothing of a failed restore stays.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use store_format::{Inline, Manifest, NodeKind, Output, OutputRole, ResultRecord, dep_info};

use super::Store;
use crate::fs::{self, FsError, LinkMode, Placed};
use crate::inputs::{content_digest, digest_of_file};
use crate::launcher::{self, Launcher};
use crate::roots::Roots;

/// Where an action's outputs go.
#[derive(Debug, Clone)]
pub struct Tree {
    pub base: PathBuf,
    /// Whether what an earlier action left there goes first.
    pub cleared: bool,
    /// A build script's executable gets a launcher in its place.
    pub launcher: Option<Launcher>,
}

impl Tree {
    pub fn new(base: PathBuf) -> Self {
        Self { base, cleared: false, launcher: None }
    }

    /// How an output is restored.
    pub fn role_of(&self, path: &Path, all: &[PathBuf]) -> OutputRole {
        if self.cleared {
            // A script's outputs may name its place in any kind of text.
            return OutputRole::Text;
        }
        match path.extension().and_then(OsStr::to_str) {
            // Beside a `.rmeta`, which carries the unit's time, the library's own time never
            // matters.
            Some("rlib") if all.contains(&path.with_extension("rmeta")) => OutputRole::Shared,
            Some("d") => OutputRole::Text,
            // Cargo sees the launcher; nobody looks at the time of what it runs.
            Some(launcher::EXTENSION) => OutputRole::Shared,
            _ => OutputRole::Private,
        }
    }
}

/// What a restore did.
#[derive(Debug, Default, Clone, Copy)]
pub struct Restored {
    pub size_bytes: u64,
    /// Bytes that needed no copy: hardlinked or reflinked.
    pub linked_bytes: u64,
}

/// Why a result could not be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error(transparent)]
    Fs(#[from] FsError),
    #[error("{0}: the blob is damaged")]
    Damaged(PathBuf),
    #[error("{0}: names a place that is not known here")]
    Unplaceable(PathBuf),
}

/// How a restore is done.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub link_mode: LinkMode,
    /// Verify every digest, whatever the blobs' times say.
    pub verify: bool,
}

/// Puts the outputs of `result`, which `manifest` leads to, into `base`. The first who restores what
/// came from a remote shares the inodes of its private outputs with the store, as who compiles does:
/// their new times are put into `result`.
pub fn restore(
    store: &Store,
    roots: &Roots,
    tree: &Tree,
    manifest: &Manifest,
    result: &mut ResultRecord,
    options: Options,
) -> Result<Restored, RestoreError> {
    let mut restored = Restored::default();
    let mut placed = Vec::with_capacity(result.outputs.len());
    if tree.cleared {
        fs::clear(&tree.base)?;
    }
    let lends = result.fetched;
    for output in &mut result.outputs {
        let path = tree.base.join(OsStr::from_bytes(&output.name));
        match place(store, roots, manifest, &path, output, options, lends) {
            Ok(how) => {
                restored.size_bytes += output.size_bytes;
                if how != Placed::Copied {
                    restored.linked_bytes += output.size_bytes;
                }
                placed.push(path);
            }
            Err(error) => {
                for path in &placed {
                    // The compiler runs next and writes these anew.
                    drop(fs::remove(path));
                }
                return Err(error);
            }
        }
    }
    if let Some(launcher) = &tree.launcher {
        launcher.install()?;
    }
    Ok(restored)
}

fn place(
    store: &Store,
    roots: &Roots,
    manifest: &Manifest,
    path: &Path,
    output: &mut Output,
    options: Options,
    lends: bool,
) -> Result<Placed, RestoreError> {
    if let Some(inline) = &output.inline {
        let content = text(roots, manifest, inline)
            .ok_or_else(|| RestoreError::Unplaceable(path.to_owned()))?;
        if output.node == NodeKind::Symlink {
            fs::replace_by_symlink(OsStr::from_bytes(&content).as_ref(), path)?;
        } else {
            fs::write_new(path, &content, output.mode)?;
        }
        return Ok(Placed::Copied);
    }
    if output.node == NodeKind::Directory {
        fs::create_directories(path)?;
        return Ok(Placed::Copied);
    }
    let blob = store.blob_path(&output.blob);
    check_blob(store, &blob, output, options.verify)?;
    let (links, mode) = (options.link_mode, output.mode);
    Ok(match output.role {
        OutputRole::Shared => fs::place_shared(&blob, path, links, mode)?,
        _ if lends => {
            let (placed, mtime_ns) = fs::place_lent(&blob, path, links, mode)?;
            output.blob_mtime_ns = mtime_ns.unwrap_or(output.blob_mtime_ns);
            placed
        }
        _ => fs::place_private(&blob, path, links, mode)?,
    })
}

/// The text of an output, written for this place.
fn text(roots: &Roots, manifest: &Manifest, inline: &Inline) -> Option<Vec<u8>> {
    match inline {
        Inline::Text(template) => roots.expand(template),
        Inline::DepInfo(short) => roots.expand(&dep_info::lengthen(short, manifest).ok()?),
    }
}

/// Makes sure that the blob holds what its name says.
fn check_blob(
    store: &Store,
    blob: &Path,
    output: &Output,
    verify: bool,
) -> Result<(), RestoreError> {
    let stat = fs::stat(blob)?;
    let as_recorded = stat.size_bytes == output.size_bytes && stat.mtime_ns == output.blob_mtime_ns;
    if as_recorded && !verify {
        return Ok(());
    }
    let digest = if verify {
        digest_of_file(blob, stat.size_bytes)?
    } else {
        content_digest(&store.memo, blob, &stat)?
    };
    if digest == output.blob {
        return Ok(());
    }
    quarantine(store, blob);
    Err(RestoreError::Damaged(blob.to_owned()))
}

/// Takes a damaged blob out of the way, so that the next compilation can store it anew. It is
/// unlinked only: target directories that share the inode keep it.
fn quarantine(store: &Store, blob: &Path) {
    let to = store.directory.join("damaged");
    let moved = fs::create_directories(&to)
        .and_then(|()| fs::rename(blob, &to.join(blob.file_name().unwrap_or_default())));
    if moved.is_err() {
        // Unlinking is what matters; if that fails too, every restore finds the damage again.
        drop(fs::remove(blob));
    }
}
