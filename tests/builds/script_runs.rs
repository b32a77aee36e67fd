//! A run that is restored leaves what the run itself left, at the place where it is restored; and whatever happens to a
//! run, nothing wrong is ever restored.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::hidden_inputs::check_noticed;
use crate::never_in_the_way::{INTERRUPTIBLE, WITHOUT_PRIVILEGE};
use crate::scripts::{AGAIN, with_script, with_script_in};
use crate::support::disk::{self, snapshot};
use crate::support::gate::Gate;
use crate::support::toolchain::kache;
use crate::support::{Cargo, TestSpace, open_for_reader, succeed};

/// A second checkout at another depth, whose script is not to run.
#[track_caller]
fn check_second_checkout(space: &TestSpace) {
    space.copy_tree("p", "deeper/place/p");
    space.build("p");
    space.build("deeper/place/p").assert_compiled(&[], "the second checkout");
}

/// The `OUT_DIR` of the script of `p` in a target directory.
pub(crate) fn out_dir(space: &TestSpace, target: &str) -> std::path::PathBuf {
    let build = space.path(target).join("debug/build");
    let entries = fs::read_dir(build).expect("there is a build directory");
    let mut found = entries.map(|entry| entry.expect("an entry").path().join("out"));
    found.find(|path| path.is_dir()).expect("the script has run")
}

#[test]
fn everything_that_a_script_leaves_comes_back() {
    let space = with_script(
        "use std::os::unix::ffi::OsStrExt as _;\n\
         use std::os::unix::fs::{PermissionsExt as _, symlink};\n\
         for number in 0..300 {\n\
         let directory = out.join(format!(\"tree/{}\", number % 7));\n\
         std::fs::create_dir_all(&directory).unwrap();\n\
         std::fs::write(directory.join(number.to_string()), vec![number as u8; number * 31]).unwrap();\n}\n\
         std::fs::create_dir_all(out.join(\"empty/inner\")).unwrap();\n\
         std::fs::write(out.join(\"program\"), \"#!/bin/sh\\n\").unwrap();\n\
         std::fs::set_permissions(out.join(\"program\"), std::fs::Permissions::from_mode(0o750)).unwrap();\n\
         std::fs::write(out.join(\"locked\"), \"\").unwrap();\n\
         std::fs::set_permissions(out.join(\"locked\"), std::fs::Permissions::from_mode(0o400)).unwrap();\n\
         std::fs::write(out.join(std::ffi::OsStr::from_bytes(b\"\\xff\\xfe name\")), \"x\").unwrap();\n\
         symlink(\"program\", out.join(\"near\")).unwrap();\n\
         symlink(out.join(\"tree/3\"), out.join(\"far\")).unwrap();\n\
         symlink(\"/nowhere\", out.join(\"broken\")).unwrap();\n\
         std::fs::write(out.join(\"where\"), out.to_str().unwrap()).unwrap();\n\
         \"one\".into()",
    );
    check_second_checkout(&space);
    let (first, second) = (out_dir(&space, "p/target"), out_dir(&space, "deeper/place/p/target"));
    let tree = |place: &Path| snapshot(place, |name| name != Path::new("where"));
    assert_eq!(tree(&first), tree(&second));
    assert_eq!(tree(&first).len(), 304);
    for place in [&first, &second] {
        let text = fs::read_to_string(place.join("where")).expect("a text");
        assert_eq!(Path::new(&text), place, "a text names its own place");
        let link = |name: &str| fs::read_link(place.join(name)).expect("a link");
        assert_eq!(link("near"), Path::new("program"));
        assert_eq!(link("far"), place.join("tree/3"));
        assert_eq!(link("broken"), Path::new("/nowhere"));
        assert!(place.join("empty/inner").is_dir());
    }
}

/// `/dev` is the machine's, but there people keep target directories in memory.
#[test]
fn what_a_script_leaves_in_shared_memory_comes_back() {
    let space = with_script_in(TestSpace::below(Path::new("/dev/shm")), "\"one\".into()");
    space.build("p");
    space.remove("p/target");
    space.build("p").assert_compiled(&[], "nothing changed");
    assert_eq!(space.output_of("p/target/debug/p"), "one\n");
}

#[test]
fn what_an_earlier_run_left_does_not_stay() {
    let space = with_script(
        "let value = std::fs::read_to_string(here.join(\"data.txt\")).unwrap();\n\
         std::fs::write(out.join(&value), \"\").unwrap();\n\
         let mut names: Vec<_> = std::fs::read_dir(out).unwrap()\n\
         .map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();\n\
         names.sort();\nnames.join(\" \")",
    );
    for value in ["one", "two", "one", "two"] {
        space.write("p/data.txt", value);
        space.build("p");
        assert_eq!(space.output_of("p/target/debug/p").trim_end(), value);
        let names = snapshot(&out_dir(&space, "p/target"), |_| true);
        let names: Vec<_> = names.keys().map(|name| name.to_str().expect("text")).collect();
        assert_eq!(names, [value, "value.rs"]);
    }
}

#[test]
fn what_a_script_tells_cargo_is_told_for_the_place() {
    let space = with_script(
        "println!(\"cargo::rustc-link-search=native={}\", out.display());\n\
         println!(\"cargo::rustc-env=PLACE={}\", out.display());\n\
         println!(\"cargo::rustc-cfg=marked\");\n\
         println!(\"cargo::rustc-check-cfg=cfg(marked)\");\n\
         println!(\"cargo::warning=made in {}\", here.display());\n\
         eprintln!(\"a word on standard error\");\n\
         \"one\".into()",
    );
    space.write(
        "p/src/main.rs",
        "#[cfg(marked)]\nfn main() { println!(\"{}\", env!(\"PLACE\")); }\n",
    );
    space.copy_tree("p", "deeper/place/p");
    for (place, expected) in [("p", true), ("deeper/place/p", false), ("p", false)] {
        space.remove(format!("{place}/target"));
        let build = space.build(place);
        let ran = build.compiled.iter().any(|unit| unit == "script(p)");
        assert_eq!(ran, expected, "{place}\n{}", build.text());
        let warning = format!("warning: p@0.1.0: made in {}\n", space.path(place).display());
        assert!(build.text().contains(&warning), "{}", build.text());
        let printed = space.output_of(&format!("{place}/target/debug/p"));
        assert_eq!(Path::new(printed.trim_end()), out_dir(&space, &format!("{place}/target")));
        space.build(place).assert_fresh(place);
    }
}

#[test]
fn an_object_that_names_its_place_in_its_code_is_made_anew_at_another() {
    let space = with_script(
        "let place = format!(\"-DPLACE=\\\"{}\\\"\", out.display());\n\
         run(Command::new(\"cc\").args([\"-c\", \"-o\"]).arg(out.join(\"place.o\")).arg(place).arg(\"place.c\"));\n\
         run(Command::new(\"ar\").arg(\"rcsD\").args([out.join(\"libplace.a\"), out.join(\"place.o\")]));\n\
         println!(\"cargo::rustc-link-search=native={}\", out.display());\n\
         println!(\"cargo::rustc-link-lib=static=place\");\n\"one\".into()",
    );
    space.write("p/place.c", "const char *place(void) { return PLACE; }\n");
    space.write(
        "p/src/main.rs",
        "unsafe extern \"C\" { fn place() -> *const std::ffi::c_char; }\n\
         fn main() { println!(\"{}\", unsafe { std::ffi::CStr::from_ptr(place()) }.to_str().unwrap()); }\n",
    );
    space.copy_tree("p", "deeper/p");
    for (place, runs) in [("p", true), ("deeper/p", true), ("p", false), ("deeper/p", false)] {
        space.remove(format!("{place}/target"));
        let build = space.build(place);
        let printed = space.output_of(&format!("{place}/target/debug/p"));
        let expected = out_dir(&space, &format!("{place}/target"));
        assert_eq!(Path::new(printed.trim_end()), expected, "{}", build.text());
        let ran = build.compiled.contains(&"script(p)".to_owned());
        assert_eq!(ran, runs, "once at each place\n{}", build.text());
    }
    let why = space.cargo("p", ["why-miss", "p"]).by_kache().succeed().text();
    assert!(why.contains("location of <build>: "), "{why}");
}

#[test]
fn debug_information_of_c_does_not_bind_a_run_to_its_place() {
    let space = with_script(
        "run(Command::new(\"cc\").args([\"-g\", \"-c\", \"-o\"]).arg(out.join(\"x.o\")).arg(here.join(\"x.c\")));\n\
         \"one\".into()",
    );
    space.write("p/x.c", "int x(void) { return 1; }\n");
    check_second_checkout(&space);
}

/// The `cc` crate runs `kache cc …` where Cargo runs kache, so that C compilers had not been told where files are said
/// to be.
#[test]
fn debug_information_of_c_does_not_bind_a_run_where_kache_stands_before_the_compiler() {
    let space = with_script(
        "let kache = std::env::var_os(\"RUSTC_WRAPPER\").unwrap();\n\
         run(Command::new(kache).args([\"cc\", \"-g\", \"-c\", \"-o\"]).arg(out.join(\"x.o\")).arg(here.join(\"x.c\")));\n\
         \"one\".into()",
    );
    space.write("p/x.c", "int x(void) { return 1; }\n");
    check_second_checkout(&space);
}

#[test]
fn the_number_of_jobs_does_not_matter() {
    let space = with_script(
        "run(Command::new(\"cc\").args([\"-c\", \"-o\"]).arg(out.join(\"x.o\")).arg(\"x.c\"));\n\
         assert!(std::env::var(\"NUM_JOBS\").is_ok());\n\"one\".into()",
    );
    space.write("p/x.c", "int x(void) { return 1; }\n");
    space.cargo("p", ["build", "-j1"]).succeed();
    space.remove("p/target");
    space.cargo("p", ["build", "-j2"]).succeed().assert_compiled(&[], "another number of jobs");
}

#[test]
fn a_script_that_makes_a_file_elsewhere_runs_each_time() {
    let space = with_script(
        "std::fs::write(here.join(\"src/made.txt\"), \"made\").unwrap();\n\"one\".into()",
    );
    for what in ["a cold build", "a warm one"] {
        space.remove("p/target");
        space.remove("p/src/made.txt");
        let build = space.build("p");
        assert!(build.compiled.contains(&"script(p)".to_owned()), "{what}: {}", build.text());
        assert_eq!(space.read("p/src/made.txt"), "made", "{what}");
    }
}

#[test]
fn a_script_that_fails_is_run_until_it_does_not() {
    let space = with_script(
        "println!(\"said before\");\neprintln!(\"it went wrong\");\n\
         if here.join(\"bad\").exists() { std::fs::write(out.join(\"half\"), \"\").unwrap(); std::process::exit(3); }\n\
         \"one\".into()",
    );
    space.write("p/bad", "");
    let plain = space.cargo("p", ["build"]).plain().target_directory("plain").run();
    for what in ["the first time", "again"] {
        let failed = space.cargo("p", ["build"]).run();
        assert!(failed.compiled.contains(&"script(p)".to_owned()), "{what}: {}", failed.text());
        for text in ["said before", "it went wrong", "exit status: 3"] {
            assert!(failed.text().contains(text), "{what}: {text}\n{}", failed.text());
            assert!(plain.text().contains(text), "{text}\n{}", plain.text());
        }
    }
    space.remove("p/bad");
    space.build("p");
    assert!(!out_dir(&space, "p/target").join("half").exists());
    assert_eq!(space.output_of("p/target/debug/p"), "one\n");
}

/// A script that stops in the middle of its work, until somebody opens the pipe `p/gate`.
fn with_gate() -> TestSpace {
    let space = with_script(
        "std::fs::write(out.join(\"half\"), \"half\").unwrap();\n\
         std::fs::read(here.join(\"gate\")).unwrap();\n\
         std::fs::remove_file(out.join(\"half\")).unwrap();\n\"one\".into()",
    );
    succeed(Command::new("mkfifo").arg(space.path("p/gate")));
    space
}

#[track_caller]
fn check_killed(signal: Signal) {
    let space = with_gate();
    let mut command = space.cargo("p", ["build"]).launched_by(INTERRUPTIBLE).command();
    command.process_group(0).stderr(Stdio::piped());
    let child = command.spawn().expect("cargo can be started");
    let opened = open_for_reader(&space.path("p/gate"));
    kill_process_group(Pid::from_child(&child), signal).expect("the group can be signalled");
    // The stream ends when the last process of the build is gone.
    let output = child.wait_with_output().expect("cargo ends");
    assert!(!output.status.success());
    drop(opened);
    space.remove("p/gate");
    space.write("p/gate", "");
    space.build("p").assert_compiled(&AGAIN, "after the run was killed");
    assert!(!out_dir(&space, "p/target").join("half").exists());
    space.build("p").assert_fresh("after the run was killed");
    space.remove("p/target");
    space.build("p").assert_compiled(&[], "from the store");
    assert_eq!(space.output_of("p/target/debug/p"), "one\n");
}

#[test]
fn a_run_that_is_interrupted_leaves_nothing_wrong() {
    check_killed(Signal::INT);
}

#[test]
fn a_run_that_is_killed_leaves_nothing_wrong() {
    check_killed(Signal::KILL);
}

/// Builds `p`, whose script makes its value of the input first and then stops at the gate, while the
/// input changes in between; and then with each value of the input from nothing.
#[track_caller]
fn check_change_during_the_run(space: &TestSpace, gate: Gate, put: impl Fn(&TestSpace, &str)) {
    put(space, "one");
    let mut command = space.cargo("p", ["build"]).command();
    let mut child = command.stderr(Stdio::null()).spawn().expect("cargo can be started");
    let _gate = gate.pass(|| put(space, "two"));
    assert!(child.wait().expect("cargo ends").success());
    for value in ["two", "one", "two"] {
        put(space, value);
        space.remove("p/target");
        space.build("p");
        assert_eq!(space.output_of("p/target/debug/p").trim_end(), value);
    }
}

#[test]
fn a_file_that_changes_during_the_run_is_not_taken_for_what_it_became() {
    let gate = Gate::new();
    let space = with_script(&format!(
        "let value = std::fs::read_to_string(here.join(\"data.txt\")).unwrap();\n{}value",
        gate.code()
    ));
    let put = |space: &TestSpace, value: &str| drop(space.write("p/data.txt", value));
    check_change_during_the_run(&space, gate, put);
}

#[test]
fn a_program_that_changes_during_the_run_is_not_taken_for_what_it_became() {
    let gate = Gate::new();
    let mut space = with_script(&format!(
        "let value = run(&mut Command::new(\"describe\"));\n{}value",
        gate.code()
    ));
    space.set_variable("PATH", &format!("{}:/usr/bin:/bin", space.path("tools").display()));
    for value in ["one", "two"] {
        let code =
            format!("#include <stdio.h>\nint main(void) {{ return puts(\"{value}\") < 0; }}\n");
        let (source, program) = (space.write("value.c", code), space.path(value));
        succeed(Command::new("cc").arg("-o").args([&program, &source]));
    }
    fs::create_dir(space.path("tools")).expect("a directory can be created");
    check_change_during_the_run(&space, gate, |space, value| {
        fs::copy(space.path(value), space.path("tools/describe")).expect("a program can be copied");
    });
}

#[test]
fn two_checkouts_at_once_get_what_is_right_for_each() {
    let space = with_script(
        "println!(\"cargo::rustc-env=PLACE={}\", here.display());\n\
         for number in 0..50 { std::fs::write(out.join(number.to_string()), here.to_str().unwrap()).unwrap(); }\n\
         \"one\".into()",
    );
    space.write("p/src/main.rs", "fn main() { println!(\"{}\", env!(\"PLACE\")); }\n");
    let checkouts = ["p", "b/p", "c/c/p", "d/d/d/p"];
    for checkout in &checkouts[1..] {
        space.copy_tree("p", checkout);
    }
    let children: Vec<_> = checkouts
        .iter()
        .map(|checkout| {
            let mut command = space.cargo(checkout, ["build"]).command();
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().expect("cargo can be started")
        })
        .collect();
    for mut child in children {
        assert!(child.wait().expect("cargo ends").success());
    }
    let runs = space.compiled().iter().filter(|unit| *unit == "script(p)").count();
    assert!((1..=2).contains(&runs), "{runs} runs for {} checkouts", checkouts.len());
    for checkout in checkouts {
        let place = space.path(checkout);
        let printed = space.output_of(&format!("{checkout}/target/debug/p"));
        assert_eq!(Path::new(printed.trim_end()), place);
        let out = out_dir(&space, &format!("{checkout}/target"));
        for number in 0..50 {
            let text = fs::read_to_string(out.join(number.to_string())).expect("a text");
            assert_eq!(Path::new(&text), place);
        }
        space.build(checkout).assert_fresh(checkout);
    }
}

#[test]
fn an_out_dir_that_a_script_made_read_only_is_made_anew() {
    let space = with_script(
        "use std::os::unix::fs::PermissionsExt as _;\n\
         let value = std::fs::read_to_string(here.join(\"data.txt\")).unwrap();\n\
         std::fs::create_dir_all(out.join(\"inner/deep\")).unwrap();\n\
         std::fs::write(out.join(\"inner/deep/file\"), &value).unwrap();\n\
         std::fs::write(out.join(\"value.rs\"), format!(\"{value:?}\")).unwrap();\n\
         for path in [\"inner/deep/file\", \"inner/deep\", \"inner\", \"\"] {\n\
         std::fs::set_permissions(out.join(path), std::fs::Permissions::from_mode(0o555)).unwrap();\n}\n\
         value",
    );
    let script = space.read("p/build.rs");
    let ending =
        "std::fs::write(out.join(\"value.rs\"), format!(\"{value:?}\")).unwrap();\n}\nfn run";
    assert!(script.contains(ending));
    space.write("p/build.rs", script.replace(ending, "}\nfn run"));
    for (value, what) in
        [("one", true), ("two", true), ("one", false), ("two", false), ("two", false)]
    {
        space.write("p/data.txt", value);
        let run = space.cargo("p", ["build"]);
        let root = rustix::process::geteuid().is_root();
        let run = if root { run.launched_by(WITHOUT_PRIVILEGE) } else { run };
        let build = run.succeed();
        let ran = build.compiled.contains(&"script(p)".to_owned());
        assert_eq!(ran, what, "{value}\n{}", build.text());
        assert_eq!(space.output_of("p/target/debug/p").trim_end(), value);
        let file = out_dir(&space, "p/target").join("inner/deep/file");
        assert_eq!(fs::read_to_string(&file).expect("a text"), value);
        let mode = fs::metadata(&file).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o555);
    }
}

/// Many shells pass on only what they could name themselves.
#[test]
fn a_script_gets_variables_that_no_shell_could_name() {
    let mut space = with_script("std::env::var(\"CFLAGS_x86_64-unknown-linux-gnu\").unwrap()");
    check_noticed(&mut space, &AGAIN, |space, value| {
        space.set_variable("CFLAGS_x86_64-unknown-linux-gnu", value.text());
    });
}

#[test]
fn a_launcher_goes_on_when_kache_is_gone() {
    let space = with_script("std::fs::read_to_string(here.join(\"data.txt\")).unwrap()");
    space.write("p/data.txt", "one");
    let copy = space.path("bin/kache");
    fs::create_dir(space.path("bin")).expect("a directory can be created");
    fs::copy(kache(), &copy).expect("kache can be copied");
    let through = || space.cargo("p", ["build"]).variable("RUSTC_WRAPPER", copy.as_os_str());
    through().succeed();
    space.remove("p/target");
    through().succeed().assert_compiled(&[], "the launcher is restored");
    space.remove("bin");
    space.write("p/data.txt", "two");
    let plain = space.cargo("p", ["build"]).plain().succeed();
    assert!(plain.compiled.contains(&"script(p)".to_owned()), "{}", plain.text());
    assert_eq!(space.output_of("p/target/debug/p"), "two\n");
    space.cargo("p", ["build"]).plain().succeed().assert_fresh("without kache");
}

#[test]
fn a_launcher_runs_the_script_where_kache_is_disabled() {
    let space = with_script("std::fs::read_to_string(here.join(\"data.txt\")).unwrap()");
    space.write("p/data.txt", "one");
    space.build("p");
    for value in ["two", "one", "two"] {
        space.write("p/data.txt", value);
        let disabled = space.cargo("p", ["build"]).variable("KACHE_DISABLED", "1").succeed();
        assert!(disabled.compiled.contains(&"script(p)".to_owned()), "{}", disabled.text());
        assert_eq!(space.output_of("p/target/debug/p").trim_end(), value);
    }
}

/// Runs Cargo with a file system of so many bytes over a directory of the space.
fn with_small_disk<'a>(space: &'a TestSpace, directory: &str, size: &str) -> Cargo<'a> {
    let place = space.path(directory).display().to_string();
    fs::create_dir_all(&place).expect("a directory can be created");
    let script = format!("mount -t tmpfs -o size={size} none '{place}' && exec \"$@\"");
    let launcher = ["unshare", "--map-root-user", "--mount", "sh", "-c", &script, "sh"];
    space.cargo("p", ["build"]).launched_by(launcher.map(str::to_owned))
}

#[test]
fn a_store_without_space_for_a_run_gives_nothing_wrong() {
    let space = with_script(
        "for number in 0..40 {\n\
         std::fs::write(out.join(number.to_string()), vec![number; 1 << 20]).unwrap();\n}\n\
         std::fs::read_to_string(here.join(\"data.txt\")).unwrap()",
    );
    space.write("p/data.txt", "one");
    // The index alone needs some megabytes.
    for size in ["1m", "24m", "40m"] {
        space.remove("p/target");
        space.remove("cache");
        with_small_disk(&space, "cache", size).succeed();
        assert_eq!(space.output_of("p/target/debug/p"), "one\n", "{size}");
        let out = out_dir(&space, "p/target");
        assert_eq!(fs::read(out.join("7")).expect("a file"), vec![7; 1 << 20], "{size}");
    }
}

#[test]
fn an_out_dir_without_space_fails_as_it_does_without_kache() {
    let space = with_script(
        "for number in 0..40 {\n\
         std::fs::write(out.join(number.to_string()), vec![number; 1 << 20]).unwrap();\n}\n\
         \"one\".into()",
    );
    space.build("p");
    space.remove("p/target");
    // With a result to restore, and without one.
    for what in ["from the store", "by a run"] {
        let failed = with_small_disk(&space, "p/target", "24m").run();
        assert!(!failed.status.success(), "{what}\n{}", failed.text());
        assert!(failed.text().contains("StorageFull"), "{what}\n{}", failed.text());
        space.remove("cache");
    }
    space.build("p");
    space.remove("p/target");
    space.build("p").assert_compiled(&[], "the store is whole");
    let out = out_dir(&space, "p/target");
    assert_eq!(fs::read(out.join("39")).expect("a file"), vec![39; 1 << 20]);
}

/// Whoever looks for a fault runs a script by hand, and names any directory.
#[test]
fn a_script_that_is_run_by_hand_empties_no_directory() {
    let space = with_script("\"one\".into()");
    space.build("p");
    let precious = space.write("precious/file", "kept");
    let build = space.path("p/target/debug/build");
    let scripts = disk::files(&build);
    let script = scripts.iter().find(|path| path.ends_with("build-script-build"));
    let status = Command::new(script.expect("a build script"))
        .current_dir(space.path("p"))
        .env("OUT_DIR", space.path("precious"))
        .env("RUSTC", &space.toolchain().rustc)
        .env("KACHE_CACHE_DIR", space.cache())
        .status();
    assert!(status.expect("it can be run").success());
    assert!(precious.exists());
}

/// The crate `cc` has C compilers run by a wrapper that it knows by its name.
#[test]
fn a_script_has_a_wrapper_that_works_and_that_nobody_knows() {
    let space = with_script(
        "let wrapper = std::env::var_os(\"RUSTC_WRAPPER\").unwrap();\n\
         let compiler = std::env::var_os(\"RUSTC\").unwrap();\n\
         assert!(run(Command::new(&wrapper).arg(compiler).arg(\"-vV\")).starts_with(\"rustc \"));\n\
         Path::new(&wrapper).file_stem().unwrap().to_str().unwrap().to_owned()",
    );
    for units in [&["build_script_build", "p(bin)", "script(p)"][..], &[]] {
        space.remove("p/target");
        space.build("p").assert_compiled(units, "");
        assert_eq!(space.output_of("p/target/debug/p"), "rustc-wrapper\n");
    }
}

/// It is as old as all that is shared: whoever removes old files takes it away.
#[test]
fn a_script_whose_executable_is_gone_is_compiled_again_by_the_next_build() {
    let space = with_script(
        "println!(\"cargo::rerun-if-changed=data.txt\");\n\
         std::fs::read_to_string(\"data.txt\").unwrap()",
    );
    space.write("p/data.txt", "one");
    space.build("p");
    let scripts = disk::files(&space.path("p/target/debug/build"));
    let real = scripts.iter().find(|path| path.extension().is_some_and(|end| end == "kache"));
    std::fs::remove_file(real.expect("a real executable")).expect("it can be removed");
    space.write("p/data.txt", "two");
    let failed = space.cargo("p", ["build"]).run();
    assert!(!failed.status.success());
    assert!(failed.text().contains("build again"), "{}", failed.text());
    space.build("p");
    assert_eq!(space.output_of("p/target/debug/p"), "two\n");
    space.build("p").assert_fresh("after that");
}
