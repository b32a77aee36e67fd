//! Which build is which, and what a build used.

use std::collections::HashSet;
use std::path::Path;

use store_format::{
    ActionKey, BuildAction, BuildList, Digest, Event, Kind, ManifestList, ResultRecord, UnitKey,
};

use super::error::LocalError;
use crate::events;
use crate::inputs::{finish, frame};
use crate::store::Store;

/// What two machines that build the same have in common before they compile anything: the bytes
/// of `Cargo.lock`, what the compiler is presumed to be, and `key_salt`.
pub fn identity(lockfile: &[u8], compiler: &[u8], key_salt: Option<&str>) -> Digest {
    digest("build", &[lockfile, compiler, key_salt.unwrap_or_default().as_bytes()])
}

/// The identity of a build that was given a name.
pub fn named_identity(key: &str, namespace: &str) -> Digest {
    digest("named build", &[key.as_bytes(), namespace.as_bytes()])
}

/// Which of the builds of an identity; both are empty for all that was built in a workspace.
pub fn selection(profile: &str, target: &str) -> Digest {
    digest("selection", &[profile.as_bytes(), target.as_bytes()])
}

fn digest(what: &str, parts: &[&[u8]]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"kache ");
    hasher.update(what.as_bytes());
    hasher.update(b"\0");
    for part in parts {
        frame(&mut hasher, part);
    }
    finish(&hasher)
}

/// What one Cargo process used, as far as it is in the store still. Process numbers come again: only
/// what started since `since_ms` (milliseconds since 1970) counts.
pub fn list_of_build(
    store: &Store,
    cargo_pid: u32,
    since_ms: u64,
) -> Result<BuildList, LocalError> {
    let mut events = events::read(&store.directory, since_ms)?;
    events.retain(|event| event.cargo_pid == cargo_pid);
    Ok(list_of(store, events))
}

/// What the Cargo processes that built something below a directory used.
pub fn list_of_workspace(
    store: &Store,
    workspace: &Path,
    since_ms: u64,
) -> Result<BuildList, LocalError> {
    let mut events = events::read(&store.directory, since_ms)?;
    let here = |event: &&Event| Path::new(&event.workspace).starts_with(workspace);
    let processes: HashSet<u32> = events.iter().filter(here).map(|event| event.cargo_pid).collect();
    events.retain(|event| processes.contains(&event.cargo_pid));
    Ok(list_of(store, events))
}

/// Cargo starts a unit when those that it depends on are done: the order of the starts will do.
fn list_of(store: &Store, mut events: Vec<Event>) -> BuildList {
    events.sort_by_key(|event| event.started_ms);
    let mut known = HashSet::new();
    let actions = events.iter().filter_map(|event| Some((event.unit?, event.action?)));
    let fresh = actions.filter(|(_, action)| known.insert(*action));
    let actions = fresh.filter_map(|(unit, action)| build_action(store, unit, action));
    BuildList { actions: actions.collect() }
}

/// What is known of an action; `None` if its result is not in the store.
pub fn build_action(store: &Store, unit: UnitKey, action: ActionKey) -> Option<BuildAction> {
    let result = store.index.get(Kind::Result, &action.0)?;
    let result = ResultRecord::decode(action, &result).ok()?;
    let manifests = ManifestList::decode(&store.index.get(Kind::Manifests, &unit.0)?).ok()?;
    let size_bytes = result.outputs.iter().map(|output| output.size_bytes).sum();
    Some(BuildAction { unit, action, manifests, size_bytes, cost_us: result.cost_us })
}
