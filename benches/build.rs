//! Whole builds of ripgrep: plain Cargo, a wrapper that verifies nothing (the floor), and kache.
//!
//! The sources come from the registry once, by Cargo itself, and stay under the target directory. Every
//! number is from this run; sides are built in turn.

#[path = "measure/mod.rs"]
mod measure;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use measure::{bytes_occupied, median, processor_time_of_children, remove, row, time};

/// What the floor is called in the table.
const FLOOR: &str = "a wrapper that checks nothing";
const PROJECT: &str = "ripgrep";
const VERSION: &str = "15.2.0";
const COLD_ROUNDS: usize = 2;
const WARM_ROUNDS: usize = 9;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Plain,
    Floor,
    Kache,
}

struct Bench {
    root: PathBuf,
    floor: PathBuf,
}

#[expect(clippy::print_stdout, reason = "a benchmark reports on standard output")]
fn main() {
    // `cargo test --benches` only wants to know that it builds and starts.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let bench = Bench::prepare();
    println!("{PROJECT} {VERSION}, dev profile, {} processors", processors());

    let sides = [Side::Plain, Side::Kache];
    let mut cold: [Vec<(Duration, Duration)>; 2] = Default::default();
    for _ in 0..COLD_ROUNDS {
        for (side, times) in sides.iter().zip(&mut cold) {
            bench.forget(*side);
            times.push(bench.build(*side, "a"));
        }
    }
    let [plain, kache] = cold.map(|runs| {
        let (wall, processor) = runs.into_iter().unzip();
        (median(wall), median(processor))
    });
    println!("cold   plain {:>8.2?} wall {:>8.2?} CPU", plain.0, plain.1);
    println!(
        "cold   kache {:>8.2?} wall {:>8.2?} CPU   {:.3} and {:.3} of plain, at most 1.05",
        kache.0,
        kache.1,
        ratio(kache.0, plain.0),
        ratio(kache.1, plain.1)
    );

    row("the first build, wall time", "Cargo alone", ratio(kache.0, plain.0));
    row("the first build, processor time", "Cargo alone", ratio(kache.1, plain.1));
    let plain = plain.0;

    bench.forget(Side::Floor);
    bench.build(Side::Floor, "a");
    let mut warm: [Vec<Duration>; 2] = Default::default();
    for _ in 0..WARM_ROUNDS {
        for (side, times) in [Side::Floor, Side::Kache].iter().zip(&mut warm) {
            remove(&bench.target(*side, "a"));
            times.push(bench.build(*side, "a").0);
        }
    }
    let [floor, kache] = warm.map(median);
    println!("warm   floor {floor:>8.3?}");
    println!("warm   kache {kache:>8.3?}   {:.2} of the floor, at most 1.3", ratio(kache, floor));

    row("the same build again, empty target directory", "Cargo alone", ratio(kache, plain));
    row("the same build again, empty target directory", FLOOR, ratio(kache, floor));

    let mut second = Vec::new();
    for _ in 0..WARM_ROUNDS {
        remove(&bench.target(Side::Kache, "b"));
        second.push(bench.build(Side::Kache, "b").0);
    }
    let second = median(second);
    println!("second checkout {second:>8.3?}   {:.2} of the floor", ratio(second, floor));
    row("the first build of a second checkout", "Cargo alone", ratio(second, plain));
    row("the first build of a second checkout", FLOOR, ratio(second, floor));
    let idle = bench.build(Side::Kache, "a").0;
    println!("nothing to do   {idle:>8.3?}");
    bench.report_disk();
}

impl Bench {
    /// Fetches the sources unless they are there, lays out two checkouts, and compiles the floor.
    fn prepare() -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{PROJECT}-{VERSION}"));
        let floor = root.join("floor");
        let complete = root.join("complete");
        if !complete.exists() {
            remove(&root);
            let fetch = root.join("fetch");
            fs::create_dir_all(fetch.join("src")).expect("a directory");
            fs::write(fetch.join("src/lib.rs"), "").expect("a source");
            let manifest = format!(
                "[package]\nname = \"fetch\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
                 [dependencies]\n{PROJECT} = \"={VERSION}\"\n[workspace]\n"
            );
            fs::write(fetch.join("Cargo.toml"), manifest).expect("a manifest");
            let fetched = root.join("fetched");
            vendor(&fetch, &fetched);
            // Once more from its own manifest, for what only an optional feature needs.
            let package = root.join(PROJECT);
            copy(&fetched.join(PROJECT), &package);
            Self::isolate(&package);
            vendor(&package, &root.join("vendor"));
            fs::write(complete, "").expect("a mark can be written");
        }
        for checkout in ["a", "b"] {
            remove(&root.join(checkout));
            copy(&root.join(PROJECT), &root.join(checkout));
            Self::configure(&root, checkout);
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/floor/wrapper.rs");
        let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        time(rustc.args(["--edition=2024", "-O", "-o"]).args([&floor, &source]));
        Self { root, floor }
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

    /// Makes a checkout need no network.
    fn configure(root: &Path, checkout: &str) {
        let directory = root.join(checkout).join(".cargo");
        fs::create_dir_all(&directory).expect("a directory");
        let configuration = format!(
            "[source.crates-io]\nreplace-with = \"vendored\"\n[source.vendored]\ndirectory = '{}'\n",
            root.join("vendor").display()
        );
        fs::write(directory.join("config.toml"), configuration).expect("a configuration");
    }

    fn target(&self, side: Side, checkout: &str) -> PathBuf {
        let name = match side {
            Side::Plain => "plain",
            Side::Floor => "floor",
            Side::Kache => "kache",
        };
        self.root.join(checkout).join("target").join(name)
    }

    fn store(&self, side: Side) -> PathBuf {
        self.root.join(if side == Side::Floor { "floor-store" } else { "kache-store" })
    }

    /// Removes what the side built and stored.
    fn forget(&self, side: Side) {
        remove(&self.target(side, "a"));
        remove(&self.target(side, "b"));
        if side != Side::Plain {
            remove(&self.store(side));
        }
    }

    /// One build; wall and processor time.
    fn build(&self, side: Side, checkout: &str) -> (Duration, Duration) {
        let mut command = cargo(&self.root.join(checkout));
        command.args(["build", "--quiet", "--offline", "--target-dir"]);
        command.arg(self.target(side, checkout));
        match side {
            Side::Plain => {}
            Side::Floor => {
                command.env("RUSTC_WRAPPER", &self.floor).env("FLOOR_STORE", self.store(side));
            }
            Side::Kache => {
                command.env("RUSTC_WRAPPER", env!("CARGO_BIN_EXE_kache"));
                command.env("KACHE_CACHE_DIR", self.store(side));
            }
        }
        let before = processor_time_of_children();
        let wall = time(&mut command);
        (wall, processor_time_of_children().saturating_sub(before))
    }

    /// What the store and two target directories occupy beside one of plain Cargo.
    #[expect(clippy::print_stdout, reason = "a benchmark reports on standard output")]
    fn report_disk(&self) {
        let plain = bytes_occupied(&[&self.target(Side::Plain, "a")]);
        let (one, two) = (self.target(Side::Kache, "a"), self.target(Side::Kache, "b"));
        let shared = bytes_occupied(&[&self.store(Side::Kache), &one, &two]);
        println!(
            "disk   plain {:>4} MB, store and two target directories {:>4} MB: {:.2}, at most 1.6",
            plain >> 20,
            shared >> 20,
            as_f64(shared) / as_f64(plain)
        );
        row(
            "disk of the store and two target directories",
            "one target directory of Cargo alone",
            as_f64(shared) / as_f64(plain),
        );
    }
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
fn cargo(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(directory);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let keeps = matches!(&*text, "CARGO_HOME" | "RUSTUP_HOME" | "RUSTUP_TOOLCHAIN");
        if !keeps
            && (text.starts_with("CARGO") || text.starts_with("RUST") || text.starts_with("KACHE_"))
        {
            command.env_remove(&name);
        }
    }
    command
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn ratio(part: Duration, whole: Duration) -> f64 {
    part.as_secs_f64() / whole.as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people to read")]
fn as_f64(bytes: u64) -> f64 {
    bytes as f64
}
