//! The log of the wrapper's layers: off unless `KACHE_LOG` asks, a line per message, one write each.
//!
//! `KACHE_LOG` is a list of directives separated by commas, `level` or `target=level`, where a
//! target is a module path (`kache::store` covers everything below it) and the longest match wins.
//! Lines go to `KACHE_LOG_FILE` (appended) or standard error, those of the daemon to a file of its
//! own. Neither a bad filter nor a failed write is ever reported: a log must not change what a build
//! does.

use crate::{env, times};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

/// How much a message matters, most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Level {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Error, "error"),
        (Self::Warn, "warn"),
        (Self::Info, "info"),
        (Self::Debug, "debug"),
        (Self::Trace, "trace"),
    ];

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, known)| known.eq_ignore_ascii_case(name))
            .map(|(level, _)| *level)
    }

    fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// A parsed `KACHE_LOG`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Target and the least important level that it lets through; `None` is `off`.
    directives: Vec<(String, Option<Level>)>,
}

impl Filter {
    /// Reads directives; what is not understood is left out.
    pub fn parse(text: &str) -> Self {
        let mut directives = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (target, level) = match part.split_once('=') {
                Some((target, level)) => (target.trim(), level.trim()),
                None if Level::from_name(part).is_some() || part == "off" => ("", part),
                None => (part, "trace"),
            };
            match Level::from_name(level) {
                Some(level) => directives.push((target.to_owned(), Some(level))),
                None if level == "off" => directives.push((target.to_owned(), None)),
                None => {}
            }
        }
        Self { directives }
    }

    /// Whether a message of this target and level is let through.
    pub fn allows(&self, target: &str, level: Level) -> bool {
        self.directives
            .iter()
            .filter(|(prefix, _)| covers(prefix, target))
            .max_by_key(|(prefix, _)| prefix.len())
            .and_then(|(_, least)| *least)
            .is_some_and(|least| level <= least)
    }
}

fn covers(prefix: &str, target: &str) -> bool {
    target
        .strip_prefix(prefix)
        .is_some_and(|rest| prefix.is_empty() || rest.is_empty() || rest.starts_with("::"))
}

struct Logger {
    filter: Filter,
    sink: Sink,
}

enum Sink {
    Stderr,
    File(File),
    Daemon(Mutex<DaemonLog>),
}

/// A file that is renamed once it has grown too large, in place of the one renamed before.
struct DaemonLog {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
    /// Whether every line goes to standard error as well.
    echo: bool,
}

/// What the daemon logs if `KACHE_LOG` does not say.
const DAEMON_FILTER: &str = "kache=info";
/// Size above which the daemon's log is renamed.
const DAEMON_LOG_BYTES_MAX: u64 = 4 << 20;

static LOGGER: OnceLock<Option<Logger>> = OnceLock::new();

fn logger() -> Option<&'static Logger> {
    LOGGER.get_or_init(open).as_ref()
}

fn open() -> Option<Logger> {
    let filter = Filter::parse(env::value(env::LOG)?.to_str()?);
    let file = env::value(env::LOG_FILE)
        .and_then(|path| OpenOptions::new().create(true).append(true).open(path).ok());
    let sink = file.map_or(Sink::Stderr, Sink::File);
    (!filter.directives.is_empty()).then_some(Logger { filter, sink })
}

/// Has everything that this process logs written to `path`, with the time.
pub fn begin_daemon(path: &Path, echo: bool) {
    let asked = env::value(env::LOG).and_then(|value| value.into_string().ok());
    let filter = Filter::parse(asked.as_deref().unwrap_or(DAEMON_FILTER));
    let mut log = DaemonLog { path: path.to_owned(), file: None, bytes: 0, echo };
    log.open();
    // Only the first logger of a process counts, and nothing was logged yet.
    drop(LOGGER.set(Some(Logger { filter, sink: Sink::Daemon(Mutex::new(log)) })));
}

impl DaemonLog {
    fn open(&mut self) {
        self.file = OpenOptions::new().create(true).append(true).open(&self.path).ok();
        let metadata = self.file.as_ref().and_then(|file| file.metadata().ok());
        self.bytes = metadata.map_or(0, |metadata| metadata.len());
    }

    fn write(&mut self, line: &str) -> std::io::Result<()> {
        if self.bytes > DAEMON_LOG_BYTES_MAX {
            std::fs::rename(&self.path, self.path.with_extension("1"))?;
            self.open();
        }
        if self.echo {
            std::io::stderr().write_all(line.as_bytes())?;
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        self.bytes += line.len() as u64;
        file.write_all(line.as_bytes())
    }
}

/// Whether a message would be written: for messages that are costly to make.
pub fn enabled(target: &str, level: Level) -> bool {
    logger().is_some_and(|logger| logger.filter.allows(target, level))
}

/// Writes a message if the filter lets it through. The macros of this module call it.
pub fn write(target: &str, level: Level, message: fmt::Arguments<'_>) {
    let Some(logger) = logger() else { return };
    if !logger.filter.allows(target, level) {
        return;
    }
    let line = format!("{:5} {target}[{}]: {message}\n", level.name(), std::process::id());
    let written = match &logger.sink {
        Sink::Stderr => std::io::stderr().write_all(line.as_bytes()),
        Sink::File(file) => (&mut &*file).write_all(line.as_bytes()),
        Sink::Daemon(log) => {
            let line = format!("{} {line}", times::timestamp(times::now_ms()));
            log.lock().unwrap_or_else(PoisonError::into_inner).write(&line)
        }
    };
    // A log that cannot be written must not change what the build does.
    drop(written);
}

/// Logs for the module it is used in. The macros of the levels call it.
#[doc(hidden)]
#[macro_export]
macro_rules! log_at {
    ($level:ident, $($message:tt)+) => {
        $crate::log::write(module_path!(), $crate::log::Level::$level, format_args!($($message)+))
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! log_error {
    ($($message:tt)+) => { $crate::log_at!(Error, $($message)+) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! log_warn {
    ($($message:tt)+) => { $crate::log_at!(Warn, $($message)+) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! log_info {
    ($($message:tt)+) => { $crate::log_at!(Info, $($message)+) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! log_debug {
    ($($message:tt)+) => { $crate::log_at!(Debug, $($message)+) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! log_trace {
    ($($message:tt)+) => { $crate::log_at!(Trace, $($message)+) };
}

pub use {
    log_debug as debug, log_error as error, log_info as info, log_trace as trace, log_warn as warn,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_matching_target_decides() {
        let filter = Filter::parse("warn,kache=debug,kache::store=off");
        assert!(filter.allows("other", Level::Warn));
        assert!(!filter.allows("other", Level::Info));
        assert!(filter.allows("kache::fs", Level::Debug));
        assert!(!filter.allows("kache::fs", Level::Trace));
        assert!(!filter.allows("kache::store::ingest", Level::Error));
        assert!(filter.allows("kache::storefront", Level::Debug), "a target is whole components");
    }

    #[test]
    fn a_bare_level_covers_everything_and_a_bare_target_everything_below_it() {
        assert!(Filter::parse("TRACE").allows("anything", Level::Trace));
        assert!(Filter::parse("kache::store").allows("kache::store::evict", Level::Trace));
        assert!(!Filter::parse("kache::store").allows("kache::fs", Level::Error));
    }

    #[test]
    fn the_daemons_log_is_bounded_by_twice_its_limit() {
        let space = tempfile::tempdir().unwrap();
        let path = space.path().join("log");
        let mut log = DaemonLog { path: path.clone(), file: None, bytes: 0, echo: false };
        log.open();
        let line = "x".repeat(1 << 20);
        for _ in 0..20 {
            log.write(&line).unwrap();
        }
        let size = |path: &Path| path.metadata().unwrap().len();
        let rotated = path.with_extension("1");
        for part in [&path, &rotated] {
            assert!((1..=DAEMON_LOG_BYTES_MAX + (1 << 20)).contains(&size(part)), "{part:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_silent() {
        let filter = Filter::parse("kache=loud,,=,kache::fs=info");
        assert!(!filter.allows("kache", Level::Error));
        assert!(filter.allows("kache::fs", Level::Info));
    }
}
