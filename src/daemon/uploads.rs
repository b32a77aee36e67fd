//! Uploads: a queue on the disk, and who works it off.
//!
//! Each entry is the name of an empty file, which goes when its result is in the remote. What cannot
//! be uploaded now stays, and is tried again after a pause, or by the next daemon.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use store_format::{ActionKey, UnitKey};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::client;
use crate::config::Config;
use crate::fs;
use crate::remote::{Remote, RemoteError};

use super::transfers::Transfers;

/// Uploads at a time, fewer if fewer transfers are allowed.
const UPLOADS_MAX: u64 = 8;
/// After failures the queue is tried again after a pause, which doubles from the first to the second.
const PAUSE_MIN: Duration = Duration::from_secs(10);
const PAUSE_MAX: Duration = Duration::from_mins(10);

#[derive(Debug)]
pub(super) struct Uploads {
    directory: PathBuf,
    transfers: Arc<Transfers>,
    at_a_time: usize,
    poked: Notify,
    queued: AtomicU64,
    active: AtomicUsize,
    /// Whether there is nothing to do, or nothing that can be done now.
    at_rest: watch::Sender<bool>,
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Uploaded {
    /// It need not be tried again.
    Done,
    Later,
}

impl Uploads {
    pub(super) fn new(config: &Config, transfers: Arc<Transfers>) -> Self {
        Self {
            directory: client::uploads(&config.cache_dir),
            transfers,
            at_a_time: usize::try_from(config.s3_concurrency.clamp(1, UPLOADS_MAX)).unwrap_or(1),
            poked: Notify::new(),
            queued: AtomicU64::new(0),
            active: AtomicUsize::new(0),
            at_rest: watch::Sender::new(false),
        }
    }

    pub(super) fn queued(&self) -> u64 {
        self.queued.load(Ordering::Relaxed)
    }

    pub(super) fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    /// Has the queue looked at.
    pub(super) fn poke(&self) {
        if self.transfers.writable_remote().is_none() {
            return;
        }
        self.at_rest.send_replace(false);
        self.poked.notify_one();
    }

    /// Waits until everything is uploaded that can be.
    pub(super) async fn drained(&self) {
        self.poke();
        // The sender lives as long as this does.
        drop(self.at_rest.subscribe().wait_for(|at_rest| *at_rest).await);
    }

    /// Works the queue off for ever.
    pub(super) async fn work(self: Arc<Self>) {
        let Some(remote) = self.transfers.writable_remote().cloned() else {
            self.at_rest.send_replace(true);
            return;
        };
        let mut pause = PAUSE_MIN;
        loop {
            let entries = self.entries().await;
            if entries.is_empty() {
                pause = PAUSE_MIN;
                self.at_rest.send_replace(true);
                self.poked.notified().await;
                continue;
            }
            if self.upload_all(&remote, entries).await {
                self.at_rest.send_replace(true);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }

    /// What is queued now.
    async fn entries(&self) -> Vec<(UnitKey, ActionKey)> {
        let directory = self.directory.clone();
        let listed = tokio::task::spawn_blocking(move || fs::list_names_if_present(&directory));
        let names = match listed.await {
            Ok(Ok(names)) => names,
            Ok(Err(error)) => {
                crate::log::warn!("{error}");
                Vec::new()
            }
            Err(_) => Vec::new(),
        };
        let entries: Vec<_> = names.iter().filter_map(|name| client::queued(name)).collect();
        self.queued.store(entries.len() as u64, Ordering::Relaxed);
        entries
    }

    /// Uploads each entry once, some at a time; whether any has to be tried again.
    async fn upload_all(
        self: &Arc<Self>,
        remote: &Remote,
        entries: Vec<(UnitKey, ActionKey)>,
    ) -> bool {
        let mut again = false;
        let mut running = JoinSet::new();
        for (unit, action) in entries {
            if running.len() >= self.at_a_time {
                again |= !matches!(running.join_next().await, Some(Ok(Uploaded::Done)));
            }
            if again && !self.transfers.may_try() {
                break;
            }
            let (uploads, remote) = (Arc::clone(self), remote.clone());
            running.spawn(async move { uploads.upload(&remote, unit, action).await });
        }
        while let Some(ended) = running.join_next().await {
            again |= !matches!(ended, Ok(Uploaded::Done));
        }
        again
    }

    async fn upload(&self, remote: &Remote, unit: UnitKey, action: ActionKey) -> Uploaded {
        self.active.fetch_add(1, Ordering::Relaxed);
        let pushed = remote.push(&self.transfers.store, &unit, &action).await;
        self.active.fetch_sub(1, Ordering::Relaxed);
        match pushed {
            Ok(transferred) => self.transfers.uploaded(unit, action, transferred),
            // It was evicted, or damaged on this disk: nothing is left to upload.
            Err(error @ (RemoteError::NotStored(_) | RemoteError::Local(_))) => {
                crate::log::info!("not uploaded: {error}");
            }
            Err(error) => {
                self.transfers.failed(&error);
                return Uploaded::Later;
            }
        }
        let entry = self.directory.join(client::upload_name(unit, action));
        if let Err(error) = fs::remove_if_present(&entry) {
            crate::log::warn!("{error}");
            return Uploaded::Later;
        }
        self.queued.fetch_sub(1, Ordering::Relaxed);
        Uploaded::Done
    }
}
