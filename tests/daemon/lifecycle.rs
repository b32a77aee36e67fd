//! How the daemon begins and ends, what it inherits, and what it costs while nothing happens.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use kache::config::{Config, RemoteKind};
use kache::queue::{Entry, Queue};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use store_format::message::{MESSAGE_MAGIC, MESSAGE_VERSION, Request};
use store_format::{ActionKey, Digest, UnitKey};

use crate::machine::{Machine, end};
use crate::support::{TestSpace, succeed};

fn machine() -> (TestSpace, Machine) {
    let remote = TestSpace::new();
    let machine = Machine::sharing(&remote.path("remote"));
    (remote, machine)
}

/// What waits for that directory.
fn queue(remote: &TestSpace, machine: &Machine) -> Queue {
    let mut config = Config { cache_dir: machine.space.cache(), ..Config::default() };
    config.remote.kind = RemoteKind::Filesystem;
    config.remote.path = Some(remote.path("remote"));
    Queue::of(&config)
}

#[test]
fn one_daemon_runs_however_many_are_started() {
    let (_remote, machine) = machine();
    let starts: Vec<_> = (0..12)
        .map(|_| machine.command(&["daemon", "start"]).stderr(Stdio::null()).spawn().unwrap())
        .collect();
    for mut start in starts {
        assert!(start.wait().unwrap().success());
    }
    let pid = machine.daemon().expect("a daemon runs");
    let second = machine.run(&["daemon", "run"]);
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(second.status.success() && told.contains("runs already"), "{told}");
    assert_eq!(machine.daemon(), Some(pid));
    assert_eq!(machine.log().matches(" at ").count(), 1, "{}", machine.log());
}

/// As one that has removed its socket and still uploads.
#[test]
fn a_daemon_waits_for_another_one_that_is_about_to_end() {
    let (_remote, machine) = machine();
    machine.kache(&["daemon", "start"]);
    machine.kache(&["daemon", "stop"]);
    // The one that was stopped may not have ended yet.
    let lock = kache::fs::lock(&machine.place().join("lock")).unwrap();
    let mut run = machine.command(&["daemon", "run"]).stderr(Stdio::null()).spawn().unwrap();
    for _ in 0..20 {
        assert_eq!(machine.daemon(), None);
        assert_eq!(run.try_wait().unwrap(), None, "it has given up");
    }
    drop(lock);
    while machine.daemon().is_none() {
        assert_eq!(run.try_wait().unwrap(), None, "{}", machine.log());
    }
    machine.kache(&["daemon", "stop"]);
    assert!(run.wait().unwrap().success());
}

#[test]
fn a_daemon_has_nothing_of_the_build_that_started_it() {
    let (remote, mut machine) = machine();
    machine.space.package("a", "", &[("src/lib.rs", "")]);
    machine.set("SECRET_OF_THE_BUILD", "x");
    machine.set("AWS_PROFILE", "shared");
    // The space's log is a descriptor that every process of a build inherits.
    machine.space.build("a");
    let pid = machine.daemon().expect("the build started a daemon");
    let process = format!("/proc/{pid}");
    let environment = fs::read(format!("{process}/environ")).unwrap();
    let mut names: Vec<_> = environment
        .split(|byte| *byte == 0)
        .filter_map(|variable| variable.split(|byte| *byte == b'=').next())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .filter(|name| !name.is_empty() && !name.starts_with("SSL_CERT_"))
        .filter(|name| !name.starts_with("MALLOC_"))
        .collect();
    names.sort();
    assert_eq!(names, ["AWS_PROFILE", "HOME", "KACHE_CACHE_DIR", "KACHE_CONFIG"]);
    assert_eq!(fs::read_link(format!("{process}/cwd")).unwrap().to_str(), Some("/"));
    let own = machine.space.cache().display().to_string();
    // It may be uploading.
    let remote = remote.path("remote").display().to_string();
    for entry in fs::read_dir(format!("{process}/fd")).unwrap() {
        let Ok(target) = fs::read_link(entry.unwrap().path()) else { continue };
        let target = target.display().to_string();
        let known = ["/dev/null", "socket:", "anon_inode:", &own, &remote];
        assert!(known.iter().any(|start| target.starts_with(start)), "{target}");
    }
    let stat = fs::read_to_string(format!("{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let (group, session) = (fields[2], fields[3]);
    assert_eq!([group, session], [pid.to_string(), pid.to_string()]);
}

#[test]
fn a_killed_daemon_leaves_nothing_that_keeps_the_next_one_from_running() {
    let (_remote, machine) = machine();
    machine.kache(&["daemon", "start"]);
    let first = machine.daemon().expect("a daemon runs");
    end(first);
    assert!(machine.place().join("sock").exists(), "the socket is stale");
    let status = machine.run(&["daemon", "status"]);
    assert_eq!(status.status.code(), Some(1));
    machine.kache(&["daemon", "start"]);
    assert!(machine.daemon().is_some_and(|second| second != first));
}

#[test]
fn only_the_owner_may_enter_where_the_socket_is() {
    let (_remote, machine) = machine();
    fs::create_dir_all(machine.place()).unwrap();
    fs::set_permissions(machine.place(), fs::Permissions::from_mode(0o755)).unwrap();
    machine.kache(&["daemon", "start"]);
    assert_eq!(fs::metadata(machine.place()).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn a_cache_far_down_has_a_socket_all_the_same() {
    let (_remote, mut machine) = machine();
    let deep = machine.space.path("deep/".repeat(30)).join("cache");
    machine.set("KACHE_CACHE_DIR", &deep.display().to_string());
    machine.kache(&["daemon", "start"]);
    assert!(machine.daemon().is_some());
    machine.kache(&["daemon", "stop"]);
}

#[test]
fn a_daemon_that_nobody_asks_ends_by_itself() {
    let (_remote, mut machine) = machine();
    machine.set("KACHE_DAEMON_IDLE_TIMEOUT", "1");
    let mut daemon = machine.command(&["daemon", "run"]).stderr(Stdio::null()).spawn().unwrap();
    assert!(daemon.wait().unwrap().success());
    assert!(machine.log().contains("ends: Idle"), "{}", machine.log());
}

#[test]
fn a_daemon_of_another_configuration_makes_way() {
    let (remote, machine) = machine();
    machine.space.package("a", "", &[("src/lib.rs", "")]);
    machine.kache(&["daemon", "start"]);
    let first = machine.daemon().expect("a daemon runs");
    let config = machine.space.read("home/.config/kache/config.toml");
    let other = config.replace("/remote\"", "/other\"");
    assert_ne!(config, other);
    machine.space.write("home/.config/kache/config.toml", other);
    machine.space.build("a");
    assert_ne!(machine.daemon(), Some(first), "{}", machine.log());
    assert!(machine.log().contains("ends: Replaced"), "{}", machine.log());
    // Started just now, it may be younger than the pause between starts allows for another.
    machine.run(&["daemon", "start"]);
    machine.kache(&["daemon", "stop"]);
    assert!(remote.path("other").exists(), "what was queued is in the new place");
    assert!(!remote.path("remote").exists());
}

/// Projects with remotes of their own share a store.
#[test]
fn what_waits_for_one_remote_is_never_uploaded_to_another() {
    let (remote, machine) = machine();
    machine.space.package("a", "", &[("src/lib.rs", "pub fn a() {}")]);
    machine.space.package("b", "", &[("src/lib.rs", "pub fn b() {}")]);
    // It cannot be written to.
    remote.write("remote", "no directory");
    machine.space.build("a");
    machine.kache(&["daemon", "stop"]);
    assert_eq!(machine.queued(), 1, "{}", machine.log());
    let config = machine.space.read("home/.config/kache/config.toml");
    let other = config.replace("/remote\"", "/other\"");
    machine.space.write("home/.config/kache/config.toml", other);
    machine.space.build("b");
    machine.kache(&["daemon", "start"]);
    machine.kache(&["daemon", "stop"]);
    machine.kache(&[
        "sync",
        "--push",
        "--manifest-path",
        &machine.space.path("b").display().to_string(),
    ]);
    assert_eq!(machine.queued(), 1, "{}", machine.log());
    assert_eq!(fs::read_dir(remote.path("other/artifacts/v1/results")).unwrap().count(), 1);
    remote.remove("remote");
    machine.space.write("home/.config/kache/config.toml", config);
    machine.kache(&["daemon", "start"]);
    machine.kache(&["daemon", "stop"]);
    assert_eq!(machine.queued(), 0, "{}", machine.log());
    assert_eq!(fs::read_dir(remote.path("remote/artifacts/v1/results")).unwrap().count(), 1);
}

/// The machine may end after it.
#[test]
fn a_stop_has_what_waits_uploaded_where_no_daemon_runs() {
    let (remote, machine) = machine();
    machine.space.package("a", "", &[("src/lib.rs", "")]);
    // It cannot be written to.
    remote.write("remote", "no directory");
    machine.space.build("a");
    machine.kache(&["daemon", "stop"]);
    assert_eq!((machine.daemon(), machine.queued()), (None, 1), "{}", machine.log());
    remote.remove("remote");
    machine.kache(&["daemon", "stop"]);
    assert_eq!((machine.daemon(), machine.queued()), (None, 0), "{}", machine.log());
}

/// It used to refuse all builds from then on, and went on running.
#[test]
fn a_daemon_ends_when_who_asked_for_that_has_gone() {
    let (_remote, machine) = machine();
    machine.kache(&["daemon", "start"]);
    let pid = machine.daemon().expect("a daemon runs");
    let ended = kache::process::end_of(pid).expect("it runs");
    let mut stream = UnixStream::connect(machine.place().join("sock")).unwrap();
    stream.write_all(&Request::Stop.encode()).unwrap();
    drop(stream);
    let timeout = Timespec { tv_sec: 60, tv_nsec: 0 };
    assert_eq!(poll(&mut [PollFd::new(&ended, PollFlags::IN)], Some(&timeout)), Ok(1));
}

#[test]
fn a_daemon_whose_executable_was_replaced_makes_way() {
    let (_remote, machine) = machine();
    let copy = machine.space.path("bin/kache");
    fs::create_dir_all(copy.parent().unwrap()).unwrap();
    // Not by this process, whose other children might have the file open for writing meanwhile.
    let newer = machine.space.path("bin/newer");
    let replace = || {
        succeed(Command::new("cp").arg(crate::support::toolchain::kache()).arg(&newer));
        fs::rename(&newer, &copy).unwrap();
    };
    replace();
    let daemon = |argument| {
        let mut command = Command::new(&copy);
        let like = machine.command(&["daemon", argument]);
        command.args(["daemon", argument]).env_clear();
        command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.output().unwrap()
    };
    let mut pid = None;
    // Whatever the first call is, it finds it out, and is closed without an answer by the old daemon.
    for argument in ["start", "start", "restart", "status", "start", "stop"] {
        replace();
        let output = daemon(argument);
        let error = String::from_utf8_lossy(&output.stderr);
        let runs = argument.ends_with("start");
        assert_eq!(output.status.success(), argument != "status", "{argument}: {error}");
        let now = machine.daemon();
        assert_eq!(now.is_some(), runs, "{argument}: {error}");
        assert!(!runs || now != pid, "{argument}: {}", machine.log());
        pid = now;
    }
}

/// As that of an older release does: its path is another one where each release has a directory.
#[test]
fn a_daemon_that_speaks_another_version_makes_way() {
    let (_remote, machine) = machine();
    machine.kache(&["daemon", "start"]);
    let pid = machine.daemon().expect("a daemon runs");
    let ended = kache::process::end_of(pid).expect("it runs");
    let socket = machine.place().join("sock");
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(&[&MESSAGE_MAGIC[..], &[MESSAGE_VERSION + 1], &[0; 4]].concat()).unwrap();
    let timeout = Timespec { tv_sec: 60, tv_nsec: 0 };
    assert_eq!(poll(&mut [PollFd::new(&ended, PollFlags::IN)], Some(&timeout)), Ok(1));
    assert!(machine.log().contains("ends: Replaced"), "{}", machine.log());
}

#[test]
fn a_build_right_after_a_daemon_was_stopped_starts_another_one() {
    let (_remote, machine) = machine();
    machine.space.package("a", "", &[("src/lib.rs", "pub fn f() {}")]);
    for _ in 0..2 {
        machine.space.remove("a/target");
        machine.space.build("a");
        assert!(machine.daemon().is_some(), "{}", machine.log());
        machine.kache(&["daemon", "stop"]);
    }
}

#[test]
fn at_rest_a_daemon_takes_little_memory_and_never_wakes_up() {
    let (_remote, machine) = machine();
    machine.space.package("a", "", &[("src/lib.rs", "pub fn f() {}")]);
    machine.space.build("a");
    machine.kache(&["daemon", "stop"]);
    machine.kache(&["daemon", "start"]);
    let pid = machine.daemon().expect("a daemon runs");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let kibibytes = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    // Most is the executable's, which is several times as large without optimization.
    let resident_max = if cfg!(debug_assertions) { 30 } else { 15 };
    assert!(kibibytes("VmRSS:") < resident_max * 1024, "{status}");
    assert!(kibibytes("RssAnon:") < 4 * 1024, "{status}");
    let trace = machine.space.path("trace").display().to_string();
    let traced = Command::new("timeout")
        .args(["3", "strace", "-f", "-o", &trace, "-p", &pid.to_string()])
        .output()
        .unwrap();
    assert_eq!(traced.status.code(), Some(124), "strace ran until it was stopped");
    // Each thread is in a call that it was in before, and makes no other.
    let trace = machine.space.read("trace");
    assert!(trace.lines().count() >= 2, "several threads wait:\n{trace}");
    assert!(trace.lines().all(|line| line.ends_with(" ...>")), "{trace}");
}

#[test]
fn after_its_work_a_daemon_gives_memory_back() {
    let (_remote, machine) = machine();
    machine.space.sample("a");
    machine.space.build("a");
    let pid = machine.daemon().expect("a daemon runs");
    machine.until(|| machine.queued() == 0);
    let kibibytes = || -> u64 {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let own = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a line");
        own.trim().trim_end_matches(" kB").parse().unwrap()
    };
    // The list of the build is still written, and threads that have nothing to do any more go.
    machine.until(|| kibibytes() < 5 * 1024);
}

#[test]
fn commands_show_the_daemon_and_what_waits_for_it() {
    let (remote, machine) = machine();
    let nothing = Entry { unit: UnitKey(Digest([1; 32])), action: ActionKey(Digest([2; 32])) };
    queue(&remote, &machine).add(nothing).unwrap();
    let told = |arguments: &[&str]| String::from_utf8(machine.run(arguments).stdout).unwrap();
    let doctor = told(&["doctor"]);
    assert!(doctor.contains("1 result waiting to be uploaded"), "{doctor}");
    assert!(told(&["stats"]).contains("not running"));
    let stats = |key: &str| {
        let stats: serde_json::Value = serde_json::from_str(&told(&["stats", "--json"])).unwrap();
        stats["daemon"][key].clone()
    };
    assert_eq!((stats("running"), stats("uploads_queued")), (false.into(), 1.into()));
    machine.kache(&["daemon", "start"]);
    let pid = machine.daemon().expect("a daemon runs");
    assert_eq!(stats("pid"), pid);
    assert!(told(&["doctor"]).contains(&format!("daemon: process {pid}")));
    // Its result is nowhere: the daemon lets go of it.
    machine.kache(&["daemon", "stop"]);
    assert_eq!(machine.queued(), 0, "{}", machine.log());
    assert!(told(&["daemon", "log"]).contains("is not in the store"));
}

#[test]
fn ten_thousand_queued_uploads_take_little_memory() {
    let (remote, machine) = machine();
    machine.space.package("a", "", &[("src/lib.rs", "pub fn f() {}")]);
    machine.space.build("a");
    machine.kache(&["daemon", "stop"]);
    let queue = queue(&remote, &machine);
    let action = ActionKey(Digest::from_hex(&machine.stored_action()).expect("a key"));
    for number in 0..10_000_u32 {
        let mut unit = [0; 32];
        unit[..4].copy_from_slice(&number.to_le_bytes());
        queue.add(Entry { unit: UnitKey(Digest(unit)), action }).unwrap();
    }
    machine.kache(&["daemon", "start"]);
    let pid = machine.daemon().expect("a daemon runs");
    let mut stop = machine.command(&["daemon", "stop"]).stderr(Stdio::null()).spawn().unwrap();
    let mut peak_kibibytes = 0;
    while stop.try_wait().unwrap().is_none() {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak_kibibytes = peak.unwrap_or(peak_kibibytes);
    }
    assert_eq!(machine.queued(), 0, "{}", machine.log());
    assert!((1..100 * 1024).contains(&peak_kibibytes), "{peak_kibibytes} KiB");
}
