//! A build of ripgrep, or with the word `bat` of that, on a machine that has nothing yet, all of it from a bucket
//! at the other end of a wire: beside the warm build of a machine that has everything.
//!
//! The server is real (s3s, signatures checked); the wire delays and limits what passes. No daemon
//! runs before a build begins. The sides are built in turn.
//!
//! How long the bytes take is measured too: the same objects by plain requests through the same wire, on
//! connections that begin as slowly. Server and wire run in this process, on the cores that the builds
//! have; their processor time is shown. With the word `slow` the wire takes four times as long for
//! everything: what four times as many cores would see of the fast one, as far as the work can be shared.

#[path = "measure/mod.rs"]
#[expect(dead_code, reason = "other benchmarks use more of it")]
mod measure;
#[path = "measure/plain.rs"]
mod plain;
#[path = "measure/project.rs"]
mod project;
#[path = "measure/run.rs"]
mod run;
#[path = "../tests/support/server.rs"]
mod server;
#[path = "measure/wire.rs"]
mod wire;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use measure::{median, ratio, remove, row, time};
use project::{BAT, Project, RIPGREP, cargo};
use run::Run;
use server::{ACCESS_KEY, BUCKET, SECRET_KEY, Server};
use wire::{Pace, Wire};

const ROUNDS: usize = 5;
/// More than a build from a bucket writes, and the server reads.
const TOUCHED_MEGABYTES: usize = 2 << 10;

/// One machine: checkout, Cargo home, store and how it reaches the bucket.
struct Machine {
    checkout: PathBuf,
    cargo_home: PathBuf,
    store: PathBuf,
    endpoint: String,
}

#[expect(clippy::print_stdout, reason = "a benchmark reports on standard output")]
fn main() {
    let Some(run) = Run::begin() else { return };
    let (project, pace) = named(run.words());
    let project = Project::prepare(project);
    project.lay_out(&["maker", "taker"]);
    let objects = project.root.join("bucket");
    let aside = project.root.join("aside");
    remove(&objects);
    remove(&aside);
    fs::create_dir_all(&aside).expect("a directory");
    fs::create_dir_all(&objects).expect("a directory");
    let server = Server::start(objects);
    let wire = Wire::to(server.port, pace);
    let maker = Machine::new(&project, "maker", server.endpoint());
    let taker = Machine::new(&project, "taker", wire.endpoint());

    maker.forget(&aside);
    maker.build();
    maker.kache(&["daemon", "stop"]);
    let uploaded = fs::read_dir(server.objects.join("artifacts/v1/results"));
    let names: Vec<String> = uploaded
        .expect("results are uploaded")
        .map(|entry| entry.expect("an entry can be read").file_name())
        .map(|name| format!("artifacts/v1/results/{}", name.display()))
        .collect();
    let results = names.len();
    let megabits = pace.bits_per_second / 1_000_000;
    println!("{project}, {results} results; round trip {:?}, {megabits} Mbit/s", 2 * pace.delay);

    let (mut far, mut near, mut plain, mut spent) = (vec![], vec![], vec![], vec![]);
    let (mut bytes, mut requests) = (0, 0);
    for _ in 0..ROUNDS {
        taker.forget(&aside);
        touch_memory(&aside.join("touched"));
        server.take_requests();
        wire.take_bytes();
        let before = own_processor_time();
        far.push(taker.build());
        spent.push(own_processor_time().saturating_sub(before));
        bytes = wire.take_bytes();
        requests = server.take_requests().len();
        taker.kache(&["daemon", "stop"]);
        assert_eq!(taker.misses(), 0, "everything comes from the bucket");
        set_aside(&taker.checkout.join("target"), &aside);
        touch_memory(&aside.join("touched"));
        near.push(taker.build());
        taker.kache(&["daemon", "stop"]);
        plain.push(plain::download(&wire.endpoint(), &names));
    }
    let (far, near, plain, wire) = (median(far), median(near), median(plain), pace.passing(bytes));
    let bound = near.mul_f64(1.5).max(plain.mul_f64(1.2));
    println!("store here      {near:>8.3?}");
    println!("the bytes alone {wire:>8.3?}   {} MB", bytes >> 20);
    println!("plain requests  {plain:>8.3?}");
    println!("bucket there    {far:>8.3?}   {:.2} of the bound", ratio(far, bound));
    println!(
        "the bound       {bound:>8.3?}   1.5 times the store, or 1.2 times the plain requests"
    );
    println!("server and wire {:>8.3?}   of processor time meanwhile", median(spent));
    let requests = f64::from(u32::try_from(requests).expect("few"))
        / f64::from(u32::try_from(results).expect("few"));
    println!("requests for each result: {requests:.2}, at most 1.1");
    run.note(&format!("{project} from a bucket"), far);
    run.note(&format!("{project} from the store"), near);
    row("a build from a bucket, empty store", "the same build from the store", ratio(far, near));
    row("a build from a bucket, empty store", "its objects by plain requests", ratio(far, plain));
    row("a build from a bucket, empty store", "its bytes on the wire", ratio(far, wire));
    remove(&aside);
}

/// The project and the wire that the command line asks for.
fn named(words: &[String]) -> ((&'static str, &'static str), Pace) {
    let (mut project, mut pace) = (RIPGREP, Pace::GIGABIT);
    for word in words {
        match word.as_str() {
            name if name == BAT.0 => project = BAT,
            "slow" => pace = Pace::GIGABIT.slowed(4),
            _ => panic!("{word}: there are {} and slow", BAT.0),
        }
    }
    (project, pace)
}

/// Takes a directory out of the way, if there is one. To remove it would slow the next build: for some time
/// ext4 looks at each inode that was just freed before it passes it by, and a new machine has none.
fn set_aside(directory: &Path, aside: &Path) {
    if directory.exists() {
        let number = fs::read_dir(aside).expect("a directory can be listed").count();
        fs::rename(directory, aside.join(number.to_string())).expect("it can be renamed");
    }
}

/// Fills memory as files do and gives it back. The host of a virtual machine may take back what is free
/// there, and a page that is wanted again then takes microseconds: more than all that is done with it.
fn touch_memory(file: &Path) {
    let piece = vec![1; 1 << 20];
    let mut written = fs::File::create(file).expect("a file");
    for _ in 0..TOUCHED_MEGABYTES {
        written.write_all(&piece).expect("it can be written");
    }
    fs::remove_file(file).expect("it can be removed");
}

/// Processor time of this process.
fn own_processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("a time that has passed")
}

impl Machine {
    fn new(project: &Project, name: &str, endpoint: String) -> Self {
        let checkout = project.root.join(name);
        let cargo_home = project.lay_out_home(&format!("{name}-cargo-home"));
        let store = project.root.join(format!("{name}-store"));
        Self { checkout, cargo_home, store, endpoint }
    }

    fn forget(&self, aside: &Path) {
        set_aside(&self.checkout.join("target"), aside);
        set_aside(&self.store, aside);
    }

    fn build(&self) -> Duration {
        let mut command = self.cargo();
        time(command.args(["build", "--quiet", "--offline"]))
    }

    fn cargo(&self) -> Command {
        let mut command = cargo(&self.checkout, &self.cargo_home);
        command.env("RUSTC_WRAPPER", env!("CARGO_BIN_EXE_kache"));
        self.configure(&mut command);
        command
    }

    fn configure(&self, command: &mut Command) {
        command
            .env("KACHE_CACHE_DIR", &self.store)
            .env("KACHE_S3_BUCKET", BUCKET)
            .env("KACHE_S3_ENDPOINT", &self.endpoint)
            .env("KACHE_S3_ACCESS_KEY", ACCESS_KEY)
            .env("KACHE_S3_SECRET_KEY", SECRET_KEY);
    }

    /// The standard output of one of kache's own commands.
    fn kache(&self, arguments: &[&str]) -> Vec<u8> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kache"));
        self.configure(&mut command);
        let command = command.args(arguments).current_dir(Path::new("/")).stderr(Stdio::null());
        let output = command.output().expect("kache can be started");
        assert!(output.status.success(), "{arguments:?}: {}", output.status);
        output.stdout
    }

    fn misses(&self) -> u64 {
        let stats = self.kache(&["report", "--format", "json"]);
        let stats: serde_json::Value = serde_json::from_slice(&stats).expect("JSON");
        let count = |name: &str| stats["summary"][name].as_u64().expect("a count");
        count("misses") + count("dups") + count("skipped") + count("errors")
    }
}
