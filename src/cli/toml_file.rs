//! Changes to TOML files that belong to the user: comments and order stay.

use super::UsageError;
use anyhow::{Context, Result};
use std::path::Path;
use toml_edit::{DocumentMut, Item, Table, Value, value};

/// Sets a key in the table that the names lead to. A missing file or table is made.
pub(super) fn set(path: &Path, tables: &[&str], key: &str, new: Value) -> Result<()> {
    // A link is followed, and the file that it names is replaced.
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    let mut document = text.parse::<DocumentMut>().map_err(|error| {
        UsageError::new(format!("{} is not TOML: {}", path.display(), error.message()))
            .hint("correct the file first")
    })?;
    let mut table = document.as_table_mut();
    for (depth, name) in tables.iter().enumerate() {
        table = table_in(table, name, depth > 0, &path)?;
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
    replace(&path, &document.to_string())
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

/// Replaces a file as a whole, so that nobody reads half of it.
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
        .with_context(|| format!("write {}", path.display()))
}
