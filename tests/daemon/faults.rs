//! Whatever the network, the server or the daemon does: no build fails, none takes much longer, and
//! nothing that was not verified is restored.

use std::fs;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use crate::machine::{Machine, end};
use crate::removal::remove_with_process;
use crate::server::{ACCESS_KEY, BUCKET, SECRET_KEY, Server};
use crate::stub::{Fault, Stub, refused};
use crate::support::sample::{SAMPLE_OUTPUT, SAMPLE_UNITS};
use crate::support::{TestSpace, disk};

/// All calls of a build together wait this long at most: ten seconds in vain, and the calls that
/// were waiting when that was full, three seconds each.
const WAIT_MAX: Duration = Duration::from_secs(10 + 3 * 4);

/// A sound server with everything that the sample needs, and the machine that put it there.
struct Origin {
    machine: Machine,
    server: Server,
    _space: TestSpace,
}

fn origin() -> &'static Origin {
    static ORIGIN: OnceLock<Origin> = OnceLock::new();
    ORIGIN.get_or_init(|| {
        let space = TestSpace::new();
        let server = Server::start(space.path("server"));
        let machine = of_port(server.port);
        machine.space.sample("here/a");
        machine.build_and_share("here/a").assert_compiled(&SAMPLE_UNITS, "the first machine");
        for space in [&space, &machine.space] {
            remove_with_process(&space.path(""));
        }
        Origin { machine, server, _space: space }
    })
}

/// A machine whose server listens at a port.
pub(crate) fn of_port(port: u16) -> Machine {
    let mut machine = Machine::configured(&format!(
        "bucket = \"{BUCKET}\"\nendpoint = \"http://127.0.0.1:{port}\"\n"
    ));
    machine.set("KACHE_S3_ACCESS_KEY", ACCESS_KEY);
    machine.set("KACHE_S3_SECRET_KEY", SECRET_KEY);
    // A machine that got a damaged result replaces it by its own. Incremental libraries have random
    // names in them, and what depends on the one would not be found beside the other.
    machine.set("CARGO_INCREMENTAL", "0");
    machine
}

/// Builds the sample on a machine with this server: the build succeeds, its program is right, the
/// calls did not wait for long, and every blob of the store is what its name says.
fn survive(port: u16) -> Machine {
    let machine = of_port(port).with_checkout_of(&origin().machine, "here/a", "b");
    machine.kache(&["daemon", "start"]);
    machine.space.build("b");
    assert_eq!(machine.space.output_of("b/target/debug/app"), SAMPLE_OUTPUT);
    let waited = machine.lookups();
    assert!(waited < WAIT_MAX, "{waited:?}\n{}", machine.log());
    check_blobs(&machine);
    machine.space.build("b").assert_fresh("again");
    machine
}

fn check_blobs(machine: &Machine) {
    let blobs = disk::files(&machine.space.cache().join("blobs"));
    for blob in blobs.iter().filter(|blob| !blob.to_string_lossy().ends_with(".kache-tmp")) {
        let digest = blake3::hash(&fs::read(blob).unwrap()).to_string();
        let name = blob.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with(&digest), "{name} has the content of {digest}");
    }
}

fn survive_fault(fault: Fault) -> Machine {
    let stub = Stub::start(fault, origin().server.port);
    survive(stub.port)
}

fn hits(machine: &Machine) -> usize {
    machine.outcomes().iter().filter(|outcome| outcome.ends_with("_hit")).count()
}

#[test]
fn nobody_listens() {
    assert_eq!(hits(&survive(refused())), 0);
}

#[test]
fn a_black_hole() {
    assert_eq!(hits(&survive_fault(Fault::BlackHole)), 0);
}

#[test]
fn a_slow_trickle() {
    survive_fault(Fault::Trickle);
}

#[test]
fn a_reset_in_the_middle() {
    survive_fault(Fault::Reset(900));
}

#[test]
fn a_truncated_answer() {
    survive_fault(Fault::Truncate(900));
}

#[test]
fn a_corrupted_answer() {
    survive_fault(Fault::Corrupt(700));
}

#[test]
fn refusals_and_storms_of_errors() {
    for code in [403, 404, 429, 500, 503] {
        assert_eq!(hits(&survive_fault(Fault::Status(code))), 0, "{code}");
    }
}

#[test]
fn a_stub_that_does_nothing_wrong_changes_nothing() {
    let machine = survive_fault(Fault::None);
    assert_eq!(hits(&machine), SAMPLE_UNITS.len() + 1, "{}", machine.log());
}

/// A machine that has built `fresh`, and a stub in front of its server that refuses every request.
fn with_refused_upload() -> (Stub, Machine) {
    let stub = Stub::start(Fault::Status(503), origin().server.port);
    let machine = of_port(stub.port);
    machine.space.package("fresh", "", &[("src/lib.rs", "pub fn fresh() {}")]);
    machine.space.build("fresh");
    (stub, machine)
}

#[test]
fn what_could_not_be_uploaded_is_uploaded_by_a_later_daemon() {
    let (stub, machine) = with_refused_upload();
    let stopped = Instant::now();
    machine.kache(&["daemon", "stop"]);
    assert!(stopped.elapsed() < Duration::from_secs(80), "{:?}", stopped.elapsed());
    assert_eq!(machine.queued(), 1, "{}", machine.log());
    stub.set(Fault::None);
    machine.kache(&["daemon", "start"]);
    machine.kache(&["daemon", "stop"]);
    assert_eq!(machine.queued(), 0, "{}", machine.log());
    let second = of_port(origin().server.port).with_checkout_of(&machine, "fresh", "other");
    second.kache(&["daemon", "start"]);
    second.space.build("other").assert_compiled(&[], &second.log());
}

#[test]
fn a_daemon_that_stops_tries_at_once_what_failed_before() {
    let (stub, machine) = with_refused_upload();
    machine.kache(&["daemon", "stop"]);
    let before = machine.log().matches("look at results/").count();
    machine.kache(&["daemon", "start"]);
    machine.until(|| machine.log().matches("look at results/").count() > before);
    let failed = Instant::now();
    stub.set(Fault::None);
    machine.kache(&["daemon", "stop"]);
    assert_eq!(machine.queued(), 0, "{}", machine.log());
    // Told otherwise, it would have waited for longer.
    assert!(failed.elapsed() < Duration::from_secs(10), "{:?}", failed.elapsed());
}

#[test]
fn what_could_not_be_packed_is_uploaded_later() {
    let machine = of_port(origin().server.port);
    machine.space.package("fresh", "", &[("src/lib.rs", "pub fn packed() {}")]);
    let workshop = machine.space.write("cache/transfers", "as if the disk was full");
    machine.space.build("fresh");
    machine.kache(&["daemon", "stop"]);
    assert_eq!(machine.queued(), 1, "{}", machine.log());
    machine.space.remove(workshop);
    machine.kache(&["daemon", "start"]);
    machine.kache(&["daemon", "stop"]);
    assert_eq!(machine.queued(), 0, "{}", machine.log());
}

#[test]
fn a_daemon_that_hangs_costs_a_build_one_wait() {
    let machine = of_port(origin().server.port).with_checkout_of(&origin().machine, "here/a", "b");
    machine.kache(&["daemon", "start"]);
    let pid = machine.daemon().expect("a daemon runs");
    signal(pid, rustix::process::Signal::STOP);
    machine.space.build("b");
    let waited = machine.lookups();
    signal(pid, rustix::process::Signal::CONT);
    assert!(waited > Duration::from_secs(3), "the first call waits: {waited:?}");
    // Those that were called before the first one gave up wait as well; Cargo has a few at a time.
    assert!(waited < Duration::from_secs(3 * 4 + 2), "{waited:?}");
    assert!(machine.place().join("resting").exists());
}

#[test]
fn that_a_daemon_did_not_answer_is_not_held_against_the_next_one() {
    let mut machine = of_port(origin().server.port);
    machine.set("KACHE_PREFETCH_ENABLED", "false");
    machine.space.package("fresh", "", &[("src/lib.rs", "pub fn rested() {}")]);
    let resting = machine.space.write("cache/daemon/resting", "");
    let long_ago = SystemTime::now() - Duration::from_hours(1);
    fs::File::options().append(true).open(&resting).unwrap().set_modified(long_ago).unwrap();
    machine.space.build("fresh");
    assert!(!resting.exists(), "other calls leave the daemon alone that was started");
}

#[test]
fn a_daemon_that_is_killed_in_the_middle_fails_nothing() {
    let machine = of_port(origin().server.port).with_checkout_of(&origin().machine, "here/a", "b");
    machine.kache(&["daemon", "start"]);
    let pid = machine.daemon().expect("a daemon runs");
    let mut build = machine.space.cargo("b", ["build"]).command();
    let mut build = build.stderr(std::process::Stdio::piped()).spawn().unwrap();
    // Cargo says so before it starts the first unit.
    let mut first = [0; 12];
    std::io::Read::read_exact(build.stderr.as_mut().unwrap(), &mut first).unwrap();
    end(pid);
    assert!(build.wait_with_output().unwrap().status.success());
    assert_eq!(machine.space.output_of("b/target/debug/app"), SAMPLE_OUTPUT);
    check_blobs(&machine);
}

#[test]
fn a_clock_that_was_set_back_does_not_keep_builds_from_the_daemon() {
    let mut machine =
        of_port(origin().server.port).with_checkout_of(&origin().machine, "here/a", "b");
    // What is fetched ahead leaves nothing to ask for.
    machine.set("KACHE_PREFETCH_ENABLED", "false");
    machine.kache(&["daemon", "start"]);
    let resting = machine.place().join("resting");
    let later = std::time::SystemTime::now() + Duration::from_hours(24);
    fs::File::create(&resting).unwrap().set_modified(later).unwrap();
    fs::File::open(machine.place().join("lock")).unwrap().set_modified(later).unwrap();
    machine.space.build("b");
    // One call tries, while others may still be kept from it.
    assert!(hits(&machine) > 0, "{}", machine.log());
    assert!(!resting.exists(), "a call was answered");
}

#[test]
fn a_disk_that_is_full_fails_no_build() {
    let mut machine =
        of_port(origin().server.port).with_checkout_of(&origin().machine, "here/a", "b");
    // Its daemon lives on that disk, and cannot be reached from elsewhere.
    machine.set("KACHE_DAEMON_IDLE_TIMEOUT", "1");
    for size in ["1m", "7m"] {
        machine.space.remove("b/target");
        let place = machine.space.cache().display().to_string();
        fs::create_dir_all(&place).unwrap();
        let script = format!("mount -t tmpfs -o size={size} none '{place}' && exec \"$@\"");
        let launcher = ["unshare", "--map-root-user", "--mount", "sh", "-c", &script, "sh"];
        let build = machine.space.cargo("b", ["build"]);
        build.launched_by(launcher.map(str::to_owned)).succeed();
        assert_eq!(machine.space.output_of("b/target/debug/app"), SAMPLE_OUTPUT, "{size}");
        machine.space.build("b").assert_fresh(size);
    }
}

#[test]
fn a_peer_that_talks_nonsense_is_hung_up_on() {
    use std::io::{Read, Write};
    use store_format::message::{MESSAGE_MAGIC, MESSAGE_VERSION};
    let machine = of_port(refused());
    machine.kache(&["daemon", "start"]);
    let connect = || std::os::unix::net::UnixStream::connect(machine.place().join("sock")).unwrap();
    let of_length =
        |length: u32| [&MESSAGE_MAGIC[..], &[MESSAGE_VERSION], &length.to_le_bytes()].concat();
    let (huge, long) = (of_length(u32::MAX), of_length(1 << 20));
    for nonsense in [&b"GET / HTTP/1.1\r\n\r\n"[..], &huge, &long] {
        let mut stream = connect();
        stream.write_all(nonsense).unwrap();
        let mut answer = Vec::new();
        // Unread bytes make a reset of the end.
        drop(stream.read_to_end(&mut answer));
        assert_eq!(answer, b"", "{nonsense:?}");
    }
    assert!(machine.daemon().is_some(), "{}", machine.log());
}

fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}
