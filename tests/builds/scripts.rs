//! A build script's run is cached under what it and its children read, list, probe, look up or run, and under what it
//! declares; and nothing else makes it run again.

use std::process::Command;

use crate::hidden_inputs::{Value, check_ignored, check_noticed};
use crate::support::{TestSpace, succeed};

/// What runs again when the value that a script makes changes.
pub(crate) const AGAIN: [&str; 2] = ["p(bin)", "script(p)"];

/// A program `p` that prints the string that its build script makes. `body` is that of a function
/// that returns a `String`, with `here` as the package's directory and `out` as `OUT_DIR`. Each run
/// of the script is seen by the witness as a unit `script(p)`.
pub(crate) fn with_script(body: &str) -> TestSpace {
    with_script_in(TestSpace::new(), body)
}

pub(crate) fn with_script_in(space: TestSpace, body: &str) -> TestSpace {
    let script = script(&space, "p", body);
    space.package(
        "p",
        "",
        &[
            ("build.rs", script.as_str()),
            ("src/main.rs", "fn main() { println!(\"{}\", include!(concat!(env!(\"OUT_DIR\"), \"/value.rs\"))); }\n"),
        ],
    );
    space
}

/// The source of such a script.
fn script(space: &TestSpace, package: &str, body: &str) -> String {
    format!(
        "#![allow(unused)]\n\
         use std::path::{{Path, PathBuf}};\n\
         use std::process::Command;\n\
         fn main() {{\n\
         {}\
         let out = PathBuf::from(std::env::var_os(\"OUT_DIR\").unwrap());\n\
         let value = make(&std::env::current_dir().unwrap(), &out);\n\
         std::fs::write(out.join(\"value.rs\"), format!(\"{{value:?}}\")).unwrap();\n}}\n\
         fn run(command: &mut Command) -> String {{\n\
         let output = command.output().unwrap();\n\
         assert!(output.status.success(), \"{{output:?}}\");\n\
         String::from_utf8(output.stdout).unwrap().trim_end().to_owned()\n}}\n\
         fn make(here: &Path, out: &Path) -> String {{\n{body}\n}}\n",
        space.code_to_witness(&format!("script({package})"))
    )
}

/// A script whose value comes from a C program that it compiles with `cc` and these arguments, and runs.
fn with_c(arguments: &str, source: &str) -> TestSpace {
    let space = with_script(&format!(
        "run(Command::new(\"cc\").arg(\"-o\").arg(out.join(\"tell\")).args([{arguments}]));\n\
         run(&mut Command::new(out.join(\"tell\")))"
    ));
    space.write("p/c/tell.c", source);
    space
}

/// What kache adds to the environment of what it observes names a process, and the store's place.
#[test]
fn what_a_script_tells_of_being_observed_is_not_kept() {
    let check = |body: &str, expected: &str| {
        let space = with_script(&format!("{body}\n\"one\".into()"));
        space.build("p");
        let why = space.cargo("p", ["why-miss", "p"]).by_kache().succeed().text();
        assert!(why.contains(expected), "{body}\n{why}");
        space.remove("p/target");
        space.build("p").assert_compiled(&["script(p)"], body);
    };
    let said = "uncacheable: it said what kache adds to the environment";
    check("println!(\"{}\", run(Command::new(\"env\").env_clear()));", said);
    check("eprintln!(\"{:?}\", std::env::var_os(\"KACHE_OBSERVE_LOG\"));", said);
    let wrote = "out/all contains what kache adds to the environment";
    let all = "std::env::vars().collect::<Vec<_>>()";
    check(
        &format!("std::fs::write(out.join(\"all\"), format!(\"{{:?}}\", {all})).unwrap();"),
        wrote,
    );
    check(
        &format!("std::fs::write(out.join(\"all\"), format!(\"\\0{{:?}}\", {all})).unwrap();"),
        wrote,
    );
    let long = "[vec![b'x'; (1 << 20) - 9], run(&mut Command::new(\"env\")).into_bytes()].concat()";
    check(&format!("std::fs::write(out.join(\"all\"), {long}).unwrap();"), wrote);
}

/// A C file that defines the value as a macro.
fn definition(value: Value) -> String {
    format!("#define VALUE \"{}\"\n", value.text())
}

const TELLS_VALUE: &str = "#include <stdio.h>\nint main(void) { return puts(VALUE) < 0; }\n";

#[test]
fn a_file_that_a_script_reads() {
    let mut space = with_script("std::fs::read_to_string(here.join(\"data.txt\")).unwrap()");
    check_noticed(&mut space, &AGAIN, |space, value| {
        space.write("p/data.txt", value.text());
    });
}

#[test]
fn a_file_that_a_script_reads_besides_those_that_it_declares() {
    let mut space = with_script(
        "println!(\"cargo::rerun-if-changed=build.rs\");\n\
         std::fs::read_to_string(here.join(\"data.txt\")).unwrap()",
    );
    check_noticed(&mut space, &AGAIN, |space, value| {
        space.write("p/data.txt", value.text());
    });
}

#[test]
fn a_file_outside_the_package_that_a_script_reads() {
    let mut space = with_script("std::fs::read_to_string(here.join(\"../data.txt\")).unwrap()");
    check_noticed(&mut space, &AGAIN, |space, value| {
        space.write("data.txt", value.text());
    });
}

#[test]
fn a_file_that_a_script_probed_for_and_that_later_appears() {
    let mut space = with_script(
        "if here.join(\"extra/flag\").exists() { \"two\".into() } else { \"one\".into() }",
    );
    check_noticed(&mut space, &AGAIN, |space, value| match value {
        Value::One => space.remove("p/extra"),
        Value::Two => drop(space.write("p/extra/flag", "")),
    });
}

#[test]
fn a_new_file_in_a_directory_that_a_script_lists() {
    let mut space = with_script(
        "let count = std::fs::read_dir(here.join(\"many\")).unwrap().count();\n\
         [\"one\", \"two\"][count - 1].into()",
    );
    check_noticed(&mut space, &AGAIN, |space, value| {
        space.write("p/many/a.txt", "");
        match value {
            Value::One => space.remove("p/many/b.txt"),
            Value::Two => drop(space.write("p/many/b.txt", "")),
        }
    });
}

#[test]
fn a_new_file_in_a_directory_that_a_script_only_declares() {
    let space = with_script("println!(\"cargo::rerun-if-changed=many\");\n\"one\".into()");
    space.write("p/many/deep/a.txt", "one");
    space.build("p");
    let again = |what: &str, expected: &[&str]| {
        space.remove("p/target");
        space.build("p").assert_compiled(expected, what);
    };
    again("nothing changed", &[]);
    space.write("p/many/deep/a.txt", "two");
    again("a file below it changed", &["script(p)"]);
    space.write("p/many/deep/b.txt", "");
    again("there is another file below it", &["script(p)"]);
    space.remove("p/many/deep/b.txt");
    space.write("p/many/deep/a.txt", "one");
    again("it is as it was", &[]);
    space.write("p/other/a.txt", "");
    again("another directory changed", &[]);
}

#[test]
fn a_variable_that_a_script_reads() {
    let mut space = with_script("std::env::var(\"COLOUR\").unwrap_or(\"one\".into())");
    check_noticed(&mut space, &AGAIN, |space, value| match value {
        Value::One => space.unset_variable("COLOUR"),
        Value::Two => space.set_variable("COLOUR", "two"),
    });
}

/// The same name of a locale means an order of the alphabet where that is installed, and none elsewhere.
#[test]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn a_locale_that_is_installed_later() {
    let mut space = with_script(
        "run(Command::new(\"sh\").args([\"-c\", \"printf 'a two\\nB one\\n' | sort | sed -n '1s/..//p'\"]))",
    );
    let installed = space.path("installed");
    std::fs::create_dir(&installed).expect("a directory can be created");
    let mut make = Command::new("localedef");
    make.args(["-i", "en_US", "-f", "UTF-8"]).arg(installed.join("en_US.UTF-8"));
    // Nothing to make one of is on every machine.
    if !make.output().is_ok_and(|output| output.status.success()) {
        return;
    }
    let places = space.path("locales").display().to_string();
    space.set_variable("LOCPATH", &places);
    space.set_variable("LANG", "en_US.UTF-8");
    check_noticed(&mut space, &AGAIN, |space, value| match value {
        Value::One => space.remove("locales"),
        Value::Two => space.copy_tree("installed", "locales"),
    });
}

/// A shell that a script runs may ask for it, too: then it does not count.
#[test]
fn a_variable_of_the_session_that_a_script_reads() {
    let mut space = with_script("std::env::var(\"OLDPWD\").unwrap()");
    check_noticed(&mut space, &AGAIN, |space, value| space.set_variable("OLDPWD", value.text()));

    let mut space = with_script("run(Command::new(\"sh\").args([\"-c\", \"printf one\"]))");
    space.set_variable("OLDPWD", "/here");
    check_ignored(&mut space, |space| space.set_variable("OLDPWD", "/elsewhere"));
}

#[test]
fn a_variable_that_a_script_only_declares() {
    let mut space =
        with_script("println!(\"cargo::rerun-if-env-changed=COLOUR\");\n\"one\".into()");
    let again = |space: &TestSpace, what: &str, expected: &[&str]| {
        space.remove("p/target");
        space.build("p").assert_compiled(expected, what);
    };
    space.build("p");
    again(&space, "nothing changed", &[]);
    space.set_variable("COLOUR", "two");
    again(&space, "it is set now", &["script(p)"]);
    space.set_variable("FLAVOUR", "two");
    again(&space, "another one is set", &[]);
    space.unset_variable("COLOUR");
    again(&space, "it is unset again", &[]);
}

#[test]
fn a_variable_that_a_shell_reads_for_a_script() {
    let mut space = with_script(
        "run(Command::new(\"sh\").args([\"-c\", \"printf %s \\\"${COLOUR-one}\\\"\"]))",
    );
    check_noticed(&mut space, &AGAIN, |space, value| match value {
        Value::One => space.unset_variable("COLOUR"),
        Value::Two => space.set_variable("COLOUR", "two"),
    });
}

#[test]
fn a_program_that_a_script_runs() {
    let mut space = with_script("run(&mut Command::new(\"describe\"))");
    let path = format!("{}:/usr/bin:/bin", space.path("tools").display());
    space.set_variable("PATH", &path);
    check_noticed(&mut space, &AGAIN, |space, value| {
        space.write_program("tools/describe", format!("#!/bin/sh\necho {}\n", value.text()));
    });
}

#[test]
fn a_program_that_appears_earlier_on_the_path() {
    let mut space = with_script("run(&mut Command::new(\"describe\"))");
    let (first, second) = (space.path("first"), space.path("second"));
    std::fs::create_dir(&first).expect("a directory can be created");
    space.set_variable("PATH", &format!("{}:{}:/usr/bin:/bin", first.display(), second.display()));
    space.write_program("second/describe", "#!/bin/sh\necho one\n");
    check_noticed(&mut space, &AGAIN, |space, value| match value {
        Value::One => space.remove("first/describe"),
        Value::Two => drop(space.write_program("first/describe", "#!/bin/sh\necho two\n")),
    });
}

#[test]
fn a_program_that_a_script_does_without_until_it_appears() {
    let mut space = with_script(
        "match Command::new(\"describe\").output() {\n\
         Ok(output) => String::from_utf8(output.stdout).unwrap().trim_end().to_owned(),\n\
         Err(_) => \"one\".into(),\n}",
    );
    std::fs::create_dir(space.path("tools")).expect("a directory can be created");
    space.set_variable("PATH", &format!("{}:/usr/bin:/bin", space.path("tools").display()));
    check_noticed(&mut space, &AGAIN, |space, value| match value {
        Value::One => space.remove("tools/describe"),
        Value::Two => drop(space.write_program("tools/describe", "#!/bin/sh\necho two\n")),
    });
}

/// Its name has an ending, as those of interpreters have.
#[test]
fn a_program_with_a_version_in_its_name_that_a_shell_finds() {
    let mut space = with_script("run(Command::new(\"sh\").args([\"-c\", \"describe3.11\"]))");
    for value in [Value::One, Value::Two] {
        let text = format!("#!/bin/sh\necho {}\n", value.text());
        space.write_program(&format!("{}/describe3.11", value.text()), text);
    }
    check_noticed(&mut space, &AGAIN, |space, value| {
        let directory = space.path(value.text()).display().to_string();
        space.set_variable("PATH", &format!("{directory}:/usr/bin:/bin"));
    });
}

#[test]
fn a_c_source() {
    let mut space = with_c("\"c/tell.c\"", "");
    check_noticed(&mut space, &AGAIN, |space, value| {
        space.write("p/c/tell.c", definition(value) + TELLS_VALUE);
    });
}

#[test]
fn a_local_header() {
    let source = format!("#include \"value.h\"\n{TELLS_VALUE}");
    let mut space = with_c("\"c/tell.c\"", &source);
    check_noticed(&mut space, &AGAIN, |space, value| {
        space.write("p/c/value.h", definition(value));
    });
}

#[test]
fn a_header_of_the_system() {
    let source = format!("#include <value.h>\n{TELLS_VALUE}");
    let mut space = with_c("\"c/tell.c\"", &source);
    let directory = space.path("system/include").display().to_string();
    space.set_variable("C_INCLUDE_PATH", &directory);
    check_noticed(&mut space, &AGAIN, |space, value| {
        space.write("system/include/value.h", definition(value));
    });
}

#[test]
fn a_header_that_appears_where_the_compiler_looks_first() {
    let source = format!("#include <value.h>\n{TELLS_VALUE}");
    let mut space = with_c("\"-Ic/first\", \"-Ic/second\", \"c/tell.c\"", &source);
    space.write("p/c/first/other.h", "");
    space.write("p/c/second/value.h", definition(Value::One));
    check_noticed(&mut space, &AGAIN, |space, value| match value {
        Value::One => space.remove("p/c/first/value.h"),
        Value::Two => drop(space.write("p/c/first/value.h", definition(Value::Two))),
    });
}

#[test]
fn a_library_of_the_system() {
    let source = "#include <stdio.h>\nconst char *value(void);\nint main(void) { return puts(value()) < 0; }\n";
    let mut space = with_c("\"c/tell.c\", \"-lvalue\"", source);
    let directory = space.path("system/lib").display().to_string();
    space.set_variable("LIBRARY_PATH", &directory);
    std::fs::create_dir_all(&directory).expect("a directory can be created");
    check_noticed(&mut space, &AGAIN, |space, value| {
        let code = format!("const char *value(void) {{ return \"{}\"; }}\n", value.text());
        let (source, object) = (space.write("value.c", code), space.path("value.o"));
        succeed(Command::new("cc").arg("-c").arg("-o").args([&object, &source]));
        space.remove("system/lib/libvalue.a");
        let library = space.path("system/lib/libvalue.a");
        succeed(Command::new("ar").arg("rcsD").args([&library, &object]));
    });
}

#[test]
fn a_c_compiler_that_is_upgraded_in_its_place() {
    let mut space = with_c("\"c/tell.c\"", TELLS_VALUE);
    space.set_variable("PATH", &format!("{}:/usr/bin:/bin", space.path("tools").display()));
    // It is what links programs, too.
    let units = ["build_script_build", "p(bin)", "script(p)"];
    check_noticed(&mut space, &units, |space, value| {
        let define = format!("-DVALUE='\"{}\"'", value.text());
        let text = format!("#!/bin/sh\nexec /usr/bin/cc {define} \"$@\"\n");
        space.write_program("tools/cc", text);
    });
}

#[test]
fn a_c_compiler_that_a_variable_names() {
    let mut space = with_script(
        "let cc = std::env::var(\"CC\").unwrap();\n\
         run(Command::new(cc).arg(\"-o\").arg(out.join(\"tell\")).arg(\"c/tell.c\"));\n\
         run(&mut Command::new(out.join(\"tell\")))",
    );
    space.write("p/c/tell.c", TELLS_VALUE);
    for value in [Value::One, Value::Two] {
        let name = value.text();
        let text = format!("#!/bin/sh\nexec /usr/bin/cc -DVALUE='\"{name}\"' \"$@\"\n");
        space.write_program(&format!("{name}/our-cc"), text);
    }
    check_noticed(&mut space, &AGAIN, |space, value| {
        let compiler = space.path(value.text()).join("our-cc").display().to_string();
        space.set_variable("CC", &compiler);
    });
}

/// Runs git in `p`, at a time of its own, so that equal commits have equal names.
fn git(space: &TestSpace, arguments: &[&str]) {
    let mut command = Command::new("git");
    command.current_dir(space.path("p")).env("HOME", space.path("home"));
    let date = "2020-01-01T00:00:00Z";
    command.env("GIT_AUTHOR_DATE", date).env("GIT_COMMITTER_DATE", date);
    command.args(["-c", "user.name=t", "-c", "user.email=t@example.org"]).args(arguments);
    succeed(&mut command);
}

/// A script that tells which commit is checked out, by a tag on it.
fn with_commits() -> TestSpace {
    let space = with_script(
        "let head = run(Command::new(\"git\").args([\"rev-parse\", \"HEAD\"]));\n\
         let one = run(Command::new(\"git\").args([\"rev-parse\", \"one\"]));\n\
         if head == one { \"one\".into() } else { \"two\".into() }",
    );
    space.write("p/.gitignore", "target\n");
    git(&space, &["init", "-q"]);
    git(&space, &["add", "."]);
    git(&space, &["commit", "-q", "-m", "first"]);
    git(&space, &["branch", "one"]);
    space
}

#[test]
fn the_commit_that_is_checked_out() {
    let mut space = with_commits();
    git(&space, &["checkout", "-q", "-b", "two"]);
    git(&space, &["commit", "-q", "--allow-empty", "-m", "second"]);
    check_noticed(&mut space, &AGAIN, |space, value| git(space, &["checkout", "-q", value.text()]));
}

#[test]
fn a_commit_on_the_branch_that_is_checked_out() {
    let mut space = with_commits();
    check_noticed(&mut space, &AGAIN, |space, value| {
        git(space, &["reset", "-q", "--hard", "one"]);
        if value == Value::Two {
            git(space, &["commit", "-q", "--allow-empty", "-m", "second"]);
        }
    });
}

#[test]
fn what_a_library_tells_the_scripts_of_its_users() {
    let mut space = with_script("std::env::var(\"DEP_STONE_VALUE\").unwrap()");
    let manifest = space.read("p/Cargo.toml");
    let dependency = "[dependencies]\nstone = { path = \"../stone\" }\n";
    space.write(
        "p/Cargo.toml",
        manifest.replace("\n[workspace]", &format!("{dependency}[workspace]")),
    );
    let teller = "let value = std::fs::read_to_string(here.join(\"value.txt\")).unwrap();\n\
                  println!(\"cargo::metadata=value={value}\");\nvalue";
    let teller = script(&space, "stone", teller);
    let files = [("build.rs", teller.as_str()), ("src/lib.rs", "")];
    space.package("stone", "links = \"stone\"\n", &files);
    let units = ["p(bin)", "script(p)", "script(stone)"];
    check_noticed(&mut space, &units, |space, value| {
        space.write("stone/value.txt", value.text());
    });
}

#[test]
fn files_that_a_script_neither_reads_nor_declares_do_not_matter() {
    let source = format!("#include \"value.h\"\n#include <stdlib.h>\n{TELLS_VALUE}");
    let mut space = with_c("\"c/tell.c\", \"-Lc/lib\"", &source);
    space.write("p/c/value.h", definition(Value::One));
    space.write("p/c/lib/libother.a", "");
    space.write("tools/unused", "");
    space.set_variable("PATH", &format!("{}:/usr/bin:/bin", space.path("tools").display()));
    space.set_variable("C_INCLUDE_PATH", &space.path("system/include").display().to_string());
    space.write("system/include/unused.h", "one");
    check_ignored(&mut space, |space| {
        space.write("p/README.md", "new");
        space.write("p/c/unused.c", "new");
        space.write("p/c/unused.h", "new");
        space.write("p/c/lib/libanother.a", "new");
        space.write("p/src/unused.rs", "new");
        space.write("system/include/unused.h", "two");
        space.write("system/include/another.h", "new");
        space.write_program("tools/describe", "#!/bin/sh\n");
    });
}

#[test]
fn variables_that_a_script_does_not_read_do_not_matter() {
    let mut space = with_c("\"c/tell.c\"", &(definition(Value::One) + TELLS_VALUE));
    git(&space, &["init", "-q"]);
    let script = space.read("p/build.rs");
    let start = "fn main() {\n";
    let asks = format!("{start}run(Command::new(\"git\").args([\"rev-parse\", \"--git-dir\"]));\n");
    space.write("p/build.rs", script.replacen(start, &asks, 1));
    check_ignored(&mut space, |space| {
        for (name, value) in [
            ("UNRELATED", "value"),
            ("CARGO_BUILD_JOBS", "1"),
            ("CARGO_TERM_COLOR", "always"),
            ("TERM", "xterm"),
            ("RUST_BACKTRACE", "1"),
        ] {
            space.set_variable(name, value);
        }
    });
}

#[test]
fn the_state_of_a_repository_besides_the_commit_does_not_matter() {
    let mut space = with_commits();
    check_ignored(&mut space, |space| {
        space.write("p/untracked.txt", "new");
        space.write("p/.gitignore", "target\nother\n");
        git(space, &["add", "untracked.txt"]);
        git(space, &["tag", "version"]);
        git(space, &["branch", "another"]);
    });
}

#[test]
fn an_edit_of_a_declared_file_runs_a_script_again_and_a_touch_does_not() {
    let space = with_script(
        "println!(\"cargo::rerun-if-changed=data.txt\");\n\
         std::fs::read_to_string(here.join(\"data.txt\")).unwrap()",
    );
    space.write("p/data.txt", "one");
    space.build("p");
    space.write("p/data.txt", "one");
    let touched = space.build("p");
    assert!(!touched.dispatched().is_empty(), "Cargo sees the time\n{}", touched.text());
    touched.assert_compiled(&[], "a touched file");
    space.build("p").assert_fresh("after a touch");
    space.write("p/data.txt", "two");
    space.build("p").assert_compiled(&AGAIN, "an edited file");
    assert_eq!(space.output_of("p/target/debug/p"), "two\n");
    space.write("p/data.txt", "one");
    space.build("p").assert_compiled(&[], "the edit taken back");
    assert_eq!(space.output_of("p/target/debug/p"), "one\n");
    space.build("p").assert_fresh("after the edit was taken back");
}

#[test]
fn a_file_that_a_script_reads_and_does_not_declare_is_left_to_cargo() {
    let space = with_script(
        "println!(\"cargo::rerun-if-changed=build.rs\");\n\
         std::fs::read_to_string(here.join(\"data.txt\")).unwrap()",
    );
    space.write("p/data.txt", "one");
    space.build("p");
    space.write("p/data.txt", "two");
    space.build("p").assert_fresh("Cargo asks for what is declared alone");
    assert_eq!(space.output_of("p/target/debug/p"), "one\n");
}

#[test]
fn a_declared_variable_runs_a_script_again_in_the_same_target_directory() {
    let mut space = with_script(
        "println!(\"cargo::rerun-if-env-changed=COLOUR\");\n\
         std::env::var(\"COLOUR\").unwrap_or(\"one\".into())",
    );
    space.build("p");
    space.set_variable("FLAVOUR", "two");
    space.build("p").assert_fresh("another variable");
    space.set_variable("COLOUR", "two");
    space.build("p").assert_compiled(&AGAIN, "the declared variable");
    assert_eq!(space.output_of("p/target/debug/p"), "two\n");
    space.unset_variable("COLOUR");
    space.build("p").assert_compiled(&[], "as it was");
    assert_eq!(space.output_of("p/target/debug/p"), "one\n");
}

#[test]
fn a_script_that_declares_nothing_runs_only_for_what_it_reads() {
    let space = with_script("std::fs::read_to_string(here.join(\"data.txt\")).unwrap()");
    space.write("p/data.txt", "one");
    space.build("p");
    space.write("p/notes.txt", "new");
    let other = space.build("p");
    assert!(!other.dispatched().is_empty(), "Cargo asks for any file\n{}", other.text());
    other.assert_compiled(&[], "a file that it does not read");
    space.write("p/data.txt", "two");
    space.build("p").assert_compiled(&AGAIN, "a file that it reads");
    assert_eq!(space.output_of("p/target/debug/p"), "two\n");
}

/// A shell takes in the whole environment, so that the number of a CI run makes its script run again: that much is
/// plain, and nobody's secrets are told for it.
#[test]
fn the_variable_that_differs_is_named_where_the_environment_counts_as_a_whole() {
    let mut space = with_script("run(Command::new(\"sh\").args([\"-c\", \"echo $GREETING\"]))");
    space.set_variable("GREETING", "hello");
    space.set_variable("CI_JOB", "secret-1");
    space.build("p");
    space.remove("p/target");
    space.set_variable("CI_JOB", "secret-2");
    space.build("p").assert_compiled(&["script(p)"], "another job");
    let why = space.cargo("p", ["why-miss", "p"]).by_kache().succeed().text();
    assert!(why.contains("the environment as a whole: "), "{why}");
    assert!(why.contains("variable CI_JOB: "), "{why}");
    assert!(!why.contains("GREETING") && !why.contains("secret"), "{why}");
}

/// What the script asked for by name was known as text, and what the shell took in by digests: each variable of both
/// looked changed.
#[test]
fn a_script_that_begins_to_run_a_shell_is_not_said_to_have_other_variables() {
    let asks = "let arch = std::env::var(\"CARGO_CFG_TARGET_ARCH\").unwrap();";
    let space = with_script(&format!("{asks} arch"));
    space.build("p");
    let shell = "run(Command::new(\"sh\").args([\"-c\", \"echo $GREETING\"]))";
    space.write("p/build.rs", script(&space, "p", &format!("{asks} arch + &{shell}")));
    space.build("p");
    let why = space.cargo("p", ["why-miss", "p"]).by_kache().succeed().text();
    assert!(why.contains("the environment as a whole: new "), "{why}");
    assert!(!why.contains("variable "), "{why}");
}
