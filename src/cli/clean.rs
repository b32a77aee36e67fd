//! `kache clean`: finds target directories, and removes those that the user does not need.
//!
//! A file that has another name elsewhere (in the store, in another target directory) frees nothing
//! when its name here goes; what is shown is what the file system would really get back.

use super::output::{Console, Style, Table};
use super::{EXIT_FINDINGS, human, init, times};
use crate::fs::{self, FileKind, FsError, Stat};
use crate::parallel;
use anyhow::{Context, Result};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// More than there are processors: most of the time they wait for the disk.
const THREADS_MAX: usize = 8;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kache clean --dry-run ~/projects")]
pub(super) struct Options {
    /// Where to search.
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// Only show what would be removed.
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

/// A target directory and what it consists of.
#[derive(Debug)]
struct Target {
    path: PathBuf,
    inodes: Inodes,
    /// Of the newest file, milliseconds since 1970.
    newest_ms: u64,
}

/// Each inode of a directory, by device and number.
type Inodes = HashMap<(u64, u64), Inode>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Inode {
    bytes: u64,
    /// Names in all.
    links: u64,
    /// Names that were seen.
    seen: u64,
}

pub(super) fn run(options: &Options, console: &Console) -> Result<ExitCode> {
    let start = options
        .directory
        .canonicalize()
        .with_context(|| format!("search {}", options.directory.display()))?;
    let mut targets = find(&start, console);
    targets
        .sort_by_cached_key(|target| (Reverse(freed_bytes(&target.inodes)), target.path.clone()));
    let mut out = console.data();
    if targets.is_empty() {
        writeln!(out, "No target directory below {}.", start.display())?;
        out.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    out.write_all(table(&targets, console).as_bytes())?;
    out.flush().context("write the list")?;
    if options.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    if !options.yes && !init::confirmed("Remove all of them? [y/N] ", false, "`kache clean -y`")? {
        console.note("nothing was removed");
        return Ok(ExitCode::SUCCESS);
    }
    let mut failures = 0;
    for target in &targets {
        if let Err(error) = fs::remove_tree(&target.path) {
            console.error(&error.to_string());
            failures += 1;
        }
    }
    let removed = targets.len() as u64 - failures;
    let removed = human::plural(removed, "target directory", "target directories");
    writeln!(out, "Removed {removed}.")?;
    out.flush().context("write what was done")?;
    Ok(if failures == 0 { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FINDINGS) })
}

/// A directory that has still to be looked into.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    /// The number of the target directory that it is in.
    target: Option<usize>,
}

/// What is in a directory.
#[derive(Debug, Default)]
struct Content {
    /// Whether Cargo marked it as a target directory.
    is_marked: bool,
    directories: Vec<PathBuf>,
    /// In a target directory, all but the directories.
    files: Vec<Stat>,
}

/// Every target directory below `start`. What cannot be read is passed over with a warning.
fn find(start: &Path, console: &Console) -> Vec<Target> {
    let mut targets = Vec::new();
    let mut pending = vec![Place { path: start.to_owned(), target: None }];
    while !pending.is_empty() {
        let contents = parallel::map(&pending, THREADS_MAX, look);
        let mut below = Vec::new();
        for (Place { path, mut target }, content) in pending.into_iter().zip(contents) {
            let content = content.unwrap_or_else(|error| {
                console.warning(&error.to_string());
                Content::default()
            });
            if content.is_marked && target.is_none() {
                target = Some(targets.len());
                targets.push(Target { path, inodes: Inodes::new(), newest_ms: 0 });
            }
            if let Some(number) = target {
                targets[number].add(&content.files);
            }
            below.extend(content.directories.into_iter().map(|path| Place { path, target }));
        }
        pending = below;
    }
    targets
}

fn look(place: &Place) -> Result<Content, FsError> {
    let entries = fs::list(&place.path)?;
    let has = |name: &str| entries.iter().any(|(entry, _)| entry == name);
    // Cargo marks every target directory that it makes with both.
    let is_marked = has("CACHEDIR.TAG") && has(".rustc_info.json");
    let counts_files = is_marked || place.target.is_some();
    let mut content = Content { is_marked, ..Content::default() };
    for (name, kind) in entries {
        let path = place.path.join(&name);
        let is_known = kind.is_some_and(|kind| kind == FileKind::Directory || !counts_files);
        // What is gone by now belongs to a build that is running.
        let stat = if is_known { None } else { fs::lstat(&path).ok() };
        match kind.or(stat.map(|stat| stat.kind)) {
            Some(FileKind::Directory) if counts_files || name != ".git" => {
                content.directories.push(path);
            }
            Some(FileKind::Directory) => {}
            _ => content.files.extend(stat.filter(|_| counts_files)),
        }
    }
    Ok(content)
}

impl Target {
    fn add(&mut self, files: &[Stat]) {
        for stat in files {
            let ms = u64::try_from(stat.mtime_ns / 1_000_000).unwrap_or(0);
            self.newest_ms = self.newest_ms.max(ms);
            let inode = Inode { bytes: stat.allocated_bytes, links: stat.links, seen: 0 };
            self.inodes.entry((stat.device, stat.inode)).or_insert(inode).seen += 1;
        }
    }
}

/// What the file system gets back when every name that was seen goes.
fn freed_bytes(inodes: &Inodes) -> u64 {
    inodes.values().filter(|inode| inode.seen >= inode.links).map(|inode| inode.bytes).sum()
}

fn table(targets: &[Target], console: &Console) -> String {
    let mut table = Table::new(&[true, true, true]);
    let heading = ["size", "frees", "last used", "target directory"];
    table.row(heading.map(|text| console.paint(Style::Faint, text)));
    let mut all = Inodes::new();
    for target in targets {
        let size = target.inodes.values().map(|inode| inode.bytes).sum();
        let age = Duration::from_millis(times::now_ms().saturating_sub(target.newest_ms));
        table.row([
            human::size(size),
            human::size(freed_bytes(&target.inodes)),
            human::age(age),
            target.path.display().to_string(),
        ]);
        for (key, inode) in &target.inodes {
            all.entry(*key).or_insert(Inode { seen: 0, ..*inode }).seen += inode.seen;
        }
    }
    if targets.len() > 1 {
        let size = all.values().map(|inode| inode.bytes).sum();
        let together = [human::size(size), human::size(freed_bytes(&all)), String::new()];
        table.row(together.into_iter().chain(["together".to_owned()]));
    }
    table.render(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(space: &Path, name: &str) -> PathBuf {
        let path = space.join(name).join("target");
        std::fs::create_dir_all(path.join("debug")).unwrap();
        for marker in ["CACHEDIR.TAG", ".rustc_info.json"] {
            std::fs::write(path.join(marker), "").unwrap();
        }
        path
    }

    #[test]
    fn a_shared_file_is_freed_only_with_its_last_name() {
        let space = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| target(space.path(), name));
        std::fs::write(one.join("debug/own"), vec![1; 10_000]).unwrap();
        std::fs::hard_link(one.join("debug/own"), one.join("own")).unwrap();
        std::fs::write(one.join("shared"), vec![2; 20_000]).unwrap();
        std::fs::hard_link(one.join("shared"), two.join("debug/shared")).unwrap();
        let console = Console::new(true);
        let mut found = find(space.path(), &console);
        found.sort_by(|a, b| a.path.cmp(&b.path));
        assert_eq!(found.iter().map(|t| &t.path).collect::<Vec<_>>(), [&one, &two]);
        let freed: Vec<_> = found.iter().map(|target| freed_bytes(&target.inodes)).collect();
        assert!((10_000..20_000).contains(&freed[0]), "{freed:?}");
        assert!(freed[1] < 10_000, "{freed:?}");
    }

    #[test]
    fn only_what_cargo_marked_is_a_target_directory() {
        let space = tempfile::tempdir().unwrap();
        let real = target(space.path(), "deep/er");
        std::fs::remove_file(target(space.path(), "other").join(".rustc_info.json")).unwrap();
        std::os::unix::fs::symlink(&real, space.path().join("link")).unwrap();
        std::fs::create_dir_all(real.join("nested/target")).unwrap();
        let found = find(space.path(), &Console::new(true));
        assert_eq!(found.iter().map(|target| &target.path).collect::<Vec<_>>(), [&real]);
    }
}
