//! `kache gc`: brings the store within its cap, and removes what nobody has used for long.
//!
//! A wrapper call that has stored much starts it in the background; it then says nothing.

use super::output::Console;
use super::progress::Progress;
use super::{configuration, duration, human, inventory, times};
use crate::config::Config;
use crate::index::Index;
use crate::store::evict::{Candidate, Evicted, Holdings, Limits, Right, evict};
use crate::store::upkeep::{Turn, compact, make_durable};
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
    /// Do not leave it to another process: a build waits for it.
    #[arg(long, hide = true, requires = "background")]
    wait: bool,
    #[arg(long, hide = true, value_name = "DIRECTORY", requires = "background")]
    store: Option<PathBuf>,
    #[arg(long, hide = true, value_name = "BYTES", requires = "background")]
    max_size: Option<u64>,
}

pub(super) fn run(options: &Options, console: &Console) -> Result<ExitCode> {
    if let (true, Some(store), Some(size)) = (options.background, &options.store, options.max_size)
    {
        let extent = if options.wait { Extent::Awaited } else { Extent::Background };
        collect(store, limits(size, options.max_age), extent, &Progress::hidden())?;
        return Ok(ExitCode::SUCCESS);
    }
    let config = configuration(console)?.config;
    if !inventory::exists(&config.cache_dir)? {
        console.note(&format!("there is no store in {}", config.cache_dir.display()));
        return Ok(ExitCode::SUCCESS);
    }
    if options.max_age.is_some_and(|age| age.is_zero()) {
        console.note("`--max-age 0` is no limit; `kache purge` removes everything");
    }
    let configured = Duration::from_secs(config.gc_max_age_hours.saturating_mul(3600));
    let limits = limits(config.max_size_bytes, options.max_age.or(Some(configured)));
    let extent = if options.dry_run { Extent::DryRun } else { Extent::Everything };
    let evicted = collect(&config.cache_dir, limits, extent, &Progress::new(console))?;
    let Some(evicted) = evicted else {
        console.note("another process is bringing the store within its cap");
        return Ok(ExitCode::SUCCESS);
    };
    show(&evicted, limits, options.dry_run, console)?;
    Ok(ExitCode::SUCCESS)
}

/// Brings a store that something else than a build has put much into within its cap.
pub(super) fn hold_cap(config: &Config) -> Result<()> {
    let age = Duration::from_secs(config.gc_max_age_hours.saturating_mul(3600));
    let limits = limits(config.max_size_bytes, Some(age));
    collect(&config.cache_dir, limits, Extent::Background, &Progress::hidden()).map(drop)
}

/// No age, or zero, is no limit.
fn limits(size_bytes_max: u64, max_age: Option<Duration>) -> Limits {
    let age_s_max = max_age.map_or(0, |age| age.as_secs());
    Limits { size_bytes_max, age_s_max, now_s: times::now_ms() / 1000 }
}

/// How much is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    DryRun,
    /// Eviction, and the rest if nobody has been at it for some time.
    Background,
    Everything,
    /// Eviction alone, unless another process has done it meanwhile.
    Awaited,
}

/// `None` if it is left to another process that is at it.
fn collect(
    store: &Path,
    limits: Limits,
    extent: Extent,
    progress: &Progress,
) -> Result<Option<Evicted>> {
    let awaited = extent == Extent::Awaited;
    // One build after the other may be told to wait: one process that does is enough.
    let sole = if awaited { Right::try_await(store)? } else { None };
    if awaited && sole.is_none() {
        return Ok(None);
    }
    let right = match (Right::try_take(store)?, extent) {
        (Some(right), _) => right,
        // It may be about another limit.
        (None, Extent::Everything | Extent::Awaited) => {
            progress.say("waiting for another process that is at it");
            Right::take(store)?
        }
        (None, Extent::DryRun | Extent::Background) => return Ok(None),
    };
    let index = Index::open(store).context("open the index")?;
    let counted_bytes = index.stored_bytes();
    if awaited && counted_bytes <= limits.size_bytes_max {
        return Ok(None);
    }
    progress.say("looking at the store");
    let holdings = Holdings::read(store, &index)?;
    let evicted = holdings.plan(limits);
    if extent == Extent::DryRun {
        return Ok(Some(evicted));
    }
    if evicted.freed_bytes > 0 {
        progress.say(format!("removing {}", counted(&evicted)));
    }
    let (units, kept) = evict(&holdings, &index, &evicted, limits.now_s);
    index.correct_stored(counted_bytes, evicted.size_bytes_after + kept.bytes);
    // What follows may take long, and builds may fill the store again meanwhile.
    drop(right);
    if !awaited && let Some(turn) = Turn::try_take(store, extent == Extent::Everything)? {
        progress.say("making results outlast a power cut");
        make_durable(store, &holdings, &index)?;
        progress.say("freeing the index of what leads nowhere");
        compact(&holdings, &index, |unit| units.contains(unit))?;
        turn.done()?;
    }
    match kept.first {
        Some(error) => {
            let files = human::plural(kept.files, "file", "files");
            Err(error)
                .context(format!("{files} ({}) could not be removed", human::size(kept.bytes)))
        }
        None => Ok(Some(evicted)),
    }
}

fn show(evicted: &Evicted, limits: Limits, dry_run: bool, console: &Console) -> Result<()> {
    let mut out = console.data();
    if dry_run {
        for result in &evicted.results {
            writeln!(out, "{}", line(result, limits.now_s))?;
        }
    }
    let (verb, and) = if dry_run { ("Would remove", "would free") } else { ("Removed", "freed") };
    let freed = human::size(evicted.freed_bytes);
    writeln!(out, "{verb} {}; {and} {freed}.", counted(evicted))?;
    let size_bytes = if dry_run { evicted.size_bytes_before } else { evicted.size_bytes_after };
    let (size, cap) = (human::size(size_bytes), human::size(limits.size_bytes_max));
    writeln!(out, "The store takes {size} of {cap}.")?;
    out.flush()?;
    Ok(())
}

fn counted(evicted: &Evicted) -> String {
    let results = human::plural(evicted.results.len() as u64, "result", "results");
    let blobs = human::plural(evicted.blobs.len() as u64, "blob", "blobs");
    format!("{results} and {blobs}")
}

fn line(result: &Candidate, now_s: u64) -> String {
    let unused = Duration::from_secs(now_s.saturating_sub(result.used_s));
    let cost = Duration::from_micros(result.cost_us);
    let name = &result.crate_name;
    format!("{name}: unused for {}, compiles in {}", human::age(unused), human::time(cost))
}
