//! Which build is which, and what a build used.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use store_format::{
    ActionKey, BuildAction, BuildList, Digest, Event, Kind, ManifestList, ResultRecord, UnitKey,
};
use toml_edit::{DocumentMut, Item, Value};

use super::error::LocalError;
use crate::events;
use crate::inputs::{finish, frame};
use crate::runs::Runs;
use crate::store::Store;

/// What two machines that build the same have in common before they compile anything: the bytes
/// of `Cargo.lock`, what the compiler is presumed to be, and `key_salt`.
pub fn identity(lockfile: &[u8], compiler: &[u8], key_salt: Option<&str>) -> Digest {
    digest("build", &[lockfile, compiler, key_salt.unwrap_or_default().as_bytes()])
}

/// What builds of a project have in common whatever the versions of its dependencies: the names of its
/// own packages and of what they depend on, as the lockfile has them. `None` if it has none.
pub fn project_identity(
    lockfile: &[u8],
    compiler: &[u8],
    key_salt: Option<&str>,
) -> Option<Digest> {
    let lockfile: DocumentMut = str::from_utf8(lockfile).ok()?.parse().ok()?;
    let packages = lockfile.get("package")?.as_array_of_tables()?;
    let mut names = BTreeSet::new();
    // What comes from elsewhere has a source.
    for package in packages.iter().filter(|package| !package.contains_key("source")) {
        names.insert(package.get("name")?.as_str()?);
        let dependencies = package.get("dependencies").and_then(Item::as_array);
        // `name`, or `name version` where there are several.
        let words = dependencies.into_iter().flatten().filter_map(Value::as_str);
        names.extend(words.filter_map(|words| words.split(' ').next()));
    }
    if names.is_empty() {
        return None;
    }
    let names: Vec<&str> = names.into_iter().collect();
    let salt = key_salt.unwrap_or_default();
    Some(digest("project", &[names.join(" ").as_bytes(), compiler, salt.as_bytes()]))
}

/// The identity of a build that was given a name.
pub fn named_identity(key: &str, namespace: &str) -> Digest {
    digest("named build", &[key.as_bytes(), namespace.as_bytes()])
}

/// Which of the builds of an identity.
pub fn selection(profile: &str, target: &str) -> Digest {
    digest("selection", &[profile.as_bytes(), target.as_bytes()])
}

/// All that was built in a workspace.
pub fn all_builds() -> Digest {
    selection("", "")
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
    events.sort_by_key(|event| event.started_ms);
    Ok(list_of(store, of_workspace(events, workspace)))
}

/// Those of the runs of Cargo that built something below a directory.
fn of_workspace(events: Vec<Event>, workspace: &Path) -> Vec<Event> {
    let mut runs = Runs::default();
    let numbers: Vec<usize> = events.iter().map(|event| runs.run_of(event)).collect();
    let here = |event: &Event| Path::new(&event.workspace).starts_with(workspace);
    let of_here = events.iter().zip(&numbers).filter(|(event, _)| here(event));
    let of_here: HashSet<usize> = of_here.map(|(_, number)| *number).collect();
    let wanted = events.into_iter().zip(numbers).filter(|(_, number)| of_here.contains(number));
    wanted.map(|(event, _)| event).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use store_format::EventOutcome;

    const LOCKFILE: &str = r#"
        version = 4
        [[package]]
        name = "app"
        version = "1.0.0"
        dependencies = ["own", "serde 1.0.1"]
        [[package]]
        name = "own"
        version = "0.1.0"
        [[package]]
        name = "serde"
        version = "1.0.1"
        source = "registry+https://github.com/rust-lang/crates.io-index"
        dependencies = ["serde_core"]
    "#;

    /// As they are in containers that share a store.
    #[test]
    fn what_another_project_used_under_the_same_process_number_is_not_ones_own() {
        let event = |workspace: &str, name: &str| Event {
            cargo_pid: 7,
            workspace: workspace.to_owned(),
            crate_name: name.to_owned(),
            outcome: EventOutcome::Miss,
            ..Event::default()
        };
        let asks = || Event { outcome: EventOutcome::Passthrough, ..event("", "") };
        let events = vec![
            asks(),
            event("/registry/src/serde", "serde"),
            event("/ours", "app"),
            asks(),
            event("/registry/src/secret", "secret"),
            event("/theirs", "app"),
        ];
        let used = of_workspace(events, Path::new("/ours"));
        let names: Vec<&str> = used.iter().map(|event| event.crate_name.as_str()).collect();
        assert_eq!(names, ["", "serde", "app"]);
    }

    #[test]
    fn a_project_stays_the_same_with_other_versions_and_not_with_other_names() {
        let of = |lockfile: &str| project_identity(lockfile.as_bytes(), b"rustc", None);
        let own = of(LOCKFILE).unwrap();
        for (from, to) in [("1.0.1", "1.0.2"), ("serde_core", "other"), ("1.0.0", "2.0.0")] {
            assert_eq!(of(&LOCKFILE.replace(from, to)), Some(own), "{from} {to}");
        }
        for (from, to) in [("\"app", "\"apt"), ("\"own", "\"owl"), ("\"serde 1", "\"serdo 1")] {
            assert_ne!(of(&LOCKFILE.replace(from, to)), Some(own), "{from} {to}");
        }
        assert_ne!(project_identity(LOCKFILE.as_bytes(), b"other", None), Some(own));
        assert_ne!(project_identity(LOCKFILE.as_bytes(), b"rustc", Some("salt")), Some(own));
        for lockfile in ["", "version = 4", "package = 1", "[[package]]", "\0"] {
            assert_eq!(of(lockfile), None, "{lockfile:?}");
        }
    }
}
