//! From the outputs of a fresh compilation to blobs.
//!
//! A shared output (`.rlib`) gets its one modification time and loses its write permission here,
//! before the store knows it, and never changes again. A private output lends its inode to the
//! store where the filesystem has no reflinks: whoever changes it later changes its size or time
//! as well, and a restore that finds them changed verifies the digest.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use memchr::memmem;
use store_format::{Digest, Inline, NodeKind, Output, OutputRole};

use super::Store;
use crate::fs::{self, FileKind, FsError, LinkMode};
use crate::inputs::{digest_of_file, identity, shared_mtime_ns};
use crate::invocation::depinfo;
use crate::roots::{RootSet, Roots};

/// Texts up to this size may be kept in the result itself: those that name a root, for its place to
/// be written back.
const TEXT_BYTES_MAX: u64 = 1 << 20;
/// Texts up to this size are kept there in any case: less than a file of their own would take.
const INLINE_BYTES_MAX: usize = 1 << 10;

/// Bytes of an output that are hashed and scanned at a time.
const WINDOW_BYTES: usize = 1 << 20;

/// What became of a compilation's outputs.
#[derive(Debug, Default)]
pub struct Ingested {
    pub outputs: Vec<Output>,
    /// The roots whose literal path an output contains.
    pub surviving: RootSet,
    /// The roots whose paths were in texts, and are replaced there.
    pub said: RootSet,
    pub size_bytes: u64,
    /// What the blobs that are new take on the disk.
    pub stored_bytes: u64,
    /// Whether every blob was in the store before.
    pub known: bool,
}

/// Why an output is not in the store.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    #[error(transparent)]
    Fs(#[from] FsError),
    #[error("{0}: changed while it was stored")]
    Changed(PathBuf),
    #[error("{0} contains what kache adds to the environment")]
    Traced(PathBuf),
    #[error("{0}: neither a file, a directory nor a symbolic link")]
    Unsupported(PathBuf),
}

/// What outputs are looked through for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub roots: &'a Roots,
    /// The roots that the action was told of, through the values of variables: these are looked for in
    /// pieces as well.
    pub read: RootSet,
    /// Names that the observation has and nothing else: true of one run alone.
    pub traces: &'a [Vec<u8>],
}

impl Wanted<'_> {
    /// Whether a text tells of the observation.
    pub fn is_traced(&self, text: &[u8]) -> bool {
        self.traces.iter().any(|trace| memmem::find(text, trace).is_some())
    }

    /// Bytes of the longest name that is looked for.
    fn longest_bytes(&self) -> usize {
        self.traces.iter().map(Vec::len).max().unwrap_or(0).max(self.roots.longest_bytes())
    }
}

/// Puts `files`, all below `base`, into the store. The action began at `started_ns`.
pub fn ingest(
    store: &Store,
    wanted: Wanted,
    base: &Path,
    files: &[PathBuf],
    started_ns: i64,
    role_of: impl Fn(&Path) -> OutputRole,
) -> Result<Ingested, IngestError> {
    let mut ingested = Ingested { known: true, ..Ingested::default() };
    let roots = wanted.roots;
    for path in files {
        renew(path, started_ns)?;
    }
    for path in files {
        let stat = fs::lstat(path)?;
        let name = path.strip_prefix(base).unwrap_or(path).as_os_str().as_bytes().to_vec();
        let mut output = Output {
            name,
            node: NodeKind::File,
            role: role_of(path),
            mode: stat.mode & 0o7777,
            blob: Digest([0; 32]),
            size_bytes: stat.size_bytes,
            blob_mtime_ns: 0,
            inline: None,
        };
        match stat.kind {
            FileKind::File => file(store, wanted, path, &mut output, &mut ingested)?,
            FileKind::Directory => output.node = NodeKind::Directory,
            FileKind::Symlink => {
                output.node = NodeKind::Symlink;
                let target = fs::read_link(path)?;
                let target = target.as_os_str().as_bytes();
                ingested.said.extend(roots.surviving(target));
                output.inline = Some(Inline::Text(roots.template(target)));
            }
            FileKind::Other => return Err(IngestError::Unsupported(path.clone())),
        }
        ingested.size_bytes += output.size_bytes;
        ingested.outputs.push(output);
    }
    Ok(ingested)
}

/// Gives metadata a time of its own that the compiler took over from its incremental data, by a link: it is
/// as old as these. So will the library be that is shared, and to Cargo a unit is as old as its youngest
/// output: it would build the unit again, each time.
fn renew(path: &Path, started_ns: i64) -> Result<(), FsError> {
    if path.extension().is_none_or(|extension| extension != "rmeta") {
        return Ok(());
    }
    let stat = fs::lstat(path)?;
    if stat.kind == FileKind::File && stat.mtime_ns < started_ns {
        fs::place_private(path, path, LinkMode::Auto, stat.mode)?;
    }
    Ok(())
}

fn file(
    store: &Store,
    wanted: Wanted,
    path: &Path,
    output: &mut Output,
    ingested: &mut Ingested,
) -> Result<(), IngestError> {
    if output.role == OutputRole::Text {
        if let Some(template) = text_of(wanted, path, output, &mut ingested.said)? {
            // What the template leaves is part of something longer, and stays.
            ingested.surviving.extend(wanted.roots.surviving(&template));
            output.inline = Some(Inline::Text(template));
            return Ok(());
        }
        output.role = OutputRole::Private;
    }
    let before = fs::stat(path)?;
    output.blob = hash_and_scan(wanted, path, &mut ingested.surviving)?;
    if fs::stat(path)?.times_and_size() != before.times_and_size() {
        return Err(IngestError::Changed(path.to_owned()));
    }
    let blob = store.blob_path(&output.blob);
    discard_if_damaged(&blob, &output.blob)?;
    let new = match output.role {
        OutputRole::Shared => share(path, &blob, output)?,
        _ => lend(path, &blob)?,
    };
    ingested.known &= !new;
    let stored = fs::stat(&blob)?;
    if stored.size_bytes != output.size_bytes {
        return Err(IngestError::Changed(blob));
    }
    output.blob_mtime_ns = stored.mtime_ns;
    if new {
        ingested.stored_bytes += stored.allocated_bytes.max(stored.size_bytes);
    }
    Ok(())
}

/// What is kept of a text output: its template, if it is small, or names a root and is text indeed.
fn text_of(
    wanted: Wanted,
    path: &Path,
    output: &Output,
    said: &mut RootSet,
) -> Result<Option<Vec<u8>>, IngestError> {
    let roots = wanted.roots;
    let is_makefile = path.extension().is_some_and(|extension| extension == "d");
    if output.size_bytes > TEXT_BYTES_MAX {
        return Ok(None);
    }
    let text = fs::read(path)?;
    if wanted.is_traced(&text) {
        return Err(IngestError::Traced(path.to_owned()));
    }
    if is_makefile {
        return Ok(Some(depinfo::template(&text, roots)));
    }
    let small = text.len() <= INLINE_BYTES_MAX;
    let is_text = std::str::from_utf8(&text).is_ok() && !text.contains(&0);
    let named = roots.surviving(&text);
    let is_wanted = is_text && (small || !named.is_empty());
    said.extend(named);
    Ok(is_wanted.then(|| roots.template(&text)))
}

/// The digest of a file and, in the same pass, the roots whose paths it contains. Fails if it tells of the
/// observation.
fn hash_and_scan(
    wanted: Wanted,
    path: &Path,
    surviving: &mut RootSet,
) -> Result<Digest, IngestError> {
    let Wanted { roots, read, .. } = wanted;
    let mut is_traced = false;
    let mut hasher = blake3::Hasher::new();
    let overlap = wanted.longest_bytes() + 1;
    let mut kept = 0;
    fs::read_in_windows(path, WINDOW_BYTES, |window| {
        hasher.update(&window[kept..]);
        surviving.extend(roots.surviving(window));
        is_traced |= wanted.is_traced(window);
        if !read.is_empty() {
            surviving.extend(roots.fragments(window).intersection(read));
        }
        kept = overlap.min(window.len());
        kept
    })?;
    if is_traced {
        return Err(IngestError::Traced(path.to_owned()));
    }
    Ok(Digest(*hasher.finalize().as_bytes()))
}

/// Makes `path` and the blob one inode that nobody writes to. Returns whether the blob is new.
fn share(path: &Path, blob: &Path, output: &Output) -> Result<bool, FsError> {
    let mtime_ns = shared_mtime_ns(&output.blob);
    if fs::stat(blob).is_ok_and(|stat| stat.mtime_ns == mtime_ns) {
        fs::replace_by_link(blob, path)?;
        return Ok(false);
    }
    fs::set_mode(path, shared_mode(output))?;
    fs::set_mtime(path, mtime_ns)?;
    let shared = in_its_directory(blob, || fs::link_or_copy_new(path, blob));
    shared.inspect_err(|_| {
        // Nobody shares it, and Cargo wants it young. What failed is what matters.
        drop(fs::set_mode(path, output.mode).and_then(|()| fs::touch(path)));
    })
}

/// Lets the store have the content of `path`, by reflink or by sharing the inode. Returns whether
/// the blob is new.
fn lend(path: &Path, blob: &Path) -> Result<bool, FsError> {
    if fs::stat(blob).is_ok() {
        return Ok(false);
    }
    in_its_directory(blob, || fs::clone_or_link_new(path, blob))
}

/// Makes a file that was shown to hold what its output says the blob, as it would be if the output
/// had been made here. The file lies in the store and has no other name.
pub fn adopt(store: &Store, file: &Path, output: &mut Output) -> Result<(), FsError> {
    let blob = store.blob_path(&output.blob);
    discard_if_damaged(&blob, &output.blob)?;
    if output.role == OutputRole::Shared {
        fs::set_mode(file, shared_mode(output))?;
        fs::set_mtime(file, shared_mtime_ns(&output.blob))?;
    } else {
        fs::set_mode(file, output.mode)?;
    }
    let new = in_its_directory(&blob, || fs::link_or_copy_new(file, &blob))?;
    let stored = fs::stat(&blob)?;
    output.blob_mtime_ns = stored.mtime_ns;
    if new {
        store.index.count_stored(stored.allocated_bytes.max(stored.size_bytes));
        // Who finds it in a target directory has no need to read it again.
        store.memo.insert_seen(&identity(&stored), &output.blob, SystemTime::now());
    }
    Ok(())
}

/// Permission bits of a blob that target directories share.
fn shared_mode(output: &Output) -> u32 {
    if output.mode & 0o111 == 0 { 0o444 } else { 0o555 }
}

/// Unlinks a blob that is there under a name that its content no longer has: a target directory that
/// shares the inode was written to, or the power was cut. The memo is not asked, since it may know the
/// file from before.
fn discard_if_damaged(blob: &Path, digest: &Digest) -> Result<(), FsError> {
    match fs::stat(blob).and_then(|stat| digest_of_file(blob, stat.size_bytes)) {
        Ok(found) if found != *digest => fs::remove_if_present(blob),
        Err(error) if !error.is_absent() => Err(error),
        _ => Ok(()),
    }
}

/// Makes a blob, and the directory that it belongs into where that is still missing.
fn in_its_directory(
    blob: &Path,
    make: impl Fn() -> Result<bool, FsError>,
) -> Result<bool, FsError> {
    match (make(), blob.parent()) {
        (Err(error), Some(directory)) if error.is_absent() => {
            fs::create_directories(directory)?;
            make()
        }
        (result, _) => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every unit that needs a library from a remote read it again.
    #[test]
    fn the_digest_of_an_adopted_library_is_known_wherever_it_is_linked() {
        let space = tempfile::tempdir().expect("a directory");
        let store = Store::open(&space.path().join("store")).expect("a store");
        let content = b"a library";
        let blob = Digest(*blake3::hash(content).as_bytes());
        let fetched = store.directory.join("fetched");
        let adopted = |role| {
            std::fs::write(&fetched, content).expect("written");
            let mut output = Output {
                name: b"it".to_vec(),
                node: NodeKind::File,
                role,
                mode: 0o644,
                blob,
                size_bytes: content.len() as u64,
                blob_mtime_ns: 0,
                inline: None,
            };
            adopt(&store, &fetched, &mut output).expect("adopted");
            let linked = space.path().join("linked");
            fs::remove_if_present(&linked).expect("removed");
            std::fs::hard_link(store.blob_path(&blob), &linked).expect("linked");
            std::fs::remove_file(store.blob_path(&blob)).expect("removed");
            store.memo.probe(&identity(&fs::stat(&linked).expect("it is there")))
        };
        assert_eq!(adopted(OutputRole::Shared), Some(blob));
        assert_eq!(adopted(OutputRole::Private), None, "it may change unseen");
    }
}
