//! `kache init`: makes Cargo use the cache for every build.

use super::cargo::{Wrapper, cargo_home, configured_wrapper, is_kache};
use super::output::Console;
use super::toml_file::TomlFile;
use super::{EXIT_FINDINGS, UsageError, configuration, daemon, with_causes};
use crate::env;
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const TABLES: [&str; 1] = ["build"];
const KEY: &str = "rustc-wrapper";
/// What stands, in a comment, in front of the wrapper that was there before.
const REPLACED: &str = " # kache init replaced ";

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kache init --check")]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(super) struct Options {
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
    /// Only show what would be done; exit status 1 if something would.
    #[arg(long)]
    check: bool,
    /// Take back what was set, and put another wrapper back that was replaced.
    #[arg(long)]
    undo: bool,
    /// Do not have the daemon run as a service, which it does where a remote is configured.
    #[arg(long)]
    no_service: bool,
}

pub(super) fn run(options: &Options, console: &Console) -> Result<ExitCode> {
    let plan = Plan::make()?;
    if options.undo {
        return undo(&plan, options, console);
    }
    if !plan.is_done() {
        // What cannot be changed is not to be shown as if it could.
        TomlFile::open(&plan.file)?;
    }
    let service = !options.no_service && wants_service(console)?;
    let mut out = console.data();
    if plan.is_done() {
        writeln!(out, "Cargo uses kache already: {}", plan.current_text())?;
    }
    for change in plan.change().into_iter().chain(service.then(|| SERVICE.to_owned())) {
        writeln!(out, "{change}")?;
    }
    out.flush()?;
    if plan.is_done() && !service {
        return Ok(ExitCode::SUCCESS);
    }
    plan.warn(console);
    if options.check {
        return Ok(ExitCode::from(EXIT_FINDINGS));
    }
    if !options.yes && !confirmed("Change it? [Y/n] ", true, "`kache init -y`")? {
        console.note("nothing was changed");
        return Ok(ExitCode::from(EXIT_FINDINGS));
    }
    if !plan.is_done() {
        plan.apply()?;
    }
    if service && let Err(error) = daemon::service::install(console) {
        console.error(&format!("the wrapper is set, and {}", with_causes(&error)));
        console.hint("`kache init --no-service` asks for none");
        return Ok(ExitCode::from(EXIT_FINDINGS));
    }
    if !Plan::make()?.is_done() {
        console.warning("the file is written, and something stronger still overrides it");
        return Ok(ExitCode::from(EXIT_FINDINGS));
    }
    writeln!(out, "Done: every `cargo build` uses the cache now.")?;
    writeln!(
        out,
        "Next: build a project, then `kache stats`. `kache init --undo` takes this back."
    )?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn undo(plan: &Plan, options: &Options, console: &Console) -> Result<ExitCode> {
    let mut out = console.data();
    let mut file = TomlFile::open(&plan.file)?;
    let ours = file.get(&TABLES, KEY).and_then(toml_edit::Value::as_str);
    if !ours.is_some_and(|command| is_kache(Path::new(command), &plan.own)) {
        if daemon::service::is_installed() && !options.check {
            daemon::service::uninstall(console)?;
        }
        writeln!(out, "Nothing to undo: {} does not name kache.", plan.file.display())?;
        out.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    let before = replaced_by_init(&file);
    let place = plan.file.display();
    match &before {
        Some((before, _)) => writeln!(out, "In {place}, [build]:\n  {KEY} = \"{before}\" again")?,
        None => writeln!(out, "From {place}, [build]:\n  {KEY} is removed")?,
    }
    out.flush()?;
    if options.check {
        return Ok(ExitCode::from(EXIT_FINDINGS));
    }
    if !options.yes && !confirmed("Change it? [Y/n] ", true, "`kache init --undo -y`")? {
        console.note("nothing was changed");
        return Ok(ExitCode::from(EXIT_FINDINGS));
    }
    match before {
        Some((before, comment)) => {
            file.set(&TABLES, KEY, before.as_str().into())?;
            file.set_comment(&TABLES, KEY, comment);
        }
        None => file.remove(&TABLES, KEY),
    }
    if file.text().trim().is_empty() {
        std::fs::remove_file(file.path()).with_context(|| format!("remove {place}"))?;
    } else {
        file.save()?;
    }
    if daemon::service::is_installed() {
        daemon::service::uninstall(console)?;
    }
    if let Some(other) = configured_wrapper().filter(|other| is_kache(&other.command, &plan.own)) {
        console.warning(&format!("{} still sets it", other.origin));
        return Ok(ExitCode::from(EXIT_FINDINGS));
    }
    writeln!(out, "Done: builds no longer use the cache. `kache purge` empties the store.")?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// The wrapper that was in the file before [`Plan::apply`], and the comment behind it.
fn replaced_by_init(file: &TomlFile) -> Option<(String, String)> {
    let (comment, before) = file.comment(&TABLES, KEY)?.split_once(REPLACED)?;
    Some((before.trim_end().to_owned(), comment.to_owned()))
}

/// What is said of the service before it is made.
const SERVICE: &str = "The daemon, which shares results through the remote, as a service of yours";

/// Whether the daemon has something to do, and is no service yet.
fn wants_service(console: &Console) -> Result<bool> {
    Ok(configuration(console)?.config.has_remote() && !daemon::service::is_installed())
}

/// What Cargo uses, and what it should.
#[derive(Debug)]
pub(super) struct Plan {
    own: PathBuf,
    /// The user's configuration of Cargo.
    file: PathBuf,
    current: Option<Wrapper>,
    wanted: String,
}

impl Plan {
    pub(super) fn make() -> Result<Self> {
        let own = std::env::current_exe().context("find the path of this executable")?;
        let home = cargo_home().ok_or_else(|| {
            UsageError::new("there is no home directory of Cargo").hint("set CARGO_HOME")
        })?;
        // Cargo prefers the older name where both are there.
        let older = home.join("config");
        let file = if older.is_file() { older } else { home.join("config.toml") };
        let wanted = match in_path("kache") {
            Some(found) if same_file(&found, &own) => "kache".to_owned(),
            _ => own.to_string_lossy().into_owned(),
        };
        Ok(Self { current: configured_wrapper(), own, file, wanted })
    }

    /// Whether Cargo uses kache already, by a path that works.
    fn is_done(&self) -> bool {
        self.current.as_ref().is_some_and(|current| {
            is_kache(&current.command, &self.own) && resolved(&current.command).is_some()
        })
    }

    fn change(&self) -> Option<String> {
        (!self.is_done()).then(|| {
            format!("In {}, [build]:\n  rustc-wrapper = \"{}\"", self.file.display(), self.wanted)
        })
    }

    fn current_text(&self) -> String {
        let current = self.current.as_ref();
        current.map_or_else(String::new, |wrapper| {
            format!("{} names `{}`", wrapper.origin, wrapper.command.display())
        })
    }

    fn warn(&self, console: &Console) {
        let Some(current) = self.current.as_ref().filter(|_| !self.is_done()) else { return };
        let (origin, command) = (&current.origin, current.command.display());
        if Path::new(origin) == self.file {
            console.warning(&format!("`{command}` is replaced: Cargo has one wrapper"));
        } else if current.is_empty_variable() {
            console.warning(&format!("{origin} is empty, which is stronger: unset it"));
        } else {
            console.warning(&format!("{origin} sets `{command}`, which is stronger: remove it"));
        }
    }

    pub(super) fn apply(&self) -> Result<()> {
        let mut file = TomlFile::open(&self.file)?;
        let before = file.get(&TABLES, KEY).and_then(toml_edit::Value::as_str);
        let before = before.filter(|command| !is_kache(Path::new(command), &self.own));
        let comment = file.comment(&TABLES, KEY).unwrap_or_default();
        let comment = before.map(|before| format!("{}{REPLACED}{before}", comment.trim_end()));
        file.set(&TABLES, KEY, self.wanted.as_str().into())?;
        if let Some(comment) = comment {
            file.set_comment(&TABLES, KEY, comment);
        }
        file.save()
    }
}

/// Asks; an empty answer means `default`. `unasked` is the command that does not ask.
pub(super) fn confirmed(question: &str, default: bool, unasked: &str) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(UsageError::new("there is no terminal to ask on")
            .hint(format!("{unasked} does not ask"))
            .into());
    }
    let mut stderr = std::io::stderr();
    stderr.write_all(question.as_bytes()).and_then(|()| stderr.flush()).context("ask")?;
    let mut answer = String::new();
    if std::io::stdin().lock().read_line(&mut answer).context("read the answer")? == 0 {
        // The end of all input is no consent.
        return Ok(false);
    }
    Ok(match answer.trim().to_ascii_lowercase().as_str() {
        "" => default,
        answer => matches!(answer, "y" | "yes"),
    })
}

/// The file that a configured command runs, if there is one.
pub(super) fn resolved(command: &Path) -> Option<PathBuf> {
    if command.components().count() > 1 {
        return command.is_file().then(|| command.to_owned());
    }
    in_path(command.to_str()?)
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path: OsString = env::value(env::PATH)?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|path| path.is_file())
}

fn same_file(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}
