//! `kache list`: what the store holds, by crate, or the results of one crate.

use super::inventory::Item;
use super::output::{Console, Style, Table};
use super::{EXIT_FINDINGS, configuration, human, inventory, times};
use crate::events::{self, is_hit};
use crate::parallel;
use anyhow::{Context, Result};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use store_format::{ActionKey, EventView};

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

impl Line {
    /// Counts more results in; `created_s` is the newest one's.
    fn add(&mut self, results: u64, size_bytes: u64, cost_us: u64, created_s: u64) {
        self.results += results;
        self.size_bytes += size_bytes;
        self.cost_us += cost_us;
        self.created_s = self.created_s.max(created_s);
    }
}

pub(super) fn run(options: &Options, console: &Console) -> Result<ExitCode> {
    let loaded = configuration(console)?;
    let cache_dir = &loaded.config.cache_dir;
    let mut lines = match &options.crate_name {
        None => by_crate(cache_dir)?,
        Some(name) => results_of(name, cache_dir)?,
    };
    if let (Some(name), true) = (&options.crate_name, lines.is_empty()) {
        console.error(&format!("the store has no result of `{name}`"));
        inventory::suggest(name, cache_dir, console)?;
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

/// A line for each crate. Its hits are those of the event log, also of results that are gone.
fn by_crate(cache_dir: &Path) -> Result<Vec<Line>> {
    let add = |lines: &mut HashMap<Vec<u8>, Line>, item: Item<'_>| {
        let line = match lines.get_mut(item.crate_name) {
            Some(line) => line,
            None => lines.entry(item.crate_name.to_owned()).or_default(),
        };
        line.add(1, item.size_bytes, item.cost_us, item.created_s);
    };
    let count = |hits: &mut HashMap<Vec<u8>, u64>, event: &EventView<'_>| match hits
        .get_mut(event.crate_name.as_bytes())
    {
        Some(hits) => *hits += 1,
        None => drop(hits.insert(event.crate_name.into(), 1)),
    };
    let ([mut lines, others], hits) = read(cache_dir, add, count)?;
    for (name, other) in others {
        let line = lines.entry(name).or_default();
        line.add(other.results, other.size_bytes, other.cost_us, other.created_s);
    }
    let named = lines.into_iter().map(|(name, line)| Line {
        hits: hits.get(&name).copied().unwrap_or(0),
        name: String::from_utf8_lossy(&name).into_owned(),
        ..line
    });
    Ok(named.collect())
}

/// A line for each result of a crate.
fn results_of(name: &str, cache_dir: &Path) -> Result<Vec<Line>> {
    // Crates are named with underscores, packages often with hyphens.
    let name = name.replace('-', "_");
    let add = |lines: &mut Vec<(ActionKey, Line)>, item: Item<'_>| {
        if item.crate_name == name.as_bytes() {
            let line = Line {
                name: item.action.0.to_string(),
                results: item.outputs,
                size_bytes: item.size_bytes,
                hits: 0,
                cost_us: item.cost_us,
                created_s: item.created_s,
            };
            lines.push((item.action, line));
        }
    };
    let count = |hits: &mut HashMap<ActionKey, u64>, event: &EventView<'_>| {
        if event.crate_name == name
            && let Some(action) = event.action
        {
            *hits.entry(action).or_insert(0) += 1;
        }
    };
    let (lines, hits) = read(cache_dir, add, count)?;
    let lines = lines
        .into_iter()
        .flatten()
        .map(|(action, line)| Line { hits: hits.get(&action).copied().unwrap_or(0), ..line });
    Ok(lines.collect())
}

/// The results, and the hits as far as the event log goes back, read at the same time.
fn read<T: Default + Send, H: Default + Send>(
    cache_dir: &Path,
    add: impl Fn(&mut T, Item<'_>) + Sync,
    count: impl Fn(&mut H, &EventView<'_>) + Sync,
) -> Result<([T; 2], H)> {
    let count_all = || {
        let mut hits = H::default();
        events::visit(cache_dir, 0, |event| {
            if is_hit(event.outcome) {
                count(&mut hits, event);
            }
        })
        .map(|()| hits)
    };
    let (hits, items) = parallel::both(count_all, || inventory::collect(cache_dir, add));
    Ok((items?, hits.context("read the event log")?))
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
