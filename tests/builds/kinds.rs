//! Every kind of unit that Cargo builds is restored byte for byte, with the mode that the compiler
//! gave it, and works.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::hidden_inputs::{check_noticed, with_macro};
use crate::support::TestSpace;
use crate::support::disk::snapshot;
use crate::support::sample::SAMPLE_OUTPUT;

/// What of a target directory has to come back the same: all but Cargo's own notes and what only
/// the compiler's incremental mode reads.
fn outputs(target: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let of_cargo =
        [".fingerprint", "incremental", ".cargo-lock", ".rustc_info.json", ".cargo-build-lock"];
    snapshot(target, |name| {
        !name.components().any(|part| of_cargo.iter().any(|of| part.as_os_str() == *of))
    })
}

/// Builds the target directory `t` cold and again from nothing, and checks that no compiler runs
/// the second time, that every file comes back the same, and that names and modes are those of a
/// build without kache.
#[track_caller]
fn check_kind(space: &TestSpace, project: &str, arguments: &[&str]) {
    let run =
        |target: &str| space.cargo(project, arguments.iter().copied()).target_directory(target);
    space.remove("plain");
    space.remove("t");
    run("plain").plain().succeed();
    let plain = outputs(&space.path("plain"));
    let cold = run("t").succeed();
    assert!(!cold.compiled.is_empty(), "a cold build compiles\n{}", cold.text());
    let made = outputs(&space.path("t"));
    space.remove("t");
    run("t").succeed().assert_compiled(&[], &format!("{arguments:?} again"));
    let restored = outputs(&space.path("t"));

    let names = |tree: &BTreeMap<PathBuf, _>| tree.keys().cloned().collect::<Vec<_>>();
    let stable = |tree: &BTreeMap<PathBuf, _>| {
        let mut names = names(tree);
        // Names of objects for the debugger have random parts, and a launcher keeps the executable
        // of a build script beside itself.
        let differ = |name: &PathBuf| name.extension().is_some_and(|e| e == "dwo" || e == "kache");
        names.retain(|name| !differ(name));
        names
    };
    assert_eq!(
        stable(&made),
        stable(&plain),
        "{arguments:?}: files of a cold build and a plain one"
    );
    assert_eq!(
        names(&restored),
        names(&made),
        "{arguments:?}: files of a warm build and its cold one"
    );
    for (name, (mode, content)) in &made {
        let (restored_mode, restored_content) = &restored[name];
        assert!(content == restored_content, "{arguments:?}: content of {}", name.display());
        assert_eq!(
            mode & 0o111,
            restored_mode & 0o111,
            "{arguments:?}: mode of {}",
            name.display()
        );
        let is_shared = name.extension().is_some_and(|e| e == "rlib");
        if let Some((plain_mode, _)) = plain.get(name).filter(|_| !is_shared) {
            assert_eq!(plain_mode, mode, "{arguments:?}: mode of {}, cold", name.display());
            assert_eq!(plain_mode, restored_mode, "{arguments:?}: mode of {}", name.display());
        }
    }
    run("t").succeed().assert_fresh(&format!("{arguments:?}"));
}

fn sample() -> TestSpace {
    let space = TestSpace::new();
    space.sample("a");
    space
}

#[test]
fn libraries_programs_macros_and_build_scripts() {
    let space = sample();
    check_kind(&space, "a", &["build"]);
    assert_eq!(space.output_of("t/debug/app"), SAMPLE_OUTPUT);
}

#[test]
fn release_builds() {
    let space = sample();
    check_kind(&space, "a", &["build", "--release"]);
    assert_eq!(space.output_of("t/release/app"), SAMPLE_OUTPUT);
}

#[test]
fn test_harnesses_and_examples() {
    let space = sample();
    check_kind(&space, "a", &["test", "--no-run", "--workspace", "--all-targets"]);
    let arguments = ["test", "--workspace", "--all-targets"];
    let ran = space.cargo("a", arguments).target_directory("t").succeed();
    ran.assert_compiled(&[], "running what was restored");
    let text = ran.text();
    for name in ["tests::a_stone_has_a_name ... ok", "line_is_whole ... ok"] {
        assert!(text.contains(name), "{name} ran\n{text}");
    }
    let shown = space.cargo("a", ["run", "--example", "show"]).target_directory("t").succeed();
    assert_eq!(String::from_utf8_lossy(&shown.stdout), SAMPLE_OUTPUT);
}

#[test]
fn benches_and_tests_without_a_harness() {
    let space = sample();
    let program = "fn main() { assert_eq!(app::line(), \"Stone 9 42\"); }\n";
    space.write("a/app/benches/speed.rs", program);
    space.write("a/app/tests/alone.rs", program);
    let manifest = space.read("a/app/Cargo.toml");
    let targets = "[[bench]]\nname = \"speed\"\nharness = false\n\
                   [[test]]\nname = \"alone\"\nharness = false\n";
    space.write("a/app/Cargo.toml", format!("{manifest}{targets}"));
    check_kind(&space, "a", &["test", "--no-run", "--all-targets"]);
    check_kind(&space, "a", &["bench", "--no-run"]);
    let ran = space.cargo("a", ["bench"]).target_directory("t").succeed();
    ran.assert_compiled(&[], "running benches");
}

#[test]
fn a_crate_type_that_the_source_declares() {
    let space = TestSpace::new();
    space.write("p/lib.rs", "#![crate_type = \"lib\"]\npub fn value() -> i32 { 7 }\n");
    let out = space.path("p/out").display().to_string();
    let compile = || {
        space.remove("p/out");
        fs::create_dir(&out).expect("a directory can be created");
        let compiled =
            space.rustc("p", ["--crate-name", "p", "lib.rs", "--out-dir", &out]).succeed();
        (compiled.compiled, snapshot(&space.path("p/out"), |_| true))
    };
    let (first, made) = compile();
    let (again, restored) = compile();
    assert_eq!((first.len(), again.len()), (1, 0));
    assert!(made.contains_key(Path::new("libp.rlib")));
    assert_eq!(made, restored);
}

#[test]
fn checks_of_all_targets() {
    check_kind(&sample(), "a", &["check", "--workspace", "--all-targets"]);
}

#[test]
fn metadata_of_a_check_is_never_taken_for_that_of_a_build() {
    let space = sample();
    space.cargo("a", ["check"]).succeed();
    space.build("a");
    assert_eq!(space.output_of("a/target/debug/app"), SAMPLE_OUTPUT);
    space.remove("a/target");
    space.cargo("a", ["check"]).succeed().assert_compiled(&[], "a check again");
    space.build("a").assert_compiled(&[], "a build again");
    assert_eq!(space.output_of("a/target/debug/app"), SAMPLE_OUTPUT);
}

#[test]
fn clippy() {
    let mut space = sample();
    space.write("a/base/src/outer/inner.rs", "pub fn two() -> u32 { return 2; }\n");
    // What `cargo clippy` sets before it becomes `cargo check`.
    let driver = space.witnessed_clippy();
    space.set_variable("RUSTC_WORKSPACE_WRAPPER", &driver.display().to_string());
    space.set_variable("CLIPPY_ARGS", "");
    check_kind(&space, "a", &["check"]);
    space.remove("t");
    let again = space.cargo("a", ["check"]).target_directory("t").succeed();
    assert!(again.text().contains("needless_return"), "lints are replayed\n{}", again.text());
    space.set_variable("CLIPPY_CONF_DIR", &space.path("conf").display().to_string());
    space.remove("t");
    space.write("conf/clippy.toml", "msrv = \"1.50\"\n");
    let configured = space.cargo("a", ["check"]).target_directory("t").succeed();
    assert!(configured.compiled.contains(&"base".to_owned()), "another configuration");
}

#[test]
fn documentation_and_its_tests() {
    let space = sample();
    space.write(
        "a/base/src/lib.rs",
        "//! ```\n//! assert_eq!(base::sum(), 9);\n//! ```\npub mod outer;\npub fn sum() -> u32 { outer::inner::two() + pebble::weight() }\n",
    );
    for round in ["cold", "warm"] {
        space.remove("a/target");
        let documented = space.cargo("a", ["doc"]).succeed();
        let tested = space.cargo("a", ["test", "--doc", "--workspace"]).succeed();
        assert!(tested.text().contains("1 passed"), "{}", tested.text());
        assert!(space.path("a/target/doc/app/index.html").exists());
        if round == "warm" {
            documented.assert_compiled(&[], "metadata for documentation");
            let linked = tested.compiled.iter().filter(|unit| unit.as_str() != "rust_out");
            assert_eq!(linked.collect::<Vec<_>>(), [""; 0], "libraries for doctests");
        }
    }
}

#[test]
fn dynamic_and_static_libraries() {
    let space = TestSpace::new();
    space.package(
        "p",
        "[lib]\ncrate-type = [\"lib\", \"cdylib\", \"staticlib\"]\n",
        &[
            ("src/lib.rs", "#[unsafe(no_mangle)]\npub extern \"C\" fn value() -> i32 { 7 }\n"),
            ("src/main.rs", "fn main() { println!(\"{}\", p::value()); }\n"),
        ],
    );
    check_kind(&space, "p", &["build"]);
    assert_eq!(space.output_of("t/debug/p"), "7\n");
    for kind in ["cdylib", "staticlib", "dylib"] {
        let alone = TestSpace::new();
        let manifest = format!("[lib]\ncrate-type = [\"{kind}\"]\n");
        let source = "#[unsafe(no_mangle)]\npub extern \"C\" fn value() -> i32 { 7 }\n";
        alone.package("p", &manifest, &[("src/lib.rs", source)]);
        check_kind(&alone, "p", &["build"]);
    }
}

/// Builds the sample with variables that change how it is compiled, and runs it.
#[track_caller]
fn check_variables(variables: &[(&str, &str)]) {
    let mut space = sample();
    for (name, value) in variables {
        space.set_variable(name, value);
    }
    check_kind(&space, "a", &["build"]);
    assert_eq!(space.output_of("t/debug/app"), SAMPLE_OUTPUT);
}

#[test]
fn link_time_optimization_thin() {
    check_variables(&[("CARGO_PROFILE_DEV_LTO", "thin")]);
}

#[test]
fn link_time_optimization_fat() {
    check_variables(&[("CARGO_PROFILE_DEV_LTO", "fat")]);
}

#[test]
fn debug_information_in_files_beside_the_objects() {
    check_variables(&[("CARGO_PROFILE_DEV_SPLIT_DEBUGINFO", "unpacked")]);
}

#[test]
fn debug_information_in_a_package() {
    check_variables(&[("CARGO_PROFILE_DEV_SPLIT_DEBUGINFO", "packed")]);
}

#[test]
fn no_debug_information_and_stripped_symbols() {
    check_variables(&[("CARGO_PROFILE_DEV_DEBUG", "0"), ("CARGO_PROFILE_DEV_STRIP", "symbols")]);
}

/// Compilers do not look at it, and who wants reproducible builds sets it anew for each commit.
#[test]
fn a_date_for_reproducible_builds_is_no_input_of_who_does_not_read_it() {
    let mut space = TestSpace::new();
    space.sample("a");
    for (date, expected) in [("1600000000", None), ("1700000000", Some(&[][..]))] {
        space.set_variable("SOURCE_DATE_EPOCH", date);
        space.remove("a/target");
        let build = space.build("a");
        if let Some(expected) = expected {
            build.assert_compiled(expected, date);
        }
    }
}

#[test]
fn incremental_compilation_off() {
    check_variables(&[("CARGO_INCREMENTAL", "0")]);
}

#[test]
fn aborting_panics_in_one_codegen_unit() {
    check_variables(&[
        ("CARGO_PROFILE_DEV_PANIC", "abort"),
        ("CARGO_PROFILE_DEV_CODEGEN_UNITS", "1"),
    ]);
}

/// Instrumented macros and scripts write their counts as they end, and read the file for it: it was taken for
/// an input that had changed meanwhile.
#[test]
fn coverage_of_macros_and_scripts() {
    let mut space = with_macro("std::fs::read_to_string(here.join(\"data.txt\")).unwrap()");
    space.set_variable("RUSTFLAGS", "-Cinstrument-coverage");
    let script = format!("fn main() {{ {} }}\n", space.code_to_witness("script"));
    space.write("p/build.rs", script);
    check_noticed(&mut space, &["p(bin)"], |space, value| {
        space.write("p/data.txt", value.text());
    });
}

#[test]
fn coverage() {
    let mut space = sample();
    space.set_variable("RUSTFLAGS", "-Cinstrument-coverage");
    // With a target named, macros are not instrumented: one that is writes a profile of its own run.
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    check_kind(&space, "a", &["build", "--target", &triple]);
    assert_eq!(space.output_of(&format!("t/{triple}/debug/app")), SAMPLE_OUTPUT);
}

#[test]
fn a_target_named_on_the_command_line() {
    let space = sample();
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    check_kind(&space, "a", &["build", "--target", &triple]);
    assert_eq!(space.output_of(&format!("t/{triple}/debug/app")), SAMPLE_OUTPUT);
}

/// The place of the first call's output was taken for that of the second one's, and so were the names that
/// messages and dep-info have.
#[test]
fn outputs_of_direct_calls_that_differ_by_directory_alone() {
    let space = TestSpace::new();
    space.package("p", "", &[("src/lib.rs", "pub fn value() -> i32 { 7 }\n")]);
    let compile = |kinds: &str, directory: &str| {
        let arguments = ["--crate-name", "p", "--crate-type", "lib", "src/lib.rs", "--emit", kinds];
        let rest = ["-Ccodegen-units=1", "--error-format=json", "--json=artifacts", "--out-dir"];
        let arguments = arguments.into_iter().chain(rest).chain([directory]);
        space.rustc("p", arguments).succeed()
    };
    for name in ["o/a", "o/b", "o1", "o2"] {
        fs::create_dir_all(space.path("p").join(name)).expect("a directory can be created");
    }
    let outputs = space.path("p/o").display().to_string();
    for (path, compiled) in [("o/a", 1), ("o/b", 1), ("o/a", 0)] {
        for start in ["", &format!("{}/", space.path("p").display())] {
            let output = format!("p/{path}/p.s");
            space.remove(&output);
            let build = compile(&format!("asm={start}{path}/p.s,metadata"), &outputs);
            assert_eq!(build.compiled.len(), compiled, "{start}{path}");
            assert!(space.path(&output).exists(), "{start}{path}");
            assert!(build.text().contains(&format!("{start}{path}/p.s")), "{}", build.text());
        }
    }
    for directory in ["o1", "o2", "o1"] {
        let build = compile("dep-info,metadata", directory);
        let dep_info = space.read(format!("p/{directory}/p.d"));
        assert!(dep_info.starts_with(&format!("{directory}/p.d:")), "{dep_info}");
        assert!(build.text().contains(&format!("{directory}/p.d")), "{}", build.text());
    }
}

#[test]
fn arguments_in_a_response_file() {
    let space = TestSpace::new();
    space.package("p", "", &[("src/lib.rs", "pub fn value() -> i32 { 7 }\n")]);
    fs::create_dir(space.path("p/out")).expect("a directory can be created");
    let arguments = |name: &str| {
        format!(
            "--crate-name\n{name}\n--crate-type\nlib\n--edition=2024\nsrc/lib.rs\n--emit=link,metadata\n--out-dir\nout\n"
        )
    };
    let compile = || space.rustc("p", ["@arguments"]).succeed().compiled.len();
    space.write("p/arguments", arguments("p"));
    compile();
    let made = snapshot(&space.path("p/out"), |_| true);
    assert_eq!(made.len(), 2);
    space.remove("p/out");
    fs::create_dir(space.path("p/out")).expect("a directory can be created");
    let seen = space.read("witness/log").lines().count();
    compile();
    let restored = snapshot(&space.path("p/out"), |_| true);
    assert!(made == restored, "{:?} and {:?}", made.keys(), restored.keys());
    let log = space.read("witness/log");
    assert!(!log.lines().skip(seen).any(|line| line.contains("@arguments")), "a hit");
    space.write("p/arguments", arguments("q"));
    compile();
    assert!(space.path("p/out/libq.rlib").exists(), "the file's content is what counts");
}

#[test]
fn an_incremental_miss_compiles_incrementally() {
    let space = sample();
    space.build("a");
    let sessions = space.path("a/target/debug/incremental");
    let names: Vec<_> = fs::read_dir(&sessions).expect("there is incremental data").collect();
    assert!(!names.is_empty());
}

#[test]
fn an_incremental_result_is_never_taken_for_another() {
    let space = sample();
    space.cargo("a", ["build"]).variable("CARGO_INCREMENTAL", "1").succeed();
    space.remove("a/target");
    let other = space.cargo("a", ["build"]).variable("CARGO_INCREMENTAL", "0").succeed();
    assert!(other.compiled.contains(&"base".to_owned()), "{:?}", other.compiled);
}

#[test]
fn a_patched_and_a_renamed_dependency() {
    let space = TestSpace::new();
    space.vendor("pebble", "", &[("src/lib.rs", "pub fn weight() -> u32 { 7 }\n")]);
    space.package("fork", "", &[("src/lib.rs", "pub fn weight() -> u32 { 8 }\n")]);
    let fork = space.read("fork/Cargo.toml").replace("\"fork\"", "\"pebble\"");
    space.write("fork/Cargo.toml", fork);
    space.package(
        "p",
        "[dependencies]\nstone = { package = \"pebble\", version = \"0.1\" }\n",
        &[("src/main.rs", "fn main() { println!(\"{}\", stone::weight()); }\n")],
    );
    check_kind(&space, "p", &["build"]);
    assert_eq!(space.output_of("t/debug/p"), "7\n");
    let manifest = space.read("p/Cargo.toml");
    space.write(
        "p/Cargo.toml",
        format!("{manifest}\n[patch.crates-io]\npebble = {{ path = \"../fork\" }}\n"),
    );
    space.remove("t");
    space.remove("plain");
    check_kind(&space, "p", &["build"]);
    assert_eq!(space.output_of("t/debug/p"), "8\n");
}
