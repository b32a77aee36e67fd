//! The launcher: what stands where Cargo expects a build script's executable.
//!
//! It runs kache with the real executable's path, or the real executable itself where kache is gone or
//! disabled. The real executable stays beside it, so that nothing is lost with kache, and so that it can share
//! its inode with the store. On Linux it is a program of some kilobytes (`program.rs`), elsewhere a few
//! lines of shell.

mod layout;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::fs::{self, FsError};
use crate::invocation::Invocation;

/// The first argument by which the launcher calls kache.
pub const WORD: &str = match layout::WORD.to_str() {
    Ok(word) => word,
    Err(_) => panic!("it is plain text"),
};

/// The launcher's program; empty where there is none.
const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/launcher"));

/// What the real executable's name ends in, after a dot.
pub const EXTENSION: &str = "kache";

/// How every launcher begins.
const HEAD: &str =
    "#!/bin/sh\n# Runs a build script through kache, or as it is where kache is gone.\n";

/// A build script's executable and its launcher's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launcher {
    /// Where Cargo expects the executable.
    pub path: PathBuf,
}

impl Launcher {
    /// The launcher that a compilation needs: one for a build script, which Cargo compiles into a
    /// directory of its own below one named `build`.
    pub fn of(invocation: &Invocation) -> Option<Self> {
        let script = invocation.is_build_script() && invocation.links();
        let directory = invocation.out_dir.as_ref()?;
        let below_build = directory.components().any(|part| part.as_os_str() == "build");
        let mut name = OsString::from(&invocation.crate_name);
        name.push(&invocation.extra_filename);
        (script && below_build).then(|| Self { path: directory.join(name) })
    }

    /// Where the real executable is.
    pub fn real(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".");
        name.push(EXTENSION);
        PathBuf::from(name)
    }

    /// The launcher of a real executable.
    pub fn beside(real: &Path) -> Option<Self> {
        let is_real = real.extension().is_some_and(|extension| extension == EXTENSION);
        is_real.then(|| Self { path: real.with_extension("") })
    }

    /// Removes the launcher under all names that it has in its directory: Cargo gives it another one.
    pub fn remove(&self) -> Result<(), FsError> {
        let launcher = fs::lstat(&self.path)?;
        let directory = self.path.parent().unwrap_or(Path::new(""));
        for (name, stat) in fs::list_stats_if_present(directory)? {
            if stat.is_same_file(&launcher) {
                fs::remove_if_present(&directory.join(name))?;
            }
        }
        Ok(())
    }

    /// Moves a fresh executable beside the launcher's place.
    pub fn make_way(&self) -> Result<(), FsError> {
        fs::rename(&self.path, &self.real())
    }

    /// Moves the executable back to where the compiler put it.
    pub fn give_way(&self) -> Result<(), FsError> {
        fs::rename(&self.real(), &self.path)
    }

    /// Writes the launcher.
    pub fn install(&self) -> Result<(), FsError> {
        let kache = std::env::current_exe().unwrap_or_default();
        let real = self.real();
        let launcher = program(&kache, &real).unwrap_or_else(|| script(&kache, &real));
        fs::write_new(&self.path, &launcher, 0o755)
    }
}

/// The program with the places of what it runs, if there is one and they fit in.
fn program(kache: &Path, real: &Path) -> Option<Vec<u8>> {
    let mark = memchr::memmem::find(PROGRAM, layout::PLACES_MARK)?;
    let mut program = PROGRAM.to_vec();
    let places = program.get_mut(mark..mark + layout::PLACES_BYTES)?;
    let texts = [kache.as_os_str(), real.file_name()?, real.as_os_str()];
    let bytes = [texts.map(OsStr::as_bytes).join(&0), vec![0]].concat();
    places.get_mut(layout::PLACES_MARK.len()..)?.get_mut(..bytes.len())?.copy_from_slice(&bytes);
    Some(program)
}

/// The launcher's text. Cargo may give it another name in the same directory; should it be moved to
/// another directory, the real executable's full path still leads there.
fn script(kache: &Path, real: &Path) -> Vec<u8> {
    let name = real.file_name().unwrap_or_default();
    let mut text = HEAD.as_bytes().to_vec();
    for (line, value) in
        [("kache=", kache.as_os_str()), ("name=", name), ("real=", real.as_os_str())]
    {
        text.extend_from_slice(line.as_bytes());
        text.extend_from_slice(&quoted(value));
        text.push(b'\n');
    }
    text.extend_from_slice(
        format!(
            "[ -x \"${{0%/*}}/$name\" ] && real=\"${{0%/*}}/$name\"\n\
             [ -x \"$kache\" ] && exec \"$kache\" {WORD} \"$real\" \"$@\"\n\
             exec \"$real\" \"$@\"\n"
        )
        .as_bytes(),
    );
    text
}

/// A word that the shell reads as it is.
fn quoted(word: &OsStr) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for &byte in word.as_bytes() {
        match byte {
            b'\'' => quoted.extend_from_slice(b"'\\''"),
            _ => quoted.push(byte),
        }
    }
    quoted.push(b'\'');
    quoted
}
