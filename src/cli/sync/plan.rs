//! What is to be transferred.

use crate::cli::workspace::{Workspace, since_ms};
use crate::events;
use crate::queue::Queue;
use crate::remote::Remote;
use crate::remote::build::all_builds;
use crate::store::Store;
use anyhow::Result;
use std::collections::HashSet;
use store_format::{
    ActionKey, BuildAction, BuildList, EventOutcome, Kind, ManifestList, ResultRecord, UnitKey,
};

/// One result.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) action: ActionKey,
    /// `None` until the result says it.
    pub(super) unit: Option<UnitKey>,
    /// What leads to it; `None` if the remote has to be asked.
    pub(super) manifests: Option<ManifestList>,
    /// As far as it is known.
    pub(super) size_bytes: u64,
}

/// Results, each after those that it depends on.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) items: Vec<Item>,
    /// What the builds used, if the remote does not know that yet.
    pub(super) list: Option<BuildList>,
}

impl Plan {
    /// What the remote has for a workspace (or at all), and the store has not.
    pub(super) async fn of_pull(
        remote: &Remote,
        store: &Store,
        workspace: Option<&Workspace>,
    ) -> Result<Self> {
        let mut items = Vec::new();
        if let Some(workspace) = workspace {
            for action in used_elsewhere(remote, workspace).await? {
                if is_stored(store, action.action) {
                    crate::remote::adopt_manifests(store, &action.unit, &action.manifests)?;
                    continue;
                }
                items.push(Item {
                    action: action.action,
                    unit: Some(action.unit),
                    manifests: Some(action.manifests),
                    size_bytes: action.size_bytes,
                });
            }
        } else {
            let all = remote.results().await?.into_iter();
            let missing = all.filter(|(action, _)| !is_stored(store, *action));
            items.extend(missing.map(|(action, size_bytes)| Item {
                action,
                unit: None,
                manifests: None,
                size_bytes,
            }));
        }
        Ok(Self { items, list: None })
    }

    /// What the store has of a workspace (or at all), and the remote has not, as far as that is known,
    /// and what waits in the queue.
    pub(super) async fn of_push(
        remote: &Remote,
        store: &Store,
        queue: &Queue,
        workspace: Option<&Workspace>,
    ) -> Result<Self> {
        let mut plan = match workspace {
            Some(workspace) => Self::of_used(remote, store, workspace).await?,
            None => Self::of_all(remote, store).await?,
        };
        let planned = plan.items.iter().map(|item| (item.unit, item.action));
        let planned: HashSet<_> = planned.collect();
        let queued = queue.entries()?.into_iter();
        let others = queued.filter(|entry| !planned.contains(&(Some(entry.unit), entry.action)));
        plan.items.extend(others.map(|entry| {
            let size_bytes = result(store, entry.action).as_ref().map_or(0, size_bytes);
            item(entry.action, entry.unit, size_bytes)
        }));
        Ok(plan)
    }

    /// What was made here may have been lost there meanwhile; all else that any list names is there.
    async fn of_used(remote: &Remote, store: &Store, workspace: &Workspace) -> Result<Self> {
        let lists = remote.builds(&workspace.identity).await?;
        let actions = lists.iter().flat_map(|(_, list)| &list.actions);
        let there: HashSet<ActionKey> = actions.map(|used| used.action).collect();
        let known = lists.into_iter().find(|(selection, _)| *selection == all_builds());
        let known = known.map(|(_, known)| known).unwrap_or_default();
        let listed: HashSet<ActionKey> = known.actions.iter().map(|used| used.action).collect();
        let made = made_here(store)?;
        let used = workspace.used(store)?;
        let is_wanted =
            |used: &&BuildAction| made.contains(&used.action) || !there.contains(&used.action);
        let items = used.actions.iter().filter(is_wanted);
        let items = items.map(|used| item(used.action, used.unit, used.size_bytes)).collect();
        let is_news = !used.actions.iter().all(|used| listed.contains(&used.action));
        Ok(Self { items, list: is_news.then(|| used.merged_with(known)) })
    }

    async fn of_all(remote: &Remote, store: &Store) -> Result<Self> {
        let there = remote.results().await?.into_iter();
        let there: HashSet<ActionKey> = there.map(|(action, _)| action).collect();
        let results = store.index.entries_of(&[Kind::Result]);
        let results = results
            .filter_map(|entry| ResultRecord::decode(ActionKey(entry.key), &entry.payload).ok());
        let missing = results.filter(|result| !there.contains(&result.action));
        let items = missing.map(|result| item(result.action, result.unit, size_bytes(&result)));
        Ok(Self { items: items.collect(), list: None })
    }
}

fn item(action: ActionKey, unit: UnitKey, size_bytes: u64) -> Item {
    Item { action, unit: Some(unit), manifests: None, size_bytes }
}

/// What all lists of the workspace name, once.
async fn used_elsewhere(remote: &Remote, workspace: &Workspace) -> Result<Vec<BuildAction>> {
    let mut seen = HashSet::new();
    let actions = workspace.lists(remote).await?.into_iter().flat_map(|list| list.actions);
    Ok(actions.filter(|action| seen.insert(action.action)).collect())
}

fn result(store: &Store, action: ActionKey) -> Option<ResultRecord> {
    ResultRecord::decode(action, &store.index.get(Kind::Result, &action.0)?).ok()
}

fn is_stored(store: &Store, action: ActionKey) -> bool {
    result(store, action).is_some()
}

fn size_bytes(result: &ResultRecord) -> u64 {
    result.outputs.iter().map(|output| output.size_bytes).sum()
}

/// What was compiled on this machine of late.
fn made_here(store: &Store) -> Result<HashSet<ActionKey>> {
    let mut made = HashSet::new();
    events::visit(&store.directory, since_ms(), |event| {
        if matches!(event.outcome, EventOutcome::Miss | EventOutcome::Dup) {
            made.extend(event.action);
        }
    })?;
    Ok(made)
}
