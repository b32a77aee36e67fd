//! The command line. Never reached by the wrapper.
//!
//! Data goes to standard output, everything else to standard error. Exit status: 0 done, 1 findings
//! or partial failure, 2 usage or configuration.

mod cargo;
mod clean;
mod completions;
mod config;
mod daemon;
mod demo;
mod doctor;
mod gc;
mod human;
mod init;
mod inventory;
mod list;
mod man;
mod monitor;
mod output;
mod progress;
mod purge;
mod report;
mod save_manifest;
mod signals;
mod stats;
mod summary;
mod sync;
mod toml_file;
mod why_miss;
mod workspace;

use crate::config::Loaded;
use crate::config::value::{DURATION_FORM, parse_duration};
use crate::times;
use anyhow::Result;
use clap::{Parser, Subcommand};
use output::Console;
use std::ffi::OsString;
use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

/// A build cache for Rust.
#[derive(Debug, Parser)]
#[command(name = "kache", version, about, max_term_width = 100)]
#[command(subcommand_required = false, arg_required_else_help = false)]
#[command(after_help = "Try `kache cargo build`: Cargo through the cache, nothing configured.")]
pub(crate) struct Arguments {
    /// Only data and errors, no notes.
    #[arg(short, long, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run Cargo through the cache, nothing configured.
    #[command(after_help = "Example: kache cargo build --release")]
    Cargo {
        /// What to pass to Cargo.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
        arguments: Vec<OsString>,
    },
    /// Build a small sample twice and show what was reused.
    #[command(
        after_help = "Needs no configuration, daemon or network, and uses a store of its own.\n\
        Example: kache demo --keep"
    )]
    Demo(demo::Options),
    /// Make Cargo use the cache for every build.
    Init(init::Options),
    /// Find what is wrong with the setup, and what to do about it.
    Doctor(doctor::Options),
    /// Show what the cache did.
    Stats(stats::Options),
    /// List what the store holds.
    List(list::Options),
    /// Show builds in detail.
    Report(report::Options),
    /// Watch builds, the store and what is not cached, live.
    Monitor(monitor::Options),
    /// Name the input that differed when a crate was compiled again.
    WhyMiss(why_miss::Options),
    /// Bring what builds made to the remote, and what they need from there.
    Sync(sync::Options),
    /// Tell the remote what this workspace's builds used, for others to fetch ahead.
    SaveManifest(save_manifest::Options),
    /// Bring the store within its cap.
    Gc(gc::Options),
    /// Remove results from the store.
    Purge(purge::Options),
    /// Find target directories, and show what each would really free.
    Clean(clean::Options),
    /// Read and change the configuration.
    Config(config::Options),
    /// Run, start, stop and ask the daemon that shares results through a remote.
    #[command(after_help = "Example: kache daemon stop")]
    Daemon {
        #[command(subcommand)]
        command: Option<daemon::Command>,
    },
    /// Print completions for a shell.
    #[command(
        after_help = "Example: kache completions fish > ~/.config/fish/completions/kache.fish"
    )]
    Completions {
        /// bash, zsh, fish, elvish or powershell.
        shell: clap_complete::Shell,
    },
    /// Examine a compiler for the builds that are about to use it.
    #[command(hide = true, name = crate::toolchain::EXAMINE)]
    Examine {
        store: std::path::PathBuf,
        compiler: std::path::PathBuf,
        #[arg(long)]
        sysroot: Option<std::path::PathBuf>,
        #[arg(long)]
        target: Option<std::ffi::OsString>,
    },
    /// Write the manual: a page for each command.
    #[command(hide = true)]
    Man {
        /// Where the pages go; made if need be.
        directory: std::path::PathBuf,
    },
}

/// The part of the past that a command looks at.
#[derive(Debug, clap::Args)]
struct Since {
    /// Only what happened in this time: 45s, 30m, 24h, 7d, 2w; a bare number is hours.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    since: Option<Duration>,
}

impl Since {
    /// Milliseconds since 1970; 0 is everything.
    fn start_ms(&self) -> u64 {
        let Some(since) = self.since else { return 0 };
        let since_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        times::now_ms().saturating_sub(since_ms)
    }
}

/// What is said where there is no event: in a part of the past, or at all.
fn no_build(in_part: bool) -> &'static str {
    if in_part {
        "No build has used the cache in this time."
    } else {
        "No build has used the cache."
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| format!("expected {DURATION_FORM}"))
}

/// Findings or partial failure: the command did its work, and the work has a bad result.
const EXIT_FINDINGS: u8 = 1;
/// Usage or configuration.
const EXIT_USAGE: u8 = 2;

/// An error that is the user's to correct before the command can run.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct UsageError {
    message: String,
    hint: Option<String>,
}

impl UsageError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let [first, second, ..] = words.as_slice()
        && first == "cargo"
        && !["-h", "--help"].iter().any(|help| second == help)
    {
        // Options are Cargo's from here on, those that kache has as well included.
        let console = Console::new(false);
        return cargo::run(&words[1..], &console).unwrap_or_else(|error| failed(&error, &console));
    }
    let arguments = Arguments::parse();
    let console = Console::new(arguments.quiet);
    run(arguments, &console).unwrap_or_else(|error| failed(&error, &console))
}

fn run(arguments: Arguments, console: &Console) -> Result<ExitCode> {
    let Some(command) = arguments.command else {
        return output::help(console);
    };
    match command {
        Command::Cargo { arguments } => cargo::run(&arguments, console),
        Command::Demo(options) => demo::run(&options, console),
        Command::Init(options) => init::run(&options, console),
        Command::Doctor(options) => doctor::run(&options, console),
        Command::Stats(options) => stats::run(&options, console),
        Command::List(options) => list::run(&options, console),
        Command::Gc(options) => gc::run(&options, console),
        Command::Sync(options) => sync::run(&options, console),
        Command::SaveManifest(options) => save_manifest::run(&options, console),
        Command::Purge(options) => purge::run(&options, console),
        Command::Report(options) => report::run(&options, console),
        Command::Monitor(options) => monitor::run(&options, console),
        Command::WhyMiss(options) => why_miss::run(&options, console),
        Command::Clean(options) => clean::run(&options, console),
        Command::Config(options) => config::run(options, console),
        Command::Daemon { command } => daemon::run(&command.unwrap_or_default(), console),
        Command::Completions { shell } => completions::run(shell, console),
        Command::Examine { store, compiler, sysroot, target } => {
            let store = crate::store::Store::open(&store)?;
            let (sysroot, target) = (sysroot.as_deref(), target.as_deref());
            crate::toolchain::examine_here(&store, &compiler, sysroot, target)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Man { directory } => man::run(&directory),
    }
}

fn failed(error: &anyhow::Error, console: &Console) -> ExitCode {
    console.error(&with_causes(error));
    let usage = error.downcast_ref::<UsageError>();
    if let Some(hint) = usage.and_then(|usage| usage.hint.as_ref()) {
        console.hint(hint);
    } else if is_denied(error) {
        console.hint("`kache doctor` says what the store and the setup lack");
    }
    ExitCode::from(if usage.is_some() { EXIT_USAGE } else { EXIT_FINDINGS })
}

/// An error and what caused it, each said once.
fn with_causes(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.ends_with(&cause) {
            text.extend([": ", &cause]);
        }
    }
    text
}

fn is_denied(error: &anyhow::Error) -> bool {
    let kind = |cause: &(dyn std::error::Error + 'static)| {
        let io = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        io.or_else(|| cause.downcast_ref::<rustix::io::Errno>().map(|errno| errno.kind()))
    };
    error.chain().any(|cause| kind(cause) == Some(std::io::ErrorKind::PermissionDenied))
}

/// The configuration, or an error that names everything wrong in it. Warnings are printed.
fn configuration(console: &Console) -> Result<Loaded> {
    let loaded = Loaded::for_command();
    let (fatal, harmless): (Vec<_>, Vec<_>) = loaded.warnings.iter().partition(|w| w.fatal);
    for warning in harmless {
        console.warning(&warning.to_string());
    }
    match fatal.split_first() {
        None => Ok(loaded),
        Some((first, rest)) => {
            let mut message = first.to_string();
            for warning in rest {
                use fmt::Write;
                write!(message, "\n       {warning}")?;
            }
            let hint = "builds go on with the default until this is corrected";
            Err(UsageError::new(message).hint(hint).into())
        }
    }
}
