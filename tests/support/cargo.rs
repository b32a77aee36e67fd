//! Runs of the real Cargo, and what can be seen of them from outside.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use super::TestSpace;
use super::toolchain::{Toolchain, kache};

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Cargo,
    /// kache's own command line.
    Kache,
    /// kache as Cargo calls it, with a compiler and its arguments.
    Compiler,
}

/// One run of Cargo, or of one compiler under kache, to be made.
#[derive(Debug)]
pub(crate) struct Cargo<'a> {
    toolchain: Toolchain,
    directory: PathBuf,
    arguments: Vec<OsString>,
    variables: Vec<(OsString, Option<OsString>)>,
    launcher: Vec<OsString>,
    program: Program,
    verbose: bool,
    space: &'a TestSpace,
}

impl<'a> Cargo<'a> {
    pub(super) fn new(
        space: &'a TestSpace,
        directory: PathBuf,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Self {
        let mut run = Self {
            toolchain: space.toolchain.clone(),
            directory,
            arguments: arguments.into_iter().map(|a| a.as_ref().to_owned()).collect(),
            variables: Vec::new(),
            launcher: Vec::new(),
            program: Program::Cargo,
            verbose: true,
            space,
        };
        for (name, value) in &space.variables {
            run = run.variable(name, value);
        }
        run
    }

    /// One compiler under kache.
    pub(super) fn compiler(
        space: &'a TestSpace,
        directory: PathBuf,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Self {
        Self { program: Program::Compiler, ..Self::new(space, directory, arguments) }
    }

    /// Sets a variable for this run.
    pub(crate) fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), Some(value.into())));
        self
    }

    /// Runs kache with these arguments in place of Cargo.
    pub(crate) fn by_kache(mut self) -> Self {
        self.program = Program::Kache;
        self
    }

    /// Does not have Cargo show its commands; they name the wrapper.
    pub(crate) fn quiet(mut self) -> Self {
        self.verbose = false;
        self
    }

    /// Removes a variable for this run.
    pub(crate) fn without_variable(mut self, name: &str) -> Self {
        self.variables.push((name.into(), None));
        self
    }

    /// Runs it by another program, given with that program's own arguments.
    pub(crate) fn launched_by<S: Into<OsString>>(
        mut self,
        launcher: impl IntoIterator<Item = S>,
    ) -> Self {
        self.launcher = launcher.into_iter().map(Into::into).collect();
        self
    }

    /// Runs without kache: what any difference is measured against.
    pub(crate) fn plain(mut self) -> Self {
        self.variables.push(("RUSTC_WRAPPER".into(), None));
        self
    }

    /// Adds `--target-dir`, relative to the space.
    pub(crate) fn target_directory(mut self, relative: &str) -> Self {
        let path = self.space.path(relative);
        let at = self.arguments.iter().position(|a| a == "--").unwrap_or(self.arguments.len());
        self.arguments.splice(at..at, [OsString::from("--target-dir"), path.into()]);
        self
    }

    /// The command as it will be run, for tests that want to hold the process themselves.
    pub(crate) fn command(&self) -> Command {
        let mut words = self.launcher.clone();
        match self.program {
            Program::Cargo => words.push(self.toolchain.bin.join("cargo").into()),
            Program::Kache => words.push(kache().into()),
            Program::Compiler => {
                if !self.is_plain() {
                    words.push(kache().into());
                }
                words.push(self.toolchain.rustc.clone().into());
            }
        }
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        let mut path = self.toolchain.bin.clone().into_os_string();
        path.push(":/usr/local/bin:/usr/bin:/bin");
        command
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .env_clear()
            .env("PATH", path)
            .env("LANG", "C.UTF-8")
            .env("HOME", self.space.path("home"))
            .env("CARGO_HOME", self.space.path("cargo-home"))
            .env("CARGO_NET_OFFLINE", "true")
            .env("CARGO_TERM_COLOR", "never")
            .env("RUSTC", &self.toolchain.rustc)
            .env("RUSTC_WRAPPER", kache())
            .env("KACHE_CACHE_DIR", self.space.cache());
        for (name, value) in &self.variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let mut arguments = self.arguments.iter();
        command.args(arguments.next());
        if self.program == Program::Cargo && self.verbose {
            command.arg("--verbose");
        }
        command.args(arguments);
        command
    }

    /// Runs it to its end, whatever that is.
    pub(crate) fn run(&self) -> Build {
        let seen = compiled_units(&self.toolchain).len();
        let output = self.command().output().expect("cargo can be started");
        Build {
            status: output.status,
            compiled: compiled_units(&self.toolchain).split_off(seen),
            stdout: output.stdout,
            stderr: output.stderr,
            cache: self.space.cache(),
        }
    }

    /// Runs it; it has to succeed.
    pub(crate) fn succeed(&self) -> Build {
        let build = self.run();
        assert!(build.status.success(), "{self:?}\n{}\n{}", build.status, build.text());
        build
    }

    fn is_plain(&self) -> bool {
        self.variables.iter().any(|(name, value)| name == "RUSTC_WRAPPER" && value.is_none())
    }
}

/// What one run of Cargo did.
#[derive(Debug)]
pub(crate) struct Build {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// Units that a real compiler built, in the order in which they started: the crate's name, with
    /// `(test)` for harnesses and `(bin)` for programs.
    pub(crate) compiled: Vec<String>,
    cache: PathBuf,
}

impl Build {
    /// Both streams as text.
    pub(crate) fn text(&self) -> String {
        format!(
            "{}{}",
            String::from_utf8_lossy(&self.stdout),
            String::from_utf8_lossy(&self.stderr)
        )
    }

    /// [`Build::compiled`] sorted: parallel units start in any order.
    pub(crate) fn compiled_sorted(&self) -> Vec<&str> {
        let mut units: Vec<&str> = self.compiled.iter().map(String::as_str).collect();
        units.sort_unstable();
        units
    }

    /// Units that Cargo found stale, from its own lines: compilations by crate name, build-script
    /// runs by the path of their executable.
    pub(crate) fn dispatched(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.stderr).into_owned();
        let commands = text.lines().filter_map(|line| line.trim_start().strip_prefix("Running `"));
        let mut units: Vec<String> = commands.map(dispatched_unit).collect();
        units.sort_unstable();
        units
    }

    /// Standard error without what differs between any two runs: Cargo's time.
    pub(crate) fn messages(&self) -> String {
        let text = String::from_utf8_lossy(&self.stderr);
        text.lines().map(|line| line.split(" target(s) in ").next().unwrap_or(line)).fold(
            String::new(),
            |mut all, line| {
                all.push_str(line);
                all.push('\n');
                all
            },
        )
    }

    /// Checks that Cargo found nothing to do.
    #[track_caller]
    pub(crate) fn assert_fresh(&self, what: &str) {
        let dispatched = self.dispatched();
        assert!(dispatched.is_empty(), "{what}: dispatched {dispatched:?}\n{}", self.text());
    }

    /// Checks which units a real compiler built.
    #[track_caller]
    pub(crate) fn assert_compiled(&self, expected: &[&str], what: &str) {
        let compiled = self.compiled_sorted();
        assert_eq!(compiled, expected, "{what}: compiler runs\n{}{}", self.text(), self.reasons());
    }

    /// What kache says of each compilation in the space so far, to be shown with what went wrong.
    fn reasons(&self) -> String {
        let events = kache::events::read(&self.cache, 0).unwrap_or_default();
        let lines = events
            .iter()
            .map(|event| format!("{} {:?}: {}\n", event.crate_name, event.outcome, event.reason));
        lines.collect()
    }
}

/// The units that the witness has seen compiled.
pub(super) fn compiled_units(toolchain: &Toolchain) -> Vec<String> {
    let log = fs::read(&toolchain.log).unwrap_or_default();
    String::from_utf8_lossy(&log).lines().filter_map(compiled_unit).collect()
}

/// The unit that a line of the witness' log speaks of; `None` for a query.
fn compiled_unit(line: &str) -> Option<String> {
    let arguments: Vec<&str> = line.split('\u{1f}').collect();
    let after = |flag: &str| {
        let at = arguments.iter().position(|argument| *argument == flag)?;
        arguments.get(at + 1).copied()
    };
    let name = after("--crate-name")?;
    if name == "___" {
        return None;
    }
    let suffix = if arguments.contains(&"--test") {
        "(test)"
    } else if after("--crate-type") == Some("bin") && !name.starts_with("build_script") {
        "(bin)"
    } else {
        ""
    };
    Some(format!("{name}{suffix}"))
}

/// A unit's name from the command that Cargo shows for it.
fn dispatched_unit(command: &str) -> String {
    match command.split_once("--crate-name ") {
        Some((_, rest)) => rest.split(' ').next().unwrap_or(rest).to_owned(),
        None => command.trim_end_matches('`').to_owned(),
    }
}
