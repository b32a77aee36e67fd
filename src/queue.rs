//! The queue of uploads: a directory for each remote, with an empty file for each result.
//!
//! It is on the disk since a wrapper neither waits for an upload nor loses one, and each remote has its
//! own since projects that share a store need not share a bucket.

use std::ffi::OsStr;
use std::path::PathBuf;

use store_format::{ActionKey, Digest, UnitKey};

use crate::config::Config;
use crate::fs::{self, FsError};

/// A result that waits for its upload, and the unit that it was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    pub unit: UnitKey,
    pub action: ActionKey,
}

impl Entry {
    fn name(self) -> String {
        format!("{}-{}", self.action.0, self.unit.0)
    }

    fn of_name(name: &OsStr) -> Option<Self> {
        let (action, unit) = name.to_str()?.split_once('-')?;
        let (action, unit) = (Digest::from_hex(action)?, Digest::from_hex(unit)?);
        Some(Self { unit: UnitKey(unit), action: ActionKey(action) })
    }
}

/// What waits for the remote that is configured.
#[derive(Clone, Debug)]
pub struct Queue {
    directory: PathBuf,
}

impl Queue {
    pub fn of(config: &Config) -> Self {
        Self { directory: config.cache_dir.join("uploads").join(config.remote.place()) }
    }

    /// Puts a result at its end, if it is not in it.
    pub fn add(&self, entry: Entry) -> Result<(), FsError> {
        fs::create_directories(&self.directory)?;
        fs::write_new(&self.path(entry), b"", 0o600)
    }

    /// In no order.
    pub fn entries(&self) -> Result<Vec<Entry>, FsError> {
        let names = fs::list_names_if_present(&self.directory)?;
        Ok(names.iter().filter_map(|name| Entry::of_name(name)).collect())
    }

    /// Takes out what need not be uploaded any more.
    pub fn remove(&self, entry: Entry) -> Result<(), FsError> {
        fs::remove_if_present(&self.path(entry))
    }

    fn path(&self, entry: Entry) -> PathBuf {
        self.directory.join(entry.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_names_unit_and_action() {
        let entry = Entry { unit: UnitKey(Digest([1; 32])), action: ActionKey(Digest([2; 32])) };
        let name = entry.name();
        assert_eq!(Entry::of_name(name.as_ref()), Some(entry));
        for name in ["", "a-b", ".12-3.kache-tmp", &name[1..]] {
            assert_eq!(Entry::of_name(name.as_ref()), None, "{name}");
        }
    }
}
