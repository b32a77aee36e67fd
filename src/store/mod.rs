//! The store: blobs on disk, found through the index.

pub mod ingest;
pub mod restore;

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

/// The boot that this machine is in; zero where the system does not tell.
pub fn current_boot() -> [u8; 16] {
    let mut boot = [0; 16];
    if let Ok(text) = fs::read(Path::new("/proc/sys/kernel/random/boot_id")) {
        let mut digits = text.iter().filter_map(|digit| (*digit as char).to_digit(16));
        for byte in &mut boot {
            let (Some(high), Some(low)) = (digits.next(), digits.next()) else { return [0; 16] };
            *byte = u8::try_from(high << 4 | low).unwrap_or(0);
        }
    }
    boot
}
