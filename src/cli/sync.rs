//! `kache sync`: brings what builds made to the remote, and what they need from there. With it before
//! and after a build, a runner needs no daemon.

mod plan;
mod transfer;

use super::output::Console;
use super::workspace::{Selection, Workspace, remote, runtime};
use super::{EXIT_FINDINGS, configuration, gc, human};
use crate::config::{Config, RemoteKind};
use crate::fs::{self, FileKind};
use crate::queue::Queue;
use crate::remote::Remote;
use crate::store::Store;
use anyhow::{Result, bail};
use plan::{Item, Plan};
use rustix::io::Errno;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::task::JoinSet;
use transfer::{Direction, Outcome};

/// Without `--pull` and `--push`, both are done, in this order.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kache sync --pull")]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(super) struct Options {
    /// Fetch what builds of this workspace used elsewhere.
    #[arg(long)]
    pull: bool,
    /// Upload what builds of this workspace used here, and what waits for it.
    #[arg(long)]
    push: bool,
    /// All that there is, whichever workspace it belongs to.
    #[arg(long, conflicts_with = "workspace")]
    all: bool,
    /// What belongs to this workspace: the default.
    #[arg(long)]
    workspace: bool,
    /// Only show what would be transferred.
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Succeed when a part failed, or all of it.
    #[arg(long)]
    allow_partial: bool,
    #[command(flatten)]
    selection: Selection,
}

pub(super) fn run(options: &Options, console: &Console) -> Result<ExitCode> {
    let config = configuration(console)?.config;
    let runtime = runtime()?;
    let opened = runtime.block_on(Sync::open(options, &config, console))?;
    let is_whole = match runtime.block_on(opened.go()) {
        Ok(is_whole) => is_whole,
        Err(error) if options.allow_partial => {
            console.warning(&format!("{error:#}"));
            true
        }
        Err(error) => return Err(error.context(format!("remote {}", config.remote_place()))),
    };
    let accepted = is_whole || options.allow_partial;
    Ok(if accepted { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FINDINGS) })
}

struct Sync<'a> {
    options: &'a Options,
    config: &'a Config,
    console: &'a Console,
    remote: Remote,
    store: Arc<Store>,
    /// `None` for all that there is.
    workspace: Option<Workspace>,
}

impl<'a> Sync<'a> {
    async fn open(options: &'a Options, config: &'a Config, console: &'a Console) -> Result<Self> {
        let remote = remote(config).await?;
        let store = Arc::new(Store::open(&config.cache_dir)?);
        let find = || Workspace::find(&options.selection, config, &store);
        let workspace = if options.all { None } else { Some(find()?) };
        Ok(Self { options, config, console, remote, store, workspace })
    }

    /// Whether everything could be transferred.
    async fn go(&self) -> Result<bool> {
        let both = !self.options.pull && !self.options.push;
        let pushes = self.options.push || both && self.remote.is_writable();
        self.check_directory(pushes)?;
        let mut is_whole = true;
        if self.options.pull || both {
            is_whole &= self.pull().await?;
        }
        if self.options.push && !self.remote.is_writable() {
            return Err(super::UsageError::new("the remote is read-only here").into());
        }
        if pushes {
            is_whole &= self.push().await?;
        }
        Ok(is_whole)
    }

    /// What lies below something else than a directory is absent like all of an empty remote: a file, or
    /// the place of a directory that was not mounted. Only what is pushed may make one.
    fn check_directory(&self, pushes: bool) -> Result<()> {
        let remote = &self.config.remote;
        let Some(path) = remote.path.as_ref().filter(|_| remote.kind == RemoteKind::Filesystem)
        else {
            return Ok(());
        };
        match fs::stat(path) {
            Ok(stat) if stat.kind == FileKind::Directory => Ok(()),
            Ok(_) => bail!("{} is not a directory", path.display()),
            Err(error) if error.errno == Errno::NOENT && pushes => Ok(()),
            Err(error) if error.errno == Errno::NOENT => {
                bail!("there is no directory {}", path.display())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn pull(&self) -> Result<bool> {
        let plan = Plan::of_pull(&self.remote, &self.store, self.workspace.as_ref()).await?;
        if self.options.dry_run {
            return self.show_plan("pull", &plan.items);
        }
        let outcome = transfer::run(Direction::Pull, plan.items, self.console, |item| {
            transfer::pull(self.remote.clone(), Arc::clone(&self.store), item)
        });
        let outcome = outcome.await;
        self.show("Pulled", "pulled", &outcome)?;
        if self.store.index.stored_bytes() > self.config.max_size_bytes {
            gc::hold_cap(self.config)?;
        }
        Ok(outcome.failed == 0)
    }

    async fn push(&self) -> Result<bool> {
        let (queue, workspace) = (Queue::of(self.config), self.workspace.as_ref());
        let plan = Plan::of_push(&self.remote, &self.store, &queue, workspace).await?;
        if self.options.dry_run {
            return self.show_plan("push", &self.missing(plan.items).await?);
        }
        let outcome = transfer::run(Direction::Push, plan.items, self.console, |item| {
            let (remote, store) = (self.remote.clone(), Arc::clone(&self.store));
            transfer::push(remote, store, queue.clone(), item)
        });
        let outcome = outcome.await;
        self.show("Pushed", "pushed", &outcome)?;
        if let (Some(workspace), Some(list), 0) = (&self.workspace, plan.list, outcome.failed) {
            workspace.put_list(&self.remote, &list).await?;
        }
        Ok(outcome.failed == 0)
    }

    /// Those that a push would upload.
    async fn missing(&self, items: Vec<Item>) -> Result<Vec<Item>> {
        let mut asked = JoinSet::new();
        for item in items {
            let remote = self.remote.clone();
            asked.spawn(async move {
                remote.has(&item.action).await.map(|known| (!known).then_some(item))
            });
        }
        let mut missing = Vec::new();
        while let Some(answer) = asked.join_next().await {
            missing.extend(answer??);
        }
        Ok(missing)
    }

    fn show_plan(&self, verb: &str, items: &[Item]) -> Result<bool> {
        let bytes = items.iter().map(|item| item.size_bytes).sum();
        let results = human::plural(items.len() as u64, "result", "results");
        let mut out = self.console.data();
        writeln!(out, "Would {verb} {results}, {}.", human::size(bytes))?;
        out.flush()?;
        Ok(true)
    }

    fn show(&self, done: &str, participle: &str, outcome: &Outcome) -> Result<()> {
        let results = human::plural(outcome.done, "result", "results");
        let content = human::size(outcome.moved.bytes);
        let wire = human::size(outcome.moved.wire_bytes);
        let time = human::time(outcome.elapsed);
        let mut out = self.console.data();
        writeln!(out, "{done} {results}: {content}, {wire} on the wire, in {time}.")?;
        out.flush()?;
        if outcome.there > 0 {
            let results = human::plural(outcome.there, "result was", "results were");
            self.console.note(&format!("{results} there already"));
        }
        if outcome.absent > 0 {
            let results = human::plural(outcome.absent, "result is", "results are");
            self.console.note(&format!("{results} not in the remote any more"));
        }
        if outcome.failed > 0 {
            let results = human::plural(outcome.failed, "result was", "results were");
            self.console.error(&format!("{results} not {participle}"));
        }
        Ok(())
    }
}
