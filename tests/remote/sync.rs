//! Two machines and one bucket: what the first builds, the second restores.

use std::fs;

use crate::server::{ACCESS_KEY, BUCKET, SECRET_KEY, Server};
use crate::support::disk::files;
use crate::support::sample::{SAMPLE_OUTPUT, SAMPLE_UNITS};
use crate::support::{Cargo, TestSpace};

/// A machine: its home, store, Cargo home and checkout lie elsewhere than another one's.
#[derive(Clone, Copy)]
struct Machine<'a> {
    space: &'a TestSpace,
    server: &'a Server,
    name: &'a str,
}

impl<'a> Machine<'a> {
    /// With a checkout of the sample.
    fn new(space: &'a TestSpace, server: &'a Server, name: &'a str) -> Self {
        if !space.path("sample").exists() {
            space.sample("sample");
            space.cargo("sample", ["generate-lockfile"]).succeed();
        }
        for directory in ["home", "cargo-home", "sample"] {
            space.copy_tree(directory, format!("{name}/{directory}"));
        }
        Self { space, server, name }
    }

    fn checkout(&self) -> String {
        format!("{}/sample", self.name)
    }

    fn at_home(&self, run: Cargo<'a>) -> Cargo<'a> {
        let path = |of| self.space.path(format!("{}/{of}", self.name));
        run.variable("HOME", path("home"))
            .variable("CARGO_HOME", path("cargo-home"))
            .variable("KACHE_CACHE_DIR", path("store"))
            .variable("KACHE_S3_BUCKET", BUCKET)
            .variable("KACHE_S3_ENDPOINT", self.server.endpoint())
            .variable("KACHE_S3_ACCESS_KEY", ACCESS_KEY)
            .variable("KACHE_S3_SECRET_KEY", SECRET_KEY)
    }

    /// A build that the remote has no part in.
    fn cargo(&self, arguments: &[&str]) -> Cargo<'a> {
        self.at_home(self.space.cargo(&self.checkout(), arguments))
            .variable("KACHE_LOCAL_ONLY", "1")
    }

    fn kache(&self, arguments: &[&str]) -> Cargo<'a> {
        self.at_home(self.space.cargo(&self.checkout(), arguments)).by_kache()
    }
}

fn server(space: &TestSpace) -> Server {
    Server::start(space.path("server"))
}

#[test]
fn what_one_machine_builds_another_restores() {
    let space = TestSpace::new();
    let server = server(&space);
    let a = Machine::new(&space, &server, "a");
    let b = Machine::new(&space, &server, "far/away/b");
    a.cargo(&["build"]).succeed().assert_compiled(&SAMPLE_UNITS, "the first machine");
    let pushed = a.kache(&["sync", "--push"]).succeed().text();
    assert!(pushed.starts_with("Pushed 8 results: "), "seven compilations and a script: {pushed}");
    let again = a.kache(&["sync", "--pull"]).succeed().text();
    assert!(again.starts_with("Pulled 0 results: "), "{again}");

    server.take_requests();
    let pulled = b.kache(&["sync", "--pull"]).succeed().text();
    assert!(pulled.starts_with("Pulled 8 results: "), "{pulled}");
    assert_eq!(server.take_requests().len(), 2 + 8, "the list, and one for each");
    let build = b.cargo(&["build"]).succeed();
    build.assert_compiled(&[], "the second machine");
    let program = format!("{}/target/debug/app", b.checkout());
    assert_eq!(space.output_of(&program), SAMPLE_OUTPUT);
    let stats = b.kache(&["report", "--format", "json"]).succeed().stdout;
    let report: serde_json::Value = serde_json::from_slice(&stats).unwrap();
    assert_eq!(report["summary"]["prefetch_hits"], 8, "script runs included: {report:#}");
    b.cargo(&["build"]).succeed().assert_fresh("the second machine");
    b.cargo(&["clean"]).succeed();
    b.cargo(&["build"]).succeed().assert_compiled(&[], "the second machine, from its store");
    let stats = b.kache(&["report", "--format", "json"]).succeed().stdout;
    let report: serde_json::Value = serde_json::from_slice(&stats).unwrap();
    assert_eq!(report["summary"]["local_hits"], 8, "a result is fetched once: {report:#}");
}

/// The exit status of kache and all that it said.
fn status(run: &Cargo<'_>) -> (Option<i32>, String) {
    let build = run.run();
    (build.status.code(), build.text())
}

#[test]
fn read_only_machines_write_nothing() {
    let space = TestSpace::new();
    let server = server(&space);
    let a = Machine::new(&space, &server, "a");
    a.cargo(&["build"]).succeed();
    let read_only = |words: &[&str]| a.kache(words).variable("KACHE_REMOTE_READONLY", "1");
    let objects = || files(&server.objects);
    for words in [&["sync", "--push"][..], &["sync", "--push", "--all"]] {
        let (code, text) = status(&read_only(words));
        assert_eq!(code, Some(2), "{words:?}: {text}");
    }
    let (code, text) = status(&read_only(&["save-manifest"]));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("read-only"), "{text}");
    read_only(&["sync"]).succeed();
    read_only(&["doctor"]).run();
    assert_eq!(objects(), Vec::<std::path::PathBuf>::new());
    let methods = server.take_requests();
    assert!(!methods.is_empty());
    assert!(methods.iter().all(|request| request.starts_with("GET ")), "{methods:?}");

    a.kache(&["sync"]).succeed();
    assert!(objects().len() > 8, "without it the same command writes");
}

#[test]
fn the_exit_status_says_whether_all_was_transferred() {
    let space = TestSpace::new();
    let server = server(&space);
    let a = Machine::new(&space, &server, "a");
    let b = Machine::new(&space, &server, "b");
    a.cargo(&["build"]).succeed();
    let planned = a.kache(&["sync", "--push", "--dry-run"]).succeed().text();
    assert!(planned.starts_with("Would push 8 results, "), "{planned}");
    let is_reading = |request: &String| request.starts_with("GET ") || request.starts_with("HEAD ");
    assert!(server.take_requests().iter().all(is_reading));
    a.kache(&["sync", "--push"]).succeed();
    let planned = a.kache(&["sync", "--push", "--dry-run"]).succeed().text();
    assert!(planned.starts_with("Would push 0 results, "), "all is there: {planned}");
    let pushed = a.kache(&["sync", "--push"]).succeed().text();
    assert!(pushed.starts_with("Pushed 0 results: 0 B, "), "{pushed}");
    assert!(pushed.contains("note: 8 results were there already\n"), "{pushed}");
    let results = files(&server.objects.join("artifacts/v1/results"));
    fs::write(&results[0], "garbage").expect("an object can be damaged");
    fs::remove_file(&results[1]).expect("an object can be removed");

    let (code, text) = status(&b.kache(&["sync", "--pull"]));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.starts_with("Pulled 6 results: "), "{text}");
    assert!(text.contains("note: 1 result is not in the remote any more"), "{text}");
    assert!(text.contains("error: 1 result was not pulled"), "{text}");
    let (code, text) = status(&b.kache(&["sync", "--pull", "--allow-partial"]));
    assert_eq!(code, Some(0), "{text}");
    let built = b.cargo(&["build"]).succeed();
    assert!(
        built.compiled.len() < SAMPLE_UNITS.len(),
        "the rest is restored: {:?}",
        built.compiled
    );

    let nowhere = |words: &[&str]| {
        b.kache(words).variable("KACHE_S3_ENDPOINT", "http://127.0.0.1:1").variable("KACHE_LOG", "")
    };
    let (code, text) = status(&nowhere(&["sync", "--pull"]));
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(status(&nowhere(&["sync", "--pull", "--allow-partial"])).0, Some(0));
    let none = b.kache(&["sync"]).without_variable("KACHE_S3_BUCKET");
    assert_eq!(status(&none).0, Some(2));
}

#[test]
fn what_is_damaged_is_mended_by_whoever_has_it_in_a_process_of_its_own() {
    let space = TestSpace::new();
    let server = server(&space);
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| Machine::new(&space, &server, name));
    a.cargo(&["build"]).succeed();
    a.kache(&["sync", "--push"]).succeed();
    for result in files(&server.objects.join("artifacts/v1/results")) {
        fs::write(result, "garbage").expect("an object can be damaged");
    }
    assert_eq!(status(&b.kache(&["sync", "--pull"])).0, Some(1));
    b.cargo(&["build"]).succeed();
    b.kache(&["sync", "--push"]).succeed();
    c.kache(&["sync", "--pull"]).succeed();
    c.cargo(&["build"]).succeed().assert_compiled(&[], "");

    for list in files(&server.objects.join("artifacts/v1/builds")) {
        fs::write(list, "garbage").expect("an object can be damaged");
    }
    b.kache(&["sync", "--push"]).succeed();
    let planned = d.kache(&["sync", "--pull", "--dry-run"]).succeed().text();
    assert!(planned.starts_with("Would pull 8 results"), "{planned}");
}

/// It used to leave a machine without any list.
#[test]
fn with_another_lockfile_what_the_project_used_before_is_pulled() {
    let space = TestSpace::new();
    let server = server(&space);
    let a = Machine::new(&space, &server, "a");
    let b = Machine::new(&space, &server, "b");
    a.cargo(&["build"]).succeed();
    a.kache(&["sync", "--push"]).succeed();
    let lockfile = format!("{}/Cargo.lock", b.checkout());
    space.write(&lockfile, format!("{}\n# another one\n", space.read(&lockfile)));
    let pulled = b.kache(&["sync", "--pull"]).succeed().text();
    assert!(pulled.starts_with("Pulled 8 results: "), "{pulled}");
    b.cargo(&["build"]).succeed().assert_compiled(&[], "the second machine");
}

#[test]
fn everything_can_be_pulled_without_a_list() {
    let space = TestSpace::new();
    let server = server(&space);
    let a = Machine::new(&space, &server, "a");
    let b = Machine::new(&space, &server, "b");
    a.cargo(&["build"]).succeed();
    a.kache(&["sync", "--push", "--all"]).succeed();
    b.kache(&["sync", "--pull", "--all"]).succeed();
    b.cargo(&["build"]).succeed().assert_compiled(&[], "the second machine");
}

#[test]
fn a_list_can_have_a_name() {
    let space = TestSpace::new();
    let server = server(&space);
    let a = Machine::new(&space, &server, "a");
    let b = Machine::new(&space, &server, "b");
    a.cargo(&["build"]).succeed();
    a.kache(&["sync", "--push", "--all"]).succeed();
    let name = ["--manifest-key", "main", "--namespace", "app"];
    a.kache(&[&["save-manifest"][..], &name].concat()).succeed();
    b.kache(&["sync", "--pull"]).succeed();
    let pulled = b.kache(&[&["sync", "--pull"][..], &name].concat()).succeed().text();
    assert!(pulled.starts_with("Pulled 8 results: "), "{pulled}");
}

#[test]
fn secrets_are_seen_nowhere() {
    let mut space = TestSpace::new();
    space.set_variable("KACHE_LOG", "kache=trace");
    let server = server(&space);
    let a = Machine::new(&space, &server, "a");
    let log = space.path("a/log");
    let key = space.write("a/signing-key", "a signing key that must not be seen");
    let run = |words: &[&str]| {
        a.kache(words)
            .variable("KACHE_LOG_FILE", &log)
            .variable("KACHE_REMOTE_SIGNING_KEY_FILE", &key)
    };
    a.cargo(&["build"]).variable("KACHE_LOG_FILE", &log).succeed();
    let mut said = String::new();
    for words in [&["sync"][..], &["doctor"], &["config", "list"], &["report"], &["stats"]] {
        said += &run(words).run().text();
    }
    said += &run(&["sync"]).variable("KACHE_S3_ENDPOINT", "http://127.0.0.1:1").run().text();
    said += &run(&["sync"]).variable("KACHE_S3_ACCESS_KEY", "unknown").run().text();
    assert!(said.contains("Pushed 8 results") && said.contains("403"), "{said}");
    let secrets = [SECRET_KEY, "a signing key that must not be seen"];
    let is_there = |bytes: &[u8]| {
        secrets.iter().any(|secret| memchr::memmem::find(bytes, secret.as_bytes()).is_some())
    };
    assert!(!is_there(said.as_bytes()), "{said}");
    for directory in [space.path("a/store"), server.objects.clone()] {
        for file in files(&directory) {
            assert!(!is_there(&fs::read(&file).unwrap()), "{}", file.display());
        }
    }
    assert!(!is_there(&fs::read(&log).unwrap_or_default()));
}

#[test]
fn the_doctor_tries_the_remote() {
    let space = TestSpace::new();
    let server = server(&space);
    let a = Machine::new(&space, &server, "a");
    // The executable is linked statically: the C library has no part in finding the host.
    let endpoint = format!("http://localhost:{}", server.port);
    let doctor = |secret: &str| {
        let run = a.kache(&["doctor"]).variable("KACHE_S3_SECRET_KEY", secret);
        run.variable("KACHE_S3_ENDPOINT", &endpoint)
    };
    let text = doctor(SECRET_KEY).run().text();
    assert!(text.contains("artifacts at http://localhost:"), "{text}");
    assert!(text.contains(": written, read and removed in "), "{text}");
    let (code, text) = status(&doctor("wrong"));
    assert_eq!(code, Some(1));
    assert!(text.contains("finding  remote s3://shelf/artifacts at "), "{text}");
    assert!(text.contains("403 SignatureDoesNotMatch"), "{text}");
}

/// A directory that was not mounted, and a file in its place, looked like a remote that has nothing.
#[test]
fn a_directory_that_is_not_there_is_no_empty_remote() {
    let space = TestSpace::new();
    space.sample("sample");
    space.cargo("sample", ["generate-lockfile"]).succeed();
    space.build("sample");
    let shelf = space.path("shelf");
    let config = format!("type = \"filesystem\"\npath = \"{}\"\n", shelf.display());
    let config = space.write("config.toml", format!("[cache.remote]\n{config}"));
    let sync = |words: &[&str]| {
        let run = space.cargo("sample", [&["sync"][..], words].concat()).by_kache();
        status(&run.variable("KACHE_CONFIG", &config))
    };
    for (words, expected) in [(&["--pull"][..], 1), (&["--pull", "--allow-partial"], 0)] {
        let (code, text) = sync(words);
        assert_eq!(code, Some(expected), "{text}");
        assert!(text.contains(&format!("there is no directory {}", shelf.display())), "{text}");
        assert!(!text.contains("Pulled"), "{text}");
    }
    fs::write(&shelf, "a file").unwrap();
    for words in [&["--pull"][..], &["--push"], &["--pull", "--all"], &["--push", "--dry-run"]] {
        let (code, text) = sync(words);
        assert_eq!(code, Some(1), "{words:?}: {text}");
        assert!(text.contains(&format!("{} is not a directory", shelf.display())), "{text}");
    }
    fs::remove_file(&shelf).unwrap();
    let (code, text) = sync(&[]);
    assert_eq!(code, Some(0), "it is made: {text}");
    assert!(text.contains("Pushed 8 results: "), "{text}");
    assert_eq!(sync(&["--pull"]).0, Some(0));
}
