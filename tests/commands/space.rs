//! A home with a store, and the executable in it.

use regex::Regex;
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::removal::remove_with_process;

/// A home directory with a store in it.
pub(crate) struct Space {
    pub(crate) root: tempfile::TempDir,
}

impl Space {
    pub(crate) fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    /// The store and the workspaces of the demo, one source file changed and built again.
    pub(crate) fn built() -> &'static Self {
        static BUILT: OnceLock<Space> = OnceLock::new();
        BUILT.get_or_init(|| {
            let space = Self::new();
            remove_with_process(space.root.path());
            let temporary = space.path("temporary");
            std::fs::create_dir(&temporary).unwrap();
            let demo = space.kache(&["demo", "--keep"]).env("TMPDIR", &temporary).output().unwrap();
            assert!(demo.status.success(), "{demo:?}");
            let kept = std::fs::read_dir(&temporary).unwrap().next().unwrap().unwrap().path();
            std::fs::rename(kept, space.path("demo")).unwrap();
            std::fs::rename(space.path("demo/store"), space.path("store")).unwrap();
            let main = space.path("demo/first/greenhouse/src/main.rs");
            let text = std::fs::read_to_string(&main).unwrap();
            std::fs::write(&main, text.replace("least: 8.0", "least: 7.5")).unwrap();
            let mut build = space.kache(&["cargo", "build", "--offline", "--quiet"]);
            let build = build.current_dir(space.path("demo/first")).output().unwrap();
            assert!(build.status.success(), "{build:?}");
            space
        })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The executable in an environment that has nothing of the user's but the toolchain.
    pub(crate) fn kache(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kache"));
        command.args(arguments);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if ["KACHE_", "RUSTC", "XDG_", "CARGO_"].iter().any(|own| text.starts_with(own)) {
                command.env_remove(name);
            }
        }
        for (name, directory) in [("RUSTUP_HOME", ".rustup"), ("CARGO_HOME", ".cargo")] {
            let directory = || std::env::home_dir().unwrap().join(directory).into_os_string();
            command.env(name, std::env::var_os(name).unwrap_or_else(directory));
        }
        command
            .env("HOME", self.root.path())
            .env("KACHE_CACHE_DIR", self.path("store"))
            .current_dir(self.root.path());
        command
    }

    /// Exit status, standard output and standard error, without what differs between runs.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.kache(arguments).output().unwrap();
        self.shown(&output)
    }

    pub(crate) fn shown(&self, output: &Output) -> String {
        let mut text = String::from_utf8(output.stdout.clone()).unwrap();
        text += std::str::from_utf8(&output.stderr).unwrap();
        text.extend(["exit status ", &output.status.code().unwrap().to_string(), "\n"]);
        text = text.replace(self.root.path().to_str().unwrap(), "[ROOT]");
        for (pattern, name) in [
            (r"\b\d+(\.\d)? (B|kB|MB)\b", "[SIZE]"),
            (r"\b\d+(\.\d)? (ms|s)\b", "[TIME]"),
            (r"\b\d+\.\d%", "[SHARE]"),
            (r"\b[0-9a-f]{12,64}\b", "[DIGEST]"),
            (": [0-9a-f]{8} -> [0-9a-f]{8}\n", ": [DIGEST] -> [DIGEST]\n"),
            (r"\b(just now|\d+m( ago)?)\b", "[AGO]"),
            (r"\b\d{4}-\d\d-\d\dT[0-9:]+Z", "[DATE]"),
            (r"\d+\.\d times faster", "[N] times faster"),
            (r"\bkache-demo-\w+", "[DEMO]"),
            (" +", " "),
        ] {
            text = Regex::new(pattern).unwrap().replace_all(&text, name).into_owned();
        }
        text
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.kache(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}
