//! Crates that the compiler looked at and found to be others.
//!
//! It finds the dependencies of dependencies by name, and opens every file of that name in the search
//! directories: another version, or another build of the same crate, that only happened to be there.
//! Whether it is there depends on what Cargo was doing at the time, so it must not be an input.
//!
//! A crate's metadata names each of its dependencies by the ending of its file name. What cannot be
//! reached from the crates that Cargo names is a stranger.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use store_format::{Input, InputKind};

use crate::fs;

/// Bytes of the hash that Cargo puts at the end of a crate's file name, after a hyphen.
const HASH_BYTES: usize = 16;

/// Removes strangers from `inputs`. `named` are the crates that Cargo names; `path` tells where a
/// crate is, without its extension. Where there is a doubt, a crate stays.
pub fn remove(inputs: &mut Vec<Input>, named: &[Input], path: impl Fn(&Input) -> Option<PathBuf>) {
    let mut by_name: HashMap<Vec<u8>, Vec<&Input>> = HashMap::new();
    for input in inputs.iter().filter(|input| is_crate(input)) {
        by_name.entry(crate_name(input)).or_default().push(input);
    }
    let doubtful: HashSet<Input> = by_name
        .values()
        .filter(|inputs| inputs.len() > 1)
        .flatten()
        .filter(|input| !named.contains(input) && hash(input).is_some())
        .map(|input| (*input).clone())
        .collect();
    if doubtful.is_empty() {
        return;
    }
    let crates: Vec<&Input> = inputs.iter().filter(|input| is_crate(input)).collect();
    let mut reached: HashSet<&Input> =
        crates.iter().copied().filter(|input| !doubtful.contains(*input)).collect();
    let mut unread: Vec<&Input> = reached.iter().copied().collect();
    while let Some(input) = unread.pop() {
        let Some(known) = path(input).and_then(|stem| hashes_in(&stem)) else { return };
        for other in &crates {
            if hash(other).is_some_and(|hash| known.contains(hash)) && reached.insert(other) {
                unread.push(other);
            }
        }
    }
    let strangers: HashSet<Input> =
        doubtful.iter().filter(|input| !reached.contains(input)).cloned().collect();
    inputs.retain(|input| !strangers.contains(input));
}

fn is_crate(input: &Input) -> bool {
    matches!(input.kind, InputKind::DependencyMetadata | InputKind::DependencyLibrary)
}

fn file_name(input: &Input) -> &[u8] {
    input.name.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

/// The part of the file name that two builds of a crate have in common.
fn crate_name(input: &Input) -> Vec<u8> {
    let name = file_name(input);
    name.split(|byte| *byte == b'-').next().unwrap_or(name).to_vec()
}

/// The hash at the end of the file name.
fn hash(input: &Input) -> Option<&[u8]> {
    let name = file_name(input);
    let hash = name.get(name.len().checked_sub(HASH_BYTES)?..)?;
    let hyphen = name.get(name.len().checked_sub(HASH_BYTES + 1)?)?;
    (*hyphen == b'-' && is_hash(hash)).then_some(hash)
}

fn is_hash(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Every hash that a crate's metadata names; none for a dynamic library, whose dependencies are
/// within it. `None` if it cannot be read.
fn hashes_in(stem: &Path) -> Option<HashSet<Vec<u8>>> {
    for extension in ["rmeta", "rlib"] {
        let mut path = stem.as_os_str().to_owned();
        path.push(".");
        path.push(extension);
        match fs::read(Path::new(&path)) {
            Ok(metadata) => {
                let windows = memchr::memchr_iter(b'-', &metadata);
                let hashes = windows
                    .filter_map(|at| metadata.get(at + 1..=at + HASH_BYTES))
                    .filter(|hash| is_hash(hash));
                return Some(hashes.map(<[u8]>::to_vec).collect());
            }
            Err(error) if error.is_absent() => {}
            Err(_) => return None,
        }
    }
    Some(HashSet::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use store_format::RootedPath;

    fn dependency(name: &str) -> Input {
        let name = RootedPath { root: None, path: name.as_bytes().to_vec() };
        Input { kind: InputKind::DependencyMetadata, name }
    }

    fn remaining(crates: &[(&str, &str)], named: &[&str]) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        for (name, metadata) in crates {
            std::fs::write(directory.path().join(format!("{name}.rmeta")), metadata).unwrap();
        }
        let mut inputs: Vec<Input> = crates.iter().map(|(name, _)| dependency(name)).collect();
        let named: Vec<Input> = named.iter().map(|name| dependency(name)).collect();
        let place = |input: &Input| {
            Some(directory.path().join(std::str::from_utf8(&input.name.path).unwrap()))
        };
        remove(&mut inputs, &named, place);
        inputs.into_iter().map(|input| String::from_utf8(input.name.path).unwrap()).collect()
    }

    const ONE: &str = "libmid-1111111111111111";
    const TWO: &str = "libmid-2222222222222222";
    const TOP: &str = "libtop-3333333333333333";

    #[test]
    fn a_crate_of_the_same_name_that_nobody_refers_to_is_a_stranger() {
        let crates = [(ONE, ""), (TWO, ""), (TOP, "\x10-2222222222222222\0")];
        assert_eq!(remaining(&crates, &[TOP]), [TWO, TOP]);
    }

    #[test]
    fn two_versions_that_are_both_referred_to_stay() {
        let crates = [(ONE, "-2222222222222222"), (TWO, ""), (TOP, "-1111111111111111")];
        assert_eq!(remaining(&crates, &[TOP]), [ONE, TWO, TOP]);
    }

    #[test]
    fn what_only_a_stranger_refers_to_is_a_stranger() {
        let other = "libmid-4444444444444444";
        let crates = [(ONE, "-4444444444444444"), (other, ""), (TOP, "")];
        assert_eq!(remaining(&crates, &[TOP]), [TOP]);
    }

    #[test]
    fn a_crate_without_a_namesake_stays_whoever_refers_to_it() {
        assert_eq!(remaining(&[(ONE, ""), (TOP, "")], &[TOP]), [ONE, TOP]);
    }
}
