//! Whether an input changed while it was being read.
//!
//! Values are read after the action. One that became another meanwhile must not be taken for what
//! the action read, so the result of such an action is not stored.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use store_format::{Input, InputKind, Manifest};

use crate::fs::{self, FileKind};
use crate::inputs::{Inputs, is_shared_mtime};
use crate::listing;
use crate::outcome::Reason;

/// Fails if an input may have changed since the compilation began.
pub fn refuse_changed(
    manifest: &Manifest,
    absent: &BTreeSet<Input>,
    values: &Inputs,
    started_ns: i64,
) -> Result<(), Reason> {
    let mut ways = Ways { since_ns: started_ns, known: HashMap::new() };
    for input in &manifest.inputs {
        let changed = match input.kind {
            // Cargo changes it all the time; the names that matter are not of its making.
            InputKind::Listing if listing::is_cargos(&input.name) => false,
            InputKind::File | InputKind::Listing | InputKind::Presence | InputKind::LinkTarget => {
                values.path(input).is_none_or(|path| match fs::lstat(&path) {
                    // Whatever came and went in between, it is as the compiler found it.
                    Err(error) if error.is_absent() && absent.contains(input) => false,
                    Ok(stat)
                        if stat.kind == FileKind::Directory && input.kind != InputKind::Listing =>
                    {
                        ways.lead_to_another_directory(&path)
                    }
                    _ => ways.lead_to_change(&path),
                })
            }
            // Cargo writes crates under its own lock, and a new hardlink changes their `ctime`.
            InputKind::DependencyMetadata | InputKind::DependencyLibrary => {
                values.dependency_mtime_ns(input).is_some_and(|mtime_ns| mtime_ns > started_ns)
            }
            InputKind::Program => {
                values.program_path(input).is_some_and(|path| ways.lead_to_change(&path))
            }
            InputKind::Variable
            | InputKind::AllVariables
            | InputKind::RootLocation
            | InputKind::Machine => false,
        };
        if changed {
            let name = String::from_utf8_lossy(&input.name.path).into_owned();
            return Err(Reason::InputChanged(name));
        }
    }
    Ok(())
}

/// What changes both times of an inode changes them within this.
const FILE_CLOCK_TICK_NS: i64 = 10_000_000;

/// The ways to files, each directory looked at once.
struct Ways {
    since_ns: i64,
    known: HashMap<PathBuf, bool>,
}

impl Ways {
    /// Whether a path may lead to something else than before: the file, or for an absent one the
    /// nearest directory above it, changed, or it is another one since a link was turned or a
    /// directory moved. Equal times mean "before".
    fn lead_to_change(&mut self, path: &Path) -> bool {
        for (depth, path) in path.ancestors().enumerate() {
            match fs::stat(path) {
                Ok(stat) if depth == 0 && is_shared_mtime(stat.mtime_ns) => return false,
                Ok(stat) => {
                    let changed_ns = fs::latest_ns(stat.ctime_ns);
                    return changed_ns > self.since_ns || self.way_changed(path, 0);
                }
                Err(error) if error.is_absent() => {}
                Err(_) => return true,
            }
        }
        true
    }

    /// Whether something else may be where a directory is. What is made in it and removed changes it as
    /// well (git does that), but not the directory in which it is.
    fn lead_to_another_directory(&mut self, path: &Path) -> bool {
        self.lead_to_change(path) && path.parent().is_none_or(|above| self.lead_to_change(above))
    }

    /// Whether a link on the way was turned, or a directory on it was moved to its place: that
    /// changes its inode and nothing in it. `links` counts those that were followed.
    fn way_changed(&mut self, path: &Path, links: usize) -> bool {
        const LINKS_MAX: usize = 40;
        if let Some(known) = self.known.get(path) {
            return *known;
        }
        let changed = match fs::lstat(path) {
            Ok(stat) if stat.kind == FileKind::Symlink => {
                fs::latest_ns(stat.ctime_ns) > self.since_ns
                    || links > LINKS_MAX
                    || fs::read_link(path).map_or(true, |target| {
                        let target = path.parent().map_or(target.clone(), |at| at.join(target));
                        self.way_changed(&target, links + 1)
                    })
            }
            Ok(stat) => {
                stat.kind == FileKind::Directory
                    && stat.ctime_ns > self.since_ns
                    && stat.ctime_ns - stat.mtime_ns > FILE_CLOCK_TICK_NS
            }
            Err(_) => true,
        };
        let changed = changed || path.parent().is_some_and(|above| self.way_changed(above, links));
        self.known.insert(path.to_owned(), changed);
        changed
    }
}
