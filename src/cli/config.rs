//! `kache config`: the configuration, in an editor and for scripts.

mod editor;
mod model;
mod view;

use super::output::{Console, Style, Table};
use super::toml_file::TomlFile;
use super::{EXIT_FINDINGS, UsageError, configuration};
use crate::config::{Config, Field, Origin, Raw, SETTINGS, Setting, nearest, user_file};
use crate::env;
use anyhow::{Context, Result};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use toml_edit::{Array, Value};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without a command: an editor in the terminal.\nExample: kache config set local_max_size 20GiB"
)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print the value of a key; exit status 1 if it has none.
    #[command(after_help = "Example: kache config get local_store")]
    Get { key: String },
    /// Set a key in the configuration file.
    #[command(
        after_help = "The file in effect is changed: KACHE_CONFIG, the nearest .kache.toml, \
        or the user's configuration, which is created if need be.\n\
        Example: kache config set exclude 'generated/**, vendor/big/**'"
    )]
    Set {
        key: String,
        /// The new value; items of a list are separated by commas.
        value: String,
    },
    /// Print every key, its value and where that comes from.
    #[command(after_help = "Example: kache config list --json")]
    List {
        /// As JSON, for scripts
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(options: Options, console: &Console) -> Result<ExitCode> {
    match options.command {
        None => editor::run(console),
        Some(Command::Get { key }) => get(&key, console),
        Some(Command::Set { key, value }) => set(&key, &value, console),
        Some(Command::List { json }) => list(json, console),
    }
}

fn get(key: &str, console: &Console) -> Result<ExitCode> {
    let setting = find(key)?;
    let loaded = configuration(console)?;
    let shown = setting.shown(&loaded.config);
    if shown.is_empty() {
        return Ok(ExitCode::from(EXIT_FINDINGS));
    }
    let mut out = console.data();
    writeln!(out, "{shown}").and_then(|()| out.flush()).context("write the value")?;
    Ok(ExitCode::SUCCESS)
}

fn list(json: bool, console: &Console) -> Result<ExitCode> {
    let loaded = configuration(console)?;
    let mut out = console.data();
    let settings = SETTINGS.iter().zip(&loaded.origins);
    if json {
        let entries: Vec<_> = settings
            .map(|(setting, origin)| {
                let shown = setting.shown(&loaded.config);
                serde_json::json!({
                    "key": setting.key,
                    "environment": setting.variable,
                    "value": (!shown.is_empty()).then_some(shown),
                    "origin": origin.to_string(),
                    "default": setting.default,
                    "documentation": setting.documentation,
                })
            })
            .collect();
        serde_json::to_writer_pretty(&mut out, &entries).context("write the settings")?;
        writeln!(out)?;
    } else {
        let mut table = Table::new(&[]);
        for (setting, origin) in settings {
            let shown = setting.shown(&loaded.config);
            let shown = if shown.is_empty() { "–".to_owned() } else { shown };
            let origin = match origin {
                Origin::Default => console.paint(Style::Faint, "default"),
                Origin::Environment => setting.variable.unwrap_or_default().to_owned(),
                Origin::File { .. } => origin.to_string(),
            };
            table.row([setting.name().to_owned(), shown, origin]);
        }
        out.write_all(table.render(0).as_bytes())?;
    }
    out.flush().context("write the settings")?;
    Ok(ExitCode::SUCCESS)
}

fn set(key: &str, text: &str, console: &Console) -> Result<ExitCode> {
    let setting = find(key)?;
    let Some(key) = setting.key else {
        return Err(UsageError::new(format!("{} is not in the file", setting.name()))
            .hint("it is set by the environment only")
            .into());
    };
    let mut text = text.to_owned();
    if setting.field.is_path() && !text.is_empty() && !text.starts_with("~/") {
        text = std::path::absolute(&text)?.to_string_lossy().into_owned();
    }
    let value = parsed(setting, &text)
        .map_err(|expected| UsageError::new(format!("`{key}` is `{text}`, expected {expected}")))?;
    let path = target_file()?;
    let mut file = TomlFile::open(&path)?;
    let (tables, name) = place(key);
    file.set(&tables, name, value)?;
    file.save()?;
    console.note(&format!("{key} is set in {}", path.display()));
    if let Some(variable) = setting.variable.filter(|name| env::value(name).is_some()) {
        console.warning(&format!("{variable} is set and overrides the file"));
    }
    Ok(ExitCode::SUCCESS)
}

/// The setting of a key; `cache.` may stand before it.
fn find(key: &str) -> Result<&'static Setting, UsageError> {
    let key = key.strip_prefix("cache.").unwrap_or(key);
    SETTINGS.iter().find(|setting| setting.name() == key).ok_or_else(|| {
        let error = UsageError::new(format!("`{key}` is not a known key"));
        match nearest(key, SETTINGS.iter().map(Setting::name)) {
            Some(known) => error.hint(format!("did you mean `{known}`?")),
            None => error.hint("`kache config list` shows every key"),
        }
    })
}

/// The file in effect, else the one of the user. One that does not exist yet is fine.
fn target_file() -> Result<PathBuf> {
    let loaded = crate::config::Loaded::for_command();
    let named = env::value(env::CONFIG).map(PathBuf::from);
    named.or(loaded.file).or_else(|| user_file(&env::value)).ok_or_else(|| {
        UsageError::new("there is no home directory for a configuration file")
            .hint("set KACHE_CONFIG to the path of one")
            .into()
    })
}

/// The tables that lead to a key in the file, and its name in the last of them.
fn place(key: &'static str) -> (Vec<&'static str>, &'static str) {
    match key.rsplit_once('.') {
        Some((table, name)) => (vec!["cache", table], name),
        None => (vec!["cache"], key),
    }
}

/// What stands in the file for a value that was typed; an error says what is accepted. The value is
/// checked the way that the loader will check it.
fn parsed(setting: &Setting, text: &str) -> Result<Value, String> {
    let mut config = Config::default();
    let raw = match text.strip_prefix("~/") {
        Some(rest) if setting.field.is_path() => Raw::Text(format!("/{rest}")),
        _ => Raw::Text(text.to_owned()),
    };
    setting.set(&mut config, &raw, true)?;
    Ok(match setting.field {
        Field::Flag(at) => Value::from(*at(&mut config)),
        Field::Integer { at, .. } => match i64::try_from(*at(&mut config)) {
            Ok(number) => Value::from(number),
            Err(_) => return Err(format!("a whole number up to {}", i64::MAX)),
        },
        Field::List(at) => Value::Array(at(&mut config).iter().collect::<Array>()),
        _ => Value::from(text),
    })
}
