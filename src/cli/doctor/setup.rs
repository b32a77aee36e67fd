//! What surrounds the cache: configuration, toolchain, wrapper, file systems, observation.

use super::Line;
use crate::cli::cargo::{self, configured_wrapper, is_kache};
use crate::cli::init::{Plan, resolved};
use crate::cli::inventory::{self, Inventory};
use crate::cli::summary::{Summary, by_count};
use crate::cli::{human, times};
use crate::config::{Config, Loaded};
use crate::fs::{self, FsError, Placed};
use crate::index::{Index, IndexError, quarantined};
use crate::observe::Observer;
use crate::{env, events};
use rustix::io::Errno;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Free space below which a build may fill the disk.
const FREE_BYTES_MIN: u64 = 1_000_000_000;
/// How far back the event log is looked at.
const RECENT_MS: u64 = 7 * 24 * 3600 * 1000;

/// The remedy for a store that may not be written.
const OF_ANOTHER_USER: &str = "set `local_store` to a directory of yours; or have its owner share it with a group that you are \
     both in: `chmod -R g+rwX`, `chmod g+s` for the directories, and a umask of 002";

pub(super) fn configuration(loaded: &Loaded) -> Vec<Line> {
    let mut lines: Vec<Line> = loaded
        .warnings
        .iter()
        .map(|warning| {
            let remedy = if warning.fatal {
                "the default is used until this is corrected"
            } else {
                "it has no effect"
            };
            Line::Finding(warning.to_string(), remedy.to_owned())
        })
        .collect();
    if lines.is_empty() {
        let origin = loaded.file.as_ref().map_or_else(
            || "no configuration file, defaults hold".to_owned(),
            |file| format!("configuration {}", file.display()),
        );
        lines.push(Line::Fine(origin));
    }
    if env::value(env::DISABLED).is_some() && loaded.config.disabled {
        lines.push(Line::Finding(
            format!("{} is set: every call is passed through", env::DISABLED),
            "unset it".to_owned(),
        ));
    }
    lines
}

pub(super) fn toolchain() -> Vec<Line> {
    let version = |mut command: Command| {
        let output = command.arg("--version").output().ok().filter(|out| out.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let programs = [("cargo", cargo::cargo(None)), ("rustc", Command::new("rustc"))];
    let line = |(name, command)| match version(command) {
        Some(version) => Line::Fine(version),
        None => Line::Finding(
            format!("`{name} --version` does not run"),
            "install Rust, or put its directory in PATH".to_owned(),
        ),
    };
    programs.map(line).into()
}

pub(super) fn wrapper(fix: bool) -> Vec<Line> {
    let Ok(own) = std::env::current_exe() else { return Vec::new() };
    let configured = configured_wrapper();
    let remedy = match &configured {
        Some(wrapper) if env::value(&wrapper.origin).is_some() || wrapper.is_empty_variable() => {
            "unset the variable"
        }
        _ => "`kache init` sets it; `kache cargo build` needs no setting",
    };
    let problem = match configured {
        Some(wrapper) if wrapper.is_empty_variable() => {
            format!("{} is empty, so that Cargo uses no wrapper", wrapper.origin)
        }
        Some(wrapper) if !is_kache(&wrapper.command, &own) => {
            format!("{} sets another wrapper, `{}`", wrapper.origin, wrapper.command.display())
        }
        Some(wrapper) => {
            if let Some(path) = resolved(&wrapper.command) {
                let text = format!("wrapper {}, set by {}", path.display(), wrapper.origin);
                return vec![Line::Fine(text)];
            }
            let command = wrapper.command.display();
            format!("{} names `{command}`, which is not there", wrapper.origin)
        }
        None => "Cargo uses no wrapper here".to_owned(),
    };
    if fix && Plan::make().and_then(|plan| plan.apply()).is_ok() {
        let fixed = configured_wrapper().filter(|wrapper| is_kache(&wrapper.command, &own));
        if let Some(wrapper) = fixed {
            return vec![Line::Fixed(format!("{}: set in {}", problem, wrapper.origin))];
        }
    }
    vec![Line::Finding(problem, remedy.to_owned())]
}

pub(super) fn store(config: &Config, fix: bool) -> Vec<Line> {
    let directory = &config.cache_dir;
    let shown = directory.display();
    if let Err(error) = fs::create_directories(directory) {
        let remedy = "make it writable, or set `local_store` to another directory".to_owned();
        return vec![Line::Finding(error.to_string(), remedy)];
    }
    let mut lines = Vec::new();
    match Index::open(directory) {
        Err(error) => lines.push(unusable(&error)),
        Ok(index) if index.recovered() => lines.push(Line::Fixed(
            "the index was damaged; it is set aside and a new one begun".to_owned(),
        )),
        Ok(_) => {}
    }
    lines.extend(set_aside(directory, fix));
    if let Ok(inventory) = Inventory::read(directory) {
        let size = human::size(inventory.allocated_bytes);
        let limit = human::size(config.max_size_bytes);
        let results = human::plural(inventory.results, "result", "results");
        let text = format!("store {shown}: {results}, {size} of {limit}");
        lines.push(if inventory.allocated_bytes <= config.max_size_bytes {
            Line::Fine(text)
        } else {
            let remedy = "`kache gc` brings it within its cap, which is `local_max_size`";
            Line::Finding(text, remedy.to_owned())
        });
    }
    match fs::free_bytes(directory) {
        Ok(free) if free < FREE_BYTES_MIN => lines.push(Line::Finding(
            format!("{} are free on the disk of the store", human::size(free)),
            "free some space, or set `local_store` to another disk".to_owned(),
        )),
        Ok(free) => lines.push(Line::Fine(format!("{} free on its disk", human::size(free)))),
        Err(error) => lines.push(Line::Finding(error.to_string(), "check the disk".to_owned())),
    }
    lines
}

fn unusable(error: &IndexError) -> Line {
    let (text, remedy) = match error {
        IndexError::Io { source, .. } => {
            let remedy = match source.kind() {
                ErrorKind::PermissionDenied => OF_ANOTHER_USER,
                _ => "correct that, or set `local_store` to another directory",
            };
            (format!("{error}: {source}"), remedy)
        }
        _ => (error.to_string(), "`kache purge` begins anew"),
    };
    Line::Finding(text, remedy.to_owned())
}

/// Tables that were damaged once and are kept to be looked at. Whatever else is there is not kache's.
fn set_aside(directory: &Path, fix: bool) -> Vec<Line> {
    let damaged =
        ["index", "memo"].into_iter().flat_map(|table| quarantined(&directory.join(table)));
    let line = |path: PathBuf| {
        let text = format!("{} is damaged and not in use", path.display());
        if fix && fs::remove_if_present(&path).is_ok() {
            return Line::Fixed(format!("{text}: removed"));
        }
        Line::Finding(text, "`kache doctor --fix` removes it".to_owned())
    };
    damaged.filter(|path| fs::lstat(path).is_ok()).map(line).collect()
}

/// How files get from the store into the current directory.
pub(super) fn sharing(config: &Config) -> Vec<Line> {
    let Ok(here) = std::env::current_dir() else { return Vec::new() };
    if !matches!(inventory::exists(&config.cache_dir), Ok(true))
        || !here.join("Cargo.toml").exists()
    {
        return Vec::new();
    }
    let from = fs::temporary_name(&config.cache_dir.join("trial"));
    let to = fs::temporary_name(&here.join("trial"));
    let placed = fs::write_new(&from, b"trial", 0o444)
        .and_then(|()| fs::place_shared(&from, &to, config.link_mode, 0o444));
    for path in [&from, &to] {
        // What could not be made need not be removed.
        drop(fs::remove_if_present(path));
    }
    match placed {
        Ok(Placed::Linked) => vec![Line::Fine("files are shared by hardlinks here".to_owned())],
        Ok(Placed::Cloned) => vec![Line::Fine("files are shared by reflinks here".to_owned())],
        Ok(Placed::Copied) => vec![Line::Finding(
            "files are copied to here: the store is on another file system".to_owned(),
            "set `local_store` to a directory on this one".to_owned(),
        )],
        Err(error) => vec![Line::Finding(error.to_string(), remedy(&error).to_owned())],
    }
}

fn remedy(error: &FsError) -> &'static str {
    match error.errno {
        Errno::NOSPC | Errno::DQUOT => {
            "free some space there, or set `local_store` to another place"
        }
        Errno::ROFS => "have it mounted for writing, or set `local_store` to another place",
        _ => "check its permissions",
    }
}

pub(super) fn observer(config: &Config) -> Vec<Line> {
    match Observer::prepare(&config.cache_dir) {
        Ok(_) => vec![Line::Fine("compilers can be observed".to_owned())],
        Err(error) => vec![Line::Finding(
            error.to_string(),
            "only libraries of Rust alone are cached; set `local_store` to a path without spaces and \
             colons, where programs may be run from"
                .to_owned(),
        )],
    }
}

/// What went wrong in builds of late.
pub(super) fn recent_events(config: &Config) -> Vec<Line> {
    let mut summary = Summary::default();
    let since_ms = times::now_ms().saturating_sub(RECENT_MS);
    if let Err(error) = events::visit(&config.cache_dir, since_ms, |event| summary.add(event)) {
        return vec![Line::Finding(error.to_string(), "check its permissions".to_owned())];
    }
    let mut lines = vec![Line::Fine(format!(
        "last 7 days: {} of {} compilations hit",
        human::count(summary.hits()),
        human::count(summary.lookups()),
    ))];
    if summary.errors + summary.fallbacks > 0 {
        let reasons = by_count(&summary.skip_reasons);
        let reasons: Vec<_> =
            reasons.iter().map(|(name, count)| format!("{name} {count}")).collect();
        lines.push(Line::Finding(
            format!("compilations that could not be stored: {}", reasons.join(", ")),
            "`kache report --since 7d` names them".to_owned(),
        ));
    }
    lines
}
