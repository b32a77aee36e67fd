//! What the store holds, read from the index.

use super::output::Console;
use crate::config::nearest;
use crate::index::{Entries, Entry, Index};
use anyhow::{Context, Result};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::path::Path;
use store_format::{ActionKey, Kind, ResultView};

/// One result of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) action: ActionKey,
    pub(super) crate_name: String,
    pub(super) outputs: u64,
    pub(super) size_bytes: u64,
    /// What it cost to produce.
    pub(super) cost_us: u64,
    /// Seconds since 1970.
    pub(super) created_s: u64,
}

/// Every result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Inventory {
    pub(super) items: Vec<Item>,
    /// Of the blobs, each once.
    pub(super) blob_bytes: u64,
    pub(super) blobs: u64,
}

/// Every result, without a look at the blobs.
pub(super) fn items(cache_dir: &Path) -> Result<Vec<Item>> {
    let [first, second] = Part::both(cache_dir, Shown::Items)?;
    let mut items = first.items;
    items.extend(second.items);
    Ok(items)
}

/// What of the index is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Items,
    ItemsAndBlobs,
}

/// The results of a part of the index, and their blobs by prefix and size.
#[derive(Debug, Default)]
struct Part {
    items: Vec<Item>,
    blobs: Vec<(u64, u64)>,
}

impl Inventory {
    /// Reads the index of a cache directory. A store that does not exist is empty, and is not made.
    pub(super) fn read(cache_dir: &Path) -> Result<Self> {
        let parts = Part::both(cache_dir, Shown::ItemsAndBlobs)?;
        let mut inventory = Self::default();
        // Prefixes of 64 bits stand for the digests: this is a sum for people to read.
        let mut seen: HashSet<u64, BuildHasherDefault<PrefixHasher>> = HashSet::default();
        seen.reserve(parts.iter().map(|part| part.blobs.len()).sum());
        for part in parts {
            for (prefix, size_bytes) in part.blobs {
                if seen.insert(prefix) {
                    inventory.blob_bytes += size_bytes;
                }
            }
            inventory.items.extend(part.items);
        }
        inventory.blobs = seen.len() as u64;
        Ok(inventory)
    }
}

impl Part {
    /// Both halves of the index, read at the same time.
    fn both(cache_dir: &Path, shown: Shown) -> Result<[Self; 2]> {
        if !exists(cache_dir)? {
            return Ok(Default::default());
        }
        let index = Index::open(cache_dir).context("open the index")?;
        let [first, second] = index.halves_of(&[Kind::Result]);
        Ok(std::thread::scope(|scope| {
            let second = scope.spawn(move || Self::read(second, shown));
            let first = Self::read(first, shown);
            [first, second.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))]
        }))
    }

    fn read(entries: Entries, shown: Shown) -> Self {
        let mut part = Self::default();
        for Entry { key, payload, .. } in entries {
            let (mut outputs, mut size_bytes) = (0, 0);
            let known = part.blobs.len();
            let result = ResultView::decode(&payload, |output| {
                outputs += 1;
                size_bytes += output.size_bytes;
                if let Some(blob) = output.blob
                    && shown == Shown::ItemsAndBlobs
                {
                    part.blobs.push((blob.digest.prefix(), output.size_bytes));
                }
            });
            // What another version wrote is not for this one to list.
            let Ok(result) = result else {
                part.blobs.truncate(known);
                continue;
            };
            part.items.push(Item {
                action: ActionKey(key),
                crate_name: String::from_utf8_lossy(result.crate_name).into_owned(),
                outputs,
                size_bytes,
                cost_us: result.cost_us,
                created_s: result.created_s,
            });
        }
        part
    }
}

/// Names the crate of the store that was probably meant.
pub(super) fn suggest(name: &str, items: &[Item], console: &Console) {
    let known = items.iter().map(|item| item.crate_name.as_str());
    if let Some(known) = nearest(name, known) {
        console.hint(&format!("did you mean `{known}`?"));
    }
}

/// Whether a cache directory has an index.
pub(super) fn exists(cache_dir: &Path) -> Result<bool> {
    let index = cache_dir.join("index");
    index.try_exists().with_context(|| format!("look for {}", index.display()))
}

/// Digests are uniformly distributed as they are: their first bytes are the hash.
#[derive(Debug, Default)]
pub(super) struct PrefixHasher(u64);

impl Hasher for PrefixHasher {
    fn write(&mut self, _bytes: &[u8]) {}

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A map by prefix of a digest: for numbers that people read, 64 bits stand for it.
pub(super) type ByPrefix<T> = HashMap<u64, T, BuildHasherDefault<PrefixHasher>>;
