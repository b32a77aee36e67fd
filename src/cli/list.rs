//! `kache list`: what the store holds, by crate, or the results of one crate.

use super::inventory::{ByPrefix, Item};
use super::output::{Console, Style, Table};
use super::{EXIT_FINDINGS, configuration, human, inventory, times};
use crate::events::{self, is_hit};
use anyhow::{Context, Result};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kache list serde --sort age")]
pub(super) struct Options {
    /// Only this crate, each of its results.
    #[arg(value_name = "CRATE")]
    crate_name: Option<String>,
    #[arg(long, value_enum, default_value_t = Sort::Name)]
    sort: Sort,
    /// As JSON, for scripts
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Sort {
    Name,
    /// Largest first.
    Size,
    /// Most used first.
    Hits,
    /// Newest first.
    Age,
}

/// One line: a crate, or one of its results.
#[derive(Debug, Default)]
struct Line {
    name: String,
    results: u64,
    size_bytes: u64,
    hits: u64,
    cost_us: u64,
    /// Of the newest result, seconds since 1970.
    created_s: u64,
}

pub(super) fn run(options: &Options, console: &Console) -> Result<ExitCode> {
    let loaded = configuration(console)?;
    let (items, hits) = read(&loaded.config.cache_dir)?;
    let mut lines = match &options.crate_name {
        None => by_crate(&items, &hits),
        Some(name) => results_of(name, &items, &hits),
    };
    if let (Some(name), true) = (&options.crate_name, lines.is_empty()) {
        console.error(&format!("the store has no result of `{name}`"));
        inventory::suggest(name, &items, console);
        return Ok(ExitCode::from(EXIT_FINDINGS));
    }
    lines.sort_by(|a, b| a.name.cmp(&b.name));
    match options.sort {
        Sort::Name => {}
        Sort::Size => lines.sort_by_key(|line| Reverse(line.size_bytes)),
        Sort::Hits => lines.sort_by_key(|line| Reverse(line.hits)),
        Sort::Age => lines.sort_by_key(|line| Reverse(line.created_s)),
    }
    let mut out = console.data();
    if options.json {
        let lines: Vec<_> = lines.iter().map(|line| json(line, options)).collect();
        serde_json::to_writer_pretty(&mut out, &lines).context("write the list")?;
        writeln!(out)?;
    } else {
        out.write_all(text(&lines, options, console).as_bytes())?;
    }
    out.flush().context("write the list")?;
    Ok(ExitCode::SUCCESS)
}

/// The results, and how often each was used, as far as the event log goes back.
fn read(cache_dir: &Path) -> Result<(Vec<Item>, ByPrefix<u64>)> {
    std::thread::scope(|scope| {
        let hits = scope.spawn(|| {
            let mut hits = ByPrefix::default();
            events::visit(cache_dir, 0, |event| {
                if let (Some(action), true) = (event.action, is_hit(event.outcome)) {
                    *hits.entry(action.0.prefix()).or_insert(0) += 1;
                }
            })
            .map(|()| hits)
        });
        let items = inventory::items(cache_dir)?;
        let hits = hits.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((items, hits.context("read the event log")?))
    })
}

fn by_crate(items: &[Item], hits: &ByPrefix<u64>) -> Vec<Line> {
    let mut lines: HashMap<&str, Line> = HashMap::new();
    for item in items {
        let line = lines
            .entry(&item.crate_name)
            .or_insert_with(|| Line { name: item.crate_name.clone(), ..Line::default() });
        line.results += 1;
        line.size_bytes += item.size_bytes;
        line.hits += hits.get(&item.action.0.prefix()).copied().unwrap_or(0);
        line.cost_us += item.cost_us;
        line.created_s = line.created_s.max(item.created_s);
    }
    lines.into_values().collect()
}

fn results_of(name: &str, items: &[Item], hits: &ByPrefix<u64>) -> Vec<Line> {
    // Crates are named with underscores, packages often with hyphens.
    let name = name.replace('-', "_");
    let wanted = items.iter().filter(|item| item.crate_name == name);
    wanted
        .map(|item| Line {
            name: item.action.0.to_string(),
            results: item.outputs,
            size_bytes: item.size_bytes,
            hits: hits.get(&item.action.0.prefix()).copied().unwrap_or(0),
            cost_us: item.cost_us,
            created_s: item.created_s,
        })
        .collect()
}

fn text(lines: &[Line], options: &Options, console: &Console) -> String {
    if lines.is_empty() {
        return "The store is empty.\n".to_owned();
    }
    let (name, results) =
        if options.crate_name.is_some() { ("key", "outputs") } else { ("crate", "results") };
    let mut table = Table::new(&[false, true, true, true, true, true]);
    let heading = [name, results, "size", "hits", "compile time", "age"];
    table.row(heading.map(|text| console.paint(Style::Faint, text)));
    let now_s = times::now_ms() / 1000;
    for line in lines {
        let name = if options.crate_name.is_some() { &line.name[..16] } else { &line.name };
        table.row([
            name.to_owned(),
            human::count(line.results),
            human::size(line.size_bytes),
            human::count(line.hits),
            human::time(Duration::from_micros(line.cost_us)),
            human::age(Duration::from_secs(now_s.saturating_sub(line.created_s))),
        ]);
    }
    table.render(0)
}

fn json(line: &Line, options: &Options) -> serde_json::Value {
    let (name, results) =
        if options.crate_name.is_some() { ("key", "outputs") } else { ("crate_name", "results") };
    serde_json::json!({
        name: line.name,
        results: line.results,
        "size": line.size_bytes,
        "hits": line.hits,
        "compile_time_ms": line.cost_us / 1000,
        "created_s": line.created_s,
    })
}
