//! A cache directory of a test's own.

use std::path::Path;

use kache::index::Index;
use store_format::Digest;
use tempfile::TempDir;

/// Removed when dropped.
#[derive(Debug)]
pub(crate) struct Space {
    directory: TempDir,
}

impl Space {
    pub(crate) fn new() -> Self {
        Self { directory: TempDir::new().expect("a temporary directory") }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn index(&self) -> Index {
        Index::open(self.path()).expect("an index")
    }

    /// Names in the directory, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.path())
            .expect("the directory")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
            .collect();
        names.sort();
        names
    }
}

/// A key like the digest of a number.
pub(crate) fn key(number: u64) -> Digest {
    Digest(*blake3::hash(&number.to_le_bytes()).as_bytes())
}
