//! The toolchain, identified by content.
//!
//! A version banner says nothing about a rebuilt compiler, so the compiler's executable, its driver
//! library and the sysroot's libraries are digested. That is done once: the index remembers which
//! files were digested and how each looked (`statx`), and a lookup compares.
//!
//! A process of its own does it: others wait for its end, and who compiles has more to do. Where a build
//! comes from a remote, nothing else takes so long on a machine that is new: it begins at Cargo's first
//! question.

use std::cmp::Reverse;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use store_format::slot::ProcessId;
use store_format::{Digest, ToolchainFile, ToolchainRecord};

use crate::fs::{self, FileKind, FsError, Stat};
use crate::index::wait::{running, wait};
use crate::index::{Claim, Kind};
use crate::inputs::{content_digest, find_program, finish, frame};
use crate::outcome::Reason;
use crate::parallel;
use crate::process;
use crate::store::Store;

/// How long an examination that another process has begun is waited for: to begin another one takes
/// as long, and what is read from the disk then is read twice.
const EXAMINATION_MAX: Duration = Duration::from_mins(1);
/// Where in a sysroot the files of each target are.
const RUSTLIB: &str = "lib/rustlib";
/// What kache calls itself with to examine a toolchain: directory of the store and compiler follow, and
/// these options.
pub const EXAMINE: &str = "examine";
const SYSROOT: &str = "--sysroot";
const TARGET: &str = "--target";

/// A compiler with its libraries.
#[derive(Clone, Debug)]
pub struct Toolchain {
    pub digest: Digest,
    pub sysroot: PathBuf,
    /// The commit that it was made from; empty if it says none.
    pub commit: String,
    /// What the digest covers, by their paths.
    files: Vec<ToolchainFile>,
}

impl Toolchain {
    /// Whether a program is this toolchain's compiler itself, and nothing that runs it.
    pub fn is_run_by(&self, program: &OsStr) -> bool {
        let compiler = fs::real_path(&self.sysroot.join("bin/rustc"));
        let program = executable(program).and_then(|program| Ok(fs::real_path(&program)?));
        compiler.is_ok_and(|compiler| program.is_ok_and(|program| program == compiler))
    }

    /// The targets whose files the digest covers: others may be installed.
    pub fn targets(&self) -> Vec<OsString> {
        let rustlib = self.sysroot.join(RUSTLIB);
        let mut targets: Vec<OsString> = Vec::new();
        for file in &self.files {
            let inside = Path::new(OsStr::from_bytes(&file.path)).strip_prefix(&rustlib);
            let target = inside.ok().and_then(|inside| inside.iter().next());
            // They are sorted.
            if let Some(target) = target
                && targets.last().is_none_or(|last| last != target)
            {
                targets.push(target.to_owned());
            }
        }
        targets
    }
}

/// Why a toolchain cannot be identified.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    #[error("no compiler named {0:?} is on PATH")]
    NotFound(OsString),
    #[error("{0} is a rustup proxy, and RUSTUP_TOOLCHAIN does not name an installed toolchain")]
    Proxy(PathBuf),
    #[error("{0} did not tell its sysroot")]
    Mute(PathBuf),
    #[error(transparent)]
    Fs(#[from] FsError),
    #[error("the index refused the toolchain: {0}")]
    Index(#[from] crate::index::IndexError),
}

/// Identifies the toolchain of `program`, for compilations for `target` (the host if `None`).
pub fn identify(
    store: &Store,
    program: &OsStr,
    sysroot: Option<&Path>,
    target: Option<&OsStr>,
) -> Result<Toolchain, ToolchainError> {
    let program = executable(program)?;
    let known = || recall(store, &program, sysroot, target).map(from_record);
    if let Some(known) = known() {
        return Ok(known);
    }
    let examiner = match store.index.claim(&record_key(&program, sysroot, None)) {
        Claim::Busy(examiner) => Some(examiner),
        claim => {
            // It is for the process that does the work.
            drop(claim);
            begin_to_examine(store, &program, sysroot, target)
        }
    };
    if let Some(examiner) = examiner {
        wait(examiner, EXAMINATION_MAX);
    }
    // Who waited may need another target's files besides.
    known().map_or_else(|| examine(store, &program, sysroot, target), Ok)
}

/// Fails if a toolchain that was identified is not what has been at work since `since_ns`. What it was
/// asked for by is a program, a sysroot and a target.
pub fn refuse_changed(
    store: &Store,
    toolchain: &Toolchain,
    (program, sysroot, target): (&OsStr, Option<&Path>, Option<&OsStr>),
    since_ns: i64,
) -> Result<(), Reason> {
    let is_still = || {
        let record = recall(store, &executable(program).ok()?, sysroot, target)?;
        let is_old = |file: &ToolchainFile| file.ctime_ns <= since_ns;
        Some(record.digest == toolchain.digest && record.files.iter().all(is_old))
    };
    if is_still() == Some(true) { Ok(()) } else { Err(Reason::InputChanged("toolchain".into())) }
}

/// Tells compilers apart without examining them: the digest of the executable. It names the library
/// that does the work, by a name that is made from its version.
pub fn presumed(store: &Store, program: &OsStr) -> Result<Digest, ToolchainError> {
    let program = executable(program)?;
    Ok(content_digest(&store.memo, &program, &fs::stat(&program)?)?)
}

/// Has a process of its own examine a toolchain that is not known.
pub fn examine_ahead(store: &Store, program: &OsStr) {
    let Ok(program) = executable(program) else { return };
    if recall(store, &program, None, None).is_none() {
        begin_to_examine(store, &program, None, None);
    }
}

/// Starts that process. Whether it succeeds shows when it has ended.
fn begin_to_examine(
    store: &Store,
    program: &Path,
    sysroot: Option<&Path>,
    target: Option<&OsStr>,
) -> Option<ProcessId> {
    let mut arguments = vec![OsStr::new(EXAMINE), store.directory.as_os_str(), program.as_os_str()];
    for (option, value) in [(SYSROOT, sysroot.map(Path::as_os_str)), (TARGET, target)] {
        if let Some(value) = value {
            arguments.extend([OsStr::new(option), value]);
        }
    }
    match process::detach(arguments.into_iter()) {
        Ok(examiner) => running(examiner.id()),
        Err(error) => {
            crate::log::debug!("a toolchain is left to who needs it: {error}");
            None
        }
    }
}

/// What such a process does. The claim is the same for every target: most of the files are.
pub fn examine_here(
    store: &Store,
    program: &Path,
    sysroot: Option<&Path>,
    target: Option<&OsStr>,
) -> Result<(), ToolchainError> {
    let claim = store.index.claim(&record_key(program, sysroot, None));
    if let Claim::Busy(examiner) = claim {
        wait(examiner, EXAMINATION_MAX);
        return Ok(());
    }
    examine(store, program, sysroot, target).map(drop)
}

/// The file that calling `program` runs in the end.
fn executable(program: &OsStr) -> Result<PathBuf, ToolchainError> {
    let found = find_program(program, Path::new(""))
        .ok_or_else(|| ToolchainError::NotFound(program.to_owned()))?;
    behind_proxy(found)
}

fn record_key(program: &Path, sysroot: Option<&Path>, target: Option<&OsStr>) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"kache toolchain\0");
    frame(&mut hasher, program.as_os_str().as_bytes());
    frame(&mut hasher, sysroot.map_or(b"", |path| path.as_os_str().as_bytes()));
    frame(&mut hasher, target.map_or(b"", OsStr::as_bytes));
    finish(&hasher)
}

fn from_record(record: ToolchainRecord) -> Toolchain {
    Toolchain {
        digest: record.digest,
        sysroot: PathBuf::from(OsString::from_vec(record.sysroot)),
        commit: String::from_utf8(record.commit).unwrap_or_default(),
        files: record.files,
    }
}

/// What is recorded of a toolchain with the host's files, or with those of `target` besides.
fn recall(
    store: &Store,
    program: &Path,
    sysroot: Option<&Path>,
    target: Option<&OsStr>,
) -> Option<ToolchainRecord> {
    recorded(store, &record_key(program, sysroot, None), target)
        .or_else(|| recorded(store, &record_key(program, sysroot, Some(target?)), None))
}

/// The recorded toolchain, if each of its files looks as it did, those of `target` among them.
fn recorded(store: &Store, key: &Digest, target: Option<&OsStr>) -> Option<ToolchainRecord> {
    let record = ToolchainRecord::decode(&store.index.get(Kind::Toolchain, key)?).ok()?;
    if target.is_some_and(|target| !covers(&record, target)) {
        return None;
    }
    let unchanged = record.files.iter().all(|file| {
        fs::stat(Path::new(OsStr::from_bytes(&file.path))).is_ok_and(|stat| looks(&stat, file))
    });
    unchanged.then_some(record)
}

/// Whether the files of a target are among those of a toolchain.
fn covers(record: &ToolchainRecord, target: &OsStr) -> bool {
    let sysroot = Path::new(OsStr::from_bytes(&record.sysroot));
    // A description of a target is given by its path: no directory has such a name.
    if target.as_bytes().contains(&b'/') {
        return false;
    }
    let files = sysroot.join(RUSTLIB).join(target);
    record.files.iter().any(|file| Path::new(OsStr::from_bytes(&file.path)).starts_with(&files))
}

fn looks(stat: &Stat, file: &ToolchainFile) -> bool {
    stat.device == file.device
        && stat.inode == file.inode
        && stat.size_bytes == file.size_bytes
        && stat.mtime_ns == file.mtime_ns
        && stat.ctime_ns == file.ctime_ns
}

/// The compiler that a rustup proxy would run; other programs are themselves.
fn behind_proxy(program: PathBuf) -> Result<PathBuf, ToolchainError> {
    let Some(directory) = program.parent() else { return Ok(program) };
    let (Ok(own), Ok(rustup)) = (fs::stat(&program), fs::stat(&directory.join("rustup"))) else {
        return Ok(program);
    };
    if (own.device, own.inode) != (rustup.device, rustup.inode) {
        return Ok(program);
    }
    let real = (|| {
        let home = std::env::var_os("RUSTUP_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".rustup")))?;
        let mut path = home.join("toolchains").join(std::env::var_os("RUSTUP_TOOLCHAIN")?);
        path.push("bin");
        path.push(program.file_name()?);
        fs::stat(&path).is_ok().then_some(path)
    })();
    real.ok_or(ToolchainError::Proxy(program))
}

/// Asks the compiler for its sysroot and host, digests its files, and records what was found: with
/// the host for a target, as the host's.
fn examine(
    store: &Store,
    program: &Path,
    sysroot: Option<&Path>,
    target: Option<&OsStr>,
) -> Result<Toolchain, ToolchainError> {
    let told = tell(program).ok_or_else(|| ToolchainError::Mute(program.to_owned()))?;
    let target = target.filter(|target| *target != told.host);
    let key = record_key(program, sysroot, target);
    let sysroot = sysroot.map_or(told.sysroot, Path::to_owned);
    let mut paths = vec![program.to_owned()];
    let libraries = sysroot.join("lib");
    for name in fs::list_names(&libraries)? {
        let bytes = name.as_bytes();
        let compiler = [&b"librustc"[..], b"libstd-", b"libtest-", b"libLLVM", b"libclippy"];
        if compiler.iter().any(|prefix| bytes.starts_with(prefix)) {
            paths.push(libraries.join(name));
        }
    }
    let rustlib = sysroot.join(RUSTLIB);
    for triple in [Some(told.host.as_os_str()), target].into_iter().flatten() {
        for part in ["lib", "bin", "codegen-backends"] {
            collect(&rustlib.join(triple).join(part), &mut paths)?;
        }
    }
    paths.sort();
    paths.dedup();
    let seen = look_at(store, &paths)?;
    let mut hasher = blake3::Hasher::new();
    let mut files = Vec::with_capacity(paths.len());
    for (path, (stat, content)) in paths.into_iter().zip(seen) {
        if let Some(content) = content {
            let place = path.strip_prefix(&sysroot).unwrap_or(&path);
            frame(&mut hasher, place.as_os_str().as_bytes());
            hasher.update(&content.0);
        }
        files.push(ToolchainFile {
            path: path.into_os_string().into_vec(),
            device: stat.device,
            inode: stat.inode,
            size_bytes: stat.size_bytes,
            mtime_ns: stat.mtime_ns,
            ctime_ns: stat.ctime_ns,
        });
    }
    let record = ToolchainRecord {
        files,
        digest: finish(&hasher),
        sysroot: sysroot.into_os_string().into_vec(),
        commit: told.commit.into_bytes(),
    };
    store.index.put(Kind::Toolchain, &key, &record.encode())?;
    Ok(from_record(record))
}

/// How each path looks, and the digests of those that are files, by several threads.
fn look_at(store: &Store, paths: &[PathBuf]) -> Result<Vec<(Stat, Option<Digest>)>, FsError> {
    let mut seen = Vec::with_capacity(paths.len());
    for path in paths {
        seen.push((fs::stat(path)?, None));
    }
    let is_file = |place: &usize| seen[*place].0.kind == FileKind::File;
    let mut largest_first: Vec<usize> = (0..paths.len()).filter(is_file).collect();
    largest_first.sort_by_key(|place| Reverse(seen[*place].0.size_bytes));
    let digests = parallel::map(&largest_first, parallel::processors(), |place| {
        content_digest(&store.memo, &paths[*place], &seen[*place].0)
    });
    for (place, digest) in largest_first.into_iter().zip(digests) {
        seen[place].1 = Some(digest?);
    }
    Ok(seen)
}

/// Adds a directory and all files below it: the directory too, so that a new file shows, and where
/// there is none, the one in which it would be.
fn collect(directory: &Path, paths: &mut Vec<PathBuf>) -> Result<(), FsError> {
    let names = match fs::list_names(directory) {
        Ok(names) => names,
        Err(error) if error.is_absent() => {
            paths.extend(directory.ancestors().find(|path| fs::stat(path).is_ok()).map(Into::into));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    paths.push(directory.to_owned());
    for name in names {
        let path = directory.join(name);
        match fs::stat(&path)?.kind {
            FileKind::Directory => collect(&path, paths)?,
            _ => paths.push(path),
        }
    }
    Ok(())
}

struct Told {
    sysroot: PathBuf,
    host: OsString,
    commit: String,
}

/// Runs the compiler for what only it can tell. A driver such as clippy's answers like `rustc`.
fn tell(program: &Path) -> Option<Told> {
    const PLACES: [&str; 4] = ["--print", "sysroot", "--print", "target-libdir"];
    let ask = |called: &[&str]| {
        let output = Command::new(program).args(called).args(PLACES).output().ok()?;
        output.status.success().then_some(output.stdout)
    };
    // A script around the compiler is called like it, whatever its name is.
    let is_compiler = program.file_stem().is_some_and(|stem| stem == "rustc");
    let called: &[&str] = if is_compiler { &[] } else { &["rustc"] };
    // Both questions are answered at a time.
    let version = Command::new(program)
        .args(called)
        .arg("-vV")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let places = ask(called).or_else(|| if is_compiler { None } else { ask(&[]) })?;
    let mut lines = places.split(|byte| *byte == b'\n').map(OsStr::from_bytes);
    let (sysroot, libraries) = (lines.next()?, Path::new(lines.next()?));
    // <sysroot>/lib/rustlib/<host>/lib
    let host = libraries.parent()?.file_name()?.to_owned();
    let version = version.and_then(Child::wait_with_output).map(|output| output.stdout);
    let commit = commit(&version.unwrap_or_default());
    Some(Told { sysroot: sysroot.into(), host, commit })
}

/// The commit in a compiler's answer to `-vV`; empty if it was not made from one.
fn commit(version: &[u8]) -> String {
    let version = String::from_utf8_lossy(version);
    let told = version.lines().find_map(|line| line.strip_prefix("commit-hash: "));
    told.filter(|commit| *commit != "unknown").unwrap_or_default().to_owned()
}
