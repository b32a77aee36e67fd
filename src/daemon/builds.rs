//! Builds: which processes of Cargo are being served, what they are about to need, and what they used.
//!
//! A build is known from its first word to the end of its process. At the beginning the list of what
//! a build like it used is fetched, which says what to prefetch, and which manifests a unit has
//! without another request; at the end the list is written again if there was anything new.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use store_format::message::BuildOf;
use store_format::slot::ProcessId;
use store_format::{BuildList, Digest, Kind, ManifestList, ResultRecord, UnitKey};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::config::Config;
use crate::fs;
use crate::index::wait;
use crate::remote::build::{all_builds, identity, list_of_build, project_identity, selection};
use crate::remote::{Remote, RemoteError, adopt_manifests, unless_damaged};
use crate::times;

use super::transfers::{Fetched, Purpose, Transfers};
use super::uploads::Uploads;

/// A build may wait in vain for this long, all its calls together, beyond what it was saved.
const VAIN_MAX: Duration = Duration::from_secs(10);
/// How far back the events of a build may lie whose start is not known.
const BUILD_MAX: Duration = Duration::from_hours(24);
/// How long a build may compile without a word before a daemon may make way all the same.
const SILENCE_MAX: Duration = Duration::from_mins(5);
/// A result that has more than this part of all bytes that a build is about to need is large.
const LARGE_PART: u64 = 16;
/// How long the list of a build waits for the uploads of what it names.
const UPLOADS_MAX: Duration = Duration::from_mins(10);

#[derive(Debug)]
pub(super) struct Builds {
    config: Config,
    transfers: Arc<Transfers>,
    uploads: Arc<Uploads>,
    known: Arc<Mutex<HashMap<u32, Arc<Build>>>>,
}

/// One process of Cargo.
#[derive(Debug)]
pub(super) struct Build {
    of: BuildOf,
    process: ProcessId,
    began_ms: u64,
    expected: watch::Sender<Option<Arc<Expected>>>,
    ended: watch::Sender<bool>,
    balance: Mutex<Balance>,
    /// When one of its calls was here last.
    heard: Mutex<Instant>,
    /// Whether its list was written, held by who writes it.
    finished: tokio::sync::Mutex<bool>,
}

/// What a build like this one used.
#[derive(Debug, Default)]
pub(super) struct Expected {
    list: BuildList,
    /// Where in the list each unit is.
    manifests: HashMap<UnitKey, usize>,
}

/// The time that calls of a build have lost and won.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Balance {
    lost: Duration,
    won: Duration,
}

impl Build {
    /// Whether its calls have waited in vain for too long.
    pub(super) fn is_given_up(&self) -> bool {
        let balance = *self.balance();
        balance.lost > balance.won + VAIN_MAX
    }

    /// Takes note of how long a call waited; `saved` is what its result saves.
    pub(super) fn waited(&self, waited: Duration, saved: Option<Duration>) {
        let mut balance = self.balance();
        match saved {
            Some(saved) => balance.won += saved,
            None => balance.lost += waited,
        }
    }

    fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    fn heard(&self) -> MutexGuard<'_, Instant> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn balance(&self) -> MutexGuard<'_, Balance> {
        self.balance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The manifests of a unit in the build's list, once that is there.
    pub(super) async fn manifests(&self, unit: UnitKey) -> Option<ManifestList> {
        let mut expected = self.expected.subscribe();
        let expected = expected.wait_for(Option::is_some).await.ok()?.clone()?;
        let place = *expected.manifests.get(&unit)?;
        Some(expected.list.actions[place].manifests.clone())
    }

    fn identity(&self, lockfile: &[u8], config: &Config) -> Digest {
        identity(lockfile, &self.of.compiler.0, config.key_salt.as_deref())
    }

    fn project_identity(&self, lockfile: &[u8], config: &Config) -> Option<Digest> {
        project_identity(lockfile, &self.of.compiler.0, config.key_salt.as_deref())
    }

    /// Cargo may write it only while it runs. `None`: nothing tells the build from all others.
    fn lockfile(&self) -> Option<Vec<u8>> {
        let directory = Path::new(OsStr::from_bytes(&self.of.directory));
        let words = words_of(&self.of.command_line);
        let manifest = values_of(&words, "--manifest-path").pop();
        let start = manifest.map_or(directory.to_owned(), |manifest| directory.join(manifest));
        start.ancestors().find_map(|directory| fs::read(&directory.join("Cargo.lock")).ok())
    }

    fn selection(&self) -> Digest {
        let (profile, target) = selected(&self.of.command_line);
        selection(&profile, &target)
    }
}

/// What a command line of Cargo's says to Cargo.
fn words_of(command_line: &[u8]) -> Vec<String> {
    command_line
        .split(|byte| *byte == 0)
        .skip(1)
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .take_while(|word| word != "--")
        .collect()
}

/// The values of an option, `--option value` or `--option=value`.
fn values_of(words: &[String], option: &str) -> Vec<String> {
    let mut values = Vec::new();
    for (place, word) in words.iter().enumerate() {
        if word == option {
            values.extend(words.get(place + 1).cloned());
        } else if let Some(rest) = word.strip_prefix(option)
            && let Some(value) = rest.strip_prefix('=')
        {
            values.push(value.to_owned());
        }
    }
    values
}

/// What a command line of Cargo builds: the kind of units and their profile, and the targets.
fn selected(command_line: &[u8]) -> (String, String) {
    let words = words_of(command_line);
    let command = words.iter().find(|word| !word.starts_with(['-', '+'])).map(String::as_str);
    let kind = match command {
        Some("check" | "c" | "clippy" | "fix") => "check",
        Some("test" | "t" | "nextest") => "test",
        Some("bench") => "bench",
        Some("doc" | "d" | "rustdoc") => "doc",
        Some("install") => "install",
        _ => "build",
    };
    let release = words.iter().any(|word| word == "--release" || word == "-r");
    let profile = match values_of(&words, "--profile").pop() {
        Some(profile) => profile,
        None if release => "release".to_owned(),
        None => "default".to_owned(),
    };
    let mut targets = values_of(&words, "--target");
    targets.sort();
    (format!("{kind} {profile}"), targets.join(" "))
}

/// Puts in front what has much of all bytes: one thread decompresses it, and if it came last, as an
/// executable would, nothing else would be left to be done meanwhile. The rest stays in order.
fn large_first(places: &mut [usize], size_bytes: impl Fn(usize) -> u64) {
    let large = places.iter().map(|place| size_bytes(*place)).sum::<u64>() / LARGE_PART;
    places.sort_by_key(|place| {
        let bytes = size_bytes(*place);
        Reverse(if bytes > large { bytes } else { 0 })
    });
}

impl Builds {
    pub(super) fn new(config: &Config, transfers: Arc<Transfers>, uploads: Arc<Uploads>) -> Self {
        Self { config: config.clone(), transfers, uploads, known: Arc::default() }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<u32, Arc<Build>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self) -> usize {
        self.known().values().filter(|build| !build.has_ended()).count()
    }

    /// Whether another process of Cargo than this one is being served. One that was not heard of for
    /// long most likely runs what it has built.
    pub(super) fn serves_another(&self, than: Option<u32>) -> bool {
        let is_served = |build: &Build| !build.has_ended() && build.heard().elapsed() < SILENCE_MAX;
        self.known().values().any(|build| Some(build.of.cargo_pid) != than && is_served(build))
    }

    /// The build that a wrapper belongs to; `None` if its Cargo is gone.
    pub(super) fn of(
        self: &Arc<Self>,
        of: BuildOf,
        runtime: &tokio::runtime::Handle,
    ) -> Option<Arc<Build>> {
        let process = wait::running(of.cargo_pid)?;
        let mut known = self.known();
        if let Some(build) = known.get(&of.cargo_pid).filter(|build| build.process == process) {
            *build.heard() = Instant::now();
            return Some(Arc::clone(build));
        }
        let ago = wait::running_for(of.cargo_pid).unwrap_or(BUILD_MAX);
        let ago_ms = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
        let build = Arc::new(Build {
            process,
            began_ms: times::now_ms().saturating_sub(ago_ms),
            expected: watch::Sender::new(None),
            ended: watch::Sender::new(false),
            balance: Mutex::default(),
            heard: Mutex::new(Instant::now()),
            finished: tokio::sync::Mutex::default(),
            of,
        });
        known.insert(build.of.cargo_pid, Arc::clone(&build));
        drop(known);
        runtime.spawn(Arc::clone(self).prefetch(Arc::clone(&build)));
        self.watch(&build, runtime);
        Some(build)
    }

    /// Has the end of a build noticed, by a thread that waits for it.
    fn watch(self: &Arc<Self>, build: &Arc<Build>, runtime: &tokio::runtime::Handle) {
        let (builds, build) = (Arc::clone(self), Arc::clone(build));
        let runtime = runtime.clone();
        let wait = move || {
            wait::wait(build.process, BUILD_MAX);
            build.ended.send_replace(true);
            runtime.spawn(async move {
                // What it queued is there, whether or not the daemon heard of it.
                builds.uploads.poke();
                builds.finish(&build).await;
                let mut known = builds.known();
                if known.get(&build.of.cargo_pid).is_some_and(|known| Arc::ptr_eq(known, &build)) {
                    known.remove(&build.of.cargo_pid);
                }
                drop(known);
                if builds.count() == 0 {
                    builds.transfers.look_if_due();
                }
            });
        };
        if let Err(error) = std::thread::Builder::new().name("build".into()).spawn(wait) {
            crate::log::warn!("the end of a build will not be noticed: {error}");
        }
    }

    /// Fetches a build's list and what it names, in order, for as long as the build lasts.
    async fn prefetch(self: Arc<Self>, build: Arc<Build>) {
        let began = Instant::now();
        let list = self.list(&build).await;
        let manifests = list.actions.iter().enumerate().map(|(place, action)| (action.unit, place));
        let manifests = manifests.collect();
        let expected = Arc::new(Expected { list, manifests });
        build.expected.send_replace(Some(Arc::clone(&expected)));
        let count = expected.list.actions.len();
        if count == 0 {
            return;
        }
        crate::log::info!("a build is expected to need {count} results");
        let deadline = Duration::from_secs(self.config.prefetch_deadline_secs);
        let left = deadline.saturating_sub(began.elapsed());
        if left.is_zero() {
            return;
        }
        let mut ended = build.ended.subscribe();
        let how = tokio::select! {
            biased;
            _ = ended.wait_for(|ended| *ended) => "the build ended".to_owned(),
            () = tokio::time::sleep(left) => "too late".to_owned(),
            fetched = self.fetch_all(&expected) => format!("{fetched} fetched"),
        };
        crate::log::info!("prefetch ends after {:?}: {how}", began.elapsed());
    }

    /// What a build like this one used; empty if nobody knows, or nothing is to be prefetched.
    async fn list(&self, build: &Build) -> BuildList {
        let Some(remote) = self.transfers.remote() else { return BuildList::default() };
        if !self.config.prefetch_enabled || !self.transfers.may_try() {
            return BuildList::default();
        }
        let Some(lockfile) = build.lockfile() else { return BuildList::default() };
        let exact = build.identity(&lockfile, &self.config);
        let own = build.selection();
        // What `kache sync` or `save-manifest` says of the whole workspace is the next best, and then
        // what builds with another lockfile used. To tell the project takes reading the lockfile.
        let project = std::iter::once_with(|| build.project_identity(&lockfile, &self.config));
        let identities = std::iter::once(exact).chain(project.flatten());
        let names = identities.flat_map(|identity| [(identity, own), (identity, all_builds())]);
        for (identity, selection) in names {
            let asked = remote.build(&identity, &selection).await;
            match self.transfers.judge(&identity, asked) {
                Ok(Some(list)) => return list,
                Ok(None) => {}
                Err(()) => break,
            }
        }
        BuildList::default()
    }

    /// Which actions of a list are to be fetched, as their places in it.
    fn wanted(&self, list: &BuildList) -> Vec<usize> {
        let size_bytes = |place: usize| list.actions[place].size_bytes;
        let bytes_max = self.config.prefetch_max_bytes;
        let mut bytes: u64 = 0;
        let mut wanted: Vec<usize> = (0..list.actions.len())
            .filter(|place| !self.transfers.is_stored(list.actions[*place].action))
            .take_while(|place| {
                bytes = bytes.saturating_add(size_bytes(*place));
                bytes <= bytes_max
            })
            .collect();
        if bytes > bytes_max {
            crate::log::info!("more than prefetch_max_bytes: the rest is left to demand");
        }
        large_first(&mut wanted, size_bytes);
        wanted
    }

    /// Demands are served besides: some of the transfers that are allowed are left to them, but for one
    /// result each at the beginning, when connections are slow and nobody demands anything yet.
    async fn fetch_all(&self, expected: &Arc<Expected>) -> usize {
        let allowed = usize::try_from(self.config.s3_concurrency.clamp(1, 1024)).unwrap_or(1);
        let left_to_demands = allowed - allowed / 4..allowed;
        let permits = Arc::new(Semaphore::new(allowed));
        let mut running = JoinSet::new();
        for (number, place) in self.wanted(&expected.list).into_iter().enumerate() {
            let is_lent = left_to_demands.contains(&number);
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { break };
            let (transfers, expected) = (Arc::clone(&self.transfers), Arc::clone(expected));
            running.spawn(async move {
                let action = &expected.list.actions[place];
                let fetched = transfers.fetch(action.action, Purpose::Prefetch).await;
                if fetched == Fetched::Stored
                    && let Err(error) =
                        adopt_manifests(&transfers.store, &action.unit, &action.manifests)
                {
                    crate::log::warn!("a result that was fetched is not found: {error}");
                }
                if is_lent {
                    permit.forget();
                }
                fetched
            });
        }
        let mut stored = 0;
        while let Some(fetched) = running.join_next().await {
            stored += usize::from(matches!(fetched, Ok(Fetched::Stored)));
        }
        stored
    }

    /// Writes the lists of all builds as far as they have come.
    pub(super) async fn finish_all(&self) {
        let builds: Vec<_> = self.known().values().cloned().collect();
        for build in builds {
            self.finish(&build).await;
        }
    }

    /// Writes the list of a build if it used anything that the list does not name.
    async fn finish(&self, build: &Arc<Build>) {
        let Some(remote) = self.transfers.writable_remote() else { return };
        let mut finished = build.finished.lock().await;
        if std::mem::replace(&mut *finished, build.has_ended()) {
            return;
        }
        if let Err(error) = self.put_list(remote, build).await {
            self.transfers.failed(&error);
        }
    }

    async fn put_list(&self, remote: &Remote, build: &Arc<Build>) -> Result<(), RemoteError> {
        let store = Arc::clone(&self.transfers.store);
        let (cargo_pid, began_ms) = (build.of.cargo_pid, build.began_ms);
        let listed =
            tokio::task::spawn_blocking(move || list_of_build(&store, cargo_pid, began_ms));
        let Ok(list) = listed.await else { return Ok(()) };
        let list = list?;
        if list.actions.is_empty() {
            return Ok(());
        }
        // Should they take longer, the list names what is not there yet, and that is a miss. It takes up
        // what others have said meanwhile.
        drop(tokio::time::timeout(UPLOADS_MAX, self.uploads.settled()).await);
        if !self.transfers.may_try() {
            return Ok(());
        }
        let Some(lockfile) = build.lockfile() else { return Ok(()) };
        let selection = build.selection();
        let exact = build.identity(&lockfile, &self.config);
        let earlier = unless_damaged(remote.build(&exact, &selection).await)?.unwrap_or_default();
        let known: HashSet<_> = earlier.actions.iter().map(|action| action.action).collect();
        if list.actions.iter().all(|action| known.contains(&action.action)) {
            return Ok(());
        }
        let list = list.merged_with(earlier);
        crate::log::info!("a build used {} results", list.actions.len());
        let project = build.project_identity(&lockfile, &self.config);
        remote.put_build(project.into_iter().chain([exact]), &selection, &list).await
    }

    /// What a result saves whoever does not have to make it.
    pub(super) fn cost(&self, action: store_format::ActionKey) -> Duration {
        let record = self.transfers.store.index.get(Kind::Result, &action.0);
        let result = record.and_then(|record| ResultRecord::decode(action, &record).ok());
        Duration::from_micros(result.map_or(0, |result| result.cost_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_of_the_same_kind_and_profile_share_a_list() {
        let of = |line: &str| selected(line.replace(' ', "\0").as_bytes());
        assert_eq!(of("cargo build"), of("/x/cargo +nightly run --bin a"));
        assert_eq!(of("cargo b --release"), of("cargo build --profile=release -- --profile x"));
        assert_eq!(of("cargo check --target a --target=b").1, "a b");
        assert_eq!(of("cargo -q clippy"), of("cargo check"));
        for other in ["cargo test", "cargo check", "cargo build -r", "cargo build --target a"] {
            assert_ne!(of("cargo build"), of(other), "{other}");
        }
        assert_eq!(of(""), of("cargo build"));
    }

    #[test]
    fn what_is_large_is_fetched_first_and_the_rest_as_it_is_needed() {
        let sizes = [1, 30, 2, 1, 50, 3];
        let mut places = vec![0, 1, 2, 3, 4, 5];
        large_first(&mut places, |place| sizes[place]);
        assert_eq!(places, [4, 1, 0, 2, 3, 5]);
        large_first(&mut [], |place| sizes[place]);
    }

    #[test]
    fn a_build_that_waits_in_vain_is_given_up_and_one_that_gains_is_not() {
        let build = Build {
            of: BuildOf {
                configuration: Digest([0; 32]),
                compiler: Digest([0; 32]),
                cargo_pid: 1,
                directory: Vec::new(),
                command_line: Vec::new(),
            },
            process: ProcessId::new(1, 1),
            began_ms: 0,
            expected: watch::Sender::new(None),
            ended: watch::Sender::new(false),
            balance: Mutex::default(),
            heard: Mutex::new(Instant::now()),
            finished: tokio::sync::Mutex::default(),
        };
        build.waited(VAIN_MAX, None);
        assert!(!build.is_given_up());
        build.waited(Duration::from_millis(1), None);
        assert!(build.is_given_up());
        build.waited(Duration::from_secs(2), Some(Duration::from_secs(1)));
        assert!(!build.is_given_up());
    }
}
