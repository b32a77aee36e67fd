//! Checkouts and packages that lie in different ways: what is looked for in the directories above, what is named
//! by way of `..` only because it lies beside, and what outputs call it.

use std::process::Command;

use crate::support::{TestSpace, succeed};

/// A program in a checkout that prints what its build script says, the value of `body`.
fn lay_out(space: &TestSpace, checkout: &str, body: &str) {
    let script = format!(
        "#![allow(unused)]\nuse std::path::{{Path, PathBuf}};\n\
         fn look() -> String {{ {body} }}\n\
         fn main() {{ println!(\"cargo::rerun-if-changed=build.rs\"); \
         println!(\"cargo::rustc-env=FOUND={{}}\", look()); }}\n"
    );
    let program = "fn main() { println!(\"{}\", env!(\"FOUND\")); }\n";
    space.package(checkout, "[workspace]\n", &[("src/main.rs", program), ("build.rs", &script)]);
    space.write(format!("{checkout}/.git/HEAD"), "");
}

/// Builds a checkout from nothing; returns what ran.
#[track_caller]
fn check(space: &TestSpace, checkout: &str, expected: &str) -> Vec<String> {
    space.remove(format!("{checkout}/target"));
    let build = space.build(checkout);
    let found = space.output_of(&format!("{checkout}/target/debug/p"));
    assert_eq!(found.trim_end(), expected, "{checkout}");
    build.compiled
}

/// Goes up from the directory that a variable names.
fn search_from(variable: &str) -> String {
    format!(
        "let mut at = PathBuf::from(std::env::var_os(\"{variable}\").unwrap());\n\
         loop {{\n\
         if let Ok(text) = std::fs::read_to_string(at.join(\"found.txt\")) {{ return text; }}\n\
         if !at.pop() {{ return \"none\".into(); }}\n}}"
    )
}

#[test]
fn a_search_in_a_checkout_that_lies_deeper_below_home() {
    let space = TestSpace::new();
    for checkout in ["home/p", "home/q/p", "home/other/p", "home/project/trees/p"] {
        lay_out(&space, checkout, &search_from("CARGO_MANIFEST_DIR"));
    }
    space.write("home/project/found.txt", "one");
    check(&space, "home/p", "none");
    check(&space, "home/project/trees/p", "one");
    check(&space, "home/q/p", "none");
    assert_eq!(check(&space, "home/other/p", "none"), [""; 0], "it lies as the one before");
}

#[test]
fn a_search_in_a_checkout_outside_of_home() {
    let space = TestSpace::new();
    for checkout in ["home/p", "away/p"] {
        lay_out(&space, checkout, &search_from("CARGO_MANIFEST_DIR"));
    }
    space.write("away/found.txt", "one");
    check(&space, "home/p", "none");
    check(&space, "away/p", "one");
}

#[test]
fn a_search_from_a_build_directory_that_is_in_the_checkout_or_not() {
    let mut space = TestSpace::new();
    lay_out(&space, "in/p", &search_from("OUT_DIR"));
    space.write("in/p/found.txt", "one");
    check(&space, "in/p", "one");
    let elsewhere = space.path("elsewhere").display().to_string();
    space.set_variable("CARGO_TARGET_DIR", &elsewhere);
    space.build("in/p");
    assert_eq!(space.output_of("elsewhere/debug/p"), "none\n");
    space.unset_variable("CARGO_TARGET_DIR");
    check(&space, "in/p", "one");
}

/// Its name says nothing of where it was looked for.
#[test]
fn what_lies_in_home_beside_a_checkout() {
    let look = "let beside = std::env::current_dir().unwrap().parent().unwrap().join(\"found.txt\");\n\
        std::fs::read_to_string(beside).unwrap_or(\"none\".into())";
    for first in [None, Some("one")] {
        let space = TestSpace::new();
        for checkout in ["home/p", "home/q/p"] {
            lay_out(&space, checkout, look);
        }
        if let Some(text) = first {
            space.write("home/found.txt", text);
        }
        space.write("home/q/found.txt", "two");
        check(&space, "home/p", first.unwrap_or("none"));
        check(&space, "home/q/p", "two");
    }
}

/// It is the same place for every checkout, though it lies beside the first.
#[test]
fn a_directory_beside_that_a_variable_names() {
    let mut space = TestSpace::new();
    let sdk = space.path("beside/sdk").display().to_string();
    let is_there = "let sdk = std::env::var_os(\"SDK\").unwrap();\n\
        Path::new(&sdk).join(\"found.txt\").exists().to_string()";
    for checkout in ["beside/p", "other/p"] {
        lay_out(&space, checkout, is_there);
    }
    space.set_variable("SDK", &sdk);
    check(&space, "beside/p", "false");
    space.write("beside/sdk/found.txt", "");
    check(&space, "other/p", "true");
}

/// A static library whose function returns a value.
fn archive(space: &TestSpace, directory: &str, value: u32) {
    let text = format!("int value(void) {{ return {value}; }}\n");
    let source = space.write(format!("{directory}/value.c"), text);
    let [object, library] = ["value.o", "libvalue.a"].map(|name| space.path(directory).join(name));
    succeed(Command::new("cc").arg("-c").arg(source).arg("-o").arg(&object));
    succeed(Command::new("ar").arg("rcs").arg(library).arg(object));
}

/// Not even a part of its path is anywhere that kache sees.
#[test]
fn a_directory_beside_that_a_program_knows() {
    let space = TestSpace::new();
    let sdk = space.path("beside/sdk").display().to_string();
    let (start, end) = sdk.split_at(9);
    let is_there = format!(
        "let sdk = [{start:?}, {end:?}].concat();\n\
         Path::new(&sdk).join(\"found.txt\").exists().to_string()"
    );
    for checkout in ["beside/p", "other/p"] {
        lay_out(&space, checkout, &is_there);
    }
    check(&space, "beside/p", "false");
    space.write("beside/sdk/found.txt", "");
    check(&space, "other/p", "true");
}

/// Each program is looked for in it first.
#[test]
fn checkouts_beside_a_directory_of_programs_share() {
    let mut space = TestSpace::new();
    for checkout in ["beside/one/p", "beside/two/p"] {
        lay_out(&space, checkout, "\"one\".into()");
    }
    space.write_program("beside/tools/other", "");
    let tools = space.path("beside/tools").display().to_string();
    let path = format!("{tools}:{}:/usr/bin:/bin", space.toolchain().bin.display());
    space.set_variable("PATH", &path);
    check(&space, "beside/one/p", "one");
    assert_eq!(check(&space, "beside/two/p", "one"), [""; 0]);
}

#[test]
fn a_directory_beside_that_the_compiler_is_told_to_search() {
    let mut space = TestSpace::new();
    let program = "fn main() { println!(\"{}\", unsafe { value() }); }\n\
        #[link(name = \"value\", kind = \"static\")]\nunsafe extern \"C\" { fn value() -> i32; }\n";
    for checkout in ["beside/p", "other/p"] {
        space.package(checkout, "[workspace]\n", &[("src/main.rs", program)]);
    }
    archive(&space, "common", 1);
    archive(&space, "beside/away", 2);
    let search = ["beside/sdk", "common"]
        .map(|name| format!("-Lnative={}", space.path(name).display()))
        .join(" ");
    space.set_variable("RUSTFLAGS", &search);
    space.build("beside/p");
    assert_eq!(space.output_of("beside/p/target/debug/p"), "1\n");
    std::fs::rename(space.path("beside/away"), space.path("beside/sdk")).expect("renamed");
    space.build("other/p");
    assert_eq!(space.output_of("other/p/target/debug/p"), "2\n");
}

/// Outputs name its sources by where they are.
#[test]
fn a_package_of_a_registry_that_was_built_from_a_vendored_copy() {
    let space = TestSpace::new();
    space.vendor("pebble", "", &[("src/lib.rs", "pub fn place() -> &'static str { file!() }\n")]);
    let program = "fn main() { println!(\"{}\", pebble::place()); }\n";
    space.package("p", "[dependencies]\npebble = \"0.1\"\n", &[("src/main.rs", program)]);
    let place = |vendored: &str| {
        space.write(
            "cargo-home/config.toml",
            format!(
                "[source.crates-io]\nreplace-with = 'copy'\n[source.copy]\ndirectory = '{}'\n",
                space.path(vendored).display()
            ),
        );
        space.remove("p/target");
        space.build("p");
        space.output_of("p/target/debug/p")
    };
    assert_eq!(place("vendored"), "/kache-package/pebble/src/lib.rs\n");
    space.copy_tree("vendored", "cargo-home/registry/src/index");
    let fetched = "/kache-cargo/registry/src/index/pebble/src/lib.rs\n";
    assert_eq!(place("cargo-home/registry/src/index"), fetched);
    assert_eq!(place("vendored"), "/kache-package/pebble/src/lib.rs\n");
}
