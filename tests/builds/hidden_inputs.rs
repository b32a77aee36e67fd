//! What a compilation reads without saying so on its command line is part of its key, and what it
//! does not read is not.

use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::toolchain::Toolchain;
use crate::support::{TestSpace, succeed};

/// Which of its two values an input has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    One,
    Two,
}

impl Value {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Two => "two",
        }
    }
}

/// Builds `p` from nothing with the input at its first value, and again to see that all of it hits;
/// then with the second value, which has to rebuild just `units` and to show in what the program
/// prints; then with the first value again, which has to hit again.
#[track_caller]
pub(crate) fn check_noticed(
    space: &mut TestSpace,
    units: &[&str],
    put: impl Fn(&mut TestSpace, Value),
) {
    let step = |space: &mut TestSpace, value: Value, expected: Option<&[&str]>, what: &str| {
        put(space, value);
        space.remove("p/target");
        let build = space.build("p");
        if let Some(expected) = expected {
            build.assert_compiled(expected, what);
        }
        assert_eq!(space.output_of("p/target/debug/p").trim_end(), value.text(), "{what}");
    };
    step(space, Value::One, None, "a cold build");
    step(space, Value::One, Some(&[]), "nothing changed");
    step(space, Value::Two, Some(units), "the input changed");
    step(space, Value::Two, Some(&[]), "nothing changed since");
    step(space, Value::One, Some(&[]), "the input has its first value again");
}

/// Builds `p` from nothing, makes a change that cannot matter, and checks that all of it hits.
#[track_caller]
pub(crate) fn check_ignored(space: &mut TestSpace, change: impl Fn(&mut TestSpace)) {
    space.build("p");
    space.remove("p/target");
    space.build("p").assert_compiled(&[], "nothing changed");
    change(space);
    space.remove("p/target");
    space.build("p").assert_compiled(&[], "something unrelated changed");
}

/// A program `p` that prints what the macro `peek!()` expands to. The macro is the body of a
/// function that returns a `String`, with `here` as the directory of the package being compiled.
pub(crate) fn with_macro(body: &str) -> TestSpace {
    with_macro_in(TestSpace::new(), body)
}

fn with_macro_in(space: TestSpace, body: &str) -> TestSpace {
    space.package(
        "p",
        "[dependencies]\npeek = { path = \"../peek\" }\n",
        &[("src/main.rs", "fn main() { println!(\"{}\", peek::peek!()); }\n")],
    );
    space.package(
        "peek",
        "[lib]\nproc-macro = true\n",
        &[(
            "src/lib.rs",
            &format!(
                "#![allow(unused)]\n\
                 #[proc_macro]\n\
                 pub fn peek(_: proc_macro::TokenStream) -> proc_macro::TokenStream {{\n\
                 let here = std::path::PathBuf::from(std::env::var_os(\"CARGO_MANIFEST_DIR\").unwrap());\n\
                 format!(\"{{:?}}\", look(&here)).parse().unwrap()\n}}\n\
                 fn look(here: &std::path::Path) -> String {{ {body} }}\n"
            ),
        )],
    );
    space
}

/// A program `p` that prints the string that the C function `value` returns. `one.o` and `two.o` of
/// the space define it; how one of them gets linked is the caller's business.
pub(crate) fn with_native_value() -> TestSpace {
    let space = TestSpace::new();
    space.package(
        "p",
        "",
        &[(
            "src/main.rs",
            "unsafe extern \"C\" { fn value() -> *const std::ffi::c_char; }\n\
             fn main() {\n\
             let text = unsafe { std::ffi::CStr::from_ptr(value()) };\n\
             println!(\"{}\", text.to_str().unwrap());\n}\n",
        )],
    );
    for value in [Value::One, Value::Two] {
        let name = value.text();
        let code = format!("const char *value(void) {{ return \"{name}\"; }}\n");
        let source = space.write(format!("{name}.c"), code);
        let object = space.path(format!("{name}.o"));
        succeed(Command::new("cc").args(["-c", "-fPIC", "-o"]).args([object, source]));
    }
    space
}

/// Puts the object of a value into a static library.
pub(crate) fn archive(space: &TestSpace, library: &str, value: Value) {
    let path = space.path(library);
    std::fs::create_dir_all(path.parent().expect("a library has a directory"))
        .expect("a directory can be created");
    space.remove(library);
    // One member name for both, so that nothing but the content differs.
    std::fs::copy(space.path(format!("{}.o", value.text())), space.path("value.o"))
        .expect("an object can be copied");
    succeed(Command::new("ar").arg("rcsD").arg(path).arg(space.path("value.o")));
}

#[test]
fn a_variable_that_a_macro_reads() {
    let mut space = with_macro("std::env::var(\"FLAVOUR\").unwrap()");
    check_noticed(&mut space, &["p(bin)"], |space, value| {
        space.set_variable("FLAVOUR", value.text());
    });
}

#[test]
fn a_variable_that_a_macro_finds_missing() {
    let mut space = with_macro("std::env::var(\"FLAVOUR\").unwrap_or(\"one\".into())");
    check_noticed(&mut space, &["p(bin)"], |space, value| match value {
        Value::One => space.unset_variable("FLAVOUR"),
        Value::Two => space.set_variable("FLAVOUR", "two"),
    });
}

#[test]
fn a_variable_of_the_session_that_a_macro_reads() {
    let mut space = with_macro("std::env::var(\"DISPLAY\").unwrap()");
    check_noticed(&mut space, &["p(bin)"], |space, value| {
        space.set_variable("DISPLAY", value.text());
    });
}

#[test]
fn variables_that_a_macro_finds_by_looking_at_all_of_them() {
    let mut space =
        with_macro("std::env::vars().find(|(name, _)| name.starts_with(\"FLAVOUR_\")).unwrap().1");
    check_noticed(&mut space, &["p(bin)"], |space, value| {
        space.set_variable("FLAVOUR_OF_TODAY", value.text());
    });
}

#[test]
fn a_variable_that_the_source_names() {
    let mut space = TestSpace::new();
    space.package(
        "p",
        "",
        &[(
            "src/main.rs",
            "fn main() { println!(\"{}\", option_env!(\"FLAVOUR\").unwrap_or(\"one\")); }\n",
        )],
    );
    check_noticed(&mut space, &["p(bin)"], |space, value| match value {
        Value::One => space.unset_variable("FLAVOUR"),
        Value::Two => space.set_variable("FLAVOUR", "two"),
    });
}

#[test]
fn a_file_that_a_macro_reads() {
    let mut space = with_macro("std::fs::read_to_string(here.join(\"data.txt\")).unwrap()");
    check_noticed(&mut space, &["p(bin)"], |space, value| {
        space.write("p/data.txt", value.text());
    });
}

#[test]
fn a_file_outside_the_workspace_that_a_macro_reads() {
    let mut space = with_macro("std::fs::read_to_string(here.join(\"../data.txt\")).unwrap()");
    check_noticed(&mut space, &["p(bin)"], |space, value| {
        space.write("data.txt", value.text());
    });
}

/// Names there are made up at random by most programs, but not by all.
#[test]
fn a_file_among_temporary_ones_that_a_macro_probed_for_and_that_later_appears() {
    let flag = std::path::PathBuf::from(format!("/tmp/kache-flag-{}", std::process::id()));
    let mut space = with_macro(&format!(
        "if std::path::Path::new({flag:?}).exists() {{ \"two\".into() }} else {{ \"one\".into() }}"
    ));
    check_noticed(&mut space, &["p(bin)"], |_, value| match value {
        Value::One => drop(std::fs::remove_file(&flag)),
        Value::Two => std::fs::write(&flag, "").expect("a flag can be set"),
    });
}

/// `/dev` is the machine's, but there people keep what is to be in memory.
#[test]
fn a_file_in_shared_memory_that_a_macro_reads() {
    let space = TestSpace::below(Path::new("/dev/shm"));
    let body = "std::fs::read_to_string(here.join(\"data.txt\")).unwrap()";
    check_noticed(&mut with_macro_in(space, body), &["p(bin)"], |space, value| {
        space.write("p/data.txt", value.text());
    });
}

/// Such a path means another file for each process that uses it.
#[test]
fn a_file_that_a_macro_reaches_through_proc_is_never_cached() {
    let space = with_macro(
        "let inside = here.strip_prefix(\"/\").unwrap();\n\
         std::fs::read_to_string(std::path::Path::new(\"/proc/self/root\").join(inside).join(\"data.txt\")).unwrap()",
    );
    for value in [Value::One, Value::Two, Value::Two] {
        space.write("p/data.txt", value.text());
        space.remove("p/target");
        space.build("p");
        assert_eq!(space.output_of("p/target/debug/p").trim_end(), value.text());
    }
}

/// A kernel that says it is another one: `setarch` has it tell the version that old programs expect.
#[test]
fn the_kernel_that_a_macro_asks_for() {
    let space = with_macro(
        "let run = std::process::Command::new(\"uname\").arg(\"-r\").output().unwrap();\n\
         if run.stdout.starts_with(b\"2.6.\") { \"two\".into() } else { \"one\".into() }",
    );
    let check = |launcher: &[&str], expected: Option<&[&str]>, value: &str| {
        space.remove("p/target");
        let build = space.cargo("p", ["build"]).launched_by(launcher).succeed();
        if let Some(expected) = expected {
            build.assert_compiled(expected, value);
        }
        assert_eq!(space.output_of("p/target/debug/p").trim_end(), value);
    };
    let other = ["setarch", "--uname-2.6"];
    check(&[], None, "one");
    check(&[], Some(&[]), "one");
    check(&other, Some(&["p(bin)"]), "two");
    check(&other, Some(&[]), "two");
    check(&[], Some(&[]), "one");
}

#[test]
fn a_file_that_a_macro_reads_through_a_symbolic_link() {
    let mut space = with_macro("std::fs::read_to_string(here.join(\"data.txt\")).unwrap()");
    space.write("one.txt", "one");
    space.write("two.txt", "two");
    check_noticed(&mut space, &["p(bin)"], |space, value| {
        space.remove("p/data.txt");
        let target = space.path(format!("{}.txt", value.text()));
        std::os::unix::fs::symlink(target, space.path("p/data.txt")).expect("a link can be made");
    });
}

#[test]
fn a_file_of_the_same_size_and_time_that_a_macro_reads() {
    let mut space = with_macro("std::fs::read_to_string(here.join(\"data.txt\")).unwrap()");
    check_noticed(&mut space, &["p(bin)"], |space, value| {
        let path = space.write("p/data.txt", value.text());
        let time = std::time::UNIX_EPOCH + Duration::from_mins(25_000_000);
        std::fs::File::options()
            .write(true)
            .open(path)
            .and_then(|file| file.set_modified(time))
            .expect("a time can be set");
    });
}

const COUNT: &str = "match std::fs::read_dir(here.join(\"data\")).unwrap().count() {\n\
     1 => \"one\".into(), 2 => \"two\".into(), _ => \"many\".into() }";

#[test]
fn the_names_in_a_directory_that_a_macro_lists() {
    check_names_noticed(with_macro(COUNT));
}

/// What the compiler sees when it looks for libraries is no input; a macro's list of it is.
#[test]
fn the_names_in_a_directory_of_libraries_that_a_macro_lists() {
    let mut space = with_macro(COUNT);
    let search = format!("-Lnative={}", space.path("p/data").display());
    space.set_variable("RUSTFLAGS", &search);
    check_names_noticed(space);
}

#[track_caller]
fn check_names_noticed(mut space: TestSpace) {
    space.write("p/data/first", "");
    check_noticed(&mut space, &["p(bin)"], |space, value| match value {
        Value::One => space.remove("p/data/second"),
        Value::Two => drop(space.write("p/data/second", "")),
    });
}

#[test]
fn a_file_that_a_macro_probed_for_and_that_later_appears() {
    let mut space = with_macro(
        "if here.join(\"extra/flag\").exists() { \"two\".into() } else { \"one\".into() }",
    );
    check_noticed(&mut space, &["p(bin)"], |space, value| match value {
        Value::One => space.remove("p/extra"),
        Value::Two => drop(space.write("p/extra/flag", "")),
    });
}

#[test]
fn a_file_that_a_program_run_by_a_macro_reads() {
    let mut space = with_macro(
        "String::from_utf8(std::process::Command::new(here.join(\"describe\")).output().unwrap().stdout).unwrap()",
    );
    space.write_program("p/describe", "#!/bin/sh\ncat \"${0%/*}/data.txt\"\n");
    check_noticed(&mut space, &["p(bin)"], |space, value| {
        space.write("p/data.txt", value.text());
    });
}

#[test]
fn a_program_that_a_macro_runs() {
    let mut space = with_macro(
        "String::from_utf8(std::process::Command::new(\"describe\").output().unwrap().stdout).unwrap()",
    );
    let path = format!("{}:/usr/bin:/bin", space.path("tools").display());
    space.set_variable("PATH", &path);
    check_noticed(&mut space, &["p(bin)"], |space, value| {
        space.write_program("tools/describe", format!("#!/bin/sh\nprintf {}\n", value.text()));
    });
}

#[test]
fn a_macro_that_asks_a_network_service_is_never_cached() {
    let space = with_macro(
        "let mut text = String::new();\n\
         let port = std::fs::read_to_string(here.join(\"port\")).unwrap().parse().unwrap();\n\
         let mut stream = std::net::TcpStream::connect((\"127.0.0.1\", port)).unwrap();\n\
         std::io::Read::read_to_string(&mut stream, &mut text).unwrap();\n\
         text",
    );
    let service = TcpListener::bind(("127.0.0.1", 0)).expect("loopback can be bound");
    let port = service.local_addr().expect("a bound socket has an address").port();
    space.write("p/port", port.to_string());
    let answers = std::thread::spawn(move || {
        for value in [Value::One, Value::Two] {
            let (mut stream, _) = service.accept().expect("a macro connects");
            stream.write_all(value.text().as_bytes()).expect("an answer can be sent");
        }
    });
    space.build("p");
    assert_eq!(space.output_of("p/target/debug/p"), "one\n");
    space.remove("p/target");
    space.build("p").assert_compiled(&["p(bin)"], "the unit that asked is compiled again");
    assert_eq!(space.output_of("p/target/debug/p"), "two\n");
    answers.join().expect("the service answered twice");
}

#[test]
fn an_included_file() {
    let mut space = TestSpace::new();
    space.package(
        "p",
        "",
        &[("src/main.rs", "fn main() { println!(\"{}\", include_str!(\"text\")); }\n")],
    );
    check_noticed(&mut space, &["p(bin)"], |space, value| {
        space.write("p/src/text", value.text());
    });
}

#[test]
fn two_modules_that_swap_their_contents() {
    let mut space = TestSpace::new();
    space.package(
        "p",
        "",
        &[("src/main.rs", "mod first;\nmod second;\nfn main() { println!(\"{}\", first::WORD); let _ = second::WORD; }\n")],
    );
    let module = |value: Value| format!("pub const WORD: &str = \"{}\";\n", value.text());
    check_noticed(&mut space, &["p(bin)"], |space, value| {
        let other = if value == Value::One { Value::Two } else { Value::One };
        space.write("p/src/first.rs", module(value));
        space.write("p/src/second.rs", module(other));
    });
}

#[test]
fn a_module_that_moves_from_a_file_to_a_directory() {
    let mut space = TestSpace::new();
    space.package(
        "p",
        "",
        &[("src/main.rs", "mod word;\nfn main() { println!(\"{}\", word::WORD); }\n")],
    );
    check_noticed(&mut space, &["p(bin)"], |space, value| {
        let (old, new) = match value {
            Value::One => ("p/src/word/mod.rs", "p/src/word.rs"),
            Value::Two => ("p/src/word.rs", "p/src/word/mod.rs"),
        };
        space.remove(old);
        space.write(new, format!("pub const WORD: &str = \"{}\";\n", value.text()));
    });
}

#[test]
fn a_static_native_library() {
    let mut space = with_native_value();
    let search = format!("-Lnative={} -lstatic=value", space.path("libs").display());
    space.set_variable("RUSTFLAGS", &search);
    check_noticed(&mut space, &["p(bin)"], |space, value| {
        archive(space, "libs/libvalue.a", value);
    });
}

#[test]
fn a_static_native_library_bundled_into_a_dependency() {
    let mut space = with_native_value();
    let libs = space.path("libs").display().to_string();
    space.package(
        "value",
        "",
        &[
            ("src/lib.rs", ""),
            (
                "build.rs",
                &format!(
                    "fn main() {{ println!(\"cargo::rerun-if-changed=build.rs\"); \
                     println!(\"cargo::rustc-link-search=native={libs}\"); \
                     println!(\"cargo::rustc-link-lib=static=value\"); }}\n"
                ),
            ),
        ],
    );
    let manifest = space.read("p/Cargo.toml");
    space.write(
        "p/Cargo.toml",
        format!("{manifest}[dependencies]\nvalue = {{ path = \"../value\" }}\n"),
    );
    let main = space.read("p/src/main.rs");
    space.write("p/src/main.rs", format!("use value as _;\n{main}"));
    check_noticed(&mut space, &["p(bin)", "value"], |space, value| {
        archive(space, "libs/libvalue.a", value);
    });
}

#[test]
fn a_library_that_appears_earlier_on_the_search_path() {
    let mut space = with_native_value();
    let (first, second) = (space.path("first"), space.path("second"));
    std::fs::create_dir(&first).expect("a directory can be created");
    let search =
        format!("-Lnative={} -Lnative={} -lstatic=value", first.display(), second.display());
    space.set_variable("RUSTFLAGS", &search);
    archive(&space, "second/libvalue.a", Value::One);
    check_noticed(&mut space, &["p(bin)"], |space, value| match value {
        Value::One => space.remove("first/libvalue.a"),
        Value::Two => archive(space, "first/libvalue.a", Value::Two),
    });
}

#[test]
fn a_linker_script() {
    let mut space = with_native_value();
    let script = space.path("value.ld");
    space.set_variable("RUSTFLAGS", &format!("-Clink-arg={}", script.display()));
    check_noticed(&mut space, &["p(bin)"], |space, value| {
        let object = space.path(format!("{}.o", value.text()));
        space.write("value.ld", format!("INPUT({})\n", object.display()));
    });
}

#[test]
fn an_object_that_a_linker_script_names() {
    let mut space = with_native_value();
    let (script, object) = (space.path("value.ld"), space.path("value.o"));
    space.write("value.ld", format!("INPUT({})\n", object.display()));
    space.set_variable("RUSTFLAGS", &format!("-Clink-arg={}", script.display()));
    check_noticed(&mut space, &["p(bin)"], |space, value| {
        let from = space.path(format!("{}.o", value.text()));
        std::fs::copy(from, space.path("value.o")).expect("an object can be copied");
    });
}

/// A linker driver that adds one of the two objects.
fn linker(space: &TestSpace, at: &str, value: Value) {
    let object = space.path(format!("{}.o", value.text()));
    space.write_program(at, format!("#!/bin/sh\nexec /usr/bin/cc \"$@\" {}\n", object.display()));
}

#[test]
fn the_linker_driver_replaced_in_its_place() {
    let mut space = with_native_value();
    let path = format!("{}:/usr/bin:/bin", space.path("tools").display());
    space.set_variable("PATH", &path);
    check_noticed(&mut space, &["p(bin)"], |space, value| linker(space, "tools/cc", value));
}

#[test]
fn another_linker_driver_that_appears_earlier_on_the_path() {
    let mut space = with_native_value();
    let (first, second) = (space.path("first"), space.path("second"));
    std::fs::create_dir(&first).expect("a directory can be created");
    let path = format!("{}:{}:/usr/bin:/bin", first.display(), second.display());
    space.set_variable("PATH", &path);
    linker(&space, "second/cc", Value::One);
    check_noticed(&mut space, &["p(bin)"], |space, value| match value {
        Value::One => space.remove("first/cc"),
        Value::Two => linker(space, "first/cc", Value::Two),
    });
}

#[test]
fn a_linker_named_by_the_configuration() {
    let mut space = with_native_value();
    let linker_path = space.path("tools/our-gcc").display().to_string();
    space.set_variable("RUSTFLAGS", &format!("-Clinker={linker_path}"));
    check_noticed(&mut space, &["p(bin)"], |space, value| linker(space, "tools/our-gcc", value));
}

/// Puts a start-up object that carries the value where the C compiler looks first.
fn start_up_object(space: &TestSpace, value: Value) {
    let found = succeed(Command::new("cc").arg("-print-file-name=Scrt1.o"));
    let original = String::from_utf8(found.stdout).expect("the path is text");
    std::fs::create_dir_all(space.path("crt")).expect("a directory can be created");
    space.remove("crt/Scrt1.o");
    let mut link = Command::new("ld");
    link.arg("-r").arg("-o").arg(space.path("crt/Scrt1.o"));
    link.arg(original.trim_end()).arg(space.path(format!("{}.o", value.text())));
    succeed(&mut link);
}

#[test]
fn a_start_up_object() {
    let mut space = with_native_value();
    let flags = format!("-Clink-arg=-B{}", space.path("crt").display());
    space.set_variable("RUSTFLAGS", &flags);
    check_noticed(&mut space, &["p(bin)"], |space, value| start_up_object(space, value));
}

/// Both files of the dependency have one stem, and the metadata is in one of them.
#[test]
fn a_constant_of_a_library_that_is_a_c_library_as_well() {
    let mut space = TestSpace::new();
    space.package("p/a", "[lib]\ncrate-type = [\"lib\", \"cdylib\"]\n", &[("src/lib.rs", "")]);
    space.package(
        "p/b",
        "[dependencies]\na = { path = \"../a\" }\n",
        &[("src/lib.rs", "pub fn word() -> &'static str { a::WORD }\n")],
    );
    space.package(
        "p",
        "[dependencies]\nb = { path = \"b\" }\n",
        &[("src/main.rs", "fn main() { println!(\"{}\", b::word()); }\n")],
    );
    check_noticed(&mut space, &["a", "b", "p(bin)"], |space, value| {
        let text = format!("pub const WORD: &str = {:?};\n", value.text());
        space.write("p/a/src/lib.rs", text);
    });
}

#[test]
fn a_feature() {
    let mut space = TestSpace::new();
    space.package(
        "p",
        "[features]\ndefault = []\nloud = []\n",
        &[("src/main.rs", "fn main() { println!(\"{}\", if cfg!(feature = \"loud\") { \"two\" } else { \"one\" }); }\n")],
    );
    let manifest = space.read("p/Cargo.toml");
    check_noticed(&mut space, &["p(bin)"], |space, value| {
        let defaults = if value == Value::One { "[]" } else { "[\"loud\"]" };
        space.write(
            "p/Cargo.toml",
            manifest.replace("default = []", &format!("default = {defaults}")),
        );
    });
}

#[test]
fn a_cfg() {
    let mut space = TestSpace::new();
    space.package(
        "p",
        "",
        &[("src/main.rs", "#![allow(unexpected_cfgs)]\nfn main() { println!(\"{}\", if cfg!(loud) { \"two\" } else { \"one\" }); }\n")],
    );
    check_noticed(&mut space, &["p(bin)"], |space, value| {
        space.set_variable("RUSTFLAGS", if value == Value::One { "" } else { "--cfg loud" });
    });
}

#[test]
fn the_licence_to_use_unstable_features() {
    let space = TestSpace::new();
    space.package("p", "", &[("src/main.rs", "#![feature(rustc_attrs)]\nfn main() {}\n")]);
    let allowed = || space.cargo("p", ["build"]).variable("RUSTC_BOOTSTRAP", "1");
    allowed().succeed();
    space.remove("p/target");
    let refused = space.cargo("p", ["build"]).run();
    assert!(!refused.status.success(), "a stable compiler refuses\n{}", refused.text());
    space.remove("p/target");
    allowed().succeed().assert_compiled(&[], "allowed again");
}

#[test]
fn a_target_specification() {
    let mut space = TestSpace::new();
    space.set_variable("RUSTC_BOOTSTRAP", "1");
    space.package(
        "p",
        "",
        &[("src/lib.rs", "#![feature(no_core, lang_items)]\n#![no_core]\n#[lang = \"pointee_sized\"]\npub trait PointeeSized {}\n#[lang = \"meta_sized\"]\npub trait MetaSized: PointeeSized {}\n#[lang = \"sized\"]\npub trait Sized: MetaSized {}\n")],
    );
    let mut print = Command::new(crate::support::toolchain::sysroot().join("bin/rustc"));
    print.env("RUSTC_BOOTSTRAP", "1").args(["-Zunstable-options", "--print", "target-spec-json"]);
    let text = String::from_utf8(succeed(&mut print).stdout).expect("a specification is text");
    assert!(text.contains("\"cpu\": \"x86-64\"") || !cfg!(target_arch = "x86_64"));
    let build = || {
        space.remove("p/target");
        let target = space.path("spec.json").display().to_string();
        let arguments = ["build", "-Zjson-target-spec", "--target", &target];
        space.cargo("p", arguments).succeed().compiled
    };
    space.write("spec.json", &text);
    assert_eq!(build(), ["p"], "a cold build");
    assert_eq!(build(), [""; 0], "nothing changed");
    space.write(
        "spec.json",
        text.replacen('{', "{ \"features\": \"+sse4.1\",", 1).replace("\"features\": \"\",", ""),
    );
    assert_eq!(build(), ["p"], "the specification changed");
    space.write("spec.json", &text);
    assert_eq!(build(), [""; 0], "the specification is the first again");
}

/// A toolchain of the same version at a place of its own whose files can be replaced. No hardlinks: a
/// new one changes the original, as other tests see it.
pub(crate) fn toolchain_copy(space: &TestSpace) -> Toolchain {
    let original = crate::support::toolchain::sysroot();
    let copy = space.path("toolchain");
    std::fs::create_dir(&copy).expect("a directory can be created");
    let parts = ["bin", "lib"].map(|part| original.join(part));
    succeed(Command::new("cp").args(["-a", "--reflink=auto"]).args(parts).arg(&copy));
    Toolchain::witnessed(&space.path(""), "witness-copy", &copy)
}

/// Where in a space with such a copy the libraries for the host are. The original may have more targets.
pub(crate) fn host_libraries() -> String {
    let original = crate::support::toolchain::sysroot();
    let output =
        succeed(Command::new(original.join("bin/rustc")).args(["--print", "target-libdir"]));
    let text = String::from_utf8(output.stdout).expect("the path is text");
    let inside = Path::new(text.trim_end()).strip_prefix(original).expect("a part of it");
    format!("toolchain/{}", inside.display())
}

/// Replaces a file of the copied toolchain by one with another content.
pub(crate) fn replace(
    space: &TestSpace,
    directory: &str,
    prefix: &str,
    change: impl Fn(&mut Vec<u8>),
) {
    let found = crate::support::disk::files(&space.path(directory));
    let named = |path: &&std::path::PathBuf| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(prefix.as_bytes()))
    };
    let path = found.iter().find(named).expect("the toolchain has the file");
    let mut bytes = std::fs::read(path).expect("a file of the toolchain can be read");
    change(&mut bytes);
    std::fs::remove_file(path).expect("a file of the copy can be removed");
    std::fs::write(path, bytes).expect("a file of the copy can be written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
}

#[test]
fn a_toolchain_rebuilt_under_the_same_version() {
    let mut space = TestSpace::new();
    space.package("p", "", &[("src/main.rs", "fn main() {}\n")]);
    let copy = toolchain_copy(&space);
    space.use_toolchain(copy);
    let build = |space: &TestSpace| {
        space.remove("p/target");
        space.build("p").compiled
    };
    assert_eq!(build(&space), ["p(bin)"], "a cold build");
    assert_eq!(build(&space), [""; 0], "nothing changed");
    replace(&space, "toolchain/lib", "librustc_driver", |bytes| bytes.push(0));
    assert_eq!(build(&space), ["p(bin)"], "the compiler changed");
    assert_eq!(build(&space), [""; 0], "nothing changed since");
    // The time in the header of an archive's first member.
    replace(&space, &host_libraries(), "libstd-", |bytes| bytes[8 + 16] ^= 1);
    assert_eq!(build(&space), ["p(bin)"], "the standard library changed");
    assert_eq!(build(&space), [""; 0], "nothing changed since");
    let backends = space.path(host_libraries()).with_file_name("codegen-backends");
    assert!(!backends.exists(), "there are code generators already");
    space.write(backends.join("librustc_codegen_other.so"), "");
    assert_eq!(build(&space), ["p(bin)"], "a code generator came");
}

#[test]
fn a_toolchain_is_examined_once_for_scripts_and_libraries() {
    let space = TestSpace::new();
    space.package("p", "", &[("src/main.rs", "fn main() {}\n"), ("build.rs", "fn main() {}\n")]);
    space.build("p");
    let log = space.toolchain().log;
    let questions = std::fs::read_to_string(log).expect("the compiler's calls are logged");
    let asked = |line: &&str| line.ends_with("--print\u{1f}target-libdir");
    assert_eq!(questions.lines().filter(asked).count(), 1, "{questions}");
}

#[test]
fn what_the_terminal_the_machine_and_the_user_are_like_does_not_matter() {
    let mut space = with_macro("\"one\".into()");
    check_ignored(&mut space, |space| {
        for (name, value) in [
            ("CARGO_TERM_COLOR", "always"),
            ("TERM", "xterm-256color"),
            ("COLUMNS", "37"),
            ("CARGO_BUILD_JOBS", "1"),
            ("USER", "somebody"),
            ("SSH_AUTH_SOCK", "/nowhere"),
            ("UNRELATED", "value"),
            ("RUST_LOG", "error"),
            ("RUST_BACKTRACE", "1"),
            ("CARGO_BUILD_MESSAGE_FORMAT", "human"),
        ] {
            space.set_variable(name, value);
        }
    });
}

#[test]
fn unrelated_files_do_not_matter() {
    let mut space = with_macro("std::fs::read_to_string(here.join(\"data.txt\")).unwrap()");
    space.write("p/data.txt", "one");
    check_ignored(&mut space, |space| {
        space.write("p/NOTES.md", "new");
        space.write("p/src/unused.rs", "not even Rust");
        space.write("p/src/bin2/other.txt", "new");
        space.write("NOTES.md", "new");
        space.write("peek/README.md", "new");
        space.write("home/.profile", "new");
    });
}

#[test]
fn a_file_touched_but_not_changed_does_not_matter() {
    let mut space = with_macro("std::fs::read_to_string(here.join(\"data.txt\")).unwrap()");
    space.write("p/data.txt", "one");
    check_ignored(&mut space, |space| {
        for file in ["p/data.txt", "p/src/main.rs", "peek/src/lib.rs", "p/Cargo.toml"] {
            let content = space.read(file);
            space.write(file, content);
        }
    });
}

#[test]
fn the_place_of_the_cargo_home_does_not_matter() {
    let mut space = TestSpace::new();
    space.package("pebble", "", &[("src/lib.rs", "pub const WORD: &str = \"one\";\n")]);
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.current_dir(space.path("pebble")).env("HOME", space.path("home"));
        command.args(["-c", "user.name=t", "-c", "user.email=t@example.org"]).args(arguments);
        succeed(&mut command);
    };
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "first"]);
    space.package(
        "p",
        &format!(
            "[dependencies]\npebble = {{ git = \"file://{}\" }}\n",
            space.path("pebble").display()
        ),
        &[("src/main.rs", "fn main() { println!(\"{}\", pebble::WORD); }\n")],
    );
    space.set_variable("CARGO_NET_OFFLINE", "false");
    check_ignored(&mut space, |space| {
        let home = space.path("another-cargo-home").display().to_string();
        space.set_variable("CARGO_HOME", &home);
    });
    assert_eq!(space.output_of("p/target/debug/p"), "one\n");
}

#[test]
fn the_width_of_the_terminal_does_not_matter() {
    let space = TestSpace::new();
    space.package("p", "", &[("src/lib.rs", "pub fn unused() { let x = 1; }\n")]);
    let out = space.path("p/out").display().to_string();
    let compile = |width: &str| {
        let run = space.rustc(
            "p",
            [
                "--crate-name",
                "p",
                "--edition=2024",
                "src/lib.rs",
                "--error-format=json",
                "--json=diagnostic-rendered-ansi,artifacts,future-incompat",
                width,
                "--crate-type",
                "lib",
                "--emit=dep-info,metadata,link",
                "-C",
                "metadata=0123",
                "--out-dir",
                &out,
            ],
        );
        std::fs::create_dir_all(space.path("p/out")).expect("a directory can be created");
        run.succeed().compiled
    };
    assert_eq!(compile("--diagnostic-width=80"), ["p"]);
    space.remove("p/out");
    assert_eq!(compile("--diagnostic-width=120"), [""; 0]);
}

#[test]
fn a_macro_that_asks_a_local_socket_is_never_cached() {
    let space = with_macro(
        "let mut text = String::new();\n\
         let mut stream = std::os::unix::net::UnixStream::connect(here.join(\"socket\")).unwrap();\n\
         std::io::Read::read_to_string(&mut stream, &mut text).unwrap();\n\
         text",
    );
    // Bound relative to its directory: a socket's path has to be short.
    let short = std::env::temp_dir().join(format!("kache-test-{}.sock", std::process::id()));
    // One that failed may have left its own.
    drop(std::fs::remove_file(&short));
    let service = std::os::unix::net::UnixListener::bind(&short).expect("a socket can be bound");
    std::os::unix::fs::symlink(&short, space.path("p/socket")).expect("a link can be made");
    let answers = std::thread::spawn(move || {
        for value in [Value::One, Value::Two] {
            let (mut stream, _) = service.accept().expect("a macro connects");
            stream.write_all(value.text().as_bytes()).expect("an answer can be sent");
        }
    });
    for value in [Value::One, Value::Two] {
        space.remove("p/target");
        space.build("p");
        assert_eq!(space.output_of("p/target/debug/p").trim_end(), value.text());
    }
    answers.join().expect("the service answered twice");
    std::fs::remove_file(&short).expect("the socket can be removed");
}

#[test]
fn a_file_that_only_the_configuration_names() {
    let space = TestSpace::new();
    space.package("p", "", &[("src/main.rs", "fn main() {}\n")]);
    space.write("p/.kache.toml", "[cache]\nextra_inputs = [\"schema/**/*.sql\"]\n");
    space.write("p/schema/tables/one.sql", "one");
    space.build("p");
    let again = |what: &str, expected: &[&str]| {
        space.remove("p/target");
        space.build("p").assert_compiled(expected, what);
    };
    again("nothing changed", &[]);
    space.write("p/schema/tables/one.sql", "two");
    again("the content changed", &["p(bin)"]);
    space.write("p/schema/two.sql", "new");
    again("there is another file", &["p(bin)"]);
    space.write("p/schema/notes.txt", "not an input");
    again("no glob matches it", &[]);
}

/// The shell holds all variables; the compiler behind it is known by the toolchain.
#[test]
fn a_variable_that_a_shell_around_the_compiler_reads() {
    let mut space = TestSpace::new();
    let source = "fn main() { println!(\"{}\", if cfg!(colour) { \"two\" } else { \"one\" }); }\n";
    space.package("p", "", &[("src/main.rs", source)]);
    let wrapper = space.write_program(
        "wrapper",
        "#!/bin/sh\ncompiler=$1\nshift\n\
         [ \"$COLOUR\" = two ] && set -- \"$@\" --cfg colour\nexec \"$compiler\" \"$@\"\n",
    );
    space.set_variable("RUSTC_WORKSPACE_WRAPPER", &wrapper.display().to_string());
    check_noticed(&mut space, &["p(bin)"], |space, value| {
        space.set_variable("COLOUR", value.text());
    });
}
