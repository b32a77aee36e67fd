//! Finding and reading the configuration file.

use super::{ConfigWarning, Loaded, Origin, Raw, SETTINGS, nearest};
use crate::env;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use toml_edit::{Document, Item, TableLike, Value};

/// The text of a configuration file, and where it is.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// The file that is looked for upward from the working directory.
pub(super) const PROJECT_FILE: &str = ".kache.toml";

/// The first configuration file that can be read.
pub(super) fn find(
    variable: &dyn Fn(&str) -> Option<OsString>,
    directory: Option<&Path>,
    warnings: &mut Vec<ConfigWarning>,
) -> Option<Found> {
    if let Some(path) = variable(env::CONFIG).map(PathBuf::from) {
        // Compilers work in many directories, and mean the same one.
        let path = directory.unwrap_or(Path::new("")).join(path);
        return match std::fs::read_to_string(&path) {
            Ok(text) => Some(Found { path, text }),
            Err(error) => {
                warnings.push(unreadable(&path, &error, "KACHE_CONFIG names this file"));
                None
            }
        };
    }
    let is_hidden = |path: &Path| std::fs::symlink_metadata(path).is_err();
    let upward = directory.into_iter().flat_map(Path::ancestors).map(|dir| dir.join(PROJECT_FILE));
    for path in upward.chain(user_file(variable)) {
        match std::fs::read_to_string(&path) {
            Ok(text) => return Some(Found { path, text }),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            // A directory above may be closed to this user: then nothing there is meant for it.
            Err(error) if error.kind() == ErrorKind::PermissionDenied && is_hidden(&path) => {}
            Err(error) => {
                warnings.push(unreadable(&path, &error, "it was found before any other"));
                return None;
            }
        }
    }
    None
}

/// The file of the user, whether it exists or not.
pub fn user_file(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let base = variable(env::XDG_CONFIG_HOME)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| Some(home(variable)?.join(".config")))?;
    Some(base.join("kache").join("config.toml"))
}

pub(super) fn home(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    variable(env::HOME).map(PathBuf::from).filter(|path| path.is_absolute()).or_else(env::home)
}

fn unreadable(path: &Path, error: &std::io::Error, why: &str) -> ConfigWarning {
    ConfigWarning {
        origin: Origin::File { path: path.to_owned(), line: 1 },
        key: String::new(),
        problem: format!("cannot be read: {error}"),
        remedy: Some(why.to_owned()),
        fatal: true,
    }
}

/// Puts every value of the file into `loaded`.
pub(super) fn apply(found: &Found, loaded: &mut Loaded) {
    let document = match Document::parse(found.text.as_str()) {
        Ok(document) => document,
        Err(error) => {
            let line = error.span().map_or(1, |span| line_of(&found.text, span.start));
            loaded.warnings.push(ConfigWarning {
                origin: Origin::File { path: found.path.clone(), line },
                key: String::new(),
                problem: format!("is not TOML: {}", error.message().replace('\n', ", ")),
                remedy: None,
                fatal: true,
            });
            return;
        }
    };
    let mut reader = Reader { found, loaded };
    for (name, item) in document.as_table() {
        match item.as_table_like() {
            Some(cache) if name == "cache" => reader.cache(cache),
            _ => reader.misplaced(document.as_table(), name),
        }
    }
}

struct Reader<'a> {
    found: &'a Found,
    loaded: &'a mut Loaded,
}

impl Reader<'_> {
    fn cache(&mut self, table: &dyn TableLike) {
        for (name, item) in table.iter() {
            match item.as_table_like() {
                Some(remote) if name == "remote" => {
                    for (name, item) in remote.iter() {
                        self.value(remote, name, &format!("remote.{name}"), item);
                    }
                }
                _ => self.value(table, name, name, item),
            }
        }
    }

    fn value(&mut self, table: &dyn TableLike, name: &str, full: &str, item: &Item) {
        let origin = self.origin(table, name);
        let Some(index) = SETTINGS.iter().position(|setting| setting.key == Some(full)) else {
            if full == "remote" {
                self.warn(origin, full, "is a table, [cache.remote]".to_owned(), None, true);
                return;
            }
            let remedy = meant(full);
            self.warn(origin, full, "is not a known key".to_owned(), remedy, false);
            return;
        };
        let setting = &SETTINGS[index];
        let mut raw = raw(item);
        if setting.field.is_path()
            && let Raw::Text(text) = &raw
        {
            raw = Raw::Text(self.absolute(text));
        }
        match setting.set(&mut self.loaded.config, &raw, false) {
            Ok(()) => self.loaded.origins[index] = origin,
            Err(expected) => {
                let shown = item.as_value().map_or_else(|| "a table".to_owned(), shown);
                self.warn(origin, full, format!("is {shown}, expected {expected}"), None, true);
            }
        }
    }

    /// What a path of the file means: below the home directory, or relative to the file.
    fn absolute(&self, text: &str) -> String {
        let home = text.strip_prefix("~/").and_then(|rest| Some(env::home()?.join(rest)));
        let path = home.unwrap_or_else(|| {
            let directory = self.found.path.parent().unwrap_or(Path::new(""));
            std::path::absolute(directory).unwrap_or_default().join(text)
        });
        path.to_string_lossy().into_owned()
    }

    fn misplaced(&mut self, table: &dyn TableLike, name: &str) {
        let origin = self.origin(table, name);
        let remedy = Some("all settings are below [cache]".to_owned());
        self.warn(origin, name, "is not a known key".to_owned(), remedy, false);
    }

    fn origin(&self, table: &dyn TableLike, name: &str) -> Origin {
        let span = table.key(name).and_then(toml_edit::Key::span);
        let line = span.map_or(1, |span| line_of(&self.found.text, span.start));
        Origin::File { path: self.found.path.clone(), line }
    }

    fn warn(
        &mut self,
        origin: Origin,
        key: &str,
        problem: String,
        remedy: Option<String>,
        fatal: bool,
    ) {
        let key = key.to_owned();
        self.loaded.warnings.push(ConfigWarning { origin, key, problem, remedy, fatal });
    }
}

/// What an unknown key was probably meant to be: a known one of the same table, or of the other.
fn meant(full: &str) -> Option<String> {
    let keys = || SETTINGS.iter().filter_map(|setting| setting.key);
    let (prefix, name) = full.split_once('.').unwrap_or(("", full));
    let siblings = keys().filter_map(|key| match key.split_once('.') {
        Some((table, name)) => (table == prefix).then_some((key, name)),
        None => prefix.is_empty().then_some((key, key)),
    });
    if let Some(near) = nearest(name, siblings.clone().map(|(_, name)| name)) {
        let full = siblings.into_iter().find(|(_, name)| *name == near)?.0;
        return Some(format!("did you mean `{full}`?"));
    }
    let elsewhere = keys().find(|key| *key == name || key.strip_prefix("remote.") == Some(name))?;
    let table = if elsewhere.contains('.') { "[cache.remote]" } else { "[cache]" };
    Some(format!("`{name}` belongs to {table}"))
}

/// The line, from one, that a byte of the text is in.
fn line_of(text: &str, offset: usize) -> u32 {
    let breaks = text.get(..offset).map_or(0, |before| before.matches('\n').count());
    u32::try_from(breaks).unwrap_or(u32::MAX - 1) + 1
}

fn raw(item: &Item) -> Raw {
    match item.as_value() {
        Some(Value::String(text)) => Raw::Text(text.value().clone()),
        Some(Value::Integer(number)) => Raw::Integer(*number.value()),
        Some(Value::Boolean(flag)) => Raw::Flag(*flag.value()),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<Vec<_>>>()
            .map_or(Raw::Other("array"), Raw::List),
        _ => Raw::Other(item.type_name()),
    }
}

fn shown(value: &Value) -> String {
    format!("`{}`", value.to_string().trim())
}
