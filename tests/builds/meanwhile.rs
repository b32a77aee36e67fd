//! What changes while a compilation or a script's run is under way is not taken for what that read.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process};

use crate::hidden_inputs::{host_libraries, replace, toolchain_copy, with_macro};
use crate::script_runs::out_dir;
use crate::scripts::with_script;
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

/// Makes a link, in place of what is there.
pub(crate) fn symlink(space: &TestSpace, target: &str, link: &str) {
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

/// Builds `p` while `change` happens, which `restore` takes back: what only the key names was another
/// one for a part of the compilation.
#[track_caller]
fn check_not_stored(
    prepare: impl Fn(&mut TestSpace),
    change: impl Fn(&TestSpace),
    restore: impl Fn(&TestSpace),
) {
    let gate = Gate::new();
    let mut space = with_macro(&format!("{}\"one\".into()", gate.code()));
    prepare(&mut space);
    let mut command = space.cargo("p", ["build"]).command();
    let mut build = command.stderr(Stdio::null()).spawn().expect("cargo can be started");
    let _gate = gate.pass(|| change(&space));
    assert!(build.wait().expect("cargo ends").success());
    restore(&space);
    space.remove("p/target");
    let compiled = space.build("p").compiled;
    assert!(compiled.contains(&"p(bin)".to_owned()), "{compiled:?}");
    space.remove("p/target");
    space.build("p").assert_compiled(&[], "nothing changed this time");
}

#[test]
fn a_file_that_only_the_configuration_names_and_that_changes() {
    check_not_stored(
        |space| {
            space.write("p/.kache.toml", "[cache]\nextra_inputs = [\"schema.txt\"]\n");
            space.write("p/schema.txt", "one");
        },
        |space| drop(space.write("p/schema.txt", "two")),
        |space| drop(space.write("p/schema.txt", "one")),
    );
}

#[test]
fn a_toolchain_that_is_replaced() {
    // The time in the header of an archive's first member.
    let turn = |space: &TestSpace| {
        replace(space, &host_libraries(), "libstd-", |bytes| bytes[8 + 16] ^= 1);
    };
    let prepare = |space: &mut TestSpace| {
        let copy = toolchain_copy(space);
        space.use_toolchain(copy);
    };
    check_not_stored(prepare, turn, turn);
}

/// Builds `p`, where a process is left that stops at the gate, and then from nothing: it is not stored,
/// and that process goes on as without kache.
#[track_caller]
fn check_outlived(space: &TestSpace, gate: Gate, unit: &str, after: impl Fn()) {
    let mut command = space.cargo("p", ["build"]).command();
    let mut build = command.stderr(Stdio::null()).spawn().expect("cargo can be started");
    let _gate = gate.pass(|| assert!(build.wait().expect("cargo ends").success()));
    after();
    let why = space.cargo("p", ["why-miss", "p"]).by_kache().succeed().text();
    assert!(why.contains("a process that it started was still running when it ended"), "{why}");
    space.remove("p/target");
    let again = space.build("p");
    assert!(again.compiled.iter().any(|built| built == unit), "{}", again.text());
}

/// What it had written until then was restored for ever.
#[test]
fn a_process_that_goes_on_when_its_script_has_ended() {
    let gate = Gate::new();
    let space = with_script(&format!(
        "let argument = out.join(\"late\");\n{}\"one\".into()",
        gate.code_beside("echo half > \"$0\"", "echo whole > \"$0\"")
    ));
    check_outlived(&space, gate, "script(p)", || {
        let late = out_dir(&space, "p/target").join("late");
        let begun = Instant::now();
        while std::fs::read_to_string(&late).is_ok_and(|text| text != "whole\n") {
            assert!(begun.elapsed() < Duration::from_mins(1), "it has a word to write");
        }
    });
}

#[test]
fn a_process_that_goes_on_when_the_compiler_has_ended() {
    let gate = Gate::new();
    let space =
        with_macro(&format!("let argument = \"\";\n{}\"one\".into()", gate.code_beside(":", ":")));
    check_outlived(&space, gate, "p(bin)", || {});
}

/// The calls of kache that a process of Cargo waits for.
fn wrappers(cargo: u32) -> Vec<Pid> {
    let is_wrapper = |stat: &str| {
        let (name, rest) = stat.rsplit_once(") ").expect("a name in parentheses");
        let parent = rest.split(' ').nth(1).and_then(|parent| parent.parse().ok());
        name.ends_with("(kache") && parent == Some(cargo)
    };
    let processes = std::fs::read_dir("/proc").expect("processes").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let stat = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/stat"));
    let found = pids.filter(|pid| stat(pid).is_ok_and(|stat| is_wrapper(&stat)));
    found.filter_map(Pid::from_raw).collect()
}

/// It used to be waited for, ten minutes and more for each of its units.
#[test]
fn a_build_that_is_suspended_holds_up_no_other() {
    let gate = Gate::new();
    let space = with_macro(&format!(
        "if std::env::var_os(\"PASS\").is_none() {{ {} }}\n\"one\".into()",
        gate.code()
    ));
    let mut command = space.cargo("p", ["build"]).command();
    let mut build = command.stderr(Stdio::null()).spawn().expect("cargo can be started");
    let cargo = build.id();
    let _gate = gate.pass(|| {
        let wrappers = wrappers(cargo);
        assert!(!wrappers.is_empty());
        for wrapper in &wrappers {
            kill_process(*wrapper, Signal::STOP).expect("a wrapper can be stopped");
        }
        let other = space.cargo("p", ["build"]).variable("PASS", "1").target_directory("other");
        let other = other.launched_by(["timeout", "60"]).run();
        for wrapper in &wrappers {
            kill_process(*wrapper, Signal::CONT).expect("a wrapper can go on");
        }
        assert!(other.status.success(), "{}", other.text());
    });
    assert!(build.wait().expect("cargo ends").success());
}
