//! `kache stats`: what the cache did, and what it holds.

use super::inventory::Inventory;
use super::output::{Console, Style, Table};
use super::summary::{Summary, by_count};
use super::{Since, configuration, daemon, human, no_build};
use crate::config::Config;
use crate::events;
use crate::parallel;
use anyhow::{Context, Result};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kache stats --since 7d")]
pub(super) struct Options {
    #[command(flatten)]
    since: Since,
    /// As JSON, for scripts
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options, console: &Console) -> Result<ExitCode> {
    let loaded = configuration(console)?;
    let cache_dir = &loaded.config.cache_dir;
    let (inventory, summary) = read(cache_dir, options.since.start_ms())?;
    let config = &loaded.config;
    // Whoever asks for numbers is not told of a daemon that does not answer; `doctor` tells.
    let status = config.has_remote().then(|| daemon::ask_status(config).ok().flatten());
    let store = Store { config, inventory: &inventory };
    let mut out = console.data();
    if options.json {
        let mut value = json(&summary, &store);
        if let Some(status) = &status {
            value["daemon"] = daemon::json(config, status.as_ref());
        }
        serde_json::to_writer_pretty(&mut out, &value).context("write the statistics")?;
        writeln!(out)?;
    } else {
        out.write_all(store_text(&store, console).as_bytes())?;
        if let Some(status) = &status {
            writeln!(out, "{}", daemon::shown(config, status.as_ref(), console))?;
        }
        if summary.first_ms.is_none() {
            writeln!(out, "{}", no_build(options.since.since.is_some()))?;
        } else {
            out.write_all(text(&summary, console).as_bytes())?;
        }
    }
    out.flush().context("write the statistics")?;
    Ok(ExitCode::SUCCESS)
}

/// The index and the event log, read at the same time.
fn read(cache_dir: &Path, since_ms: u64) -> Result<(Inventory, Summary)> {
    let summarize = || {
        let mut summary = Summary::default();
        events::visit(cache_dir, since_ms, |event| summary.add(event)).map(|()| summary)
    };
    let (summary, inventory) = parallel::both(summarize, || Inventory::read(cache_dir));
    Ok((inventory?, summary.context("read the event log")?))
}

/// What the store holds, and what it may.
struct Store<'a> {
    config: &'a Config,
    inventory: &'a Inventory,
}

fn store_text(store: &Store<'_>, console: &Console) -> String {
    let results = store.inventory.results;
    format!(
        "{}  {}\n       {} of {} in {}, {}\n\n",
        console.paint(Style::Heading, "Store"),
        store.config.cache_dir.display(),
        human::size(store.inventory.allocated_bytes),
        human::size(store.config.max_size_bytes),
        human::plural(store.inventory.blobs, "file", "files"),
        human::plural(results, "result", "results"),
    )
}

fn text(summary: &Summary, console: &Console) -> String {
    let mut table = Table::new(&[false, true]);
    let heading = |text: &str| console.paint(Style::Heading, text);
    let saved = Duration::from_micros(summary.saved_us());
    table.row([
        heading("Hits"),
        console.paint(Style::Good, &human::share(summary.hits(), summary.lookups())),
        format!(
            "{} of {} compilations",
            human::count(summary.hits()),
            human::count(summary.lookups())
        ),
    ]);
    for (name, count) in [
        ("  local", summary.local_hits),
        ("  prefetched", summary.prefetch_hits),
        ("  remote", summary.remote_hits),
    ] {
        if count != summary.hits() && count > 0 {
            table.row([name.to_owned(), human::count(count)]);
        }
    }
    table.row([
        heading("Saved"),
        human::time(saved),
        format!(
            "{} of compiling, restored in {}",
            human::time(Duration::from_micros(summary.hits_compile_us)),
            human::time(Duration::from_micros(summary.hits_us))
        ),
    ]);
    table.row([
        heading("Restored"),
        human::size(summary.restored_bytes),
        format!("{} without a copy", human::share(summary.linked_bytes, summary.restored_bytes)),
    ]);
    table.row([
        heading("Misses"),
        human::count(summary.all_misses()),
        format!(
            "compiled in {}, {} stored",
            human::time(Duration::from_micros(summary.misses_compile_us)),
            human::size(summary.stored_bytes)
        ),
    ]);
    rows_of(
        &mut table,
        "Not stored",
        summary.skipped + summary.errors,
        &by_count(&summary.skip_reasons),
        console,
    );
    rows_of(
        &mut table,
        "Passed through",
        summary.passthroughs,
        &by_count(&summary.pass_reasons),
        console,
    );
    table.row([heading("Compiler queries"), human::count(summary.probes)]);
    table.render(0)
}

fn rows_of(table: &mut Table, name: &str, count: u64, reasons: &[(&str, u64)], console: &Console) {
    if count == 0 {
        return;
    }
    let listed: Vec<_> = reasons
        .iter()
        .map(|(reason, count)| format!("{reason} {}", human::count(*count)))
        .collect();
    table.row([console.paint(Style::Heading, name), human::count(count), listed.join(", ")]);
}

fn json(summary: &Summary, store: &Store<'_>) -> serde_json::Value {
    serde_json::json!({
        "schema_version": 1,
        "storage": {
            "directory": store.config.cache_dir.to_string_lossy(),
            "size": store.inventory.blob_bytes,
            "allocated": store.inventory.allocated_bytes,
            "max_size": store.config.max_size_bytes,
            "blobs": store.inventory.blobs,
            "results": store.inventory.results,
        },
        "summary": super::summary::json(summary),
        "passthrough_reasons": summary.pass_reasons,
        "skip_reasons": summary.skip_reasons,
    })
}
