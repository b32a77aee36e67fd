//! `kache gc`: brings the store within its cap, and removes what nobody has used for long.
//!
//! A wrapper call that has stored much starts it in the background; it then says nothing.

use super::output::Console;
use super::{configuration, duration, human, inventory, times};
use crate::index::Index;
use crate::store::evict::{Candidate, Evicted, Holdings, Limits, Right, evict};
use anyhow::{Context, Result};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kache gc --max-age 2w --dry-run")]
pub(super) struct Options {
    /// Also remove what nobody has used for this time: 24h, 7d, 2w; a bare number is hours.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    max_age: Option<Duration>,
    /// Only show what would be removed, and why.
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Say nothing, and leave it to another process that is at it.
    #[arg(long, hide = true, requires = "store", requires = "max_size")]
    background: bool,
    #[arg(long, hide = true, value_name = "DIRECTORY", requires = "background")]
    store: Option<PathBuf>,
    #[arg(long, hide = true, value_name = "BYTES", requires = "background")]
    max_size: Option<u64>,
}

pub(super) fn run(options: &Options, console: &Console) -> Result<ExitCode> {
    if let (true, Some(store), Some(size)) = (options.background, &options.store, options.max_size)
    {
        collect(store, limits(size, options.max_age), options.dry_run)?;
        return Ok(ExitCode::SUCCESS);
    }
    let config = configuration(console)?.config;
    if !inventory::exists(&config.cache_dir) {
        console.note(&format!("there is no store in {}", config.cache_dir.display()));
        return Ok(ExitCode::SUCCESS);
    }
    let configured = Duration::from_secs(config.gc_max_age_hours.saturating_mul(3600));
    let limits = limits(config.max_size_bytes, options.max_age.or(Some(configured)));
    let Some(evicted) = collect(&config.cache_dir, limits, options.dry_run)? else {
        console.note("another process is bringing the store within its cap");
        return Ok(ExitCode::SUCCESS);
    };
    show(&evicted, limits, options.dry_run, console)?;
    Ok(ExitCode::SUCCESS)
}

/// No age, or zero, is no limit.
fn limits(size_bytes_max: u64, max_age: Option<Duration>) -> Limits {
    let age_s_max = max_age.map_or(0, |age| age.as_secs());
    Limits { size_bytes_max, age_s_max, now_s: times::now_ms() / 1000 }
}

/// `None` if another process is at it.
fn collect(store: &Path, limits: Limits, dry_run: bool) -> Result<Option<Evicted>> {
    let Some(_right) = Right::try_take(store)? else { return Ok(None) };
    let index = Index::open(store).context("open the index")?;
    let holdings = Holdings::read(store, &index)?;
    let evicted = holdings.plan(limits);
    if !dry_run {
        evict(&holdings, &index, &evicted)?;
    }
    Ok(Some(evicted))
}

fn show(evicted: &Evicted, limits: Limits, dry_run: bool, console: &Console) -> Result<()> {
    let mut out = console.data();
    if dry_run {
        for result in &evicted.results {
            writeln!(out, "{}", line(result, limits.now_s))?;
        }
    }
    let results = human::plural(evicted.results.len() as u64, "result", "results");
    let blobs = human::plural(evicted.blobs.len() as u64, "blob", "blobs");
    let (verb, and) = if dry_run { ("Would remove", "would free") } else { ("Removed", "freed") };
    let freed = human::size(evicted.freed_bytes);
    writeln!(out, "{verb} {results} and {blobs}; {and} {freed}.")?;
    let size_bytes = if dry_run { evicted.size_bytes_before } else { evicted.size_bytes_after };
    let (size, cap) = (human::size(size_bytes), human::size(limits.size_bytes_max));
    writeln!(out, "The store takes {size} of {cap}.")?;
    out.flush()?;
    Ok(())
}

fn line(result: &Candidate, now_s: u64) -> String {
    let unused = Duration::from_secs(now_s.saturating_sub(result.used_s));
    let cost = Duration::from_micros(result.cost_us);
    let name = &result.crate_name;
    format!("{name}: unused for {}, compiles in {}", human::age(unused), human::time(cost))
}
