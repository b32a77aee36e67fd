//! What keeps a store small and sure beside eviction: results are made durable, and the index is
//! freed of what leads nowhere.
//!
//! None of it is on the way of a build: whoever collects garbage does it.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use store_format::{Digest, Kind, ResultView, UnitKey, checksum};

use super::evict::Holdings;
use crate::fs::{self, FsError};
use crate::index::{Index, IndexError};

/// To sync a file system takes long while it is written to.
const REST: Duration = Duration::from_mins(10);
/// Waste below this is not worth another file.
const WASTE_BYTES_MIN: u64 = 1 << 20;
/// So many snapshots are kept however few the results are, the latest: a new result can be explained by
/// one whose own is gone.
const SNAPSHOTS_MIN: usize = 1000;

/// The right to do what is done here, which one process at a time has.
#[derive(Debug)]
pub struct Turn {
    path: PathBuf,
    _lock: fs::Lock,
}

impl Turn {
    /// `None` if another process has it or, unless it is wanted `now`, had it a moment ago.
    pub fn try_take(directory: &Path, now: bool) -> Result<Option<Self>, FsError> {
        let path = directory.join("upkeep.lock");
        let last_ns = fs::stat(&path).map_or(0, |stat| stat.mtime_ns);
        let now_ns = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let since_ns = now_ns.as_nanos().abs_diff(u128::try_from(last_ns).unwrap_or(0));
        if !now && since_ns < REST.as_nanos() {
            return Ok(None);
        }
        Ok(fs::try_lock(&path)?.map(|lock| Self { path, _lock: lock }))
    }

    /// Notes when it was done.
    pub fn done(self) -> Result<(), FsError> {
        fs::touch(&self.path)
    }
}

/// Makes the results that were found in this boot outlast a power cut, and notes it in their
/// slots, so that the next boot does not have to verify them. Returns how many there were.
///
/// Everything that was written before reaches the disk before the first slot says so. The slot says
/// it and not the record: another record in its place might be lost by a power cut with the slot that
/// points to it kept. A record that has changed since it was read is left for the next time.
pub fn make_durable(
    directory: &Path,
    holdings: &Holdings,
    index: &Index,
) -> Result<usize, FsError> {
    if holdings.undurable.is_empty() {
        return Ok(0);
    }
    fs::sync_file_system(directory)?;
    Ok(holdings.undurable.iter().filter(|position| index.mark_durable(**position)).count())
}

/// Begins a new generation of the index if a quarter of this one leads nowhere: records that were
/// replaced or removed, manifests of units that have no result left, and snapshots beyond the number of
/// results, which each new version of a crate and each new checkout adds to. Returns whether it did.
pub fn compact(
    holdings: &Holdings,
    index: &Index,
    has_result: impl Fn(&UnitKey) -> bool,
) -> Result<bool, IndexError> {
    let is_orphan = |unit: &Digest| !has_result(&UnitKey(*unit));
    let orphans = holdings.manifests.iter().filter(|(unit, _)| is_orphan(unit));
    let orphan_bytes: u64 = orphans.map(|(_, (_, size_bytes))| size_bytes).sum();
    let snapshots_max = index.count_of(Kind::Result).max(SNAPSHOTS_MIN);
    let mut surplus = index.count_of(Kind::Latest).saturating_sub(snapshots_max);
    let surplus_bytes = if surplus > 0 { index.oldest_bytes(Kind::Latest, surplus) } else { 0 };
    let usage = index.usage();
    let waste_bytes = usage.heap_dead_bytes + orphan_bytes + surplus_bytes;
    if waste_bytes < WASTE_BYTES_MIN.max(usage.heap_used_bytes / 4) {
        return Ok(false);
    }
    index.compact(|kind, key, payload| match kind {
        // A list that has changed since it was read has a new result to lead to.
        Kind::Manifests => holdings
            .manifests
            .get(key)
            .is_none_or(|(seen, _)| !is_orphan(key) || checksum(payload) != *seen),
        // What another version wrote is of no use to this one, and is not counted.
        Kind::Result => ResultView::decode(payload, |_| ()).is_ok(),
        Kind::Latest => {
            let is_surplus = surplus > 0;
            surplus = surplus.saturating_sub(1);
            !is_surplus
        }
        Kind::Toolchain => true,
    })?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use store_format::{ActionKey, ResultRecord};

    use super::*;
    use crate::store::current_boot;
    use crate::store::evict::{Limits, evict};

    struct Space {
        directory: tempfile::TempDir,
        index: Index,
    }

    fn digest(number: u64) -> Digest {
        Digest(*blake3::hash(&number.to_le_bytes()).as_bytes())
    }

    impl Space {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let index = Index::open(directory.path()).unwrap();
            Self { directory, index }
        }

        /// A result of the unit of the same number, and the manifests that lead to it.
        fn publish(&self, number: u64, boot: [u8; 16]) {
            let result = ResultRecord {
                action: ActionKey(digest(number)),
                unit: UnitKey(digest(number)),
                crate_name: b"crate".to_vec(),
                outputs: Vec::new(),
                stdout: Vec::new(),
                stderr: vec![b'w'; 1000],
                exit_status: 0,
                cost_us: 1,
                boot,
                fetched: false,
                created_s: 1,
            };
            let payload = result.encode();
            self.index.put(Kind::Result, &digest(number), &payload).unwrap();
            self.index.put(Kind::Manifests, &digest(number), &[1; 1000]).unwrap();
        }

        fn holdings(&self) -> Holdings {
            Holdings::read(self.directory.path(), &self.index).unwrap()
        }

        fn is_durable(&self, number: u64) -> bool {
            self.index.find(Kind::Result, &digest(number)).unwrap().is_durable
        }

        fn has_manifests(&self, number: u64) -> bool {
            self.index.get(Kind::Manifests, &digest(number)).is_some()
        }

        fn make_durable(&self, holdings: &Holdings) -> usize {
            make_durable(self.directory.path(), holdings, &self.index).unwrap()
        }

        /// Removes the results from that number on, and compacts the index.
        fn compact_without(&self, first: u64, last: u64) -> bool {
            for number in first..last {
                self.index.remove(Kind::Result, &digest(number));
            }
            let holdings = self.holdings();
            let limits = Limits { size_bytes_max: 1 << 30, age_s_max: 0, now_s: 1 };
            let plan = holdings.plan(limits);
            let (units, _) = evict(&holdings, &self.index, &plan, limits.now_s);
            compact(&holdings, &self.index, |unit| units.contains(unit)).unwrap()
        }
    }

    #[test]
    fn results_of_this_boot_become_durable_once_and_others_stay_to_be_verified() {
        let space = Space::new();
        space.publish(1, current_boot());
        space.publish(2, [9; 16]);
        let written = space.index.usage().heap_used_bytes;
        assert_eq!(space.make_durable(&space.holdings()), 1);
        // A record that was written now would not be on the disk, whatever it said.
        assert_eq!(space.index.usage().heap_used_bytes, written);
        assert!(space.is_durable(1) && !space.is_durable(2));
        assert_eq!(space.make_durable(&space.holdings()), 0);
    }

    #[test]
    fn a_result_that_was_replaced_since_is_not_called_durable() {
        let space = Space::new();
        space.publish(1, current_boot());
        let holdings = space.holdings();
        let record = space.index.get(Kind::Result, &digest(1)).unwrap();
        let result = ResultRecord::decode(ActionKey(digest(1)), &record).unwrap();
        let newer = ResultRecord { created_s: 2, ..result };
        space.index.put(Kind::Result, &digest(1), &newer.encode()).unwrap();
        assert_eq!(space.make_durable(&holdings), 0);
        assert!(!space.is_durable(1));
    }

    #[test]
    fn one_process_is_at_it_and_not_all_the_time_unless_asked() {
        let space = tempfile::tempdir().unwrap();
        let turn = |now| Turn::try_take(space.path(), now).unwrap();
        let first = turn(false).unwrap();
        assert!(turn(true).is_none());
        first.done().unwrap();
        assert!(turn(false).is_none() && turn(true).is_some());
        let long_ago = i64::try_from(REST.as_nanos()).unwrap() + 1;
        fs::set_mtime(&space.path().join("upkeep.lock"), fs::clock_ns() - long_ago).unwrap();
        assert!(turn(false).is_some());
    }

    #[test]
    fn manifests_go_with_the_last_result_of_their_unit() {
        let space = Space::new();
        let count = 2000;
        for number in 0..count {
            space.publish(number, current_boot());
        }
        assert!(!space.compact_without(count, count), "nothing is wasted");
        let before = space.index.usage();
        assert!(space.compact_without(count / 2, count));
        let after = space.index.usage();
        assert_eq!(after.slots_used, count);
        assert!(after.heap_used_bytes <= before.heap_used_bytes / 2 && after.heap_dead_bytes == 0);
        for number in 0..count {
            assert_eq!(space.has_manifests(number), number < count / 2, "{number}");
        }
    }

    #[test]
    fn as_many_snapshots_are_kept_as_there_are_results() {
        let space = Space::new();
        let put = |number| {
            space.index.put(Kind::Latest, &digest(number), &[b's'; 400]).unwrap();
        };
        let has = |number| space.index.get(Kind::Latest, &digest(number)).is_some();
        (0..4000).for_each(put);
        // That one becomes the latest of all.
        put(0);
        assert!(space.compact_without(0, 0));
        assert!(has(0) && (1..3001).all(|number| !has(number)) && (3001..4000).all(has));
        assert!(!space.compact_without(0, 0), "nothing is wasted");
        for number in 4000..5100 {
            space.publish(number, current_boot());
        }
        (4000..8000).for_each(put);
        assert!(space.compact_without(0, 0));
        assert!((6900..8000).all(has) && !has(6899), "each result has one");
    }

    #[test]
    fn manifests_that_were_published_since_stay() {
        let space = Space::new();
        for number in 0..2000 {
            space.publish(number, current_boot());
            space.index.remove(Kind::Result, &digest(number));
        }
        let holdings = space.holdings();
        space.index.put(Kind::Manifests, &digest(7), b"another list").unwrap();
        assert!(compact(&holdings, &space.index, |_| false).unwrap());
        assert!(space.has_manifests(7) && !space.has_manifests(8));
    }
}
