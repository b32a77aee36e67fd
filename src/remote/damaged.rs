//! Which results are damaged where they are shared: whoever has a sound one puts it in its place.
//!
//! An empty file stands for each, so that what one process finds out another one mends: a runner pulls
//! before its build and pushes after it.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use store_format::ActionKey;

use crate::config::Config;
use crate::fs;

#[derive(Debug)]
pub(super) struct Damaged {
    directory: PathBuf,
    /// What this process has found out: it may not have been able to write that down.
    known: Mutex<HashSet<ActionKey>>,
}

impl Damaged {
    pub(super) fn of(config: &Config) -> Self {
        let directory = config.cache_dir.join("damaged").join(config.remote.place());
        Self { directory, known: Mutex::default() }
    }

    pub(super) fn contains(&self, action: &ActionKey) -> bool {
        self.known().contains(action) || fs::lstat(&self.path(*action)).is_ok()
    }

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
