//! `kache daemon`: runs the daemon, starts and stops it, and makes a service of it.

pub(super) mod service;

use super::output::{Console, Style, Table};
use super::{EXIT_FINDINGS, UsageError, configuration, human};
use crate::client::{self, Connection, Place};
use crate::config::Config;
use crate::daemon::{self, END_MAX};
use crate::queue::Queue;
use crate::times;
use anyhow::{Context, Result, bail};
use rustix::event::Timespec;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};
use store_format::message::{Answer, Request, Status};

/// How long the daemon may take to say something that it knows.
const ANSWER_MAX: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, Default, clap::Subcommand)]
pub(super) enum Command {
    /// Show whether the daemon runs, and what it does.
    #[default]
    Status,
    /// Run the daemon here, until it is told to end.
    Run {
        /// Become a process of one's own.
        #[arg(long, hide = true)]
        detach: bool,
        /// It is one already.
        #[arg(long, hide = true, conflicts_with = "detach")]
        detached: bool,
    },
    /// Start the daemon in the background.
    Start,
    /// Let the daemon finish its uploads, for a minute at most, and end it.
    Stop,
    /// Stop the daemon and start it again.
    Restart,
    /// Have systemd or launchd run the daemon whenever you are logged in.
    Install,
    /// Take that back.
    Uninstall,
    /// Show the end of the daemon's log.
    #[command(after_help = "Example: kache daemon log -n 200")]
    Log {
        /// How many lines.
        #[arg(short = 'n', long, default_value_t = 50)]
        lines: usize,
    },
}

pub(super) fn run(command: &Command, console: &Console) -> Result<ExitCode> {
    if let Command::Run { detach, detached } = command {
        return run_here(*detach, *detached, console);
    }
    let config = configuration(console)?.config;
    match command {
        Command::Status => status(&config, console),
        Command::Start => start(&config, console),
        Command::Stop => upload_and_stop(&config, console),
        Command::Restart => {
            stop(&config, console)?;
            start(&config, console)
        }
        Command::Install => service::install(console).map(|()| ExitCode::SUCCESS),
        Command::Uninstall => service::uninstall(console).map(|()| ExitCode::SUCCESS),
        Command::Log { lines } => log(&config, *lines, console),
        Command::Run { .. } => Ok(ExitCode::SUCCESS),
    }
}

fn run_here(detach: bool, detached: bool, console: &Console) -> Result<ExitCode> {
    if detach {
        return Err(daemon::detach().into());
    }
    if !daemon::is_settled() {
        return Err(daemon::again(std::env::args_os().skip(1)).into());
    }
    let config = configuration(console)?.config;
    let place = Place::of(&config);
    let start = unless_served(&config, console, || Ok(daemon::prepare(&place, detached)?))?;
    let Some(start) = start else {
        console.note("the daemon runs already");
        return Ok(ExitCode::SUCCESS);
    };
    daemon::run(config, start)?;
    Ok(ExitCode::SUCCESS)
}

/// Begins what only one daemon at a time can be. `None`: one runs already. One that has the lock and
/// does not listen is about to, or about to end, which may take it a while.
fn unless_served<T>(
    config: &Config,
    console: &Console,
    begin: impl Fn() -> Result<Option<T>>,
) -> Result<Option<T>> {
    let since = Instant::now();
    let mut is_told = false;
    loop {
        if let Some(begun) = begin()? {
            return Ok(Some(begun));
        }
        if ask_status(config)?.is_some() {
            return Ok(None);
        }
        if since.elapsed() > END_MAX {
            let socket = Place::of(config).socket;
            let message = format!("there is a daemon that does not listen at {}", socket.display());
            let hint = "`kache daemon log` names its process and its socket: end it, or have the \
                        same `KACHE_SOCKET_PATH` everywhere";
            return Err(UsageError::new(message).hint(hint).into());
        }
        if since.elapsed() > ANSWER_MAX && !is_told {
            console.note("a daemon that is not to be reached runs; waiting for its end");
            is_told = true;
        }
        pause()?;
    }
}

/// Asks a daemon that may not be there. One that closes the connection without an answer is about to
/// end, most likely for a newer executable, and is asked until it has.
fn ask(
    config: &Config,
    request: &Request,
    bound: Duration,
) -> Result<Option<(Connection, Answer)>> {
    let socket = Place::of(config).socket;
    let until = Instant::now() + ANSWER_MAX;
    loop {
        let deadline = Instant::now() + bound;
        let asked = Connection::open(&socket, deadline).and_then(|mut connection| {
            let answer = connection.ask(request)?;
            Ok((connection, answer))
        });
        match asked {
            Ok(answered) => return Ok(Some(answered)),
            Err(error) if client::is_nobody(&error) => return Ok(None),
            Err(error) if is_closed(&error) && Instant::now() < until => pause()?,
            Err(error) => {
                let hint = "does not answer; `kache daemon log` may say why";
                let silent = || format!("the daemon at {} {hint}", socket.display());
                return Err(error).with_context(silent);
            }
        }
    }
}

fn is_closed(error: &std::io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

/// Lets a daemon get on that begins or ends.
fn pause() -> Result<()> {
    let pause = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    rustix::event::poll(&mut [], Some(&pause)).map(drop).context("wait for the daemon")
}

/// What the daemon says of itself; `None` if there is none.
pub(super) fn ask_status(config: &Config) -> Result<Option<Status>> {
    match ask(config, &Request::Status, ANSWER_MAX)? {
        Some((_, Answer::Status(status))) => Ok(Some(*status)),
        Some(_) => bail!("the daemon is of another version"),
        None => Ok(None),
    }
}

/// How many results wait to be uploaded, with or without a daemon.
pub(super) fn queued(config: &Config) -> u64 {
    Queue::of(config).entries().map_or(0, |entries| entries.len() as u64)
}

fn status(config: &Config, console: &Console) -> Result<ExitCode> {
    let status = ask_status(config)?;
    let mut out = console.data();
    out.write_all(shown(config, status.as_ref(), console).as_bytes())?;
    out.flush()?;
    Ok(if status.is_some() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FINDINGS) })
}

/// The daemon's state as a few lines.
pub(super) fn shown(config: &Config, status: Option<&Status>, console: &Console) -> String {
    let mut table = Table::new(&[false]);
    for (name, value) in rows(config, status) {
        table.row([console.paint(Style::Heading, name), value]);
    }
    table.render(0)
}

/// The daemon's state: what is told, and what it is.
pub(super) fn rows(config: &Config, status: Option<&Status>) -> Vec<(&'static str, String)> {
    let Some(status) = status else {
        return vec![("Daemon", "not running".to_owned()), ("Queue", waiting(queued(config)))];
    };
    let age = Duration::from_millis(times::now_ms().saturating_sub(status.started_ms));
    let remote = if status.remote.is_empty() { "none configured" } else { &status.remote };
    let resting = if status.resting { ", left alone for a while after failures" } else { "" };
    let mut rows = vec![
        (
            "Daemon",
            format!(
                "process {}, version {}, running for {}",
                status.pid,
                status.version,
                human::time(age)
            ),
        ),
        ("Remote", format!("{remote}{resting}")),
        ("Queue", waiting(status.uploads_queued)),
        ("Uploads", transfers(status.uploads, status.uploaded_bytes, status.uploads_active)),
        (
            "Downloads",
            format!(
                "{}, {} ahead of demand",
                transfers(status.downloads, status.downloaded_bytes, status.downloads_active),
                human::count(status.prefetched)
            ),
        ),
        (
            "Requests",
            format!("{}, {} failed", human::count(status.requests), human::count(status.failures)),
        ),
        ("Builds", human::count(status.builds)),
    ];
    if !status.last_error.is_empty() {
        rows.push(("Last error", status.last_error.clone()));
    }
    rows
}

/// The same for programs.
pub(super) fn json(config: &Config, status: Option<&Status>) -> serde_json::Value {
    let Some(status) = status else {
        return serde_json::json!({ "running": false, "uploads_queued": queued(config) });
    };
    serde_json::json!({
        "running": true,
        "pid": status.pid,
        "version": status.version,
        "remote": status.remote,
        "resting": status.resting,
        "last_error": status.last_error,
        "builds": status.builds,
        "uploads_queued": status.uploads_queued,
        "uploads_active": status.uploads_active,
        "uploads": status.uploads,
        "uploaded_bytes": status.uploaded_bytes,
        "downloads_active": status.downloads_active,
        "downloads": status.downloads,
        "downloaded_bytes": status.downloaded_bytes,
        "prefetched": status.prefetched,
        "requests": status.requests,
        "failures": status.failures,
    })
}

pub(super) fn waiting(count: u64) -> String {
    format!("{} waiting to be uploaded", human::plural(count, "result", "results"))
}

fn transfers(count: u64, bytes: u64, active: u64) -> String {
    format!("{} ({}), {} now", human::count(count), human::size(bytes), human::count(active))
}

fn start(config: &Config, console: &Console) -> Result<ExitCode> {
    let place = Place::of(config);
    let started = unless_served(config, console, || {
        client::start(config, &place, Stdio::piped()).context("start the daemon")
    });
    let Some(child) = started? else {
        console.note("the daemon runs already");
        return Ok(ExitCode::SUCCESS);
    };
    let mut word = String::new();
    let output = child.stdout.context("the daemon has no output")?;
    BufReader::new(output).read_line(&mut word).context("wait for the daemon")?;
    if word != "ready\n" {
        let hint = format!("`kache daemon log` shows {}", place.log().display());
        return Err(UsageError::new("the daemon ended right after its start").hint(hint).into());
    }
    console.note("the daemon runs");
    Ok(ExitCode::SUCCESS)
}

/// The machine may end next, and with it what waits: where no daemon runs, one is started for that.
fn upload_and_stop(config: &Config, console: &Console) -> Result<ExitCode> {
    let was_running = stop(config, console)?;
    let count = queued(config);
    if !was_running && count > 0 && config.uploads() {
        console.note(&waiting(count));
        match start(config, console) {
            Ok(_) => drop(stop(config, console)?),
            Err(error) => console.warning(&format!("they stay: {error:#}")),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether one was running.
fn stop(config: &Config, console: &Console) -> Result<bool> {
    let Some((connection, answer)) = ask(config, &Request::Stop, END_MAX)? else {
        console.note("no daemon was running");
        return Ok(false);
    };
    let Answer::Stopped { uploads_left } = answer else {
        bail!("the daemon is of another version");
    };
    if uploads_left > 0 {
        console.warning(&format!("{}; they are kept", waiting(uploads_left)));
    }
    connection.outlast().context("wait for the daemon's end")?;
    console.note("the daemon has ended");
    Ok(true)
}

fn log(config: &Config, lines: usize, console: &Console) -> Result<ExitCode> {
    let path = Place::of(config).log();
    let Some(text) = tail(&path, lines)? else {
        console.note(&format!("there is no {}", path.display()));
        return Ok(ExitCode::SUCCESS);
    };
    let mut out = console.data();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// The last lines of a file; `None` if there is none.
fn tail(path: &Path, count: usize) -> Result<Option<String>> {
    let text = match std::fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    Ok(Some(lines[lines.len().saturating_sub(count)..].concat()))
}
