//! `kache report`: builds in detail.
//!
//! One [`Report`] is made of the event log; each format is a file of its own that renders it.

mod build;
mod html;
mod json;
mod markdown;
mod perfetto;
mod text;

use super::inventory::Inventory;
use super::output::Console;
use super::summary::{Summary, by_count};
use super::{Since, configuration, human, times};
use crate::config::Config;
use crate::events::{self, is_hit};
use anyhow::{Context, Result};
use build::Build;
pub(super) use build::outcome_name;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use store_format::{Event, EventOutcome};

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kache report --format html --since 24h -o report.html")]
pub(super) struct Options {
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    since: Since,
    /// Lines of each list.
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,
    /// Only builds that compiled something in this directory.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Write to a file; `-` is standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
    Markdown,
    /// Markdown for the summary of a GitHub job; goes to `GITHUB_STEP_SUMMARY` where that is set.
    Github,
    /// One self-contained page with a timeline.
    Html,
    /// A trace for ui.perfetto.dev.
    Perfetto,
}

/// Everything that a format may show.
#[derive(Debug)]
struct Report {
    generated_ms: u64,
    since_hours: Option<f64>,
    root_filter: Option<PathBuf>,
    top: usize,
    config: Config,
    inventory: Inventory,
    events: Vec<Event>,
    builds: Vec<Build>,
    summary: Summary,
    top_misses: Vec<Ranked>,
    top_hits: Vec<Ranked>,
    suggestions: Vec<String>,
}

/// A crate among those that cost or save most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ranked {
    crate_name: String,
    kind: String,
    count: u64,
    /// Compiled, or not compiled thanks to a hit.
    compile_us: u64,
    size_bytes: u64,
    /// Of the last miss.
    reason: String,
}

pub(super) fn run(options: &Options, console: &Console) -> Result<ExitCode> {
    let loaded = configuration(console)?;
    let file = options.output.as_ref().filter(|path| *path != Path::new("-"));
    let report = Report::collect(options, loaded.config)?;
    let rendered = match options.format {
        Format::Text => text::render(&report, console, file.is_none()),
        Format::Json => json::render(&report)?,
        Format::Markdown | Format::Github => markdown::render(&report),
        Format::Html => html::render(&report),
        Format::Perfetto => perfetto::render(&report)?,
    };
    if let Some(path) = file {
        std::fs::write(path, rendered).with_context(|| format!("write {}", path.display()))?;
        console.note(&format!("the report is in {}", path.display()));
        return Ok(ExitCode::SUCCESS);
    }
    let summary = crate::env::value(crate::env::GITHUB_STEP_SUMMARY).map(PathBuf::from);
    if let (Format::Github, Some(path), None) = (options.format, summary, &options.output) {
        append(&path, &rendered).with_context(|| format!("write {}", path.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = console.data();
    out.write_all(rendered.as_bytes()).and_then(|()| out.flush()).context("write the report")?;
    Ok(ExitCode::SUCCESS)
}

fn append(path: &Path, text: &str) -> std::io::Result<()> {
    std::fs::OpenOptions::new().create(true).append(true).open(path)?.write_all(text.as_bytes())
}

impl Report {
    fn collect(options: &Options, config: Config) -> Result<Self> {
        let cache_dir = &config.cache_dir;
        let events =
            events::read(cache_dir, options.since.start_ms()).context("read the event log")?;
        let inventory = Inventory::read(cache_dir)?;
        let root = match &options.root {
            Some(root) => {
                let root = root.canonicalize().with_context(|| root.display().to_string())?;
                Some(known_root(root, &events))
            }
            None => None,
        };
        let since_hours = options.since.since.map(|since| since.as_secs_f64() / 3600.0);
        Ok(Self::new(events, inventory, config, root, since_hours, options.top))
    }

    fn new(
        mut events: Vec<Event>,
        inventory: Inventory,
        config: Config,
        root_filter: Option<PathBuf>,
        since_hours: Option<f64>,
        top: usize,
    ) -> Self {
        // The log is in the order of endings.
        events.sort_by_key(|event| event.started_ms);
        let mut builds = build::group(&events);
        if let Some(root) = &root_filter {
            builds.retain(|build| build.is_in(root, &events));
            let kept: std::collections::HashSet<usize> =
                builds.iter().flat_map(|build| build.events.iter().copied()).collect();
            let mut index = 0;
            events.retain(|_| (kept.contains(&index), index += 1).0);
            builds = build::group(&events);
        }
        let summary = Summary::of(&events);
        let wanted = |hit: bool| {
            let wanted = events.iter().filter(move |event| match event.outcome {
                EventOutcome::Passthrough => false,
                outcome => is_hit(outcome) == hit,
            });
            ranked(wanted, top)
        };
        let (top_hits, top_misses) = (wanted(true), wanted(false));
        let suggestions = suggestions(&summary, &inventory, &config);
        Self {
            generated_ms: times::now_ms(),
            since_hours,
            root_filter,
            top,
            config,
            inventory,
            builds,
            summary,
            top_misses,
            top_hits,
            suggestions,
            events,
        }
    }

    /// Reasons for which the compiler ran without the cache, and those that kept outputs from it.
    fn bypass(&self) -> Vec<(&str, u64)> {
        let mut reasons = by_count(&self.summary.pass_reasons);
        reasons.extend(by_count(&self.summary.skip_reasons));
        reasons.sort_by_key(|(_, count)| Reverse(*count));
        reasons
    }

    fn errors(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(|event| event.outcome == EventOutcome::Error)
    }
}

/// A directory in which something was compiled, or the workspace that it belongs to: Cargo compiles a
/// member in the directory of its workspace.
fn known_root(root: PathBuf, events: &[Event]) -> PathBuf {
    if events.iter().any(|event| Path::new(&event.workspace).starts_with(&root)) {
        return root;
    }
    let workspace = root.ancestors().find(|directory| directory.join("Cargo.lock").is_file());
    workspace.map(Path::to_owned).unwrap_or(root)
}

/// The crates with the most time of the compiler.
fn ranked<'a>(events: impl Iterator<Item = &'a Event>, top: usize) -> Vec<Ranked> {
    let mut crates: HashMap<(&str, &str), Ranked> = HashMap::new();
    for event in events {
        let entry = crates.entry((&event.crate_name, &event.kind)).or_insert_with(|| Ranked {
            crate_name: event.crate_name.clone(),
            kind: event.kind.clone(),
            ..Ranked::default()
        });
        entry.count += 1;
        entry.compile_us += u64::from(event.compile_us);
        entry.size_bytes += event.size_bytes;
        entry.reason.clone_from(&event.reason);
    }
    let mut ranked: Vec<_> = crates.into_values().collect();
    ranked.sort_by(|a, b| {
        (b.compile_us, &a.crate_name, &a.kind).cmp(&(a.compile_us, &b.crate_name, &b.kind))
    });
    ranked.truncate(top);
    ranked
}

/// What the user could do, most useful first.
fn suggestions(summary: &Summary, inventory: &Inventory, config: &Config) -> Vec<String> {
    let mut suggestions = Vec::new();
    if summary.errors > 0 {
        let errors = human::plural(summary.errors, "compilation", "compilations");
        suggestions.push(format!("{errors} could not be stored: look at the errors below."));
    }
    if summary.fallbacks > 0 {
        let units = human::plural(summary.fallbacks, "compilation", "compilations");
        suggestions.push(format!(
            "{units} could not be observed: `kache doctor` says whether that works here. Where it does, \
             a statically linked or privileged compiler or linker keeps the observer out."
        ));
    }
    if summary.lookups() >= 20 && summary.hits() * 2 < summary.lookups() {
        suggestions.push(
            "Less than half of the lookups hit: `kache why-miss CRATE` names what differed."
                .to_owned(),
        );
    }
    let copied = summary.restored_bytes.saturating_sub(summary.linked_bytes);
    if copied > 1_000_000_000 && copied * 2 > summary.restored_bytes {
        suggestions.push(format!(
            "{} were copied: a store on the file system of the target directories shares them.",
            human::size(copied)
        ));
    }
    if inventory.allocated_bytes > config.max_size_bytes / 10 * 9 {
        suggestions.push(format!(
            "The store is nearly full: `kache config set local_max_size` raises its limit of {}.",
            human::size(config.max_size_bytes)
        ));
    }
    suggestions
}

/// Microseconds as people read them.
fn time(micros: u64) -> String {
    human::time(Duration::from_micros(micros))
}

/// Lines, each with its end.
fn joined(lines: impl Iterator<Item = String>) -> String {
    lines.fold(String::new(), |text, line| text + &line + "\n")
}
