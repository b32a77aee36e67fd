//! What the integration tests stand on: one temporary space per test with a cache, workspaces and
//! a Cargo home of its own, the real Cargo run in it with a scrubbed environment, and witnesses
//! that do not depend on what kache says about itself.
//!
//! Invariants: nothing outside the space is written, nothing but loopback is connected to, and no
//! variable of the caller's environment reaches a build.

pub(crate) mod cargo;
pub(crate) mod disk;
pub(crate) mod gate;
pub(crate) mod sample;
pub(crate) mod toolchain;

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub(crate) use cargo::{Build, Cargo};
use toolchain::Toolchain;

/// How long what is left of a build may keep a space from being removed.
const REMOVAL_MAX: Duration = Duration::from_secs(20);

/// A directory that lives as long as one test, with everything that its builds need.
#[derive(Debug)]
pub(crate) struct TestSpace {
    root: PathBuf,
    variables: Vec<(String, String)>,
    toolchain: Toolchain,
}

impl TestSpace {
    /// An empty space: no cache yet, no project, and a Cargo home that knows only vendored crates.
    pub(crate) fn new() -> Self {
        Self::below(Path::new(env!("CARGO_TARGET_TMPDIR")))
    }

    /// Like [`TestSpace::new`], in a directory (and so on a file system) of the caller's choice.
    pub(crate) fn below(parent: &Path) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = parent.join(format!("kache-test-{}-{number}", std::process::id()));
        if root.exists() {
            fs::remove_dir_all(&root).expect("a space left by an earlier process can be removed");
        }
        fs::create_dir_all(&root).expect("a space can be created");
        let root = root.canonicalize().expect("a new directory has a canonical path");
        let toolchain = Toolchain::counted(&root);
        let space = Self { root, variables: Vec::new(), toolchain };
        space.write("home/.gitconfig", "");
        space.write(
            "cargo-home/config.toml",
            format!(
                "[source.crates-io]\nreplace-with = 'vendored'\n\
                 [source.vendored]\ndirectory = '{}'\n",
                space.path("vendored").display()
            ),
        );
        fs::create_dir(space.path("vendored")).expect("a directory source can be created");
        space
    }

    /// A path inside the space.
    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// Where kache keeps its store.
    pub(crate) fn cache(&self) -> PathBuf {
        self.path("cache")
    }

    /// Writes a file, with its directories.
    pub(crate) fn write(&self, relative: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(relative);
        let parent = path.parent().expect("a file of the space has a parent");
        fs::create_dir_all(parent).expect("directories can be created");
        fs::write(&path, content).expect("a file can be written");
        path
    }

    /// Writes an executable script or program.
    pub(crate) fn write_program(&self, relative: &str, content: impl AsRef<[u8]>) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.write(relative, content);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode can be set");
        path
    }

    /// Reads a text file of the space.
    pub(crate) fn read(&self, relative: impl AsRef<Path>) -> String {
        let path = self.path(relative);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// Removes a file or a directory with all that it holds; absence is fine.
    pub(crate) fn remove(&self, relative: impl AsRef<Path>) {
        let path = self.path(relative);
        match path.symlink_metadata() {
            Err(_) => {}
            Ok(metadata) if metadata.is_dir() => {
                fs::remove_dir_all(&path).expect("a directory of the space can be removed");
            }
            Ok(_) => fs::remove_file(&path).expect("a file of the space can be removed"),
        }
    }

    /// Copies a tree, like `cp -r`: the second checkout has times of its own.
    pub(crate) fn copy_tree(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) {
        let to = self.path(to);
        fs::create_dir_all(to.parent().expect("a tree has a parent")).expect("a directory");
        let mut command = Command::new("cp");
        command.arg("-r").arg(self.path(from)).arg(to);
        succeed(&mut command);
    }

    /// Sets a variable for every later build.
    pub(crate) fn set_variable(&mut self, name: &str, value: &str) {
        self.unset_variable(name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Takes back [`TestSpace::set_variable`].
    pub(crate) fn unset_variable(&mut self, name: &str) {
        self.variables.retain(|(known, _)| known != name);
    }

    /// Makes every later build use another toolchain.
    pub(crate) fn use_toolchain(&mut self, toolchain: Toolchain) {
        self.toolchain = toolchain;
    }

    /// The toolchain of every later build.
    pub(crate) fn toolchain(&self) -> Toolchain {
        self.toolchain.clone()
    }

    /// Makes a shell script the compiler of every later build. It gets compilations only; queries
    /// reach the real compiler.
    pub(crate) fn script_compiler(&mut self, script: &str) {
        let real = self.toolchain();
        let head = "#!/bin/sh\ncase \"$*\" in *--crate-name*) ;; *) exec";
        let text = format!("{head} {} \"$@\";; esac\n{script}", real.rustc.display());
        let rustc = self.write_program("scripted/rustc", text);
        self.use_toolchain(Toolchain { rustc, ..real });
    }

    /// Rust code that tells the witness of a build script's run, as of a unit of that name.
    pub(crate) fn code_to_witness(&self, unit: &str) -> String {
        let log = std::os::fd::AsRawFd::as_raw_fd(&*self.toolchain.inherited);
        format!(
            "{{ let log: std::fs::File = unsafe {{ std::os::fd::FromRawFd::from_raw_fd({log}) }};\n\
             std::io::Write::write_all(&mut &log, b\"--crate-name\\x1f{unit}\\n\").unwrap();\n\
             std::mem::forget(log); }}\n"
        )
    }

    /// A witness in the place of Clippy's driver.
    pub(crate) fn witnessed_clippy(&self) -> PathBuf {
        self.toolchain.witnessed_clippy()
    }

    /// A run of Cargo in a directory of the space, through kache.
    pub(crate) fn cargo(
        &self,
        directory: &str,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Cargo<'_> {
        Cargo::new(self, self.path(directory), arguments)
    }

    /// A run of the compiler in a directory of the space, through kache, as Cargo would make it.
    pub(crate) fn rustc(
        &self,
        directory: &str,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Cargo<'_> {
        Cargo::compiler(self, self.path(directory), arguments)
    }

    /// `cargo build` through kache, which must succeed.
    pub(crate) fn build(&self, directory: &str) -> Build {
        self.cargo(directory, ["build"]).succeed()
    }

    /// Units that real compilers have built in this space so far.
    pub(crate) fn compiled(&self) -> Vec<String> {
        cargo::compiled_units(&self.toolchain)
    }

    /// The standard output of a program of the space.
    pub(crate) fn output_of(&self, program: &str) -> String {
        let mut command = Command::new(self.path(program));
        // Where a program that counts its coverage writes.
        command.env("LLVM_PROFILE_FILE", self.path("profile"));
        let output = succeed(&mut command);
        String::from_utf8(output.stdout).expect("the sample programs print text")
    }
}

impl Drop for TestSpace {
    fn drop(&mut self) {
        // Kept on request only: a space holds tens of megabytes.
        if std::env::var_os("KACHE_TEST_KEEP").is_none() {
            make_removable(&self.root);
            // A process that kache left behind may put something there meanwhile; it ends by itself.
            let began = Instant::now();
            let removed = loop {
                match fs::remove_dir_all(&self.root) {
                    Err(error)
                        if error.kind() == ErrorKind::DirectoryNotEmpty
                            && began.elapsed() < REMOVAL_MAX => {}
                    removed => break removed,
                }
            };
            if let Err(error) = removed
                && !std::thread::panicking()
            {
                panic!("{}: {error}", self.root.display());
            }
        }
    }
}

/// Opens a named pipe for writing, which waits until somebody opens it for reading; fails if nobody
/// does.
pub(crate) fn open_for_reader(pipe: &Path) -> fs::File {
    let (sender, receiver) = std::sync::mpsc::channel();
    let path = pipe.to_owned();
    std::thread::spawn(move || sender.send(fs::File::options().write(true).open(path)));
    let opened = receiver.recv_timeout(std::time::Duration::from_mins(1));
    opened.expect("somebody reads the pipe").expect("a pipe can be opened")
}

/// Gives back the permissions that a test took from a directory.
fn make_removable(directory: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let Ok(metadata) = directory.symlink_metadata() else { return };
    if !metadata.is_dir() {
        return;
    }
    if metadata.permissions().mode() & 0o700 != 0o700 {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755))
            .expect("the owner of a directory may change its mode");
    }
    for entry in fs::read_dir(directory).expect("the space can be listed").flatten() {
        make_removable(&entry.path());
    }
}

/// Runs a command that has to succeed, and returns what it printed.
pub(crate) fn succeed(command: &mut Command) -> std::process::Output {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}
