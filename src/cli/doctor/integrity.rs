//! Whether the store can give back what the index promises.

use super::Line;
use crate::cli::progress::Progress;
use crate::cli::{human, inventory};
use crate::fs::{self, FsError};
use crate::index::{Entry, Index};
use crate::inputs::digest_of_file;
use anyhow::{Context, Result};
use std::collections::HashMap;
use std::collections::hash_map::Entry::Vacant;
use std::path::{Path, PathBuf};
use store_format::{ActionKey, Digest, Kind, Output, ResultRecord};

/// Blobs up to this size are read many at a time, since most of them are not in memory.
const SMALL_BYTES_MAX: u64 = 256 << 10;
/// Results that are looked at together.
const GROUP: usize = 64;

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
    let mut entries = index.entries_of(&[Kind::Result]).peekable();
    while entries.peek().is_some() {
        let group: Vec<Entry> = entries.by_ref().take(GROUP).collect();
        results += group.len() as u64;
        progress.say(format!("verifying result {}", human::count(results)));
        let decoded = group.into_iter().map(|entry| {
            let result = ResultRecord::decode(ActionKey(entry.key), &entry.payload);
            (entry.kind, entry.key, result)
        });
        let decoded: Vec<_> = decoded.collect();
        let sound = decoded.iter().filter_map(|(.., result)| result.as_ref().ok());
        inspect(sound.flat_map(ResultRecord::blobs), cache_dir, depth, &mut blobs)
            .context("verify a blob")?;
        for (kind, key, result) in decoded {
            let damage = match result {
                Ok(result) => damage_of(&result, &blobs),
                Err(error) => Some(format!("result {key}: {error}")),
            };
            let Some(damage) = damage else { continue };
            if repair && index.remove(kind, &key) {
                lines.push(Line::Fixed(format!("{damage}: its result is removed")));
            } else {
                let option = if depth == Depth::Contents { "--checksums " } else { "" };
                let remedy = format!("`kache doctor {option}--repair` removes it");
                lines.push(Line::Finding(damage, remedy));
            }
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

/// What keeps a result from being restored.
fn damage_of(result: &ResultRecord, blobs: &HashMap<Digest, Option<Damage>>) -> Option<String> {
    let outputs = result.blobs().into_iter();
    let mut damaged = outputs.filter_map(|output| Some((output, (*blobs.get(&output.blob)?)?)));
    let (output, damage) = damaged.next()?;
    let crate_name = String::from_utf8_lossy(&result.crate_name);
    let name = String::from_utf8_lossy(&output.name);
    let what = match damage {
        Damage::Missing => "is missing from the store",
        Damage::Size => "has another size than it was stored with",
        Damage::Content => "has another content than it was stored with",
    };
    Some(format!("{crate_name}: {name} {what}"))
}

/// Adds what is known of the outputs' blobs, all of them, so that a repair removes each one that is
/// damaged; one that several results have is looked at once.
fn inspect<'a>(
    outputs: impl Iterator<Item = &'a Output>,
    cache_dir: &Path,
    depth: Depth,
    blobs: &mut HashMap<Digest, Option<Damage>>,
) -> Result<(), FsError> {
    let (mut small, mut paths) = (Vec::new(), Vec::new());
    for output in outputs {
        let Vacant(blob) = blobs.entry(output.blob) else { continue };
        let path = blob_path(cache_dir, &output.blob);
        let mut damage = damage_of_size(&path, output.size_bytes)?;
        if damage.is_none() && depth == Depth::Contents {
            if output.size_bytes <= SMALL_BYTES_MAX {
                small.push(output.blob);
                paths.push(path);
            } else {
                damage = damage_of_content(digest_of_file(&path, output.size_bytes)?, output.blob);
            }
        }
        blob.insert(damage);
    }
    for (blob, content) in small.into_iter().zip(fs::read_all(&paths)) {
        blobs.insert(blob, damage_of_content(Digest(*blake3::hash(&content?).as_bytes()), blob));
    }
    Ok(())
}

fn damage_of_size(path: &Path, size_bytes: u64) -> Result<Option<Damage>, FsError> {
    match fs::stat(path) {
        Err(error) if error.is_absent() => Ok(Some(Damage::Missing)),
        stat => Ok((stat?.size_bytes != size_bytes).then_some(Damage::Size)),
    }
}

fn damage_of_content(found: Digest, blob: Digest) -> Option<Damage> {
    (found != blob).then_some(Damage::Content)
}

fn blob_path(cache_dir: &Path, digest: &Digest) -> PathBuf {
    let name = digest.to_string();
    cache_dir.join("blobs").join(&name[..2]).join(name)
}
