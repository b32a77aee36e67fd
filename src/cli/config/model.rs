//! What the editor knows: the file as it would be saved, and the configuration that it makes.
//!
//! The loader itself says what each change comes to, so the editor shows, and refuses, exactly what
//! builds would.

use super::super::toml_file::TomlFile;
use super::{parsed, place};
use crate::config::{ConfigWarning, Field, Loaded, Origin, SETTINGS, Setting};
use anyhow::Result;
use std::ffi::OsString;
use std::path::Path;
use toml_edit::Value;

/// What the keys do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Browse,
    /// A value is being typed.
    Edit(InputLine),
    /// Whether to save is being asked.
    Quit,
}

/// A line of text with a cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct InputLine {
    pub(super) text: String,
    /// In bytes, between two characters.
    pub(super) cursor: usize,
}

impl InputLine {
    fn new(text: String) -> Self {
        Self { cursor: text.len(), text }
    }

    pub(super) fn insert(&mut self, character: char) {
        self.text.insert(self.cursor, character);
        self.cursor += character.len_utf8();
    }

    pub(super) fn erase(&mut self) {
        let end = self.cursor;
        self.move_back();
        self.text.replace_range(self.cursor..end, "");
    }

    pub(super) fn erase_next(&mut self) {
        if self.cursor < self.text.len() {
            self.text.remove(self.cursor);
        }
    }

    pub(super) fn move_back(&mut self) {
        let before = self.text[..self.cursor].chars().next_back();
        self.cursor -= before.map_or(0, char::len_utf8);
    }

    pub(super) fn move_on(&mut self) {
        let after = self.text[self.cursor..].chars().next();
        self.cursor += after.map_or(0, char::len_utf8);
    }
}

/// The state of the editor.
pub(super) struct Editor<'a> {
    file: TomlFile,
    variable: &'a dyn Fn(&str) -> Option<OsString>,
    loaded: Loaded,
    /// The setting under the cursor.
    pub(super) selected: usize,
    pub(super) mode: Mode,
    /// What the last key came to.
    pub(super) message: String,
}

impl<'a> Editor<'a> {
    pub(super) fn open(
        path: &Path,
        variable: &'a dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Self> {
        let file = TomlFile::open(path)?;
        let loaded = Loaded::with_file(variable, file.path().to_owned(), file.text());
        // What is wrong with a setting is shown there; a key that is no setting has no other place.
        let unknown = loaded.warnings.iter().find(|warning| !warning.fatal);
        let message = unknown.map_or_else(String::new, ToString::to_string);
        Ok(Self { file, variable, loaded, selected: 0, mode: Mode::Browse, message })
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    pub(super) fn is_changed(&self) -> bool {
        self.file.is_changed()
    }

    pub(super) fn setting(&self) -> &'static Setting {
        &SETTINGS[self.selected]
    }

    /// The value in effect as it is shown.
    pub(super) fn shown(&self, index: usize) -> String {
        let setting = &SETTINGS[index];
        match (&self.loaded.origins[index], setting.field) {
            (Origin::Default, Field::Size(_)) => setting.default.to_owned(),
            (Origin::File { .. }, Field::Size(_)) => self.written(setting).unwrap_or_default(),
            _ => setting.shown(&self.loaded.config),
        }
    }

    /// Where the value in effect comes from.
    pub(super) fn origin(&self, index: usize) -> String {
        match &self.loaded.origins[index] {
            Origin::Default => "default".to_owned(),
            Origin::Environment => SETTINGS[index].variable.unwrap_or_default().to_owned(),
            Origin::File { line, .. } => format!("line {line}"),
        }
    }

    pub(super) fn is_default(&self, index: usize) -> bool {
        self.loaded.origins[index] == Origin::Default
    }

    /// What is wrong with a setting where it is set.
    pub(super) fn warning(&self, index: usize) -> Option<&ConfigWarning> {
        let setting = &SETTINGS[index];
        let names = [setting.key, setting.variable];
        self.loaded.warnings.iter().find(|warning| names.contains(&Some(&*warning.key)))
    }

    /// Whether the environment has the last word on the setting under the cursor.
    pub(super) fn is_overridden(&self) -> bool {
        self.setting().variable.is_some_and(|name| (self.variable)(name).is_some())
    }

    pub(super) fn move_by(&mut self, steps: isize) {
        self.selected = self.selected.saturating_add_signed(steps).min(SETTINGS.len() - 1);
    }

    /// Takes the next of a few values, or begins to edit one that is typed.
    pub(super) fn change(&mut self) {
        let setting = self.setting();
        if setting.key.is_none() {
            self.message = format!("{} is set by the environment only", setting.name());
            return;
        }
        let written = self.written(setting);
        match setting.field.choices() {
            [] => self.mode = Mode::Edit(InputLine::new(written.unwrap_or_default())),
            choices => {
                let now = written.unwrap_or_else(|| setting.shown(&self.loaded.config));
                let now = choices.iter().position(|choice| *choice == now);
                let next = choices[now.map_or(0, |now| (now + 1) % choices.len())];
                self.put(next);
            }
        }
    }

    /// Takes what was typed; nothing means that the key is removed.
    pub(super) fn accept(&mut self) {
        let Mode::Edit(line) = &self.mode else { return };
        let text = line.text.trim().to_owned();
        if text.is_empty() {
            self.mode = Mode::Browse;
            self.remove();
        } else if self.problem().is_none() {
            self.mode = Mode::Browse;
            self.put(&text);
        }
    }

    /// What is wrong with the text that is being typed.
    pub(super) fn problem(&self) -> Option<String> {
        let Mode::Edit(line) = &self.mode else { return None };
        let text = line.text.trim();
        let wrong = |expected| format!("expected {expected}");
        (!text.is_empty()).then(|| parsed(self.setting(), text).err().map(wrong))?
    }

    /// Removes the key from the file.
    pub(super) fn remove(&mut self) {
        let Some(key) = self.setting().key else { return };
        if self.written(self.setting()).is_none() {
            self.message = format!("{key} is not in the file");
            return;
        }
        let (tables, name) = place(key);
        self.file.remove(&tables, name);
        self.reload();
    }

    pub(super) fn save(&mut self) {
        self.mode = Mode::Browse;
        self.message = match self.file.save() {
            Ok(()) => format!("saved {}", self.path().display()),
            Err(error) => format!("{error:#}"),
        };
    }

    /// Whether there is nothing to be saved; else it is asked.
    pub(super) fn quit(&mut self) -> bool {
        if self.is_changed() {
            self.mode = Mode::Quit;
        }
        !self.is_changed()
    }

    fn put(&mut self, text: &str) {
        let setting = self.setting();
        let Some(key) = setting.key else { return };
        let (tables, name) = place(key);
        let changed = parsed(setting, text)
            .map_err(|expected| anyhow::anyhow!("expected {expected}"))
            .and_then(|value| self.file.set(&tables, name, value));
        if let Err(error) = changed {
            self.message = format!("{error:#}");
        }
        self.reload();
    }

    fn reload(&mut self) {
        let path = self.path().to_owned();
        self.loaded = Loaded::with_file(self.variable, path, self.file.text());
    }

    /// The value in the file as one would type it.
    fn written(&self, setting: &Setting) -> Option<String> {
        let (tables, name) = place(setting.key?);
        let value = self.file.get(&tables, name)?;
        let text = |value: &Value| match value.as_str() {
            Some(text) => text.to_owned(),
            None => value.clone().decorated("", "").to_string(),
        };
        Some(match value.as_array() {
            Some(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
            None => text(value),
        })
    }
}
