//! Many transfers at once, and a bar that shows how they go on.

use super::plan::Item;
use crate::cli::output::Console;
use crate::queue::{Entry, Queue};
use crate::remote::{LocalError, Remote, RemoteError, Transferred, adopt_manifests};
use crate::store::Store;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store_format::{Kind, ResultRecord};
use tokio::task::JoinSet;

/// Transfers that are begun at a time; the remote lets as many go on as are configured.
const BEGUN_MAX: usize = 64;
/// After so many failures of the network without a success between them, the rest is not tried.
const FAILURES_MAX: u32 = 5;
const TEMPLATE: &str = "{msg} [{bar:24}] {decimal_bytes}/{decimal_total_bytes}  \
                        {decimal_bytes_per_sec}  {eta} left";
/// Failures that are named.
const NAMED_MAX: u64 = 10;

#[derive(Clone, Copy, Debug)]
pub(super) enum Direction {
    Pull,
    Push,
}

/// What became of the transfers.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) done: u64,
    /// Already where they were to go.
    pub(super) there: u64,
    /// Listed, and not there.
    pub(super) absent: u64,
    pub(super) failed: u64,
    pub(super) moved: Transferred,
    pub(super) elapsed: Duration,
}

/// Transfers all items, a bounded number of them at a time.
pub(super) async fn run<F>(
    direction: Direction,
    items: Vec<Item>,
    console: &Console,
    transfer: impl Fn(Item) -> F,
) -> Outcome
where
    F: Future<Output = Result<Option<Transferred>, RemoteError>> + Send + 'static,
{
    let started = Instant::now();
    let bar = Bar::new(direction, &items, console);
    let (mut outcome, mut unreachable) = (Outcome::default(), 0);
    let mut left = items.into_iter();
    let mut running = JoinSet::new();
    loop {
        while running.len() < BEGUN_MAX
            && unreachable < FAILURES_MAX
            && let Some(item) = left.next()
        {
            let (size_bytes, transfer) = (item.size_bytes, transfer(item));
            running.spawn(async move { (size_bytes, transfer.await) });
        }
        let Some(ended) = running.join_next().await else { break };
        let (size_bytes, result) = match ended {
            Ok(ended) => ended,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        bar.advance(size_bytes);
        match result {
            Ok(Some(moved)) => {
                unreachable = 0;
                outcome.done += u64::from(!moved.was_there);
                outcome.there += u64::from(moved.was_there);
                outcome.moved.bytes += moved.bytes;
                outcome.moved.wire_bytes += moved.wire_bytes;
                outcome.moved.requests += moved.requests;
            }
            Ok(None) => outcome.absent += 1,
            Err(error) => {
                outcome.failed += 1;
                unreachable += u32::from(!error.is_definite());
                if outcome.failed <= NAMED_MAX {
                    bar.above(|| console.warning(&error.to_string()));
                }
            }
        }
    }
    outcome.failed += left.len() as u64;
    bar.finish();
    outcome.elapsed = started.elapsed();
    outcome
}

/// Fetches a result, and then what leads to it.
pub(super) async fn pull(
    remote: Remote,
    store: Arc<Store>,
    item: Item,
) -> Result<Option<Transferred>, RemoteError> {
    let Some(mut moved) = remote.pull(&store, &item.action).await? else { return Ok(None) };
    let stored = store.index.get(Kind::Result, &item.action.0);
    let told = stored.and_then(|record| ResultRecord::decode(item.action, &record).ok());
    let Some(unit) = item.unit.or(told.map(|result| result.unit)) else { return Ok(Some(moved)) };
    let mut manifests = item.manifests;
    if manifests.is_none() {
        moved.requests += 1;
        manifests = remote.manifests(&unit).await?;
    }
    if let Some(manifests) = manifests {
        adopt_manifests(&store, &unit, &manifests)?;
    }
    Ok(Some(moved))
}

/// Uploads a result and what leads to it. What the store has lost meanwhile waits no longer.
pub(super) async fn push(
    remote: Remote,
    store: Arc<Store>,
    queue: Queue,
    item: Item,
) -> Result<Option<Transferred>, RemoteError> {
    let Some(unit) = item.unit else { return Ok(None) };
    let pushed = match remote.push(&store, &unit, &item.action).await {
        Err(error) if error.is_lost() => None,
        pushed => Some(pushed?),
    };
    queue.remove(Entry { unit, action: item.action }).map_err(LocalError::from)?;
    Ok(pushed)
}

/// Results, bytes, rate and the time that is left, on a terminal.
struct Bar {
    shown: ProgressBar,
    verb: &'static str,
    results: u64,
    ended: Cell<u64>,
}

impl Bar {
    fn new(direction: Direction, items: &[Item], console: &Console) -> Self {
        let target = if console.shows_progress() && !items.is_empty() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bytes = items.iter().map(|item| item.size_bytes).sum();
        let bar = ProgressBar::with_draw_target(Some(bytes), target);
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style.progress_chars("=> "));
        }
        let verb = match direction {
            Direction::Pull => "pulling",
            Direction::Push => "pushing",
        };
        let bar = Self { shown: bar, verb, results: items.len() as u64, ended: Cell::new(0) };
        bar.say();
        bar
    }

    fn advance(&self, bytes: u64) {
        self.ended.set(self.ended.get() + 1);
        self.shown.inc(bytes);
        self.say();
    }

    fn say(&self) {
        let (verb, ended, results) = (self.verb, self.ended.get(), self.results);
        self.shown.set_message(format!("{verb} {ended}/{results} results"));
    }

    /// Writes lines where the bar does not overwrite them.
    fn above(&self, write: impl FnOnce()) {
        self.shown.suspend(write);
    }

    fn finish(&self) {
        self.shown.finish_and_clear();
    }
}
