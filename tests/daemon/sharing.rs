//! What one machine builds, another one restores.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Child, Stdio};

use crate::faults::of_port;
use crate::machine::Machine;
use crate::server::Server;
use crate::stub::{Fault, Stub};
use crate::support::sample::{SAMPLE_OUTPUT, SAMPLE_UNITS};
use crate::support::{TestSpace, disk};

/// A directory that both machines reach, and one that has built the sample and uploaded it.
fn shared() -> (TestSpace, Machine) {
    let remote = TestSpace::new();
    let first = Machine::sharing(&remote.path("remote"));
    first.space.sample("here/a");
    first.build_and_share("here/a").assert_compiled(&SAMPLE_UNITS, "the first machine");
    (remote, first)
}

#[test]
fn what_one_machine_compiles_another_restores_by_demand() {
    let (remote, first) = shared();
    let mut second =
        Machine::sharing(&remote.path("remote")).with_checkout_of(&first, "here/a", "there/is/b");
    second.set("KACHE_PREFETCH_ENABLED", "false");
    second.kache(&["daemon", "start"]);
    let build = second.space.build("there/is/b");
    build.assert_compiled(&[], &second.log());
    assert_eq!(second.space.output_of("there/is/b/target/debug/app"), SAMPLE_OUTPUT);
    second.kache(&["daemon", "stop"]);
    let outcomes = second.outcomes();
    // Every compilation and the run of the build script.
    assert_eq!(outcomes.len(), SAMPLE_UNITS.len() + 1, "{outcomes:?}");
    assert!(outcomes.iter().all(|outcome| outcome.ends_with(" remote_hit")), "{outcomes:?}");
    second.space.build("there/is/b").assert_fresh("again");
    // What was fetched is found without the remote from now on.
    second.space.remove("there/is/b/target");
    second.set("KACHE_LOCAL_ONLY", "1");
    second.space.build("there/is/b").assert_compiled(&[], "by what the store has");
}

/// The first checkout used to get copies of what the store had just for it.
#[test]
fn what_was_fetched_takes_no_second_place_and_a_change_of_it_stays_where_it_is() {
    let (remote, first) = shared();
    let mut second = Machine::sharing(&remote.path("remote"))
        .with_checkout_of(&first, "here/a", "b")
        .with_checkout_of(&first, "here/a", "c");
    second.kache(&["daemon", "start"]);
    second.space.build("b").assert_compiled(&[], &second.log());
    second.kache(&["daemon", "stop"]);
    second.set("KACHE_LOCAL_ONLY", "1");
    let shares = |target: &str| {
        let blobs = disk::files(&second.space.cache().join("blobs"));
        let blobs: BTreeSet<_> = blobs.iter().map(|path| disk::inode(path)).collect();
        let metadata = disk::files_with(&second.space.path(target), &["rmeta"]);
        let own = metadata.iter().filter(|path| !blobs.contains(&disk::inode(path))).count();
        let app = second.space.path(target).join("debug/app");
        (metadata.len() - own, own, blobs.contains(&disk::inode(&app)))
    };
    let (lent, own, app) = shares("b/target");
    let linked = !cfg!(target_vendor = "apple");
    assert!(lent + own > 0 && (own == 0) == linked && app == linked, "{lent} {own} {app}");
    second.space.build("c").assert_compiled(&[], "by what the store has");
    let (lent, _, app) = shares("c/target");
    assert_eq!((lent, app), (0, false), "two checkouts share no file that either may change");
    second.space.build("b").assert_fresh("the first one");
    second.space.build("c").assert_fresh("the second one");
    // In place, as `strip` does.
    let app = second.space.path("b/target/debug/app");
    let mut app = std::fs::OpenOptions::new().append(true).open(app).unwrap();
    app.write_all(b"changed").unwrap();
    second.space.remove("c/target");
    second.space.build("c");
    assert_eq!(second.space.output_of("c/target/debug/app"), SAMPLE_OUTPUT);
    let app = std::fs::read(second.space.path("c/target/debug/app")).unwrap();
    assert!(!app.ends_with(b"changed"));
}

#[test]
fn what_one_machine_compiles_another_has_before_it_asks() {
    let (remote, first) = shared();
    let mut second =
        Machine::sharing(&remote.path("remote")).with_checkout_of(&first, "here/a", "b");
    second.kache(&["daemon", "start"]);
    let build = second.space.build("b");
    build.assert_compiled(&[], &second.log());
    assert_eq!(second.space.output_of("b/target/debug/app"), SAMPLE_OUTPUT);
    let outcomes = second.outcomes();
    assert_eq!(outcomes.len(), SAMPLE_UNITS.len() + 1, "{outcomes:?}");
    // Which is in time, and which is waited for, is up to both.
    let from_remote =
        |outcome: &String| outcome.ends_with(" remote_hit") || outcome.ends_with(" prefetch_hit");
    assert!(outcomes.iter().all(from_remote), "{outcomes:?}");
    second.space.remove("b/target");
    second.set("KACHE_LOCAL_ONLY", "1");
    second.space.build("b").assert_compiled(&[], "by what the store has");
    let log = second.log();
    assert!(log.contains("a build is expected to need 8 results"), "{log}");
}

#[test]
fn through_a_bucket_a_unit_takes_one_request() {
    let space = TestSpace::new();
    let server = Server::start(space.path("server"));
    let first = of_port(server.port);
    first.space.sample("here/a");
    first.build_and_share("here/a");
    server.take_requests();
    let second = of_port(server.port).with_checkout_of(&first, "here/a", "b");
    second.kache(&["daemon", "start"]);
    second.space.build("b").assert_compiled(&[], &second.log());
    let requests = server.take_requests();
    let results = requests.iter().filter(|request| request.contains("/results/")).count();
    assert_eq!(results, SAMPLE_UNITS.len() + 1, "{requests:#?}");
    let lists = requests.iter().filter(|request| request.contains("/builds/")).count();
    // The end of the build may look at the list once more.
    assert!(requests.len() == results + lists && lists <= 2, "{requests:#?}");
    second.kache(&["daemon", "stop"]);
    server.take_requests();
    let sync = second.command(&["sync", "--push"]).current_dir(second.space.path("b")).output();
    let sync = String::from_utf8(sync.unwrap().stdout).unwrap();
    assert!(sync.starts_with("Pushed 0 results: "), "the daemon's list names all of it: {sync}");
    let requests = server.take_requests();
    assert!(!requests.iter().any(|request| request.contains("/results/")), "{requests:#?}");
}

/// A wrapper that waits for the network used to keep its place among the processes that Cargo runs at a
/// time: of two results that come only if both are asked for, the first was given up.
#[test]
fn who_waits_for_the_network_makes_room_for_another_call() {
    let space = TestSpace::new();
    let server = Server::start(space.path("server"));
    let first = of_port(server.port);
    first.space.write("a/Cargo.toml", "[workspace]\nmembers = [\"left\", \"right\"]\n");
    for name in ["left", "right"] {
        let manifest = format!("[package]\nname = \"{name}\"\nedition = \"2021\"\n");
        first.space.write(format!("a/{name}/Cargo.toml"), manifest);
        first.space.write(format!("a/{name}/src/lib.rs"), format!("pub fn {name}() {{}}\n"));
    }
    first.build_and_share("a");
    let stub = Stub::start(Fault::Together(2), server.port);
    let mut second = of_port(stub.port).with_checkout_of(&first, "a", "b");
    second.set("KACHE_PREFETCH_ENABLED", "false");
    second.set("CARGO_BUILD_JOBS", "1");
    second.kache(&["daemon", "start"]);
    second.space.build("b").assert_compiled(&[], &second.log());
}

#[test]
fn who_may_only_read_writes_nothing_and_who_is_local_says_nothing() {
    let space = TestSpace::new();
    let server = Server::start(space.path("server"));
    for (variable, requests_max) in [("KACHE_REMOTE_READONLY", 100), ("KACHE_LOCAL_ONLY", 0)] {
        let mut machine = of_port(server.port);
        machine.set(variable, "1");
        machine.space.package("a", "", &[("src/lib.rs", "pub fn f() {}")]);
        machine.space.build("a");
        machine.run(&["daemon", "stop"]);
        let requests = server.take_requests();
        assert!(requests.len() <= requests_max, "{variable}: {requests:?}");
        assert!(requests.iter().all(|request| request.starts_with("GET ")), "{requests:?}");
        assert!(!machine.space.cache().join("uploads").exists(), "{variable}");
        assert_eq!(machine.place().exists(), requests_max > 0, "{variable}");
    }
    assert_eq!(disk::files(&server.objects), [] as [std::path::PathBuf; 0]);
}

#[test]
fn a_machine_without_a_daemon_gets_one_and_no_build_fails() {
    let (remote, first) = shared();
    let mut second =
        Machine::sharing(&remote.path("remote")).with_checkout_of(&first, "here/a", "b");
    // What is compiled before the daemon is there, and what is fetched after that, may get mixed.
    second.set("CARGO_INCREMENTAL", "0");
    assert_eq!(second.daemon(), None);
    let build = second.space.build("b");
    assert_eq!(second.space.output_of("b/target/debug/app"), SAMPLE_OUTPUT);
    assert!(second.daemon().is_some(), "{}", build.text());
    // What it began to fetch is here, or is fetched for the next one.
    second.space.remove("b/target");
    second.space.build("b").assert_compiled(&[], &second.log());
}

/// Begins a build that goes no further than Cargo's first question, and ends once it is waited for, which
/// closes its input. All of the sample has been fetched for it by then.
fn begin_build(machine: &Machine, checkout: &str) -> Child {
    let rustc = machine.space.toolchain().rustc.display().to_string();
    let probe = machine.space.cargo(checkout, [&rustc, "-vV"]).by_kache();
    let cargo = ["sh", "-c", "\"$0\" \"$@\"; read line"].map(str::to_owned);
    let mut cargo = probe.launched_by(cargo).command();
    let cargo = cargo.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    // It may not listen yet.
    let status = || String::from_utf8(machine.run(&["daemon", "status"]).stdout).unwrap();
    machine.until(|| status().contains(" 8 ahead of demand"));
    cargo
}

fn assert_prefetched_with_another_lockfile(remote: &TestSpace, first: &Machine) {
    let second = Machine::sharing(&remote.path("remote")).with_checkout_of(first, "here/a", "b");
    let lockfile = second.space.read("b/Cargo.lock");
    second.space.write("b/Cargo.lock", format!("{lockfile}\n# another one\n"));
    let mut cargo = begin_build(&second, "b");
    cargo.wait().unwrap();
}

/// Another version of one dependency used to leave a machine without any list.
#[test]
fn a_build_with_another_lockfile_is_prefetched_from_the_last_one_of_the_project() {
    let (remote, first) = shared();
    assert_prefetched_with_another_lockfile(&remote, &first);
}

#[test]
fn a_build_from_elsewhere_is_known_by_the_lockfile_of_its_manifest() {
    let remote = TestSpace::new();
    let first = Machine::sharing(&remote.path("remote"));
    first.space.package("p", "", &[("src/main.rs", "fn main() {}")]);
    let package = first.space.path("p");
    let manifest = format!("--manifest-path={}/Cargo.toml", package.display());
    first.space.cargo("home", ["build", &manifest]).succeed();
    first.kache(&["daemon", "stop"]);
    let second = Machine::sharing(&remote.path("remote")).with_checkout_of(&first, "p", "b");
    second.kache(&["daemon", "start"]);
    second.space.build("b").assert_compiled(&[], &second.log());
    assert!(second.log().contains("expected to need 1 results"), "{}", second.log());
}

#[test]
fn a_build_with_another_lockfile_is_prefetched_from_what_was_said_of_the_whole_workspace() {
    let (remote, first) = shared();
    let lists = "remote/artifacts/v1/builds";
    assert!(remote.path(lists).exists());
    remote.remove(lists);
    first.space.cargo("here/a", ["save-manifest"]).by_kache().succeed();
    assert_prefetched_with_another_lockfile(&remote, &first);
}

/// To look at the store used to take a processor, and the disk, in the middle of the build that had filled it.
#[test]
fn the_store_is_looked_at_when_the_build_has_ended() {
    let (remote, first) = shared();
    let mut second =
        Machine::sharing(&remote.path("remote")).with_checkout_of(&first, "here/a", "b");
    let blobs = disk::files(&first.space.cache().join("blobs"));
    let sizes = blobs.iter().map(|blob| blob.metadata().unwrap().len());
    // Of so small a cap any program is more than a hundredth: a look is certainly due. What two results
    // share may be counted twice, and is not to exceed the cap.
    second.set("KACHE_MAX_SIZE", &(4 * sizes.sum::<u64>()).to_string());
    let mut cargo = begin_build(&second, "b");
    let looked = || second.space.cache().join("upkeep.lock").exists();
    assert!(!looked(), "{}", second.log());
    cargo.wait().unwrap();
    second.until(looked);
}

/// The first words of a build used to be lost on the daemon that they had started.
#[test]
fn the_build_that_starts_a_daemon_is_prefetched_from_its_first_word() {
    let (remote, first) = shared();
    let second = Machine::sharing(&remote.path("remote")).with_checkout_of(&first, "here/a", "b");
    let mut cargo = begin_build(&second, "b");
    cargo.wait().unwrap();
    assert!(!second.place().join("word").exists());
}

#[test]
fn prefetch_keeps_to_its_budget_and_the_rest_comes_by_demand() {
    let (remote, first) = shared();
    for (variable, value) in [("PREFETCH_MAX_BYTES", "1"), ("PREFETCH_DEADLINE_SECS", "0")] {
        let mut second =
            Machine::sharing(&remote.path("remote")).with_checkout_of(&first, "here/a", "b");
        second.set(&format!("KACHE_{variable}"), value);
        second.kache(&["daemon", "start"]);
        second.space.build("b").assert_compiled(&[], &second.log());
        let status = second.kache(&["daemon", "status"]);
        assert!(status.contains(" 0 ahead of demand"), "{variable}: {status}");
    }
}

#[test]
fn a_hit_in_the_store_does_not_speak_to_the_daemon() {
    let (_remote, first) = shared();
    first.space.remove("here/a/target");
    // One that the build starts would be traced as well.
    first.kache(&["daemon", "start"]);
    let trace = first.space.path("trace").display().to_string();
    let build = first.space.cargo("here/a", ["build"]);
    let filter = "trace=connect,execve";
    let build = build.launched_by(["strace", "-f", "-e", filter, "-o", &trace]).succeed();
    build.assert_compiled(&[], "everything is in the store");
    let trace = first.space.read("trace");
    // "PID call(arguments) = result": the processes of a kind of calls.
    let processes = |said: &str| {
        let lines = trace.lines().filter(|line| line.contains(said));
        lines.map(|line| line.split(' ').next().unwrap_or_default()).collect::<BTreeSet<_>>()
    };
    let probes = processes("\"-vV\"]");
    let speakers = processes(&first.place().display().to_string());
    assert!(!speakers.is_empty(), "the probe of the compiler names the build:\n{trace}");
    assert!(speakers.is_subset(&probes), "{speakers:?} of {probes:?}\n{trace}");
}
