//! Where a program or a library lies that was found by its name is an input beside its content.

use std::path::Path;
use std::process::Command;

use crate::detours::program;
use crate::hidden_inputs::{Value, check_ignored, check_noticed, with_macro, with_native_value};
use crate::meanwhile::symlink;
use crate::scripts::{AGAIN, with_script};
use crate::support::{TestSpace, succeed};

/// Makes a shared library at `path` whose function `value` returns the value, or what another library
/// says that `arguments` lead to.
fn library(space: &TestSpace, path: &str, value: Value, arguments: &[&str]) {
    let code = if arguments.is_empty() {
        format!("const char *value(void) {{ return \"{}\"; }}\n", value.text())
    } else {
        "const char *inner(void);\nconst char *value(void) { return inner(); }\n".into()
    };
    shared(space, path, &code, arguments);
}

/// Makes a shared library that the loader looks for by its name.
fn shared(space: &TestSpace, path: &str, code: &str, arguments: &[&str]) {
    space.remove(path);
    let (source, library) = (space.write("library.c", code), space.path(path));
    let (directory, name) = (library.parent(), library.file_name());
    std::fs::create_dir_all(directory.expect("a library is in a directory"))
        .expect("a directory can be created");
    let name = name.expect("a library has a name").display();
    let mut command = Command::new("cc");
    command.args(["-shared", "-fPIC", &format!("-Wl,-soname,{name}"), "-o"]);
    succeed(command.args([library.as_path(), &source]).args(arguments));
}

/// Makes `tell`, a program that prints what the function `value` of a shared library of that name says.
fn teller(space: &TestSpace, name: &str, arguments: &[&str]) {
    let code = "#include <stdio.h>\nconst char *value(void);\nint main(void) { return puts(value()) < 0; }\n";
    let (source, program) = (space.write("tell.c", code), space.path("tell"));
    library(space, &format!("any/{name}"), Value::One, &[]);
    let any = space.path("any").join(name);
    succeed(Command::new("cc").arg("-o").args([program, source, any]).args(arguments));
    space.remove("any");
}

/// What is done again where programs may start with other libraries: linkers are programs, too.
const PROGRAMS_RUN: [&str; 3] = ["build_script_build", "p(bin)", "script(p)"];

/// A script that takes over what `tell` prints.
fn with_teller() -> TestSpace {
    with_script("run(&mut Command::new(here.join(\"../tell\")))")
}

/// Two directories of the space.
fn places(space: &TestSpace) -> [String; 2] {
    ["one", "two"].map(|name| {
        let path = space.path(name);
        std::fs::create_dir_all(&path).expect("a directory can be created");
        path.display().to_string()
    })
}

/// Two equal tools, each with data of its own beside it.
fn put_tools(space: &TestSpace) {
    for value in [Value::One, Value::Two] {
        let name = value.text();
        space.write(format!("{name}/value"), name);
        space.write_program(
            &format!("{name}/bin/describe"),
            "#!/bin/sh\ncat \"${0%/*}/../value\"\n",
        );
    }
}

fn use_tools(space: &mut TestSpace, value: Value) {
    let tools = space.path(value.text()).join("bin");
    space.set_variable("PATH", &format!("{}:/usr/bin:/bin", tools.display()));
}

#[test]
fn a_program_that_reads_what_lies_beside_it() {
    let mut space = with_script("run(&mut Command::new(\"describe\"))");
    put_tools(&space);
    check_noticed(&mut space, &AGAIN, use_tools);
}

#[test]
fn a_program_of_a_macro_that_reads_what_lies_beside_it() {
    let mut space = with_macro(
        "String::from_utf8(std::process::Command::new(\"describe\").output().unwrap().stdout).unwrap()",
    );
    put_tools(&space);
    check_noticed(&mut space, &["p(bin)"], use_tools);
}

#[test]
fn a_program_that_is_looked_for_and_not_run() {
    let mut space = with_script(
        "run(Command::new(\"sh\").args([\"-c\", \"command -v describe\"])).rsplit('/').nth(2).unwrap().into()",
    );
    put_tools(&space);
    check_noticed(&mut space, &AGAIN, use_tools);
}

#[test]
fn a_library_that_appears_earlier_where_only_one_command_searches() {
    let mut space = with_script(
        "let directories = [here.join(\"../one\"), here.join(\"../two\")];\n\
         let directories = directories.map(|path| path.canonicalize().unwrap());\n\
         let list = std::env::join_paths(directories).unwrap();\n\
         run(Command::new(here.join(\"../tell\")).env(\"LD_LIBRARY_PATH\", list))",
    );
    teller(&space, "libvalue.so", &[]);
    places(&space);
    library(&space, "two/libvalue.so", Value::One, &[]);
    check_noticed(&mut space, &AGAIN, |space, value| match value {
        Value::One => space.remove("one/libvalue.so"),
        Value::Two => library(space, "one/libvalue.so", Value::Two, &[]),
    });
}

/// A script that runs `describe` by a `PATH` that only this command has.
fn with_own_path(otherwise: &str) -> TestSpace {
    with_script(&format!(
        "let directories = [here.join(\"../first\"), here.join(\"../second\")];\n\
         let path = std::env::join_paths(directories).unwrap();\n\
         match Command::new(\"describe\").env(\"PATH\", path).output() {{\n\
         Ok(output) => String::from_utf8(output.stdout).unwrap().trim_end().to_owned(),\n\
         Err(error) => {otherwise},\n}}"
    ))
}

#[test]
fn a_program_that_appears_earlier_on_the_path_of_a_command() {
    let mut space = with_own_path("panic!(\"{error}\")");
    std::fs::create_dir(space.path("first")).expect("a directory can be created");
    space.write_program("second/describe", "#!/bin/sh\necho one\n");
    check_noticed(&mut space, &AGAIN, |space, value| match value {
        Value::One => space.remove("first/describe"),
        Value::Two => drop(space.write_program("first/describe", "#!/bin/sh\necho two\n")),
    });
}

#[test]
fn a_program_that_appears_on_the_path_of_a_command() {
    let mut space =
        with_own_path("error.kind().to_string().replace(\"entity not found\", \"one\")");
    std::fs::create_dir(space.path("second")).expect("a directory can be created");
    check_noticed(&mut space, &AGAIN, |space, value| match value {
        Value::One => space.remove("second/describe"),
        Value::Two => drop(space.write_program("second/describe", "#!/bin/sh\necho two\n")),
    });
}

/// Directories of programs have other files as well.
#[test]
fn a_file_beside_programs_that_appears() {
    let mut space = with_script(
        "let file = here.parent().unwrap().join(\"tools/describe\");\n\
         std::fs::read_to_string(file).unwrap_or(\"one\".into())",
    );
    std::fs::create_dir(space.path("tools")).expect("a directory can be created");
    space.set_variable("PATH", &format!("{}:/usr/bin:/bin", space.path("tools").display()));
    check_noticed(&mut space, &AGAIN, |space, value| match value {
        Value::One => space.remove("tools/describe"),
        Value::Two => drop(space.write("tools/describe", "two")),
    });
}

#[test]
fn the_interpreter_of_a_script_behind_a_link_that_is_turned() {
    let mut space = with_script("run(&mut Command::new(here.join(\"tool\")))");
    for value in [Value::One, Value::Two] {
        let name = value.text();
        let code =
            format!("#include <stdio.h>\nint main(void) {{ return puts(\"{name}\") < 0; }}\n");
        program(&space, name, &code);
    }
    let interpreter = space.path("interpreter");
    space.write_program("p/tool", format!("#!{}\n", interpreter.display()));
    check_noticed(&mut space, &AGAIN, |space, value| symlink(space, value.text(), "interpreter"));
}

/// It asks the kernel where it lies.
#[test]
fn a_program_behind_a_link_that_is_turned() {
    let mut space = with_script("run(&mut Command::new(here.join(\"../current/tell\")))");
    let source = space.write(
        "tell.c",
        "#include <libgen.h>\n#include <stdio.h>\n#include <unistd.h>\n\
         int main(void) {\n\
         char path[4096] = {0}, text[64] = {0};\n\
         readlink(\"/proc/self/exe\", path, 4000);\n\
         dirname(path);\n\
         chdir(path);\n\
         FILE *file = fopen(\"value\", \"r\");\n\
         fread(text, 1, 63, file);\n\
         return puts(text) < 0;\n}\n",
    );
    for value in [Value::One, Value::Two] {
        let name = value.text();
        let data = space.write(format!("{name}/value"), name);
        succeed(Command::new("cc").arg("-o").args([&data.with_file_name("tell"), &source]));
    }
    check_noticed(&mut space, &AGAIN, |space, value| {
        space.remove("current");
        std::os::unix::fs::symlink(space.path(value.text()), space.path("current"))
            .expect("a link can be made");
    });
}

#[test]
fn a_library_in_another_directory_of_the_library_path() {
    let mut space = with_teller();
    teller(&space, "libvalue.so", &[]);
    for value in [Value::One, Value::Two] {
        library(&space, &format!("{}/libvalue.so", value.text()), value, &[]);
    }
    check_noticed(&mut space, &PROGRAMS_RUN, |space, value| {
        let directory = space.path(value.text()).display().to_string();
        space.set_variable("LD_LIBRARY_PATH", &directory);
    });
}

/// Checks that a library in the first place is noticed where `tell` has had that in the second.
#[track_caller]
fn check_earlier_noticed(space: &mut TestSpace) {
    library(space, "two/libvalue.so", Value::One, &[]);
    check_noticed(space, &AGAIN, |space, value| match value {
        Value::One => space.remove("one/libvalue.so"),
        Value::Two => library(space, "one/libvalue.so", Value::Two, &[]),
    });
}

#[test]
fn a_library_that_appears_earlier_on_the_library_path() {
    let mut space = with_teller();
    teller(&space, "libvalue.so", &[]);
    space.set_variable("LD_LIBRARY_PATH", &places(&space).join(":"));
    check_earlier_noticed(&mut space);
}

#[test]
fn a_library_that_appears_earlier_on_the_path_that_a_program_has() {
    let mut space = with_teller();
    let [one, two] = places(&space);
    teller(&space, "libvalue.so", &[&format!("-Wl,-rpath,$ORIGIN/one:{one}:{two}")]);
    check_earlier_noticed(&mut space);
}

/// Where it searches changes all the time while the script runs, and nothing is there before.
#[test]
fn a_program_of_a_scripts_own_that_searches_where_the_script_writes() {
    let mut space = with_script(
        "let search = [out, &here.join(\"target\")].map(|path| format!(\"-Wl,-rpath,{}\", path.display()));\n\
         run(Command::new(\"cc\").arg(\"-o\").arg(out.join(\"tell\")).arg(\"tell.c\").args(search));\n\
         run(&mut Command::new(out.join(\"tell\")))",
    );
    space.write("p/tell.c", "#include <stdio.h>\nint main(void) { return puts(\"one\") < 0; }\n");
    check_ignored(&mut space, |_| {});
}

/// The name is that of the C library's own; where it lies says that it is not.
#[test]
fn a_library_with_the_name_of_one_of_the_system() {
    let mut space = with_teller();
    let [one, _] = places(&space);
    teller(&space, "libm.so.7", &[&format!("-Wl,-rpath,{one}")]);
    check_noticed(&mut space, &AGAIN, |space, value| {
        library(space, "one/libm.so.7", value, &[]);
    });
}

#[test]
fn a_library_that_is_loaded_before_all_others() {
    let mut space = with_teller();
    let [one, _] = places(&space);
    library(&space, "one/libvalue.so", Value::One, &[]);
    teller(&space, "libvalue.so", &[&format!("-Wl,-rpath,{one}")]);
    library(&space, "two/libother.so", Value::Two, &[]);
    let other = space.path("two/libother.so").display().to_string();
    check_noticed(&mut space, &PROGRAMS_RUN, |space, value| match value {
        Value::One => space.unset_variable("LD_PRELOAD"),
        Value::Two => space.set_variable("LD_PRELOAD", &other),
    });
}

/// Code that takes the value from a library that it loads.
fn loads(name: &str) -> String {
    format!(
        "use std::ffi::{{CStr, CString, c_char, c_int, c_void}};\n\
         unsafe extern \"C\" {{\n\
         fn dlopen(name: *const c_char, flags: c_int) -> *const c_void;\n\
         fn dlsym(library: *const c_void, name: *const c_char) -> *const c_void;\n}}\n\
         let name = CString::new({name}).unwrap();\n\
         let library = unsafe {{ dlopen(name.as_ptr(), 2) }};\n\
         assert!(!library.is_null());\n\
         let value = unsafe {{ dlsym(library, c\"value\".as_ptr()) }};\n\
         let value: extern \"C\" fn() -> *const c_char = unsafe {{ std::mem::transmute(value) }};\n\
         unsafe {{ CStr::from_ptr(value()) }}.to_str().unwrap().into()"
    )
}

#[test]
fn a_library_that_another_one_needs_which_a_macro_loads() {
    let mut space = with_macro(&loads("here.join(\"../libouter.so\").to_str().unwrap()"));
    let put_inner = |space: &TestSpace, value: Value| {
        let code = format!("const char *inner(void) {{ return \"{}\"; }}\n", value.text());
        shared(space, "one/libinner.so", &code, &[]);
    };
    put_inner(&space, Value::One);
    let inner = space.path("one/libinner.so").display().to_string();
    let search = format!("-Wl,-rpath,{}", space.path("one").display());
    library(&space, "libouter.so", Value::One, &[&inner, &search]);
    check_noticed(&mut space, &["p(bin)"], |space, value| put_inner(space, value));
}

/// As that of Python, where it is a library.
#[test]
fn a_variable_that_the_library_of_a_program_finds_by_looking_at_all_of_them() {
    let mut space = with_teller();
    let [one, _] = places(&space);
    teller(&space, "libvalue.so", &[&format!("-Wl,-rpath,{one}")]);
    let code = "extern char **environ;\n\
        const char *value(void) {\n\
        for (char **each = environ; *each; each++)\n\
        if (__builtin_strncmp(*each, \"FLAVOUR=\", 8) == 0) return *each + 8;\n\
        return \"none\";\n}\n";
    shared(&space, "one/libvalue.so", code, &[]);
    check_noticed(&mut space, &AGAIN, |space, value| space.set_variable("FLAVOUR", value.text()));
}

/// What the loader finds for it is not known, so that the script is run each time.
#[test]
fn a_library_that_the_loader_is_to_find() {
    let mut space = with_script(&loads("\"libvalue.so\""));
    space.set_variable("LD_LIBRARY_PATH", &places(&space)[0]);
    for value in [Value::One, Value::Two] {
        library(&space, "one/libvalue.so", value, &[]);
        space.remove("p/target");
        space.build("p");
        assert_eq!(space.output_of("p/target/debug/p").trim_end(), value.text());
    }
}

/// In a directory that is searched for whatever there is, crates as well as native libraries.
#[test]
fn a_shared_library_that_appears_earlier_on_the_linkers_path() {
    let mut space = with_native_value();
    let [one, two] = places(&space);
    space.set_variable("RUSTFLAGS", &format!("-L{one} -L{two} -lvalue"));
    // Scripts for the linker, which lead to objects.
    let put = |space: &TestSpace, at: &Path, value: Value| {
        let object = space.path(format!("{}.o", value.text()));
        space.write(at, format!("INPUT({})\n", object.display()));
    };
    put(&space, Path::new("two/libvalue.so"), Value::One);
    check_noticed(&mut space, &["p(bin)"], |space, value| match value {
        Value::One => space.remove("one/libvalue.so"),
        Value::Two => put(space, Path::new("one/libvalue.so"), Value::Two),
    });
}

#[test]
fn a_shared_library_on_the_linkers_path_that_changes() {
    let mut space = with_native_value();
    let [one, _] = places(&space);
    space.set_variable("RUSTFLAGS", &format!("-L{one} -lvalue"));
    // A crate of that name is not what the linker takes.
    space.write("one/libvalue.rlib", "");
    check_noticed(&mut space, &["p(bin)"], |space, value| {
        let object = space.path(format!("{}.o", value.text()));
        space.write("one/libvalue.so", format!("INPUT({})\n", object.display()));
    });
}
