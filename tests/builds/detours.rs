//! What a macro or a build script learns by a detour is an input like what it reads.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::hidden_inputs::{Value, check_ignored, check_noticed, with_macro};
use crate::meanwhile::symlink;
use crate::scripts::{AGAIN, with_script, with_script_in};
use crate::support::{TestSpace, succeed};

/// Rust declarations of some of the C library, for macros without dependencies.
const C: &str = "use std::ffi::{CString, c_char, c_int, c_long, c_void};\n\
    unsafe extern \"C\" {\n\
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;\n\
    fn read(file: c_int, to: *mut u8, size: usize) -> isize;\n\
    fn syscall(number: c_long, ...) -> c_long;\n\
    fn access(path: *const c_char, mode: c_int) -> c_int;\n\
    fn dlsym(library: *const c_void, name: *const c_char) -> *const c_void;\n\
    fn localtime(time: &i64) -> &[c_int; 9];\n\
    fn ctime(time: &i64) -> *const c_char;\n}\n\
    const O_PATH: c_int = 0o10_000_000;\n\
    let c = |path: &std::path::Path| CString::new(path.to_str().unwrap()).unwrap();\n";

/// Builds `p` from nothing with either value of the input, again and again, and checks that the
/// program shows it. Whether anything hits does not matter.
#[track_caller]
pub(crate) fn check_right(space: &mut TestSpace, put: impl Fn(&mut TestSpace, Value)) {
    for (turn, value) in [Value::One, Value::One, Value::Two, Value::One].into_iter().enumerate() {
        put(space, value);
        space.remove("p/target");
        space.build("p");
        assert_eq!(space.output_of("p/target/debug/p").trim_end(), value.text(), "turn {turn}");
    }
}

/// Checks that a macro which reads `p/data.txt` in this way depends on it.
#[track_caller]
fn check_read(body: &str) {
    let mut space = with_macro(&format!("{C}{body}"));
    check_noticed(&mut space, &["p(bin)"], |space, value| {
        space.write("p/data.txt", value.text());
    });
}

/// Checks that a macro which is for `condition` to be true of `p/data` depends on it.
#[track_caller]
fn check_condition(condition: &str, put: impl Fn(&mut TestSpace, Value)) {
    let mut space = with_macro(&format!(
        "{C}let data = here.join(\"data\");\n\
         if {condition} {{ \"two\".into() }} else {{ \"one\".into() }}"
    ));
    check_noticed(&mut space, &["p(bin)"], put);
}

#[test]
fn a_file_behind_a_descriptor_that_only_names_it() {
    check_read(
        "let file = unsafe { open(c(&here.join(\"data.txt\")).as_ptr(), O_PATH) };\n\
         std::fs::read_to_string(format!(\"/proc/self/fd/{file}\")).unwrap()",
    );
}

#[test]
fn a_file_behind_such_a_descriptor_by_its_other_name() {
    check_read(
        "let file = unsafe { open(c(&here.join(\"data.txt\")).as_ptr(), O_PATH) };\n\
         std::fs::read_to_string(format!(\"/dev/fd/{file}\")).unwrap()",
    );
}

#[test]
fn a_file_below_the_descriptor_of_a_directory() {
    check_read(
        "let directory = unsafe { open(c(here).as_ptr(), O_PATH) };\n\
         std::fs::read_to_string(format!(\"/proc/self/fd/{directory}/data.txt\")).unwrap()",
    );
}

/// The handle of the C library leads to its own functions, past those that record.
#[test]
fn a_file_that_is_opened_by_a_function_of_the_c_librarys_own_handle() {
    let mut space = with_macro(&format!(
        "{C}unsafe extern \"C\" {{ fn dlopen(name: *const c_char, flags: c_int) -> *const c_void; }}\n\
         let library = unsafe {{ dlopen(c\"libc.so.6\".as_ptr(), 2) }};\n\
         let open = unsafe {{ dlsym(library, c\"open\".as_ptr()) }};\n\
         let open: extern \"C\" fn(*const c_char, c_int) -> c_int = unsafe {{ std::mem::transmute(open) }};\n\
         let file = open(c(&here.join(\"data.txt\")).as_ptr(), 0);\n\
         let mut text = [0; 64];\n\
         let length = unsafe {{ read(file, text.as_mut_ptr(), text.len()) }};\n\
         String::from_utf8(text[..length as usize].to_vec()).unwrap()"
    ));
    check_right(&mut space, |space, value| drop(space.write("p/data.txt", value.text())));
}

#[test]
fn a_file_below_a_directory_that_stands_for_the_root() {
    let mut space = with_macro(&format!(
        "{C}let root = unsafe {{ open(c(here).as_ptr(), O_PATH) }};\n\
         const OPENAT2: c_long = 437;\n\
         let in_root: [u64; 3] = [0, 0, 0x10];\n\
         let name = c(std::path::Path::new(\"/data.txt\"));\n\
         let file = unsafe {{ syscall(OPENAT2, root, name.as_ptr(), in_root.as_ptr(), 24_usize) }};\n\
         let mut text = [0; 64];\n\
         let length = unsafe {{ read(file as c_int, text.as_mut_ptr(), text.len()) }};\n\
         String::from_utf8(text[..length as usize].to_vec()).unwrap()"
    ));
    check_right(&mut space, |space, value| drop(space.write("p/data.txt", value.text())));
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_names_in_a_directory_by_a_bare_system_call() {
    check_condition(
        "{ let directory = unsafe { open(c(&data).as_ptr(), 0) };\n\
         const GETDENTS64: c_long = 217;\n\
         let mut names = [0_u8; 4096];\n\
         unsafe { syscall(GETDENTS64, directory, names.as_mut_ptr(), names.len()) };\n\
         names.windows(6).any(|name| name == b\"second\") }",
        |space, value| match value {
            Value::One => {
                space.write("p/data/first", "");
                space.remove("p/data/second");
            }
            Value::Two => drop(space.write("p/data/second", "")),
        },
    );
}

#[test]
fn the_size_of_a_file() {
    check_condition("data.metadata().unwrap().len() > 3", |space, value| {
        space.write("p/data", if value == Value::One { "1" } else { "more" });
    });
}

/// A file that can be run, or not.
fn put_program(space: &mut TestSpace, value: Value) {
    space.remove("p/data");
    match value {
        Value::One => drop(space.write("p/data", "")),
        Value::Two => drop(space.write_program("p/data", "")),
    }
}

#[test]
fn whether_a_file_can_be_run() {
    let mode = "std::os::unix::fs::PermissionsExt::mode(&data.metadata().unwrap().permissions())";
    check_condition(&format!("{mode} & 0o100 != 0"), put_program);
}

#[test]
fn whether_a_file_that_is_read_can_be_run() {
    let mode = "std::os::unix::fs::PermissionsExt::mode(&data.metadata().unwrap().permissions())";
    check_condition(&format!("std::fs::read(&data).is_ok() && {mode} & 0o100 != 0"), put_program);
}

#[test]
fn whether_a_file_may_be_run() {
    check_condition("unsafe { access(c(&data).as_ptr(), 1) } == 0", put_program);
}

fn link_data(space: &TestSpace, target: &str) {
    std::os::unix::fs::symlink(target, space.path("p/data")).expect("a link can be made");
}

#[test]
fn whether_a_name_is_a_link() {
    check_condition("data.is_symlink()", |space, value| {
        space.write("p/other", "");
        space.remove("p/data");
        match value {
            Value::One => drop(space.write("p/data", "")),
            Value::Two => link_data(space, "other"),
        }
    });
}

#[test]
fn how_long_a_link_is() {
    check_condition("data.symlink_metadata().unwrap().len() > 5", |space, value| {
        space.write("p/other", "");
        space.write("p/longer", "");
        space.remove("p/data");
        link_data(space, if value == Value::Two { "longer" } else { "other" });
    });
}

#[test]
fn a_link_that_leads_nowhere() {
    check_condition("data.symlink_metadata().is_ok()", |space, value| {
        space.remove("p/data");
        if value == Value::Two {
            link_data(space, "nowhere");
        }
    });
}

#[test]
fn what_the_names_in_a_directory_stand_for() {
    check_condition(
        "data.read_dir().unwrap().any(|entry| entry.unwrap().file_type().unwrap().is_dir())",
        |space, value| {
            space.remove("p/data");
            match value {
                Value::One => drop(space.write("p/data/name", "")),
                Value::Two => drop(space.write("p/data/name/inner", "")),
            }
        },
    );
}

const FINDS_FLAVOUR: &str = "fn find(all: &[u8]) -> String {\n\
    let mut all = all.split(|byte| *byte == 0).map(|entry| std::str::from_utf8(entry).unwrap());\n\
    all.find_map(|entry| entry.strip_prefix(\"FLAVOUR=\")).unwrap().to_owned()\n}\n";

#[test]
fn the_environment_in_the_file_of_the_process() {
    let mut space = with_macro(&format!(
        "{FINDS_FLAVOUR}find(&std::fs::read(\"/proc/self/environ\").unwrap())"
    ));
    check_noticed(&mut space, &["p(bin)"], |space, value| {
        space.set_variable("FLAVOUR", value.text());
    });
}

#[test]
fn a_variable_of_any_name_that_the_source_names() {
    // The linker and the compiler look some of these up, and do not mind what they say.
    for name in
        ["TERM", "PWD", "OLDPWD", "USER", "KACHE_FLAVOUR", "RUST_LOG", "MAKEFLAGS", "DISPLAY"]
    {
        let mut space = TestSpace::new();
        let source = format!("fn main() {{ println!(\"{{}}\", env!({name:?})); }}\n");
        space.package("p", "", &[("src/main.rs", source.as_str())]);
        check_right(&mut space, |space, value| space.set_variable(name, value.text()));
    }
}

#[test]
fn the_time_zone_of_a_macro() {
    check_condition("unsafe { localtime(&0) }[2] != 0", |space, value| {
        space.set_variable("TZ", if value == Value::One { "UTC0" } else { "XYZ-5" });
    });
}

#[test]
fn the_time_zone_in_a_text_of_the_time() {
    let condition = "unsafe { std::ffi::CStr::from_ptr(ctime(&0)) }.to_bytes()[12] == b'5'";
    check_condition(condition, |space, value| {
        space.set_variable("TZ", if value == Value::One { "UTC0" } else { "XYZ-5" });
    });
}

#[test]
fn variables_that_a_script_goes_through_as_the_system_has_them() {
    let mut space = with_script(
        "let found = std::env::vars_os().find(|(name, _)| name == \"FLAVOUR\");\n\
         found.unwrap().1.into_string().unwrap()",
    );
    check_noticed(&mut space, &AGAIN, |space, value| {
        space.set_variable("FLAVOUR", value.text());
    });
}

/// The standard library is a file of its own then, and names the variable that holds them.
#[test]
fn variables_that_a_script_goes_through_by_a_shared_standard_library() {
    let mut space = with_script(
        "let found = std::env::vars().find(|(name, _)| name == \"FLAVOUR\");\nfound.unwrap().1",
    );
    space.set_variable("RUSTFLAGS", "-C prefer-dynamic -C rpath");
    check_noticed(&mut space, &AGAIN, |space, value| {
        space.set_variable("FLAVOUR", value.text());
    });
}

#[test]
fn variables_that_a_script_goes_through_as_the_c_library_has_them() {
    let mut space = with_script(
        "unsafe extern \"C\" { static environ: *const *const std::ffi::c_char; }\n\
         let mut at = unsafe { environ };\n\
         loop {\n\
         let text = unsafe { std::ffi::CStr::from_ptr(*at) }.to_str().unwrap();\n\
         if let Some(value) = text.strip_prefix(\"FLAVOUR=\") { return value.into(); }\n\
         at = unsafe { at.add(1) };\n}",
    );
    check_noticed(&mut space, &AGAIN, |space, value| {
        space.set_variable("FLAVOUR", value.text());
    });
}

/// Where the whole program is optimized at once, the names of its functions do not tell.
#[test]
fn variables_that_an_optimized_script_goes_through() {
    let mut space = with_script(
        "let found = std::env::vars_os().find(|(name, _)| name == \"FLAVOUR\");\n\
         found.unwrap().1.into_string().unwrap()",
    );
    space.set_variable("RUSTFLAGS", "-Copt-level=1 -Clto=thin -Cembed-bitcode=yes");
    check_noticed(&mut space, &AGAIN, |space, value| {
        space.set_variable("FLAVOUR", value.text());
    });
}

/// What the crate rustix has of the kernel's calls is made without the C library.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn a_file_that_is_opened_past_the_c_library_by_rustix() {
    let mut space = with_rustix();
    check_right(&mut space, |space, value| drop(space.write("p/data.txt", value.text())));
}

/// A profile that asks for no symbols has the same done to its scripts.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn a_file_that_a_stripped_script_opens_by_rustix() {
    let mut space = with_rustix();
    space.set_variable("CARGO_PROFILE_DEV_STRIP", "symbols");
    check_right(&mut space, |space, value| drop(space.write("p/data.txt", value.text())));
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn with_rustix() -> TestSpace {
    let space = with_script(
        "use std::os::fd::FromRawFd;\n\
         let file = rustix::backend::fs::syscalls::open(c\"data.txt\");\n\
         let file = unsafe { std::fs::File::from_raw_fd(file) };\n\
         std::io::read_to_string(file).unwrap()",
    );
    let open = "#[inline(never)]\n\
        pub fn open(path: &std::ffi::CStr) -> i32 {\n\
        let mut result: isize = 2;\n\
        unsafe { std::arch::asm!(\"syscall\", inout(\"rax\") result, in(\"rdi\") path.as_ptr(),\n\
        in(\"rsi\") 0, in(\"rdx\") 0, out(\"rcx\") _, out(\"r11\") _) };\n\
        result as i32 }\n";
    let library = format!("pub mod backend {{ pub mod fs {{ pub mod syscalls {{\n{open}}} }} }}\n");
    space.package("rustix", "", &[("src/lib.rs", &library)]);
    let manifest = space.read("p/Cargo.toml");
    let dependency = "[build-dependencies]\nrustix = { path = \"../rustix\" }\n";
    space.write("p/Cargo.toml", format!("{manifest}\n{dependency}"));
    space
}

/// A script beside a crate that copies the environment as `cc` does.
fn with_copy(body: &str) -> TestSpace {
    let space = with_script(body);
    let copy = "use std::ffi::OsString;\n\
        pub struct EnvSnapshot(Vec<(OsString, OsString)>);\n\
        impl EnvSnapshot {\n\
        pub fn capture() -> Self { Self(std::env::vars_os().map(|pair| pair).collect()) }\n\
        pub fn get(&self, name: &str) -> Option<&str> {\n\
        self.0.iter().find(|(found, _)| found == name)?.1.to_str() }\n\
        pub fn apply(&self, command: &mut std::process::Command) {\n\
        command.env_clear().envs(self.0.iter().map(|(name, value)| (name, value))); }\n}\n";
    let parallel = "pub mod job_token {\n\
        pub fn is_told(command: &std::process::Command) -> bool {\n\
        command.get_envs().any(|(name, _)| name == \"MAKEFLAGS\") }\n}\n";
    let library = "pub mod build_env;\npub mod parallel;\n";
    let sources =
        [("src/lib.rs", library), ("src/build_env.rs", copy), ("src/parallel.rs", parallel)];
    space.package("cc", "", &sources);
    let manifest = space.read("p/Cargo.toml");
    space.write(
        "p/Cargo.toml",
        format!("{manifest}\n[build-dependencies]\ncc = {{ path = \"../cc\" }}\n"),
    );
    space
}

/// Checks that the script, which copies the environment too, depends on a variable that no compiler
/// looks up.
#[track_caller]
fn check_flavour_noticed(body: &str) {
    let mut space = with_copy(&format!(
        "let copy = cc::build_env::EnvSnapshot::capture();\nassert!(copy.get(\"HOME\").is_some());\n{body}"
    ));
    check_noticed(&mut space, &AGAIN, |space, value| {
        space.set_variable("FLAVOUR", value.text());
    });
}

#[test]
fn a_variable_that_is_looked_up_in_a_copy_of_the_environment() {
    let mut space = with_copy(
        "let copy = cc::build_env::EnvSnapshot::capture();\n\
         copy.get(\"CFLAGS_x86_64-unknown-linux-gnu\").unwrap_or(\"none\").into()",
    );
    // Not set at first.
    space.build("p");
    space.remove("p/target");
    check_noticed(&mut space, &AGAIN, |space, value| {
        space.set_variable("CFLAGS_x86_64-unknown-linux-gnu", value.text());
    });
}

/// Only there it can be told who takes the copy.
#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn a_copy_of_the_environment_for_compilers_is_not_all_of_it() {
    for strip in ["none", "symbols"] {
        let mut space = with_copy(
            "let mut command = Command::new(\"true\");\n\
             cc::build_env::EnvSnapshot::capture().apply(&mut command);\n\
             cc::parallel::job_token::is_told(&command);\n\
             run(&mut command);\n\"one\".into()",
        );
        space.set_variable("CARGO_PROFILE_DEV_STRIP", strip);
        check_ignored(&mut space, |space| {
            space.set_variable("FLAVOUR", "another");
            space.set_variable("GITHUB_PATH", "/somewhere/else");
            // Compilers that are run ask for the locale themselves.
            space.set_variable("LANG", "de_DE.UTF-8");
            space.set_variable("LC_MEASUREMENT", "de_DE.UTF-8");
            for name in ["BUILD_NUMBER", "CODEBUILD_BUILD_ID", "CIRRUS_BUILD_ID"] {
                space.set_variable(name, "4711");
            }
        });
    }
}

/// The same for one that calls this for all variables.
#[track_caller]
fn check_call_noticed(all: &str) {
    check_flavour_noticed(&format!(
        "let mut all = {all}();\n\
         while let Some((name, value)) = all.next() {{\n\
         if name == \"FLAVOUR\" {{ return value.into_string().unwrap(); }} }}\n\
         unreachable!()"
    ));
}

#[test]
fn variables_that_a_script_goes_through_beside_a_copy() {
    check_call_noticed("std::env::vars_os");
}

#[test]
fn variables_that_a_script_goes_through_by_a_pointer_beside_a_copy() {
    check_call_noticed("std::hint::black_box::<fn() -> std::env::VarsOs>(std::env::vars_os)");
}

#[test]
fn variables_that_a_script_goes_through_by_a_table_beside_a_copy() {
    check_call_noticed(
        "{ static ALL: [fn() -> std::env::VarsOs; 2] = [std::env::vars_os; 2];\n\
         std::hint::black_box(&ALL)[1] }",
    );
}

#[test]
fn variables_that_a_script_goes_through_as_text_beside_a_copy() {
    check_flavour_noticed("std::env::vars().find(|(name, _)| name == \"FLAVOUR\").unwrap().1");
}

#[test]
fn variables_that_a_command_with_a_copy_is_asked_for() {
    check_flavour_noticed(
        "let mut command = Command::new(\"true\");\n\
         copy.apply(&mut command);\n\
         let found = command.get_envs().find(|(name, _)| *name == \"FLAVOUR\");\n\
         found.unwrap().1.unwrap().to_str().unwrap().into()",
    );
}

/// It takes all variables to pass them on: that is no reason to depend on all of them.
#[test]
fn a_script_that_starts_a_program_with_a_variable_more() {
    let mut space =
        with_script("run(Command::new(\"true\").env(\"EXTRA\", \"1\"));\n\"one\".into()");
    for expected in [&AGAIN[..], &[]] {
        space.set_variable("FLAVOUR", &format!("{expected:?}"));
        space.remove("p/target");
        let compiled = space.build("p").compiled;
        assert_eq!(compiled.is_empty(), expected.is_empty(), "{compiled:?}");
    }
}

/// Only there it can be told that it does no more.
#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn a_macro_that_starts_a_program_with_a_variable_more() {
    let mut space = with_macro(
        "std::process::Command::new(\"true\").env(\"EXTRA\", \"1\").status().unwrap();\n\
         \"one\".into()",
    );
    check_ignored(&mut space, |space| space.set_variable("FLAVOUR", "another"));
}

/// `sed` counts the characters of this file as the locale says.
#[test]
fn the_locale_of_a_program() {
    let mut space = with_script(
        "match run(Command::new(\"sed\").args([\"s/./x/g\", \"text\"])).as_str() {\n\
         \"x\" => \"two\".into(), _ => \"one\".into() }",
    );
    space.write("p/text", "é\n");
    check_noticed(&mut space, &AGAIN, |space, value| {
        space.set_variable("LC_ALL", if value == Value::One { "C" } else { "C.UTF-8" });
    });
}

/// Runs git in `p`.
fn git(space: &TestSpace, arguments: &[&str]) {
    let mut command = Command::new("git");
    command.current_dir(space.path("p")).env("HOME", space.path("home"));
    command.args(["-c", "user.name=t", "-c", "user.email=t@example.org"]).args(arguments);
    succeed(&mut command);
}

/// Git only looks at the files that it knows, and compares what it sees with its index. To write that
/// again, it would make a file beside it, which it removes when nothing is new.
#[track_caller]
fn check_work_tree(change: impl Fn(&TestSpace)) {
    let body = "let name = run(Command::new(\"git\").args([\"describe\", \"--always\", \"--dirty\"]));\n\
         if name.ends_with(\"-dirty\") { \"two\".into() } else { \"one\".into() }";
    check_work_tree_by(body, |_| {}, change);
}

#[track_caller]
fn check_work_tree_by(body: &str, prepare: impl Fn(&TestSpace), change: impl Fn(&TestSpace)) {
    let space = with_script(body);
    space.write("p/.gitignore", "target\nCargo.lock\n");
    space.write("p/notes.txt", "clean");
    space.write("p/equal.txt", "clean");
    space.write("p/known/notes.txt", "clean");
    std::fs::create_dir(space.path("p/unknown")).expect("a directory can be made");
    symlink(&space, "notes.txt", "p/link");
    // Where files are as new as its index, git looks into them and writes it again.
    let mut touch = Command::new("find");
    touch.arg(space.path("p")).args(["-exec", "touch", "-h", "-d", "2020-01-01", "{}", "+"]);
    succeed(&mut touch);
    git(&space, &["init", "-q"]);
    git(&space, &["add", "."]);
    git(&space, &["commit", "-q", "-m", "first"]);
    prepare(&space);
    for (value, expected) in [("one", None), ("one", Some(&[][..])), ("two", Some(&AGAIN[..]))] {
        if value == "two" {
            change(&space);
        }
        space.remove("p/target");
        let build = space.build("p");
        if let Some(expected) = expected {
            build.assert_compiled(expected, value);
        }
        assert_eq!(space.output_of("p/target/debug/p").trim_end(), value);
    }
}

#[test]
fn a_work_tree_with_a_file_of_another_size() {
    check_work_tree(|space| drop(space.write("p/notes.txt", "no longer clean")));
}

#[test]
fn a_work_tree_with_a_file_of_the_same_size() {
    check_work_tree(|space| drop(space.write("p/notes.txt", "dirty")));
}

#[test]
fn a_work_tree_with_a_link_to_an_equal_file() {
    check_work_tree(|space| symlink(space, "equal.txt", "p/link"));
}

#[test]
fn a_work_tree_with_an_equal_file_instead_of_a_link() {
    check_work_tree(|space| {
        space.remove("p/link");
        space.write("p/link", "clean");
    });
}

#[test]
fn a_work_tree_with_a_file_that_may_be_run() {
    check_work_tree(|space| {
        let permissions = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(space.path("p/notes.txt"), permissions).expect("one's own file");
    });
}

/// Git keeps in its index which names each directory had, and lists again those alone that look otherwise.
#[track_caller]
fn check_names_in_index(new: &str) {
    let body = "let arguments = [\"--no-optional-locks\", \"status\", \"--porcelain\"];\n\
         let said = run(Command::new(\"git\").args(arguments));\n\
         if said.is_empty() { \"one\".into() } else { \"two\".into() }";
    let prepare = |space: &TestSpace| {
        git(space, &["update-index", "--untracked-cache"]);
        git(space, &["status"]);
    };
    check_work_tree_by(body, prepare, |space| drop(space.write(new, "new")));
}

#[test]
fn a_new_file_beside_one_that_git_knows() {
    check_names_in_index("p/known/new.txt");
}

#[test]
fn a_new_file_in_a_directory_that_was_empty() {
    check_names_in_index("p/unknown/new.txt");
}

/// Builds `p` from nothing again and again, and checks that its script has had its effect each time.
#[track_caller]
fn check_effect(body: &str, before: impl Fn(&TestSpace), is_there: impl Fn(&TestSpace) -> bool) {
    check_effect_in(TestSpace::new(), body, before, is_there);
}

#[track_caller]
fn check_effect_in(
    space: TestSpace,
    body: &str,
    before: impl Fn(&TestSpace),
    is_there: impl Fn(&TestSpace) -> bool,
) {
    let space = with_script_in(space, &format!("{body}\n\"one\".into()"));
    for turn in 0..3 {
        space.remove("p/target");
        before(&space);
        space.build("p");
        assert!(is_there(&space), "turn {turn}");
    }
}

#[test]
fn a_script_that_removes_a_file() {
    check_effect(
        "drop(std::fs::remove_file(here.join(\"old.txt\")));",
        |space| drop(space.write("p/old.txt", "")),
        |space| !space.path("p/old.txt").exists(),
    );
}

#[test]
fn a_script_that_makes_a_directory() {
    check_effect(
        "std::fs::create_dir_all(here.join(\"made/inner\")).unwrap();",
        |space| space.remove("p/made"),
        |space| space.path("p/made/inner").is_dir(),
    );
}

#[test]
fn a_script_that_makes_a_file_where_the_checkout_is_among_temporary_files() {
    check_effect_in(
        TestSpace::below(&std::env::temp_dir()),
        "std::fs::write(here.join(\"made\"), \"\").unwrap();",
        |space| space.remove("p/made"),
        |space| space.path("p/made").is_file(),
    );
}

/// A name among temporary files that no other test uses.
fn temporary(name: &str) -> String {
    std::env::temp_dir().join(format!("kache-{name}-{}", std::process::id())).display().to_string()
}

#[test]
fn a_script_that_leaves_a_temporary_file() {
    let path = temporary("left");
    check_effect(
        &format!("std::fs::write({path:?}, \"\").unwrap();"),
        |_| drop(std::fs::remove_file(&path)),
        |_| std::fs::remove_file(&path).is_ok(),
    );
}

#[test]
fn a_script_that_moves_a_directory_from_among_temporary_files() {
    let path = temporary("moved");
    check_effect(
        &format!("std::fs::rename({path:?}, out.join(\"moved\")).unwrap();"),
        |_| std::fs::create_dir_all(&path).expect("a directory can be made"),
        |_| std::fs::remove_dir(&path).is_err(),
    );
}

/// It may have been there before, and the script has not read it.
#[test]
fn a_temporary_file_that_a_script_writes_on() {
    let path = temporary("log");
    let mut space = with_script(&format!(
        "let file = std::fs::File::options().append(true).create(true).open({path:?}).unwrap();\n\
         drop(file);\n\
         std::fs::read_to_string({path:?}).unwrap()"
    ));
    check_right(&mut space, |_, value| {
        std::fs::write(&path, value.text()).expect("a file can be made");
    });
    std::fs::remove_file(&path).expect("the file is there");
}

#[test]
fn a_script_that_writes_through_a_link_of_its_own() {
    check_effect(
        "std::os::unix::fs::symlink(here, out.join(\"here\")).unwrap();\n\
         std::fs::write(out.join(\"here/made\"), \"\").unwrap();",
        |space| space.remove("p/made"),
        |space| space.path("p/made").is_file(),
    );
}

/// As is done to change a link in one step.
#[test]
fn a_file_behind_a_link_that_was_given_another_name() {
    for (made, moved) in [("link", "link"), ("inner/link", "inner")] {
        let mut space = with_script(&format!(
            "std::fs::create_dir_all(out.join(\"new/inner\")).unwrap();\n\
             let link = out.join(\"new/{made}\");\n\
             std::os::unix::fs::symlink(here.join(\"data\"), link).unwrap();\n\
             std::fs::rename(out.join(\"new/{moved}\"), out.join(\"{moved}\")).unwrap();\n\
             std::fs::read_to_string(out.join(\"{made}/value\")).unwrap()"
        ));
        check_right(&mut space, |space, value| {
            drop(space.write("p/data/value", value.text()));
        });
    }
}

/// As scripts do that put something beside the program.
#[test]
fn a_script_that_makes_a_file_above_its_own_directory() {
    for name in ["../../../side", "inner/../../../../side"] {
        check_effect(
            &format!(
                "let out = std::env::var(\"OUT_DIR\").unwrap();\n\
                 std::fs::create_dir_all(format!(\"{{out}}/inner\")).unwrap();\n\
                 std::fs::write(format!(\"{{out}}/{name}\"), \"\").unwrap();"
            ),
            |_| (),
            |space| space.path("p/target/debug/side").is_file(),
        );
    }
}

/// As the crate `tempfile` gives a file its name.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
#[test]
fn a_script_that_renames_a_file_past_the_c_library() {
    check_effect(
        "let (from, to) = (c\"made.tmp\", c\"made.txt\");\n\
         std::fs::write(\"made.tmp\", \"\").unwrap();\n\
         let (old, new) = (from.as_ptr() as usize, to.as_ptr() as usize);\n\
         let here = -100isize as usize;\n\
         let mut done: usize;\n\
         #[cfg(target_arch = \"x86_64\")]\n\
         unsafe { std::arch::asm!(\"syscall\", inlateout(\"rax\") 264usize => done, in(\"rdi\") here,\n\
         in(\"rsi\") old, in(\"rdx\") here, in(\"r10\") new, out(\"rcx\") _, out(\"r11\") _) };\n\
         #[cfg(target_arch = \"aarch64\")]\n\
         unsafe { std::arch::asm!(\"svc 0\", in(\"x8\") 38usize, inlateout(\"x0\") here => done,\n\
         in(\"x1\") old, in(\"x2\") here, in(\"x3\") new) };\n\
         assert_eq!(done, 0);",
        |space| space.remove("p/made.txt"),
        |space| space.path("p/made.txt").is_file(),
    );
}

#[test]
fn a_script_that_lets_a_file_be_run() {
    let mode = |space: &TestSpace| space.path("p/tool.sh").metadata().unwrap().permissions().mode();
    check_effect(
        "use std::os::unix::fs::PermissionsExt as _;\n\
         let mode = std::fs::Permissions::from_mode(0o755);\n\
         std::fs::set_permissions(here.join(\"tool.sh\"), mode).unwrap();",
        |space| {
            space.remove("p/tool.sh");
            drop(space.write("p/tool.sh", "#!/bin/sh\n"));
        },
        |space| mode(space) & 0o111 != 0,
    );
}

#[test]
fn a_script_that_makes_a_directory_by_a_bare_system_call() {
    let mkdirat = if cfg!(target_arch = "x86_64") { 258 } else { 34 };
    check_effect(
        &format!(
            "{C}unsafe {{ syscall({mkdirat}, -100, c(&here.join(\"made\")).as_ptr(), 0o755) }};"
        ),
        |space| space.remove("p/made"),
        |space| space.path("p/made").is_dir(),
    );
}

#[test]
fn a_script_that_makes_a_link() {
    check_effect(
        "drop(std::os::unix::fs::symlink(\"build.rs\", here.join(\"made\")));",
        |space| space.remove("p/made"),
        |space| space.path("p/made").is_symlink(),
    );
}

/// Only the first time: where the directory is there already the run changes nothing.
#[test]
fn a_script_that_finds_the_directory_that_it_would_make() {
    let space =
        with_script("std::fs::create_dir_all(here.join(\"made\")).unwrap();\n\"one\".into()");
    for expected in [None, Some(&["script(p)"][..]), Some(&[])] {
        space.remove("p/target");
        let build = space.build("p");
        if let Some(expected) = expected {
            build.assert_compiled(expected, "the directory is there");
        }
    }
}

/// A script for which `body` reads `value` by way of `p/current`, a link to one of two directories behind
/// another link.
#[track_caller]
fn check_way(body: &str) {
    check_turned(&mut with_links(body));
}

fn with_links(body: &str) -> TestSpace {
    let space = with_script(body);
    for value in [Value::One, Value::Two] {
        space.write(format!("p/{}/value", value.text()), value.text());
    }
    symlink(&space, "chosen", "p/current");
    space
}

#[track_caller]
fn check_turned(space: &mut TestSpace) {
    check_noticed(space, &AGAIN, |space, value| symlink(space, value.text(), "p/chosen"));
}

#[test]
fn a_directory_behind_links_that_a_script_works_in() {
    check_way(
        "std::env::set_current_dir(here.join(\"current\")).unwrap();\n\
         std::fs::read_to_string(\"value\").unwrap()",
    );
}

#[test]
fn a_directory_behind_links_that_a_program_begins_in() {
    check_way("run(Command::new(\"cat\").arg(\"value\").current_dir(\"current\"))");
}

#[test]
fn a_directory_behind_links_that_a_shell_enters() {
    check_way("run(Command::new(\"sh\").args([\"-c\", \"cd current && cat value\"]))");
}

#[test]
fn a_directory_behind_links_that_is_opened() {
    check_way("run(Command::new(\"grep\").args([\"-rh\", \".\", \"current/\"]))");
}

#[test]
fn a_program_that_is_named_from_the_directory_that_it_begins_in() {
    let mut space = with_script("run(Command::new(\"./tell\").current_dir(here.join(\"tools\")))");
    check_noticed(&mut space, &AGAIN, |space, value| {
        let code = format!(
            "int puts(const char *);\nint main() {{ return puts(\"{}\") < 0; }}\n",
            value.text()
        );
        program(space, "p/tools/tell", &code);
    });
}

/// Whether it can be entered is all that the script wants to know.
#[track_caller]
fn check_way_to_nothing(body: &str) {
    let mut space =
        with_script(&format!("if {body} {{ \"two\".into() }} else {{ \"one\".into() }}"));
    check_noticed(&mut space, &AGAIN, |space, value| match value {
        Value::One => space.remove("p/extra"),
        Value::Two => std::fs::create_dir(space.path("p/extra")).unwrap_or(()),
    });
}

#[test]
fn a_directory_that_a_script_cannot_work_in_until_it_appears() {
    check_way_to_nothing("std::env::set_current_dir(here.join(\"extra\")).is_ok()");
}

#[test]
fn a_directory_that_a_program_cannot_begin_in_until_it_appears() {
    check_way_to_nothing("Command::new(\"true\").current_dir(\"extra\").status().is_ok()");
}

/// Writes a file that has a time of its own, in whole seconds and long ago.
fn write_at(space: &TestSpace, path: &str, text: &str, value: Value) {
    let file = std::fs::File::options().append(true).open(space.write(path, text));
    let time = std::time::Duration::from_secs(if value == Value::One { 1000 } else { 2000 });
    let set = file.and_then(|file| file.set_modified(std::time::UNIX_EPOCH + time));
    set.expect("one's own file");
}

/// Python looks at a module's size and time, and reads what it made of it.
#[test]
fn a_module_of_which_python_has_compiled_code() {
    let mut space = with_script("run(Command::new(\"python3\").args([\"-c\", \"import tell\"]))");
    let modules = space.path("home/modules").display().to_string();
    space.set_variable("PYTHONPATH", &modules);
    check_right(&mut space, |space, value| {
        let code = format!("print(\"{}\")\n", value.text());
        write_at(space, "home/modules/tell.py", &code, value);
    });
}

/// Make looks at times.
#[test]
fn a_file_that_make_finds_to_be_up_to_date() {
    let space = with_script(
        "run(Command::new(\"make\").arg(\"-s\"));\nstd::fs::read_to_string(here.join(\"made\")).unwrap()",
    );
    space.write("p/Makefile", "made: source\n\tcp source made\n");
    for value in [Value::One, Value::One, Value::One, Value::Two] {
        write_at(&space, "p/source", value.text(), value);
        if value == Value::Two {
            space.remove("p/source");
            space.write("p/source", value.text());
        }
        space.remove("p/target");
        space.build("p");
        assert_eq!(space.output_of("p/target/debug/p").trim_end(), value.text());
    }
}

/// Compiles a C program.
pub(crate) fn program(space: &TestSpace, path: &str, code: &str) {
    let source = space.write("program.c", code);
    let path = space.path(path);
    std::fs::create_dir_all(path.parent().expect("it is in a directory")).expect("a directory");
    succeed(Command::new("cc").arg("-o").args([path, source]));
}

#[test]
fn a_directory_whose_file_system_a_script_asks_for_until_it_appears() {
    check_way_to_nothing(
        "Command::new(\"stat\").args([\"-f\", \"extra\"]).output().unwrap().status.success()",
    );
}

/// The C library reads it by itself.
#[test]
fn a_time_zone_of_its_own() {
    let mut space =
        with_script("run(Command::new(\"date\").arg(\"+%Z\").env(\"TZ\", \"Its/Own\"))");
    let zones = space.path("zones").display().to_string();
    space.set_variable("TZDIR", &zones);
    check_noticed(&mut space, &AGAIN, |space, value| {
        let counts = [0_u32, 0, 0, 0, 1, 4].map(u32::to_be_bytes).concat();
        let name = format!("{}\0", value.text());
        let zone = [&b"TZif"[..], &[0; 16], &counts, &[0; 6], name.as_bytes()].concat();
        space.write("zones/Its/Own", zone);
    });
}

#[test]
fn translations_of_its_own() {
    let mut space = with_script(
        "run(Command::new(\"./tell\").env(\"LC_ALL\", \"C.UTF-8\").env(\"LANGUAGE\", \"xx\"))",
    );
    program(
        &space,
        "p/tell",
        "#include <libintl.h>\n#include <locale.h>\n#include <stdio.h>\n\
         int main(void) {\n setlocale(LC_ALL, \"\");\n bindtextdomain(\"app\", \"translated\");\n\
         textdomain(\"app\");\n return puts(gettext(\"word\")) < 0;\n}\n",
    );
    check_right(&mut space, |space, value| {
        let header = [0x9504_12de, 0, 1, 28, 36, 0, 44_u32, 4, 44, 3, 49].map(u32::to_le_bytes);
        let catalogue = [&header.concat()[..], b"word\0", value.text().as_bytes(), b"\0"].concat();
        space.write("p/translated/xx/LC_MESSAGES/app.mo", catalogue);
    });
}

/// It is asked for past the function that everybody knows.
#[test]
fn a_script_that_looks_for_a_host() {
    let space = with_script("run(&mut Command::new(\"./look\"))");
    program(
        &space,
        "p/look",
        "#define _GNU_SOURCE\n#include <netdb.h>\n#include <stdio.h>\n\
         int main(void) {\n struct hostent host, *found;\n char space[4096];\n int error;\n\
         gethostbyname_r(\"localhost\", &host, space, sizeof space, &found, &error);\n\
         return puts(\"one\") < 0;\n}\n",
    );
    for _ in 0..2 {
        space.remove("p/target");
        let build = space.build("p");
        assert!(build.compiled.contains(&"script(p)".to_owned()), "{}", build.text());
    }
}

/// A program of that name is known to look variables up, but this is another one.
#[test]
fn a_program_of_the_checkout_that_goes_through_all_variables() {
    let mut space = with_script("run(&mut Command::new(here.join(\"tools/git\")))");
    program(
        &space,
        "p/tools/git",
        "#include <stdio.h>\n#include <string.h>\nextern char **environ;\n\
         int main(void) {\n for (char **entry = environ; *entry; entry++)\n\
         if (!strncmp(*entry, \"COLOUR=\", 7)) puts(*entry + 7);\n return 0;\n}\n",
    );
    check_noticed(&mut space, &AGAIN, |space, value| space.set_variable("COLOUR", value.text()));
}

/// Cargo takes a lock for that, and notes what it has found out of the compiler.
#[test]
fn what_cargo_knows_of_the_packages() {
    let mut space = with_script(
        "let cargo = std::env::var_os(\"CARGO\").unwrap();\n\
         let known = run(Command::new(cargo).args([\"metadata\", \"--format-version\", \"1\"]));\n\
         if known.contains(\"it says two\") { \"two\".into() } else { \"one\".into() }",
    );
    let manifest = space.read("p/Cargo.toml");
    let dependency = "[dependencies]\nstone = { path = \"../stone\" }\n";
    space.write(
        "p/Cargo.toml",
        manifest.replace("\n[workspace]", &format!("{dependency}[workspace]")),
    );
    space.package("stone", "", &[("src/lib.rs", "")]);
    let manifest = space.read("stone/Cargo.toml");
    check_noticed(&mut space, &AGAIN, |space, value| {
        let described = format!("[package]\ndescription = \"it says {}\"", value.text());
        space.write("stone/Cargo.toml", manifest.replace("[package]", &described));
    });
}

#[test]
fn a_program_that_is_missing_in_the_directory_that_it_begins_in() {
    let mut space = with_script(
        "match Command::new(\"./tell\").current_dir(here.join(\"tools\")).output() {\n\
         Ok(output) => String::from_utf8(output.stdout).unwrap().trim_end().to_owned(),\n\
         Err(_) => \"one\".into(),\n}",
    );
    std::fs::create_dir(space.path("p/tools")).expect("a directory can be made");
    check_noticed(&mut space, &AGAIN, |space, value| match value {
        Value::One => space.remove("p/tools/tell"),
        Value::Two => drop(space.write_program("p/tools/tell", "#!/bin/sh\necho two\n")),
    });
}

#[test]
fn a_directory_behind_links_that_is_listed() {
    let body = "run(Command::new(\"./list\").arg(\"current\"))";
    let mut space = with_links(body);
    program(
        &space,
        "p/list",
        "#include <dirent.h>\n#include <fcntl.h>\n#include <stdio.h>\n#include <unistd.h>\n\
         int main(int count, char **words) {\n char text[64] = {0};\n\
         int file = openat(dirfd(opendir(words[1])), \"value\", O_RDONLY);\n\
         read(file, text, 63);\n return puts(text) < 0;\n}\n",
    );
    check_turned(&mut space);
}

/// What is open is another file in each process. It was read from here, which took what is in a pipe.
#[test]
fn a_script_that_runs_what_is_open() {
    let space = with_script(
        "for number in 3..10 {\n\
         drop(Command::new(format!(\"/proc/self/fd/{number}\")).output());\n\
         drop(Command::new(format!(\"/dev/fd/{number}\")).output());\n}\n\
         \"one\".into()",
    );
    space.cargo("p", ["build", "-j2"]).launched_by(["timeout", "100"]).succeed();
}

/// As small as threads may be, and a path that cannot be read.
#[test]
fn a_program_with_little_room() {
    let space = with_links("run(&mut Command::new(\"./small\"))");
    symlink(&space, "one", "p/chosen");
    program(
        &space,
        "p/small",
        "#define _GNU_SOURCE\n#include <errno.h>\n#include <fcntl.h>\n#include <pthread.h>\n\
         #include <spawn.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\n\
         #include <sys/wait.h>\nextern char **environ;\n\
         static void *work(void *unused) {\n pid_t pid;\n int status;\n\
         char *words[] = {\"true\", NULL};\n close(open(\"current\", O_RDONLY | O_DIRECTORY));\n\
         if (posix_spawnp(&pid, \"true\", NULL, NULL, words, environ)) return \"two\";\n\
         waitpid(pid, &status, 0);\n free(realpath(\"current\", NULL));\n\
         if (chdir((char *)1) != -1 || errno != EFAULT) return \"three\";\n\
         return chdir(\"current\") ? \"four\" : \"one\";\n}\n\
         int main(void) {\n pthread_t thread;\n pthread_attr_t size;\n void *told = \"five\";\n\
         pthread_attr_init(&size);\n pthread_attr_setstacksize(&size, 16 << 10);\n\
         pthread_create(&thread, &size, work, NULL);\n pthread_join(thread, &told);\n\
         return puts(told) < 0;\n}\n",
    );
    space.build("p");
    assert_eq!(space.output_of("p/target/debug/p"), "one\n");
}

/// The program is there, but what runs it is not.
#[test]
fn a_program_whose_interpreter_appears() {
    let mut space = with_script(
        "match Command::new(here.join(\"tool\")).output() {\n\
         Ok(output) => String::from_utf8(output.stdout).unwrap().trim_end().to_owned(),\n\
         Err(_) => \"one\".into(),\n}",
    );
    let interpreter = space.path("interpreter");
    space.write_program("p/tool", format!("#!{}\n", interpreter.display()));
    check_right(&mut space, |space, value| match value {
        Value::One => space.remove("interpreter"),
        Value::Two => drop(space.write_program("interpreter", "#!/bin/sh\necho two\n")),
    });
}

#[test]
fn a_link_behind_a_link_that_the_script_made() {
    let mut space = with_script(
        "std::os::unix::fs::symlink(here.join(\"data\"), out.join(\"made\")).unwrap();\n\
         std::fs::read_link(out.join(\"made/inner\")).unwrap().to_str().unwrap().to_owned()",
    );
    check_noticed(&mut space, &AGAIN, |space, value| {
        space.remove("p/data");
        std::fs::create_dir(space.path("p/data")).expect("a directory can be made");
        symlink(space, value.text(), "p/data/inner");
    });
}
