//! What binds a result to the place where it was made. Paths that somebody wrote down mean that place, and not
//! the same one of another checkout; what lies beside a checkout may have been meant in several ways; and who goes
//! up from a checkout comes through directories that depend on how the roots lie to each other.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use store_format::{Input, InputKind, Manifest, Root, RootedPath};

use crate::env;
use crate::fs::{self, FileKind};
use crate::library_path;
use crate::roots::{RootSet, Roots, names};
use crate::session::Session;

/// Bytes of a file that are looked through at a time.
const WINDOW_BYTES: usize = 1 << 20;

/// Adds to the inputs what a result is bound to: the places of some roots, how all of them lie, and other names
/// of what is beside the checkout.
pub fn bind(
    session: &Session,
    manifest: &mut Manifest,
    absent: &mut BTreeSet<Input>,
    places: RootSet,
) {
    let (roots, given) = (&session.roots, given(session));
    let layout = is_by_layout(roots, &given, manifest, absent).then_some(None);
    add_names(roots, &given, manifest, absent);
    manifest.inputs.extend(places.iter().map(Some).chain(layout).map(location));
    manifest.inputs.sort();
    manifest.inputs.dedup();
}

/// The roots in the values of the variables that were read: where an output hides text, it may
/// contain these in a form that no scan finds.
pub fn roots_read(session: &Session, manifest: &Manifest) -> RootSet {
    let mut read = RootSet::default();
    for input in manifest.inputs.iter().filter(|input| input.kind == InputKind::Variable) {
        let name = OsStr::from_bytes(&input.name.path);
        let value = library_path::variable(&session.roots, name).unwrap_or_default();
        read.extend(session.roots.surviving(value.as_bytes()));
    }
    read
}

/// The roots that files name by their paths, as far as inputs are found from there or texts that came out
/// `said` them: such a path means this place everywhere, and not that of another checkout.
pub fn roots_named(session: &Session, manifest: &Manifest, said: RootSet) -> RootSet {
    let roots = &session.roots;
    let bases = manifest.inputs.iter().filter_map(|input| roots.base(&input.name));
    let own = |root| Some((roots.path(root)?.as_os_str().as_bytes().to_vec(), root));
    let bases: BTreeSet<(Vec<u8>, Root)> = bases.chain(said.iter().filter_map(own)).collect();
    // The bytes around a path tell whether it is one.
    let overlap = bases.iter().map(|(base, _)| base.len()).max().unwrap_or(0) + 2;
    let mut named = RootSet::default();
    let read = manifest.inputs.iter();
    for input in read.filter(|input| matches!(input.kind, InputKind::File | InputKind::Program)) {
        if bases.iter().all(|(_, root)| named.contains(*root)) {
            break;
        }
        let Some(path) = roots.resolve(&input.name).filter(|path| may_name(input, path)) else {
            continue;
        };
        let scanned = fs::read_in_windows(&path, WINDOW_BYTES, |window| {
            for (base, root) in &bases {
                if !named.contains(*root) && names(window, base) {
                    named.insert(*root);
                }
            }
            overlap.min(window.len())
        });
        // It has no value either, which is told when that is asked for.
        if let Err(error) = scanned {
            crate::log::debug!("{error}");
        }
    }
    named
}

/// Whether a file is looked into for the checkout's path. What a toolchain or the registry brought is the
/// same in every checkout, and what a build made is known by its content; of the files outside, those
/// that people write are small.
fn may_name(input: &Input, path: &Path) -> bool {
    const WRITTEN_BYTES_MAX: u64 = 1 << 20;
    let bytes_max = match input.name.root {
        Some(Root::Workspace | Root::Package) => u64::MAX,
        Some(Root::Build | Root::Sysroot) => return false,
        Some(Root::CargoHome) if input.name.path.starts_with(b"registry/") => return false,
        Some(Root::CargoHome | Root::Home) | None => WRITTEN_BYTES_MAX,
    };
    // To read a pipe may take for ever.
    fs::stat(path).is_ok_and(|stat| stat.kind == FileKind::File && stat.size_bytes <= bytes_max)
}

/// Adds names to inputs beside the checkout, which may have been meant as they lie to it, to the user's home, or
/// by their path. What was absent has to be absent by all of them. What was there has to be the same by its path
/// too where a variable or an argument gives that.
fn add_names(
    roots: &Roots,
    given: &[Vec<u8>],
    manifest: &mut Manifest,
    absent: &mut BTreeSet<Input>,
) {
    let mut added = Vec::new();
    for input in &manifest.inputs {
        let Some(beside) = roots.beside_checkout(&input.name) else { continue };
        let by = |name: RootedPath| Input { kind: input.kind, name };
        if absent.contains(input) {
            let others: Vec<Input> = beside.names.into_iter().map(by).collect();
            absent.extend(others.iter().cloned());
            added.extend(others);
        } else if beside.is_named_in(given) {
            let path = beside.path;
            added.push(by(RootedPath { root: None, path }));
        }
    }
    manifest.inputs.extend(added);
}

/// The texts that paths may come from: arguments, and the values of variables.
fn given(session: &Session) -> Vec<Vec<u8>> {
    let variables = std::env::vars_os().map(|(_, value)| value.into_encoded_bytes());
    let parts = session.components.parts().iter();
    let arguments = parts.map(|part| session.roots.expand(&part.value).unwrap_or_default());
    variables.chain(arguments).collect()
}

/// Whether inputs were found by going up from the checkout, through directories that have other names, or are
/// others, where the roots lie to each other in another way.
fn is_by_layout(
    roots: &Roots,
    given: &[Vec<u8>],
    manifest: &Manifest,
    absent: &BTreeSet<Input>,
) -> bool {
    let asks_for_home = manifest.inputs.iter().any(|input| match input.kind {
        InputKind::Variable => input.name.path == env::HOME.as_bytes(),
        kind => kind == InputKind::AllVariables,
    });
    let mut paths = HashSet::new();
    for input in &manifest.inputs {
        let behind: &[u8] = match input.kind {
            InputKind::File | InputKind::Presence | InputKind::LinkTarget | InputKind::Program => {
                b""
            }
            // What a directory has in it was looked at in this one.
            InputKind::Listing => b"/*",
            _ => continue,
        };
        let Some(path) = roots.flat(&input.name) else { continue };
        if input.name.root.is_none() && roots.is_near(&path) {
            return true;
        }
        // Who has not been told where home is can only have come there from the checkout.
        if input.name.root == Some(Root::Home)
            && !asks_for_home
            && !absent.contains(input)
            && roots.beside_checkout(&input.name).is_some_and(|beside| !beside.is_named_in(given))
        {
            return true;
        }
        paths.insert([&path[..], behind].concat());
    }
    roots.are_looked_for_upward(&paths)
}

/// Where a root is, or how all of them lie to each other.
fn location(root: Option<Root>) -> Input {
    Input { kind: InputKind::RootLocation, name: RootedPath { root, path: Vec::new() } }
}
