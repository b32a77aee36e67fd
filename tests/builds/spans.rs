//! A macro that opens the file in which it was called finds it, whichever name kache has the compiler give to
//! it, and nobody hears of a compilation in which it did not.

use crate::hidden_inputs::with_macro;
use crate::support::TestSpace;
use crate::support::toolchain::Toolchain;

/// How a macro opens it.
const OPEN: &str = "std::fs::read_to_string(proc_macro::Span::call_site().file())";

/// `p` prints what `outer` does, a package that looks as if it were vendored outside the workspace: its
/// files have other names in what is compiled. The macro's body makes a text of what it has opened.
fn with_outer(body: &str, outer: &str) -> TestSpace {
    let space = with_macro(&format!("let opened = {OPEN}; {body}"));
    space.package(
        "outer",
        "[dependencies]\npeek = { path = \"../peek\" }\n",
        &[("src/lib.rs", outer), (".cargo-checksum.json", "{}")],
    );
    space.package(
        "p",
        "[dependencies]\nouter = { path = \"../outer\" }\n",
        &[("src/main.rs", "fn main() { println!(\"{}\", outer::text()); }\n")],
    );
    space
}

const OUTER: &str = "pub fn text() -> &'static str { peek::peek!() }\n";

const LENGTH_OR_NOTHING: &str = "opened.unwrap_or_default().len().to_string()";

/// Builds `p` twice, and checks that the macro has found that file each time.
#[track_caller]
fn check_found(space: &TestSpace, opened: &str) {
    for what in ["a cold build", "another one"] {
        space.remove("p/target");
        space.build("p");
        let length = opened.len().to_string();
        assert_eq!(space.output_of("p/target/debug/p").trim_end(), length, "{what}");
        let units = std::fs::read_dir(space.path("p/target/debug/deps")).expect("listed");
        let is_directory = |entry: &std::fs::DirEntry| entry.path().is_dir();
        let left: Vec<_> = units.flatten().filter(is_directory).collect();
        assert!(left.is_empty(), "{what}: {left:?}");
    }
}

#[test]
fn a_macro_that_opens_the_file_that_it_was_called_in() {
    check_found(&with_outer("opened.unwrap().len().to_string()", OUTER), OUTER);
}

/// The compilation went well without the file, and what came out of it was stored.
#[test]
fn a_macro_that_makes_something_else_without_the_file_that_it_was_called_in() {
    check_found(&with_outer(LENGTH_OR_NOTHING, OUTER), OUTER);
}

/// In a program, of which Cargo is told nothing before the compiler ends.
#[test]
fn a_macro_that_makes_something_else_without_the_generated_file_that_it_was_called_in() {
    let space = with_macro(&format!("let opened = {OPEN}; {LENGTH_OR_NOTHING}"));
    space.write(
        "p/build.rs",
        format!(
            "fn main() {{\n\
             let out = std::env::var(\"OUT_DIR\").unwrap();\n\
             std::fs::write(out + \"/made.rs\", {OUTER:?}).unwrap();\n}}\n"
        ),
    );
    let main = "include!(concat!(env!(\"OUT_DIR\"), \"/made.rs\"));\n\
                fn main() { println!(\"{}\", text()); }\n";
    space.write("p/src/main.rs", main);
    check_found(&space, OUTER);
}

/// Checks that a build of `p` says with kache what it says without.
#[track_caller]
fn check_said(space: &TestSpace, expected: &[(&str, usize)]) {
    space.cargo("p", ["generate-lockfile"]).succeed();
    let run = || {
        space.remove("p/target");
        space.cargo("p", ["build", "--message-format=json-diagnostic-short"]).quiet()
    };
    let [without, with] = [run().plain().run(), run().run()];
    assert_eq!(with.status, without.status, "{}", with.text());
    for (text, times) in expected {
        for build in [&without, &with] {
            assert_eq!(build.text().matches(text).count(), *times, "{text}\n{}", build.text());
        }
    }
    assert_eq!(with.messages(), without.messages());
}

/// The error of the first compilation had been passed on when the second one began.
#[test]
fn nobody_hears_of_the_failure_of_a_macro_that_did_not_find_its_file() {
    let space = with_outer("opened.unwrap().len().to_string()", OUTER);
    check_said(&space, &[("panicked", 0), ("\"level\":\"error\"", 0)]);
}

#[test]
fn errors_beside_a_macro_that_did_not_find_its_file_are_told_once() {
    let outer = "pub fn text() -> u32 { peek::peek!() }\n";
    let space = with_outer(LENGTH_OR_NOTHING, outer);
    check_said(&space, &[("\"code\":\"E0308\"", 1)]);
}

/// A script in the compiler's place is ended, and the compiler that it runs is not.
#[test]
fn a_compiler_that_was_stopped_ends_before_it_begins_again() {
    let mut space = with_outer(LENGTH_OR_NOTHING, OUTER);
    let real = space.toolchain();
    let log = space.path("log");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *'--crate-name outer'*) ;; *) exec {0} \"$@\";; esac\n\
         sh -c 'echo begun >> {1}; {0} \"$@\"; echo ended >> {1}' sh \"$@\"\n\
         status=$?\nexit $status\n",
        real.rustc.display(),
        log.display(),
    );
    let rustc = space.write_program("scripted/rustc", script);
    space.use_toolchain(Toolchain { rustc, ..real });
    space.build("p");
    let length = OUTER.len().to_string();
    assert_eq!(space.output_of("p/target/debug/p").trim_end(), length);
    let told = std::fs::read_to_string(&log).expect("the script has run");
    assert_eq!(told, "begun\nended\nbegun\nended\n");
}
