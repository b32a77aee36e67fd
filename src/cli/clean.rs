//! `kache clean`: finds target directories, and removes those that the user does not need.
//!
//! A file that has another name elsewhere (in the store, in another target directory) frees nothing
//! when its name here goes; what is shown is what the file system would really get back.

use super::output::{Console, Style, Table};
use super::{EXIT_FINDINGS, human, init, times};
use crate::fs::{self, FileKind};
use anyhow::{Context, Result};
use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

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
    targets.sort_by_key(|target| std::cmp::Reverse(freed_bytes(&target.inodes)));
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

/// Every target directory below `start`. What cannot be read is passed over with a warning.
fn find(start: &Path, console: &Console) -> Vec<Target> {
    let mut targets = Vec::new();
    let mut pending = vec![start.to_owned()];
    while let Some(directory) = pending.pop() {
        let entries = match fs::list(&directory) {
            Ok(entries) => entries,
            Err(error) => {
                console.warning(&error.to_string());
                continue;
            }
        };
        let has = |name: &str| entries.iter().any(|(entry, _)| entry == name);
        // Cargo marks every target directory that it makes with both.
        if has("CACHEDIR.TAG") && has(".rustc_info.json") {
            targets.push(measure(directory, console));
            continue;
        }
        for (name, kind) in entries {
            let path = directory.join(&name);
            let kind = kind.or_else(|| fs::lstat(&path).ok().map(|stat| stat.kind));
            if kind == Some(FileKind::Directory) && name != ".git" {
                pending.push(path);
            }
        }
    }
    targets
}

fn measure(path: PathBuf, console: &Console) -> Target {
    let mut target = Target { path, inodes: Inodes::new(), newest_ms: 0 };
    let mut pending = vec![target.path.clone()];
    while let Some(directory) = pending.pop() {
        let names = match fs::list_names(&directory) {
            Ok(names) => names,
            Err(error) => {
                console.warning(&error.to_string());
                continue;
            }
        };
        for path in names.iter().map(|name| directory.join(name)) {
            // What is gone by now belongs to a build that is running.
            let Ok(stat) = fs::lstat(&path) else { continue };
            if stat.kind == FileKind::Directory {
                pending.push(path);
                continue;
            }
            let ms = u64::try_from(stat.mtime_ns / 1_000_000).unwrap_or(0);
            target.newest_ms = target.newest_ms.max(ms);
            let inode = Inode { bytes: stat.allocated_bytes, links: stat.links, seen: 0 };
            target.inodes.entry((stat.device, stat.inode)).or_insert(inode).seen += 1;
        }
    }
    target
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
