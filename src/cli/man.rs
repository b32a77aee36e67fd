//! `kache man`: the manual, for packages to install.

use super::Arguments;
use anyhow::{Context, Result};
use clap::CommandFactory;
use std::path::Path;
use std::process::ExitCode;

/// Writes a page for kache and one for each of its commands into `directory`.
pub(super) fn run(directory: &Path) -> Result<ExitCode> {
    crate::fs::create_directories(directory)?;
    clap_mangen::generate_to(Arguments::command(), directory)
        .with_context(|| format!("write the manual to {}", directory.display()))?;
    Ok(ExitCode::SUCCESS)
}
