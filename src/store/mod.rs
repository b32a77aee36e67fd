//! The store: blobs on disk, found through the index.

pub mod evict;
pub mod ingest;
pub mod restore;
pub mod upkeep;

use std::path::{Path, PathBuf};

use store_format::Digest;

use crate::fs;
use crate::index::{Index, IndexError};
use crate::memo::Memo;

/// An open store.
#[derive(Debug)]
pub struct Store {
    pub directory: PathBuf,
    pub index: Index,
    pub memo: Memo,
}

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Index(#[from] IndexError),
}

impl Store {
    /// Opens the store in `directory`, and makes it when it is not there.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let index = Index::open(directory)?;
        let memo = Memo::open(directory)?;
        Ok(Self { directory: directory.to_owned(), index, memo })
    }

    /// Where the blob of a digest is, or would be.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        let mut path = self.directory.join("blobs");
        path.push(&name[..2]);
        path.push(name);
        path
    }
}

/// The boot that this machine is in: the system's name for it, else the time when it began.
pub fn current_boot() -> [u8; 16] {
    named_boot().unwrap_or_else(boot_by_clocks)
}

fn named_boot() -> Option<[u8; 16]> {
    let text = fs::read(Path::new("/proc/sys/kernel/random/boot_id")).ok()?;
    let mut digits = text.iter().filter_map(|digit| (*digit as char).to_digit(16));
    let mut boot = [0; 16];
    for byte in &mut boot {
        *byte = u8::try_from(digits.next()? << 4 | digits.next()?).ok()?;
    }
    Some(boot)
}

/// No machine boots twice within this time. A clock that is set, or drifts for days, may make one
/// boot look like two, and results are verified once more.
const BOOT_SECONDS: i128 = 8;

fn boot_by_clocks() -> [u8; 16] {
    use rustix::time::{ClockId, Timespec, clock_gettime};
    let nanoseconds =
        |time: Timespec| i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
    let running = nanoseconds(clock_gettime(ClockId::Monotonic));
    let began = nanoseconds(clock_gettime(ClockId::Realtime)) - running;
    began.div_euclid(BOOT_SECONDS * 1_000_000_000).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_stays_the_same_while_it_lasts_however_it_is_told() {
        assert_eq!(current_boot(), current_boot());
        assert_ne!(current_boot(), [0; 16]);
        let told = [boot_by_clocks(), boot_by_clocks(), boot_by_clocks()];
        // A clock may be set, or come to a new interval, between two of them.
        assert!(told[0] == told[1] || told[1] == told[2]);
        assert_ne!(told[2], [0; 16]);
    }
}
