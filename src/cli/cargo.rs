//! `kache cargo`: Cargo with this executable as its wrapper, for one command.

use super::UsageError;
use super::output::Console;
use crate::env;
use anyhow::{Context, Result};
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Becomes Cargo, so that its exit status and signals are those of this process.
pub(super) fn run(arguments: &[OsString], console: &Console) -> Result<ExitCode> {
    let own = std::env::current_exe().context("find the path of this executable")?;
    let is_other =
        |wrapper: &Wrapper| !wrapper.is_empty_variable() && !is_kache(&wrapper.command, &own);
    if let Some(other) = configured_wrapper().filter(is_other) {
        console.warning(&format!(
            "{} sets the wrapper `{}`; this command uses kache in its place",
            other.origin,
            other.command.display()
        ));
    }
    let mut command = cargo(arguments.first().map(OsString::as_os_str));
    let error = command.args(arguments).env(env::RUSTC_WRAPPER, &own).exec();
    Err(not_run(&command, error))
}

/// Why Cargo could not be run.
pub(super) fn not_run(command: &Command, error: std::io::Error) -> anyhow::Error {
    let program = command.get_program().display().to_string();
    if error.kind() == std::io::ErrorKind::NotFound {
        return UsageError::new(format!("`{program}` was not found"))
            .hint("install Rust, or put the directory of `cargo` in PATH")
            .into();
    }
    anyhow::Error::new(error).context(format!("run `{program}`"))
}

/// The Cargo to run: the one that runs this process, if any, else the one in `PATH`. A toolchain
/// (`+nightly`) is understood by rustup's proxy only, which is the one in `PATH`.
pub(super) fn cargo(first_argument: Option<&OsStr>) -> Command {
    let toolchain = first_argument.is_some_and(|first| first.as_encoded_bytes().starts_with(b"+"));
    let program = env::value(env::CARGO).filter(|_| !toolchain).unwrap_or_else(|| "cargo".into());
    Command::new(program)
}

/// Variables that name a wrapper, the stronger one first.
const VARIABLES: [&str; 2] = [env::RUSTC_WRAPPER, env::CARGO_BUILD_RUSTC_WRAPPER];

/// A compiler wrapper that Cargo would use, and what says so.
#[derive(Debug)]
pub(super) struct Wrapper {
    pub(super) command: PathBuf,
    pub(super) origin: String,
}

impl Wrapper {
    /// An empty variable stands for no wrapper, whatever the files say.
    pub(super) fn is_empty_variable(&self) -> bool {
        self.command.as_os_str().is_empty() && VARIABLES.contains(&self.origin.as_str())
    }
}

/// The wrapper that is configured for the current directory: environment, then Cargo's files.
pub(super) fn configured_wrapper() -> Option<Wrapper> {
    for name in VARIABLES {
        if let Some(value) = std::env::var_os(name) {
            return Some(Wrapper { command: value.into(), origin: name.to_owned() });
        }
    }
    cargo_config_files().into_iter().find_map(|file| {
        let text = std::fs::read_to_string(&file).ok()?;
        let document = text.parse::<toml_edit::DocumentMut>().ok()?;
        let command = document.get("build")?.get("rustc-wrapper")?.as_str()?;
        let mut command = PathBuf::from(command);
        if command.components().count() > 1 {
            // Relative to the directory that has the one with the file.
            command = file.parent()?.parent()?.join(command);
        }
        Some(Wrapper { command, origin: file.display().to_string() })
    })
}

/// Where Cargo looks for its configuration, strongest first.
fn cargo_config_files() -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> = std::env::current_dir()
        .iter()
        .flat_map(|directory| directory.ancestors())
        .map(|directory| directory.join(".cargo"))
        .collect();
    directories.extend(cargo_home());
    // Cargo prefers the older name where both are there.
    directories.iter().flat_map(|dir| [dir.join("config"), dir.join("config.toml")]).collect()
}

/// Cargo's home directory.
pub(super) fn cargo_home() -> Option<PathBuf> {
    env::value(env::CARGO_HOME).map(PathBuf::from).or_else(|| Some(env::home()?.join(".cargo")))
}

/// Whether a configured wrapper is this program, by whatever path.
pub(super) fn is_kache(wrapper: &Path, own: &Path) -> bool {
    wrapper.file_name() == Some(OsStr::new("kache")) || wrapper == own
}
