//! The index: from keys to records, shared by every process of the machine.
//!
//! A file of fixed layout, mapped by whoever uses it (`store-format/SPEC.md`). [`table`] is what is
//! done to its words, [`map`] makes words of the file, `generation` knows its regions, `swap`
//! replaces it by a larger or smaller one, `salvage` saves what is sound in a damaged one, [`claim`] and [`wait`] keep two processes from doing
//! the same work.
//!
//! Invariants: no operation waits for another process; each leaves a complete entry or none,
//! wherever it is interrupted; what cannot be read is absent. The index is disposable.

pub mod claim;
mod file;
mod generation;
pub mod map;
mod salvage;
pub mod swap;
pub mod table;
pub mod wait;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rustix::io::Errno;
use store_format::Digest;
use store_format::frame::PAYLOAD_BYTES_MAX;
use store_format::header::{IndexHeader, SLOTS_LOG2_MIN, WORD_BYTES};
use store_format::slot::Slot;

pub use claim::{Claim, ClaimGuard};
pub(crate) use file::create_directories;
pub(crate) use file::{NewFile, ReplaceRight, open as open_shared, quarantine, quarantined};
pub use store_format::Kind;
pub use store_format::slot::ProcessId;
pub use wait::{Waited, wait};

use generation::{Generation, OpenError};
use swap::Medium;
use table::{Expected, Memory, PublishError, Published, Seen, Table};

/// How often an operation is begun anew because the file was replaced under it.
const ATTEMPTS_MAX: usize = 16;

/// Why the index did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    #[error("{operation} {}", path.display())]
    Io { operation: &'static str, path: PathBuf, source: io::Error },
    /// Another process is replacing the file.
    #[error("{} is being replaced by another process", path.display())]
    Busy { path: PathBuf },
    #[error("a record of {bytes} bytes exceeds the limit of {PAYLOAD_BYTES_MAX}")]
    TooLarge { bytes: usize },
    /// Other processes changed the same record, or replaced the file, each time.
    #[error("gave up on {}: it changed under each attempt", path.display())]
    Contended { path: PathBuf },
}

/// The index of a cache directory.
#[derive(Debug)]
pub struct Index {
    path: PathBuf,
    current: RwLock<Arc<Table<Generation>>>,
    recovered: AtomicBool,
}

/// What a key has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub payload: Vec<u8>,
    /// Whether a power cut leaves what the payload names.
    pub is_durable: bool,
}

/// How full an index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexUsage {
    pub generation: u64,
    pub slots: u64,
    pub slots_used: u64,
    pub heap_used_bytes: u64,
    /// An estimate: what compaction would free.
    pub heap_dead_bytes: u64,
}

impl Index {
    /// Opens the index of a cache directory; creates both where they are missing. A file that is
    /// damaged, or of another version, is moved aside; what is sound in it makes up a new one.
    pub fn open(cache_dir: &Path) -> Result<Self, IndexError> {
        let path = cache_dir.join("index");
        let (table, recovered) = open_or_begin(&path)?;
        Ok(Self { path, current: RwLock::new(table), recovered: AtomicBool::new(recovered) })
    }

    /// Whether this value moved a file aside that was damaged or of another version.
    pub fn recovered(&self) -> bool {
        self.recovered.load(Ordering::Relaxed)
    }

    pub fn usage(&self) -> IndexUsage {
        let table = self.table();
        IndexUsage {
            generation: table.memory().number(),
            slots: table.memory().slots().len() as u64,
            slots_used: table.slots_used(),
            heap_used_bytes: table.heap_used_words() * WORD_BYTES as u64,
            heap_dead_bytes: table.heap_dead_words() * WORD_BYTES as u64,
        }
    }

    /// What blobs take on the disk, as far as it was counted.
    pub fn stored_bytes(&self) -> u64 {
        self.table().stored_bytes()
    }

    /// Counts bytes that were stored, and returns how many there are now.
    pub fn count_stored(&self, bytes: u64) -> u64 {
        self.table().add_stored_bytes(bytes)
    }

    /// Corrects the count by what was found on the disk; `counted` is the count from before the
    /// disk was looked at. What was counted meanwhile stays counted.
    pub fn correct_stored(&self, counted: u64, found: u64) {
        self.table().add_stored_bytes(found.wrapping_sub(counted));
    }

    /// The payload published last under a key.
    pub fn get(&self, kind: Kind, key: &Digest) -> Option<Vec<u8>> {
        self.find(kind, key).map(|found| found.payload)
    }

    /// The payload published last under a key, and what is known of it.
    pub fn find(&self, kind: Kind, key: &Digest) -> Option<Found> {
        match self.with_table(|table| table.lookup(kind, key)) {
            Seen::Live(word, payload) => {
                Some(Found { payload, is_durable: Slot(word).is_durable() })
            }
            Seen::Dead(_) | Seen::Vacant => None,
        }
    }

    /// Says that a power cut leaves what a record names, unless the record has changed since it
    /// was found, or the file has been replaced.
    pub fn mark_durable(&self, position: Position) -> bool {
        let table = self.table();
        table.memory().number() == position.generation
            && table.mark_durable(position.place, position.slot.0).is_some()
    }

    /// Publishes a payload, in place of what the key has.
    pub fn put(&self, kind: Kind, key: &Digest, payload: &[u8]) -> Result<(), IndexError> {
        for _ in 0..ATTEMPTS_MAX {
            let table = self.table();
            match table.publish(kind, key, payload, Expected::Anything) {
                Ok(published) if self.is_final(&table, published) => {
                    self.grow_if_due(&table);
                    return Ok(());
                }
                Ok(_) => {}
                Err(error) => self.after_failure(&table, error, payload)?,
            }
        }
        Err(self.contended())
    }

    /// Replaces what a key has by what `change` makes of it; `None` leaves it as it is. Returns
    /// whether something was published. `change` may be called several times, and while the file is
    /// being replaced also on what it made before: it should do no harm to its own result.
    pub fn update(
        &self,
        kind: Kind,
        key: &Digest,
        mut change: impl FnMut(Option<Vec<u8>>) -> Option<Vec<u8>>,
    ) -> Result<bool, IndexError> {
        for _ in 0..ATTEMPTS_MAX {
            let table = self.table();
            let seen = table.lookup(kind, key);
            let expected = seen.expected();
            let before = match seen {
                Seen::Live(_, payload) => Some(payload),
                Seen::Dead(_) | Seen::Vacant => None,
            };
            let Some(payload) = change(before) else { return Ok(false) };
            match table.publish(kind, key, &payload, expected) {
                Ok(published) if self.is_final(&table, published) => {
                    self.grow_if_due(&table);
                    return Ok(true);
                }
                // The successor may hold something newer: what is there is looked at again.
                Ok(_) | Err(PublishError::Conflict) => {}
                Err(error) => self.after_failure(&table, error, &payload)?,
            }
        }
        Err(self.contended())
    }

    /// Whether the key had something.
    pub fn remove(&self, kind: Kind, key: &Digest) -> bool {
        let mut removed = false;
        for _ in 0..ATTEMPTS_MAX {
            let table = self.table();
            removed |= table.remove(kind, key);
            if !self.is_replaced(&table) {
                break;
            }
        }
        removed
    }

    /// Every record, in the order of the file; what is published meanwhile may be missing.
    pub fn entries(&self) -> Entries {
        self.entries_of(&Kind::ALL)
    }

    /// Like [`Index::entries`], of these kinds. Records of others are not looked at.
    pub fn entries_of(&self, kinds: &[Kind]) -> Entries {
        let table = self.table();
        let places = table.places_by_offset(kinds).into_iter();
        Entries { table, places }
    }

    /// Like [`Index::entries_of`], in two parts that two threads can read at the same time.
    pub fn halves_of(&self, kinds: &[Kind]) -> [Entries; 2] {
        let table = self.table();
        let mut first = table.places_by_offset(kinds);
        let second = first.split_off(first.len() / 2);
        [first, second]
            .map(|places| Entries { table: Arc::clone(&table), places: places.into_iter() })
    }

    /// How many records of a kind there are.
    pub fn count_of(&self, kind: Kind) -> usize {
        self.table().count_of(kind)
    }

    /// Bytes that the oldest records of a kind take.
    pub fn oldest_bytes(&self, kind: Kind, count: usize) -> u64 {
        let table = self.table();
        let places = table.places_by_offset(&[kind]).into_iter();
        let words = places.filter_map(|place| table.live_words_in(place)).take(count);
        words.map(|words| (words * WORD_BYTES) as u64).sum()
    }

    /// Claims a key, so that others that want to do the same work wait for this process.
    pub fn claim(&self, key: &Digest) -> Claim {
        claim::claim(self.table(), key)
    }

    /// The current generation.
    fn table(&self) -> Arc<Table<Generation>> {
        let table = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        if self.is_replaced(&table) { self.follow(table) } else { table }
    }

    /// What an operation on the current generation returns. It must not replace that.
    fn with_table<T>(&self, operation: impl FnOnce(&Table<Generation>) -> T) -> T {
        let table = self.current.read().unwrap_or_else(PoisonError::into_inner);
        if !self.is_replaced(&table) {
            return operation(&table);
        }
        let replaced = Arc::clone(&table);
        drop(table);
        operation(&self.follow(replaced))
    }

    /// A process that maps a superseded generation goes on to its successor here.
    fn follow(&self, table: Arc<Table<Generation>>) -> Arc<Table<Generation>> {
        match open_or_begin(&self.path) {
            Ok((successor, recovered)) => {
                self.recovered.fetch_or(recovered, Ordering::Relaxed);
                self.set_current(Arc::clone(&successor));
                successor
            }
            // The old one still answers; what is published in it is a later miss.
            Err(_) => table,
        }
    }

    /// Whether another file is in the place of this one. While one is being made, that is asked
    /// of the file system.
    fn is_replaced(&self, table: &Table<Generation>) -> bool {
        table.is_superseded() && !table.memory().is_at(&self.path)
    }

    /// Whether a publication is where others look for it, or will be copied there.
    fn is_final(&self, table: &Table<Generation>, published: Published) -> bool {
        !published.superseded || table.memory().is_at(&self.path)
    }

    fn set_current(&self, table: Arc<Table<Generation>>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = table;
    }

    fn after_failure(
        &self,
        table: &Table<Generation>,
        error: PublishError,
        payload: &[u8],
    ) -> Result<(), IndexError> {
        match error {
            PublishError::Full if !self.is_replaced(table) => {
                self.swap(|_, _, _| true, Medium::Memory)
            }
            PublishError::Full | PublishError::Conflict => Ok(()),
            PublishError::TooLarge => Err(IndexError::TooLarge { bytes: payload.len() }),
            PublishError::Io(source) => Err(self.io("extend", source)),
        }
    }

    fn io(&self, operation: &'static str, source: impl Into<io::Error>) -> IndexError {
        IndexError::Io { operation, path: self.path.clone(), source: source.into() }
    }

    fn contended(&self) -> IndexError {
        IndexError::Contended { path: self.path.clone() }
    }
}

/// The records of an index.
#[derive(Debug)]
pub struct Entries {
    table: Arc<Table<Generation>>,
    places: std::vec::IntoIter<usize>,
}

/// A record of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub kind: Kind,
    pub key: Digest,
    pub payload: Vec<u8>,
    pub position: Position,
}

/// Where a record was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    generation: u64,
    place: usize,
    slot: Slot,
}

impl Position {
    pub fn is_durable(self) -> bool {
        self.slot.is_durable()
    }
}

impl Iterator for Entries {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let generation = self.table.memory().number();
        self.places.find_map(|place| {
            let (word, record) = self.table.record_in(place);
            let (kind, key, payload) = record?;
            let position = Position { generation, place, slot: Slot(word) };
            Some(Entry { kind, key, payload, position })
        })
    }
}

/// The generation at `path`, and whether a damaged one had to make way for it.
fn open_or_begin(path: &Path) -> Result<(Arc<Table<Generation>>, bool), IndexError> {
    let io =
        |operation, source: io::Error| IndexError::Io { operation, path: path.to_owned(), source };
    let mut recovered = false;
    for _ in 0..ATTEMPTS_MAX {
        let error = match Generation::open(path).map(Table::new) {
            Ok(table) if !table.is_superseded() => return Ok((Arc::new(table), recovered)),
            Ok(table) if table.memory().is_at(path) => {
                reinstate(path, &table);
                return Ok((Arc::new(table), recovered));
            }
            Ok(_) => continue,
            Err(OpenError::Damaged(_)) => None,
            Err(OpenError::Io(error)) => Some(error),
        };
        match error {
            None => recovered |= salvage::set_aside(path)?,
            Some(error) if error.kind() == io::ErrorKind::NotFound => begin(path)?,
            Some(error) => return Err(io("open", error)),
        }
    }
    Err(IndexError::Contended { path: path.to_owned() })
}

/// Takes the mark from a file whose successor nobody is making any more.
fn reinstate(path: &Path, table: &Table<Generation>) {
    // Who has the right to replace the file is making the successor, or was killed.
    if let Ok(_right) = ReplaceRight::try_take(path)
        && table.memory().is_at(path)
    {
        table.reinstate();
    }
}

/// Creates an empty index unless another process is first.
fn begin(path: &Path) -> Result<(), IndexError> {
    let io = |source: io::Error| IndexError::Io { operation: "create", path: path.into(), source };
    if let Some(directory) = path.parent() {
        create_directories(directory).map_err(|error| io(error.into()))?;
    }
    let (new, _) = Generation::create(path, SLOTS_LOG2_MIN, 0, IndexHeader::FIRST).map_err(io)?;
    match new.place(path) {
        // There is one, or this one was swept: the caller looks again.
        Ok(()) | Err(Errno::EXIST | Errno::NOENT) => Ok(()),
        Err(error) => Err(io(error.into())),
    }
}
