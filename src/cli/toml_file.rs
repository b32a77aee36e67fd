//! Changes to TOML files that belong to the user: comments and order stay.

use super::UsageError;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use toml_edit::{DocumentMut, Item, RawString, Table, Value, value};

/// A file that is being changed; nothing is written before [`TomlFile::save`].
#[derive(Clone, Debug)]
pub(super) struct TomlFile {
    path: PathBuf,
    saved: String,
    document: DocumentMut,
}

impl TomlFile {
    /// Reads a file. One that is missing is empty.
    pub(super) fn open(path: &Path) -> Result<Self> {
        // A link is followed, and the file that it names is replaced.
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let saved = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        let document = saved.parse().map_err(|error: toml_edit::TomlError| {
            UsageError::new(format!("{} is not TOML: {}", path.display(), error.message()))
                .hint("correct the file first")
        })?;
        Ok(Self { path, saved, document })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn text(&self) -> String {
        self.document.to_string()
    }

    pub(super) fn is_changed(&self) -> bool {
        self.text() != self.saved
    }

    /// The value of a key in the table that the names lead to.
    pub(super) fn get(&self, tables: &[&str], key: &str) -> Option<&Value> {
        let mut item = self.document.as_item();
        for name in tables {
            item = item.get(name)?;
        }
        item.get(key)?.as_value()
    }

    /// Sets a key in the table that the names lead to. A missing table is made.
    pub(super) fn set(&mut self, tables: &[&str], key: &str, new: Value) -> Result<()> {
        let mut table = self.document.as_table_mut();
        for (depth, name) in tables.iter().enumerate() {
            table = table_in(table, name, depth > 0, &self.path)?;
        }
        match table.get_mut(key).and_then(Item::as_value_mut) {
            Some(old) => {
                let decor = old.decor().clone();
                *old = new;
                *old.decor_mut() = decor;
            }
            None => {
                table.insert(key, value(new));
            }
        }
        Ok(())
    }

    /// The comment behind the value of a key, with the space before it.
    pub(super) fn comment(&self, tables: &[&str], key: &str) -> Option<&str> {
        self.get(tables, key)?.decor().suffix()?.as_str()
    }

    /// Replaces the comment behind the value of a key.
    pub(super) fn set_comment(&mut self, tables: &[&str], key: &str, comment: String) {
        let mut item = Some(self.document.as_item_mut());
        for name in tables.iter().chain([&key]) {
            item = item.and_then(|item| item.get_mut(name));
        }
        if let Some(value) = item.and_then(Item::as_value_mut) {
            value.decor_mut().set_suffix(comment);
        }
    }

    /// Removes a key, and its table if nothing is left in it. Comments above the key stay.
    pub(super) fn remove(&mut self, tables: &[&str], key: &str) {
        let mut orphaned = String::new();
        take_out(self.document.as_table_mut(), tables, key, &mut orphaned);
        if !orphaned.is_empty() {
            let trailing = self.document.trailing().as_str().unwrap_or_default();
            self.document.set_trailing(format!("{orphaned}{trailing}"));
        }
    }

    /// Replaces the file as a whole, so that nobody reads half of it.
    pub(super) fn save(&mut self) -> Result<()> {
        let text = self.text();
        replace(&self.path, &text)?;
        self.saved = text;
        Ok(())
    }
}

fn table_in<'a>(
    parent: &'a mut Table,
    name: &str,
    nested: bool,
    path: &Path,
) -> Result<&'a mut Table> {
    let item = parent.entry(name).or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(!nested);
        Item::Table(table)
    });
    if let Item::Value(Value::InlineTable(inline)) = item {
        *item = Item::Table(std::mem::take(inline).into_table());
    }
    item.as_table_mut().ok_or_else(|| {
        UsageError::new(format!("`{name}` in {} is not a table", path.display()))
            .hint("correct the file first")
            .into()
    })
}

/// Takes a key out of the table that the names lead to. Comments move to the next key, or else to
/// `orphaned`.
fn take_out(table: &mut Table, tables: &[&str], key: &str, orphaned: &mut String) {
    if let Some((name, inner)) = tables.split_first() {
        let Some(item) = table.get_mut(name) else { return };
        if let Some(inline) = item.as_inline_table_mut() {
            if inner.is_empty() {
                inline.remove(key);
            }
            return;
        }
        let Some(child) = item.as_table_mut() else { return };
        take_out(child, inner, key, orphaned);
        let above = child.decor().prefix().and_then(RawString::as_str).unwrap_or_default();
        if child.is_empty() && !above.contains('#') {
            table.remove(name);
        }
        return;
    }
    let place = table.iter().position(|(name, _)| name == key);
    let Some((removed, _)) = table.remove_entry(key) else { return };
    let above = removed.leaf_decor().prefix().and_then(RawString::as_str).unwrap_or_default();
    if !above.contains('#') {
        return;
    }
    let next = place.and_then(|place| table.iter().nth(place)).map(|(name, _)| name.to_owned());
    let next = next.filter(|name| table.get(name).is_some_and(Item::is_value));
    match next.and_then(|name| table.key_mut(&name)) {
        Some(mut next) => {
            let own = next.leaf_decor().prefix().and_then(RawString::as_str).unwrap_or_default();
            let joined = format!("{above}{own}");
            next.leaf_decor_mut().set_prefix(joined);
        }
        None => orphaned.push_str(above),
    }
}

fn replace(path: &Path, text: &str) -> Result<()> {
    let directory = path.parent().context("the file has no directory")?;
    std::fs::create_dir_all(directory)
        .with_context(|| format!("create {}", directory.display()))?;
    let name = path.file_name().context("the file has no name")?.to_string_lossy();
    let temporary = directory.join(format!(".{name}.{}", std::process::id()));
    let mode = std::fs::metadata(path).map(|metadata| metadata.permissions()).ok();
    std::fs::write(&temporary, text)
        .and_then(|()| mode.map_or(Ok(()), |mode| std::fs::set_permissions(&temporary, mode)))
        .and_then(|()| std::fs::rename(&temporary, path))
        // Nobody else knows of what was written so far.
        .inspect_err(|_| drop(std::fs::remove_file(&temporary)))
        .with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str, edit: impl Fn(&mut TomlFile)) -> String {
        let document = text.parse().unwrap();
        let mut file = TomlFile { path: PathBuf::new(), saved: text.to_owned(), document };
        edit(&mut file);
        file.text()
    }

    #[test]
    fn what_is_set_and_removed_again_leaves_no_trace() {
        for text in ["", "# mine\n", "[net]\nretry = 3 # three\n", "[build] # all\njobs = 2\n"] {
            let same = edited(text, |file| {
                file.set(&["build"], "rustc-wrapper", "kache".into()).unwrap();
                assert!(file.is_changed());
                file.remove(&["build"], "rustc-wrapper");
            });
            assert_eq!(same, text);
        }
    }

    #[test]
    fn comments_above_a_removed_key_stay() {
        let text =
            "[cache]\n# one\na = 1\n# two\nb = 2 # b\n\n# far\n[cache.remote]\nbucket = 'c'\n";
        assert_eq!(
            edited(text, |file| file.remove(&["cache"], "a")),
            "[cache]\n# one\n# two\nb = 2 # b\n\n# far\n[cache.remote]\nbucket = 'c'\n"
        );
        let without_last = edited(text, |file| file.remove(&["cache"], "b"));
        assert!(without_last.contains("# two\n"), "{without_last}");
        let without_only = edited(text, |file| file.remove(&["cache", "remote"], "bucket"));
        assert!(without_only.contains("# far\n[cache.remote]\n"), "{without_only}");
    }

    #[test]
    fn inline_tables_can_be_changed() {
        let text = "build = { jobs = 2, rustc-wrapper = 'kache' }\n";
        assert_eq!(
            edited(text, |file| file.remove(&["build"], "rustc-wrapper")),
            "build = { jobs = 2}\n"
        );
    }
}
