//! `kache why-miss`: what differed when a crate was compiled although the store knew it.
//!
//! The wrapper compares each miss with the crate's last compilation and notes what differed in its
//! event. This command shows that note, for the latest miss of each kind of unit;
//! where the latest call was passed through, the reason for that.

use super::output::{Console, Style};
use super::summary::is_probe;
use super::{EXIT_FINDINGS, configuration, human, times};
use crate::events::{self, is_hit};
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use store_format::{Event, EventOutcome, EventView};

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kache why-miss my-crate")]
pub(super) struct Options {
    /// The crate's name, with dashes or underscores
    #[arg(value_name = "CRATE")]
    crate_name: String,
    /// As JSON, for scripts
    #[arg(long)]
    json: bool,
}

/// What is known of one kind of unit of the crate.
#[derive(Debug, Default)]
struct Unit {
    miss: Option<Event>,
    hits_since: u64,
    /// The latest call, if the configuration kept it out of the cache or the store could not be used.
    passed: Option<Event>,
}

pub(super) fn run(options: &Options, console: &Console) -> Result<ExitCode> {
    let loaded = configuration(console)?;
    // Crates are named with underscores, packages often with hyphens.
    let name = options.crate_name.replace('-', "_");
    let mut units: BTreeMap<String, Unit> = BTreeMap::new();
    let events = events::read_wanted(&loaded.config.cache_dir, 0, |event| {
        is_compilation(event) && is_named(event.crate_name, &name)
    });
    for event in events.context("read the event log")? {
        let unit = units.entry(event.kind.clone()).or_default();
        if event.outcome == EventOutcome::Passthrough {
            unit.passed = Some(event);
        } else if is_hit(event.outcome) {
            *unit = Unit { miss: unit.miss.take(), hits_since: unit.hits_since + 1, passed: None };
        } else {
            *unit = Unit { miss: Some(event), ..Unit::default() };
        }
    }
    if units.is_empty() {
        console.error(&format!("the event log has no compilation of `{}`", options.crate_name));
        suggest(&name, &loaded.config.cache_dir, console)?;
        return Ok(ExitCode::from(EXIT_FINDINGS));
    }
    let mut out = console.data();
    if options.json {
        let units: Vec<_> = units.iter().map(|(kind, unit)| json(kind, unit)).collect();
        serde_json::to_writer_pretty(&mut out, &units).context("write the explanation")?;
        writeln!(out)?;
    } else {
        for (kind, unit) in &units {
            out.write_all(text(&name, kind, unit, console).as_bytes())?;
        }
    }
    out.flush().context("write the explanation")?;
    Ok(ExitCode::SUCCESS)
}

/// Names the crate of the event log that was probably meant.
fn suggest(name: &str, cache_dir: &Path, console: &Console) -> Result<()> {
    let mut names: BTreeSet<String> = BTreeSet::new();
    events::visit(cache_dir, 0, |event| {
        if is_compilation(event) && !names.contains(event.crate_name) {
            names.insert(event.crate_name.to_owned());
        }
    })
    .context("read the event log")?;
    console.suggest(name, &names);
    Ok(())
}

/// Whether a call was to make something, and not to ask the compiler something.
fn is_compilation(event: &EventView<'_>) -> bool {
    !event.crate_name.is_empty() && !is_probe(event)
}

/// Whether a crate or a package has this name, which has no hyphens.
fn is_named(crate_name: &str, name: &str) -> bool {
    let underscored = |byte| if byte == b'-' { b'_' } else { byte };
    crate_name.len() == name.len() && crate_name.bytes().map(underscored).eq(name.bytes())
}

fn text(name: &str, kind: &str, unit: &Unit, console: &Console) -> String {
    if let Some(passed) = &unit.passed {
        let heading = heading(name, &passed.crate_version, kind, console);
        return format!("{heading}: passed through\n  {}, {}\n", ago(passed), passed.reason);
    }
    let Some(miss) = &unit.miss else {
        let hits = human::plural(unit.hits_since, "hit", "hits");
        return format!("{}: never missed, {hits}\n", heading(name, "", kind, console));
    };
    let compiled = human::time(Duration::from_micros(miss.compile_us.into()));
    let mut lines = vec![
        format!("{}: {}", heading(name, &miss.crate_version, kind, console), miss.reason),
        format!("  {} in {}, compiled in {compiled}", ago(miss), miss.workspace),
    ];
    lines.extend(explanation(miss).iter().map(|line| format!("  {line}")));
    if unit.hits_since > 0 {
        lines.push(format!("  since then: {}", human::plural(unit.hits_since, "hit", "hits")));
    }
    lines.join("\n") + "\n"
}

fn ago(event: &Event) -> String {
    let age = human::age(Duration::from_millis(times::now_ms().saturating_sub(event.started_ms)));
    if age == "just now" { age } else { format!("{age} ago") }
}

fn heading(name: &str, version: &str, kind: &str, console: &Console) -> String {
    let separator = if version.is_empty() { "" } else { " " };
    let name = console.paint(Style::Heading, &format!("{name}{separator}{version}"));
    format!("{name} ({kind})")
}

/// What differed, or what is to be said where nothing was compared.
fn explanation(miss: &Event) -> Vec<String> {
    if !miss.explanation.is_empty() {
        return miss.explanation.clone();
    }
    let stored = matches!(miss.outcome, EventOutcome::Miss | EventOutcome::Dup);
    let remark = match (stored, miss.reason.as_str()) {
        (true, "first build") => "this store had never seen it compiled",
        (true, "inputs differ") => {
            "nothing differs from its last compilation: an earlier result was removed, or another \
             target or checkout was compiled between"
        }
        (true, _) => return Vec::new(),
        (false, _) => "the outputs were not stored",
    };
    vec![remark.to_owned()]
}

fn json(kind: &str, unit: &Unit) -> serde_json::Value {
    serde_json::json!({
        "kind": kind,
        "hits_since": unit.hits_since,
        "passed": unit.passed.as_ref().map(|passed| serde_json::json!({
            "started_ms": passed.started_ms,
            "crate_version": passed.crate_version,
            "reason": passed.reason,
        })),
        "miss": unit.miss.as_ref().map(|miss| serde_json::json!({
            "started_ms": miss.started_ms,
            "crate_version": miss.crate_version,
            "workspace": miss.workspace,
            "reason": miss.reason,
            "key": miss.action.map(|action| action.0.to_string()),
            "compile_ms": miss.compile_us / 1000,
            "explanation": miss.explanation,
        })),
    })
}
