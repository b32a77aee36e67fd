//! `kache doctor`: what is set up, what is wrong, and what to do about it.
//!
//! Each check is a function that returns lines; nothing is changed unless `--fix` or `--repair`
//! asks. The exit status is 1 while a finding stands.

mod daemon;
mod integrity;
mod remote;
mod setup;

use super::EXIT_FINDINGS;
use super::output::{Console, Style};
use super::progress::Progress;
use crate::config::Loaded;
use anyhow::{Context, Result};
use integrity::Depth;
use std::io::Write;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
#[command(after_help = "Example: kache doctor --verify")]
pub(super) struct Options {
    /// Correct what can be corrected: set the wrapper, remove damaged files that were set aside.
    #[arg(long)]
    fix: bool,
    /// Check that the files of every result are there.
    #[arg(long)]
    verify: bool,
    /// Check the content of every file of the store, too.
    #[arg(long)]
    checksums: bool,
    /// Remove results whose files are missing or damaged.
    #[arg(long)]
    repair: bool,
}

/// What a check has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    /// All is well.
    Fine(String),
    /// Something was wrong and is not any more.
    Fixed(String),
    /// Something is wrong; the second text says what to do.
    Finding(String, String),
}

pub(super) fn run(options: &Options, console: &Console) -> Result<ExitCode> {
    // Wrong values are findings here, and the defaults hold in their place.
    let loaded = Loaded::for_command();
    let mut lines = setup::configuration(&loaded);
    lines.extend(setup::toolchain());
    lines.extend(setup::wrapper(options.fix));
    lines.extend(setup::store(&loaded.config, options.fix));
    lines.extend(setup::sharing(&loaded.config));
    lines.extend(setup::observer(&loaded.config));
    lines.extend(remote::check(&loaded.config));
    lines.extend(daemon::check(&loaded.config));
    lines.extend(setup::recent_events(&loaded.config));
    if options.verify || options.checksums || options.repair {
        let depth = if options.checksums { Depth::Contents } else { Depth::Sizes };
        let (cache_dir, progress) = (&loaded.config.cache_dir, Progress::new(console));
        match integrity::check(cache_dir, depth, options.repair, &progress) {
            Ok(verified) => lines.extend(verified),
            Err(error) => {
                let remedy = "correct that, and verify it again".to_owned();
                lines.push(Line::Finding(format!("not all was verified: {error:#}"), remedy));
            }
        }
    }
    let findings = lines.iter().filter(|line| matches!(line, Line::Finding(..))).count() as u64;
    let mut out = console.data();
    for line in &lines {
        out.write_all(shown(line, console).as_bytes())?;
    }
    if findings > 0 {
        let findings = super::human::plural(findings, "finding", "findings");
        writeln!(out, "\n{}", console.paint(Style::Caution, &findings))?;
    }
    out.flush().context("write the findings")?;
    Ok(if findings == 0 { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FINDINGS) })
}

fn shown(line: &Line, console: &Console) -> String {
    match line {
        Line::Fine(text) => format!("{}       {text}\n", console.paint(Style::Good, "ok")),
        Line::Fixed(text) => format!("{}    {text}\n", console.paint(Style::Good, "fixed")),
        Line::Finding(text, remedy) => {
            let label = console.paint(Style::Bad, "finding");
            format!("{label}  {text}\n         {remedy}\n")
        }
    }
}
