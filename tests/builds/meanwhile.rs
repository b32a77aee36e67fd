//! What changes while a compilation or a script's run is under way is not taken for what that read.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use crate::hidden_inputs::with_macro;
use crate::support::TestSpace;
use crate::support::gate::Gate;

/// Lets the clock of the file system go on: what is made before this is older than what is made after.
fn let_time_pass(space: &TestSpace) {
    let stamp = |name: &str| -> SystemTime {
        let path = space.write(name, "");
        path.metadata().and_then(|metadata| metadata.modified()).expect("a file has a time")
    };
    let before = stamp("clock");
    while stamp("clock")
        .duration_since(before)
        .is_ok_and(|passed| passed < Duration::from_millis(30))
    {}
}

/// Builds `p`, whose macro looks and then waits while `change` happens; and then from nothing, once as
/// it is now, and as often as `put` says what there is to see.
#[track_caller]
fn check(look: &str, before: impl Fn(&TestSpace), change: impl Fn(&TestSpace)) {
    let gate = Gate::new();
    let space = with_macro(&format!("let text: String = {{ {look} }};\n{}text", gate.code()));
    before(&space);
    let_time_pass(&space);
    let mut command = space.cargo("p", ["build"]).command();
    let mut build = command.stderr(Stdio::null()).spawn().expect("cargo can be started");
    let _gate = gate.pass(|| change(&space));
    assert!(build.wait().expect("cargo ends").success());
    assert_eq!(space.output_of("p/target/debug/p"), "one\n", "as the macro saw it");
    space.remove("p/target");
    space.build("p");
    assert_eq!(space.output_of("p/target/debug/p"), "two\n", "as it is now");
}

const READS: &str = "std::fs::read_to_string(here.join(\"data/text\")).unwrap()";
const ASKS: &str = "if here.join(\"data\").exists() { \"two\".into() } else { \"one\".into() }";

fn symlink(space: &TestSpace, target: &str, link: &str) {
    space.remove(link);
    std::os::unix::fs::symlink(target, space.path(link)).expect("a link can be made");
}

fn rename(space: &TestSpace, from: &str, to: &str) {
    std::fs::rename(space.path(from), space.path(to)).expect("a name can be changed");
}

#[test]
fn a_file_that_is_written_to() {
    check(
        READS,
        |space| drop(space.write("p/data/text", "one")),
        |space| drop(space.write("p/data/text", "two")),
    );
}

#[test]
fn a_file_whose_size_and_time_stay_the_same() {
    check(
        READS,
        |space| drop(space.write("p/data/text", "one")),
        |space| {
            let time = space.path("p/data/text").metadata().and_then(|it| it.modified());
            let path = space.write("p/data/text", "two");
            let file = std::fs::File::options().write(true).open(path).expect("a file");
            file.set_modified(time.expect("a file has a time")).expect("a time can be set");
        },
    );
}

#[test]
fn a_file_that_is_replaced_by_an_older_one() {
    check(
        READS,
        |space| {
            space.write("p/data/text", "one");
            space.write("p/other", "two");
        },
        |space| rename(space, "p/other", "p/data/text"),
    );
}

#[test]
fn a_link_that_is_turned_to_an_older_file() {
    check(
        READS,
        |space| {
            space.write("p/one", "one");
            space.write("p/two", "two");
            std::fs::create_dir(space.path("p/data")).expect("a directory can be made");
            symlink(space, "../one", "p/data/text");
        },
        |space| symlink(space, "../two", "p/data/text"),
    );
}

#[test]
fn a_link_that_is_turned_to_an_older_directory() {
    check(
        READS,
        |space| {
            space.write("p/one/text", "one");
            space.write("p/two/text", "two");
            symlink(space, "one", "p/data");
        },
        |space| symlink(space, "two", "p/data"),
    );
}

#[test]
fn a_link_behind_a_link_that_is_turned() {
    check(
        READS,
        |space| {
            space.write("versions/one/text", "one");
            space.write("versions/two/text", "two");
            symlink(space, "one", "versions/current");
            symlink(space, "../versions/current", "p/data");
        },
        |space| symlink(space, "two", "versions/current"),
    );
}

#[test]
fn a_directory_that_is_replaced_by_an_older_one() {
    check(
        READS,
        |space| {
            space.write("p/data/text", "one");
            space.write("p/other/text", "two");
        },
        |space| {
            rename(space, "p/data", "p/old");
            rename(space, "p/other", "p/data");
        },
    );
}

#[test]
fn a_link_to_an_older_file_that_appears() {
    check(
        ASKS,
        |space| drop(space.write("p/other", "")),
        |space| symlink(space, "other", "p/data"),
    );
}

#[test]
fn a_name_that_is_added_to_a_directory() {
    check(
        "match std::fs::read_dir(here.join(\"data\")).unwrap().count() {\n\
         1 => \"one\".into(), 2 => \"two\".into(), _ => \"many\".into() }",
        |space| drop(space.write("p/data/first", "")),
        |space| drop(space.write("p/data/second", "")),
    );
}

/// What is gone by the end was there.
#[test]
fn a_file_that_is_removed() {
    check(
        "if here.join(\"data\").exists() { \"one\".into() } else { \"two\".into() }",
        |space| drop(space.write("p/data", "")),
        |space| space.remove("p/data"),
    );
}

/// Nothing that is looked at changes: such a compilation is stored, or the tests above say nothing.
#[test]
fn what_is_made_beside_the_inputs_does_not_matter() {
    let gate = Gate::new();
    let space = with_macro(&format!("let text: String = {{ {READS} }};\n{}text", gate.code()));
    space.write("p/data/text", "one");
    let mut command = space.cargo("p", ["build"]).command();
    let mut build = command.stderr(Stdio::null()).spawn().expect("cargo can be started");
    let _gate = gate.pass(|| {
        for name in ["p/data/other", "p/other/text", "other"] {
            assert!(space.write(Path::new(name), "new").exists());
        }
    });
    assert!(build.wait().expect("cargo ends").success());
    space.remove("p/target");
    space.build("p").assert_compiled(&[], "nothing changed that it read");
}
