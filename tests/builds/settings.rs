//! What single settings change of a build.

use std::fs;

use crate::support::TestSpace;

/// The directories of incremental data of a project in the space.
fn incremental(space: &TestSpace, project: &str) -> Vec<String> {
    let directory = space.path(format!("{project}/target/debug/incremental"));
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.collect()
}

#[test]
fn clean_incremental_removes_the_data_of_what_is_stored_and_no_more() {
    let mut space = TestSpace::new();
    space.sample("a");
    space.build("a");
    assert!(!incremental(&space, "a").is_empty(), "there is incremental data without the setting");

    space.remove("a/target");
    space.write("a/base/src/outer/inner.rs", "pub fn two() -> u32 { 1 + 1 }\n");
    space.set_variable("KACHE_CLEAN_INCREMENTAL", "true");
    let build = space.build("a");
    assert!(build.compiled.contains(&"base".to_owned()), "{}", build.text());
    let left = incremental(&space, "a");
    assert!(!left.iter().any(|name| name.starts_with("base-")), "{left:?}");
    space.build("a").assert_fresh("after the data was removed");

    // What a failed compilation leaves is still of use.
    space.unset_variable("KACHE_CLEAN_INCREMENTAL");
    space.write("a/base/src/outer/inner.rs", "pub fn two() -> u32 { 3 - 1 }\n");
    space.build("a");
    assert!(incremental(&space, "a").iter().any(|name| name.starts_with("base-")));
    space.set_variable("KACHE_CLEAN_INCREMENTAL", "true");
    space.write("a/base/src/outer/inner.rs", "pub fn two() -> u32 { \"2\" }\n");
    assert!(!space.cargo("a", ["build"]).run().status.success());
    assert!(incremental(&space, "a").iter().any(|name| name.starts_with("base-")));
}

/// A program whose macro expands to `body`, the text of a Rust expression of type `String`.
fn with_macro(space: &TestSpace, body: &str) {
    space.package(
        "p",
        "[dependencies]\npeek = { path = \"../peek\" }\n",
        &[("src/main.rs", "fn main() { println!(\"{}\", peek::peek!()); }\n")],
    );
    let library = format!(
        "use proc_macro::TokenStream;\n\
         #[proc_macro]\npub fn peek(_: TokenStream) -> TokenStream {{\n    \
         let text: String = {body};\n    format!(\"{{text:?}}\").parse().unwrap()\n}}\n"
    );
    space.package("peek", "[lib]\nproc-macro = true\n", &[("src/lib.rs", &library)]);
}

fn report(space: &TestSpace) -> serde_json::Value {
    let shown = space.cargo("p", ["report", "--format", "json"]).by_kache().succeed();
    serde_json::from_slice(&shown.stdout).expect("the report is JSON")
}

#[test]
fn verify_compiles_compiles_what_would_hit_and_finds_it_the_same() {
    let mut space = TestSpace::new();
    with_macro(&space, "\"steady\".to_owned()");
    let cold = space.build("p");
    space.remove("p/target");
    space.set_variable("KACHE_VERIFY_COMPILES", "always");
    space.build("p").assert_compiled(&cold.compiled_sorted(), "everything is verified");
    assert_eq!(space.output_of("p/target/debug/p"), "steady\n");
    assert_eq!(report(&space)["summary"]["errors"], 0);
    space.build("p").assert_fresh("after verifying");
    space.remove("p/target");
    space.unset_variable("KACHE_VERIFY_COMPILES");
    space.build("p").assert_compiled(&[], "verified results are restored");
}

/// The compiler makes up names of objects for them: each was said to differ.
#[test]
fn verify_compiles_lets_libraries_that_are_compiled_incrementally_be() {
    let mut space = TestSpace::new();
    space.package("p", "", &[("src/lib.rs", "pub fn p() -> u32 { 1 }\n")]);
    for (incremental, verified) in [("1", &[][..]), ("0", &["p"])] {
        space.set_variable("CARGO_INCREMENTAL", incremental);
        space.build("p");
        space.remove("p/target");
        space.set_variable("KACHE_VERIFY_COMPILES", "always");
        space.build("p").assert_compiled(verified, incremental);
        space.unset_variable("KACHE_VERIFY_COMPILES");
        space.remove("p/target");
        assert_eq!(report(&space)["summary"]["errors"], 0, "{incremental}");
    }
}

#[test]
fn verify_compiles_names_what_differs_from_the_stored_result() {
    let mut space = TestSpace::new();
    let now = "format!(\"{:?}\", std::time::SystemTime::now())";
    with_macro(&space, now);
    space.build("p");
    space.remove("p/target");
    space.set_variable("KACHE_VERIFY_COMPILES", "always");
    space.build("p");
    let report = report(&space);
    assert_eq!(report["summary"]["errors"], 1, "{report:#}");
    let details = report["errors_detail"].to_string();
    assert!(details.contains("not the same as stored") && details.contains("\"p\""), "{details}");
}

/// Salts that begin alike were shown alike, and the miss for the first build.
#[test]
fn a_miss_after_another_salt_or_argument_names_it() {
    let mut space = TestSpace::new();
    space.package("p", "", &[("src/lib.rs", "")]);
    let flag = format!("-Lnative={}", space.path("p/native").display());
    let mut why = |variable: &str, value: &str| {
        space.set_variable(variable, value);
        space.remove("p/target");
        space.build("p").assert_compiled(&["p"], value);
        space.cargo("p", ["why-miss", "p"]).by_kache().succeed().text()
    };
    why("KACHE_KEY_SALT", "salt of may");
    let salted = why("KACHE_KEY_SALT", "salt of june");
    let line = salted.lines().find_map(|line| line.strip_prefix("  key_salt: "));
    let (old, new) = line.and_then(|line| line.split_once(" -> ")).expect(&salted);
    assert!(old != new && !salted.contains("salt of"), "{salted}");
    let flagged = why("RUSTFLAGS", &flag);
    assert!(flagged.contains("(native=<workspace>/native)"), "{flagged}");
}
