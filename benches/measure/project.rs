//! A real project of the registry, fetched once by Cargo itself and kept under the target directory.

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::measure::{remove, time};

/// Names and versions of the projects.
pub(crate) const RIPGREP: (&str, &str) = ("ripgrep", "15.2.0");
/// Four times as large.
pub(crate) const BAT: (&str, &str) = ("bat", "0.26.1");

/// A project's sources, and a Cargo home that has those of all that it depends on.
#[derive(Debug)]
pub(crate) struct Project {
    name: &'static str,
    version: &'static str,
    pub(crate) root: PathBuf,
}

/// By name and version.
impl Display for Project {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.name, self.version)
    }
}

impl Project {
    /// Fetches the sources unless they are there.
    pub(crate) fn prepare((name, version): (&'static str, &'static str)) -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{version}"));
        let project = Self { name, version, root };
        let complete = project.root.join("ready");
        if !complete.exists() {
            remove(&project.root);
            let fetch = project.root.join("fetch");
            fs::create_dir_all(fetch.join("src")).expect("a directory");
            fs::create_dir_all(project.home()).expect("a directory");
            fs::write(fetch.join("src/lib.rs"), "").expect("a source");
            let manifest = format!(
                "[package]\nname = \"fetch\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
                 [dependencies]\n{name} = \"={version}\"\n[workspace]\n"
            );
            fs::write(fetch.join("Cargo.toml"), manifest).expect("a manifest");
            take_over_registries(&project.home());
            time(project.cargo(&fetch).args(["fetch", "--quiet"]));
            let package = project.package();
            copy(&project.unpacked(), &package);
            isolate(&package);
            // Once more from its own manifest, for what only an optional feature needs.
            time(project.cargo(&package).args(["fetch", "--quiet"]));
            fs::write(complete, "").expect("a mark can be written");
        }
        project
    }

    /// Makes fresh checkouts of these names.
    pub(crate) fn lay_out(&self, checkouts: &[&str]) {
        for checkout in checkouts.iter().map(|name| self.root.join(name)) {
            remove(&checkout);
            copy(&self.package(), &checkout);
        }
    }

    /// Makes another Cargo home of this name.
    pub(crate) fn lay_out_home(&self, name: &str) -> PathBuf {
        let home = self.root.join(name);
        remove(&home);
        copy(&self.home(), &home);
        home
    }

    /// Cargo with the project's own home.
    pub(crate) fn cargo(&self, directory: &Path) -> Command {
        cargo(directory, &self.home())
    }

    fn home(&self) -> PathBuf {
        self.root.join("cargo-home")
    }

    /// The package, made a workspace of its own.
    fn package(&self) -> PathBuf {
        self.root.join(self.name)
    }

    /// Where Cargo unpacked the package: below a directory that is named after the registry.
    fn unpacked(&self) -> PathBuf {
        let sources = self.home().join("registry/src");
        let mut registries = fs::read_dir(sources).expect("Cargo has unpacked something");
        let registry = registries.next().expect("a registry").expect("it can be read");
        registry.path().join(format!("{}-{}", self.name, self.version))
    }
}

/// Has a Cargo home take its crates from where the user's takes them.
fn take_over_registries(home: &Path) {
    let own = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let own = own.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let configuration = own.map(|own| own.join("config.toml")).filter(|file| file.exists());
    if let Some(configuration) = configuration {
        fs::copy(configuration, home.join("config.toml")).expect("it can be copied");
    }
}

/// Makes a package a workspace of its own.
fn isolate(package: &Path) {
    let manifest = package.join("Cargo.toml");
    let mut text = fs::read_to_string(&manifest).expect("the manifest can be read");
    if !text.contains("[workspace]") {
        text.push_str("\n[workspace]\n");
    }
    fs::write(&manifest, text).expect("the manifest can be written");
}

/// Copies a tree.
fn copy(from: &Path, to: &Path) {
    time(Command::new("cp").arg("-r").args([from, to]));
}

/// Cargo with a home, and without what the benchmark's own build put into the environment.
pub(crate) fn cargo(directory: &Path, home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(directory);
    // The repository around the project is not its own.
    command.env("GIT_CEILING_DIRECTORIES", env!("CARGO_TARGET_TMPDIR"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let keeps = matches!(&*text, "RUSTUP_HOME" | "RUSTUP_TOOLCHAIN");
        let ours = ["CARGO", "RUST", "KACHE_", "AWS_", "OUT_DIR"];
        if !keeps && ours.iter().any(|start| text.starts_with(start)) {
            command.env_remove(&name);
        }
    }
    command.env("CARGO_HOME", home);
    command
}
