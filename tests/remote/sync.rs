//! Two machines and one bucket: what the first builds, the second restores.

use crate::server::{ACCESS_KEY, BUCKET, SECRET_KEY, Server};
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
