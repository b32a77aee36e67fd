//! `kache completions`: what a shell needs to complete commands and options.

use super::Arguments;
use super::output::Console;
use anyhow::{Context, Result};
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use std::io::Write;
use std::process::ExitCode;

pub(super) fn run(shell: Shell, console: &Console) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut shown(&Arguments::command()), "kache", &mut script);
    let mut out = console.data();
    out.write_all(&script).and_then(|()| out.flush()).context("write the completions")?;
    Ok(ExitCode::SUCCESS)
}

/// A command without what its help does not show: of that, nothing is to be typed.
fn shown(command: &Command) -> Command {
    let arguments = command.get_arguments().filter(|argument| !argument.is_hide_set());
    let subcommands = command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set());
    let mut kept = Command::new(command.get_name().to_owned())
        .args(arguments.cloned())
        .subcommands(subcommands.map(shown));
    if let Some(about) = command.get_about() {
        kept = kept.about(about.clone());
    }
    if let Some(version) = command.get_version() {
        kept = kept.version(version.to_owned());
    }
    kept
}
