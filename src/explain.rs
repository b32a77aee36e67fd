//! Why a compilation was needed: its components against those of the crate's last one.
//!
//! Each stored compilation leaves a snapshot of its components under the name of its crate, and a
//! miss notes in its event what differed from the snapshot before. `why-miss` shows that note. What
//! the inputs of a snapshot are called, the manifest says that led to its result.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use store_format::snapshot::{
    SNAPSHOT_DIGEST_BYTES, SNAPSHOT_PARTS_MAX, SNAPSHOT_TEXT_BYTES_MAX, ShortDigest,
};
use store_format::{
    Digest, Input, InputKind, Manifest, ManifestList, Root, Snapshot, SnapshotPart,
};

use crate::account::kind_of;
use crate::index::{Index, Kind};
use crate::inputs::{Inputs, finish, frame};
use crate::invocation::Invocation;
use crate::key::{Component, Part};
use crate::library_path;
use crate::roots::named;
use crate::session::Session;

/// Lines of one explanation; what differs beyond them is counted.
const LINES_MAX: usize = 8;
/// Bytes of a value that are kept as text.
const VALUE_BYTES_MAX: usize = 160;

/// What differs between this compilation and the last one of the same crate, a line each.
pub fn compare(session: &Session, manifest: &Manifest, values: &mut Inputs) -> Vec<String> {
    let snapshot = snapshot(session, manifest, values);
    let key = session.name;
    let index = &session.store.index;
    let before = index.get(Kind::Latest, &key).and_then(|bytes| Snapshot::decode(&bytes).ok());
    if let Err(error) = index.put(Kind::Latest, &key, &snapshot.encode()) {
        crate::log::warn!("the next miss cannot be explained: {error}");
    }
    let Some(before) = before else { return Vec::new() };
    explain((&before, manifest_of(&before, index).as_ref()), (&snapshot, manifest))
}

/// The manifest of the last compilation may be gone, and with it the names of what that read.
fn explain(before: (&Snapshot, Option<&Manifest>), now: (&Snapshot, &Manifest)) -> Vec<String> {
    if let (before, Some(manifest)) = before {
        return differences(&shown(before, manifest), &shown(now.0, now.1));
    }
    let mut lines = differences(&shown_parts(before.0), &shown_parts(now.0));
    lines.push("what the last compilation read is no longer known".to_owned());
    lines
}

/// The manifest that has the names for a snapshot's values, if its unit still has it.
fn manifest_of(snapshot: &Snapshot, index: &Index) -> Option<Manifest> {
    let list = ManifestList::decode(&index.get(Kind::Manifests, &snapshot.unit.0)?).ok()?;
    list.into_manifests().into_iter().find(|manifest| manifest.checksum() == snapshot.manifest)
}

/// The name under which a crate's last compilation is remembered: what stays the same when its
/// sources, flags or dependencies change.
pub fn compilation_name(invocation: &Invocation) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"kache latest compilation\0");
    frame(&mut hasher, invocation.crate_name.as_bytes());
    frame(&mut hasher, kind_of(invocation).as_bytes());
    frame(&mut hasher, invocation.source.as_os_str().as_bytes());
    finish(&hasher)
}

fn snapshot(session: &Session, manifest: &Manifest, values: &mut Inputs) -> Snapshot {
    let mut parts = Vec::new();
    for Part { component, name, value } in session.components.parts() {
        let label = format!("{} {name}", component.label()).trim_end().as_bytes().to_vec();
        let shown = match component {
            Component::Argument | Component::Variable => readable(value),
            Component::Toolchain | Component::Script | Component::ExtraInputs => {
                hex(&value[..value.len().min(SNAPSHOT_DIGEST_BYTES)])
            }
            _ if value.is_empty() => b"none".to_vec(),
            // No digest, and nothing to be shown as it is: what differs may begin alike.
            _ => hex(&short(blake3::hash(value).as_bytes())),
        };
        parts.push(part(label, shown));
    }
    let (mut digests, mut texts) = (Vec::new(), Vec::new());
    for input in &manifest.inputs {
        if input.kind == InputKind::Variable {
            let name = OsStr::from_bytes(&input.name.path);
            let value = library_path::variable(&session.roots, name);
            texts.push(value.map_or(b"unset".to_vec(), |value| {
                readable(&session.roots.template(value.as_bytes()))
            }));
        } else {
            digests.push(values.value(input).map_or([0; _], |value| short(&value.0)));
        }
        if input.kind == InputKind::AllVariables {
            parts.extend(environment(values, &input.name.path));
        }
    }
    parts.truncate(SNAPSHOT_PARTS_MAX);
    Snapshot { unit: session.unit, manifest: manifest.checksum(), parts, digests, texts }
}

/// What the labels of variables begin with that count as part of an environment.
const OF_ENVIRONMENT: &[u8] = b"environment variable ";

/// Each variable of an environment that counts as a whole, by a digest: secrets are among them, and
/// nobody may have read them.
fn environment(values: &Inputs, which: &[u8]) -> impl Iterator<Item = SnapshotPart> {
    values.each_variable(which).into_iter().map(|(name, value)| {
        part([OF_ENVIRONMENT, name.as_bytes()].concat(), hex(&short(&value.0)))
    })
}

fn part(mut label: Vec<u8>, value: Vec<u8>) -> SnapshotPart {
    label.truncate(SNAPSHOT_TEXT_BYTES_MAX);
    SnapshotPart { label, value }
}

/// Labels and values, in the order in which they are shown.
type Shown = Vec<(Vec<u8>, Vec<u8>)>;

fn shown_parts(snapshot: &Snapshot) -> Shown {
    snapshot.parts.iter().map(|part| (part.label.clone(), part.value.clone())).collect()
}

/// With what the inputs were, by the names that their manifest has for them.
fn shown(snapshot: &Snapshot, manifest: &Manifest) -> Shown {
    let mut shown = shown_parts(snapshot);
    let (mut digests, mut texts) = (snapshot.digests.iter(), snapshot.texts.iter());
    for input in &manifest.inputs {
        let value = match input.kind {
            InputKind::Variable => texts.next().cloned(),
            _ => digests.next().map(|digest| hex(digest)),
        };
        shown.extend(value.map(|value| (label(input), value)));
    }
    shown
}

/// A value as it is shown: short text as it is, anything else by its digest. Markers of roots become
/// their names.
fn readable(value: &[u8]) -> Vec<u8> {
    let mut text = named(value, root_name);
    text.iter_mut().filter(|byte| **byte < b' ').for_each(|byte| *byte = b' ');
    if text.len() <= VALUE_BYTES_MAX {
        return text;
    }
    let mut cut = text[..VALUE_BYTES_MAX].to_vec();
    cut.extend_from_slice(b"... ");
    cut.extend(hex(&short(blake3::hash(value).as_bytes())));
    cut
}

/// The first bytes of a digest.
fn short(digest: &[u8; 32]) -> ShortDigest {
    std::array::from_fn(|place| digest[place])
}

fn hex(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()
}

fn label(input: &Input) -> Vec<u8> {
    let kind = match input.kind {
        InputKind::File => "file",
        InputKind::Listing => "directory",
        InputKind::Presence => "presence of",
        InputKind::Variable => "variable",
        InputKind::AllVariables if input.name.path.is_empty() => "the environment as a whole",
        InputKind::AllVariables => "the environment of",
        InputKind::Program => "program",
        InputKind::DependencyMetadata => "dependency (metadata)",
        InputKind::DependencyLibrary => "dependency (library)",
        InputKind::RootLocation if input.name.root.is_none() => "how the directories lie",
        InputKind::RootLocation => "location of",
        InputKind::LinkTarget => "link target of",
        InputKind::Machine => "this machine's",
    };
    let mut label = kind.as_bytes().to_vec();
    let root = input.name.root.map(root_name);
    for piece in [root.unwrap_or_default().as_bytes(), &input.name.path] {
        if !piece.is_empty() {
            label.push(if label.len() > kind.len() { b'/' } else { b' ' });
            label.extend_from_slice(piece);
        }
    }
    label
}

/// How a root is shown.
pub fn root_name(root: Root) -> &'static str {
    match root {
        Root::Workspace => "<workspace>",
        Root::Package => "<package>",
        Root::Build => "<build>",
        Root::CargoHome => "<cargo home>",
        Root::Sysroot => "<sysroot>",
        Root::Home => "~",
    }
}

fn differences(before: &Shown, now: &Shown) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut old: HashMap<(&[u8], usize), &[u8]> = HashMap::new();
    // Where only one of both counted an environment as a whole, one line says so, and none for each of
    // its variables.
    let both =
        [before, now].iter().all(|shown| shown.iter().any(|line| is_of_environment(&line.0)));
    numbered(before, both, |key, value| {
        old.insert(key, value);
    });
    let mut lines = Vec::new();
    numbered(now, both, |key, value| match old.remove(&key) {
        Some(known) if known == value => {}
        Some(known) => lines.push(format!("{}: {} -> {}", text(key.0), text(known), text(value))),
        None => lines.push(format!("{}: new ({})", text(key.0), text(value))),
    });
    let mut gone: Vec<_> = old.into_iter().collect();
    gone.sort_unstable();
    lines.extend(
        gone.iter()
            .map(|((label, _), value)| format!("{}: gone (was {})", text(label), text(value))),
    );
    let more = lines.len().saturating_sub(LINES_MAX);
    lines.truncate(LINES_MAX);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines
}

fn is_of_environment(label: &[u8]) -> bool {
    label.starts_with(OF_ENVIRONMENT)
}

/// Walks what is shown, with an environment's variables or without, with each label's occurrence
/// number, so that arguments pair up in order.
fn numbered<'a>(
    shown: &'a Shown,
    environment: bool,
    mut each: impl FnMut((&'a [u8], usize), &'a [u8]),
) {
    let mut seen: HashMap<&[u8], usize> = HashMap::new();
    for (label, value) in shown.iter().filter(|line| environment || !is_of_environment(&line.0)) {
        let number = seen.entry(label).or_default();
        each((label, *number), value);
        *number += 1;
    }
}

#[cfg(test)]
mod tests {
    use store_format::{RootedPath, UnitKey};

    use super::*;

    fn manifest(inputs: &[(InputKind, Option<Root>, &str)]) -> Manifest {
        let input = |(kind, root, path): &(InputKind, Option<Root>, &str)| Input {
            kind: *kind,
            name: RootedPath { root: *root, path: path.as_bytes().to_vec() },
        };
        Manifest { inputs: inputs.iter().map(input).collect() }
    }

    /// What a compilation with this flag was, whose inputs all have the same value.
    fn snapshot(manifest: &Manifest, flag: &str, value: u8) -> Snapshot {
        let of = |kind| manifest.inputs.iter().filter(move |input| input.kind == kind);
        let variables = of(InputKind::Variable).count();
        Snapshot {
            unit: UnitKey(Digest([0; 32])),
            manifest: manifest.checksum(),
            parts: vec![part(b"argument --cfg".to_vec(), flag.as_bytes().to_vec())],
            digests: vec![[value; 4]; manifest.inputs.len() - variables],
            texts: vec![vec![b'0' + value]; variables],
        }
    }

    #[test]
    fn each_kind_of_input_is_named_with_its_old_and_its_new_value() {
        let manifest = manifest(&[
            (InputKind::File, Some(Root::Workspace), "src/lib.rs"),
            (InputKind::Variable, None, "PROFILE"),
            (InputKind::Program, None, "cc"),
            (InputKind::DependencyMetadata, Some(Root::Build), "deps/liba-0123456789abcdef"),
        ]);
        let (old, new) = (snapshot(&manifest, "a", 1), snapshot(&manifest, "b", 2));
        let values = "01010101 -> 02020202";
        let expected = [
            "argument --cfg: a -> b",
            &format!("file <workspace>/src/lib.rs: {values}"),
            "variable PROFILE: 1 -> 2",
            &format!("program cc: {values}"),
            &format!("dependency (metadata) <build>/deps/liba-0123456789abcdef: {values}"),
        ];
        assert_eq!(explain((&old, Some(&manifest)), (&new, &manifest)), expected);
    }

    #[test]
    fn inputs_that_come_and_go_are_named() {
        let (old, new) = (
            manifest(&[(InputKind::File, None, "/a"), (InputKind::File, None, "/b")]),
            manifest(&[(InputKind::File, None, "/b"), (InputKind::Listing, None, "/c")]),
        );
        let snapshots = (snapshot(&old, "a", 1), snapshot(&new, "a", 1));
        let expected = ["directory /c: new (01010101)", "file /a: gone (was 01010101)"];
        assert_eq!(explain((&snapshots.0, Some(&old)), (&snapshots.1, &new)), expected);
    }

    #[test]
    fn what_differs_in_the_arguments_is_told_when_the_names_of_the_inputs_are_gone() {
        let manifest = manifest(&[(InputKind::File, Some(Root::Workspace), "src/lib.rs")]);
        let (old, new) = (snapshot(&manifest, "a", 1), snapshot(&manifest, "b", 2));
        let expected =
            ["argument --cfg: a -> b", "what the last compilation read is no longer known"];
        assert_eq!(explain((&old, None), (&new, &manifest)), expected);
    }
}
