//! After any build the next identical one dispatches nothing, and a change dispatches just what
//! plain Cargo would dispatch.

use crate::support::TestSpace;
use crate::support::sample::{SAMPLE_OUTPUT, SAMPLE_UNITS};
use crate::support::toolchain::Toolchain;

/// One build: a checkout and a target directory, both relative to the space.
type Place<'a> = (&'a str, &'a str);

/// Builds at the places in this order, each of them twice, and checks that the second build of each
/// visit dispatches nothing, as do all places once more at the end.
#[track_caller]
fn check_order(space: &TestSpace, command: &[&str], order: &[Place<'_>]) {
    let run = |(checkout, target): Place<'_>| {
        space.cargo(checkout, command.iter().copied()).target_directory(target).succeed()
    };
    for place in order {
        run(*place);
        run(*place).assert_fresh(&format!("{place:?} at once, in the order {order:?}"));
    }
    for place in order {
        run(*place).assert_fresh(&format!("{place:?} at the end of the order {order:?}"));
    }
}

/// Replaces a file's content, with a time that is later than every build before.
fn edit(space: &TestSpace, path: &str, from: &str, to: &str) {
    let text = space.read(path);
    assert!(text.contains(from), "{path} holds {from}");
    space.write(path, text.replace(from, to));
}

#[test]
fn the_sample_builds_and_runs() {
    let space = TestSpace::new();
    space.sample("a");
    space.build("a").assert_compiled(&SAMPLE_UNITS, "a cold build");
    assert_eq!(space.output_of("a/target/debug/app"), SAMPLE_OUTPUT);
}

#[test]
fn a_warm_build_runs_no_compiler_and_leaves_everything_fresh() {
    let space = TestSpace::new();
    space.sample("a");
    space.build("a");
    space.remove("a/target");
    let warm = space.build("a");
    warm.assert_compiled(&[], "a warm build");
    assert_eq!(space.output_of("a/target/debug/app"), SAMPLE_OUTPUT);
    space.build("a").assert_fresh("after a warm build");
}

#[test]
fn two_target_directories_stay_fresh_in_every_order() {
    let space = TestSpace::new();
    space.sample("a");
    let (one, two) = (("a", "target-1"), ("a", "target-2"));
    check_order(&space, &["build"], &[one, two, one, two]);
    space.remove("target-1");
    check_order(&space, &["build"], &[two, one, one, two]);
    space.remove("target-2");
    check_order(&space, &["build"], &[one, two]);
}

#[test]
fn two_checkouts_stay_fresh_in_every_order() {
    let space = TestSpace::new();
    space.sample("a");
    space.copy_tree("a", "b");
    let (one, two) = (("a", "a/target"), ("b", "b/target"));
    check_order(&space, &["build"], &[one, two, one]);
    space.remove("a/target");
    check_order(&space, &["build"], &[two, one, two]);
}

#[test]
fn two_checkouts_that_share_a_target_directory_in_turn_build_what_plain_cargo_builds() {
    let space = TestSpace::new();
    space.sample("a");
    space.copy_tree("a", "b");
    let dispatched = |plain: bool, target: &str| -> Vec<Vec<String>> {
        ["a", "b", "a", "b"]
            .map(|checkout| {
                let run = space.cargo(checkout, ["build"]).target_directory(target);
                let run = if plain { run.plain() } else { run };
                let mut units = run.succeed().dispatched();
                units.retain(|unit| !unit.starts_with('/'));
                units
            })
            .to_vec()
    };
    assert_eq!(dispatched(false, "shared"), dispatched(true, "shared-plain"));
}

#[test]
fn every_kind_of_build_stays_fresh_beside_the_others() {
    let space = TestSpace::new();
    space.sample("a");
    let kinds: [&[&str]; 4] = [
        &["check", "--all-targets"],
        &["build", "--all-targets"],
        &["test", "--no-run"],
        &["build", "--release"],
    ];
    for _ in ["cold", "warm"] {
        for kind in kinds {
            check_order(&space, kind, &[("a", "a/target")]);
        }
        for kind in kinds {
            let again = space.cargo("a", kind.iter().copied()).succeed();
            again.assert_fresh(&format!("{kind:?} after all the others"));
        }
        space.remove("a/target");
    }
}

#[test]
fn touching_a_source_dispatches_what_plain_cargo_dispatches() {
    let edits: [(&str, &str, &str); 4] = [
        ("base/src/outer/inner.rs", "{ 2 }", "{ 1 + 1 }"),
        ("derive/src/lib.rs", "words", "tokens"),
        ("native/build.rs", "42", "40 + 2"),
        ("app/src/main.rs", "{}", "{} "),
    ];
    let run = |space: &TestSpace, plain: bool| -> Vec<Vec<String>> {
        let build = || {
            let run = space.cargo("a", ["build"]);
            let mut units = if plain { run.plain() } else { run }.succeed().dispatched();
            // Build scripts run from directories whose names hold a hash.
            for unit in &mut units {
                *unit = unit.rsplit('/').next().unwrap_or(unit).to_owned();
            }
            units
        };
        build();
        space.remove("a/target");
        build();
        let mut seen = Vec::new();
        for (file, from, to) in edits {
            edit(space, &format!("a/{file}"), from, to);
            seen.push(build());
            assert_eq!(build(), [""; 0], "after an edit of {file}");
        }
        seen
    };
    let (with, without) = (TestSpace::new(), TestSpace::new());
    with.sample("a");
    without.sample("a");
    assert_eq!(run(&with, false), run(&without, true));
}

#[test]
fn an_edit_taken_back_is_a_hit_and_fresh() {
    let space = TestSpace::new();
    space.sample("a");
    space.build("a");
    edit(&space, "a/base/src/outer/inner.rs", "{ 2 }", "{ 3 }");
    space.build("a").assert_compiled(&["app", "app(bin)", "base"], "after an edit");
    assert_eq!(space.output_of("a/target/debug/app"), "Stone 10 42\n");
    edit(&space, "a/base/src/outer/inner.rs", "{ 3 }", "{ 2 }");
    space.build("a").assert_compiled(&[], "after the edit was taken back");
    assert_eq!(space.output_of("a/target/debug/app"), SAMPLE_OUTPUT);
    space.build("a").assert_fresh("after the edit was taken back");
}

#[test]
fn a_build_directory_apart_from_the_target_directory_stays_fresh() {
    let mut space = TestSpace::new();
    space.sample("a");
    space.set_variable("CARGO_BUILD_BUILD_DIR", &space.path("apart").display().to_string());
    check_order(&space, &["build"], &[("a", "a/target")]);
    space.remove("a/target");
    space.remove("apart");
    space.build("a").assert_compiled(&[], "a warm build");
    check_order(&space, &["build"], &[("a", "a/target")]);
    assert_eq!(space.output_of("a/target/debug/app"), SAMPLE_OUTPUT);
}

#[test]
fn a_symlinked_target_directory_stays_fresh() {
    let space = TestSpace::new();
    space.sample("a");
    for _ in ["cold", "warm"] {
        space.remove("elsewhere");
        std::fs::create_dir(space.path("elsewhere")).expect("a directory can be created");
        space.remove("a/target");
        std::os::unix::fs::symlink(space.path("elsewhere"), space.path("a/target"))
            .expect("a symbolic link can be created");
        check_order(&space, &["build"], &[("a", "a/target")]);
    }
    space.remove("elsewhere/debug");
    space.build("a").assert_compiled(&[], "a warm build");
}

/// Nothing was stored there: the same directory was compared in two spellings.
#[test]
fn a_target_directory_beside_the_checkout_named_by_way_of_dots_is_like_any_other() {
    let mut space = TestSpace::new();
    space.sample("a/checkout");
    space.sample("b/checkout");
    space.set_variable("CARGO_TARGET_DIR", "../out/target");
    space.build("a/checkout");
    space.build("a/checkout").assert_fresh("after a cold build");
    space.remove("a/out");
    for checkout in ["a", "b"] {
        let directory = format!("{checkout}/checkout");
        space.build(&directory).assert_compiled(&[], "a warm build");
        space.build(&directory).assert_fresh("after a warm build");
        assert_eq!(space.output_of(&format!("{checkout}/out/target/debug/app")), SAMPLE_OUTPUT);
    }
}

#[test]
fn the_new_build_directory_layout_stays_fresh() {
    let mut space = TestSpace::new();
    let Some(nightly) = Toolchain::nightly(&space.path("")) else { return };
    space.use_toolchain(nightly);
    space.sample("a");
    let command = ["build", "-Zbuild-dir-new-layout"];
    check_order(&space, &command, &[("a", "target-1"), ("a", "target-2"), ("a", "target-1")]);
    space.remove("target-1");
    let warm = space.cargo("a", command).target_directory("target-1").succeed();
    warm.assert_compiled(&[], "a warm build");
    check_order(&space, &command, &[("a", "target-2"), ("a", "target-1")]);
    assert_eq!(space.output_of("target-1/debug/app"), SAMPLE_OUTPUT);
}

/// The compiler takes metadata that is the same over from its incremental data, by a link, with the time
/// that it has there: an output has to be young all the same.
#[track_caller]
fn check_incremental(space: &mut TestSpace, forget: impl Fn(&TestSpace)) {
    space.set_variable("CARGO_INCREMENTAL", "1");
    space.package(
        "p",
        "",
        &[
            ("build.rs", "fn main() { println!(\"cargo::rerun-if-changed=data.txt\"); }"),
            ("src/lib.rs", "pub fn one() -> u32 { 1 }"),
        ],
    );
    space.write("p/data.txt", "one");
    space.build("p");
    forget(space);
    space.write("p/data.txt", "two");
    space.build("p");
    space.build("p").assert_fresh("after the script has run again");
}

#[test]
fn incremental_compilations_stay_fresh_when_the_store_is_lost() {
    check_incremental(&mut TestSpace::new(), |space| space.remove("cache"));
}

#[test]
fn incremental_compilations_stay_fresh_when_all_is_compiled_again() {
    let mut space = TestSpace::new();
    space.set_variable("KACHE_VERIFY_COMPILES", "always");
    check_incremental(&mut space, |_| {});
}

#[test]
fn incremental_compilations_stay_fresh_when_nothing_can_be_stored() {
    let forget = |space: &TestSpace| {
        space.remove("cache/blobs");
        space.write("cache/blobs", "in the way");
    };
    check_incremental(&mut TestSpace::new(), forget);
}
