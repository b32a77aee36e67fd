//! A trial of the observer on a system on which nobody has tried it yet: a process that does one of each,
//! and whether all of it was seen.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs, io};

use super::{Access, Observation};

/// The first argument of a process that is on trial; the second is a directory for it.
pub const ARGUMENT: &str = "--observed-trial";

const VARIABLE: &str = "KACHE_TRIAL";
const FROM_PARENT: &str = "parent";

/// What the process on trial does, and then does again as its own child, which must be observed as well.
pub fn perform(directory: &Path) -> io::Result<()> {
    let is_child = env::var_os(VARIABLE).is_some_and(|value| value == FROM_PARENT);
    let own = directory.join(if is_child { "child" } else { "parent" });
    fs::create_dir(&own)?;
    fs::write(own.join("written"), "content")?;
    fs::read(own.join("written"))?;
    for entry in fs::read_dir(&own)? {
        fs::metadata(entry?.path())?;
    }
    symlink("written", own.join("link"))?;
    fs::read_link(own.join("link"))?;
    fs::canonicalize(own.join("link"))?;
    if fs::exists(own.join("missing"))? || fs::read(own.join("unreadable")).is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    fs::rename(own.join("link"), own.join("moved"))?;
    if is_child {
        return Ok(());
    }
    let status = Command::new(env::current_exe()?)
        .args(env::args_os().skip(1))
        .env(VARIABLE, FROM_PARENT)
        .stdin(Stdio::null())
        .status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(status.to_string())) }
}

/// What was not seen of a trial in `directory`, if there is something. The observation is complete.
pub(super) fn unseen(observation: &Observation, directory: &Path) -> Option<String> {
    let is_variable =
        |access: &Access| matches!(access, Access::Variable { name, .. } if name == VARIABLE);
    if !observation.events.iter().any(is_variable) {
        return Some(format!("the variable {VARIABLE} was not seen"));
    }
    ["parent", "child"].iter().find_map(|part| {
        let own = directory.join(part);
        let expected = [
            Access::Wrote(own.clone()),
            Access::Wrote(own.join("written")),
            Access::Read(own.join("written")),
            Access::Listed(own.clone()),
            Access::Found(own.join("written")),
            Access::Linked { link: own.join("link"), target: own.join("written") },
            Access::LinkRead(own.join("link")),
            Access::Missing(own.join("missing")),
            Access::Missing(own.join("unreadable")),
            Access::Removed(own.join("link")),
            Access::Wrote(own.join("moved")),
        ];
        let lost = expected.into_iter().find(|access| !observation.events.contains(access))?;
        Some(format!("was not seen: {lost}"))
    })
}

#[cfg(test)]
mod tests {
    use super::super::{LIBRARY, Observer, SharedLog};
    use super::*;
    use std::path::PathBuf;
    use tempfile::TempDir;

    const DIRECTORY: &str = "KACHE_TRIAL_DIRECTORY";

    /// The process on trial in the test below.
    #[test]
    fn subject() {
        if let Some(directory) = env::var_os(DIRECTORY) {
            perform(Path::new(&directory)).expect("performed");
        }
    }

    fn observe(space: &TempDir, log: SharedLog) -> Observation {
        let library = space.path().join("library");
        fs::write(&library, LIBRARY).expect("written");
        let directory = space.path().join("trial");
        fs::create_dir(&directory).expect("made");
        let observer = Observer { library, log, expected: std::cell::OnceCell::new() };
        let mut command = Command::new(env::current_exe().expect("a path"));
        command.args(["--exact", "observe::trial::tests::subject"]).env(DIRECTORY, &directory);
        observer.attach(&mut command);
        assert!(command.stdout(Stdio::null()).status().expect("run").success());
        observer.finish()
    }

    /// The contract of the observer, and of a log that is a file, as on systems without files in memory.
    #[test]
    fn all_of_a_trial_is_seen_and_what_is_not_is_named() {
        let space = TempDir::new().expect("a directory");
        let directory: PathBuf = space.path().join("trial");
        let log = SharedLog::in_directory(space.path()).expect("a log");
        let mut observation = observe(&space, log);
        assert_eq!(observation.complete, Ok(()));
        assert_eq!(unseen(&observation, &directory), None);
        let left: Vec<_> = fs::read_dir(space.path()).expect("listed").collect();
        assert_eq!(left.len(), 2, "the log is removed: {left:?}");

        let link = Access::LinkRead(directory.join("child/link"));
        observation.events.retain(|access| *access != link);
        assert_eq!(unseen(&observation, &directory), Some(format!("was not seen: {link}")));
    }
}
