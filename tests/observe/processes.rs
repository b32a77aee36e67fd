//! Which processes are seen, and that they behave as if nobody looked.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use kache::observe::{Access, Fact, IncompleteReason, Observer, Unobservable, describe};

use crate::space::{TestSpace, happened, looked_up};

/// Calls each function that runs a program, and those with any number of arguments with enough
/// of them to leave the registers.
const RUNS: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
extern char **environ;
static char *program;
#define IN_CHILD(how, call) if (!how()) { call; _exit(99); } check()
static void check(void) {
    int status;
    wait(&status);
    if (status) { printf("status %x\n", status); exit(1); }
}
int main(int count, char **arguments) {
    if (count > 1) {
        const char *variable = getenv("KEPT");
        if (count == 10 && strcmp(arguments[9], "nine")) return 2;
        printf("%d %s\n", count, variable ? variable : "unset");
        return 0;
    }
    char path[4096] = {0};
    readlink("/proc/self/exe", path, sizeof path - 1);
    program = path;
    char *list[] = {"x", "1", NULL}, *bare[] = {"KEPT=yes", NULL};
    pid_t pid;
    if (posix_spawn(&pid, program, NULL, NULL, list, bare)) return 3;
    check();
    if (posix_spawnp(NULL, program, NULL, NULL, list, environ)) return 4;
    check();
    IN_CHILD(fork, execve(program, list, bare));
    IN_CHILD(vfork, execv(program, list));
    IN_CHILD(vfork, execvp(program, list));
    IN_CHILD(vfork, execvpe(program, list, bare));
    IN_CHILD(vfork, execl(program, "x", "1", "2", "3", "4", "5", "6", "7", "8", "nine", (char *)0));
    IN_CHILD(vfork, execlp(program, "x", "1", (char *)0));
    IN_CHILD(vfork, execle(program, "x", "1", "2", "3", "4", "5", "6", "7", "8", "nine", (char *)0, bare));
    if (system("true") || pclose(popen("true", "r"))) return 5;
    errno = 0;
    if (execl("/nonexistent/program", "x", (char *)0) != -1 || errno != ENOENT) return 6;
    clearenv();
    IN_CHILD(fork, execvp("true", (char *[]){"true", NULL}));
    return 0;
}
"#;

fn observes_every_way_to_run_a_program(space: &TestSpace, program: &Path) {
    let (output, observation) = space.observe(&mut Command::new(program));
    assert!(output.status.success(), "{output:?}");
    let mut lines: Vec<&str> = str::from_utf8(&output.stdout).unwrap().lines().collect();
    lines.sort_unstable();
    let expected = [
        "10 unset", "10 yes", "2 unset", "2 unset", "2 unset", "2 unset", "2 yes", "2 yes", "2 yes",
    ];
    assert_eq!(lines, expected);
    assert_eq!(observation.complete, Ok(()), "{:#?}", describe(&observation));
    // Itself, nine times itself, two shells, one `true`.
    assert_eq!(observation.processes, 13);
    assert!(happened(&observation, &Access::Missing("/nonexistent/program".into())));
    assert!(happened(&observation, &Access::Executed(program.into())));
    assert!(happened(&observation, &Access::Executed("/bin/sh".into())));
}

#[test]
fn every_way_to_run_a_program_is_seen_and_keeps_the_environment() {
    let space = TestSpace::new();
    let program = space.c_program("runs", RUNS, &[]);
    observes_every_way_to_run_a_program(&space, &program);
}

#[test]
fn programs_of_another_c_library_are_seen_as_well() {
    if Command::new("musl-gcc").arg("--version").output().is_err() {
        return;
    }
    let space = TestSpace::new();
    let source = space.write("runs.c", RUNS);
    let program = space.path("runs");
    let compiled = Command::new("musl-gcc").arg(source).arg("-o").arg(&program).status().unwrap();
    assert!(compiled.success());
    observes_every_way_to_run_a_program(&space, &program);
}

#[test]
fn a_child_that_is_linked_statically_makes_the_observation_incomplete() {
    let space = TestSpace::new();
    let program = space.c_program("mute", "int main(void) { return 0; }", &["-static"]);
    let (_, observation) = space.shell("ls >/dev/null; ./mute; ls >/dev/null");
    assert_eq!(observation.complete, Err(IncompleteReason::Unreported(program)));
}

#[test]
fn a_static_child_that_becomes_a_program_that_reports_is_still_missing() {
    let space = TestSpace::new();
    let text = "#include <unistd.h>\n\
                int main(void) { return execl(\"/bin/ls\", \"ls\", (char *)0); }";
    let program = space.c_program("mute", text, &["-static"]);
    let (_, observation) = space.shell("./mute; ls");
    assert_eq!(observation.complete, Err(IncompleteReason::Unreported(program)));
}

#[test]
fn scripts_report_by_their_interpreters_with_or_without_a_first_line() {
    let space = TestSpace::new();
    for (name, text) in [("first", "#! /bin/sh -e\ntrue\n"), ("second", "ls\n")] {
        let script = space.write(name, text);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&script, mode).unwrap();
    }
    let (_, observation) = space.shell("./first; ./second; env ./second; rm second; ls");
    assert_eq!(observation.complete, Ok(()), "{:#?}", describe(&observation));
}

#[test]
fn a_first_process_that_does_not_report_is_noticed_though_its_children_do() {
    let space = TestSpace::new();
    let text = "#include <unistd.h>\n#include <stdlib.h>\n#include <sys/wait.h>\n\
                int main(int count, char **list) {\n\
                if (count > 1) execl(\"/bin/sh\", \"sh\", \"-c\", \"ls\", (char *)0);\n\
                return system(\"ls\"); }";
    let program = space.c_program("mute", text, &["-static"]);
    let (_, observation) = space.observe(&mut Command::new(&program));
    assert_eq!(observation.complete, Err(IncompleteReason::NobodyReported));
    // The same process becomes one that reports.
    let (_, observation) = space.observe(Command::new(&program).arg("exec"));
    assert_eq!(observation.complete, Err(IncompleteReason::Unreported(program)));
}

#[test]
fn a_cleared_environment_hides_nothing() {
    let space = TestSpace::new();
    let seen = space.write("seen", "text");
    let (output, observation) = space.shell("env -i /bin/cat seen; env -i /usr/bin/env");
    assert_eq!(observation.complete, Ok(()));
    assert!(happened(&observation, &Access::Read(seen)));
    // Only what the observation itself needs was put back.
    let names: Vec<&str> =
        output.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    assert_eq!(names, ["textLD_PRELOAD", "KACHE_OBSERVE_LOG"]);
}

#[test]
fn a_preloaded_library_of_the_users_own_stays_preloaded() {
    let space = TestSpace::new();
    let library = space.path("own.so");
    let text = "#include <stdlib.h>\n\
                __attribute__((constructor)) static void f(void) { setenv(\"OWN\", \"1\", 1); }";
    space.c_program("own.so", text, &["-shared", "-fPIC"]);
    let mut command = Command::new("/bin/sh");
    command.args([
        "-c",
        "LD_PRELOAD= /bin/sh -c 'echo $OWN'; env -i /bin/sh -c 'echo -$OWN'; echo $OWN",
    ]);
    command.env("LD_PRELOAD", &library);
    let (output, observation) = space.observe(&mut command);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1\n-\n1\n");
    assert_eq!(observation.complete, Ok(()));
}

#[test]
fn two_hundred_children_are_told_apart_and_cost_little_log() {
    let space = TestSpace::new();
    let (_, observation) = space.shell(
        "for i in 0 1 2 3 4 5 6 7 8 9; do for j in 0 1 2 3 4 5 6 7 8 9; do \
         (cat /etc/passwd | wc >/dev/null) & done; wait; done",
    );
    assert_eq!(observation.complete, Ok(()));
    assert_eq!(observation.processes, 201);
    assert!(observation.events.len() < 60, "{:#?}", describe(&observation));
}

/// What a program can tell about being observed: results, error numbers, and bytes.
const FILES: &str = r#"
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#define FAILS(call, error) errno = 0; if ((call) != -1 || errno != error) return __LINE__
#define WORKS(call) errno = 77; if ((call) < 0 || errno != 77) return __LINE__
static void *many(void *from) {
    char name[64];
    struct stat s;
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "thread-%s-%d", (char *)from, i);
        stat(name, &s);
    }
    return NULL;
}
int main(void) {
    struct stat s;
    char text[4096] = {0};
    WORKS(open("read", O_RDONLY));
    WORKS(openat(AT_FDCWD, "read2", O_RDONLY));
    int directory = open("directory", O_RDONLY | O_DIRECTORY);
    WORKS(openat(directory, "inner", O_RDONLY));
    WORKS(syscall(SYS_openat, directory, "inner2", O_RDONLY));
    WORKS(stat("found", &s));
    WORKS(faccessat(directory, "inner", R_OK, 0));
    WORKS(readlink("link", text, sizeof text));
    if (strcmp(text, "read")) return 1;
    FAILS(open("absent", O_RDONLY), ENOENT);
    FAILS(open(NULL, O_RDONLY), EFAULT);
    FAILS(stat((char *)1, &s), EFAULT);
    FAILS(lstat("absent2", &s), ENOENT);
    FAILS(readlink("read", text, sizeof text), EINVAL);
    FAILS(open("read/below", O_RDONLY), ENOTDIR);
    if (fopen("absent3", "r") || errno != ENOENT) return 2;
    if (!fdopendir(directory) || !opendir("listed")) return 3;
    struct dirent **names;
    if (scandir("scanned", &names, NULL, alphasort) != 3) return 4;
    glob_t matches = {0};
    if (glob("globbed/*", 0, NULL, &matches) || matches.gl_pathc != 2) return 5;
    if (!realpath("link", text) || !strstr(text, "/read")) return 6;
    WORKS(open("made", O_RDWR | O_CREAT, 0600));
    WORKS(open("made", O_RDONLY));
    WORKS(mkdir("made-directory", 0700));
    WORKS(creat("made-directory/file", 0600));
    WORKS(rename("made-directory", "renamed"));
    WORKS(open("renamed/file", O_RDONLY));
    WORKS(open("changed", O_RDWR));
    WORKS(unlink("removed"));
    if (getenv("KACHE_TEST_UNSET") || !getenv("PATH")) return 7;
    pthread_t threads[4];
    char *numbers[] = {"0", "1", "2", "3"};
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, many, numbers[i]);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    return 0;
}
"#;

#[test]
fn accesses_are_seen_by_every_name_of_a_function_and_change_nothing() {
    let space = TestSpace::new();
    for name in [
        "read",
        "read2",
        "found",
        "changed",
        "removed",
        "directory/inner",
        "directory/inner2",
        "listed/a",
        "scanned/a",
        "globbed/a",
        "globbed/b",
    ] {
        space.write(name, "");
    }
    std::os::unix::fs::symlink("read", space.path("link")).unwrap();
    let program = space.c_program("files", FILES, &["-pthread"]);
    let (output, observation) = space.observe(&mut Command::new(&program));
    assert_eq!(output.status.code(), Some(0), "the line that failed");
    assert_eq!(observation.complete, Ok(()));
    let path = |name: &str| space.path(name);
    let expected = [
        Access::Read(path("read")),
        Access::Read(path("read2")),
        Access::Read(path("directory/inner")),
        Access::Read(path("directory/inner2")),
        Access::Found(path("found")),
        Access::Found(path("directory/inner")),
        Access::LinkRead(path("link")),
        Access::Missing(path("absent")),
        Access::Missing(path("absent2")),
        Access::Missing(path("absent3")),
        Access::Missing(path("read/below")),
        Access::Listed(path("directory")),
        Access::Listed(path("listed")),
        Access::Listed(path("scanned")),
        Access::Listed(path("globbed")),
        Access::Missing(path("made")),
        Access::Wrote(path("made")),
        Access::Wrote(path("made-directory")),
        Access::Removed(path("made-directory")),
        Access::Wrote(path("renamed")),
        Access::Read(path("changed")),
        Access::Wrote(path("changed")),
        Access::Removed(path("removed")),
    ];
    for access in &expected {
        assert!(happened(&observation, access), "{access}: {:#?}", describe(&observation));
    }
    assert!(looked_up(&observation, "KACHE_TEST_UNSET"));
    let of_threads = observation.events.iter().filter(
        |access| matches!(access, Access::Missing(path) if path.to_string_lossy().contains("thread-")),
    );
    assert_eq!(of_threads.count(), 800);
    assert!(observation.remaining.contains(&path("made")));
    assert!(!observation.remaining.contains(&path("removed")));
}

#[test]
fn a_full_log_makes_the_observation_incomplete_and_harms_nobody() {
    let space = TestSpace::new();
    let text = "#include <stdio.h>\n#include <sys/stat.h>\n#include <string.h>\n\
                int main(void) { char name[240]; struct stat s; memset(name, 'x', 239);\n\
                for (int i = 0; i < 300000; i++) {\n\
                name[snprintf(name, 20, \"%d-\", i)] = 'x'; name[239] = 0;\n\
                if (!stat(name, &s)) return 1; } return 0; }";
    let program = space.c_program("fills", text, &["-O1"]);
    let (output, observation) = space.observe(&mut Command::new(&program));
    assert!(output.status.success());
    assert_eq!(observation.complete, Err(IncompleteReason::Overflow));
}

#[test]
fn the_first_process_ends_with_the_thread_that_started_it_where_that_is_asked_for() {
    let space = TestSpace::new();
    let mut child = std::thread::scope(|scope| {
        let started = scope.spawn(|| {
            let observer = space.observer();
            observer.end_with_this_thread().unwrap();
            let mut command = Command::new("/bin/sh");
            command.args(["-c", "echo up; exec sleep 1000"]).stdout(std::process::Stdio::piped());
            observer.attach(&mut command);
            let mut child = command.spawn().unwrap();
            let mut ready = [0; 3];
            std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
            child
        });
        started.join().unwrap()
    });
    assert_eq!(child.wait().unwrap().signal(), Some(15));
}

#[test]
fn the_library_needs_nothing_and_asks_only_for_what_every_c_library_has() {
    let space = TestSpace::new();
    space.observer();
    let names = std::fs::read_dir(space.path("cache/lib")).unwrap();
    let libraries: Vec<PathBuf> = names.map(|entry| entry.unwrap().path()).collect();
    let [library] = &libraries[..] else { panic!("{libraries:?}") };
    let tool = |name: &str, option: &str| {
        let output = Command::new(name).arg(option).arg(library).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(!tool("readelf", "-d").contains("NEEDED"));
    let symbols = tool("nm", "-D");
    let strong = symbols.lines().filter_map(|line| line.trim_start().strip_prefix("U "));
    let strong: Vec<&str> = strong.collect();
    let everywhere =
        ["bcmp", "closedir", "dirfd", "memcpy", "memset", "readdir", "strlen", "memmove", "memcmp"];
    assert!(strong.iter().all(|name| everywhere.contains(name)), "{strong:?}");
    // Nothing but C functions is put in front of those of other libraries.
    assert!(!symbols.contains("rust_"), "{symbols}");
}

#[test]
fn a_cache_directory_that_cannot_be_preloaded_from_is_said_so() {
    let space = TestSpace::new();
    let refused = Observer::prepare(&space.path("a cache"));
    assert!(matches!(refused, Err(Unobservable::SelfTest(_))), "{refused:?}");
}

#[test]
fn what_is_asked_of_the_kernel_and_made_for_the_processor_is_seen() {
    let space = TestSpace::new();
    let kernel = Access::Machine(Fact::Kernel);
    let processor = Access::Machine(Fact::Processor);
    let (told, observation) = space.shell("uname -s; cat /dev/null");
    assert_eq!(told, "Linux\n");
    assert!(happened(&observation, &kernel) && !happened(&observation, &processor));
    let asks = "#include <sys/syscall.h>\n#include <sys/utsname.h>\n#include <unistd.h>\n\
                int main(void) { struct utsname to; return syscall(SYS_uname, &to); }\n";
    let program = space.c_program("asks", asks, &[]);
    let (output, observation) = space.observe(&mut Command::new(program));
    assert!(output.status.success() && happened(&observation, &kernel));
    for (option, adapts) in [("-mtune=native", true), ("-mtune=generic", false)] {
        let (_, observation) = space.shell(&format!("cc {option} -c asks.c"));
        assert_eq!(happened(&observation, &processor), adapts, "{option}");
        assert!(!happened(&observation, &kernel));
    }
}

#[test]
fn whoever_may_be_told_of_the_processor_in_a_file_or_tells_of_it_is_seen() {
    let space = TestSpace::new();
    let adapts = |command: &str| {
        let (_, observation) = space.shell(&format!("{command} >told 2>&1 || true"));
        happened(&observation, &Access::Machine(Fact::Processor))
    };
    space.write("options", "-march=native");
    space.write("one.c", "");
    for command in [
        "cc @options -c one.c",
        "x86_64-linux-gnu-gcc-12 -c @options one.c",
        "clang --config options -c one.c",
        "clang --config=options -c one.c",
        "rustc @options",
        "rustc --print target-cpus",
        "rustc --print=target-cpus",
        "llc --version",
        "llvm-ar-14 --version",
    ] {
        let program = command.split(' ').next().unwrap();
        // Not all of them are on every machine.
        if Command::new(program).arg("--version").output().is_ok() {
            assert!(adapts(command), "{command}");
        }
    }
    for command in [
        "cc -c one.c",
        "rustc --print cfg",
        "cc --version",
        "echo @options",
        "llvm-config --version",
    ] {
        assert!(!adapts(command), "{command}");
    }
}

#[test]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn the_c_library_whose_version_is_asked_for_is_read() {
    let space = TestSpace::new();
    for (name, is_version) in
        [("GNU_LIBC_VERSION", true), ("GNU_LIBPTHREAD_VERSION", true), ("PATH", false)]
    {
        let (told, observation) = space.shell(&format!("getconf {name}"));
        assert!(!told.trim().is_empty());
        let is_read = observation
            .events
            .iter()
            .any(|access| matches!(access, Access::Read(path) if path.ends_with("libc.so.6")));
        assert_eq!(is_read, is_version, "{name} {:#?}", describe(&observation));
    }
}

/// Make 4.4 does so for its jobserver.
#[test]
fn a_named_pipe_that_a_process_makes_is_no_input() {
    let space = TestSpace::new();
    let code = "#include <fcntl.h>\n#include <sys/stat.h>\n#include <unistd.h>\n\
                int main(void) {\n\
                if (mkfifo(\"one\", 0600) || mknod(\"two\", 0600 | S_IFIFO, 0)) return 1;\n\
                if (mkfifoat(AT_FDCWD, \"three\", 0600)) return 2;\n\
                return open(\"one\", O_RDWR) < 0 || unlink(\"one\");\n}\n";
    let program = space.c_program("pipes", code, &[]);
    let (output, observation) = space.observe(&mut Command::new(program));
    assert!(output.status.success());
    for name in ["one", "two", "three"] {
        assert!(happened(&observation, &Access::Wrote(space.path(name))), "{name}");
    }
}

#[test]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn who_chooses_a_locale_looks_for_what_it_is_and_who_only_diagnoses_does_not() {
    let space = TestSpace::new();
    let looked_for = |locale: &str, program: &str| -> Vec<PathBuf> {
        let run = format!("export LC_ALL={locale}; {program} </dev/null >/dev/null 2>&1 || true");
        let (_, observation) = space.shell(&run);
        let paths = observation.events.into_iter().filter_map(|access| match access {
            Access::Read(path) | Access::Missing(path) => Some(path),
            _ => None,
        });
        paths.filter(|path| path.starts_with("/usr/lib/locale")).collect()
    };
    let mut expected = vec![PathBuf::from("/usr/lib/locale/locale-archive")];
    let names = ["xy_ZZ.ISO-8859-1@t", "xy_ZZ.ISO-8859-1", "xy_ZZ.iso88591@t", "xy_ZZ.iso88591"];
    let names = names.into_iter().chain(["xy_ZZ@t", "xy_ZZ"]);
    expected.extend(names.map(|name| Path::new("/usr/lib/locale").join(name)));
    assert_eq!(looked_for("xy_ZZ.ISO-8859-1@t", "sort"), expected);
    for (locale, program) in [("C", "sort"), ("C.UTF-8", "sort"), ("xy_ZZ", "ld"), ("xy_ZZ", "cc")]
    {
        assert_eq!(looked_for(locale, program), [] as [PathBuf; 0], "{locale} {program}");
    }
}
