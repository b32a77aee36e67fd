//! `kache purge`: removes results and the blobs that nothing else needs.
//!
//! Builds may go on meanwhile: what they lose is a miss.

use super::output::Console;
use super::{EXIT_FINDINGS, configuration, human, inventory};
use crate::fs::{self, FsError};
use crate::index::{Entry, Index};
use anyhow::{Context, Result};
use std::collections::HashSet;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use store_format::{Digest, Kind, OutputView, ResultView};

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kache purge --crate-name serde")]
pub(super) struct Options {
    /// Only the results of this crate.
    #[arg(long, value_name = "NAME")]
    crate_name: Option<String>,
}

/// What a purge did.
#[derive(Debug, Default, PartialEq, Eq)]
struct Purged {
    results: u64,
    blobs: u64,
    /// What the file system got back: blobs that are linked elsewhere free nothing.
    freed_bytes: u64,
    linked_bytes: u64,
    /// What the cap was counted to have of it.
    counted_bytes: u64,
}

pub(super) fn run(options: &Options, console: &Console) -> Result<ExitCode> {
    let loaded = configuration(console)?;
    let cache_dir = &loaded.config.cache_dir;
    if !inventory::exists(cache_dir)? {
        console.note(&format!("there is no store in {}", cache_dir.display()));
        return Ok(ExitCode::SUCCESS);
    }
    let name = options.crate_name.as_ref().map(|name| name.replace('-', "_"));
    let purged = purge(cache_dir, name.as_deref())?;
    if let (Some(name), 0) = (&name, purged.results) {
        console.error(&format!("the store has no result of `{name}`"));
        inventory::suggest(name, cache_dir, console)?;
        return Ok(ExitCode::from(EXIT_FINDINGS));
    }
    let mut out = console.data();
    let results = human::plural(purged.results, "result", "results");
    writeln!(out, "Removed {results}; freed {}.", human::size(purged.freed_bytes))?;
    if purged.linked_bytes > 0 {
        let linked = human::size(purged.linked_bytes);
        writeln!(out, "{linked} are still in target directories that share them.")?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Removes the results of a crate, or everything.
fn purge(cache_dir: &Path, crate_name: Option<&str>) -> Result<Purged> {
    let index = Index::open(cache_dir).context("open the index")?;
    let counted_bytes = index.stored_bytes();
    let mut purged = Purged::default();
    let mut candidates = HashSet::new();
    for Entry { kind, key, payload, .. } in index.entries() {
        let mut blobs = Vec::new();
        let result = match kind {
            Kind::Result => read(&payload, &mut blobs),
            _ => None,
        };
        let wanted = match (&result, crate_name) {
            (_, None) => true,
            (Some(result), Some(name)) => result.crate_name == name.as_bytes(),
            (None, Some(_)) => false,
        };
        if wanted && index.remove(kind, &key) && kind == Kind::Result {
            purged.results += 1;
            candidates.extend(blobs);
        }
    }
    // Read again: what a build has published meanwhile keeps its blobs.
    let mut kept = Vec::new();
    for entry in index.entries_of(&[Kind::Result]) {
        read(&entry.payload, &mut kept);
    }
    let kept: HashSet<Digest> = kept.into_iter().collect();
    let unneeded = |digest: &Digest| {
        !kept.contains(digest) && (crate_name.is_none() || candidates.contains(digest))
    };
    remove_blobs(&cache_dir.join("blobs"), unneeded, &mut purged).context("remove blobs")?;
    // The count may be off; of nothing it is right again.
    let left = if kept.is_empty() { 0 } else { counted_bytes.saturating_sub(purged.counted_bytes) };
    index.correct_stored(counted_bytes, left);
    Ok(purged)
}

/// A result, with its blobs put behind those that are there.
fn read<'a>(payload: &'a [u8], blobs: &mut Vec<Digest>) -> Option<ResultView<'a>> {
    let on_output = |output: OutputView| blobs.extend(output.blob.map(|blob| blob.digest));
    ResultView::decode(payload, on_output).ok()
}

/// Removes the files of the blobs that are not needed; one blob can have several.
fn remove_blobs(
    directory: &Path,
    unneeded: impl Fn(&Digest) -> bool,
    purged: &mut Purged,
) -> Result<(), FsError> {
    for shard in fs::list_names_if_present(directory)? {
        let shard = directory.join(shard);
        for name in fs::list_names_if_present(&shard)? {
            let digest = name.to_str().and_then(|name| name.get(..64)).and_then(Digest::from_hex);
            if !digest.is_some_and(|digest| unneeded(&digest)) {
                continue;
            }
            let path = shard.join(name);
            let stat = match fs::lstat(&path) {
                Err(error) if error.is_absent() => continue,
                stat => stat?,
            };
            fs::remove_if_present(&path)?;
            purged.blobs += 1;
            purged.counted_bytes += stat.allocated_bytes.max(stat.size_bytes);
            if stat.links > 1 {
                purged.linked_bytes += stat.allocated_bytes;
            } else {
                purged.freed_bytes += stat.allocated_bytes;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use store_format::{ActionKey, NodeKind, Output, OutputRole, ResultRecord, UnitKey};

    struct Store {
        directory: tempfile::TempDir,
    }

    impl Store {
        fn new() -> Self {
            Self { directory: tempfile::tempdir().unwrap() }
        }

        fn digest(number: u8) -> Digest {
            Digest([number; 32])
        }

        fn blob(&self, number: u8) -> std::path::PathBuf {
            let name = Self::digest(number).to_string();
            self.directory.path().join("blobs").join(&name[..2]).join(name)
        }

        /// A result whose outputs are the blobs of these numbers.
        fn result(&self, key: u8, crate_name: &str, blobs: &[u8]) {
            let output = |number: &u8| Output {
                name: format!("lib{number}.rlib").into_bytes(),
                node: NodeKind::File,
                role: OutputRole::Shared,
                mode: 0o644,
                blob: Self::digest(*number),
                size_bytes: 5_000,
                blob_mtime_ns: 0,
                inline: None,
            };
            let result = ResultRecord {
                action: ActionKey(Self::digest(key)),
                unit: UnitKey(Self::digest(key)),
                crate_name: crate_name.as_bytes().to_vec(),
                outputs: blobs.iter().map(output).collect(),
                stdout: Vec::new(),
                stderr: Vec::new(),
                exit_status: 0,
                cost_us: 1,
                boot: [0; 16],
                fetched: false,
                created_s: 1,
            };
            for number in blobs {
                fs::create_directories(self.blob(*number).parent().unwrap()).unwrap();
                std::fs::write(self.blob(*number), vec![*number; 5_000]).unwrap();
            }
            let index = Index::open(self.directory.path()).unwrap();
            index.put(Kind::Result, &result.action.0, &result.encode()).unwrap();
        }

        fn purge(&self, crate_name: Option<&str>) -> Purged {
            purge(self.directory.path(), crate_name).unwrap()
        }
    }

    #[test]
    fn a_blob_stays_while_a_result_of_another_crate_has_it() {
        let store = Store::new();
        store.result(1, "one", &[10, 11]);
        store.result(2, "two", &[11, 12]);
        let purged = store.purge(Some("one"));
        assert_eq!((purged.results, purged.blobs), (1, 1));
        assert!(purged.freed_bytes >= 5_000);
        assert!(!store.blob(10).exists() && store.blob(11).exists() && store.blob(12).exists());
        assert_eq!(store.purge(Some("one")), Purged::default());
    }

    #[test]
    fn without_a_crate_everything_goes_and_linked_blobs_free_nothing() {
        let store = Store::new();
        store.result(1, "one", &[10, 11]);
        let target = store.directory.path().join("target.rlib");
        std::fs::hard_link(store.blob(10), &target).unwrap();
        let orphan = store.blob(99);
        fs::create_directories(orphan.parent().unwrap()).unwrap();
        std::fs::write(&orphan, "left by a crash").unwrap();
        let purged = store.purge(None);
        assert_eq!((purged.results, purged.blobs), (1, 3));
        assert!(purged.linked_bytes >= 5_000 && target.exists() && !orphan.exists());
        let index = Index::open(store.directory.path()).unwrap();
        assert_eq!(index.entries().count(), 0);
    }
}
