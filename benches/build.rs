//! Whole builds of ripgrep: plain Cargo, a wrapper that verifies nothing (the floor), and kache.
//!
//! The sources come from the registry once, by Cargo itself, and stay under the target directory. Every
//! number is from this run; sides are built in turn.

#[path = "measure/mod.rs"]
mod measure;
#[path = "measure/project.rs"]
#[expect(dead_code, reason = "other benchmarks build other projects")]
mod project;
#[path = "measure/run.rs"]
#[expect(dead_code, reason = "other benchmarks take words")]
mod run;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use measure::{
    bytes_occupied, median, memory_peak, processor_time_of_children, ratio, remove, row, time,
};
use project::{Project, RIPGREP};
use run::Run;

/// What the floor is called in the table.
const FLOOR: &str = "a wrapper that checks nothing";
const COLD_ROUNDS: usize = 2;
const WARM_ROUNDS: usize = 9;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Plain,
    Floor,
    Kache,
}

struct Bench {
    project: Project,
    floor: PathBuf,
}

#[expect(clippy::print_stdout, reason = "a benchmark reports on standard output")]
fn main() {
    let Some(run) = Run::begin() else { return };
    let bench = Bench::prepare();
    println!("{}, dev profile, {} processors", bench.project, processors());

    let sides = [Side::Plain, Side::Kache];
    let mut cold: [Vec<(Duration, Duration)>; 2] = Default::default();
    for _ in 0..COLD_ROUNDS {
        for (side, times) in sides.iter().zip(&mut cold) {
            bench.forget(*side);
            times.push(bench.build(*side, "a"));
        }
    }
    let [plain, kache] = cold.map(medians);
    println!("cold   plain {:>8.2?} wall {:>8.2?} CPU", plain.0, plain.1);
    println!(
        "cold   kache {:>8.2?} wall {:>8.2?} CPU   {:.3} and {:.3} of plain, at most 1.05",
        kache.0,
        kache.1,
        ratio(kache.0, plain.0),
        ratio(kache.1, plain.1)
    );

    run.note("first build of Cargo alone", plain.0);
    run.note("first build", kache.0);
    row("the first build, wall time", "Cargo alone", ratio(kache.0, plain.0));
    row("the first build, processor time", "Cargo alone", ratio(kache.1, plain.1));
    let plain = plain.0;

    bench.forget(Side::Floor);
    bench.build(Side::Floor, "a");
    let mut warm: [Vec<(Duration, Duration)>; 2] = Default::default();
    for _ in 0..WARM_ROUNDS {
        for (side, times) in [Side::Floor, Side::Kache].iter().zip(&mut warm) {
            remove(&bench.target(*side, "a"));
            times.push(bench.build(*side, "a"));
        }
    }
    let [(floor, floor_processor), (kache, kache_processor)] = warm.map(medians);
    println!("warm   floor {floor:>8.3?} wall {floor_processor:>8.3?} CPU");
    println!(
        "warm   kache {kache:>8.3?} wall {kache_processor:>8.3?} CPU   {:.2} and {:.2} of the floor, \
         at most 1.3",
        ratio(kache, floor),
        ratio(kache_processor, floor_processor)
    );
    run.note("same build again", kache);
    row("the same build again, empty target directory", "Cargo alone", ratio(kache, plain));
    row("the same build again, empty target directory", FLOOR, ratio(kache, floor));

    let mut second = Vec::new();
    for _ in 0..WARM_ROUNDS {
        remove(&bench.target(Side::Kache, "b"));
        second.push(bench.build(Side::Kache, "b"));
    }
    let (second, processor) = medians(second);
    println!(
        "second checkout {second:>8.3?} wall {processor:>8.3?} CPU   {:.2} and {:.2} of the floor",
        ratio(second, floor),
        ratio(processor, floor_processor)
    );
    run.note("first build of a second checkout", second);
    row("the first build of a second checkout", "Cargo alone", ratio(second, plain));
    row("the first build of a second checkout", FLOOR, ratio(second, floor));
    let idle = bench.build(Side::Kache, "a").0;
    println!("nothing to do   {idle:>8.3?}");
    run.note("nothing to do", idle);
    bench.report_disk();
    bench.report_memory();
}

impl Bench {
    /// Lays out two checkouts, and compiles the floor.
    fn prepare() -> Self {
        let project = Project::prepare(RIPGREP);
        project.lay_out(&["a", "b"]);
        let floor = project.root.join("floor");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/floor/wrapper.rs");
        let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        time(rustc.args(["--edition=2024", "-O", "-o"]).args([&floor, &source]));
        Self { project, floor }
    }

    fn target(&self, side: Side, checkout: &str) -> PathBuf {
        let name = match side {
            Side::Plain => "plain",
            Side::Floor => "floor",
            Side::Kache => "kache",
        };
        self.project.root.join(checkout).join("target").join(name)
    }

    fn store(&self, side: Side) -> PathBuf {
        self.project.root.join(if side == Side::Floor { "floor-store" } else { "kache-store" })
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
        let before = processor_time_of_children();
        let wall = time(&mut self.command(side, checkout));
        (wall, processor_time_of_children().saturating_sub(before))
    }

    fn command(&self, side: Side, checkout: &str) -> Command {
        let mut command = self.project.cargo(&self.project.root.join(checkout));
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
        command
    }

    /// What all processes of a build have in memory at a time, at most.
    #[expect(clippy::print_stdout, reason = "a benchmark reports on standard output")]
    fn report_memory(&self) {
        for (what, beside) in [("warm", Side::Floor), ("cold", Side::Plain)] {
            let [beside, kache] = [beside, Side::Kache].map(|side| {
                if what == "cold" {
                    self.forget(side);
                }
                remove(&self.target(side, "a"));
                memory_peak(&mut self.command(side, "a"))
            });
            println!(
                "memory {what}   {:>4} MB, kache {:>4} MB: {:.2}",
                beside >> 20,
                kache >> 20,
                as_f64(kache) / as_f64(beside)
            );
        }
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

/// Of wall and of processor times.
fn medians(times: Vec<(Duration, Duration)>) -> (Duration, Duration) {
    let (wall, processor) = times.into_iter().unzip();
    (median(wall), median(processor))
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people to read")]
fn as_f64(bytes: u64) -> f64 {
    bytes as f64
}
