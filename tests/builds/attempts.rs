//! What a build script tries to do and cannot, for want of something, tells it that this is not there.

use crate::detours::check_right;
use crate::hidden_inputs::Value;
use crate::scripts::with_script;
use crate::support::TestSpace;

/// Checks that a script depends on whether `there` exists, which tries this and looks for no more.
#[track_caller]
fn check_attempt(attempt: &str, there: &str) {
    let mut space = with_script(&format!(
        "unsafe extern \"C\" {{\n\
         fn mkstemp(template: *mut u8) -> i32;\n\
         fn utimes(path: *const u8, times: *const u8) -> i32;\n\
         fn truncate(path: *const u8, length: i64) -> i32;\n}}\n\
         let is_missing = |error: std::io::Error| error.kind() == std::io::ErrorKind::NotFound;\n\
         let result = |code: i32| if code < 0 {{ Err(std::io::Error::last_os_error()) }} else {{ Ok(()) }};\n\
         if {{ {attempt} }}.is_err_and(is_missing) {{ \"one\".into() }} else {{ \"two\".into() }}"
    ));
    check_right(&mut space, |space, value| {
        space.remove("p/x");
        if value == Value::Two {
            space.write(there, "");
        }
    });
}

#[test]
fn a_second_name_for_a_file() {
    check_attempt("std::fs::hard_link(\"x/a\", out.join(\"made\"))", "p/x/a");
}

#[test]
fn a_directory_in_one_that_is_missing() {
    check_attempt("std::fs::create_dir(\"x/sub/made\")", "p/x/sub/other");
}

#[test]
fn a_file_in_a_directory_that_is_missing() {
    check_attempt("std::fs::write(\"x/sub/made\", \"\")", "p/x/sub/other");
}

#[test]
fn a_link_in_a_directory_that_is_missing() {
    check_attempt("std::os::unix::fs::symlink(\"a\", \"x/sub/made\")", "p/x/sub/other");
}

#[test]
fn a_file_that_is_moved_to_a_directory_that_is_missing() {
    check_attempt(
        "let from = out.join(\"from\");\n\
         std::fs::write(&from, \"\").unwrap();\n\
         std::fs::rename(from, \"x/sub/made\")",
        "p/x/sub/other",
    );
}

#[test]
fn a_temporary_file_in_a_directory_that_is_missing() {
    check_attempt(
        "let mut template = *b\"x/sub/madeXXXXXX\\0\";\n\
         result(unsafe { mkstemp(template.as_mut_ptr()) })",
        "p/x/sub/other",
    );
}

#[test]
fn permissions_of_a_file() {
    let attempt = "use std::os::unix::fs::PermissionsExt;\n\
        std::fs::set_permissions(\"x/a\", std::fs::Permissions::from_mode(0o644))";
    check_attempt(attempt, "p/x/a");
}

#[test]
fn times_of_a_file() {
    let attempt = "result(unsafe { utimes(c\"x/a\".as_ptr().cast(), std::ptr::null()) })";
    check_attempt(attempt, "p/x/a");
}

#[test]
fn the_length_of_a_file() {
    check_attempt("result(unsafe { truncate(c\"x/a\".as_ptr().cast(), 0) })", "p/x/a");
}

/// Checks that a script has this value, and that its run is kept.
#[track_caller]
fn check_kept(space: &TestSpace, value: &str) {
    for expected in [None, Some(&[][..])] {
        space.remove("p/target");
        let build = space.build("p");
        if let Some(expected) = expected {
            build.assert_compiled(expected, "the second build");
        }
        assert_eq!(space.output_of("p/target/debug/p").trim_end(), value);
    }
}

/// It refuses to start where another library comes before its own.
#[test]
fn a_program_with_the_c_compilers_sanitizer_of_addresses_starts() {
    let space = with_script(
        "run(Command::new(\"cc\").args([\"-fsanitize=address\", \"-o\"]).arg(out.join(\"tell\")).arg(\"tell.c\"));\n\
         run(&mut Command::new(out.join(\"tell\")))",
    );
    space.write("p/tell.c", "#include <stdio.h>\nint main(void) { return puts(\"one\") < 0; }\n");
    check_kept(&space, "one");
}

#[test]
fn a_script_with_the_name_of_a_c_compiler_gets_its_arguments_as_they_are() {
    let space = with_script("run(Command::new(\"tools/cc\").args([\"first\", \"second\"]))");
    space.write_program("p/tools/cc", "#!/bin/sh\necho \"$# $1\"\n");
    check_kept(&space, "2 first");
}

/// Under observation there are no rings: what the kernel does for one would not be seen.
#[test]
fn a_program_that_would_rather_have_a_ring_of_the_kernel_does_without_and_is_kept() {
    let space = with_script(
        "unsafe extern \"C\" { fn syscall(number: std::ffi::c_long, ...) -> std::ffi::c_long; }\n\
         let mut parameters = [0_u8; 120];\n\
         let ring = unsafe { syscall(425, 4_u32, parameters.as_mut_ptr()) };\n\
         if ring < 0 { \"one\".into() } else { \"two\".into() }",
    );
    check_kept(&space, "one");
}

/// A script that knows by `part("ld-linux")` where such a part of the C library is.
fn with_c_library(body: &str) -> TestSpace {
    with_script(&format!(
        "let maps = std::fs::read_to_string(\"/proc/self/maps\").unwrap();\n\
         let part = |name: &str| maps.lines().find(|line| line.contains(name)).unwrap()\n\
         .split_whitespace().last().unwrap().to_owned();\n{body}"
    ))
}

/// Checks that a script has the value under observation that it has without.
#[track_caller]
fn check_as_plain(space: &TestSpace) {
    space.cargo("p", ["build"]).plain().target_directory("plain").succeed();
    space.build("p");
    let plain = space.output_of("plain/debug/p");
    assert!(!plain.trim().is_empty());
    assert_eq!(space.output_of("p/target/debug/p"), plain);
}

#[test]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn the_loader_lists_the_libraries_that_a_program_would_have() {
    for command in [
        "ldd /bin/true",
        "$0 --list /bin/true",
        "$0 --inhibit-rpath /x --list /bin/true",
        "LD_TRACE_LOADED_OBJECTS=1 /bin/true",
        "export LD_TRACE_LOADED_OBJECTS=1; exec /bin/true",
    ] {
        let body = format!(
            "run(Command::new(\"sh\").args([\"-c\", {:?}, &part(\"ld-linux\")]))",
            format!("({command}) | sed 's/ (0x.*//'")
        );
        check_as_plain(&with_c_library(&body));
    }
}

#[test]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn the_c_library_says_which_one_it_is() {
    check_as_plain(&with_c_library("run(&mut Command::new(part(\"libc.so.6\")))"));
    check_as_plain(&with_c_library("run(Command::new(part(\"libc.so.6\")).env_clear())"));
}

#[test]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn a_script_that_asks_for_the_version_of_the_c_library_is_kept() {
    let version = "run(Command::new(\"getconf\").arg(\"GNU_LIBC_VERSION\"))";
    check_kept(&with_script(&format!("{version}.split(' ').next().unwrap().into()")), "glibc");
}

#[test]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn a_program_that_the_loader_is_told_to_run_is_kept() {
    let run = "run(Command::new(part(\"ld-linux\")).args([\"/bin/echo\", \"--list\"]))";
    check_kept(&with_c_library(run), "--list");
}
