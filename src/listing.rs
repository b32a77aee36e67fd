//! The names in a directory as an input, and what each is where the file system tells that with them.
//!
//! Cargo's library path leads every script to the directories where Cargo puts what it builds, and
//! whoever searches that path for a library lists them. What Cargo and the compiler put there changes
//! all through a build, and is nobody's input by its name: who uses such a file reads it.

use std::collections::HashSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use store_format::{Digest, Root, RootedPath};

use crate::fs::{self, FileKind};
use crate::inputs::{absent, finish, frame};

/// Whether the names in this directory are Cargo's for the greater part.
pub fn is_cargos(directory: &RootedPath) -> bool {
    directory.root == Some(Root::Build) && matches!(&directory.path[..], b"" | b"deps")
}

/// The value of the names in the directory at `path`; `None` if they cannot be read.
pub fn value(name: &RootedPath, path: &Path) -> Option<Digest> {
    let mut entries = match fs::list(path) {
        Ok(entries) => entries,
        Err(error) => return error.is_absent().then(absent),
    };
    if is_cargos(name) {
        retain_foreign(&mut entries);
    }
    entries.sort();
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"listing\0");
    for (name, kind) in entries {
        frame(&mut hasher, name.as_bytes());
        hasher.update(&[kind.map_or(0, |kind| 1 + kind as u8)]);
    }
    Some(finish(&hasher))
}

/// Leaves the names that neither Cargo nor the compiler gives.
fn retain_foreign(entries: &mut Vec<(OsString, Option<FileKind>)>) {
    let described: HashSet<Vec<u8>> = entries
        .iter()
        .filter_map(|(name, _)| Some(name.as_bytes().strip_suffix(b".d")?.to_vec()))
        .collect();
    entries.retain(|(name, _)| {
        let name = name.as_bytes();
        let stem = name.split(|byte| *byte == b'.').next().unwrap_or_default();
        let is_unit = ends_in_hash(stem) || described.contains(stem);
        !is_unit && !is_temporary(name)
    });
}

/// Whether a name without its extensions ends as Cargo has the compiler name a unit's files.
fn ends_in_hash(stem: &[u8]) -> bool {
    const DIGITS: usize = 16;
    stem.len() > DIGITS + 1
        && stem[stem.len() - DIGITS - 1] == b'-'
        && stem[stem.len() - DIGITS..].iter().all(u8::is_ascii_hexdigit)
}

/// Whether a name is that of the compiler's temporary directories or of kache's temporary files.
fn is_temporary(name: &[u8]) -> bool {
    const RANDOM: usize = 6;
    let random = name.strip_prefix(b"rmeta").or_else(|| name.strip_prefix(b"rustc"));
    let is_random =
        |rest: &[u8]| rest.len() == RANDOM && rest.iter().all(u8::is_ascii_alphanumeric);
    random.is_some_and(is_random) || name.ends_with(b".kache-tmp")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(root: Option<Root>, place: &[u8], names: &[&str], others: &[&str], same: bool) {
        let directory = tempfile::tempdir().expect("a directory");
        let name = RootedPath { root, path: place.to_vec() };
        let value = || value(&name, directory.path()).expect("it can be listed");
        let make = |names: &[&str]| {
            for name in names {
                std::fs::write(directory.path().join(name), "").expect("a file");
            }
        };
        make(names);
        let before = value();
        make(others);
        assert_eq!(before == value(), same, "{others:?} beside {names:?}");
    }

    #[test]
    fn what_cargo_puts_into_its_directories_is_nobodys_input() {
        let units = [
            "libserde-0123456789abcdef.rlib",
            "libserde-0123456789abcdef.so",
            "serde-0123456789abcdef.d",
            "app-0123456789abcdef",
            "app-0123456789abcdef.app.77-cgu.0.rcgu.o",
            "libapp.d",
            "libapp.so",
            "app",
            "app.d",
            "rmetaAb12Cd",
            "rustcAb12Cd",
            ".7-0-1f.kache-tmp",
        ];
        check(Some(Root::Build), b"deps", &["libclang.so"], &units, true);
        check(Some(Root::Build), b"", &[], &units, true);
        check(Some(Root::Build), b"build", &[], &units, false);
        check(Some(Root::Workspace), b"deps", &[], &units, false);
        check(None, b"/usr/lib", &[], &units, false);
    }

    #[test]
    fn what_somebody_else_puts_there_is_an_input() {
        for name in
            ["libclang.so", "libclang-14.so.1", "data-0123", "rmeta", "x-0123456789abcdeg.so"]
        {
            check(Some(Root::Build), b"deps", &["libother.so"], &[name], false);
            check(Some(Root::Build), b"", &[], &[name], false);
        }
    }

    #[test]
    fn a_directory_that_is_not_there_has_a_value_of_its_own() {
        let directory = tempfile::tempdir().expect("a directory");
        let name = RootedPath { root: None, path: Vec::new() };
        let at = |path: &Path| value(&name, path);
        assert_ne!(at(directory.path()), at(&directory.path().join("nothing")));
        assert_eq!(at(&directory.path().join("nothing")), Some(absent()));
    }
}
