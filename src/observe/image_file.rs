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

/// What is asked of a format. `None` where the image does not tell.
pub(super) trait Image {
    /// Whether it names the C library's variable that holds all variables.
    fn names_environment(&self) -> Option<bool>;

    /// The names of all symbols, also of those that no other image uses.
    fn symbols(&self) -> Option<Vec<u8>>;

    /// The absolute directories in which it has the loader search, with the place of the file for
    /// what stands for that.
    fn run_path(&self, origin: &[u8]) -> Option<Vec<PathBuf>>;

    fn is_written_in_go(&self) -> Option<bool>;
}

/// Whether `path` names the C library's variable that holds all variables. Scripts do not; what
/// runs them is asked for itself.
pub(crate) fn names_environment(path: &Path) -> bool {
    any(path, true, |image| image.names_environment())
}

/// Whether a Rust executable goes through all variables by the standard library. Starting a program
/// takes them all too, to pass them on: that has their iterator inlined, and only drops it by name.
pub(crate) fn iterates_variables(path: &Path) -> bool {
    const ITERATOR: [&[u8]; 3] = [b"3env4vars", b"3env4Vars", b"env..Vars$u20$"];
    any(path, true, |image| {
        let names = image.symbols()?;
        let is_named = ITERATOR.iter().any(|name| contains(&names, name))
            || contains(&names, b"VarsOs")
                && names
                    .split(|byte| *byte == 0)
                    .any(|name| contains(name, b"VarsOs") && !contains(name, b"drop"));
        Some(is_named)
    })
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

/// Whether an executable or library holds code of the Go compiler: that calls the kernel itself,
/// also where the C library is linked.
pub(crate) fn is_written_in_go(path: &Path) -> bool {
    any(path, false, |image| image.is_written_in_go())
}

/// Whether the answer of any image in the file is yes; `in_doubt` is that of one that does not tell.
fn any(path: &Path, in_doubt: bool, ask: impl Fn(&dyn Image) -> Option<bool>) -> bool {
    let Ok(file) = File::open(path) else { return in_doubt };
    let Some(images) = images(&file) else { return in_doubt };
    images.iter().any(|image| ask(image.as_ref()).unwrap_or(in_doubt))
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
            assert!(!names_environment(&path), "{content:?}");
            assert!(!iterates_variables(&path) && !is_written_in_go(&path), "{content:?}");
            assert_eq!(run_path(&path), [] as [PathBuf; 0], "{content:?}");
        }
        let path = space.path().join("missing");
        assert!(names_environment(&path) && iterates_variables(&path));
        assert!(!is_written_in_go(&path));
        assert_eq!(run_path(&path), [] as [PathBuf; 0]);
    }

    #[test]
    fn a_program_of_this_system_is_understood() {
        let path = std::env::current_exe().unwrap();
        // It starts programs, which get its variables.
        assert!(names_environment(&path));
        assert!(!is_written_in_go(&path));
    }
}
