//! A machine of its own: home, store, Cargo home, checkout and daemon.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::support::{Build, TestSpace};

/// How long the daemon may take to do something.
const WAIT_MAX: Duration = Duration::from_mins(1);

/// One machine; its daemon ends with it.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) space: TestSpace,
}

impl Machine {
    /// A machine that shares through a directory.
    pub(crate) fn sharing(remote: &Path) -> Self {
        Self::configured(&format!("type = \"filesystem\"\npath = \"{}\"\n", remote.display()))
    }

    /// A machine with the given lines about its remote.
    pub(crate) fn configured(remote: &str) -> Self {
        let mut space = TestSpace::new();
        let file =
            space.write("home/.config/kache/config.toml", format!("[cache.remote]\n{remote}"));
        space.set_variable("KACHE_CONFIG", &file.display().to_string());
        Self { space }
    }

    /// Another machine with the same toolchain, whose checkout lies elsewhere.
    pub(crate) fn with_checkout_of(mut self, other: &Self, from: &str, to: &str) -> Self {
        self.space.use_toolchain(other.space.toolchain());
        for tree in [(from, to), ("vendored", "vendored")] {
            self.space.remove(tree.1);
            self.space.copy_tree(other.space.path(tree.0), tree.1);
        }
        self.space.remove(format!("{to}/target"));
        self
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.space.set_variable(name, value);
    }

    /// A command of kache's, whatever comes of it.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("kache can be run")
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.space.cargo("home", arguments).by_kache().command()
    }

    /// The standard output of a command that has to succeed.
    pub(crate) fn kache(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}\n{}", self.log());
        String::from_utf8(output.stdout).expect("output is text")
    }

    /// The process of the daemon, if it runs.
    pub(crate) fn daemon(&self) -> Option<u32> {
        let output = self.run(&["daemon", "status"]);
        let text = String::from_utf8(output.stdout).expect("output is text");
        let number = text.split("process ").nth(1)?.split(',').next()?;
        number.parse().ok()
    }

    /// Waits until something is so, which the daemon brings about.
    pub(crate) fn until(&self, is_so: impl Fn() -> bool) {
        let began = Instant::now();
        while !is_so() {
            // To ask takes a moment, in which others get on.
            let daemon = self.daemon();
            assert!(began.elapsed() < WAIT_MAX, "{daemon:?}: {}", self.log());
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.place().join("log")).unwrap_or_default()
    }

    /// The daemon's directory.
    pub(crate) fn place(&self) -> PathBuf {
        self.space.cache().join("daemon")
    }

    /// How many results are queued for upload, to whichever remotes.
    pub(crate) fn queued(&self) -> usize {
        let queues = fs::read_dir(self.space.cache().join("uploads")).into_iter().flatten();
        queues.map(|queue| fs::read_dir(queue.unwrap().path()).unwrap().count()).sum()
    }

    /// The key of some result that the store has.
    pub(crate) fn stored_action(&self) -> String {
        let report = self.kache(&["report", "--format", "json"]);
        let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
        let events = report["all_events"].as_array().expect("events").iter();
        let mut keys =
            events.filter_map(|event| event["key"].as_str()).filter(|key| key.len() == 64);
        keys.next().expect("something was stored").to_owned()
    }

    /// Builds, and has everything uploaded.
    pub(crate) fn build_and_share(&self, directory: &str) -> Build {
        let build = self.space.build(directory);
        self.kache(&["daemon", "stop"]);
        assert_eq!(self.queued(), 0, "{}", self.log());
        build
    }

    /// How long all calls together have looked for their results.
    pub(crate) fn lookups(&self) -> Duration {
        let report = self.kache(&["report", "--format", "json"]);
        let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
        let mean_ms = report["timing"]["avg_lookup_ms"].as_f64().expect("a mean");
        let calls = report["summary"]["total_crates"].as_u64().expect("a count");
        Duration::from_secs_f64(mean_ms / 1000.0).mul_f64(u32::try_from(calls).expect("few").into())
    }

    /// How each call ended that was looked up, by crate and kind, sorted.
    pub(crate) fn outcomes(&self) -> Vec<String> {
        let report = self.kache(&["report", "--format", "json"]);
        let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
        let events = report["all_events"].as_array().expect("events").iter();
        let text =
            |event: &serde_json::Value, key: &str| event[key].as_str().unwrap_or("").to_owned();
        let mut outcomes: Vec<String> = events
            .filter(|event| text(event, "result") != "passthrough")
            .map(|event| format!("{} {}", text(event, "crate_name"), text(event, "result")))
            .collect();
        outcomes.sort();
        outcomes
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(pid) = self.daemon() {
            end(pid);
        }
    }
}

/// Kills a process and waits for its end.
pub(crate) fn end(pid: u32) {
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::process::{Pid, Signal, kill_process};
    let handle = kache::process::end_of(pid);
    let pid = Pid::from_raw(pid.try_into().expect("a number")).expect("not zero");
    if kill_process(pid, Signal::KILL).is_ok()
        && let Some(handle) = handle
    {
        poll(&mut [PollFd::new(&handle, PollFlags::IN)], None).expect("it ends");
    }
}
