//! The memo: from the identity of a file to the digest of its content, shared by every process.
//!
//! A lossy table of fixed size: sets of four entries, one cache line each, the oldest of a set
//! makes way. Entries are written word by word without any agreement: a torn one fails its
//! checksum and counts as absent. What a probe returns was inserted for exactly that identity.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::io::Errno;
use store_format::Digest;
use store_format::header::{HEADER_FIXED_WORDS, MemoHeader, WORD_BYTES};
use store_format::memo::{
    IdentityHash, MEMO_ENTRY_WORDS, MEMO_SEQUENCE_WORD, MEMO_WAYS, MEMO_WORDS, MemoEntry,
};

use crate::fs::latest_ns;
use crate::index::map::Map;
use crate::index::{IndexError, NewFile, ReplaceRight, create_directories, quarantine};

const MEMO_BYTES: u64 = (MEMO_WORDS * WORD_BYTES) as u64;
/// A file that changed this recently may change again without its times showing it: twice the
/// coarsest tick of a kernel's file clock.
const UNSETTLED: Duration = Duration::from_millis(20);
const ATTEMPTS_MAX: usize = 8;

/// What tells a file's content from that of every other, as long as the times can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    pub device: u64,
    pub inode: u64,
    pub size_bytes: u64,
    /// Nanoseconds since 1970.
    pub mtime_ns: i64,
    /// 0 for blobs of the store, whose `ctime` changes with every new link.
    pub ctime_ns: i64,
}

impl FileIdentity {
    fn hash(&self) -> IdentityHash {
        let mut bytes = [0; 40];
        let fields = [
            self.device,
            self.inode,
            self.size_bytes,
            self.mtime_ns.cast_unsigned(),
            self.ctime_ns.cast_unsigned(),
        ];
        for (bytes, field) in bytes.as_chunks_mut().0.iter_mut().zip(fields) {
            *bytes = field.to_le_bytes();
        }
        let digest = Digest(*blake3::hash(&bytes).as_bytes());
        let mut words = [0; 2];
        for (word, bytes) in words.iter_mut().zip(digest.0.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        IdentityHash(words)
    }

    /// Whether any change after the moment `seen` would show in the times.
    fn is_settled(&self, seen: SystemTime) -> bool {
        let changed_ns = latest_ns(self.mtime_ns).max(latest_ns(self.ctime_ns));
        let changed = u64::try_from(changed_ns).unwrap_or(0);
        let settled = UNIX_EPOCH + Duration::from_nanos(changed) + UNSETTLED;
        settled <= seen
    }
}

/// The memo of a cache directory.
#[derive(Debug)]
pub struct Memo {
    map: Map,
}

impl Memo {
    /// Opens the memo of a cache directory; creates both where they are missing. A file that is
    /// damaged, or of another version, is moved aside and a new one begun.
    pub fn open(cache_dir: &Path) -> Result<Self, IndexError> {
        let path = cache_dir.join("memo");
        let io = |operation, source: std::io::Error| IndexError::Io {
            operation,
            path: path.clone(),
            source,
        };
        for _ in 0..ATTEMPTS_MAX {
            match open_sound(&path) {
                Ok(Some(map)) => return Ok(Self { map }),
                Ok(None) => set_aside(&path)?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    begin(cache_dir, &path).map_err(|error| io("create", error.into()))?;
                }
                Err(error) => return Err(io("open", error)),
            }
        }
        Err(IndexError::Contended { path })
    }

    pub fn probe(&self, identity: &FileIdentity) -> Option<Digest> {
        let hash = identity.hash();
        self.set(hash)?.iter().filter_map(read).find(|e| e.identity == hash).map(|e| e.digest)
    }

    /// Remembers the digest of a file whose identity was taken at the moment `seen`, and that was
    /// read after. What had changed too recently to be told apart from its next change is not
    /// remembered.
    pub fn insert_seen(&self, identity: &FileIdentity, digest: &Digest, seen: SystemTime) {
        if !identity.is_settled(seen) {
            return;
        }
        let hash = identity.hash();
        let Some(set) = self.set(hash) else { return };
        let age = |entry: &[AtomicU64; MEMO_ENTRY_WORDS]| match read(entry) {
            Some(entry) if entry.identity == hash => (0, 0),
            None => (1, 0),
            Some(entry) => (2, entry.sequence),
        };
        let Some(oldest) = set.iter().min_by_key(|entry| age(entry)) else { return };
        let Some(counter) = self.map.words().get(MEMO_SEQUENCE_WORD) else { return };
        let sequence = counter.fetch_add(1, Ordering::Relaxed);
        let entry = MemoEntry { identity: hash, digest: *digest, sequence };
        for (word, value) in oldest.iter().zip(entry.encode()) {
            word.store(value, Ordering::Relaxed);
        }
    }

    fn set(&self, hash: IdentityHash) -> Option<&[[AtomicU64; MEMO_ENTRY_WORDS]]> {
        let first = hash.set_word();
        let words = self.map.words().get(first..first + MEMO_WAYS * MEMO_ENTRY_WORDS)?;
        Some(words.as_chunks().0)
    }
}

/// Relaxed: the checksum tells whether the words belong together.
fn read(entry: &[AtomicU64; MEMO_ENTRY_WORDS]) -> Option<MemoEntry> {
    let words = std::array::from_fn(|place| entry[place].load(Ordering::Relaxed));
    MemoEntry::decode(&words)
}

/// `None` for a file that is no memo of this version.
fn open_sound(path: &Path) -> std::io::Result<Option<Map>> {
    let map = Map::new(crate::index::open_shared(path)?, MEMO_BYTES)?;
    let words = map.words();
    if words.len() < MEMO_WORDS {
        return Ok(None);
    }
    let fixed: [u64; HEADER_FIXED_WORDS] =
        std::array::from_fn(|place| words[place].load(Ordering::Relaxed));
    Ok(MemoHeader::decode(&fixed).is_ok().then_some(map))
}

fn begin(cache_dir: &Path, path: &Path) -> Result<(), Errno> {
    create_directories(cache_dir)?;
    let new = NewFile::create(path, MEMO_BYTES, &MemoHeader::encode())?;
    match new.place(path) {
        // There is one, or this one was swept: the caller looks again.
        Err(Errno::EXIST | Errno::NOENT) => Ok(()),
        other => other,
    }
}

fn set_aside(path: &Path) -> Result<(), IndexError> {
    let io = |source: Errno| IndexError::Io {
        operation: "set aside",
        path: path.into(),
        source: source.into(),
    };
    let _right = match ReplaceRight::try_take(path) {
        Ok(right) => right,
        Err(Errno::WOULDBLOCK) => return Err(IndexError::Busy { path: path.into() }),
        Err(error) => return Err(io(error)),
    };
    match open_sound(path) {
        Ok(None) => quarantine(path).map_err(io),
        Ok(Some(_)) | Err(_) => Ok(()),
    }
}
