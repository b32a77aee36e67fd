//! What binds a result to the place where it was made: paths that somebody wrote down, in a file, a variable
//! or an argument, mean that place and not the same one of another checkout; and who goes up from a checkout
//! comes through directories that depend on how the roots lie to each other.

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

/// Adds the inputs by way of `..` by their paths where variables or arguments give these, which mean the same
/// places in every checkout. By which of both ways somebody came there is not known: both must lead to the same.
pub fn add_given(session: &Session, manifest: &mut Manifest, absent: &mut BTreeSet<Input>) {
    let roots = &session.roots;
    let above = |input: &Input| {
        let (base, root) = roots.base(&input.name)?;
        (roots.path(root)?.as_os_str().as_bytes() != base).then_some(base)
    };
    let mut bases: BTreeSet<Vec<u8>> = manifest.inputs.iter().filter_map(above).collect();
    if bases.is_empty() {
        return;
    }
    let texts = given(session, manifest);
    bases.retain(|base| texts.iter().any(|text| names(text, base)));
    let mut added = Vec::new();
    for input in
        manifest.inputs.iter().filter(|input| above(input).is_some_and(|it| bases.contains(&it)))
    {
        let path = roots.flat(&input.name).unwrap_or_default();
        let literal = Input { kind: input.kind, name: RootedPath { root: None, path } };
        if absent.contains(input) {
            absent.insert(literal.clone());
        }
        added.push(literal);
    }
    manifest.inputs.extend(added);
}

/// The arguments and the values of variables that paths may come from, without those of the roots.
fn given(session: &Session, manifest: &Manifest) -> Vec<Vec<u8>> {
    let goes_through = manifest.inputs.iter().any(|input| input.kind == InputKind::AllVariables);
    let is_read = |name: &OsStr| {
        let reads =
            |input: &Input| input.kind == InputKind::Variable && input.name.path == name.as_bytes();
        goes_through || name == env::PATH || manifest.inputs.iter().any(reads)
    };
    let variables = std::env::vars_os().filter(|(name, _)| is_read(name));
    let variables = variables.map(|(_, value)| session.roots.template(value.as_bytes()));
    let arguments = session.components.parts().iter().map(|part| part.value.clone());
    variables.chain(arguments).collect()
}

/// Whether inputs were found by going up from the checkout, through directories that have other names, or are
/// others, where the roots lie to each other in another way.
pub fn is_by_layout(roots: &Roots, manifest: &Manifest) -> bool {
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
        if !path.starts_with(b"/") {
            continue;
        }
        if input.name.root.is_none() && roots.is_near(&path) {
            return true;
        }
        paths.insert([&path[..], behind].concat());
    }
    roots.are_looked_for_upward(&paths)
}

/// Where a root is, or how all of them lie to each other.
pub fn location(root: Option<Root>) -> Input {
    Input { kind: InputKind::RootLocation, name: RootedPath { root, path: Vec::new() } }
}
