//! What lies on the disk: inodes, blocks and modes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Every file below a directory, sorted; symbolic links are not followed.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        let entries = fs::read_dir(&directory);
        for entry in entries.unwrap_or_else(|e| panic!("{}: {e}", directory.display())) {
            let entry = entry.expect("a directory can be listed");
            let kind = entry.file_type().expect("an entry has a type");
            if kind.is_dir() {
                left.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

/// Files below a directory with one of the extensions (empty for none).
pub(crate) fn files_with(directory: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = files(directory);
    found.retain(|path| {
        extensions.contains(&path.extension().and_then(|e| e.to_str()).unwrap_or_default())
    });
    found
}

/// Device and inode of a file.
pub(crate) fn inode(path: &Path) -> (u64, u64) {
    let metadata = fs::metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    (metadata.dev(), metadata.ino())
}

/// Names relative to the directory with mode and content: what two trees are compared by.
pub(crate) fn snapshot(
    directory: &Path,
    keep: impl Fn(&Path) -> bool,
) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut tree = BTreeMap::new();
    for path in files(directory) {
        let name = path.strip_prefix(directory).expect("files lie below").to_owned();
        if keep(&name) {
            let mode = fs::metadata(&path).expect("a listed file has metadata").mode();
            tree.insert(name, (mode, fs::read(&path).expect("a listed file can be read")));
        }
    }
    tree
}
