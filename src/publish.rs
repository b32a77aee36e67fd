//! What becomes of a fresh compilation: its inputs are collected and valued, its outputs stored,
//! and one word published.
//!
//! Blobs come first, then the result, then the manifest that leads to it, so that a process which
//! dies in between leaves blobs that nobody names, and never a name without a blob. Values are read
//! after the compilation, and each is then shown to be no younger than the compilation's start: what
//! the compiler read is what the key says.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use store_format::{
    ActionKey, Inline, Manifest, ManifestList, Output, ResultRecord, UnitKey, dep_info,
};

use crate::bound;
use crate::changed;
use crate::client;
use crate::compile::Compiled;
use crate::config::Config;
use crate::explain;
use crate::index::Kind;
use crate::inputs::Inputs;
use crate::key::action_key;
use crate::observe::{IncompleteReason, Observation};
use crate::outcome::Reason;
use crate::process;
use crate::queue::Entry;
use crate::seen::Seen;
use crate::session::Session;
use crate::store::evict::{is_due, is_far_above};
use crate::store::ingest::{IngestError, Ingested, Wanted, ingest};
use crate::store::{Store, current_boot};

/// Whether an action ended in a way that can be stored.
pub fn worth_keeping(
    compiled: &Compiled,
    observation: &Result<Observation, String>,
) -> Result<(), Reason> {
    if !compiled.status.success() {
        return Err(Reason::Failed);
    }
    let is_outlived =
        |observation: &Observation| observation.complete == Err(IncompleteReason::Outlived);
    if observation.as_ref().is_ok_and(is_outlived) {
        return Err(Reason::Outlived);
    }
    if !compiled.streams_complete {
        return Err(Reason::Uncacheable("a stream was cut off".into()));
    }
    Ok(())
}

/// Stores what an action made, and returns the reason of the miss: the one given if it is stored
/// now, else why it is not.
pub fn keep(
    session: &mut Session,
    reason: Reason,
    compiled: &Compiled,
    seen: Result<Seen, Reason>,
    started_ns: i64,
) -> Reason {
    match seen.and_then(|seen| store(session, compiled, seen, started_ns)) {
        Ok(result) => match session.expected.take() {
            Some(expected) => verdict(&expected, &result),
            None => reason,
        },
        Err(reason) => reason,
    }
}

/// What a result says of the one that was found before it was made.
fn verdict(expected: &ResultRecord, result: &ResultRecord) -> Reason {
    if expected.action != result.action {
        return Reason::InputsDiffer;
    }
    let comparable = |output: &Output| Output { blob_mtime_ns: 0, ..output.clone() };
    let all =
        |result: &ResultRecord| result.outputs.iter().map(comparable).collect::<BTreeSet<_>>();
    let (expected_outputs, outputs) = (all(expected), all(result));
    let differing = expected_outputs.symmetric_difference(&outputs);
    let mut names: BTreeSet<String> =
        differing.map(|output| String::from_utf8_lossy(&output.name).into_owned()).collect();
    for (name, expected, made) in [
        ("standard output", &expected.stdout, &result.stdout),
        ("standard error", &expected.stderr, &result.stderr),
    ] {
        if expected != made {
            names.insert(name.to_owned());
        }
    }
    if names.is_empty() {
        return Reason::Verifying;
    }
    Reason::Different(names.into_iter().collect::<Vec<_>>().join(", "))
}

fn store(
    session: &mut Session,
    compiled: &Compiled,
    seen: Seen,
    started_ns: i64,
) -> Result<ResultRecord, Reason> {
    let failed = |error: &dyn std::fmt::Display| Reason::StoreFailed(error.to_string());
    let mut manifest = Manifest { inputs: seen.inputs };
    let read = bound::roots_read(session, &manifest);
    let wanted = Wanted { roots: &session.roots, read, traces: &seen.traces };
    let mut ingested = ingest_all(session, compiled, &seen.outputs, started_ns, wanted)?;
    let stdout = session.roots.template(&compiled.stdout);
    let stderr = session.roots.template(&compiled.stderr);
    let mut bound = ingested.surviving;
    for stream in [&stdout, &stderr] {
        bound.extend(session.roots.surviving(stream));
    }
    if seen.hides_text {
        bound.extend(read);
    }
    bound.extend(seen.named);
    let mut said = session.roots.surviving(&compiled.stdout);
    said.extend(session.roots.surviving(&compiled.stderr));
    said.extend(ingested.said);
    bound.extend(bound::roots_named(session, &manifest, said));
    let mut absent = seen.absent;
    bound::bind(session, &mut manifest, &mut absent, bound);
    for output in &mut ingested.outputs {
        shorten(output, &manifest);
    }

    let mut values =
        Inputs::new(&session.roots, &session.store.memo, &session.working_directory).keeping();
    let action = action_key(session.unit, &manifest, &mut values)
        .ok_or_else(|| Reason::Uncacheable("an input cannot be read".into()))?;
    changed::refuse_changed(&manifest, &absent, &values, started_ns)?;
    if !session.components.has_extra_inputs_of_now(&session.config, &session.store.memo) {
        return Err(Reason::InputChanged("extra_inputs".to_owned()));
    }
    let explanation = explain::compare(session, &manifest, &mut values);
    drop(values);

    let result = ResultRecord {
        action,
        unit: session.unit,
        crate_name: session.account.crate_name().as_bytes().to_vec(),
        outputs: ingested.outputs,
        stdout,
        stderr,
        exit_status: 0,
        cost_us: u64::try_from(compiled.elapsed.as_micros()).unwrap_or(u64::MAX),
        boot: current_boot(),
        fetched: false,
        created_s: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
    };
    let index = &session.store.index;
    index.put(Kind::Result, &action.0, &result.encode()).map_err(|error| failed(&error))?;
    publish_manifest(&session.store, session.unit, &manifest).map_err(|error| failed(&error))?;
    session.account.stored(&result, ingested.known, explanation);
    hold_cap(&session.config, &session.store, ingested.stored_bytes, &action);
    if session.config.uploads() {
        let result = Entry { unit: session.unit, action };
        client::queue_upload(&session.config, &session.store, &session.program, result);
    }
    Ok(result)
}

/// Puts the outputs into the store, unless what came out tells of the observation.
fn ingest_all(
    session: &Session,
    compiled: &Compiled,
    outputs: &[PathBuf],
    started_ns: i64,
    wanted: Wanted,
) -> Result<Ingested, Reason> {
    if wanted.is_traced(&compiled.stdout) || wanted.is_traced(&compiled.stderr) {
        return Err(Reason::Uncacheable("it said what kache adds to the environment".into()));
    }
    let tree = &session.tree;
    let role = |path: &Path| tree.role_of(path, outputs);
    let ingested = ingest(&session.store, wanted, &tree.base, outputs, started_ns, role);
    ingested.map_err(|error| match error {
        IngestError::Traced(_) => Reason::Uncacheable(error.to_string()),
        _ => Reason::StoreFailed(error.to_string()),
    })
}

/// Tells dep-info by the names in the manifest, where it comes back from these.
fn shorten(output: &mut Output, manifest: &Manifest) {
    if output.name.ends_with(b".d")
        && let Some(Inline::Text(text)) = &output.inline
        && let Some(short) = dep_info::shorten(text, manifest)
    {
        output.inline = Some(Inline::DepInfo(short));
    }
}

/// How long a build that is ahead of eviction waits for it.
const EVICTION_MAX: Duration = Duration::from_secs(5);

/// A look at the whole store that is due, for its cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// At any time.
    Soon,
    /// Builds put more into the store than eviction takes out of it: they can wait for it, so that
    /// the cap holds.
    Now,
}

/// Counts what was stored, and has the store brought within its cap if it is time to look.
fn hold_cap(config: &Config, store: &Store, stored_bytes: u64, action: &ActionKey) {
    store.index.count_stored(stored_bytes);
    if let Some(look) = look_due(config, store, stored_bytes, action) {
        // It is not waited for, and outlives this process.
        drop(look_at_store(config, look));
    }
}

/// Whether it is time to look, after so many bytes that have been counted.
pub fn look_due(
    config: &Config,
    store: &Store,
    stored_bytes: u64,
    action: &ActionKey,
) -> Option<Look> {
    let total_bytes = store.index.stored_bytes();
    let cap_bytes = config.max_size_bytes;
    if is_far_above(total_bytes, cap_bytes) {
        return Some(Look::Now);
    }
    is_due(stored_bytes, total_bytes, cap_bytes, &action.0).then_some(Look::Soon)
}

/// Has the store brought within its cap by a process of its own.
pub fn look_at_store(config: &Config, look: Look) -> Option<Child> {
    let ahead = look == Look::Now;
    let size = config.max_size_bytes.to_string();
    let hours = config.gc_max_age_hours.to_string();
    let mut options = vec!["gc", "--background", "--max-size", &size, "--max-age", &hours];
    options.extend(ahead.then_some("--wait"));
    options.push("--store");
    let arguments = options.into_iter().map(OsStr::new).chain([config.cache_dir.as_os_str()]);
    // It outlives the build, whose locks and pipes are not its business.
    close_fds::set_fds_cloexec(3, &[]);
    let collector = process::detach(arguments);
    let collector = collector
        .inspect_err(|error| crate::log::warn!("the store may grow above its cap: {error}"))
        .ok()?;
    if ahead {
        process::wait_for_end(collector.id(), EVICTION_MAX);
    }
    Some(collector)
}

/// Puts a manifest in front of those that are known of its unit.
pub fn publish_manifest(
    store: &Store,
    unit: UnitKey,
    manifest: &Manifest,
) -> Result<(), crate::index::IndexError> {
    store.index.update(Kind::Manifests, &unit.0, |known| {
        let mut list =
            known.and_then(|record| ManifestList::decode(&record).ok()).unwrap_or_default();
        list.promote(manifest.clone());
        Some(list.encode())
    })?;
    Ok(())
}

/// Marks a result as verified in this boot, so that it is not verified again, and as used.
pub fn confirm(store: &Store, result: &ResultRecord) {
    let confirmed = ResultRecord { boot: current_boot(), fetched: false, ..result.clone() };
    if let Err(error) = store.index.put(Kind::Result, &result.action.0, &confirmed.encode()) {
        crate::log::warn!("a verified result stays unconfirmed: {error}");
    }
}
