//! Whether the store can give back what the index promises.

use super::Line;
use crate::cli::progress::Progress;
use crate::cli::{human, inventory};
use crate::fs::{self, FsError};
use crate::index::{Entry, Index};
use anyhow::{Context, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use store_format::{ActionKey, Digest, Kind, Output, ResultRecord};

/// Bytes of a blob that are hashed at a time.
const WINDOW_BYTES: usize = 1 << 20;

/// How closely blobs are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    Sizes,
    Contents,
}

/// What is wrong with a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    Missing,
    Size,
    Content,
}

/// Checks every result of the store, and removes those that cannot be restored if asked to.
pub(super) fn check(
    cache_dir: &Path,
    depth: Depth,
    repair: bool,
    progress: &Progress,
) -> Result<Vec<Line>> {
    if !inventory::exists(cache_dir)? {
        return Ok(vec![Line::Fine("there is no store to verify".to_owned())]);
    }
    progress.say("looking at the store");
    let index = Index::open(cache_dir).context("open the index")?;
    let mut blobs = HashMap::new();
    let mut results = 0;
    let mut lines = Vec::new();
    for Entry { kind, key, payload, .. } in index.entries_of(&[Kind::Result]) {
        results += 1;
        progress.say(format!("verifying result {}", human::count(results)));
        let damage = match ResultRecord::decode(ActionKey(key), &payload) {
            Ok(result) => damage_of(&result, cache_dir, depth, &mut blobs)?,
            Err(error) => Some(format!("result {key}: {error}")),
        };
        let Some(damage) = damage else { continue };
        if repair && index.remove(kind, &key) {
            lines.push(Line::Fixed(format!("{damage}: its result is removed")));
        } else {
            lines.push(Line::Finding(damage, "`kache doctor --repair` removes it".to_owned()));
        }
    }
    if repair {
        let damaged = blobs
            .iter()
            .filter(|(_, damage)| matches!(damage, Some(Damage::Content | Damage::Size)));
        for (digest, _) in damaged {
            fs::remove_if_present(&blob_path(cache_dir, digest)).context("remove a blob")?;
        }
    }
    if lines.is_empty() {
        let what = if depth == Depth::Contents { "with their contents" } else { "by their sizes" };
        lines.push(Line::Fine(format!(
            "{} and {} verified {what}",
            human::plural(results, "result", "results"),
            human::plural(blobs.len() as u64, "file", "files"),
        )));
    }
    Ok(lines)
}

/// What keeps a result from being restored, the first of it; a blob that several results have is
/// checked once.
fn damage_of(
    result: &ResultRecord,
    cache_dir: &Path,
    depth: Depth,
    blobs: &mut HashMap<Digest, Option<Damage>>,
) -> Result<Option<String>> {
    let mut first = None;
    // All of them, so that a repair removes each one that is damaged.
    for output in result.outputs.iter().filter(|output| output.has_blob()) {
        let known = blobs.get(&output.blob).copied();
        let damage = if let Some(damage) = known {
            damage
        } else {
            let path = blob_path(cache_dir, &output.blob);
            let damage = inspect(&path, output, depth).context("verify a blob")?;
            blobs.insert(output.blob, damage);
            damage
        };
        if first.is_none() {
            first = damage.map(|damage| (output, damage));
        }
    }
    Ok(first.map(|(output, damage)| {
        let crate_name = String::from_utf8_lossy(&result.crate_name);
        let name = String::from_utf8_lossy(&output.name);
        let what = match damage {
            Damage::Missing => "is missing from the store",
            Damage::Size => "has another size than it was stored with",
            Damage::Content => "has another content than it was stored with",
        };
        format!("{crate_name}: {name} {what}")
    }))
}

fn inspect(path: &Path, output: &Output, depth: Depth) -> Result<Option<Damage>, FsError> {
    let stat = match fs::stat(path) {
        Err(error) if error.is_absent() => return Ok(Some(Damage::Missing)),
        stat => stat?,
    };
    if stat.size_bytes != output.size_bytes {
        return Ok(Some(Damage::Size));
    }
    if depth == Depth::Sizes {
        return Ok(None);
    }
    let mut hasher = blake3::Hasher::new();
    fs::read_in_windows(path, WINDOW_BYTES, |bytes| {
        hasher.update(bytes);
        bytes.clear();
    })?;
    let sound = Digest(*hasher.finalize().as_bytes()) == output.blob;
    Ok((!sound).then_some(Damage::Content))
}

fn blob_path(cache_dir: &Path, digest: &Digest) -> PathBuf {
    let name = digest.to_string();
    cache_dir.join("blobs").join(&name[..2]).join(name)
}
