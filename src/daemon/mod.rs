//! The daemon: everything that takes longer than a wrapper may wait.
//!
//! One process for a cache directory. The socket and the store are served by plain threads, the
//! remote by a runtime of its own, and they meet at channels: neither can stall the other. At rest
//! every thread waits without a timeout, but for the one that ends the daemon after a while without
//! requests.
//!
//! Invariants: of all daemons that are started, one goes on (a lock that the kernel takes back);
//! what is queued for upload is on the disk and survives it; nothing of the build that started it
//! reaches it but the variables that `env.rs` lists.

mod breaker;
mod builds;
mod server;
mod start;
mod transfers;
mod uploads;

use std::io::{ErrorKind, Read, Write};
use std::ops::RangeInclusive;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use store_format::Digest;
use store_format::message::Status;
use tokio::runtime::Runtime;

use crate::client::{self, Place};
use crate::config::Config;
use crate::fs::FsError;
use crate::remote::Remote;
use crate::store::{Store, StoreError};
use crate::times;

use builds::Builds;
use transfers::Transfers;
use uploads::Uploads;

pub use start::{Start, again, detach, is_settled, prepare};

/// How long a daemon that is told to stop goes on uploading.
const DRAIN_MAX: Duration = Duration::from_mins(1);
/// How long lists of builds may take to be written when the daemon ends.
const LISTS_MAX: Duration = Duration::from_secs(10);
/// How long transfers that were broken off may take to end.
const ABORT_MAX: Duration = Duration::from_secs(2);
/// How long a daemon that ends may take.
pub const END_MAX: Duration = Duration::from_secs(80);
/// Connections at a time; more are closed at once.
const CONNECTIONS_MAX: usize = 256;
/// Threads of the runtime that do nothing but wait for the network.
const NETWORK_THREADS: usize = 2;
/// Threads of the runtime that read and write the store, one for each transfer between these bounds.
const STORE_THREADS: RangeInclusive<u64> = 16..=256;

/// Why a daemon cannot run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error(transparent)]
    Fs(#[from] FsError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{operation}: {source}")]
    Io { operation: &'static str, source: std::io::Error },
}

fn io(operation: &'static str) -> impl FnOnce(std::io::Error) -> DaemonError {
    move |source| DaemonError::Io { operation, source }
}

/// What all threads of the daemon share.
#[derive(Debug)]
pub(crate) struct Daemon {
    config: Config,
    /// Wrappers of another configuration need another daemon.
    configuration: Digest,
    executable: Executable,
    started_ms: u64,
    transfers: Arc<Transfers>,
    uploads: Arc<Uploads>,
    builds: Arc<Builds>,
    runtime: tokio::runtime::Handle,
    connections: AtomicUsize,
    used: Mutex<Instant>,
    /// Why, once it is known that the daemon ends.
    ending: OnceLock<Ended>,
    /// A byte here ends the daemon.
    waker: UnixStream,
}

/// The file that this process was started from, as it was then.
#[derive(Debug)]
struct Executable {
    path: PathBuf,
    seen: Option<(u64, u64, i64)>,
}

impl Executable {
    fn own() -> Self {
        let path = std::env::current_exe().unwrap_or_default();
        Self { seen: Self::look(&path), path }
    }

    fn look(path: &std::path::Path) -> Option<(u64, u64, i64)> {
        crate::fs::stat(path).ok().map(|stat| (stat.device, stat.inode, stat.mtime_ns))
    }

    fn is_replaced(&self) -> bool {
        Self::look(&self.path) != self.seen
    }
}

/// Runs until it is told to end, or nobody has asked for anything for long enough.
pub fn run(config: Config, start: Start) -> Result<(), DaemonError> {
    let place = Place::of(&config);
    crate::log::begin_daemon(&place.log(), start.is_watched());
    let listener = start::listen(&place)?;
    let (waker, wakened) = UnixStream::pair().map_err(io("make a channel"))?;
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        let waker = waker.try_clone().map_err(io("make a channel"))?;
        signal_hook::low_level::pipe::register(signal, waker).map_err(io("take signals"))?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(NETWORK_THREADS)
        .max_blocking_threads(store_threads(config.s3_concurrency))
        .thread_name("remote")
        .enable_all()
        .build()
        .map_err(io("begin the runtime"))?;
    let daemon = Arc::new(Daemon::new(config, &runtime, waker)?);
    crate::log::info!("process {} at {}", std::process::id(), place.socket.display());
    start.announce();
    daemon.admit_starter(&place);
    let ended = daemon.accept(&listener, &wakened);
    // Whoever connects from now on finds nobody, and starts another daemon.
    let removed = crate::fs::remove_if_present(&place.socket);
    daemon.end(ended);
    runtime.shutdown_timeout(ABORT_MAX);
    // Nothing is wrong with it: the next one need not wait as after one that failed.
    drop(crate::fs::set_mtime(&place.lock(), 0));
    drop(start);
    removed.map_err(DaemonError::from)
}

fn store_threads(transfers: u64) -> usize {
    let threads = transfers.clamp(*STORE_THREADS.start(), *STORE_THREADS.end());
    usize::try_from(threads).unwrap_or(1)
}

/// Why the daemon stops accepting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Idle,
    Signalled,
    /// By a request, which was answered when everything was done.
    Stopped,
    /// For one with a newer executable or another configuration.
    Replaced,
}

impl Daemon {
    fn new(config: Config, runtime: &Runtime, waker: UnixStream) -> Result<Self, DaemonError> {
        let store = Arc::new(Store::open(&config.cache_dir)?);
        let opened = config.has_remote().then(|| runtime.block_on(Remote::open(&config)));
        let remote = match opened.transpose() {
            Ok(remote) => remote,
            Err(error) => {
                crate::log::error!("{error}");
                None
            }
        };
        let transfers = Arc::new(Transfers::new(&config, Arc::clone(&store), remote));
        let uploads = Arc::new(Uploads::new(&config, Arc::clone(&transfers)));
        runtime.spawn(Arc::clone(&uploads).work());
        Ok(Self {
            configuration: client::configuration(&config),
            executable: Executable::own(),
            started_ms: times::now_ms(),
            builds: Arc::new(Builds::new(&config, Arc::clone(&transfers), Arc::clone(&uploads))),
            transfers,
            uploads,
            runtime: runtime.handle().clone(),
            connections: AtomicUsize::new(0),
            used: Mutex::new(Instant::now()),
            ending: OnceLock::new(),
            waker,
            config,
        })
    }

    /// Begins with the build that this daemon was started for.
    fn admit_starter(&self, place: &Place) {
        if let Some(build) = client::take_word(place)
            && build.configuration == self.configuration
        {
            // `None`: it has ended already.
            drop(self.builds.of(build, &self.runtime));
        }
    }

    /// Serves each connection on a thread of its own until there is a reason to end.
    fn accept(self: &Arc<Self>, listener: &UnixListener, wakened: &UnixStream) -> Ended {
        loop {
            let timeout = self.time_left().and_then(|left| Timespec::try_from(left).ok());
            let mut ready =
                [PollFd::new(listener, PollFlags::IN), PollFd::new(wakened, PollFlags::IN)];
            match poll(&mut ready, timeout.as_ref()) {
                Ok(0) if self.is_idle() => return Ended::Idle,
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    crate::log::error!("poll: {error}");
                    return Ended::Signalled;
                }
            }
            if !ready[1].revents().is_empty() {
                // A signal gives no reason.
                return *self.ending.get_or_init(|| Ended::Signalled);
            }
            if !ready[0].revents().is_empty() {
                match listener.accept() {
                    Ok((stream, _)) => self.receive(stream),
                    // Whoever it was is gone.
                    Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                    Err(error) => {
                        crate::log::error!("accept: {error}");
                        return Ended::Signalled;
                    }
                }
            }
        }
    }

    fn receive(self: &Arc<Self>, stream: UnixStream) {
        self.touch();
        if self.executable.is_replaced() {
            crate::log::info!("{} is another file now", self.executable.path.display());
            self.make_way();
            return;
        }
        if self.connections.load(Ordering::Relaxed) >= CONNECTIONS_MAX {
            crate::log::warn!("{CONNECTIONS_MAX} connections at a time");
            return;
        }
        self.connections.fetch_add(1, Ordering::Relaxed);
        let daemon = Arc::clone(self);
        let serve = move || {
            server::serve(&daemon, stream);
            daemon.connections.fetch_sub(1, Ordering::Relaxed);
            daemon.touch();
        };
        if let Err(error) = std::thread::Builder::new().name("wrapper".into()).spawn(serve) {
            self.connections.fetch_sub(1, Ordering::Relaxed);
            crate::log::error!("no thread for a connection: {error}");
        }
    }

    fn touch(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// `None`: for ever.
    fn time_left(&self) -> Option<Duration> {
        let secs = self.config.daemon_idle_timeout_secs;
        let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = Duration::from_secs(secs);
        let left = limit.saturating_sub(used.elapsed());
        // What keeps it from being idle now is looked at again after a whole term.
        (secs > 0).then_some(if left.is_zero() { limit } else { left })
    }

    fn is_idle(&self) -> bool {
        let limit = Duration::from_secs(self.config.daemon_idle_timeout_secs);
        let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.elapsed() >= limit
            && self.connections.load(Ordering::Relaxed) == 0
            && self.transfers.active() == 0
            && self.uploads.active() == 0
    }

    /// Ends for another daemon: what is queued is left to it.
    fn make_way(&self) {
        self.ending.get_or_init(|| Ended::Replaced);
        self.wake();
    }

    /// Does what is left to be done, and ends when [`Daemon::wake`] says so; how many uploads are left.
    fn stop(&self) -> u64 {
        self.ending.get_or_init(|| Ended::Stopped);
        self.drain()
    }

    fn is_ending(&self) -> bool {
        self.ending.get().is_some()
    }

    fn wake(&self) {
        // It has been told already if the channel is full.
        drop((&self.waker).write(&[0]));
    }

    /// Goes on uploading for a while; how many uploads are left then.
    fn drain(&self) -> u64 {
        let drained = self.uploads.drained();
        let within = async { tokio::time::timeout(DRAIN_MAX, drained).await.is_ok() };
        if !self.runtime.block_on(within) {
            crate::log::warn!("uploads take longer than {} s", DRAIN_MAX.as_secs());
        }
        self.finish_builds();
        self.uploads.queued()
    }

    fn finish_builds(&self) {
        let lists = self.builds.finish_all();
        let within = async { tokio::time::timeout(LISTS_MAX, lists).await.is_ok() };
        if !self.runtime.block_on(within) {
            crate::log::warn!("lists of builds take longer than {} s", LISTS_MAX.as_secs());
        }
    }

    fn end(&self, ended: Ended) {
        crate::log::info!("ends: {ended:?}");
        match ended {
            Ended::Signalled => {
                let left = self.drain();
                crate::log::info!("{left} uploads are left");
            }
            Ended::Idle => self.finish_builds(),
            Ended::Stopped | Ended::Replaced => {}
        }
    }

    fn status(&self) -> Status {
        let mut status = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            remote: self.config.remote_name(),
            pid: std::process::id(),
            started_ms: self.started_ms,
            builds: self.builds.count() as u64,
            uploads_active: self.uploads.active() as u64,
            uploads_queued: self.uploads.queued(),
            ..Status::default()
        };
        self.transfers.describe(&mut status);
        status
    }
}

/// Reads exactly the buffer; `None` if the peer is done before the first byte.
fn read_whole(stream: &mut UnixStream, buffer: &mut [u8]) -> std::io::Result<Option<()>> {
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(()))
}
