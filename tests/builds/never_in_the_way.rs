//! Whatever happens to the store, to the compiler or to kache itself, Cargo sees what it would have
//! seen without kache.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::hidden_inputs::with_macro;
use crate::scripts::with_script;
use crate::support::disk::{files, files_with, inode};
use crate::support::sample::{SAMPLE_OUTPUT, SAMPLE_UNITS};
use crate::support::toolchain::{Toolchain, kache};
use crate::support::{Build, Cargo, TestSpace, open_for_reader, succeed};

/// Checks that both runs ended the same and said the same.
#[track_caller]
fn check_same(with: &Build, without: &Build, what: &str) {
    assert_eq!(with.status, without.status, "{what}: status\n{}", with.text());
    assert!(with.stdout == without.stdout, "{what}: standard output");
    assert_eq!(with.messages(), without.messages(), "{what}: standard error");
}

/// Builds the sample without kache and then with it, in the same place, and checks that nobody could
/// tell: by status, streams and the program that comes out. Then once more, warm.
#[track_caller]
fn check_unnoticed(space: &TestSpace, configure: impl Fn(Cargo<'_>) -> Cargo<'_>) {
    let quiet = |run: Cargo<'_>| {
        space.remove("a/target");
        configure(run.quiet().variable("CARGO_BUILD_JOBS", "1")).succeed()
    };
    let without = quiet(space.cargo("a", ["build"]).plain());
    for round in ["cold", "warm"] {
        let with = quiet(space.cargo("a", ["build"]));
        check_same(&with, &without, round);
        assert_eq!(space.output_of("a/target/debug/app"), SAMPLE_OUTPUT, "{round}");
    }
}

fn sample() -> TestSpace {
    let space = TestSpace::new();
    space.sample("a");
    // Something to say on each build.
    space.write("a/base/src/outer/inner.rs", "fn unused() {}\npub fn two() -> u32 { 2 }\n");
    space.cargo("a", ["generate-lockfile"]).plain().succeed();
    space
}

#[test]
fn a_store_that_works() {
    check_unnoticed(&sample(), |run| run);
}

#[test]
fn a_store_whose_place_is_a_file() {
    let space = sample();
    space.write("cache", "not a directory");
    check_unnoticed(&space, |run| run);
    assert_eq!(space.read("cache"), "not a directory");
}

#[test]
fn a_store_whose_place_cannot_exist() {
    check_unnoticed(&sample(), |run| run.variable("KACHE_CACHE_DIR", "/proc/no/such/place"));
}

/// Root passes every permission check but for these capabilities.
pub(crate) const WITHOUT_PRIVILEGE: [&str; 3] = [
    "setpriv",
    "--bounding-set=-dac_override,-dac_read_search",
    "--inh-caps=-dac_override,-dac_read_search",
];

/// Lets an interrupt end a build whatever these tests were started from: a shell without job control
/// has what it starts in the background ignore it.
pub(crate) const INTERRUPTIBLE: [&str; 2] = ["env", "--default-signal=INT"];

#[track_caller]
fn check_mode_of_store(mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    let space = sample();
    space.build("a");
    let mut directories = vec![space.cache()];
    while let Some(directory) = directories.pop() {
        let entries = fs::read_dir(&directory).expect("the store can be listed");
        let inner = entries.map(|entry| entry.expect("an entry can be read").path());
        directories.extend(inner.filter(|path| path.is_dir()));
        if directory != space.cache() {
            fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).expect("a mode");
        }
    }
    for file in ["index", "memo", "events"] {
        let path = space.cache().join(file);
        if path.exists() {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode & 0o666)).expect("a mode");
        }
    }
    fs::set_permissions(space.cache(), fs::Permissions::from_mode(mode)).expect("a mode");
    check_unnoticed(&space, |run| run.launched_by(WITHOUT_PRIVILEGE));
}

#[test]
fn a_store_that_cannot_be_read() {
    check_mode_of_store(0o000);
}

#[test]
fn a_store_that_cannot_be_written() {
    check_mode_of_store(0o555);
}

#[test]
fn a_store_without_a_home() {
    let space = sample();
    check_unnoticed(&space, |run| {
        run.without_variable("KACHE_CACHE_DIR").variable("HOME", "/proc/nobody")
    });
}

#[test]
fn a_configuration_that_is_wrong() {
    let space = sample();
    space.write("a/.kache.toml", "[cache]\nlocal_max_size = \"much\"\nnonsense = 3\n");
    check_unnoticed(&space, |run| run);
    space.write("a/.kache.toml", "this is not TOML");
    check_unnoticed(&space, |run| run);
}

/// Damages every file of the store (or of a part of it) in turn.
#[track_caller]
fn check_damage(part: &str, damage: impl Fn(&mut Vec<u8>)) {
    use std::os::unix::fs::PermissionsExt as _;
    let space = sample();
    space.build("a");
    let damaged = files(&space.cache().join(part));
    assert!(!damaged.is_empty(), "the store has {part}");
    for file in damaged {
        let mut content = fs::read(&file).expect("a file of the store can be read");
        damage(&mut content);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("a mode can be set");
        // Through the same inode, as a failing disk would.
        fs::write(&file, content).expect("a file of the store can be written");
    }
    check_unnoticed(&space, |run| run);
    space.remove("a/target");
    space.build("a").assert_compiled(&[], "what was damaged has been replaced");
    space.build("a").assert_fresh("after damage");
}

#[test]
fn blobs_cut_short() {
    check_damage("blobs", |content| content.truncate(content.len() / 2));
}

#[test]
fn blobs_emptied() {
    check_damage("blobs", Vec::clear);
}

#[test]
fn blobs_overwritten() {
    check_damage("blobs", |content| content.fill(0xa5));
}

/// Damages one file of the store.
#[track_caller]
fn check_damaged_file(name: &str, damage: impl Fn(&mut Vec<u8>)) {
    let space = sample();
    space.build("a");
    let path = space.cache().join(name);
    let mut content = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    damage(&mut content);
    fs::write(&path, content).expect("a file of the store can be written");
    check_unnoticed(&space, |run| run);
    space.remove("a/target");
    space.build("a").assert_compiled(&[], "the store works again");
}

#[test]
fn an_index_of_noise() {
    check_damaged_file("index", |content| {
        for (at, byte) in content.iter_mut().enumerate() {
            *byte = (at.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0];
        }
    });
}

#[test]
fn an_index_cut_short() {
    check_damaged_file("index", |content| content.truncate(5000));
}

#[test]
fn an_empty_index() {
    check_damaged_file("index", Vec::clear);
}

#[test]
fn an_index_whose_records_are_noise() {
    check_damaged_file("index", |content| {
        let half = content.len() / 2;
        content[half..].fill(0xa5);
        content[4096..8192].fill(0x5a);
    });
}

#[test]
fn a_memo_of_noise() {
    check_damaged_file("memo", |content| content.fill(0xa5));
}

#[test]
fn a_memo_cut_short() {
    check_damaged_file("memo", |content| content.truncate(100));
}

#[test]
fn a_log_of_noise() {
    check_damaged_file("events", |content| content.fill(0xa5));
}

#[test]
fn kache_disabled_leaves_no_trace() {
    let space = sample();
    check_unnoticed(&space, |run| run.variable("KACHE_DISABLED", "1"));
    assert!(!space.cache().exists());
}

#[test]
fn a_store_on_another_file_system() {
    let space = sample();
    let memory = TestSpace::below(std::path::Path::new("/dev/shm"));
    let cache = memory.cache().display().to_string();
    check_unnoticed(&space, |run| run.variable("KACHE_CACHE_DIR", cache.as_str()));
    for _ in 0..2 {
        space.remove("a/target");
        let run = || space.cargo("a", ["build"]).variable("KACHE_CACHE_DIR", cache.as_str());
        run().succeed().assert_compiled(&[], "a warm build across file systems");
        run().succeed().assert_fresh("a warm build across file systems");
    }
}

/// Calls a compiler that is a script, directly and through kache, and checks that both look the same.
#[track_caller]
fn check_compiler(script: &str, arguments: &[&str]) -> Build {
    let mut space = TestSpace::new();
    space.script_compiler(script);
    space.write("p/src/lib.rs", "pub fn value() -> u32 { 7 }\n");
    let run = || space.rustc("p", arguments.iter().copied());
    let without = run().plain().run();
    let first = run().run();
    let second = run().run();
    for with in [&first, &second] {
        assert_eq!(with.status, without.status, "{script}\n{}", with.text());
        assert!(with.stdout == without.stdout, "{script}: standard output");
        assert!(with.stderr == without.stderr, "{script}: standard error\n{}", with.text());
    }
    second
}

const COMPILE: [&str; 8] = [
    "--crate-name",
    "p",
    "--crate-type",
    "lib",
    "src/lib.rs",
    "--emit=metadata,link",
    "--out-dir",
    ".",
];

/// Who examined the toolchain went on to compile, and all others waited for the end of that.
#[test]
fn the_first_compilations_go_on_side_by_side() {
    let mut space = TestSpace::new();
    let meeting = space.path("meeting");
    succeed(Command::new("mkfifo").arg(&meeting));
    let (meeting, real) = (meeting.display(), space.toolchain().rustc);
    // Neither gets on without the other.
    space.script_compiler(&format!(
        "case \"$*\" in *--crate-name\\ a*) timeout 20 sh -c 'echo > {meeting}' ;;\n\
         *) timeout 20 sh -c 'read unused < {meeting}' ;; esac && exec {} \"$@\"\n",
        real.display()
    ));
    let begun = ["a", "b"].map(|name| {
        space.write(format!("{name}/lib.rs"), "");
        let arguments = ["--crate-name", name, "--crate-type=lib", "lib.rs", "--out-dir=."];
        let mut command = space.rustc(name, arguments).command();
        (name, command.spawn().expect("kache can be started"))
    });
    for (name, mut run) in begun {
        assert!(run.wait().expect("it ends").success(), "{name}");
    }
}

#[test]
fn a_compiler_that_fails() {
    let build = check_compiler("echo out; echo err >&2; exit 7\n", &COMPILE);
    assert_eq!(build.status.code(), Some(7));
}

/// The compiler shows the source of what a call should have been, if it finds it by the name in metadata.
#[test]
fn an_error_that_points_into_a_package_outside_of_the_workspace() {
    let space = TestSpace::new();
    space.package("near", "", &[("src/lib.rs", "pub fn take(number: u32) -> u32 { number }\n")]);
    let main = "fn main() { near::take(\"text\"); }\n";
    let dependency = "[workspace]\n[dependencies]\nnear = { path = \"../../near\" }\n";
    space.package("work/app", dependency, &[("src/main.rs", main)]);
    let source = space.path("near/src/lib.rs").display().to_string();
    let shown = format!("--> {source}:1:8\n  |\n1 | pub fn take(number: u32)");
    for round in ["cold", "warm"] {
        space.remove("work/app/target");
        let build = space.cargo("work/app", ["build"]).run();
        assert!(build.text().contains(&shown), "{round}: {}", build.text());
    }
}

#[test]
fn a_compiler_that_writes_nothing() {
    check_compiler("exit 0\n", &COMPILE);
}

#[test]
fn a_compiler_killed_by_a_signal() {
    for signal in ["KILL", "SEGV", "TERM", "ABRT"] {
        let build = check_compiler(&format!("echo before >&2; kill -{signal} $$\n"), &COMPILE);
        assert!(build.status.signal().is_some(), "{signal}: {}", build.status);
    }
}

#[test]
fn a_compiler_that_floods_its_streams_with_bytes_that_are_no_text() {
    let flood = "i=0; while [ $i -lt 200 ]; do head -c 40000 /dev/zero | tr '\\0' '\\377'; \
                 head -c 40000 /dev/zero | tr '\\0' '\\200' >&2; i=$((i+1)); done\n";
    for end in ["exit 1\n", "echo > libp.rmeta; echo > libp.rlib; exit 0\n"] {
        let build = check_compiler(&format!("{flood}{end}"), &COMPILE);
        assert_eq!(build.stdout.len(), 8_000_000);
        assert_eq!(build.stderr.len(), 8_000_000);
    }
}

#[test]
fn a_compiler_that_is_not_there() {
    let mut space = TestSpace::new();
    let rustc = space.path("nowhere/rustc");
    space.use_toolchain(Toolchain { rustc, ..Toolchain::counted(&space.path("")) });
    let build = space.rustc("", COMPILE).run();
    assert!(!build.status.success());
}

/// Cargo takes what `RUSTC` names for the compiler, whatever its name is.
#[test]
fn a_script_around_the_compiler_with_a_name_of_its_own() {
    let mut space = TestSpace::new();
    space.package("p", "", &[("src/lib.rs", "")]);
    let counted = Toolchain::counted(&space.path(""));
    let script = format!("#!/bin/sh\nexec {} \"$@\"\n", counted.rustc.display());
    let rustc = space.write_program("our-compiler", script);
    space.use_toolchain(Toolchain { rustc, ..counted });
    for units in [&["p"][..], &[]] {
        space.remove("p/target");
        space.build("p").assert_compiled(units, "");
    }
}

#[test]
fn flags_that_no_compiler_knows() {
    let space = TestSpace::new();
    space.write("p/src/lib.rs", "pub fn value() -> u32 { 7 }\n");
    for arguments in [
        &["--crate-name", "p", "--no-such-flag", "src/lib.rs"][..],
        &["--crate-name", "p", "src/lib.rs", "-C", "no-such-option=1"],
        &["--crate-name", "p", "src/lib.rs", "-Zno-such"],
        &["--crate-name"],
        &["--crate-name", "p", "src/absent.rs"],
        &["@absent"],
        &["-vV"],
        &["--version"],
        &["--print", "cfg"],
        &["--print=sysroot"],
        &["--explain", "E0308"],
        &["-"],
        &[],
    ] {
        let run = || space.rustc("p", arguments.iter().copied());
        let without = run().plain().run();
        for _ in 0..2 {
            let with = run().run();
            assert_eq!(with.status, without.status, "{arguments:?}");
            assert!(with.stdout == without.stdout, "{arguments:?}: {}", with.text());
            assert!(with.stderr == without.stderr, "{arguments:?}: {}", with.text());
        }
    }
}

#[test]
fn source_on_standard_input() {
    let space = TestSpace::new();
    space.write("p/out/.keep", "");
    for value in ["one", "two"] {
        let run = space.rustc("p", ["--crate-name", "p", "-", "-o", "out/p"]);
        let mut child = run.command().stdin(Stdio::piped()).spawn().expect("kache can be started");
        let source = format!("fn main() {{ println!(\"{value}\"); }}\n");
        let mut input = child.stdin.take().expect("standard input is a pipe");
        input.write_all(source.as_bytes()).expect("the source can be sent");
        drop(input);
        assert!(child.wait().expect("kache ends").success());
        assert_eq!(space.output_of("p/out/p").trim_end(), value);
    }
}

#[test]
fn errors_are_repeated_until_they_are_mended() {
    let space = sample();
    let good = space.read("a/base/src/lib.rs");
    space.write("a/base/src/lib.rs", format!("{good}pub fn bad() -> u32 {{ \"text\" }}\n"));
    let run = || {
        space.remove("a/target");
        space.cargo("a", ["build"]).quiet().variable("CARGO_BUILD_JOBS", "1")
    };
    let without = run().plain().run();
    assert!(!without.status.success());
    for _ in 0..2 {
        check_same(&run().run(), &without, "an error");
    }
    space.write("a/base/src/lib.rs", good);
    space.build("a");
    assert_eq!(space.output_of("a/target/debug/app"), SAMPLE_OUTPUT);
}

#[test]
fn eight_builds_at_once_compile_everything_once() {
    let space = sample();
    let targets: Vec<String> = (0..8).map(|number| format!("t{number}")).collect();
    let children: Vec<_> = targets
        .iter()
        .map(|target| {
            let mut command = space.cargo("a", ["build"]).target_directory(target).command();
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().expect("cargo can be started")
        })
        .collect();
    for mut child in children {
        assert!(child.wait().expect("cargo ends").success());
    }
    let mut compiled = space.compiled();
    compiled.sort_unstable();
    assert_eq!(compiled, SAMPLE_UNITS);
    for target in &targets {
        assert_eq!(space.output_of(&format!("{target}/debug/app")), SAMPLE_OUTPUT);
        let again = space.cargo("a", ["build"]).target_directory(target).succeed();
        again.assert_fresh(target);
    }
}

#[test]
fn an_interrupted_build_leaves_nothing_wrong() {
    let space = TestSpace::new();
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
            "#[proc_macro]\npub fn peek(_: proc_macro::TokenStream) -> proc_macro::TokenStream {\n\
             let here = std::env::var(\"CARGO_MANIFEST_DIR\").unwrap();\n\
             std::fs::read(here + \"/gate\").unwrap();\n\
             \"7\".parse().unwrap()\n}\n",
        )],
    );
    let gate = space.path("p/gate");
    succeed(std::process::Command::new("mkfifo").arg(&gate));
    let mut command = space.cargo("p", ["build"]).launched_by(INTERRUPTIBLE).command();
    command.process_group(0).stderr(Stdio::piped());
    let child = command.spawn().expect("cargo can be started");
    // Opening the pipe waits until the compiler is in the middle of its work.
    let opened = open_for_reader(&gate);
    let group = Pid::from_child(&child);
    kill_process_group(group, Signal::INT).expect("the group can be signalled");
    // The stream ends when the last process of the build is gone.
    let output = child.wait_with_output().expect("cargo ends");
    assert!(!output.status.success());
    drop(opened);
    space.remove("p/gate");
    space.write("p/gate", "");
    space.build("p");
    assert_eq!(space.output_of("p/target/debug/p"), "7\n");
    space.build("p").assert_fresh("after an interrupted build");
}

#[test]
fn what_is_done_to_an_output_never_reaches_another_target_directory() {
    let space = sample();
    space.cargo("a", ["build"]).target_directory("one").succeed();
    let original = fs::read(space.path("one/debug/app")).expect("the program is there");
    for program in files_with(&space.path("one/debug/deps"), &["", "so"]) {
        succeed(std::process::Command::new("strip").arg(&program));
    }
    for metadata in files_with(&space.path("one/debug"), &["rmeta"]) {
        let mut file = File::options().append(true).open(&metadata).expect("it can be written");
        file.write_all(b"more").expect("it can be written");
    }
    space.cargo("a", ["build"]).target_directory("two").succeed();
    let restored = fs::read(space.path("two/debug/app")).expect("the program is there");
    assert_eq!(restored.len(), original.len(), "the program is not stripped");
    assert!(restored == original);
    assert_eq!(space.output_of("two/debug/app"), SAMPLE_OUTPUT);
    // And not out of a restored tree either.
    for program in files_with(&space.path("two/debug/deps"), &["", "so"]) {
        succeed(std::process::Command::new("strip").arg(&program));
    }
    space.cargo("a", ["build"]).target_directory("three").succeed();
    assert!(fs::read(space.path("three/debug/app")).expect("the program is there") == original);
}

#[test]
fn plain_cargo_goes_on_where_kache_restored() {
    let space = sample();
    space.build("a");
    space.remove("a/target");
    space.build("a");
    let kept = fs::read(files_with(&space.path("a/target/debug/deps"), &["rlib"])[0].clone())
        .expect("a library can be read");
    space.cargo("a", ["build"]).plain().succeed().assert_fresh("plain Cargo after kache");
    let source = space.read("a/base/src/lib.rs");
    space.write("a/base/src/lib.rs", format!("{source}pub fn more() {{}}\n"));
    space.cargo("a", ["build"]).plain().succeed();
    assert_eq!(space.output_of("a/target/debug/app"), SAMPLE_OUTPUT);
    space.cargo("a", ["clean"]).plain().succeed();
    space.write("a/base/src/lib.rs", source);
    space.build("a").assert_compiled(&[], "the store is as it was");
    let again = fs::read(files_with(&space.path("a/target/debug/deps"), &["rlib"])[0].clone())
        .expect("a library can be read");
    assert!(again == kept);
}

#[test]
fn libraries_share_one_inode_in_all_target_directories() {
    let space = sample();
    for target in ["one", "two", "three"] {
        space.cargo("a", ["build"]).target_directory(target).succeed();
    }
    let libraries = files_with(&space.path("one/debug/deps"), &["rlib"]);
    assert_eq!(libraries.len(), 4);
    let blobs: Vec<_> =
        files(&space.cache().join("blobs")).iter().map(|path| inode(path)).collect();
    for library in libraries {
        let name = library.strip_prefix(space.path("one")).expect("it lies there");
        for target in ["two", "three"] {
            assert_eq!(
                inode(&space.path(target).join(name)),
                inode(&library),
                "{}",
                name.display()
            );
        }
        assert!(blobs.contains(&inode(&library)), "{} is in the store", name.display());
    }
    for file in files_with(&space.path("one/debug/deps"), &["", "so", "rmeta", "d"]) {
        let name = file.strip_prefix(space.path("one")).expect("it lies there");
        assert_ne!(inode(&space.path("two").join(name)), inode(&file), "{}", name.display());
    }
}

#[test]
fn kache_cargo_needs_no_configuration() {
    let space = sample();
    for expected in [SAMPLE_UNITS.len(), 0] {
        space.remove("a/target");
        let run = space.cargo("a", ["cargo", "build"]).by_kache().without_variable("RUSTC_WRAPPER");
        assert_eq!(run.succeed().compiled.len(), expected);
    }
}

#[test]
fn the_wrapper_may_be_named_without_its_path() {
    let space = sample();
    let path = format!("{}:/usr/bin:/bin", kache().parent().expect("it has a directory").display());
    for expected in [SAMPLE_UNITS.len(), 0] {
        space.remove("a/target");
        let run = space.cargo("a", ["build"]).variable("RUSTC_WRAPPER", "kache");
        assert_eq!(run.variable("PATH", path.as_str()).succeed().compiled.len(), expected);
    }
}

/// Make passes its jobserver on as a named pipe since version 4.4. Whoever reads it takes a job from
/// all others, and waits when there is none.
#[test]
fn a_jobserver_that_is_a_named_pipe() {
    let space = TestSpace::new();
    space.sample("a");
    let pipe = space.path("jobs");
    succeed(Command::new("mkfifo").arg(&pipe));
    let mut jobs = File::options().read(true).write(true).open(&pipe).expect("a pipe");
    jobs.write_all(b"+").expect("a job for one more");
    let flags = format!(" -j2 --jobserver-auth=fifo:{}", pipe.display());
    for (what, units) in [("cold", &SAMPLE_UNITS[..]), ("warm", &[])] {
        space.remove("a/target");
        let build = space.cargo("a", ["build"]).variable("MAKEFLAGS", &flags).succeed();
        build.assert_compiled(units, what);
        assert_eq!(space.output_of("a/target/debug/app"), SAMPLE_OUTPUT, "{what}");
    }
    drop(jobs.write_all(b"."));
    let mut left = [0; 2];
    jobs.read_exact(&mut left).expect("the job was given back");
    assert_eq!(&left, b"+.");
}

/// A script goes through it piece by piece, and kache has no more memory than that takes.
#[test]
fn a_file_that_is_larger_than_the_memory() {
    let space = with_script(
        "let parent = std::os::unix::process::parent_id().to_string();\n\
         run(Command::new(\"prlimit\").args([\"--as=1000000000\", \"--pid\", &parent]));\n\
         let mut file = std::fs::File::open(here.join(\"large\")).unwrap();\n\
         let mut piece = vec![0; 1 << 20];\n\
         while std::io::Read::read(&mut file, &mut piece).unwrap() > 0 {}\n\
         \"one\".into()",
    );
    let large = File::create(space.path("p/large")).expect("a file");
    large.set_len(1 << 30).expect("a file may have holes");
    space.build("p");
    space.remove("p/target");
    space.build("p").assert_compiled(&[], "nothing changed");
}

/// Nobody knows what a pipe will say the next time.
#[test]
fn a_macro_that_reads_a_named_pipe() {
    let space = with_macro("std::fs::read_to_string(here.join(\"pipe\")).unwrap()");
    succeed(Command::new("mkfifo").arg(space.path("p/pipe")));
    for value in ["one", "two"] {
        space.remove("p/target");
        let mut build =
            space.cargo("p", ["build"]).command().spawn().expect("cargo can be started");
        let mut pipe = open_for_reader(&space.path("p/pipe"));
        pipe.write_all(value.as_bytes()).expect("the macro reads it");
        drop(pipe);
        assert!(build.wait().expect("cargo ends").success());
        assert_eq!(space.output_of("p/target/debug/p").trim_end(), value);
    }
}
