//! Why a compilation was needed: its components against those of the crate's last one.
//!
//! Each stored compilation leaves a snapshot of its components under the name of its crate, and a
//! miss notes in its event what differed from the snapshot before. `why-miss` shows that note.

use std::collections::HashMap;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use store_format::snapshot::{SNAPSHOT_PARTS_MAX, SNAPSHOT_TEXT_BYTES_MAX};
use store_format::{Digest, Input, InputKind, Manifest, Root, RootedPath, Snapshot, SnapshotPart};

use crate::account::kind_of;
use crate::index::Kind;
use crate::inputs::{Inputs, finish, frame};
use crate::invocation::Invocation;
use crate::key::{Component, Part};
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
    before.map(|before| differences(&before, &snapshot)).unwrap_or_default()
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
            _ => short(value),
        };
        parts.push(part(label, shown));
    }
    for input in &manifest.inputs {
        let value = match input.kind {
            InputKind::Variable => std::env::var_os(std::ffi::OsStr::from_bytes(&input.name.path))
                .map_or(b"unset".to_vec(), |value| {
                    readable(&session.roots.template(value.as_bytes()))
                }),
            _ => values.value(input).map_or_else(Vec::new, |value| short(&value.0)),
        };
        parts.push(part(label(input), value));
        if input.kind == InputKind::AllVariables {
            parts.extend(environment(values));
        }
    }
    parts.truncate(SNAPSHOT_PARTS_MAX);
    Snapshot { parts }
}

/// Each variable of an environment that counts as a whole, by a digest: secrets are among them, and
/// nobody may have read them.
fn environment(values: &Inputs) -> impl Iterator<Item = SnapshotPart> {
    values.each_variable().into_iter().map(|(name, value)| {
        let name = RootedPath { root: None, path: name.into_vec() };
        part(label(&Input { kind: InputKind::Variable, name }), short(&value.0))
    })
}

fn part(mut label: Vec<u8>, value: Vec<u8>) -> SnapshotPart {
    label.truncate(SNAPSHOT_TEXT_BYTES_MAX);
    SnapshotPart { label, value }
}

/// A value as it is shown: short text as it is, anything else by its digest. Markers of roots become
/// their names.
fn readable(value: &[u8]) -> Vec<u8> {
    let text: Vec<u8> = value.iter().map(|&byte| if byte < b' ' { b' ' } else { byte }).collect();
    if text.len() <= VALUE_BYTES_MAX {
        return text;
    }
    let mut cut = text[..VALUE_BYTES_MAX].to_vec();
    cut.extend_from_slice(b"... ");
    cut.extend(short(blake3::hash(value).as_bytes()));
    cut
}

fn short(value: &[u8]) -> Vec<u8> {
    value.iter().take(6).flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()
}

fn label(input: &Input) -> Vec<u8> {
    let kind = match input.kind {
        InputKind::File => "file",
        InputKind::Listing => "directory",
        InputKind::Presence => "presence of",
        InputKind::Variable => "variable",
        InputKind::AllVariables => "the environment as a whole",
        InputKind::Program => "program",
        InputKind::DependencyMetadata => "dependency (metadata)",
        InputKind::DependencyLibrary => "dependency (library)",
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

fn differences(before: &Snapshot, now: &Snapshot) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut old: HashMap<(&[u8], usize), &[u8]> = HashMap::new();
    numbered(before, |key, value| {
        old.insert(key, value);
    });
    let mut lines = Vec::new();
    numbered(now, |key, value| match old.remove(&key) {
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

/// Walks the parts with each label's occurrence number, so that arguments pair up in order.
fn numbered<'a>(snapshot: &'a Snapshot, mut each: impl FnMut((&'a [u8], usize), &'a [u8])) {
    let mut seen: HashMap<&[u8], usize> = HashMap::new();
    for part in &snapshot.parts {
        let number = seen.entry(&part.label).or_default();
        each((&part.label, *number), &part.value);
        *number += 1;
    }
}
