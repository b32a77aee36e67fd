//! `kache save-manifest`: tells the remote what the builds of a workspace used, for other machines to
//! fetch before they ask.

use super::output::Console;
use super::workspace::{Selection, Workspace, remote, runtime};
use super::{EXIT_FINDINGS, configuration, human};
use crate::store::Store;
use anyhow::Result;
use std::io::Write;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kache save-manifest --manifest-key main --namespace app")]
pub(super) struct Options {
    #[command(flatten)]
    selection: Selection,
}

pub(super) fn run(options: &Options, console: &Console) -> Result<ExitCode> {
    let config = configuration(console)?.config;
    runtime()?.block_on(async {
        let remote = remote(&config).await?;
        let store = Store::open(&config.cache_dir)?;
        let workspace = Workspace::find(&options.selection, &config, &store)?;
        let list = workspace.used(&store)?;
        if list.actions.is_empty() {
            console.error(&format!("no build of {} is known", workspace.root.display()));
            console.hint("run one through the cache first: `kache cargo build`");
            return Ok(ExitCode::from(EXIT_FINDINGS));
        }
        workspace.put_list(&remote, &list).await?;
        let results = human::plural(list.actions.len() as u64, "result", "results");
        let mut out = console.data();
        writeln!(out, "Saved a list of {results}.")?;
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    })
}
