//! The account of one invocation: what it did and how long each part took, and its one event.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use store_format::{Event, EventOutcome, ResultRecord, UnitKey};

use crate::events;
use crate::invocation::{CrateType, EmitKind, Invocation};
use crate::outcome::Reason;
use crate::store::Store;
use crate::store::restore::Restored;

/// Collects the event of an invocation.
#[derive(Debug)]
pub struct Account {
    started: Instant,
    /// When the part that is being timed began.
    part: Instant,
    event: Event,
}

impl Account {
    pub fn begin() -> Self {
        let started = Instant::now();
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let event = Event {
            started_ms: u64::try_from(since_epoch.as_millis()).unwrap_or(0),
            pid: std::process::id(),
            cargo_pid: std::os::unix::process::parent_id(),
            ..Event::default()
        };
        Self { started, part: started, event }
    }

    /// Notes which crate this is about.
    pub fn describe(&mut self, invocation: &Invocation) {
        let kind = kind_of(invocation);
        self.event.crate_name = match kind {
            // All of them are called alike.
            "build-script" => package_as_crate().unwrap_or_else(|| invocation.crate_name.clone()),
            _ => invocation.crate_name.clone(),
        };
        kind.clone_into(&mut self.event.kind);
        self.event.crate_version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
        if let Some(target) = &invocation.target {
            self.event.target = target.to_string_lossy().into_owned();
        }
    }

    /// Notes that this is a build script's run.
    pub fn describe_script(&mut self) {
        let variable = |name| std::env::var(name).unwrap_or_default();
        self.event.crate_name = package_as_crate().unwrap_or_default();
        self.event.crate_version = variable("CARGO_PKG_VERSION");
        self.event.target = variable("TARGET");
        self.event.profile = variable("PROFILE");
        "build-script-run".clone_into(&mut self.event.kind);
    }

    pub fn crate_name(&self) -> &str {
        &self.event.crate_name
    }

    /// The unit key is known: the lookup begins.
    pub fn keyed(&mut self, unit: UnitKey, working_directory: &Path) {
        self.event.unit = Some(unit);
        self.event.workspace = working_directory.to_string_lossy().into_owned();
        self.event.key_us = self.lap();
    }

    /// A result was found, or is known not to be there.
    pub fn looked_up(&mut self) {
        self.event.lookup_us = self.event.lookup_us.saturating_add(self.lap());
    }

    /// The compiler has ended: storing begins.
    pub fn compiled(&mut self, elapsed: Duration) {
        self.event.compiler_runs = 1;
        self.event.compile_us = micros(elapsed);
        self.part = Instant::now();
    }

    /// What a stored compilation was, and how its inputs differed from those before.
    pub fn stored(&mut self, result: &ResultRecord, known: bool, explanation: Vec<String>) {
        self.event.action = Some(result.action);
        self.event.size_bytes = result.outputs.iter().map(|output| output.size_bytes).sum();
        self.event.outcome = if known { EventOutcome::Dup } else { EventOutcome::Miss };
        self.event.explanation = explanation;
    }

    /// Reports a hit, and of which kind.
    pub fn hit(
        &mut self,
        store: &Store,
        result: &ResultRecord,
        restored: Restored,
        outcome: EventOutcome,
    ) {
        self.event.restore_us = self.lap();
        self.event.outcome = outcome;
        self.event.action = Some(result.action);
        self.event.compile_us = u32::try_from(result.cost_us).unwrap_or(u32::MAX);
        self.event.size_bytes = restored.size_bytes;
        self.event.linked_bytes = restored.linked_bytes;
        self.report(&store.directory);
    }

    /// Reports that the compiler ran, and why.
    pub fn missed(&mut self, store: &Store, reason: &Reason) {
        self.event.store_us = self.lap();
        self.event.reason = reason.to_string();
        if !reason.stored() {
            self.event.outcome = match reason {
                Reason::StoreFailed(_) | Reason::Different(_) => EventOutcome::Error,
                _ => EventOutcome::Skipped,
            };
        }
        self.report(&store.directory);
    }

    /// Reports a call that the compiler answers alone.
    pub fn passed(&mut self, directory: &Path, reason: &str) {
        self.event.outcome = EventOutcome::Passthrough;
        reason.clone_into(&mut self.event.reason);
        self.event.compiler_runs = 1;
        self.report(directory);
    }

    fn report(&mut self, directory: &Path) {
        self.event.elapsed_us = micros(self.started.elapsed());
        if let Err(error) = events::append(directory, &self.event) {
            crate::log::warn!("event log: {error}");
        }
    }

    fn lap(&mut self) -> u32 {
        let now = Instant::now();
        let elapsed = now - self.part;
        self.part = now;
        micros(elapsed)
    }
}

/// The name of the package that is being built, written as that of a crate.
fn package_as_crate() -> Option<String> {
    std::env::var("CARGO_PKG_NAME").ok().map(|name| name.replace('-', "_"))
}

/// What a compilation makes, as events and reports name it.
pub fn kind_of(invocation: &Invocation) -> &'static str {
    match invocation.crate_types.first() {
        _ if !invocation.emits(EmitKind::Link) => "check",
        _ if invocation.test => "test",
        Some(CrateType::Bin) if invocation.is_build_script() => "build-script",
        Some(CrateType::Bin) => "bin",
        Some(CrateType::Rlib) => "lib",
        Some(CrateType::Dylib) => "dylib",
        Some(CrateType::Cdylib) => "cdylib",
        Some(CrateType::Staticlib) => "staticlib",
        Some(CrateType::ProcMacro) => "proc-macro",
        None => "",
    }
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}
