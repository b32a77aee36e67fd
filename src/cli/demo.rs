//! `kache demo`: a small workspace, built cold and then again in a second directory.
//!
//! Everything happens in a temporary directory, with a store of its own and no configuration. What
//! is shown is measured: times by the clock, hits and compiler runs from the event log, disk use
//! from the file system. Any unit of the second build that was compiled again is a failure.

mod disk;
mod sample;

use super::output::{Console, Style, Table};
use super::signals::Signals;
use super::summary::Summary;
use super::{EXIT_FINDINGS, cargo, human};
use crate::{env, events};
use anyhow::{Context, Result, bail};
use disk::Usage;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use store_format::{Event, EventOutcome};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Leave the directory in place.
    #[arg(long)]
    keep: bool,
}

/// One build and what it did.
struct Step {
    name: &'static str,
    time: Duration,
    events: Vec<Event>,
    executable: PathBuf,
}

pub(super) fn run(options: &Options, console: &Console) -> Result<ExitCode> {
    let signals = Signals::take()?;
    let space = tempfile::Builder::new()
        .prefix("kache-demo-")
        .tempdir()
        .context("make a temporary directory")?;
    let result = demonstrate(space.path(), console, &signals);
    if options.keep {
        console.note(&format!("everything is left in {}", space.keep().display()));
    } else {
        space.close().context("remove the temporary directory")?;
    }
    signals.obey()?;
    result
}

fn demonstrate(space: &Path, console: &Console, signals: &Signals) -> Result<ExitCode> {
    let mut out = console.data();
    writeln!(
        out,
        "A library with a build script, a procedural macro, a library that uses both, a binary:\n\
         built in one directory, then in another, with a store of their own.\n"
    )?;
    out.flush()?;
    let builder = Builder::new(space, signals)?;
    let (first, second) = (space.join("first"), space.join("second"));
    sample::write(&first)?;
    sample::write(&second)?;
    let steps = [
        builder.build("first directory", &first)?,
        builder.build("second directory", &second)?,
        builder.build("first again, unchanged", &first)?,
        builder.build("second again, unchanged", &second)?,
    ];
    let outputs = [output_of(&steps[0].executable)?, output_of(&steps[1].executable)?];
    out.write_all(steps_table(&steps, console).as_bytes())?;
    let usage = Usage::measure(&builder.store, &[&first.join("target"), &second.join("target")])?;
    out.write_all(usage.text(console).as_bytes())?;
    let failures = failures(&steps, &outputs);
    if failures.is_empty() {
        writeln!(out, "{}", console.paint(Style::Good, &conclusion(&steps)))?;
        writeln!(out, "\nYour own project: kache cargo build")?;
    }
    out.flush()?;
    for failure in &failures {
        console.error(failure);
    }
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FINDINGS) })
}

/// Builds in an environment of its own.
struct Builder<'a> {
    signals: &'a Signals,
    store: PathBuf,
    config: PathBuf,
    own: PathBuf,
}

impl<'a> Builder<'a> {
    fn new(space: &Path, signals: &'a Signals) -> Result<Self> {
        let config = space.join("config.toml");
        std::fs::write(&config, "[cache]\nlocal_only = true\n").context("write a configuration")?;
        let own = std::env::current_exe().context("find the path of this executable")?;
        Ok(Self { signals, store: space.join("store"), config, own })
    }

    fn build(&self, name: &'static str, workspace: &Path) -> Result<Step> {
        if self.signals.came() {
            bail!("interrupted");
        }
        let before = events::read(&self.store, 0).context("read the event log")?.len();
        let mut command = cargo::cargo(None);
        command
            .args(["build", "--offline", "--quiet", "--message-format=json-render-diagnostics"])
            .arg("--target-dir")
            .arg(workspace.join("target"))
            .current_dir(workspace)
            .stdin(Stdio::null());
        for (variable, _) in std::env::vars_os() {
            if env::is_own(&variable) {
                command.env_remove(variable);
            }
        }
        command
            .env(env::RUSTC_WRAPPER, &self.own)
            .env(env::CONFIG, &self.config)
            .env(env::CACHE_DIR, &self.store);
        let started = Instant::now();
        let output = command.output().map_err(|error| cargo::not_run(&command, error))?;
        let time = started.elapsed();
        if !output.status.success() {
            let messages = String::from_utf8_lossy(&output.stderr);
            bail!("`cargo build` failed in the {name}:\n{}", messages.trim_end());
        }
        let executable = executable_in(&output.stdout)
            .with_context(|| format!("Cargo named no executable in the {name}"))?;
        let mut events = events::read(&self.store, 0).context("read the event log")?;
        events.drain(..before);
        Ok(Step { name, time, events, executable })
    }
}

/// The path of the binary in Cargo's messages, one JSON object a line.
fn executable_in(messages: &[u8]) -> Option<PathBuf> {
    messages.split(|byte| *byte == b'\n').find_map(|line| {
        let message: serde_json::Value = serde_json::from_slice(line).ok()?;
        Some(PathBuf::from(message.get("executable")?.as_str()?))
    })
}

fn output_of(executable: &Path) -> Result<Vec<u8>> {
    let output = Command::new(executable)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("run {}", executable.display()))?;
    if !output.status.success() {
        bail!("{} ended with {}", executable.display(), output.status);
    }
    Ok(output.stdout)
}

fn steps_table(steps: &[Step], console: &Console) -> String {
    let mut table = Table::new(&[false, true, true, true]);
    table.row(["", "time", "compiler runs", "hits"].map(|text| console.paint(Style::Faint, text)));
    for step in steps {
        let summary = Summary::of(&step.events);
        table.row([
            step.name.to_owned(),
            human::time(step.time),
            human::count(compiler_runs(&step.events)),
            human::count(summary.hits()),
        ]);
    }
    table.render(0) + "\n"
}

/// Runs of the compiler that made something.
fn compiler_runs(events: &[Event]) -> u64 {
    let made = events.iter().filter(|event| event.outcome != EventOutcome::Passthrough);
    made.map(|event| u64::from(event.compiler_runs)).sum()
}

/// What did not go as a cache promises.
fn failures(steps: &[Step; 4], outputs: &[Vec<u8>; 2]) -> Vec<String> {
    let mut failures = Vec::new();
    if Summary::of(&steps[0].events).crates() == 0 {
        failures.push("the first build did not reach the cache".to_owned());
    }
    for event in steps[1..].iter().flat_map(|step| &step.events) {
        if !events::is_hit(event.outcome) && event.outcome != EventOutcome::Passthrough {
            let what = format!("{} ({})", event.crate_name, event.kind);
            failures.push(format!("{what} was compiled again: {}", event.reason));
        }
    }
    for step in &steps[2..] {
        let hits = Summary::of(&step.events).hits();
        if hits > 0 {
            failures.push(format!("{}: Cargo dispatched {hits} units for nothing", step.name));
        }
    }
    if outputs[0] != outputs[1] {
        failures.push("the two executables print different things".to_owned());
    }
    failures
}

fn conclusion(steps: &[Step; 4]) -> String {
    let tenths = steps[0].time.as_millis() * 10 / steps[1].time.as_millis().max(1);
    format!(
        "The second build took {} in place of {} ({}.{} times faster); both {} executables run and \
         print the same.",
        human::time(steps[1].time),
        human::time(steps[0].time),
        tenths / 10,
        tenths % 10,
        sample::BINARY,
    )
}
