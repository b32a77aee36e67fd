//! The commands that show what the store holds and did, and the demo that fills one.

use crate::space::Space;
use snapbox::{assert_data_eq, str};
use std::process::Command;
use store_format::{Event, EventOutcome};

#[test]
fn the_demo_reuses_every_unit_and_says_so() {
    let space = Space::new();
    let temporary = space.path("temporary");
    std::fs::create_dir(&temporary).unwrap();
    let output = space.kache(&["demo"]).env("TMPDIR", &temporary).output().unwrap();
    assert_data_eq!(
        space.shown(&output),
        str![[r#"
A library with a build script, a procedural macro, a library that uses both, a binary:
built in one directory, then in another, with a store of their own.

 time compiler runs hits
first directory [TIME] 6 0
second directory [TIME] 0 6
first again, unchanged [TIME] 0 0
second again, unchanged [TIME] 0 0

 disk shared with the store
store [SIZE]
first target [SIZE] [SIZE]
second target [SIZE] [SIZE]
together [SIZE]

The second build took [TIME] in place of [TIME] ([N] times faster); both greenhouse executables run and print the same.

Your own project: kache cargo build
exit status 0

"#]]
    );
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn the_demo_fails_where_cargo_fails() {
    let space = Space::new();
    let output = space.kache(&["demo"]).env("CARGO", "/nowhere/cargo").output().unwrap();
    let text = space.shown(&output);
    let expected = "error: `/nowhere/cargo` was not found\nhint: install Rust, or put the directory of `cargo` in PATH\nexit status 2\n";
    assert!(text.ends_with(expected), "{text}");
    let output = space.kache(&["demo"]).env("RUSTFLAGS", "--no-such-flag").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("error: `cargo build` failed in the first directory:\n"), "{text}");
    assert!(text.contains("no-such-flag"), "{text}");
}

#[test]
fn statistics_are_those_of_the_builds() {
    assert_data_eq!(
        Space::built().run(&["stats"]),
        str![[r#"
Store [ROOT]/store
 [SIZE] of 50.0 GB in 9 files, 7 results

Hits [SHARE] 6 of 13 compilations
Saved [TIME] [TIME] of compiling, restored in [TIME]
Restored [SIZE] [SHARE] without a copy
Misses 7 compiled in [TIME], [SIZE] stored
Compiler queries 10
exit status 0

"#]]
    );
    let stats = Space::built().json(&["stats", "--json"]);
    assert_eq!(stats["summary"]["local_hits"], 6);
    assert_eq!(stats["summary"]["misses"], 7);
    assert_eq!(stats["storage"]["results"], 7);
    assert_data_eq!(
        Space::new().run(&["stats"]),
        str![[r#"
Store [ROOT]/store
 [SIZE] of 50.0 GB in 0 files, 0 results

No build has used the cache.
exit status 0

"#]]
    );
    let none = Space::built().run(&["stats", "--since", "0s"]);
    assert!(none.contains("\nNo build has used the cache in this time.\n"), "{none}");
    let since = Space::built().json(&["stats", "--since", "0s", "--json"]);
    assert_eq!(since["summary"]["total_crates"], 0);
}

/// What results name was shown beside the cap, which is about what files take.
#[test]
fn the_size_beside_the_cap_is_the_one_that_it_is_about() {
    let space = Space::new();
    let [from, to] = [Space::built().path("store"), space.path("store")];
    assert!(Command::new("cp").arg("-R").args([from, to]).status().unwrap().success());
    let check = |shown: &str| {
        for command in [&["stats"][..], &["doctor"], &["report", "--format", "markdown"]] {
            let output = space.kache(command).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(text.contains(&format!(" {shown} of 50.0 GB")), "{command:?}: {text}");
        }
    };
    std::fs::remove_dir_all(space.path("store/blobs")).unwrap();
    let collected = space.kache(&["gc"]).output().unwrap();
    let text = String::from_utf8(collected.stdout).unwrap();
    assert!(text.contains("The store takes 0 B of 50.0 GB."), "{text}");
    check("0 B");
    let report = space.json(&["report", "--format", "json"]);
    let stats = space.json(&["stats", "--json"]);
    for storage in [&report["storage"], &stats["storage"]] {
        assert_eq!((&storage["allocated"], storage["size"].as_u64() > Some(0)), (&0.into(), true));
    }
}

/// Only the next eviction counted it.
#[test]
fn what_is_purged_is_counted_no_more() {
    let space = Space::new();
    let [from, to] = [Space::built().path("store"), space.path("store")];
    assert!(Command::new("cp").arg("-R").args([from, to]).status().unwrap().success());
    let allocated = || space.json(&["stats", "--json"])["storage"]["allocated"].as_u64().unwrap();
    let all = allocated();
    space.run(&["purge", "--crate-name", "plants-derive"]);
    assert!((1..all).contains(&allocated()), "{} of {all}", allocated());
    space.run(&["purge"]);
    assert_eq!(allocated(), 0);
}

/// Time and bytes of what was not stored were added to those of the misses.
#[test]
fn what_failed_is_no_miss() {
    let event = |outcome, reason: &str| Event {
        outcome,
        reason: reason.to_owned(),
        crate_name: "one".to_owned(),
        started_ms: 1_700_000_000_000,
        elapsed_us: 600_000,
        compile_us: 572_000,
        size_bytes: 4_000,
        compiler_runs: 1,
        ..Event::default()
    };
    let failed = event(EventOutcome::Skipped, "failed");
    let hit = event(EventOutcome::LocalHit, "");
    let asked = event(EventOutcome::Passthrough, "not-a-compile|version");
    let log = [&failed, &failed, &failed, &hit, &asked].map(Event::encode_frame).concat();
    let space = Space::new();
    std::fs::create_dir(space.path("store")).unwrap();
    std::fs::write(space.path("store/events"), log).unwrap();
    let text = String::from_utf8(space.kache(&["stats"]).output().unwrap().stdout).unwrap();
    assert!(text.contains("compiled in 0 ms, 0 B stored"), "{text}");
    let report = space.json(&["report", "--format", "json"]);
    assert_eq!(report["summary"]["weighted_hit_rate_pct"], 100.0);
    assert_eq!(report["timing"]["avg_miss_ms"], 0.0);
    let text = String::from_utf8(space.kache(&["report"]).output().unwrap().stdout).unwrap();
    let build = text.lines().find(|line| line.contains("2023-11-14T")).unwrap();
    let counts: Vec<_> = build.split_whitespace().skip(3).take(2).collect();
    assert_eq!(counts, ["1", "0"], "one hit and no miss: {text}");

    let runs = |of: &serde_json::Value| of["compiler_runs"].as_u64().unwrap();
    let each = report["all_events"].as_array().unwrap().iter().map(runs).sum::<u64>();
    assert_eq!((runs(&report["summary"]), runs(&report["timeline"][0]), each), (4, 4, 4));
}

#[test]
fn the_list_names_crates_and_then_the_results_of_one() {
    assert_data_eq!(
        Space::built().run(&["list"]),
        str![[r#"
crate results size hits compile time age
climate 3 [SIZE] 3 [TIME] [AGO]
greenhouse 2 [SIZE] 1 [TIME] [AGO]
plants 1 [SIZE] 1 [TIME] [AGO]
plants_derive 1 [SIZE] 1 [TIME] [AGO]
exit status 0

"#]]
    );
    assert_data_eq!(
        Space::built().run(&["list", "plants-derive"]),
        str![[r#"
key outputs size hits compile time age
[DIGEST] 2 [SIZE] 1 [TIME] [AGO]
exit status 0

"#]]
    );
    assert_data_eq!(
        Space::built().run(&["list", "plant"]),
        str![[r#"
error: the store has no result of `plant`
hint: did you mean `plants`?
exit status 1

"#]]
    );
    assert_data_eq!(
        Space::new().run(&["list"]),
        str![[r#"
The store is empty.
exit status 0

"#]]
    );
    let by_size = Space::built().json(&["list", "--sort", "size", "--json"]);
    let sizes: Vec<_> =
        by_size.as_array().unwrap().iter().map(|line| line["size"].as_u64().unwrap()).collect();
    assert!(sizes.len() == 4 && sizes.is_sorted_by(|a, b| a >= b), "{sizes:?}");
}

#[test]
fn a_bypassed_package_is_bypassed_whole_however_it_is_spelt() {
    let space = Space::new();
    let [from, to] = [Space::built().path("demo/first"), space.path("project")];
    assert!(Command::new("cp").arg("-R").args([from, to]).status().unwrap().success());
    let text = "[cache]\nbypass_crates = [\"climate\", \"plants-derive\"]\n";
    std::fs::write(space.path("project/.kache.toml"), text).unwrap();
    let mut build = space.kache(&["cargo", "build", "--offline", "--quiet", "--target-dir=t"]);
    let build = build.current_dir(space.path("project")).output().unwrap();
    assert!(build.status.success(), "{build:?}");
    let stored = space.json(&["list", "--json"]);
    let stored: Vec<_> =
        stored.as_array().unwrap().iter().map(|line| &line["crate_name"]).collect();
    assert_eq!(stored, ["greenhouse", "plants"]);
    let reasons = space.json(&["stats", "--json"])["passthrough_reasons"].clone();
    let bypassed = reasons["bypassed by bypass_crates"].as_u64();
    assert_eq!(bypassed, Some(3), "a build script, a library and a macro: {reasons}");
}

/// It showed an older miss, or knew of no compilation at all.
#[test]
fn a_crate_that_was_kept_out_of_the_cache_is_said_to_be() {
    let space = Space::new();
    let [from, to] = [Space::built().path("demo/first"), space.path("project")];
    assert!(Command::new("cp").arg("-R").args([from, to]).status().unwrap().success());
    let config = space.path("project/.kache.toml");
    let build = |text: &str, target: &str| {
        std::fs::write(&config, format!("[cache]\n{text}\n")).unwrap();
        let mut build = space.kache(&["cargo", "build", "--offline", "--quiet"]);
        build.args(["--target-dir", target]).current_dir(space.path("project"));
        let build = build.output().unwrap();
        assert!(build.status.success(), "{build:?}");
    };
    build("bypass_crates = [\"plants\"]", "t1");
    assert_data_eq!(
        space.run(&["why-miss", "plants"]),
        str![[r#"
plants 0.1.0 (lib): passed through
 [AGO], bypassed by bypass_crates
exit status 0

"#]]
    );
    build("", "t2");
    let missed = space.run(&["why-miss", "plants"]);
    assert!(missed.starts_with("plants 0.1.0 (lib): first build\n"), "{missed}");
    build("exclude = [\"**/plants/**\"]", "t3");
    let excluded = space.run(&["why-miss", "plants"]);
    assert!(excluded.contains(", excluded by \"**/plants/**\"\n"), "{excluded}");
    let shown = space.json(&["why-miss", "plants", "--json"]);
    assert_eq!(shown[0]["passed"]["reason"], "excluded by \"**/plants/**\"");
    build("", "t4");
    let hit = space.run(&["why-miss", "plants"]);
    assert!(hit.contains("since then: 1 hit") && !hit.contains("passed"), "{hit}");
}

#[test]
fn a_miss_is_explained_by_the_file_that_differed() {
    assert_data_eq!(
        Space::built().run(&["why-miss", "greenhouse"]),
        str![[r#"
greenhouse 0.1.0 (bin): inputs differ
 [AGO] in [ROOT]/demo/first, compiled in [TIME]
 file <workspace>/greenhouse/src/main.rs: [DIGEST] -> [DIGEST]
exit status 0

"#]]
    );
    assert_data_eq!(
        Space::built().run(&["why-miss", "greenhose"]),
        str![[r#"
error: the event log has no compilation of `greenhose`
hint: did you mean `greenhouse`?
exit status 1

"#]]
    );
}

#[test]
fn a_purge_of_one_crate_leaves_the_others() {
    let space = Space::new();
    let [from, to] = [Space::built().path("store"), space.path("store")];
    assert!(Command::new("cp").arg("-R").args([from, to]).status().unwrap().success());
    assert_data_eq!(
        space.run(&["purge", "--crate-name", "plants-derive"]),
        str![[r#"
Removed 1 result; freed [SIZE].
exit status 0

"#]]
    );
    assert_eq!(space.json(&["stats", "--json"])["storage"]["results"], 6);
    assert_data_eq!(
        space.run(&["purge", "--crate-name", "climatte"]),
        str![[r#"
error: the store has no result of `climatte`
hint: did you mean `climate`?
exit status 1

"#]]
    );
    assert_data_eq!(
        space.run(&["purge"]),
        str![[r#"
Removed 6 results; freed [SIZE].
exit status 0

"#]]
    );
    assert_data_eq!(
        space.run(&["list"]),
        str![[r#"
The store is empty.
exit status 0

"#]]
    );
}

#[test]
fn a_store_that_cannot_be_read_is_an_error_and_not_an_empty_one() {
    let space = Space::new();
    std::os::unix::fs::symlink("store", space.path("store")).unwrap();
    for arguments in [&["gc"][..], &["purge"], &["stats"], &["list"], &["why-miss", "serde"]] {
        let shown = space.run(arguments);
        assert!(shown.starts_with("error: ") && shown.ends_with("exit status 1\n"), "{shown}");
        assert_eq!(shown.matches("Too many levels").count(), 1, "{shown}");
    }
}

#[test]
fn an_age_of_zero_is_said_to_be_no_limit() {
    let text = Space::built().run(&["gc", "--max-age", "0", "--dry-run"]);
    let expected = "note: `--max-age 0` is no limit; `kache purge` removes everything\n";
    assert!(text.contains(expected) && text.ends_with("exit status 0\n"), "{text}");
}
