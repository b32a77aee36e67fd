//! Two users of one cache directory, each with a checkout and a home of their own.
//!
//! These tests need root, which becomes either user, and a place that every user may enter. Without
//! them they say that they are skipped.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::toolchain::{Toolchain, kache, sysroot};
use crate::support::{Build, Cargo, TestSpace, succeed};

/// Users and their group, which no account needs to have.
const USERS: [u32; 2] = [64_001, 64_002];
const GROUP: u32 = 64_000;
const OUTPUT: &str = "41 100000\n";

/// Becomes a user, in whose view of the file system the toolchain is in the space: that of the tests
/// may be in root's home.
const AS_USER: &str = "mount --bind \"$0\" \"$1\" && umask \"$2\" && user=\"$3\" && shift 3 && \
    exec setpriv --reuid=\"$user\" --regid=\"$user\" --groups=\"$user,64000\" \
    --inh-caps=-all --bounding-set=-all \"$@\"";

/// A cache directory that belongs to the first user and to the group, and a checkout for each user.
struct Shared {
    space: TestSpace,
    umask: &'static str,
}

impl Shared {
    fn new(mode: &str, umask: &'static str) -> Option<Self> {
        let mut space = TestSpace::new();
        if !can_run(&space) {
            return None;
        }
        let toolchain = space.path("toolchain");
        std::fs::create_dir_all(&toolchain).expect("a place for the toolchain");
        let witnessed = Toolchain::witnessed(space.path("").as_path(), "witness", &toolchain);
        space.use_toolchain(witnessed);
        space.write("cache/.keep", "");
        for user in USERS {
            space.package(
                "p",
                "[dependencies]\nl = { path = \"l\" }\n",
                &[
                    (
                        "build.rs",
                        "fn main() { let out = std::env::var(\"OUT_DIR\").unwrap();\n\
                         std::fs::write(format!(\"{out}/x\"), [0; 100_000]).unwrap();\n\
                         println!(\"cargo::rustc-env=LENGTH=100000\"); }\n",
                    ),
                    (
                        "src/main.rs",
                        "fn main() { println!(\"{} {}\", l::l(), env!(\"LENGTH\")); }\n",
                    ),
                ],
            );
            space.package("p/l", "", &[("src/lib.rs", "pub fn l() -> u32 { 41 }\n")]);
            space.copy_tree("p", format!("{user}/p"));
            space.write(format!("{user}/.cargo/config.toml"), "");
            let owner = format!("{user}:{user}");
            succeed(Command::new("chown").arg("-R").arg(owner).arg(space.path(user.to_string())));
        }
        let owner = format!("{}:{GROUP}", USERS[0]);
        succeed(Command::new("chown").arg("-R").arg(owner).arg(space.cache()));
        succeed(Command::new("chmod").arg(mode).arg(space.cache()));
        Some(Self { space, umask })
    }

    fn run_as<'a>(&'a self, user: u32, arguments: &[&str]) -> Cargo<'a> {
        let run = self.space.cargo(&format!("{user}/p"), arguments);
        let (user, home) = (user.to_string(), self.space.path(user.to_string()));
        let run = run.variable("HOME", &home).variable("CARGO_HOME", home.join(".cargo"));
        let launcher = ["unshare", "--mount", "sh", "-c", AS_USER].map(Into::into);
        let places = [sysroot().into(), self.space.path("toolchain").into_os_string()];
        let rest = [self.umask.into(), user.into()];
        run.launched_by(launcher.into_iter().chain(places).chain(rest))
    }

    /// A build of a user in an empty target directory; it makes the right program, and is fresh.
    #[track_caller]
    fn build_as(&self, user: u32) -> Build {
        self.space.remove(format!("{user}/p/target"));
        let build = self.run_as(user, &["build"]).succeed();
        assert_eq!(self.space.output_of(&format!("{user}/p/target/debug/p")), OUTPUT);
        self.run_as(user, &["build"]).succeed().assert_fresh("after a build");
        build
    }
}

fn can_run(space: &TestSpace) -> bool {
    let mut missing: Vec<&str> = Vec::new();
    if !rustix::process::geteuid().is_root() {
        missing.push("root");
    }
    let enters = |path: &Path| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=64001", "--regid=64001", "--clear-groups", "test", "-r"]).arg(path);
        command.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    if missing.is_empty() && !(enters(&space.path("home")) && enters(kache())) {
        missing.push("a place that every user may enter");
    }
    let mut namespace = Command::new("unshare");
    let namespace = namespace.args(["--mount", "true"]).stderr(Stdio::null()).status();
    if !namespace.is_ok_and(|status| status.success()) {
        missing.push("mount namespaces");
    }
    if missing.is_empty() {
        return true;
    }
    let line = format!("tests/faults/users.rs: skipped, not there: {missing:?}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("a line can be written");
    false
}

/// The event log was its first user's alone: the other's builds left no trace, and their `stats` failed.
#[test]
fn users_who_share_a_group_share_results_and_see_both_their_builds() {
    for (mode, umask) in [("2775", "002"), ("2770", "002")] {
        let Some(shared) = Shared::new(mode, umask) else { return };
        assert!(shared.build_as(USERS[0]).compiled.contains(&"p(bin)".to_owned()));
        for user in [USERS[1], USERS[0]] {
            shared.build_as(user).assert_compiled(&[], "what the other has built");
        }
        for user in USERS {
            let report = shared.run_as(user, &["report", "--format", "json"]).by_kache().succeed();
            let report: serde_json::Value =
                serde_json::from_slice(&report.stdout).expect("the report is JSON");
            // Library, program, script and its run, by the second user and again by the first.
            assert_eq!(report["summary"]["local_hits"], 8, "{report:#}");
            let doctor = shared.run_as(user, &["doctor"]).by_kache().run();
            assert!(!doctor.text().contains("Permission denied"), "{}", doctor.text());
            shared.run_as(user, &["gc"]).by_kache().succeed();
        }
    }
}

/// The doctor said to purge the store, which is another user's and in order.
#[test]
fn a_user_who_may_not_write_the_store_builds_without_it_and_is_told_why() {
    for (mode, umask) in [("2775", "022"), ("755", "022"), ("700", "077")] {
        let Some(shared) = Shared::new(mode, umask) else { return };
        let first = shared.build_as(USERS[0]);
        let cold = first.compiled_sorted();
        for what in ["once", "again"] {
            shared.build_as(USERS[1]).assert_compiled(&cold, what);
        }
        shared.build_as(USERS[0]).assert_compiled(&[], "the owner's own");
        let doctor = shared.run_as(USERS[1], &["doctor"]).by_kache().run();
        let text = doctor.text();
        assert!(!doctor.status.success(), "{text}");
        assert!(text.contains("Permission denied"), "{text}");
        assert!(text.contains("chmod -R g+rwX") && !text.contains("purge"), "{text}");
    }
}

/// A call of kache by a user whom no database knows, without any variables but these.
fn called_by_stranger(arguments: &[&str], variables: &[(&str, &Path)]) -> std::process::Output {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=64001", "--regid=64001", "--clear-groups", "--inh-caps=-all"]);
    command.arg(kache()).args(arguments).env_clear().envs(variables.iter().copied());
    command.current_dir("/").output().expect("it can be started")
}

/// As in a container that is run with a number for a user. The C library would look for one in libraries, which
/// a static executable cannot load: it crashed.
#[test]
fn a_user_whom_no_database_knows_needs_no_home() {
    let space = TestSpace::new();
    if !can_run(&space) {
        return;
    }
    let store = space.cache();
    let output =
        called_by_stranger(&["config", "get", "local_max_size"], &[("KACHE_CACHE_DIR", &store)]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"50000000000\n", "{output:?}");
}

/// It was taken for one that is not there.
#[test]
fn a_configuration_file_that_its_user_may_not_read_is_named() {
    let space = TestSpace::new();
    if !can_run(&space) {
        return;
    }
    let file = space.write("theirs/kache/config.toml", "[cache]\nlocal_max_size = \"1GB\"\n");
    succeed(Command::new("chmod").arg("600").arg(&file));
    let (store, place) = (space.cache(), space.path("theirs"));
    let variables = [("KACHE_CACHE_DIR", store.as_path()), ("XDG_CONFIG_HOME", &place)];
    let output = called_by_stranger(&["config", "get", "local_max_size"], &variables);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("cannot be read"), "{output:?}");
    // Nothing is there for who may not even look.
    succeed(Command::new("chmod").arg("700").arg(&place));
    let output = called_by_stranger(&["config", "get", "local_max_size"], &variables);
    assert!(output.status.success(), "{output:?}");
}
