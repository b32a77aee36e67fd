//! Keeping the store within its cap.
//!
//! Least value goes first, where value is the compile time that a result saves for each byte that
//! its eviction would really free, halved for every week since its last use. A blob that target
//! directories share frees nothing and so goes last. Eviction begins above the cap and ends at nine
//! tenths of it.
//!
//! Builds may go on meanwhile: a result leaves the index before its blobs leave the disk, and what a
//! build finds missing is a miss.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use store_format::{ActionKey, Digest, Kind, ResultRecord};

use crate::events::{self, EventsError};
use crate::fs::{self, FileKind, FsError};
use crate::index::{Index, IndexError};

/// Eviction ends when this share of the cap is used.
const LOW_WATER_PERCENT: u64 = 90;
/// The time in which a result that nobody uses loses half its value.
const HALF_LIFE_S: f64 = 7.0 * 24.0 * 3600.0;
/// What keeping track of a blob costs besides its content.
const BLOB_OVERHEAD_BYTES: u64 = 4096;
/// A blob that no result names may belong to one that is about to be published.
const ORPHAN_AGE_S: u64 = 3600;

/// Why the store could not be brought within its cap.
#[derive(Debug, thiserror::Error)]
pub enum EvictError {
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Events(#[from] EventsError),
    #[error(transparent)]
    Fs(#[from] FsError),
}

/// What eviction is to achieve.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub size_bytes_max: u64,
    /// Results unused for longer go in any case; zero is for ever.
    pub age_s_max: u64,
    /// Seconds since 1970.
    pub now_s: u64,
}

/// A result that is a candidate, and why it goes or stays.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    pub action: ActionKey,
    pub crate_name: String,
    pub cost_us: u64,
    /// Seconds since 1970.
    pub used_s: u64,
    pub blobs: Vec<Digest>,
}

/// One blob of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blob {
    /// A blob whose first file has as many links as the file system allows has several.
    pub files: Vec<PathBuf>,
    pub allocated_bytes: u64,
    /// Whether a target directory shares the inode.
    pub linked: bool,
    /// Seconds since 1970.
    pub changed_s: u64,
}

/// What the store holds, and for whom.
#[derive(Debug, Default)]
pub struct Holdings {
    pub candidates: Vec<Candidate>,
    pub blobs: HashMap<Digest, Blob>,
}

/// What eviction did, or would do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evicted {
    pub results: Vec<Candidate>,
    pub blobs: Vec<Digest>,
    pub size_bytes_before: u64,
    pub size_bytes_after: u64,
    /// What the file system got back.
    pub freed_bytes: u64,
}

impl Holdings {
    /// Reads index, event log and blobs.
    pub fn read(directory: &Path, index: &Index) -> Result<Self, EvictError> {
        let mut used: HashMap<ActionKey, u64> = HashMap::new();
        events::visit(directory, 0, |event| {
            if let Some(action) = event.action {
                let last = used.entry(action).or_default();
                *last = (*last).max(event.started_ms / 1000);
            }
        })?;
        let mut holdings = Self { candidates: Vec::new(), blobs: blobs(directory)? };
        for (kind, _, payload) in index.entries() {
            if kind != Kind::Result {
                continue;
            }
            let Ok(result) = ResultRecord::decode(&payload) else { continue };
            let last = used.get(&result.action).copied().unwrap_or(0);
            let stored = result.outputs.iter().filter(|output| output.inline.is_none());
            holdings.candidates.push(Candidate {
                action: result.action,
                crate_name: String::from_utf8_lossy(&result.crate_name).into_owned(),
                cost_us: result.cost_us,
                used_s: last.max(result.created_s),
                blobs: stored.map(|output| output.blob).collect(),
            });
        }
        Ok(holdings)
    }

    pub fn size_bytes(&self) -> u64 {
        self.blobs.values().map(|blob| blob.allocated_bytes).sum()
    }

    /// Decides what goes.
    pub fn plan(&self, limits: Limits) -> Evicted {
        let mut users: HashMap<Digest, usize> = HashMap::new();
        for digest in self.candidates.iter().flat_map(|candidate| &candidate.blobs) {
            *users.entry(*digest).or_default() += 1;
        }
        let before = self.size_bytes();
        let mut evicted = Evicted { size_bytes_before: before, ..Evicted::default() };
        let mut size_bytes = before;
        let mut drop_blob = |digest: &Digest, evicted: &mut Evicted| {
            let Some(blob) = self.blobs.get(digest) else { return };
            size_bytes -= blob.allocated_bytes;
            evicted.freed_bytes += if blob.linked { 0 } else { blob.allocated_bytes };
            evicted.size_bytes_after = size_bytes;
            evicted.blobs.push(*digest);
        };
        evicted.size_bytes_after = before;
        for (digest, blob) in &self.blobs {
            let old = blob.changed_s.saturating_add(ORPHAN_AGE_S) < limits.now_s;
            if old && !users.contains_key(digest) {
                drop_blob(digest, &mut evicted);
            }
        }
        let above = evicted.size_bytes_after > limits.size_bytes_max;
        let goal = limits.size_bytes_max / 100 * LOW_WATER_PERCENT;
        let mut order: Vec<&Candidate> = self.candidates.iter().collect();
        order.sort_by(|one, other| {
            self.value(one, limits.now_s).total_cmp(&self.value(other, limits.now_s))
        });
        for candidate in order {
            let age_s = limits.now_s.saturating_sub(candidate.used_s);
            let expired = limits.age_s_max > 0 && age_s > limits.age_s_max;
            let surplus = above && evicted.size_bytes_after > goal;
            if !expired && !surplus {
                continue;
            }
            for digest in &candidate.blobs {
                let users = users.entry(*digest).or_default();
                *users = users.saturating_sub(1);
                if *users == 0 {
                    drop_blob(digest, &mut evicted);
                }
            }
            evicted.results.push(candidate.clone());
        }
        evicted
    }

    /// Compile time saved for each byte that eviction would free, less with age.
    #[expect(clippy::cast_precision_loss, reason = "an order of magnitude decides")]
    fn value(&self, candidate: &Candidate, now_s: u64) -> f64 {
        let freed = candidate.blobs.iter().filter_map(|digest| self.blobs.get(digest));
        let freed: u64 = freed.filter(|blob| !blob.linked).map(|blob| blob.allocated_bytes).sum();
        let age_s = now_s.saturating_sub(candidate.used_s);
        let fresh = 0.5_f64.powf(age_s as f64 / HALF_LIFE_S);
        (candidate.cost_us as f64 + 1000.0) * fresh / (freed + BLOB_OVERHEAD_BYTES) as f64
    }
}

/// Carries a plan out.
pub fn evict(holdings: &Holdings, index: &Index, plan: &Evicted) -> Result<(), EvictError> {
    for result in &plan.results {
        index.remove(Kind::Result, &result.action.0);
    }
    // Read again: what a build has published meanwhile keeps its blobs.
    let mut needed = HashSet::new();
    for (kind, _, payload) in index.entries() {
        if kind == Kind::Result
            && let Ok(result) = ResultRecord::decode(&payload)
        {
            needed.extend(result.outputs.iter().map(|output| output.blob));
        }
    }
    for digest in plan.blobs.iter().filter(|digest| !needed.contains(digest)) {
        for file in holdings.blobs.get(digest).iter().flat_map(|blob| &blob.files) {
            fs::remove_if_present(file)?;
        }
    }
    Ok(())
}

/// Every file of the store by its digest. What another process removes meanwhile is left out.
fn blobs(directory: &Path) -> Result<HashMap<Digest, Blob>, FsError> {
    let mut found: HashMap<Digest, Blob> = HashMap::new();
    let root = directory.join("blobs");
    for shard in fs::list_names_if_present(&root)? {
        let shard = root.join(shard);
        for name in fs::list_names_if_present(&shard)? {
            let digest = name.to_str().and_then(|name| name.get(..64)).and_then(Digest::from_hex);
            let Some(digest) = digest else { continue };
            let path = shard.join(&name);
            let stat = match fs::lstat(&path) {
                Err(error) if error.is_absent() => continue,
                stat => stat?,
            };
            if stat.kind == FileKind::File {
                let blob = found.entry(digest).or_default();
                let changed_s = u64::try_from(stat.ctime_ns / 1_000_000_000).unwrap_or(0);
                blob.allocated_bytes += stat.allocated_bytes;
                blob.linked |= stat.links > 1;
                blob.changed_s = blob.changed_s.max(changed_s);
                blob.files.push(path);
            }
        }
    }
    Ok(found)
}

/// The right to evict, which one process at a time has; it ends with its holder.
#[derive(Debug)]
pub struct Right {
    _lock: fs::Lock,
}

impl Right {
    /// `None` if another process has it.
    pub fn try_take(directory: &Path) -> Result<Option<Self>, FsError> {
        Ok(fs::try_lock(&directory.join("gc.lock"))?.map(|lock| Self { _lock: lock }))
    }
}

/// Whether a look at the whole store is due after `stored_bytes` more were put into it: on average
/// each time that a hundredth of the cap was stored. The digest, which is as good as random, decides,
/// so that no count has to be kept.
#[expect(clippy::cast_precision_loss, reason = "a chance, not a count")]
pub fn is_due(stored_bytes: u64, size_bytes_max: u64, digest: &Digest) -> bool {
    let chance = stored_bytes as f64 * 100.0 / size_bytes_max.max(1) as f64;
    (digest.prefix() as f64) < chance * u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: u64 = 1_000_000_000;

    fn digest(number: u8) -> Digest {
        Digest([number; 32])
    }

    fn holdings(results: &[(u8, u64, u64, &[u8])], linked: &[u8]) -> Holdings {
        let mut holdings = Holdings::default();
        for (number, cost_us, age_s, blobs) in results {
            holdings.candidates.push(Candidate {
                action: ActionKey(digest(*number)),
                crate_name: format!("crate{number}"),
                cost_us: *cost_us,
                used_s: NOW_S - age_s,
                blobs: blobs.iter().map(|blob| digest(*blob)).collect(),
            });
            for blob in *blobs {
                let linked = linked.contains(blob);
                let blob_of =
                    Blob { allocated_bytes: 1000, linked, changed_s: NOW_S, files: Vec::new() };
                holdings.blobs.insert(digest(*blob), blob_of);
            }
        }
        holdings
    }

    fn evicted(holdings: &Holdings, size_bytes_max: u64, age_s_max: u64) -> (Vec<u8>, u64) {
        let plan = holdings.plan(Limits { size_bytes_max, age_s_max, now_s: NOW_S });
        let results = plan.results.iter().map(|result| result.action.0.0[0]).collect();
        (results, plan.size_bytes_after)
    }

    #[test]
    fn nothing_goes_while_the_store_is_within_its_cap() {
        let holdings = holdings(&[(1, 5, 0, &[1]), (2, 5, 0, &[2])], &[]);
        assert_eq!(evicted(&holdings, 2000, 0), (vec![], 2000));
    }

    #[test]
    fn the_cheapest_to_compile_goes_first_until_nine_tenths() {
        let holdings =
            holdings(&[(1, 9_000_000, 0, &[1]), (2, 1000, 0, &[2]), (3, 5_000_000, 0, &[3])], &[]);
        assert_eq!(evicted(&holdings, 2999, 0), (vec![2], 2000));
    }

    #[test]
    fn of_equal_cost_the_longest_unused_goes_first() {
        let week = 7 * 24 * 3600;
        let holdings = holdings(&[(1, 1000, 0, &[1]), (2, 1000, week, &[2])], &[]);
        assert_eq!(evicted(&holdings, 1999, 0), (vec![2], 1000));
    }

    #[test]
    fn what_is_linked_frees_nothing_and_goes_last() {
        let holdings = holdings(&[(1, 1000, 0, &[1]), (2, 1000, 0, &[2])], &[1]);
        assert_eq!(evicted(&holdings, 1999, 0).0, [2]);
    }

    #[test]
    fn a_blob_stays_while_another_result_needs_it() {
        let holdings = holdings(&[(1, 1, 0, &[1, 2]), (2, 9_000_000, 0, &[2, 3])], &[]);
        let plan = holdings.plan(Limits { size_bytes_max: 2999, age_s_max: 0, now_s: NOW_S });
        assert_eq!(plan.blobs, [digest(1)]);
    }

    #[test]
    fn a_look_at_the_store_is_due_once_for_each_hundredth_of_the_cap() {
        let looks = (0..1000_u32).filter(|number| {
            let digest = Digest(*blake3::hash(&number.to_le_bytes()).as_bytes());
            is_due(1_000_000, 2_000_000_000, &digest)
        });
        let count = looks.count();
        assert!((20..90).contains(&count), "{count} looks for half the cap");
        assert!(is_due(1 << 40, 1, &Digest([0xff; 32])));
    }

    #[test]
    fn what_nobody_used_for_too_long_goes_whatever_the_size() {
        let holdings = holdings(&[(1, 1000, 100, &[1]), (2, 1000, 10, &[2])], &[]);
        assert_eq!(evicted(&holdings, 1 << 30, 50).0, [1]);
    }
}
