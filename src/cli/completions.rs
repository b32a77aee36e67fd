//! `kache completions`: what a shell needs to complete commands and options.

use super::Arguments;
use super::output::Console;
use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;
use std::io::Write;
use std::process::ExitCode;

pub(super) fn run(shell: Shell, console: &Console) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "kache", &mut script);
    let mut out = console.data();
    out.write_all(&script).and_then(|()| out.flush()).context("write the completions")?;
    Ok(ExitCode::SUCCESS)
}
