//! What is stored where nothing can be observed: libraries of which the compiler itself tells all that it read.
//! Here the store's path, which has a space, keeps the recorder out.

use crate::detours::check_right;
use crate::hidden_inputs::{Value, archive, with_native_value};
use crate::support::TestSpace;
use crate::support::toolchain::Toolchain;

/// The compiler itself, and not a witness, which is another program.
fn unobserved(space: &mut TestSpace) {
    let toolchain = space.toolchain();
    space.use_toolchain(Toolchain { rustc: toolchain.bin.join("rustc"), ..toolchain });
    let store = space.path("my store").display().to_string();
    space.set_variable("KACHE_CACHE_DIR", &store);
}

/// Prints what the library `l` was compiled with: `--cfg two` or not.
fn with_flag() -> TestSpace {
    let space = TestSpace::new();
    let library = "pub const WORD: &str = if cfg!(two) { \"two\" } else { \"one\" };\n";
    space.package("p/l", "", &[("src/lib.rs", library)]);
    space.package(
        "p",
        "[dependencies]\nl = { path = \"l\" }\n",
        &[("src/main.rs", "fn main() { println!(\"{}\", l::WORD); }\n")],
    );
    space
}

fn put_flag(space: &mut TestSpace, value: Value) {
    space.write("flag", if value == Value::Two { "--cfg=two" } else { "" });
}

/// A shell script that calls the compiler, `before`, with what a file says.
fn adding_flags(space: &TestSpace, before: &str) -> String {
    format!("#!/bin/sh\nexec {before} \"$@\" $(cat '{}')\n", space.path("flag").display())
}

#[test]
fn a_library_of_rust_alone_hits() {
    let mut space = with_flag();
    unobserved(&mut space);
    space.build("p");
    space.remove("p/target");
    space.build("p");
    let shown = space.cargo("p", ["report", "--format", "json"]).by_kache().succeed();
    let report: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("it is JSON");
    assert_eq!(report["summary"]["local_hits"], 1, "{report:#}");
    assert_eq!(space.output_of("p/target/debug/p"), "one\n");
}

#[test]
fn a_native_library_in_a_library() {
    let mut space = with_native_value();
    let libs = space.path("libs").display().to_string();
    let script = format!(
        "fn main() {{ println!(\"cargo::rerun-if-changed=build.rs\"); \
         println!(\"cargo::rustc-link-search=native={libs}\"); }}\n"
    );
    let library = "#[link(name = \"value\", kind = \"static\")]\nunsafe extern \"C\" {}\n";
    space.package("value", "", &[("src/lib.rs", library), ("build.rs", &script)]);
    let dependency = "[dependencies]\nvalue = { path = \"../value\" }\n";
    space.write("p/Cargo.toml", format!("{}{dependency}", space.read("p/Cargo.toml")));
    space.write("p/src/main.rs", format!("use value as _;\n{}", space.read("p/src/main.rs")));
    unobserved(&mut space);
    check_right(&mut space, |space, value| archive(space, "libs/libvalue.a", value));
}

#[test]
fn what_a_script_in_the_compilers_place_reads() {
    let mut space = with_flag();
    unobserved(&mut space);
    let real = space.toolchain();
    let text = adding_flags(&space, &real.rustc.display().to_string());
    let rustc = space.write_program("scripted/rustc", text);
    space.use_toolchain(Toolchain { rustc, ..real });
    check_right(&mut space, put_flag);
}

#[test]
fn what_a_wrapper_for_the_workspace_reads() {
    let mut space = with_flag();
    unobserved(&mut space);
    let wrapper = space.write_program("wrapper", adding_flags(&space, ""));
    space.set_variable("RUSTC_WORKSPACE_WRAPPER", &wrapper.display().to_string());
    check_right(&mut space, put_flag);
}
