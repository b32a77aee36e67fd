//! Downloads: each result once, whoever asks for it and however many do.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use store_format::message::Status;
use store_format::{ActionKey, Digest, Kind, ManifestList, ResultRecord, UnitKey};
use tokio::sync::watch;

use crate::config::Config;
use crate::fs;
use crate::publish::{Look, look_at_store, look_due};
use crate::remote::{Remote, RemoteError, Transferred};
use crate::store::Store;

use super::breaker::Breaker;

/// How long what the remote does not have is not asked for again.
const ABSENT_FOR: Duration = Duration::from_secs(30);
/// How many absent names are remembered.
const ABSENT_MAX: usize = 20_000;

/// How asking for a result ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fetched {
    Stored,
    Absent,
    Unavailable,
}

/// Who wants a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A wrapper waits for it.
    Demand,
    /// A build is about to need it.
    Prefetch,
}

#[derive(Debug)]
pub(super) struct Transfers {
    pub(super) store: Arc<Store>,
    remote: Option<Remote>,
    config: Config,
    state: Mutex<State>,
    counters: Counters,
    /// Whether the store is to be looked at for its cap.
    look_due: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    flights: HashMap<ActionKey, watch::Receiver<Option<Fetched>>>,
    /// Keys of units and actions that the remote does not have, and since when.
    absent: HashMap<Digest, Instant>,
    breaker: Breaker,
    last_error: String,
}

#[derive(Debug, Default)]
struct Counters {
    downloads: AtomicU64,
    downloaded_bytes: AtomicU64,
    prefetched: AtomicU64,
    uploads: AtomicU64,
    uploaded_bytes: AtomicU64,
    requests: AtomicU64,
    failures: AtomicU64,
}

impl Transfers {
    pub(super) fn new(config: &Config, store: Arc<Store>, remote: Option<Remote>) -> Self {
        Self {
            store,
            remote,
            config: config.clone(),
            state: Mutex::default(),
            counters: Counters::default(),
            look_due: AtomicBool::new(false),
        }
    }

    pub(super) fn remote(&self) -> Option<&Remote> {
        self.remote.as_ref()
    }

    pub(super) fn writable_remote(&self) -> Option<&Remote> {
        self.remote().filter(|remote| remote.is_writable())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn active(&self) -> usize {
        self.state().flights.len()
    }

    /// Fetches a result unless it is there, or joins who is fetching it.
    pub(super) async fn fetch(self: &Arc<Self>, action: ActionKey, purpose: Purpose) -> Fetched {
        if self.is_stored(action) {
            return Fetched::Stored;
        }
        let mut flight = match self.board(action, purpose) {
            Ok(flight) => flight,
            Err(fetched) => return fetched,
        };
        let landed = flight.wait_for(Option::is_some).await;
        landed.ok().and_then(|fetched| *fetched).unwrap_or(Fetched::Unavailable)
    }

    /// The transfer of a result, which is begun if nobody has.
    fn board(
        self: &Arc<Self>,
        action: ActionKey,
        purpose: Purpose,
    ) -> Result<watch::Receiver<Option<Fetched>>, Fetched> {
        let Some(remote) = self.remote.clone() else { return Err(Fetched::Unavailable) };
        let mut state = self.state();
        // One whose task is gone will never land.
        if let Some(flight) = state.flights.get(&action).filter(|f| f.has_changed().is_ok()) {
            return Ok(flight.clone());
        }
        if state.is_absent(&action.0) {
            return Err(Fetched::Absent);
        }
        if !state.breaker.may_try(Instant::now()) {
            return Err(Fetched::Unavailable);
        }
        let (sender, flight) = watch::channel(None);
        state.flights.insert(action, flight.clone());
        drop(state);
        let transfers = Arc::clone(self);
        tokio::spawn(async move {
            let pulled = remote.pull(&transfers.store, &action).await;
            let fetched = transfers.landed(action, purpose, pulled);
            transfers.state().flights.remove(&action);
            // Those who asked may have given up.
            sender.send_replace(Some(fetched));
        });
        Ok(flight)
    }

    fn landed(
        self: &Arc<Self>,
        action: ActionKey,
        purpose: Purpose,
        pulled: Result<Option<Transferred>, RemoteError>,
    ) -> Fetched {
        match self.judge(&action.0, pulled) {
            Ok(Some(transferred)) => {
                self.counters.downloads.fetch_add(1, Ordering::Relaxed);
                self.counters.downloaded_bytes.fetch_add(transferred.wire_bytes, Ordering::Relaxed);
                if purpose == Purpose::Prefetch {
                    self.counters.prefetched.fetch_add(1, Ordering::Relaxed);
                }
                let (config, store) = (&self.config, &self.store);
                match look_due(config, store, transferred.bytes, &action) {
                    Some(Look::Now) => self.look(Look::Now),
                    Some(Look::Soon) => self.look_due.store(true, Ordering::Relaxed),
                    None => {}
                }
                Fetched::Stored
            }
            Ok(None) => Fetched::Absent,
            Err(()) => Fetched::Unavailable,
        }
    }

    /// Has the store looked at if that is due. It takes a processor for a moment, and what it writes
    /// to the disk for longer: it is left until no build is going on.
    pub(super) fn look_if_due(self: &Arc<Self>) {
        if self.look_due.swap(false, Ordering::Relaxed) {
            self.look(Look::Soon);
        }
    }

    fn look(self: &Arc<Self>, look: Look) {
        let transfers = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            if let Some(mut collector) = look_at_store(&transfers.config, look) {
                // Nobody else would take note of its end.
                drop(collector.wait());
            }
        });
    }

    /// The manifests of a unit; an error if nothing can be said now.
    pub(super) async fn manifests(&self, unit: UnitKey) -> Result<Option<ManifestList>, ()> {
        let Some(remote) = &self.remote else { return Err(()) };
        {
            let mut state = self.state();
            if state.is_absent(&unit.0) {
                return Ok(None);
            }
            if !state.breaker.may_try(Instant::now()) {
                return Err(());
            }
        }
        let asked = remote.manifests(&unit).await;
        self.judge(&unit.0, asked)
    }

    /// Whether the network may be asked for something now.
    pub(super) fn may_try(&self) -> bool {
        self.state().breaker.may_try(Instant::now())
    }

    /// Takes note of how a request ended. What is damaged, or refused, is as good as absent.
    pub(super) fn judge<T>(
        &self,
        key: &Digest,
        ended: Result<Option<T>, RemoteError>,
    ) -> Result<Option<T>, ()> {
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state();
        match ended {
            Ok(found) => {
                state.breaker.succeeded();
                if found.is_none() {
                    state.note_absent(*key);
                }
                Ok(found)
            }
            Err(error) => {
                drop(state);
                self.failed(&error);
                if !error.is_definite() {
                    return Err(());
                }
                self.state().note_absent(*key);
                Ok(None)
            }
        }
    }

    /// Takes note of a failure.
    pub(super) fn failed(&self, error: &RemoteError) {
        self.counters.failures.fetch_add(1, Ordering::Relaxed);
        crate::log::warn!("{error}");
        let mut state = self.state();
        state.last_error = error.to_string();
        if error.is_definite() {
            state.breaker.succeeded();
        } else {
            state.breaker.failed(Instant::now());
        }
    }

    /// Takes note of an upload.
    pub(super) fn uploaded(&self, unit: UnitKey, action: ActionKey, transferred: Transferred) {
        self.counters.uploads.fetch_add(1, Ordering::Relaxed);
        self.counters.uploaded_bytes.fetch_add(transferred.wire_bytes, Ordering::Relaxed);
        self.counters.requests.fetch_add(transferred.requests.into(), Ordering::Relaxed);
        let mut state = self.state();
        state.breaker.succeeded();
        state.absent.remove(&unit.0);
        state.absent.remove(&action.0);
    }

    /// Whether the store has a result with all its files.
    pub(super) fn is_stored(&self, action: ActionKey) -> bool {
        let record = self.store.index.get(Kind::Result, &action.0);
        let Some(result) = record.and_then(|record| ResultRecord::decode(action, &record).ok())
        else {
            return false;
        };
        result.blobs().iter().all(|output| {
            let blob = fs::stat(&self.store.blob_path(&output.blob));
            blob.is_ok_and(|stat| stat.size_bytes == output.size_bytes)
        })
    }

    pub(super) fn describe(&self, status: &mut Status) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        status.downloads = count(&counters.downloads);
        status.downloaded_bytes = count(&counters.downloaded_bytes);
        status.prefetched = count(&counters.prefetched);
        status.uploads = count(&counters.uploads);
        status.uploaded_bytes = count(&counters.uploaded_bytes);
        status.requests = count(&counters.requests);
        status.failures = count(&counters.failures);
        let state = self.state();
        status.downloads_active = state.flights.len() as u64;
        status.resting = state.breaker.is_open(Instant::now());
        status.last_error.clone_from(&state.last_error);
    }
}

impl State {
    fn is_absent(&mut self, key: &Digest) -> bool {
        let Some(since) = self.absent.get(key) else { return false };
        let absent = since.elapsed() < ABSENT_FOR;
        if !absent {
            self.absent.remove(key);
        }
        absent
    }

    fn note_absent(&mut self, key: Digest) {
        if self.absent.len() >= ABSENT_MAX {
            self.absent.retain(|_, since| since.elapsed() < ABSENT_FOR);
        }
        if self.absent.len() < ABSENT_MAX {
            self.absent.insert(key, Instant::now());
        }
    }
}
