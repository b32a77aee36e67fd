//! Another checkout at another path is served from the same store, and nothing of the first one's
//! place is found in it.

use std::path::Path;

use crate::scripts::with_script;
use crate::support::TestSpace;
use crate::support::disk::files;
use crate::support::sample::SAMPLE_OUTPUT;

/// Fails if a file below the directory contains the text.
#[track_caller]
fn check_absent(directory: &Path, text: &Path) {
    let needle = text.as_os_str().as_encoded_bytes();
    for file in files(directory) {
        let content = std::fs::read(&file).expect("a file of the space can be read");
        let found = memchr::memmem::find(&content, needle).is_some();
        assert!(!found, "{} contains {}", file.display(), text.display());
    }
}

#[test]
fn a_second_checkout_compiles_nothing() {
    let space = TestSpace::new();
    space.sample("a");
    space.copy_tree("a", "b");
    space.build("a");
    space.build("b").assert_compiled(&[], "the second checkout");
    assert_eq!(space.output_of("b/target/debug/app"), SAMPLE_OUTPUT);
    check_absent(&space.path("b/target"), &space.path("a/"));
    space.build("b").assert_fresh("the second checkout");
    space.build("a").assert_fresh("the first checkout");
}

#[test]
fn a_second_checkout_of_tests_compiles_nothing() {
    let space = TestSpace::new();
    space.sample("a");
    space.copy_tree("a", "deeper/place/b");
    space.cargo("a", ["test", "--no-run", "--workspace"]).succeed();
    let second = space.cargo("deeper/place/b", ["test", "--workspace"]).succeed();
    let libraries: Vec<_> = second.compiled.iter().filter(|unit| *unit != "rust_out").collect();
    assert_eq!(libraries, [""; 0], "{}", second.text());
    check_absent(&space.path("deeper/place/b/target"), &space.path("a/"));
}

#[test]
fn a_checkout_that_moved_compiles_nothing() {
    let space = TestSpace::new();
    space.sample("a");
    space.build("a");
    space.remove("a/target");
    std::fs::rename(space.path("a"), space.path("elsewhere")).expect("a directory can be moved");
    space.build("elsewhere").assert_compiled(&[], "after the move");
}

#[test]
fn a_target_directory_elsewhere_compiles_nothing() {
    let space = TestSpace::new();
    space.sample("a");
    space.build("a");
    let elsewhere = space.cargo("a", ["build"]).target_directory("some/where").succeed();
    elsewhere.assert_compiled(&[], "another target directory");
    check_absent(&space.path("some/where"), &space.path("a/target"));
}

/// A Cargo that is run by a test has that test's `OUT_DIR`, and passes it on to all compilers.
#[test]
fn the_out_dir_of_another_build_changes_nothing() {
    let space = TestSpace::new();
    space.sample("a");
    space.copy_tree("a", "b");
    space.build("a");
    for outer in ["b/outer/target/debug/build/tested-1/out", "b/target/outer/build/tested-1/out"] {
        space.remove("b/target");
        let nested = space.cargo("b", ["build"]);
        let nested = nested.variable("OUT_DIR", space.path(outer)).succeed();
        nested.assert_compiled(&[], outer);
    }
}

/// Cargo gives a path dependency an identity by its path from the workspace where it is below that, member or not.
#[test]
fn a_path_dependency_below_the_workspace_is_the_same_crate_in_another_checkout() {
    let space = TestSpace::new();
    space.write(
        "a/Cargo.toml",
        "[package]\nname = \"a\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
         [dependencies]\nl = { path = \"other/l\" }\n[workspace]\nexclude = [\"other\"]\n",
    );
    space.write("a/src/main.rs", "fn main() { println!(\"{}\", l::l()); }\n");
    space.package("a/other/l", "", &[("src/lib.rs", "pub fn l() -> u32 { 41 }\n")]);
    space.copy_tree("a", "deeper/place/a");
    space.build("a");
    space.build("deeper/place/a").assert_compiled(&[], "the second checkout");
    assert_eq!(space.output_of("deeper/place/a/target/debug/a"), "41\n");
}

#[test]
fn a_crate_that_bakes_its_path_is_rebuilt_where_it_is_and_right() {
    let space = TestSpace::new();
    space.write("a/Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"p\", \"plain\"]\n");
    space.package("a/plain", "", &[("src/lib.rs", "pub fn word() -> &'static str { \"at\" }\n")]);
    space.package(
        "a/p",
        "[dependencies]\nplain = { path = \"../plain\" }\n",
        &[(
            "src/main.rs",
            "fn main() { println!(\"{} {}\", plain::word(), env!(\"CARGO_MANIFEST_DIR\")); }\n",
        )],
    );
    space.copy_tree("a", "b");
    let printed = |checkout: &str| format!("at {}\n", space.path(checkout).join("p").display());
    space.build("a");
    space.build("b").assert_compiled(&["p(bin)"], "only what bakes its path");
    for checkout in ["a", "b"] {
        assert_eq!(space.output_of(&format!("{checkout}/target/debug/p")), printed(checkout));
        space.remove(format!("{checkout}/target"));
    }
    for checkout in ["b", "a"] {
        space.build(checkout).assert_compiled(&[], "both are known now");
        assert_eq!(space.output_of(&format!("{checkout}/target/debug/p")), printed(checkout));
    }
}

#[test]
fn a_test_that_runs_a_program_by_its_path_runs_the_one_beside_it() {
    let space = TestSpace::new();
    space.sample("a");
    space.write(
        "a/app/tests/whole.rs",
        "#[test]\nfn it_runs() {\n    println!(\"runs {}\", env!(\"CARGO_BIN_EXE_app\"));\n    \
         assert!(std::process::Command::new(env!(\"CARGO_BIN_EXE_app\")).status().unwrap().success());\n}\n",
    );
    space.copy_tree("a", "b");
    for checkout in ["a", "b", "a"] {
        space.remove(format!("{checkout}/target"));
        let arguments = ["test", "-p", "app", "--test", "whole", "--", "--nocapture"];
        let tested = space.cargo(checkout, arguments).succeed();
        let program = space.path(checkout).join("target/debug/app");
        assert!(
            tested.text().contains(&format!("runs {}", program.display())),
            "{}",
            tested.text()
        );
    }
}

#[test]
fn generated_code_is_that_of_the_checkout() {
    let space = TestSpace::new();
    space.sample("a");
    space.copy_tree("a", "b");
    let script = space.read("b/native/build.rs").replace("42", "43");
    space.write("b/native/build.rs", script);
    space.build("a");
    space.build("b");
    assert_eq!(space.output_of("b/target/debug/app"), "Stone 9 43\n");
    assert_eq!(space.output_of("a/target/debug/app"), SAMPLE_OUTPUT);
}

#[test]
fn the_source_location_in_a_member_is_what_it_is_without_kache() {
    let space = TestSpace::new();
    space.package(
        "p",
        "",
        &[
            ("src/main.rs", "mod deep;\nfn main() { println!(\"{} {}\", file!(), deep::HERE); }\n"),
            ("src/deep/mod.rs", "pub const HERE: &str = file!();\n"),
        ],
    );
    space.cargo("p", ["build"]).plain().target_directory("plain").succeed();
    space.build("p");
    assert_eq!(space.output_of("p/target/debug/p"), space.output_of("plain/debug/p"));
}

#[test]
fn warnings_name_the_files_of_the_checkout() {
    let space = TestSpace::new();
    space.package("a/dependency", "", &[("src/lib.rs", "fn unused() {}\n")]);
    space.package(
        "a/project",
        "[dependencies]\ndependency = { path = \"../dependency\" }\n[workspace]\n",
        &[("src/main.rs", "use dependency as _;\nfn main() { let never = 1; }\n")],
    );
    space.copy_tree("a", "b");
    let messages = |checkout: &str, plain: bool| {
        space.remove("t");
        let directory = format!("{checkout}/project");
        let run = space.cargo(&directory, ["build"]).quiet().target_directory("t");
        let text = if plain { run.plain() } else { run }.succeed().messages();
        assert!(text.contains("warning:"), "there is a warning\n{text}");
        text
    };
    for checkout in ["a", "b", "a", "b"] {
        space.cargo(&format!("{checkout}/project"), ["generate-lockfile"]).plain().succeed();
        assert_eq!(messages(checkout, false), messages(checkout, true), "{checkout}");
    }
}

/// The name that the one has in diagnostics begins with that of the other.
#[test]
fn errors_of_a_package_never_place_another_one_beside_it() {
    let space = TestSpace::new();
    space.package("one/ab-x", "", &[("src/lib.rs", "pub fn two(_: u32, _: u32) {}\n")]);
    let dependencies = "[dependencies]\nab-x = { path = \"../../one/ab-x\" }\n";
    let code = "pub fn broken() { ab_x::two(1) }\n";
    space.package("other/ab", dependencies, &[("src/lib.rs", code)]);
    let dependencies = "[dependencies]\nab = { path = \"../other/ab\" }\n";
    space.package("p", dependencies, &[("src/main.rs", "fn main() {}\n")]);
    let said = space.cargo("p", ["build"]).quiet().run().text();
    assert!(said.contains("function defined here"), "{said}");
    assert!(said.contains("other/ab/src/lib.rs"), "{said}");
    assert!(!said.contains("other/ab-x"), "{said}");
}

#[test]
fn a_macro_that_reads_a_file_of_its_package_reads_that_of_the_checkout() {
    let space = TestSpace::new();
    space.write("a/Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"p\", \"peek\"]\n");
    space.package(
        "a/peek",
        "[lib]\nproc-macro = true\n",
        &[(
            "src/lib.rs",
            "#[proc_macro]\npub fn peek(_: proc_macro::TokenStream) -> proc_macro::TokenStream {\n\
             let here = std::env::var(\"CARGO_MANIFEST_DIR\").unwrap();\n\
             let text = std::fs::read_to_string(here + \"/data.txt\").unwrap();\n\
             format!(\"{text:?}\").parse().unwrap()\n}\n",
        )],
    );
    space.package(
        "a/p",
        "[dependencies]\npeek = { path = \"../peek\" }\n",
        &[("src/main.rs", "fn main() { print!(\"{}\", peek::peek!()); }\n"), ("data.txt", "one")],
    );
    space.copy_tree("a", "b");
    space.build("a");
    space.build("b").assert_compiled(&[], "the same text at another place");
    space.write("b/p/data.txt", "two");
    space.remove("b/target");
    space.build("b").assert_compiled(&["p(bin)"], "another text");
    assert_eq!(space.output_of("b/target/debug/p"), "two");
    assert_eq!(space.output_of("a/target/debug/p"), "one");
}

#[test]
fn a_macro_that_includes_what_its_script_made_is_the_same_in_every_checkout() {
    let space = TestSpace::new();
    space.package(
        "a",
        "[lib]\nproc-macro = true\n",
        &[
            (
                "build.rs",
                "fn main() {\n\
                 let out = std::env::var(\"OUT_DIR\").unwrap();\n\
                 std::fs::write(out + \"/number.rs\", \"7\").unwrap();\n}\n",
            ),
            (
                "src/lib.rs",
                "const NUMBER: u32 = include!(concat!(env!(\"OUT_DIR\"), \"/number.rs\"));\n\
                 #[proc_macro]\npub fn number(_: proc_macro::TokenStream) -> proc_macro::TokenStream {\n\
                 NUMBER.to_string().parse().unwrap()\n}\n",
            ),
        ],
    );
    space.copy_tree("a", "b");
    space.build("a");
    space.build("b").assert_compiled(&[], "another checkout");
}

/// What a script makes of its place need not show the place.
#[test]
fn without_path_normalization_checkouts_have_nothing_in_common() {
    let mut space = with_script("here.file_name().unwrap().to_str().unwrap().to_owned()");
    space.set_variable("KACHE_PATH_NORMALIZE", "0");
    space.copy_tree("p", "q");
    for package in ["p", "q", "p"] {
        space.remove(format!("{package}/target"));
        space.build(package);
        let program = format!("{package}/target/debug/p");
        assert_eq!(space.output_of(&program).trim_end(), package);
    }
}

/// Builds `p`, whose files name it by its place, and a copy of it when the file that is read there has
/// changed: what was written down means the first one still.
#[track_caller]
fn check_named_by_its_place(space: &TestSpace, put: impl Fn(&TestSpace, &str)) {
    space.write("p/data.txt", "one");
    put(space, &space.path("p").display().to_string());
    space.build("p");
    assert_eq!(space.output_of("p/target/debug/p"), "one\n");
    space.remove("p/target");
    space.copy_tree(space.path("p"), "q");
    space.write("p/data.txt", "two");
    for directory in ["q", "p", "q"] {
        space.remove(format!("{directory}/target"));
        space.build(directory);
        assert_eq!(space.output_of(&format!("{directory}/target/debug/p")), "two\n", "{directory}");
    }
}

#[test]
fn a_file_that_the_source_names_by_its_place() {
    let space = TestSpace::new();
    space.package("p", "", &[]);
    check_named_by_its_place(&space, |space, place| {
        let text =
            format!("fn main() {{ println!(\"{{}}\", include_str!(\"{place}/data.txt\")); }}\n");
        space.write("p/src/main.rs", text);
    });
}

#[test]
fn a_file_that_a_script_names_by_its_place() {
    let space = with_script("String::new()");
    let script = space.read("p/build.rs");
    check_named_by_its_place(&space, |space, place| {
        let body = format!("std::fs::read_to_string(\"{place}/data.txt\").unwrap()");
        space.write("p/build.rs", script.replace("String::new()", &body));
    });
}

#[test]
fn a_file_that_a_file_elsewhere_names_by_its_place() {
    let mut space = TestSpace::new();
    let elsewhere = tempfile::tempdir_in("/var/tmp").expect("a directory far away");
    let site = elsewhere.path().join("site.conf");
    space.set_variable("SITE", &site.display().to_string());
    let script = "fn main() {\n\
                  let site = std::fs::read_to_string(std::env::var_os(\"SITE\").unwrap()).unwrap();\n\
                  let value = std::fs::read_to_string(site).unwrap();\n\
                  println!(\"cargo::rustc-env=VALUE={value}\");\n}\n";
    let source = "fn main() { println!(\"{}\", env!(\"VALUE\")); }\n";
    space.package("p", "", &[("build.rs", script), ("src/main.rs", source)]);
    check_named_by_its_place(&space, |_, place| {
        std::fs::write(&site, format!("{place}/data.txt")).expect("one's own directory");
    });
}

/// Builds `p`, which prints a path that somebody wrote down, for another user: it is not that user's.
#[track_caller]
fn check_written_home(space: &TestSpace) {
    let written = format!("{}/kit\n", space.path("home").display());
    space.build("p");
    assert_eq!(space.output_of("p/target/debug/p"), written);
    space.remove("p/target");
    let home = space.path("other-home").display().to_string();
    space.cargo("p", ["build"]).variable("HOME", home).succeed();
    assert_eq!(space.output_of("p/target/debug/p"), written);
}

#[test]
fn a_path_in_the_home_that_a_script_says() {
    let space = with_script("String::new()");
    let script = space.read("p/build.rs");
    let body = format!("\"{}/kit\".into()", space.path("home").display());
    space.write("p/build.rs", script.replace("String::new()", &body));
    check_written_home(&space);
}

#[test]
fn a_path_in_the_home_that_a_file_says() {
    let space = with_script("std::fs::read_to_string(here.join(\"site.conf\")).unwrap()");
    space.write("p/site.conf", format!("{}/kit", space.path("home").display()));
    check_written_home(&space);
}

#[test]
fn a_file_beside_the_checkout_that_the_source_names_by_its_place() {
    let space = TestSpace::new();
    space.package("x/p", "[workspace]\n", &[]);
    let place = space.path("x").display().to_string();
    let text = format!("fn main() {{ println!(\"{{}}\", include_str!(\"{place}/data.txt\")); }}\n");
    space.write("x/p/src/main.rs", text);
    space.copy_tree(space.path("x/p"), "y/p");
    for name in ["x/data.txt", "y/data.txt"] {
        space.write(name, "one");
    }
    space.build("x/p");
    space.write("x/data.txt", "two");
    for directory in ["y/p", "x/p"] {
        space.remove(format!("{directory}/target"));
        space.build(directory);
        assert_eq!(space.output_of(&format!("{directory}/target/debug/p")), "two\n", "{directory}");
    }
}
