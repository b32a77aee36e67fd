//! The loader's search path without the directories that Cargo puts in front of it.
//!
//! Whoever starts a program or loads a library may get another one where this differs.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use store_format::Root;

use crate::roots::Roots;

/// The variable in which Cargo puts them.
pub const VARIABLE: &str =
    if cfg!(target_vendor = "apple") { "DYLD_FALLBACK_LIBRARY_PATH" } else { "LD_LIBRARY_PATH" };

/// The directories in a value of the variable that are not those of this build or of the compiler.
pub fn foreign(roots: &Roots, value: &OsStr) -> Vec<PathBuf> {
    // An empty entry is the working directory, and an empty list is none.
    let all = std::env::split_paths(value).filter(|_| !value.is_empty()).collect::<Vec<PathBuf>>();
    let is_of = |path: &Path, root: Root| {
        roots.path(root).is_some_and(|directory| path.starts_with(directory))
    };
    // Where the build is for another target, that of what runs during the build is a second one.
    let profiles: Vec<&PathBuf> =
        all.iter().filter(|directory| all.contains(&directory.join("deps"))).collect();
    let is_foreign = |path: &&PathBuf| {
        !is_of(path, Root::Build)
            && !is_of(path, Root::Sysroot)
            && !profiles.iter().any(|profile| path.starts_with(profile))
            && !path.ancestors().any(is_output_of_unit)
    };
    all.iter().filter(is_foreign).cloned().collect()
}

/// Whether this is where Cargo puts what one of its units makes: `build/NAME-HASH/out`, or
/// `build/NAME/HASH/out` in its new layout.
pub fn is_output_of_unit(path: &Path) -> bool {
    const DIGITS: usize = 16;
    let mut names = path.iter().rev().map(OsStr::as_bytes);
    names.next() == Some(b"out")
        && names.next().is_some_and(|unit| {
            let hash = &unit[unit.len().saturating_sub(DIGITS)..];
            hash.len() == DIGITS && hash.iter().all(u8::is_ascii_hexdigit)
        })
        && names.take(2).any(|name| name == b"build")
}

/// What of a variable's value counts.
pub fn counted<'v>(roots: &Roots, name: &OsStr, value: &'v OsStr) -> Cow<'v, OsStr> {
    if name != VARIABLE {
        return Cow::Borrowed(value);
    }
    // What was split at the separator can be joined by it.
    Cow::Owned(std::env::join_paths(foreign(roots, value)).unwrap_or_default())
}

/// What counts of a variable of this process; `None` if it is not set.
pub fn variable(roots: &Roots, name: &OsStr) -> Option<OsString> {
    std::env::var_os(name).map(|value| counted(roots, name, &value).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, expected: &str) {
        let mut roots = Roots::default();
        roots.set(Root::Build, Path::new("/w/target/arm/debug"));
        roots.set(Root::Sysroot, Path::new("/rust"));
        let counted = counted(&roots, OsStr::new(VARIABLE), OsStr::new(value)).into_owned();
        assert_eq!(counted, expected);
    }

    #[test]
    fn what_cargo_puts_there_does_not_count() {
        check("/w/target/arm/debug/build/a-1/out/lib:/rust/lib", "");
        check("/w/target/debug/build/a-1/out:/w/target/debug:/w/target/debug/deps:/mine", "/mine");
        check("/w/target/debug/deps:/mine:", "/w/target/debug/deps:/mine:");
        let unit = "0123456789abcdef";
        check(
            &format!("/w/build/a/{unit}/out:/w/build/a-{unit}/out/lib:/build/a/out"),
            "/build/a/out",
        );
        assert!(foreign(&Roots::default(), OsStr::new("")).is_empty());
        check("/rusty:/w/lib", "/rusty:/w/lib");
    }
}
