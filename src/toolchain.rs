//! The toolchain, identified by content.
//!
//! A version banner says nothing about a rebuilt compiler, so the compiler's executable, its driver
//! library and the sysroot's libraries are digested. That is done once: the index remembers which
//! files were digested and how each looked (`statx`), and a lookup compares.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use store_format::{Digest, ToolchainFile, ToolchainRecord};

use crate::fs::{self, FileKind, FsError, Stat};
use crate::index::Kind;
use crate::inputs::{content_digest, find_program, finish, frame};
use crate::store::Store;

/// A compiler with its libraries.
#[derive(Clone, Debug)]
pub struct Toolchain {
    pub digest: Digest,
    pub sysroot: PathBuf,
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
    let found = find_program(program, Path::new(""))
        .ok_or_else(|| ToolchainError::NotFound(program.to_owned()))?;
    let program = behind_proxy(found)?;
    let key = record_key(&program, sysroot, target);
    if let Some(known) = recall(store, &key) {
        return Ok(known);
    }
    let record = examine(store, &program, sysroot, target)?;
    store.index.put(Kind::Toolchain, &key, &record.encode())?;
    Ok(from_record(record))
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
    Toolchain { digest: record.digest, sysroot: PathBuf::from(OsString::from_vec(record.sysroot)) }
}

/// The recorded toolchain, if each of its files looks as it did.
fn recall(store: &Store, key: &Digest) -> Option<Toolchain> {
    let record = ToolchainRecord::decode(&store.index.get(Kind::Toolchain, key)?).ok()?;
    let unchanged = record.files.iter().all(|file| {
        fs::stat(Path::new(OsStr::from_bytes(&file.path))).is_ok_and(|stat| looks(&stat, file))
    });
    unchanged.then(|| from_record(record))
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

/// Asks the compiler for its sysroot and host, and digests its files.
fn examine(
    store: &Store,
    program: &Path,
    sysroot: Option<&Path>,
    target: Option<&OsStr>,
) -> Result<ToolchainRecord, ToolchainError> {
    let told = tell(program).ok_or_else(|| ToolchainError::Mute(program.to_owned()))?;
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
    let rustlib = libraries.join("rustlib");
    for triple in [Some(OsStr::new(&told.host)), target].into_iter().flatten() {
        for part in ["lib", "bin", "codegen-backends"] {
            collect(&rustlib.join(triple).join(part), &mut paths)?;
        }
    }
    paths.sort();
    paths.dedup();
    let mut hasher = blake3::Hasher::new();
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let stat = fs::stat(&path)?;
        if stat.kind == FileKind::File {
            let place = path.strip_prefix(&sysroot).unwrap_or(&path);
            frame(&mut hasher, place.as_os_str().as_bytes());
            hasher.update(&content_digest(&store.memo, &path, &stat)?.0);
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
    Ok(ToolchainRecord {
        files,
        digest: finish(&hasher),
        sysroot: sysroot.into_os_string().into_vec(),
    })
}

/// Adds a directory and all files below it: the directory too, so that a new file shows.
fn collect(directory: &Path, paths: &mut Vec<PathBuf>) -> Result<(), FsError> {
    let names = match fs::list_names(directory) {
        Ok(names) => names,
        Err(error) if error.is_absent() => return Ok(()),
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
    host: String,
}

/// Runs the compiler for what only it can tell. A driver such as clippy's answers like `rustc`.
fn tell(program: &Path) -> Option<Told> {
    let ask = |arguments: &[&str]| {
        let rustc = program.file_stem().is_some_and(|stem| stem == "rustc");
        let mut command = Command::new(program);
        if !rustc {
            command.arg("rustc");
        }
        let output = command.args(arguments).output().ok()?;
        output.status.success().then_some(output.stdout)
    };
    let sysroot = ask(&["--print", "sysroot"])?;
    let version = String::from_utf8(ask(&["-vV"])?).ok()?;
    let field =
        |name: &str| version.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    Some(Told {
        sysroot: PathBuf::from(OsString::from_vec(sysroot.trim_ascii_end().to_vec())),
        host: field("host")?.to_owned(),
    })
}
