//! A real project of the registry, fetched once by Cargo itself and kept under the target directory.

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::measure::{remove, time};

/// Names and versions of the projects.
pub(crate) const RIPGREP: (&str, &str) = ("ripgrep", "15.2.0");
/// Four times as large.
pub(crate) const BAT: (&str, &str) = ("bat", "0.26.1");

/// A project's sources and those of all that it depends on.
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
        let complete = root.join("complete");
        if !complete.exists() {
            remove(&root);
            let fetch = root.join("fetch");
            fs::create_dir_all(fetch.join("src")).expect("a directory");
            fs::write(fetch.join("src/lib.rs"), "").expect("a source");
            let manifest = format!(
                "[package]\nname = \"fetch\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
                 [dependencies]\n{name} = \"={version}\"\n[workspace]\n"
            );
            fs::write(fetch.join("Cargo.toml"), manifest).expect("a manifest");
            let fetched = root.join("fetched");
            vendor(&fetch, &fetched);
            // Once more from its own manifest, for what only an optional feature needs.
            let package = root.join(name);
            copy(&fetched.join(name), &package);
            isolate(&package);
            vendor(&package, &root.join("vendor"));
            fs::write(complete, "").expect("a mark can be written");
        }
        Self { name, version, root }
    }

    /// Makes fresh checkouts of these names, which need no network.
    pub(crate) fn lay_out(&self, checkouts: &[&str]) {
        for checkout in checkouts.iter().map(|name| self.root.join(name)) {
            remove(&checkout);
            copy(&self.root.join(self.name), &checkout);
            let directory = checkout.join(".cargo");
            fs::create_dir_all(&directory).expect("a directory");
            let configuration = format!(
                "[source.crates-io]\nreplace-with = \"vendored\"\n\
                 [source.vendored]\ndirectory = '{}'\n",
                self.root.join("vendor").display()
            );
            fs::write(directory.join("config.toml"), configuration).expect("a configuration");
        }
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

/// Has Cargo put the sources of all dependencies into a directory.
fn vendor(package: &Path, to: &Path) {
    time(cargo(package).args(["vendor", "--quiet"]).arg(to).stdout(Stdio::null()));
}

/// Cargo without what the benchmark's own build put into the environment.
pub(crate) fn cargo(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(directory);
    // The repository around the project is not its own.
    command.env("GIT_CEILING_DIRECTORIES", env!("CARGO_TARGET_TMPDIR"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let keeps = matches!(&*text, "CARGO_HOME" | "RUSTUP_HOME" | "RUSTUP_TOOLCHAIN");
        let ours = ["CARGO", "RUST", "KACHE_", "AWS_", "OUT_DIR"];
        if !keeps && ours.iter().any(|start| text.starts_with(start)) {
            command.env_remove(&name);
        }
    }
    command
}
