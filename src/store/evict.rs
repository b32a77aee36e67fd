//! Keeping the store within its cap.
//!
//! Least value goes first, where value is the compile time that a result saves for each byte that
//! its eviction would really free, halved for every week since its last use. A blob that target
//! directories share frees nothing and so goes last. Eviction begins above the cap and ends at nine
//! tenths of it.
//!
//! Builds may go on meanwhile: a result leaves the index before its blobs leave the disk, and what a
//! build finds missing is a miss. What was used within the last hour may be what a running build
//! uses, and goes after everything else.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use store_format::{ActionKey, Digest, Kind, ResultView, UnitKey, checksum};

use super::current_boot;

use crate::events::{self, EventsError};
use crate::fs::{self, FileKind, FsError, Stat};
use crate::index::{Entry, Index, IndexError, Position};

/// Eviction ends when this share of the cap is used.
const LOW_WATER_PERCENT: u64 = 90;
/// The time in which a result that nobody uses loses half its value.
const HALF_LIFE_S: f64 = 7.0 * 24.0 * 3600.0;
/// A result that was used this recently may be in use.
const IN_USE_S: u64 = 3600;
/// What keeping track of a blob costs besides its content.
const BLOB_OVERHEAD_BYTES: u64 = 4096;
/// A blob that no result names may belong to one that is about to be published, and a temporary
/// file may be about to become a blob.
const ORPHAN_AGE_S: u64 = 3600;
/// The same where the store is above its cap.
const PRESSED_AGE_S: u64 = 600;
/// How long damaged blobs are kept for whoever wants to look at them.
const DAMAGED_AGE_S: u64 = 7 * 24 * 3600;
/// A store that is this part of its cap above it is far above.
const FAR_ABOVE_PART: u64 = 100;
/// Looks at the store above its cap, for each cap's worth of bytes stored.
const LOOKS_PER_CAP: u64 = 200;

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
    /// What nobody will use any more: temporary files of processes that were killed, and damaged
    /// blobs that were set aside.
    leftovers: Vec<Leftover>,
    /// Results of this boot that are not known to outlast it.
    pub(super) undurable: Vec<Position>,
    /// Every list of manifests, by its unit, with its checksum and its size. Each was published
    /// after the result that it leads to.
    pub(super) manifests: HashMap<Digest, (u64, u64)>,
}

/// A file that goes once it is old enough.
#[derive(Debug)]
struct Leftover {
    path: PathBuf,
    /// Seconds since 1970.
    goes_s: u64,
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
        // Of the two parts that take time, one is the kernel's work and the other is not.
        std::thread::scope(|scope| {
            let blobs = scope.spawn(|| {
                let mut holdings = Self::default();
                holdings.read_blobs(directory)?;
                holdings.read_damaged(&directory.join("damaged"))?;
                Ok(holdings)
            });
            let mut holdings = Self::default();
            holdings.read_index(index, &used);
            let found: Result<Self, FsError> =
                blobs.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let Self { blobs, leftovers, .. } = found?;
            Ok(Self { blobs, leftovers, ..holdings })
        })
    }

    fn read_index(&mut self, index: &Index, used: &HashMap<ActionKey, u64>) {
        let boot = current_boot();
        for Entry { kind, key, payload, position } in
            index.entries_of(&[Kind::Result, Kind::Manifests])
        {
            if kind == Kind::Manifests {
                let size_bytes = payload.len() as u64;
                self.manifests.insert(key, (checksum(&payload), size_bytes));
                continue;
            }
            let mut blobs = Vec::new();
            let result = ResultView::decode(&payload, |output| {
                blobs.extend(output.blob.map(|blob| blob.digest));
            });
            let Ok(result) = result else { continue };
            let action = ActionKey(key);
            // What an earlier boot left behind may be damaged, until a hit has verified it.
            if !position.is_durable() && result.boot == boot {
                self.undurable.push(position);
            }
            let last = used.get(&action).copied().unwrap_or(0);
            self.candidates.push(Candidate {
                action,
                crate_name: String::from_utf8_lossy(result.crate_name).into_owned(),
                cost_us: result.cost_us,
                used_s: last.max(result.created_s),
                blobs,
            });
        }
    }

    /// Every file of the store by its digest. What another process removes meanwhile is left out.
    fn read_blobs(&mut self, directory: &Path) -> Result<(), FsError> {
        let root = directory.join("blobs");
        for shard in fs::list_names_if_present(&root)? {
            let shard = root.join(shard);
            for (name, stat) in fs::list_stats_if_present(&shard)? {
                if stat.kind != FileKind::File {
                    continue;
                }
                let digest =
                    name.to_str().and_then(|name| name.get(..64)).and_then(Digest::from_hex);
                let path = shard.join(name);
                let changed_s = changed_s(&stat);
                let Some(digest) = digest else {
                    self.leftovers.push(Leftover { path, goes_s: changed_s + ORPHAN_AGE_S });
                    continue;
                };
                let blob = self.blobs.entry(digest).or_default();
                blob.allocated_bytes += stat.allocated_bytes;
                blob.linked |= stat.links > 1;
                blob.changed_s = blob.changed_s.max(changed_s);
                blob.files.push(path);
            }
        }
        Ok(())
    }

    fn read_damaged(&mut self, directory: &Path) -> Result<(), FsError> {
        for (name, stat) in fs::list_stats_if_present(directory)? {
            let path = directory.join(name);
            // What is known to be damaged in a remote: a file for each, in a directory for all of it.
            if stat.kind == FileKind::Directory {
                self.read_damaged(&path)?;
                continue;
            }
            self.leftovers.push(Leftover { path, goes_s: changed_s(&stat) + DAMAGED_AGE_S });
        }
        Ok(())
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
        let orphan_age_s =
            if before > limits.size_bytes_max { PRESSED_AGE_S } else { ORPHAN_AGE_S };
        let mut young_bytes = 0;
        for (digest, blob) in self.blobs.iter().filter(|(digest, _)| !users.contains_key(digest)) {
            if blob.changed_s.saturating_add(orphan_age_s) < limits.now_s {
                drop_blob(digest, &mut evicted);
            } else {
                young_bytes += blob.allocated_bytes;
            }
        }
        // What becomes no part of a result will go soon: no result has to go for it.
        let is_above = |size_bytes: u64, bytes_max: u64| size_bytes - young_bytes > bytes_max;
        let above = is_above(evicted.size_bytes_after, limits.size_bytes_max);
        let goal = limits.size_bytes_max / 100 * LOW_WATER_PERCENT;
        let mut order: Vec<&Candidate> = self.candidates.iter().collect();
        let in_use = |candidate: &Candidate| candidate.used_s + IN_USE_S > limits.now_s;
        order.sort_by_cached_key(|candidate| {
            (in_use(candidate), Ordered(self.value(candidate, limits.now_s)))
        });
        for candidate in order {
            let age_s = limits.now_s.saturating_sub(candidate.used_s);
            let expired = limits.age_s_max > 0 && age_s > limits.age_s_max;
            let surplus = above && is_above(evicted.size_bytes_after, goal);
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

/// A number to sort by.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ordered(f64);

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Carries a plan out. Returns the units that have a result still, and what could not be removed.
pub fn evict(
    holdings: &Holdings,
    index: &Index,
    plan: &Evicted,
    now_s: u64,
) -> (HashSet<UnitKey>, Kept) {
    for result in &plan.results {
        index.remove(Kind::Result, &result.action.0);
    }
    // Read again: what a build has published meanwhile keeps its blobs.
    let planned: HashSet<Digest> = plan.blobs.iter().copied().collect();
    let mut needed = HashSet::new();
    let mut units = HashSet::new();
    for Entry { payload, .. } in index.entries_of(&[Kind::Result]) {
        let result = ResultView::decode(&payload, |output| {
            let blob = output.blob.map(|blob| blob.digest);
            needed.extend(blob.filter(|digest| planned.contains(digest)));
        });
        units.extend(result.ok().map(|result| result.unit));
    }
    let mut doomed: Vec<&Digest> =
        plan.blobs.iter().filter(|digest| !needed.contains(digest)).collect();
    // Directory by directory, which takes a fifth less; and one after the other: several threads at once
    // take three times as long, on ext4.
    doomed.sort_unstable();
    let files = doomed.into_iter().filter_map(|digest| holdings.blobs.get(digest));
    let files = files.flat_map(|blob| &blob.files);
    let leftovers = holdings.leftovers.iter().filter(|leftover| leftover.goes_s < now_s);
    let mut kept = Kept::default();
    for path in files.chain(leftovers.map(|leftover| &leftover.path)) {
        // What another user has made may stay: that is no reason to keep the rest.
        if let Err(error) = fs::remove_if_present(path) {
            kept.bytes += fs::stat(path).map_or(0, |stat| stat.allocated_bytes);
            kept.files += 1;
            kept.first.get_or_insert(error);
        }
    }
    (units, kept)
}

/// What could not be removed.
#[derive(Debug, Default)]
pub struct Kept {
    pub files: u64,
    pub bytes: u64,
    /// Why, for the first of the files.
    pub first: Option<FsError>,
}

fn changed_s(stat: &Stat) -> u64 {
    u64::try_from(stat.ctime_ns / 1_000_000_000).unwrap_or(0)
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

    /// Takes the place of the one process that a build waits for; `None` if there is one.
    pub fn try_await(directory: &Path) -> Result<Option<Self>, FsError> {
        Ok(fs::try_lock(&directory.join("gc.awaited.lock"))?.map(|lock| Self { _lock: lock }))
    }

    /// Waits for whoever has it.
    pub fn take(directory: &Path) -> Result<Self, FsError> {
        Ok(Self { _lock: fs::lock(&directory.join("gc.lock"))? })
    }
}

/// Whether a look at the whole store is due after `stored_bytes` more were put into it, which makes
/// `total_bytes` by count: above the cap each time that a two-hundredth of it was stored. Since counts
/// can get lost, a look is due now and then in any case, on average each time that a hundredth of
/// the cap was stored; the digest, which is as good as random, decides.
#[expect(clippy::cast_precision_loss, reason = "a chance, not a count")]
pub fn is_due(stored_bytes: u64, total_bytes: u64, size_bytes_max: u64, digest: &Digest) -> bool {
    let step = (size_bytes_max / LOOKS_PER_CAP).max(1);
    let before = total_bytes.saturating_sub(stored_bytes);
    let crossed = before < size_bytes_max || before / step != total_bytes / step;
    let chance = stored_bytes as f64 * 100.0 / size_bytes_max.max(1) as f64;
    (total_bytes > size_bytes_max && crossed) || (digest.prefix() as f64) < chance * u64::MAX as f64
}

/// Whether builds put more into the store than eviction takes out of it.
pub fn is_far_above(total_bytes: u64, size_bytes_max: u64) -> bool {
    total_bytes > size_bytes_max.saturating_add(size_bytes_max / FAR_ABOVE_PART)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: u64 = 1_000_000_000;

    fn digest(number: u8) -> Digest {
        Digest([number; 32])
    }

    /// Of number, cost, age in seconds and blobs.
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
    fn what_was_damaged_goes_after_a_week_and_no_directory_does() {
        let store = tempfile::tempdir().unwrap();
        let [blob, noted] = ["blob", "remote/noted"].map(|name| store.path().join(name));
        std::fs::create_dir(store.path().join("remote")).unwrap();
        for file in [&blob, &noted] {
            std::fs::write(file, "").unwrap();
        }
        let mut holdings = Holdings::default();
        holdings.read_damaged(store.path()).unwrap();
        let mut paths: Vec<&Path> = holdings.leftovers.iter().map(|it| it.path.as_path()).collect();
        paths.sort();
        assert_eq!(paths, [&blob, &noted]);
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

    /// As an eviction that was broken off, or a lost index, leaves it.
    #[test]
    fn no_result_goes_for_blobs_that_none_names() {
        let mut holdings = holdings(&[(1, 1, 0, &[1]), (2, 1, 0, &[2]), (3, 1, 0, &[3])], &[]);
        holdings.candidates.truncate(1);
        for (number, age_s) in [(2, PRESSED_AGE_S / 2), (3, PRESSED_AGE_S * 2)] {
            let blob = holdings.blobs.get_mut(&digest(number)).expect("it is there");
            blob.changed_s = NOW_S - age_s;
        }
        assert_eq!(evicted(&holdings, 3000, 0), (vec![], 3000));
        assert_eq!(evicted(&holdings, 1500, 0), (vec![], 2000));
        assert_eq!(evicted(&holdings, 999, 0), (vec![1], 1000));
    }

    #[test]
    fn what_may_be_in_use_goes_after_everything_else() {
        let (now, old) = (IN_USE_S / 2, IN_USE_S * 2);
        let holdings = holdings(&[(1, 1, now, &[1]), (2, 9_000_000, old, &[2])], &[]);
        assert_eq!(evicted(&holdings, 1999, 0).0, [2]);
        assert_eq!(evicted(&holdings, 1000, 0).0, [2, 1]);
    }

    #[test]
    fn a_look_at_the_store_is_due_now_and_then_below_the_cap_and_often_above() {
        let looks = |total_bytes: u64| {
            let digests =
                (0..1000_u32).map(|number| Digest(*blake3::hash(&number.to_le_bytes()).as_bytes()));
            let mut total_bytes = total_bytes;
            let due = digests.filter(|digest| {
                total_bytes += 1_000_000;
                is_due(1_000_000, total_bytes, 2_000_000_000, digest)
            });
            due.count()
        };
        let below = looks(0);
        assert!((20..90).contains(&below), "{below} looks for half the cap");
        let above = looks(2_000_000_000);
        assert!((100..200).contains(&above), "{above} looks for half the cap");
        assert!(is_due(1 << 40, 1 << 40, 1, &Digest([0xff; 32])));
    }

    #[test]
    fn what_nobody_used_for_too_long_goes_whatever_the_size() {
        let holdings = holdings(&[(1, 1000, 100, &[1]), (2, 1000, 10, &[2])], &[]);
        assert_eq!(evicted(&holdings, 1 << 30, 50).0, [1]);
    }
}
