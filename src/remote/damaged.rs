//! Which results are damaged where they are shared: whoever has a sound one puts it in its place.
//!
//! An empty file stands for each, so that what one process finds out another one mends: a runner pulls
//! before its build and pushes after it.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use store_format::{ActionKey, Digest};

use crate::config::Config;
use crate::fs;

#[derive(Debug)]
pub(super) struct Damaged {
    directory: PathBuf,
    known: Mutex<HashSet<ActionKey>>,
}

impl Damaged {
    pub(super) fn load(config: &Config) -> Self {
        let directory = config.cache_dir.join("damaged").join(config.remote.place());
        let names = fs::list_names_if_present(&directory).unwrap_or_default();
        let keys = names.iter().filter_map(|name| Digest::from_hex(name.to_str()?));
        Self { known: Mutex::new(keys.map(ActionKey).collect()), directory }
    }

    /// Another process may have found it out since this one began.
    pub(super) fn contains(&self, action: &ActionKey) -> bool {
        self.known().contains(action) || fs::lstat(&self.path(*action)).is_ok()
    }

    /// What cannot be written is known to this process only.
    pub(super) fn insert(&self, action: ActionKey) {
        if self.known().insert(action) {
            let noted = fs::create_directories(&self.directory)
                .and_then(|()| fs::write_new(&self.path(action), b"", 0o600));
            if let Err(error) = noted {
                crate::log::warn!("{error}");
            }
        }
    }

    pub(super) fn remove(&self, action: ActionKey) {
        self.known().remove(&action);
        if let Err(error) = fs::remove_if_present(&self.path(action)) {
            crate::log::warn!("{error}");
        }
    }

    fn path(&self, action: ActionKey) -> PathBuf {
        self.directory.join(action.0.to_string())
    }

    fn known(&self) -> MutexGuard<'_, HashSet<ActionKey>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
