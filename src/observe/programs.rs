//! Programs by name: what the wrapper's own `PATH` leads to.
//!
//! Shells and compiler drivers search `PATH` themselves, directory by directory. Such probes come
//! to one question, which program the name leads to, and that is how they are told: it means the
//! same for another user and on another machine, and a program that is new on `PATH` shows.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::access::Access;
use super::layout::LINK_NAME;
use crate::fs::{self, FileKind};
use crate::inputs::is_program;

/// Where the C library searches without `PATH`.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

pub(crate) struct SearchPath {
    directories: Vec<PathBuf>,
    /// What was found for each name, and in which of the directories.
    known: HashMap<OsString, Option<(usize, PathBuf)>>,
}

impl SearchPath {
    pub(crate) fn of_this_process() -> Self {
        let list = std::env::var_os("PATH").unwrap_or_else(|| OsString::from(DEFAULT_PATH));
        let directories = std::env::split_paths(&list).filter(|path| path.is_absolute()).collect();
        Self { directories, known: HashMap::new() }
    }

    /// The first executable of that name.
    pub(crate) fn find(&mut self, name: &OsStr) -> Option<&Path> {
        self.first(name).map(|(_, path)| path.as_path())
    }

    fn first(&mut self, name: &OsStr) -> Option<&(usize, PathBuf)> {
        let directories = &self.directories;
        let known = self.known.entry(name.to_owned()).or_insert_with(|| {
            let candidates = directories.iter().map(|directory| directory.join(name));
            candidates.enumerate().find(|(_, candidate)| is_executable(candidate))
        });
        known.as_ref()
    }

    /// What a probe was part of, if it was part of a search for a program: it found the first one
    /// of its name, or nothing where a program would have come before that.
    pub(crate) fn search_behind(&mut self, path: &Path, is_there: bool) -> Option<Access> {
        let (parent, name) = (path.parent()?, path.file_name()?);
        let place = self.directories.iter().position(|directory| directory == parent)?;
        let first = self.first(name);
        let is_search = match first {
            Some((found, _)) if is_there => *found == place,
            Some((found, _)) => *found > place,
            None => !is_there,
        };
        let path = first.map(|(_, path)| path.clone());
        is_search.then(|| Access::Searched { name: name.to_owned(), path, is_ours: true })
    }
}

fn is_executable(path: &Path) -> bool {
    fs::stat(path).is_ok_and(|stat| is_program(&stat))
}

/// The executable that a command starts with. `None` where that cannot be told.
pub(crate) fn first_image(command: &Command) -> Option<PathBuf> {
    let program = Path::new(command.get_program());
    let directory = command.get_current_dir().unwrap_or(Path::new(""));
    if program.components().count() > 1 || program.is_absolute() {
        return image(&directory.join(program));
    }
    image(SearchPath::of_this_process().find(program.as_os_str())?)
}

/// The images of executables, each looked at once.
#[derive(Default)]
pub(crate) struct Images {
    known: HashMap<PathBuf, Option<PathBuf>>,
}

impl Images {
    /// What a process that runs `executable` reports as; `None` where that cannot be told.
    pub(crate) fn of(&mut self, executable: &Path) -> Option<&Path> {
        if !self.known.contains_key(executable) {
            self.known.insert(executable.to_owned(), image(executable));
        }
        self.known.get(executable)?.as_deref()
    }
}

/// The executable itself, or the interpreter of the script that it is.
fn image(path: &Path) -> Option<PathBuf> {
    if is_kache(path, &std::env::current_exe().ok()?) {
        return None;
    }
    let begin = begin_of(path)?;
    if begin.starts_with(b"\x7fELF") {
        return std::fs::canonicalize(path).ok();
    }
    // A script without that line: shells and the C library run it by the shell.
    std::fs::canonicalize(named_interpreter(&begin).unwrap_or("/bin/sh".into())).ok()
}

/// Whether a path is that of kache's executable, or such a link to it.
pub(crate) fn is_kache(path: &Path, own: &Path) -> bool {
    let is_link = || path.ends_with(LINK_NAME) && fs::read_link(path).is_ok_and(|real| real == own);
    path == own || is_link()
}

/// What a script says that it is to be run by.
pub(crate) fn interpreter(path: &Path) -> Option<PathBuf> {
    named_interpreter(&begin_of(path)?)
}

/// The beginning of a file. What is open in another process is another file here, and to read a pipe takes
/// what is in it from others.
fn begin_of(path: &Path) -> Option<Vec<u8>> {
    const LINE_BYTES_MAX: u64 = 256;
    let means_the_reader = path.starts_with("/proc") || path.starts_with("/dev/fd");
    if means_the_reader || fs::stat(path).ok()?.kind != FileKind::File {
        return None;
    }
    let mut begin = Vec::new();
    File::open(path).ok()?.take(LINE_BYTES_MAX).read_to_end(&mut begin).ok()?;
    Some(begin)
}

fn named_interpreter(begin: &[u8]) -> Option<PathBuf> {
    let line = begin.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let name = line.trim_ascii_start().split(u8::is_ascii_whitespace).next()?;
    Some(super::path_of(name))
}
