//! What the store holds, read from the index.

use super::output::Console;
use crate::index::{Entries, Entry, Index};
use crate::parallel;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::path::Path;
use store_format::{ActionKey, Kind, ResultView};

/// One result of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Item<'a> {
    pub(super) action: ActionKey,
    pub(super) crate_name: &'a [u8],
    pub(super) outputs: u64,
    pub(super) size_bytes: u64,
    /// What it cost to produce.
    pub(super) cost_us: u64,
    /// Seconds since 1970.
    pub(super) created_s: u64,
}

/// What the results come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Inventory {
    pub(super) results: u64,
    /// Of the blobs, each once.
    pub(super) blob_bytes: u64,
    pub(super) blobs: u64,
    /// What they take on the disk, as far as it was counted: what the cap is about.
    pub(super) allocated_bytes: u64,
}

impl Inventory {
    /// Reads the index of a cache directory. A store that does not exist is empty, and is not made.
    pub(super) fn read(cache_dir: &Path) -> Result<Self> {
        let Some(index) = open(cache_dir)? else { return Ok(Self::default()) };
        let [first, second] = halves(&index, Part::read);
        let mut blobs = [first.blobs, second.blobs].concat();
        // A stable sort finds that both are in order, and merges them.
        blobs.sort_by_key(|(prefix, _)| *prefix);
        blobs.dedup_by_key(|(prefix, _)| *prefix);
        Ok(Self {
            results: first.results + second.results,
            blob_bytes: blobs.iter().map(|(_, size_bytes)| size_bytes).sum(),
            blobs: blobs.len() as u64,
            allocated_bytes: index.stored_bytes(),
        })
    }
}

/// Prefix and size of a blob. 64 bits stand for a digest: they make a sum for people to read.
type Blob = (u64, u64);

/// The results of a part of the index.
#[derive(Debug, Default)]
struct Part {
    results: u64,
    /// In order, each once.
    blobs: Vec<Blob>,
}

impl Part {
    fn read(entries: Entries) -> Self {
        let mut part = Self::default();
        for entry in entries {
            let known = part.blobs.len();
            let decoded = ResultView::decode(&entry.payload, |output| {
                if let Some(blob) = output.blob {
                    part.blobs.push((blob.digest.prefix(), output.size_bytes));
                }
            });
            // What another version wrote is not counted.
            match decoded {
                Ok(_) => part.results += 1,
                Err(_) => part.blobs.truncate(known),
            }
        }
        part.blobs.sort_unstable();
        part.blobs.dedup_by_key(|(prefix, _)| *prefix);
        part
    }
}

/// Takes every result into a collection, without a look at the blobs; two threads fill a collection each.
pub(super) fn collect<T: Default + Send>(
    cache_dir: &Path,
    add: impl Fn(&mut T, Item<'_>) + Sync,
) -> Result<[T; 2]> {
    let Some(index) = open(cache_dir)? else { return Ok(Default::default()) };
    Ok(halves(&index, |entries| {
        let mut collection = T::default();
        for Entry { key, payload, .. } in entries {
            let (mut outputs, mut size_bytes) = (0, 0);
            let decoded = ResultView::decode(&payload, |output| {
                outputs += 1;
                size_bytes += output.size_bytes;
            });
            // What another version wrote is not for this one to list.
            let Ok(result) = decoded else { continue };
            let item = Item {
                action: ActionKey(key),
                crate_name: result.crate_name,
                outputs,
                size_bytes,
                cost_us: result.cost_us,
                created_s: result.created_s,
            };
            add(&mut collection, item);
        }
        collection
    }))
}

/// What `read` makes of both halves of the results, read at the same time.
fn halves<T: Send>(index: &Index, read: impl Fn(Entries) -> T + Sync) -> [T; 2] {
    let [first, second] = index.halves_of(&[Kind::Result]);
    let (second, first) = parallel::both(|| read(second), || read(first));
    [first, second]
}

/// The index of a cache directory, if there is one.
fn open(cache_dir: &Path) -> Result<Option<Index>> {
    if !exists(cache_dir)? {
        return Ok(None);
    }
    Index::open(cache_dir).context("open the index").map(Some)
}

/// Names the crate of the store that was probably meant.
pub(super) fn suggest(name: &str, cache_dir: &Path, console: &Console) -> Result<()> {
    let known = collect(cache_dir, |names: &mut BTreeSet<String>, item| {
        let name = String::from_utf8_lossy(item.crate_name);
        if !names.contains(&*name) {
            names.insert(name.into_owned());
        }
    })?;
    console.suggest(name, known.iter().flatten());
    Ok(())
}

/// Whether a cache directory has an index.
pub(super) fn exists(cache_dir: &Path) -> Result<bool> {
    let index = cache_dir.join("index");
    index.try_exists().with_context(|| format!("look for {}", index.display()))
}
