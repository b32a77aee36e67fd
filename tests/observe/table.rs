//! The table of rules on observations written by hand.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use kache::observe::rules::{Found, ScriptContext, Uncacheable, script_inputs};
use kache::observe::{Access, EnvironmentUse, Fact, Observation};
use kache::roots::Roots;

/// The inputs of a script's run that did these things, as kind and path.
#[track_caller]
fn check(events: Vec<Access>, expected: &[&str]) {
    let inputs = found_in(events).unwrap().inputs;
    let told: Vec<String> = inputs
        .iter()
        .map(|input| format!("{:?} {}", input.kind, String::from_utf8_lossy(&input.name.path)))
        .collect();
    assert_eq!(told, expected);
}

fn found_in(events: Vec<Access>) -> Result<Found, Uncacheable> {
    found_of(&observation(events))
}

fn observation(events: Vec<Access>) -> Observation {
    Observation {
        events,
        complete: Ok(()),
        unreported: Vec::new(),
        processes: 1,
        root: Some("/t/script".into()),
        root_uses: EnvironmentUse::Nothing,
        remaining: Vec::new(),
        effects: Vec::new(),
        temporary: vec!["/tmp".into()],
        jobserver: Some("/tmp/jobs".into()),
        library_path: "/first:/second".into(),
        git_knows_names: false,
        traces: Vec::new(),
    }
}

fn found_of(observation: &Observation) -> Result<Found, Uncacheable> {
    let roots = Roots::default();
    let context = ScriptContext {
        roots: &roots,
        sysroot: Path::new("/rust"),
        targets: vec!["x86_64-unknown-linux-gnu".into(), "x".into()],
        cache_directory: Path::new("/p/../cache"),
        out_dir: Path::new("/t/out"),
        working_directory: Path::new("/p"),
    };
    script_inputs(observation, &context)
}

fn read(path: &str) -> Access {
    Access::Read(path.into())
}

fn missing(path: &str) -> Access {
    Access::Missing(path.into())
}

fn found(path: &str) -> Access {
    Access::Found(path.into())
}

#[test]
fn what_was_made_before_it_was_read_is_no_input_and_what_was_read_before_is() {
    let wrote = |path: &str| Access::Wrote(path.into());
    check(vec![wrote("/p/a"), read("/p/a"), read("/p/b"), wrote("/p/b")], &["File /p/b"]);
    // All below a directory that was made, and nothing beside it.
    check(vec![wrote("/p/d"), read("/p/d/x/y"), read("/p/d2")], &["File /p/d2"]);
    check(vec![Access::Removed("/p/a".into()), missing("/p/a")], &[]);
    // The directory before `..` is not what was made.
    check(vec![wrote("/p/d"), read("/p/d/../e")], &["File /p/d/../e"]);
    check(vec![wrote("/p/d/../e"), read("/p/e"), read("/p/x/../e")], &[]);
}

#[test]
fn what_follows_from_other_inputs_is_left_out() {
    check(vec![found("/p/src"), read("/p/src/a")], &["File /p/src/a"]);
    check(vec![found("/p"), found("/")], &[]);
    check(vec![missing("/q"), missing("/q/r/s"), missing("/qq")], &["Presence /q", "Presence /qq"]);
    check(vec![found("/p/src/a"), read("/p/src/a")], &["File /p/src/a"]);
    check(vec![found("/p/other")], &["Presence /p/other"]);
}

#[test]
fn the_toolchain_covers_its_own_parts_of_the_sysroot_alone() {
    check(
        vec![
            read("/rust/lib/rustlib/x86_64-unknown-linux-gnu/lib/libstd-1.rlib"),
            read("/rust/lib/librustc_driver-1.so"),
            read("/rust/lib/rustlib/src/rust/library/std/src/lib.rs"),
            read("/rust/lib/libother.so"),
            read("/rust/lib/rustlib/x/lib/../../../libforeign.so"),
            read("/rust/lib/rustlib/other/lib/libstd-1.rlib"),
        ],
        &[
            "File /rust/lib/libother.so",
            "File /rust/lib/rustlib/other/lib/libstd-1.rlib",
            "File /rust/lib/rustlib/src/rust/library/std/src/lib.rs",
            "File /rust/lib/rustlib/x/lib/../../../libforeign.so",
        ],
    );
}

#[test]
fn noise_ends_where_its_directory_ends() {
    check(vec![read("/proc/self/maps"), read("/dev/urandom"), read("/etc/ld.so.preload")], &[]);
    check(vec![read("/tmp/jobs"), read("/tmp/jobs2")], &["File /tmp/jobs2"]);
    check(vec![read("/process"), read("/etc/passwd")], &["File /etc/passwd", "File /process"]);
    check(vec![read("/t/out/x"), read("/t/out2/x")], &["File /t/out2/x"]);
    check(
        vec![read("/cache/lib/observe-1"), read("/cache/index"), read("/cache/x/y")],
        &["File /cache/x/y"],
    );
}

#[test]
fn execution_counts_that_were_written_are_nobodys_input() {
    let wrote = |path: &str| Access::Wrote(path.into());
    let profile = "/p/default_1.profraw";
    check(vec![missing(profile), read(profile), wrote(profile), found(profile)], &[]);
    check(vec![read(profile)], &["File /p/default_1.profraw"]);
    check(vec![read("/p/a"), wrote("/p/a")], &["File /p/a"]);
}

#[test]
fn which_java_machines_are_at_work_does_not_matter() {
    let directory = "/tmp/hsperfdata_me";
    let counters = ["/tmp/hsperfdata_me/1", "/tmp/hsperfdata_me/2"];
    let events = vec![
        found(directory),
        Access::Listed(directory.into()),
        read(counters[0]),
        Access::Removed(counters[0].into()),
        Access::Wrote(counters[1].into()),
    ];
    check(events.clone(), &[]);
    let observation = Observation {
        remaining: vec![counters[1].into()],
        effects: vec![directory.into(), counters[0].into()],
        ..observation(events)
    };
    assert_eq!(found_of(&observation), Ok(Found::default()));
    check(
        vec![read("/tmp/hsperfdata"), read("/p/hsperfdata_me/1"), read("/tmp/hsperfdata_me/1/x")],
        &["File /p/hsperfdata_me/1", "File /tmp/hsperfdata", "File /tmp/hsperfdata_me/1/x"],
    );
}

#[test]
fn what_is_made_of_a_temporary_name_does_not_depend_on_its_absence() {
    let wrote = |path: &str| Access::Wrote(path.into());
    check(vec![missing("/tmp/random"), wrote("/tmp/random"), found("/tmp")], &[]);
    check(
        vec![missing("/tmp/switch"), found("/tmp/flag")],
        &["Presence /tmp/flag", "Presence /tmp/switch"],
    );
    check(vec![missing("/p/a"), wrote("/p/a")], &["Presence /p/a"]);
    check(vec![read("/tmp/left"), missing("/tmp/a/b")], &["File /tmp/left", "Presence /tmp/a/b"]);
}

#[test]
fn what_the_kernel_shows_is_state_or_a_fact_or_cannot_be_followed() {
    let state = ["/proc/self/status", "/proc/12/task/13/maps", "/proc/sys/vm/overcommit_memory"];
    check(state.map(read).to_vec(), &[]);
    check(vec![read("/dev/null"), read("/dev/pts/1"), read("/sys/fs/cgroup/cpu.max")], &[]);
    check(vec![read("/sys/devices/system/cpu/online"), found("/proc/self/root")], &[]);
    let facts = ["/proc/cpuinfo", "/proc/sys/kernel/osrelease", "/proc/version"];
    check(facts.map(read).to_vec(), &["Machine kernel", "Machine processor"]);
    check(vec![Access::Machine(Fact::Kernel)], &["Machine kernel"]);
    check(
        vec![read("/dev/shm/a"), found("/dev/mapper")],
        &["File /dev/shm/a", "Presence /dev/mapper"],
    );
    for opaque in
        ["/proc/self/cwd/a", "/proc/1/task/1/root/a", "/proc/config.gz", "/sys/class/dmi/id"]
    {
        for access in [read(opaque), Access::Listed(opaque.into())] {
            assert_eq!(found_in(vec![access]), Err(Uncacheable::Opaque(opaque.into())));
        }
    }
    // Its version was asked for.
    check(vec![read("/usr/lib64/libc.so.6")], &["File /usr/lib64/libc.so.6"]);
    check(vec![missing("/sys/firmware/efi")], &["Presence /sys/firmware/efi"]);
}

#[test]
fn a_variable_is_an_input_unless_it_is_noise_for_whoever_asks() {
    let by = |name: &str, by: Option<&str>| Access::Variable {
        name: name.into(),
        by: by.map(PathBuf::from),
    };
    let compiler = Some("/rust/bin/rustc");
    check(vec![by("PATH", None), by("TERM", Some("/bin/x")), by("KACHE_LOG", None)], &[]);
    check(vec![by("CI", compiler), by("HOME", compiler)], &["Variable HOME"]);
    check(vec![by("CI", compiler), by("CI", None)], &["Variable CI"]);
    check(vec![by("MAKEFLAGS", compiler)], &[]);
    let make = Access::Executed("/usr/bin/make".into());
    check(vec![by("MAKEFLAGS", compiler), make], &["Variable MAKEFLAGS", "Program /usr/bin/make"]);
}

#[test]
fn whoever_goes_through_all_variables_depends_on_them_but_known_tools_do_not() {
    let all = |path: &str| Access::AllVariables(path.into());
    check(vec![all("/usr/bin/x86_64-linux-gnu-gcc-12"), all("/rust/bin/rustc")], &[]);
    check(vec![all("/t/script")], &[]);
    check(vec![all("/usr/bin/dash")], &["AllVariables "]);
}

#[test]
fn a_program_is_an_input_by_its_name_where_the_name_led_to_it() {
    let name = || OsString::from("cc");
    let path = || Some(PathBuf::from("/usr/bin/cc"));
    let run = || Access::Executed("/usr/bin/cc".into());
    let searched = |is_ours| Access::Searched { name: name(), path: path(), is_ours };
    check(vec![searched(true), run()], &["Program cc"]);
    check(vec![searched(false), run()], &["Program /usr/bin/cc"]);
    check(vec![run()], &["Program /usr/bin/cc"]);
    check(vec![Access::Searched { name: name(), path: None, is_ours: true }], &["Program cc"]);
}

#[test]
fn the_libraries_of_a_program_are_inputs_but_for_the_systems_c_library() {
    let loaded = |library: &str, by: &str| Access::Loaded {
        library: library.into(),
        by: Some(by.into()),
        passed_over: vec!["/opt/lib".into()],
    };
    check(vec![loaded("/lib/libz.so.1", "/rust/bin/rustc")], &[]);
    let path = ["Variable LD_LIBRARY_PATH", "Variable LD_PRELOAD"];
    check(
        vec![loaded("/lib/libc.so.6", "/usr/bin/ld")],
        &[
            "Presence /first/libc.so.6",
            "Presence /opt/lib/libc.so.6",
            "Presence /second/libc.so.6",
            path[0],
            path[1],
        ],
    );
    check(
        vec![loaded("/first/libm.so.6", "/usr/bin/ld")],
        &["File /first/libm.so.6", "Presence /opt/lib/libm.so.6", path[0], path[1]],
    );
    check(
        vec![loaded("/second/libbfd.so", "/usr/bin/ld")],
        &[
            "File /second/libbfd.so",
            "Presence /first/libbfd.so",
            "Presence /opt/lib/libbfd.so",
            path[0],
            path[1],
        ],
    );
}

#[test]
fn a_library_that_is_loaded_later_is_an_input_with_what_comes_along() {
    let opened = |library: &str| Access::OpenedLibrary(library.into());
    let loaded = |library: &str| Access::Loaded {
        library: library.into(),
        by: None,
        passed_over: Vec::new(),
    };
    check(vec![opened("/a/libx.so"), loaded("/a/libx.so")], &["File /a/libx.so"]);
    check(
        vec![opened("/a/libx.so"), loaded("/a/libx.so"), loaded("/first/liby.so")],
        &[
            "File /a/libx.so",
            "File /first/liby.so",
            "Variable LD_LIBRARY_PATH",
            "Variable LD_PRELOAD",
        ],
    );
    check(vec![opened("libm.so.6")], &[]);
    assert_eq!(found_in(vec![opened("libx.so")]), Err(Uncacheable::Library("libx.so".into())));
    for library in ["libc.so.6", "/lib/libc.so.6"] {
        let expected = Err(Uncacheable::CLibrary(library.into()));
        assert_eq!(found_in(vec![opened(library)]), expected);
    }
}
