//! Whether an executable or library reads its whole environment without looking up a name, and where it
//! has the loader search.
//!
//! The tables that tell are the names of symbols, and what the loader is told. Whatever a reader of them
//! does not understand counts as reading.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::elf::Elf;
use super::mach_o;

const BYTES_MAX: u64 = 64 << 20;

/// The names of functions.
pub(super) struct Users {
    /// Those that may call or name a function.
    pub(super) of_function: Vec<Vec<u8>>,
    /// Those that may look at the C library's variable that holds all variables.
    pub(super) of_environment: Vec<Vec<u8>>,
}

/// What is asked of a format. `None` where the image does not tell.
pub(super) trait Image {
    /// Whether it names the C library's variable that holds all variables.
    fn names_environment(&self) -> Option<bool>;

    /// The names of all symbols, also of those that no other image uses.
    fn symbols(&self) -> Option<Vec<u8>>;

    /// Whether [`Image::users`] can be told.
    fn code_tells(&self) -> bool {
        false
    }

    /// Who may use a function whose name contains this, and the C library's variable, if nothing else may.
    fn users(&self, _function: &[u8]) -> Option<Users> {
        None
    }

    /// The absolute directories in which it has the loader search, with the place of the file for
    /// what stands for that.
    fn run_path(&self, origin: &[u8]) -> Option<Vec<PathBuf>>;

    fn is_written_in_go(&self) -> Option<bool>;
}

/// What an executable or library takes from its environment as a whole, for more than passing it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EnvironmentUse {
    Nothing,
    /// What the crate `cc` looks up by name in the copy that it takes since version 1.8, and passes on to the
    /// compilers that it starts.
    Compilers,
    Everything,
}

/// What the executable or library at `path` takes from its environment: nothing if it does not name the C
/// library's variable that holds it, or is not the kind of file that could. Scripts do not; what runs
/// them is asked for itself.
pub(crate) fn environment_use(path: &Path) -> EnvironmentUse {
    let Ok(file) = File::open(path) else { return EnvironmentUse::Everything };
    let Some(images) = images(&file) else { return EnvironmentUse::Everything };
    let uses =
        images.iter().map(|image| use_in(image.as_ref()).unwrap_or(EnvironmentUse::Everything));
    uses.max().unwrap_or(EnvironmentUse::Nothing)
}

/// Starting a program takes all variables too, to pass them on.
fn use_in(image: &dyn Image) -> Option<EnvironmentUse> {
    const ALL: &[u8] = b"3env7vars_os";
    const COPY: [&[u8]; 2] = [b"2cc9build_env", b"11EnvSnapshot7capture"];
    if !image.names_environment()? {
        return Some(EnvironmentUse::Nothing);
    }
    let names = image.symbols()?;
    // Where that function was inlined itself, nothing tells who called it.
    if !contains(&names, ALL) {
        return None;
    }
    if !image.code_tells() {
        return Some(use_by_names(&names));
    }
    let users = image.users(ALL)?;
    // What a thread begins with is of the library by name, and has in it what whoever started it does.
    let starts = |user: &[u8]| is_named(user, [b"3std3sys", b"7process"]);
    let is_standard =
        |user: &Vec<u8>| contains(user, ALL) || starts(user) && !contains(user, b"backtrace");
    if !users.of_environment.iter().all(is_standard) {
        return Some(EnvironmentUse::Everything);
    }
    let is_any = |parts: [&[u8]; 2]| users.of_function.iter().any(|user| is_named(user, parts));
    let passes_on =
        |user: &Vec<u8>| contains(user, ALL) || is_named(user, [b"3std", b"10CommandEnv7capture"]);
    let others = users.of_function.iter().filter(|user| !passes_on(user) && !is_named(user, COPY));
    Some(match (others.count(), is_any(COPY)) {
        (0, false) => EnvironmentUse::Nothing,
        (0, true) if !asks_commands(image, &names) => EnvironmentUse::Compilers,
        _ => EnvironmentUse::Everything,
    })
}

/// Whether a command may be asked for its variables: that tells all those of the copy. `cc` itself asks for
/// those of make's jobserver.
fn asks_commands(image: &dyn Image, names: &[u8]) -> bool {
    const ASK: &[u8] = b"7Command8get_envs";
    let of_cc = |user: &Vec<u8>| contains(user, ASK) || contains(user, b"2cc8parallel9job_token");
    let only_by_cc = || Some(image.users(ASK)?.of_function.iter().all(of_cc));
    contains(names, ASK) && only_by_cc() != Some(true)
}

fn is_named(function: &[u8], parts: [&[u8]; 2]) -> bool {
    parts.iter().all(|part| contains(function, part))
}

/// What the names of an image's symbols tell, where its code does not. Going through the variables calls their
/// iterator by name; what passes them on has it inlined, and only drops it by name. Where the
/// whole program was optimized at once the two look alike: that leaves marks in names.
fn use_by_names(names: &[u8]) -> EnvironmentUse {
    const SIGNS: [&[u8]; 4] = [b"3env4vars", b"3env4Vars", b"env..Vars$u20$", b".llvm."];
    let goes_through = SIGNS.iter().any(|name| contains(names, name))
        || contains(names, b"VarsOs")
            && names
                .split(|byte| *byte == 0)
                .any(|name| contains(name, b"VarsOs") && !contains(name, b"drop"));
    if goes_through { EnvironmentUse::Everything } else { EnvironmentUse::Nothing }
}

/// The directories in which an executable or library has the loader search for what it needs. Those in a
/// store whose directories never change are left out.
pub(crate) fn run_path(path: &Path) -> Vec<PathBuf> {
    let origin = path.parent().map_or(&b""[..], |directory| directory.as_os_str().as_bytes());
    let mut all = Vec::new();
    let Ok(file) = File::open(path) else { return all };
    let images = images(&file).unwrap_or_default();
    for directory in images.iter().filter_map(|image| image.run_path(origin)).flatten() {
        if !directory.starts_with("/nix/store") && !all.contains(&directory) {
            all.push(directory);
        }
    }
    all
}

/// Whether an executable or library asks the kernel itself for files, also where the C library is linked:
/// code of the Go compiler does, and that of the crate rustix.
pub(crate) fn calls_kernel(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    images(&file).unwrap_or_default().iter().any(|image| {
        let by_rustix = || image.symbols().is_some_and(|names| asks_by_rustix(&names));
        image.is_written_in_go() == Some(true) || cfg!(target_os = "linux") && by_rustix()
    })
}

/// Whether names of symbols are those of functions by which that crate opens files and looks at them.
fn asks_by_rustix(names: &[u8]) -> bool {
    const CALLS: &[u8] = b"6rustix7backend2fs8syscalls";
    const ASKING: [&[u8]; 12] = [
        b"4open",
        b"6openat",
        b"7openat2",
        b"4stat",
        b"5lstat",
        b"6statat",
        b"5statx",
        b"6access",
        b"8accessat",
        b"8readlink",
        b"10readlinkat",
        b"8getdents",
    ];
    let mut calls = memchr::memmem::find_iter(names, CALLS);
    calls.any(|at| ASKING.iter().any(|name| names[at + CALLS.len()..].starts_with(name)))
}

/// The images in an executable or library, if it tells where they are: a universal file has one for
/// each processor. There are none in a file of another format.
fn images(file: &File) -> Option<Vec<Box<dyn Image + '_>>> {
    if let Some(elf) = Elf::begin(file) {
        return Some(vec![Box::new(elf)]);
    }
    let images = mach_o::images(file)?.into_iter();
    Some(images.map(|image| Box::new(image) as Box<dyn Image>).collect())
}

/// The directory that a part of a search path means, if that is absolute. Each of `names` stands for
/// `origin`.
pub(super) fn directory(part: &[u8], names: [&[u8]; 2], origin: &[u8]) -> Option<PathBuf> {
    let rest = names.iter().find_map(|name| part.strip_prefix(*name));
    let directory = rest.map_or_else(|| part.to_vec(), |rest| [origin, rest].concat());
    directory.starts_with(b"/").then(|| PathBuf::from(OsStr::from_bytes(&directory)))
}

/// A table of the file.
pub(super) fn bytes(file: &File, at: u64, count: u64) -> Option<Vec<u8>> {
    if count > BYTES_MAX {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(count).ok()?];
    file.read_exact_at(&mut bytes, at).ok()?;
    Some(bytes)
}

pub(super) fn contains(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_no_such_format_does_not_read_and_one_that_cannot_be_opened_does() {
        let space = tempfile::tempdir().unwrap();
        let path = space.path().join("script");
        for content in [&b""[..], b"\x7fEL", b"\x7fELF", b"\xcf\xfa\xed", b"#!/bin/sh\nenv\n"] {
            std::fs::write(&path, content).unwrap();
            assert!(
                environment_use(&path) == EnvironmentUse::Nothing && !calls_kernel(&path),
                "{content:?}"
            );
            assert_eq!(run_path(&path), [] as [PathBuf; 0], "{content:?}");
        }
        let path = space.path().join("missing");
        assert!(environment_use(&path) == EnvironmentUse::Everything);
        assert!(!calls_kernel(&path));
        assert_eq!(run_path(&path), [] as [PathBuf; 0]);
    }

    #[test]
    fn a_program_of_this_system_is_understood() {
        let path = std::env::current_exe().unwrap();
        // It goes through its variables.
        assert_eq!(environment_use(&path), EnvironmentUse::Everything);
        // It has rustix.
        assert_eq!(calls_kernel(&path), cfg!(target_os = "linux"));
    }
}
