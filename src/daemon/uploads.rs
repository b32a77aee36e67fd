//! Uploads: who works the queue off.
//!
//! What cannot be uploaded now stays in the queue, and is tried again after a pause, when the daemon is
//! told to stop, or by the next daemon. Nothing that comes meanwhile waits for that.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::config::Config;
use crate::queue::{Entry, Queue};
use crate::remote::Remote;

use super::transfers::Transfers;

/// Uploads at a time, fewer if fewer transfers are allowed.
const UPLOADS_MAX: u64 = 8;
/// What failed is tried again after a pause, which doubles for as long as nothing succeeds.
const PAUSE_MIN: Duration = Duration::from_secs(10);
const PAUSE_MAX: Duration = Duration::from_mins(10);
/// After so many failures in a row the others are not tried for now.
const FAILURES_MAX: u32 = 16;

#[derive(Debug)]
pub(super) struct Uploads {
    queue: Queue,
    transfers: Arc<Transfers>,
    at_a_time: usize,
    /// How often the queue was to be looked at.
    asked: AtomicU64,
    poked: Notify,
    /// Up to which of these times all has been done that can be.
    rested: watch::Sender<u64>,
    /// Whether what failed is to be tried without a pause.
    urgent: AtomicBool,
    queued: AtomicU64,
    active: AtomicUsize,
}

impl Uploads {
    pub(super) fn new(config: &Config, transfers: Arc<Transfers>) -> Self {
        Self {
            queue: Queue::of(config),
            transfers,
            at_a_time: usize::try_from(config.s3_concurrency.clamp(1, UPLOADS_MAX)).unwrap_or(1),
            asked: AtomicU64::new(0),
            poked: Notify::new(),
            rested: watch::Sender::new(0),
            urgent: AtomicBool::new(false),
            queued: AtomicU64::new(0),
            active: AtomicUsize::new(0),
        }
    }

    pub(super) fn queued(&self) -> u64 {
        self.queued.load(Ordering::Relaxed)
    }

    pub(super) fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    /// Has the queue looked at.
    pub(super) fn poke(&self) -> u64 {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        self.poked.notify_one();
        asked
    }

    /// Waits until everything is uploaded that can be.
    pub(super) async fn settled(&self) {
        if self.transfers.writable_remote().is_none() {
            return;
        }
        let asked = self.poke();
        // The sender lives as long as this does.
        drop(self.rested.subscribe().wait_for(|rested| *rested >= asked).await);
    }

    /// The same, and what has failed is tried once more.
    pub(super) async fn drained(&self) {
        self.urgent.store(true, Ordering::SeqCst);
        self.settled().await;
    }

    /// Works the queue off for ever.
    pub(super) async fn work(self: Arc<Self>) {
        let Some(remote) = self.transfers.writable_remote().cloned() else { return };
        let mut failed = HashSet::new();
        let (mut pause, mut again) = (Duration::ZERO, Instant::now());
        loop {
            let asked = self.asked.load(Ordering::SeqCst);
            if self.urgent.swap(false, Ordering::SeqCst) {
                failed.clear();
            }
            let queued = self.entries().await;
            failed.retain(|entry| queued.contains(entry));
            let due: HashSet<Entry> = queued.difference(&failed).copied().collect();
            if !due.is_empty() {
                let count = due.len();
                let left = self.upload_all(&remote, due).await;
                pause = if left.len() < count { Duration::ZERO } else { pause * 2 };
                pause = pause.clamp(PAUSE_MIN, PAUSE_MAX);
                // What comes in between does not put off what failed before.
                let next = Instant::now() + pause;
                again = if failed.is_empty() { next } else { again.min(next) };
                failed.extend(left);
                continue;
            }
            self.rested.send_replace(asked);
            tokio::select! {
                () = self.poked.notified() => {}
                () = sleep_until(again), if !failed.is_empty() => failed.clear(),
            }
        }
    }

    /// What is queued now.
    async fn entries(&self) -> HashSet<Entry> {
        let queue = self.queue.clone();
        let entries = match tokio::task::spawn_blocking(move || queue.entries()).await {
            Ok(Ok(entries)) => entries,
            Ok(Err(error)) => {
                crate::log::warn!("{error}");
                Vec::new()
            }
            Err(_) => Vec::new(),
        };
        self.queued.store(entries.len() as u64, Ordering::Relaxed);
        entries.into_iter().collect()
    }

    /// Uploads each entry once, some at a time; those that have to be tried again.
    async fn upload_all(
        self: &Arc<Self>,
        remote: &Remote,
        entries: HashSet<Entry>,
    ) -> HashSet<Entry> {
        let mut left = entries.clone();
        let mut entries = entries.into_iter();
        let mut running = JoinSet::new();
        let mut failures = 0;
        loop {
            while running.len() < self.at_a_time
                && (failures == 0 || failures < FAILURES_MAX && self.transfers.may_try())
                && let Some(entry) = entries.next()
            {
                let (uploads, remote) = (Arc::clone(self), remote.clone());
                running.spawn(async move { uploads.upload(&remote, entry).await.then_some(entry) });
            }
            match running.join_next().await {
                Some(Ok(Some(entry))) => {
                    left.remove(&entry);
                    failures = 0;
                }
                Some(_) => failures += 1,
                None => return left,
            }
        }
    }

    /// Whether it need not be tried again.
    async fn upload(&self, remote: &Remote, entry: Entry) -> bool {
        self.active.fetch_add(1, Ordering::Relaxed);
        let pushed = remote.push(&self.transfers.store, &entry.unit, &entry.action).await;
        self.active.fetch_sub(1, Ordering::Relaxed);
        match pushed {
            Ok(transferred) => self.transfers.uploaded(entry.unit, entry.action, transferred),
            Err(error) if error.is_lost() => crate::log::info!("not uploaded: {error}"),
            Err(error) => {
                self.transfers.failed(&error);
                return false;
            }
        }
        if let Err(error) = self.queue.remove(entry) {
            crate::log::warn!("{error}");
            return false;
        }
        self.queued.fetch_sub(1, Ordering::Relaxed);
        true
    }
}
