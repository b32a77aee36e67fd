//! What a process and all that it starts read, list, probe, look up and run.
//!
//! On a miss the compiler runs with a small library preloaded (`shim.rs`, compiled by `build.rs`)
//! that records each access in a log in memory (`layout.rs`); `log.rs` turns the log into an
//! [`Observation`], and `rules.rs` turns that into the inputs of the compilation.
//!
//! What is seen is what goes through the C library. A program that calls the kernel itself is seen
//! as far as it uses the C library too; where that is the rule (static executables, the Go
//! compiler's) the observation is incomplete.
//!
//! Invariants: observing never changes what a process does, and a process that could not be
//! observed is never taken for one that read nothing ([`Observation::complete`]).

mod access;
pub mod apple;
mod elf;
mod ground;
mod image_file;
#[expect(dead_code, reason = "the writer uses all of it")]
mod layout;
mod libraries;
pub mod link_report;
mod live;
mod log;
mod mach_o;
mod machine;
mod processes;
mod programs;
pub mod rules;
mod shared_log;
pub mod trial;
mod variables;

use std::cell::OnceCell;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fmt, io};

use rustix::process::Signal;

use crate::fs::{self, FsError};
pub use access::Access;
pub(crate) use ground::{flat, has_parents, is_profile};
pub use image_file::EnvironmentUse;
pub use log::{IncompleteReason, Observation};
pub use machine::Fact;
use shared_log::SharedLog;
pub use variables::plain_name;

/// The preloaded library; empty where there is none for the target.
const LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/observe.so"));

/// Why nothing can be observed here. The compiler runs all the same.
#[derive(Debug, thiserror::Error)]
pub enum Unobservable {
    #[error("processes cannot be observed on this system")]
    Unsupported,
    #[error("the observer's library: {0}")]
    Library(#[from] FsError),
    #[error("cannot make a log: {0}")]
    Log(#[source] io::Error),
    #[error("cannot try the observer: {0}")]
    Trial(#[source] io::Error),
    #[error("the observer does not work here: {0}")]
    SelfTest(String),
}

/// A log and the library that writes it, for one process and its children.
pub struct Observer {
    library: PathBuf,
    log: SharedLog,
    /// What the process is expected to report as: its executable, or its script's interpreter.
    expected: OnceCell<Option<PathBuf>>,
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").field("library", &self.library).finish_non_exhaustive()
    }
}

impl Observer {
    /// Makes ready to observe one process. The library is extracted to `<cache>/lib` and tried
    /// once; a library that failed its trial is not tried again.
    pub fn prepare(cache_dir: &Path) -> Result<Self, Unobservable> {
        if LIBRARY.is_empty() {
            return Err(Unobservable::Unsupported);
        }
        let library = extracted(cache_dir)?;
        Self::with_library(library)
    }

    fn with_library(library: PathBuf) -> Result<Self, Unobservable> {
        let log = SharedLog::create().map_err(Unobservable::Log)?;
        Ok(Self { library, log, expected: OnceCell::new() })
    }

    /// Puts the command under observation. The command must be started by this process, and
    /// while the observer exists.
    pub fn attach(&self, command: &mut Command) {
        self.expected.get_or_init(|| programs::first_image(command));
        command.env(layout::VARIABLE, self.log.name());
        let given =
            command.get_envs().find(|(name, _)| *name == layout::PRELOAD_VARIABLE).map_or_else(
                || std::env::var_os(layout::PRELOAD_VARIABLE),
                |(_, value)| value.map(Into::into),
            );
        if cfg!(target_os = "linux") {
            command.env(SANITIZER_VARIABLE, sanitizer_options());
        }
        let mut preload = OsString::from(&self.library);
        if let Some(given) = given.filter(|given| !given.is_empty()) {
            preload.push(":");
            preload.push(given);
        }
        command.env(layout::PRELOAD_VARIABLE, preload);
    }

    /// Makes the first observed process end (by `SIGTERM`) when the calling thread does.
    pub fn end_with_this_thread(&self) -> io::Result<()> {
        self.log.write_all_at(&native(1), layout::WORD_END_WITH_WRAPPER as u64 * 8)
    }

    /// Has every C compiler that is run take `arguments` besides its own. To be called before the
    /// command is started. More than the log has room for are left out together: objects then
    /// name the place where they were made.
    pub fn extend_c_compilers(&self, arguments: &[OsString]) -> io::Result<()> {
        let mut text = Vec::new();
        for argument in arguments {
            text.extend_from_slice(argument.as_bytes());
            text.push(0);
        }
        if text.len() > layout::COMPILER_ARGUMENTS_BYTES_MAX {
            return Ok(());
        }
        self.log.write_all_at(&text, layout::COMPILER_ARGUMENTS_OFFSET as u64)?;
        let length = native(text.len() as u64);
        self.log.write_all_at(&length, layout::WORD_COMPILER_ARGUMENTS as u64 * 8)
    }

    /// Whether the processes, since this was asked last, looked for a path that `is_meant` in vain. What
    /// cannot be read now is told by [`Observer::finish`].
    pub fn has_missed(&self, is_meant: impl Fn(&[u8]) -> bool) -> bool {
        let missed =
            self.log.fresh(|record| record.kind == layout::MISSING && is_meant(record.text));
        missed.unwrap_or(false)
    }

    /// What was observed. To be called when the process has ended.
    pub fn finish(self) -> Observation {
        // Before it is read: who ends meanwhile may have written more.
        let is_outlived = self.log.is_outlived();
        let mut observation =
            Observation::read(&self.log, self.expected.into_inner().flatten().as_deref());
        if is_outlived {
            observation.complete = Err(IncompleteReason::Outlived);
        }
        // Texts escape slashes in many ways: of the library its name is enough.
        let traces = [Some(self.log.name()), self.library.file_name()];
        observation.traces =
            traces.into_iter().flatten().map(|name| name.as_bytes().to_vec()).collect();
        observation
    }
}

/// Options of gcc's sanitizer of addresses, which refuses to start where another library comes before its own.
const SANITIZER_VARIABLE: &str = "ASAN_OPTIONS";

/// The options that the process would have, and that this library may come first.
fn sanitizer_options() -> OsString {
    const MAY_COME_LATER: &str = "verify_asan_link_order=0";
    let mut options = std::env::var_os(SANITIZER_VARIABLE).unwrap_or_default();
    if !options.is_empty() {
        options.push(":");
    }
    options.push(MAY_COME_LATER);
    options
}

#[expect(clippy::host_endian_bytes, reason = "the log never leaves this machine")]
fn native(value: u64) -> [u8; 8] {
    value.to_ne_bytes()
}

/// Whether what failed may have failed for being observed: some loaders end a program into which the library
/// cannot be loaded, as one of another architecture.
pub fn may_be_to_blame(observation: &Result<Observation, String>) -> bool {
    cfg!(target_vendor = "apple")
        && observation.as_ref().is_ok_and(|observation| observation.complete.is_err())
}

/// Where the link to kache is by which scripts run it.
pub fn link_in(cache_dir: &Path) -> PathBuf {
    cache_dir.join("lib").join(layout::LINK_NAME)
}

/// Whether this process itself is being observed.
pub fn is_observed() -> bool {
    std::env::var_os(layout::VARIABLE).is_some()
}

/// The library in the cache directory. That it has its name means that it was tried.
fn extracted(cache_dir: &Path) -> Result<PathBuf, Unobservable> {
    let directory = cache_dir.join("lib");
    let mut hasher = blake3::Hasher::new();
    hasher.update(LIBRARY);
    if !cfg!(target_os = "linux") {
        // A trial on another version of the system says nothing of this one.
        hasher.update(&Fact::Kernel.told().unwrap_or_default());
    }
    let digest = store_format::Digest(*hasher.finalize().as_bytes());
    let library = loadable(&directory.join(format!("observe-{digest}")))?;
    // A power cut may have left a name without its content.
    if fs::stat(&library).is_ok_and(|stat| stat.size_bytes == LIBRARY.len() as u64) {
        return Ok(library);
    }
    let verdict = directory.join(format!("observe-{digest}.unusable"));
    if let Ok(reason) = fs::read(&verdict) {
        let reason = String::from_utf8_lossy(&reason).into_owned();
        return Err(Unobservable::SelfTest(reason));
    }
    fs::create_directories(&directory)?;
    let fresh = fs::temporary_name(&library);
    fs::write_new(&fresh, LIBRARY, 0o555)?;
    if let Err(reason) = self_test(&fresh) {
        if let Unobservable::SelfTest(reason) = &reason {
            fs::write_new(&verdict, reason.as_bytes(), 0o444)?;
        }
        fs::remove_if_present(&fresh)?;
        return Err(reason);
    }
    // Once for each version: whoever finds the name later loads what is there into compilers, and
    // what a loader complains of would be taken for the compiler's own words.
    fs::sync(&fresh)?;
    fs::rename(&fresh, &library)?;
    Ok(library)
}

/// The absolute form of the library's path. The variable that preloads it is a list: a path with one of its
/// separators cannot be in it.
fn loadable(library: &Path) -> Result<PathBuf, Unobservable> {
    let library = std::path::absolute(library).map_err(Unobservable::Log)?;
    let separates = |byte: &u8| *byte == b':' || cfg!(target_os = "linux") && b" $".contains(byte);
    if library.as_os_str().as_bytes().iter().any(separates) {
        let reason = "the path of the cache directory holds a space, a colon or a dollar sign";
        return Err(Unobservable::SelfTest(reason.into()));
    }
    Ok(library)
}

/// Looks whether a process is seen. Where nobody has tried that yet, it is kache itself, which does more.
fn self_test(library: &Path) -> Result<(), Unobservable> {
    if cfg!(target_os = "linux") {
        let mut command = Command::new("/bin/sh");
        // Where the locale is not installed, some shells say so.
        command.args(["-c", ":"]).env("LC_ALL", "C");
        return observed(library, command, |_| None);
    }
    let failed = |error: io::Error| Unobservable::SelfTest(error.to_string());
    let space = fs::temporary_name(library);
    fs::create_directories(&space)?;
    // As observed processes see it.
    let directory = std::fs::canonicalize(&space).map_err(failed)?;
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.arg(trial::ARGUMENT).arg(&directory);
    let verdict = observed(library, command, |observation| trial::unseen(observation, &directory));
    fs::remove_tree(&space)?;
    verdict
}

/// Runs a command that has nothing to say, and looks whether it was seen as `unseen` demands.
fn observed(
    library: &Path,
    mut command: Command,
    unseen: impl FnOnce(&Observation) -> Option<String>,
) -> Result<(), Unobservable> {
    let observer = Observer::with_library(library.to_owned())?;
    command.stdin(Stdio::null()).env_remove(layout::PRELOAD_VARIABLE);
    observer.attach(&mut command);
    let program = command.get_program().display().to_string();
    let failed = |what: &dyn fmt::Display| Unobservable::SelfTest(format!("{program}: {what}"));
    // That there was no process to be had, or that it was killed, says nothing of the next one.
    let output = command.output().map_err(Unobservable::Trial)?;
    if output.status.signal() == Some(Signal::KILL.as_raw()) {
        return Err(Unobservable::Trial(io::ErrorKind::Interrupted.into()));
    }
    // Nobody knows it by the name that it has for now.
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim().replace(&*library.to_string_lossy(), "the recorder");
    if !output.status.success() || !said.is_empty() {
        return Err(failed(&format_args!("{} {said}", output.status)));
    }
    let observation = observer.finish();
    if let Err(reason) = &observation.complete {
        return Err(failed(reason));
    }
    match unseen(&observation) {
        Some(what) => Err(failed(&what)),
        None => Ok(()),
    }
}

/// An observation as lines of text, in the order in which things happened.
pub fn describe(observation: &Observation) -> Vec<String> {
    let mut lines: Vec<String> = observation.events.iter().map(ToString::to_string).collect();
    match &observation.complete {
        Ok(()) => lines.push(format!("complete: {} processes", observation.processes)),
        Err(reason) => lines.push(format!("incomplete: {reason}")),
    }
    lines
}

/// Bytes of the log as a path.
fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}
