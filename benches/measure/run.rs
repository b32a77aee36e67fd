//! How a benchmark is called, and times that are kept from one run to a later one:
//! `cargo bench [--bench NAME] [-- [WORD …] [--save-baseline NAME | --baseline NAME]]`.
//!
//! Baselines lie under the target directory. Only runs on the same quiet machine can be compared; what
//! sides of one run say of each other holds on any.

use std::collections::HashMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Debug, Default)]
pub(crate) struct Run {
    words: Vec<String>,
    saved: Option<PathBuf>,
    /// Nanoseconds of an earlier run.
    baseline: HashMap<String, f64>,
}

impl Run {
    /// `None` where `cargo test --benches` only wants to know that it builds and starts.
    pub(crate) fn begin() -> Option<Self> {
        let mut run = Self::default();
        let mut is_wanted = false;
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut named = || path(&arguments.next().expect("the name of a baseline"));
            match argument.as_str() {
                "--bench" => is_wanted = true,
                "--save-baseline" => run.saved = Some(named()),
                "--baseline" => run.baseline = read(&named()),
                _ => run.words.push(argument),
            }
        }
        if let Some(saved) = &run.saved {
            fs::create_dir_all(saved.parent().expect("a directory")).expect("a directory");
            fs::write(saved, "").expect("a baseline can be written");
        }
        is_wanted.then_some(run)
    }

    /// The arguments that are none of these options.
    pub(crate) fn words(&self) -> &[String] {
        &self.words
    }

    /// Keeps a time, or says what it is of the one that was kept.
    #[expect(clippy::print_stdout, reason = "a benchmark reports on standard output")]
    pub(crate) fn note(&self, what: &str, time: Duration) {
        if let Some(path) = &self.saved {
            let mut file = fs::OpenOptions::new().append(true).open(path).expect("a baseline");
            writeln!(file, "{}\t{what}", time.as_nanos()).expect("a baseline can be written");
        }
        if let Some(before) = self.baseline.get(what) {
            println!("{:>7.3} of the baseline: {what}", time.as_secs_f64() * 1e9 / before);
        }
    }
}

/// Where a baseline of this benchmark is.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("baselines")
        .join(name)
        .join(env!("CARGO_CRATE_NAME"))
}

fn read(path: &Path) -> HashMap<String, f64> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let lines = text.lines().filter_map(|line| line.split_once('\t'));
    lines.map(|(time, what)| (what.to_owned(), time.parse().expect("nanoseconds"))).collect()
}
