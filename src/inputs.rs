//! The current value of each input that a manifest names.
//!
//! A value is what the action key hashes. Two values are equal only if a compilation that reads the
//! input could not tell them apart; what cannot be read has no value, and its action no key.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::io::Errno;
use store_format::{Digest, Input, InputKind, Root};

use crate::fs::{self, FileKind, FsError, Stat};
use crate::library_path;
use crate::listing;
use crate::memo::{FileIdentity, Memo};
use crate::observe::{Fact, rules};
use crate::roots::Roots;

/// Shared blobs date from between 1987 and 2004, and from these fractions of a second, which no
/// archive or tool produces: so a store file is recognised.
const SHARED_SECONDS: RangeInclusive<i64> = 1 << 29..=(1 << 30) - 1;
const SHARED_NANOSECONDS: RangeInclusive<i64> = 271_000_000..=271_000_000 + (1 << 19) - 1;
const NANOSECONDS: i64 = 1_000_000_000;
/// Bytes of a large file that are digested at a time.
const WINDOW_BYTES: usize = 256 << 10;
/// A file that is not large: its content fits what allocators keep at hand.
const WHOLE_BYTES_MAX: u64 = 96 << 10;

/// The modification time of a shared blob: long past, and told by 48 bits of its digest.
///
/// The memo knows shared blobs without their `ctime`. An inode number is given to a new file once its
/// blob is gone, and means another file where a store was copied to: were the time one and the same,
/// the memo would answer with the digest of the file that had the number and size before.
pub fn shared_mtime_ns(digest: &Digest) -> i64 {
    let within = |range: &RangeInclusive<i64>, first: usize| {
        let bytes = std::array::from_fn(|place| digest.0[first + place]);
        let span = range.end() - range.start() + 1;
        range.start() + i64::from(u32::from_le_bytes(bytes)) % span
    };
    within(&SHARED_SECONDS, 0) * NANOSECONDS + within(&SHARED_NANOSECONDS, 4)
}

/// Whether a file of this modification time is a shared blob.
pub fn is_shared_mtime(mtime_ns: i64) -> bool {
    SHARED_SECONDS.contains(&mtime_ns.div_euclid(NANOSECONDS))
        && SHARED_NANOSECONDS.contains(&mtime_ns.rem_euclid(NANOSECONDS))
}

/// Reads inputs, through the memo.
pub struct Inputs<'a> {
    pub roots: &'a Roots,
    pub memo: &'a Memo,
    pub working_directory: &'a Path,
    /// Values that several manifests may ask for; `None` where each is asked for once.
    known: Option<HashMap<Input, Option<Digest>>>,
}

impl std::fmt::Debug for Inputs<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inputs")
            .field("known", &self.known.as_ref().map(HashMap::len))
            .finish_non_exhaustive()
    }
}

impl<'a> Inputs<'a> {
    pub fn new(roots: &'a Roots, memo: &'a Memo, working_directory: &'a Path) -> Self {
        Self { roots, memo, working_directory, known: None }
    }

    /// Keeps each value, to be read once for all manifests.
    #[must_use]
    pub fn keeping(self) -> Self {
        Self { known: Some(HashMap::new()), ..self }
    }

    /// The value of `input` now, or `None` if it cannot be told (unreadable, or its root is not
    /// known here).
    pub fn value(&mut self, input: &Input) -> Option<Digest> {
        if let Some(value) = self.known.as_ref().and_then(|known| known.get(input)) {
            return *value;
        }
        let value = self.read(input);
        if let Some(known) = &mut self.known {
            known.insert(input.clone(), value);
        }
        value
    }

    /// Where a file input is on this machine.
    pub fn path(&self, input: &Input) -> Option<PathBuf> {
        let path = self.roots.resolve(&input.name)?;
        Some(if path.is_absolute() { path } else { self.working_directory.join(path) })
    }

    fn read(&self, input: &Input) -> Option<Digest> {
        match input.kind {
            InputKind::File => self.file(&self.path(input)?),
            InputKind::Listing => listing::value(&input.name, &self.path(input)?),
            InputKind::Presence => self.presence(input),
            InputKind::LinkTarget => link_target(&self.path(input)?),
            InputKind::Variable => Some(self.variable(OsStr::from_bytes(&input.name.path))),
            InputKind::AllVariables => Some(self.all_variables(&input.name.path)),
            InputKind::Program => self.program(input),
            InputKind::DependencyMetadata => self.dependency(&self.path(input)?, &METADATA_FIRST),
            InputKind::DependencyLibrary => self.dependency(&self.path(input)?, &LIBRARY_FIRST),
            InputKind::RootLocation => self.root_location(input.name.root),
            InputKind::Machine => machine(&input.name.path),
        }
    }

    /// Who only looks at a file may compare that with what it knows of its content. In the checkout that
    /// counts: files change there, and often enough to others of the same size, if they are not large.
    fn presence(&self, input: &Input) -> Option<Digest> {
        const COMPARED_BYTES_MAX: u64 = 256 << 20;
        let path = self.path(input)?;
        let looks = presence(&path)?;
        let of_checkout = matches!(input.name.root, Some(Root::Workspace | Root::Package));
        let is_compared =
            |stat: &Stat| stat.kind == FileKind::File && stat.size_bytes <= COMPARED_BYTES_MAX;
        let stat = if of_checkout { fs::stat(&path).ok().filter(is_compared) } else { None };
        let content = stat.and_then(|stat| self.content(&path, &stat).ok());
        Some(content.map_or(looks, |content| of_kind(&looks.0, &content.0)))
    }

    fn file(&self, path: &Path) -> Option<Digest> {
        match fs::stat(path) {
            Ok(stat) if stat.kind == FileKind::Directory => Some(tag(b"directory")),
            Ok(stat) => {
                let content = self.content(path, &stat).ok()?;
                Some(if is_executable(&stat) { executable(&content) } else { present(&content) })
            }
            Err(error) if error.is_absent() => Some(absent()),
            Err(_) => None,
        }
    }

    /// The digest of a file's content, from the memo where its identity is known.
    pub fn content(&self, path: &Path, stat: &Stat) -> Result<Digest, FsError> {
        content_digest(self.memo, path, stat)
    }

    fn dependency(&self, stem: &Path, extensions: &[&str]) -> Option<Digest> {
        for extension in extensions {
            let path = with_suffix(stem, extension);
            match fs::stat(&path) {
                Ok(stat) => return Some(present(&self.content(&path, &stat).ok()?)),
                Err(error) if error.is_absent() => {}
                Err(_) => return None,
            }
        }
        Some(absent())
    }

    /// When a dependency's file was last written; `None` if there is none.
    pub fn dependency_mtime_ns(&self, input: &Input) -> Option<i64> {
        let extensions = match input.kind {
            InputKind::DependencyLibrary => &LIBRARY_FIRST,
            _ => &METADATA_FIRST,
        };
        let stem = self.path(input)?;
        extensions.iter().find_map(|extension| {
            let stat = fs::stat(&with_suffix(&stem, extension)).ok()?;
            (!is_shared_mtime(stat.mtime_ns)).then_some(stat.mtime_ns)
        })
    }

    fn variable(&self, name: &OsStr) -> Digest {
        match library_path::variable(self.roots, name) {
            Some(value) => self.text(&value),
            None => tag(b"unset"),
        }
    }

    fn all_variables(&self, which: &[u8]) -> Digest {
        let mut hasher = blake3::Hasher::new();
        for (name, value) in self.each_variable(which) {
            frame(&mut hasher, name.as_bytes());
            hasher.update(&value.0);
        }
        finish(&hasher)
    }

    /// The variables that the environment as a whole stands for, or those of it that `which` names, each
    /// with its value, sorted.
    pub fn each_variable(&self, which: &[u8]) -> Vec<(OsString, Digest)> {
        let is_meant = |name: &[u8]| which != rules::OF_COMPILERS || rules::is_of_compilers(name);
        let mut variables: Vec<(OsString, Digest)> = std::env::vars_os()
            .filter(|(name, _)| !rules::is_noise_variable(name.as_bytes()))
            .filter(|(name, _)| is_meant(name.as_bytes()))
            .map(|(name, value)| {
                let value = self.text(&library_path::counted(self.roots, &name, &value));
                (name, value)
            })
            .collect();
        variables.sort_by(|one, other| one.0.cmp(&other.0));
        variables
    }

    fn text(&self, value: &OsStr) -> Digest {
        of_kind(b"text\0", &self.roots.template(value.as_bytes()))
    }

    /// The file that running a program input would run.
    pub fn program_path(&self, input: &Input) -> Option<PathBuf> {
        self.search(input, |_| {})
    }

    fn search(&self, input: &Input, pass_over: impl FnMut(Stat)) -> Option<PathBuf> {
        if input.name.root.is_some() {
            return self.path(input).filter(|path| fs::stat(path).is_ok());
        }
        let name = OsStr::from_bytes(&input.name.path);
        search_program(name, self.working_directory, pass_over)
    }

    /// A program is its content and where it lies: it may read what is beside it. Where it lies is where
    /// its name was found as well as where that leads, which the kernel tells it.
    fn program(&self, input: &Input) -> Option<Digest> {
        // What has its name and cannot be run, before one that can: not only those who search for
        // programs ask for such paths.
        let mut passed_over: Vec<u8> = Vec::new();
        let pass_over = |stat| {
            let looks = attributes(Ok(stat)).unwrap_or_else(absent);
            passed_over.extend_from_slice(&looks.0);
        };
        let Some(path) = self.search(input, pass_over) else {
            let is_absent = passed_over.is_empty();
            return Some(if is_absent { absent() } else { of_kind(b"no program\0", &passed_over) });
        };
        let (directory, name) = (path.parent()?, path.file_name()?);
        let found = fs::real_path(directory).ok()?.join(name);
        let is_link = fs::lstat(&found).ok()?.kind == FileKind::Symlink;
        let real = if is_link { Some(fs::real_path(&found).ok()?) } else { None };
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"program at\0");
        for place in [Some(found), real].into_iter().flatten() {
            let place = self.roots.relativize(place.as_os_str().as_bytes());
            hasher.update(&[place.root.map_or(0, |root| root as u8)]);
            frame(&mut hasher, &place.path);
        }
        hasher.update(&self.file(&path)?.0);
        hasher.update(&passed_over);
        Some(finish(&hasher))
    }

    fn root_location(&self, root: Option<Root>) -> Option<Digest> {
        let Some(root) = root else { return Some(of_kind(b"layout\0", &self.roots.layout())) };
        let path = self.roots.path(root)?;
        Some(of_kind(b"location\0", path.as_os_str().as_bytes()))
    }
}

fn with_suffix(stem: &Path, extension: &str) -> PathBuf {
    let mut path = stem.as_os_str().to_owned();
    path.push(extension);
    PathBuf::from(path)
}

// A library that is a C library as well has both files under one stem, and metadata in the first alone.
const METADATA_FIRST: [&str; 5] = [".rmeta", ".rlib", ".so", ".dylib", ".dll"];
const LIBRARY_FIRST: [&str; 5] = [".rlib", ".so", ".dylib", ".dll", ".rmeta"];

/// The digest of a file's content. The memo answers for files whose identity it knows, and learns
/// of those that can no longer change unseen.
pub fn content_digest(memo: &Memo, path: &Path, stat: &Stat) -> Result<Digest, FsError> {
    if stat.kind != FileKind::File {
        // To read a pipe may take for ever, and takes what is in it from others.
        return Err(FsError { operation: "read", path: path.to_owned(), errno: Errno::INVAL });
    }
    let identity = identity(stat);
    if let Some(digest) = memo.probe(&identity) {
        return Ok(digest);
    }
    let seen = SystemTime::now();
    let digest = digest_of_file(path, stat.size_bytes)?;
    if self::identity(&fs::stat(path)?) == identity {
        memo.insert_seen(&identity, &digest, seen);
    }
    Ok(digest)
}

/// The digest of a file of that size, by its content alone. It is read whole if it is small, else in
/// pieces, whose memory is used again.
pub fn digest_of_file(path: &Path, size_bytes: u64) -> Result<Digest, FsError> {
    if size_bytes <= WHOLE_BYTES_MAX {
        return Ok(Digest(*blake3::hash(&fs::read(path)?).as_bytes()));
    }
    let mut hasher = blake3::Hasher::new();
    fs::read_in_windows(path, WINDOW_BYTES, |window| {
        hasher.update(window);
        0
    })?;
    Ok(finish(&hasher))
}

/// What the memo knows a file by. A shared blob's `ctime` changes with every new link to it; its
/// modification time, which nothing else has, and its lack of write permission stand for it.
pub fn identity(stat: &Stat) -> FileIdentity {
    let shared = is_shared_mtime(stat.mtime_ns) && stat.mode & 0o222 == 0;
    FileIdentity {
        device: stat.device,
        inode: stat.inode,
        size_bytes: stat.size_bytes,
        mtime_ns: stat.mtime_ns,
        ctime_ns: if shared { 0 } else { stat.ctime_ns },
    }
}

/// The file that executing `name` would run.
pub fn find_program(name: &OsStr, working_directory: &Path) -> Option<PathBuf> {
    search_program(name, working_directory, |_| {})
}

/// Finds it, and tells what cannot be run where it is looked for before.
fn search_program(
    name: &OsStr,
    working_directory: &Path,
    mut pass_over: impl FnMut(Stat),
) -> Option<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        let path = working_directory.join(name);
        return fs::stat(&path).is_ok().then_some(path);
    }
    let search = std::env::var_os("PATH")?;
    std::env::split_paths(&search).map(|directory| directory.join(name)).find(|path| {
        let Ok(stat) = fs::stat(path) else { return false };
        let is_found = is_program(&stat);
        if !is_found {
            pass_over(stat);
        }
        is_found
    })
}

/// Whether whoever searches for programs takes it for one.
pub fn is_program(stat: &Stat) -> bool {
    stat.kind == FileKind::File && stat.mode & 0o111 != 0
}

/// Whether something is there, with what looking at it tells of it. Its times are not among that:
/// they differ between checkouts.
fn presence(path: &Path) -> Option<Digest> {
    match fs::lstat(path) {
        Ok(stat) if stat.kind == FileKind::Symlink => {
            let beyond = attributes(fs::stat(path))?;
            let looks = [&stat.size_bytes.to_le_bytes()[..], &beyond.0].concat();
            Some(of_kind(b"through a link of size\0", &looks))
        }
        looked => attributes(looked),
    }
}

fn attributes(looked: Result<Stat, FsError>) -> Option<Digest> {
    match looked {
        Ok(stat) if stat.kind == FileKind::Directory => Some(tag(b"directory")),
        Ok(stat) if stat.kind == FileKind::File => {
            let kind = if is_executable(&stat) { &b"program of size\0"[..] } else { b"size\0" };
            Some(of_kind(kind, &stat.size_bytes.to_le_bytes()))
        }
        Ok(_) => Some(tag(b"file")),
        Err(error) if error.is_absent() => Some(absent()),
        Err(_) => None,
    }
}

fn is_executable(stat: &Stat) -> bool {
    stat.mode & 0o100 != 0
}

fn link_target(path: &Path) -> Option<Digest> {
    match fs::read_link(path) {
        Ok(target) => Some(of_kind(b"link\0", target.as_os_str().as_bytes())),
        Err(error) if error.is_absent() => Some(absent()),
        Err(_) => presence(path),
    }
}

fn machine(fact: &[u8]) -> Option<Digest> {
    Some(of_kind(b"machine\0", &Fact::from_name(fact)?.told()?))
}

/// The value of whatever is not there.
pub fn absent() -> Digest {
    tag(b"absent")
}

fn tag(name: &[u8]) -> Digest {
    Digest(*blake3::hash(name).as_bytes())
}

fn present(content: &Digest) -> Digest {
    of_kind(b"content\0", &content.0)
}

fn executable(content: &Digest) -> Digest {
    of_kind(b"program\0", &content.0)
}

/// The digest of a value that no value of another kind has.
fn of_kind(kind: &[u8], value: &[u8]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(kind);
    hasher.update(value);
    finish(&hasher)
}

/// Feeds `bytes` so that no two sequences of parts hash alike.
pub fn frame(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

pub fn finish(hasher: &blake3::Hasher) -> Digest {
    Digest(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file as the store shares it.
    fn share(path: &Path, content: &[u8]) -> Digest {
        let digest = Digest(*blake3::hash(content).as_bytes());
        std::fs::write(path, content).unwrap();
        fs::set_mode(path, 0o444).unwrap();
        fs::set_mtime(path, shared_mtime_ns(&digest)).unwrap();
        digest
    }

    /// A library was evicted, and the next one of the same size got its inode: the memo answered with
    /// the evicted one's digest, and programs came back linked with that.
    #[test]
    fn a_shared_file_is_not_taken_for_one_that_had_its_inode_before() {
        let directory = tempfile::tempdir().unwrap();
        let memo = Memo::open(&directory.path().join("cache")).unwrap();
        let path = directory.path().join("libx.rlib");
        let value = || content_digest(&memo, &path, &fs::stat(&path).unwrap()).unwrap();

        let first = share(&path, b"one");
        let inode = fs::stat(&path).unwrap().inode;
        assert_eq!(value(), first);
        assert_eq!(memo.probe(&identity(&fs::stat(&path).unwrap())), Some(first));

        fs::set_mode(&path, 0o644).unwrap();
        let second = share(&path, b"two");
        assert_eq!(fs::stat(&path).unwrap().inode, inode);
        assert_eq!(value(), second);
    }

    #[test]
    fn times_of_shared_files_are_long_past_and_recognised() {
        for number in 0..1000_u32 {
            let mtime_ns =
                shared_mtime_ns(&Digest(*blake3::hash(&number.to_le_bytes()).as_bytes()));
            assert!(is_shared_mtime(mtime_ns));
            assert!((1987..=2004).contains(&(1970 + mtime_ns / NANOSECONDS / 31_556_952)));
            // As an archive would bring it back.
            assert!(!is_shared_mtime(mtime_ns / NANOSECONDS * NANOSECONDS));
        }
        for edge in [[0; 32], [255; 32]] {
            assert!(is_shared_mtime(shared_mtime_ns(&Digest(edge))));
        }
    }
}
