//! How much disk directories take together, when files of one share their data with another's.

use super::super::human;
use super::super::output::{Console, Style, Table};
use anyhow::{Context, Result};
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes by directory. Sharing is seen through inodes; data shared by reflinks is not.
#[derive(Debug)]
pub(super) struct Usage {
    store_bytes: u64,
    targets: Vec<Target>,
    /// What all of them take, each inode once.
    together_bytes: u64,
}

#[derive(Debug, PartialEq, Eq)]
struct Target {
    bytes: u64,
    /// In files whose inode is in the store, too.
    shared_bytes: u64,
}

type Inodes = HashMap<(u64, u64), u64>;

impl Usage {
    pub(super) fn measure(store: &Path, targets: &[&Path]) -> Result<Self> {
        let stored = inodes(store)?;
        let mut all = stored.clone();
        let mut measured = Vec::new();
        for target in targets {
            let own = inodes(target)?;
            let shared = own.iter().filter(|(inode, _)| stored.contains_key(inode));
            measured.push(Target {
                bytes: own.values().sum(),
                shared_bytes: shared.map(|(_, bytes)| bytes).sum(),
            });
            all.extend(own);
        }
        Ok(Self {
            store_bytes: stored.values().sum(),
            targets: measured,
            together_bytes: all.values().sum(),
        })
    }

    pub(super) fn text(&self, console: &Console) -> String {
        let mut table = Table::new(&[false, true, true]);
        let heading = ["", "disk", "shared with the store"];
        table.row(heading.map(|text| console.paint(Style::Faint, text)));
        table.row(["store".to_owned(), human::size(self.store_bytes)]);
        for (name, target) in ["first target", "second target"].iter().zip(&self.targets) {
            let shared = human::size(target.shared_bytes);
            table.row([(*name).to_owned(), human::size(target.bytes), shared]);
        }
        table.row(["together".to_owned(), human::size(self.together_bytes)]);
        table.render(0) + "\n"
    }
}

/// Bytes on disk of each file below a directory. One that is not there is empty.
fn inodes(directory: &Path) -> Result<Inodes> {
    let mut inodes = Inodes::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        let failed = || format!("read {}", directory.display());
        let entries = match std::fs::read_dir(&directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            entries => entries.with_context(failed)?,
        };
        for entry in entries {
            let entry = entry.with_context(failed)?;
            let metadata = entry.metadata().with_context(failed)?;
            if metadata.is_dir() {
                pending.push(entry.path());
            } else {
                inodes.insert((metadata.dev(), metadata.ino()), metadata.blocks() * 512);
            }
        }
    }
    Ok(inodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inode_counts_once_however_many_names_it_has() {
        let space = tempfile::tempdir().unwrap();
        let [store, target] = ["store", "target"].map(|name| space.path().join(name));
        std::fs::create_dir_all(store.join("ab")).unwrap();
        std::fs::create_dir_all(target.join("deps")).unwrap();
        let content = vec![7; 100_000];
        std::fs::write(store.join("ab/blob"), &content).unwrap();
        std::fs::hard_link(store.join("ab/blob"), target.join("deps/lib")).unwrap();
        std::fs::hard_link(store.join("ab/blob"), target.join("lib")).unwrap();
        std::fs::write(target.join("own"), &content).unwrap();
        let usage = Usage::measure(&store, &[&target, &space.path().join("absent")]).unwrap();
        assert!(usage.store_bytes >= 100_000);
        assert_eq!(usage.targets[0].shared_bytes, usage.store_bytes);
        assert_eq!(usage.targets[0].bytes, 2 * usage.store_bytes);
        assert_eq!(usage.together_bytes, 2 * usage.store_bytes);
        assert_eq!(usage.targets[1], Target { bytes: 0, shared_bytes: 0 });
    }
}
