//! Setting up, and finding what is wrong with a setup.

use crate::space::Space;
use snapbox::{assert_data_eq, str};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The executable with a home directory of Cargo of its own, and `kache` not in `PATH`.
fn kache(space: &Space, arguments: &[&str]) -> Command {
    let mut command = space.kache(arguments);
    command.env("CARGO_HOME", space.path("cargo"));
    command
}

fn shown(space: &Space, arguments: &[&str]) -> String {
    let text = space.shown(&kache(space, arguments).output().unwrap());
    text.replace(env!("CARGO_BIN_EXE_kache"), "[KACHE]")
}

#[test]
fn init_sets_the_wrapper_once_and_keeps_the_rest_of_the_file() {
    let space = Space::new();
    let file = space.path("cargo/config.toml");
    std::fs::create_dir(space.path("cargo")).unwrap();
    std::fs::write(&file, "# mine\n[net]\nretry = 3 # three\n\n[build] # all\njobs = 2\n").unwrap();
    assert_data_eq!(
        shown(&space, &["init", "--check"]),
        str![[r#"
In [ROOT]/cargo/config.toml, [build]:
 rustc-wrapper = "[KACHE]"
exit status 1

"#]]
    );
    assert_data_eq!(
        shown(&space, &["init"]),
        str![[r#"
In [ROOT]/cargo/config.toml, [build]:
 rustc-wrapper = "[KACHE]"
error: there is no terminal to ask on
hint: `kache init -y` does not ask
exit status 2

"#]]
    );
    assert!(!std::fs::read_to_string(&file).unwrap().contains("rustc-wrapper"));
    assert_data_eq!(
        shown(&space, &["init", "-y"]),
        str![[r#"
In [ROOT]/cargo/config.toml, [build]:
 rustc-wrapper = "[KACHE]"
Done: every `cargo build` uses the cache now.
Next: build a project, then `kache stats`. `kache init --undo` takes this back.
exit status 0

"#]]
    );
    let text = std::fs::read_to_string(&file).unwrap();
    assert_data_eq!(
        text.replace(env!("CARGO_BIN_EXE_kache"), "[KACHE]"),
        str![[r##"
# mine
[net]
retry = 3 # three

[build] # all
jobs = 2
rustc-wrapper = "[KACHE]"

"##]]
    );
    assert_data_eq!(
        shown(&space, &["init", "-y"]),
        str![[r#"
Cargo uses kache already: [ROOT]/cargo/config.toml names `[KACHE]`
exit status 0

"#]]
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    assert_data_eq!(
        shown(&space, &["init", "--check"]),
        str![[r#"
Cargo uses kache already: [ROOT]/cargo/config.toml names `[KACHE]`
exit status 0

"#]]
    );
}

#[test]
fn init_makes_the_file_and_replaces_another_wrapper_with_a_warning() {
    let space = Space::new();
    let file = space.path("cargo/config.toml");
    assert!(kache(&space, &["init", "--yes"]).status().unwrap().success());
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("[build]\nrustc-wrapper = \"/"));
    std::fs::write(&file, "[build]\nrustc-wrapper = \"sccache\"\n").unwrap();
    assert_data_eq!(
        shown(&space, &["init", "-y"]),
        str![[r#"
In [ROOT]/cargo/config.toml, [build]:
 rustc-wrapper = "[KACHE]"
Done: every `cargo build` uses the cache now.
Next: build a project, then `kache stats`. `kache init --undo` takes this back.
warning: `sccache` is replaced: Cargo has one wrapper
exit status 0

"#]]
    );
    let stronger = kache(&space, &["init", "--check"]).env("RUSTC_WRAPPER", "sccache").output();
    assert_data_eq!(
        space.shown(&stronger.unwrap()).replace(env!("CARGO_BIN_EXE_kache"), "[KACHE]"),
        str![[r#"
In [ROOT]/cargo/config.toml, [build]:
 rustc-wrapper = "[KACHE]"
warning: RUSTC_WRAPPER sets `sccache`, which is stronger: remove it
exit status 1

"#]]
    );
}

#[test]
fn init_names_the_program_where_path_finds_it() {
    let space = Space::new();
    let bin = space.path("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_kache"), bin.join("kache")).unwrap();
    let status = kache(&space, &["init", "-y"]).env("PATH", &bin).status().unwrap();
    assert!(status.success());
    let text = std::fs::read_to_string(space.path("cargo/config.toml")).unwrap();
    assert_eq!(text, "[build]\nrustc-wrapper = \"kache\"\n");
}

/// A copy of the built store, which a test may damage.
fn built_copy() -> Space {
    let space = Space::new();
    let [from, to] = [Space::built().path("store"), space.path("store")];
    assert!(Command::new("cp").arg("-R").args([from, to]).status().unwrap().success());
    space
}

/// The findings alone: what is fine depends on the machine.
fn findings(space: &Space, arguments: &[&str]) -> String {
    let output = kache(space, arguments).env("RUSTC_WRAPPER", env!("CARGO_BIN_EXE_kache")).output();
    let text = space.shown(&output.unwrap());
    let lines = text.lines().filter(|line| !line.starts_with("ok"));
    lines.fold(String::new(), |text, line| text + line + "\n")
}

#[test]
fn the_doctor_finds_nothing_wrong_with_a_good_setup() {
    let space = built_copy();
    assert_data_eq!(
        findings(&space, &["doctor", "--verify"]),
        str![[r#"
exit status 0

"#]]
    );
    assert_data_eq!(
        findings(&space, &["doctor", "--checksums"]),
        str![[r#"
exit status 0

"#]]
    );
}

#[test]
fn the_doctor_names_what_is_wrong_and_the_remedy() {
    let space = Space::new();
    std::fs::write(space.path(".kache.toml"), "[cache]\nlink_mod = \"copy\"\n").unwrap();
    std::fs::create_dir(space.path("store")).unwrap();
    std::fs::write(space.path("store/index.damaged-1"), "").unwrap();
    let output = kache(&space, &["doctor"]).env("RUSTC_WRAPPER", "sccache").output().unwrap();
    let text = space.shown(&output);
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("ok")).collect();
    assert_data_eq!(
        lines.join("\n"),
        str![[r#"
finding [ROOT]/.kache.toml:2: `link_mod` is not a known key; did you mean `link_mode`?
 it has no effect
finding RUSTC_WRAPPER sets another wrapper, `sccache`
 unset the variable
finding [ROOT]/store/index.damaged-1 is damaged and not in use
 `kache doctor --fix` removes it

3 findings
exit status 1
"#]]
    );
}

/// Any name with `.damaged-` in it went, a user's own files among them.
#[test]
fn the_doctor_removes_what_kache_set_aside_and_nothing_else() {
    let space = Space::new();
    std::fs::create_dir(space.path("store")).unwrap();
    let path = |name: &&str| space.path("store").join(name);
    let set_aside = ["index.damaged-1", "memo.damaged-4"];
    let others = [
        "photos.damaged-2024.tar",
        "my-index.damaged-1",
        "index.damaged-1.tar",
        "index.damaged-12",
        "memo.damaged-",
    ];
    for file in set_aside.iter().chain(&others) {
        std::fs::write(path(file), "precious").unwrap();
    }
    let text = shown(&space, &["doctor", "--fix"]);
    assert_eq!(text.matches("is damaged and not in use: removed").count(), 2, "{text}");
    assert!(set_aside.iter().all(|file| !path(file).exists()), "{text}");
    assert!(others.iter().all(|file| path(file).exists()), "{text}");
}

#[test]
fn the_doctor_sets_the_wrapper_when_asked() {
    let space = Space::new();
    let fixed = shown(&space, &["doctor", "--fix"]);
    assert!(
        fixed.contains("fixed Cargo uses no wrapper here: set in [ROOT]/cargo/config.toml"),
        "{fixed}"
    );
    let again = shown(&space, &["doctor"]);
    assert!(again.contains("ok wrapper [KACHE], set by [ROOT]/cargo/config.toml"), "{again}");
}

/// The files of a store, in the order of their digests.
fn blobs(space: &Space) -> Vec<PathBuf> {
    let shards = std::fs::read_dir(space.path("store/blobs")).unwrap();
    let files = shards.flat_map(|shard| std::fs::read_dir(shard.unwrap().path()).unwrap());
    let mut blobs: Vec<_> = files.map(|blob| blob.unwrap().path()).collect();
    blobs.sort();
    blobs
}

fn rewrite(path: &Path, change: fn(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    std::fs::remove_file(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

/// How many lines of what the doctor says begin with a word.
fn count(space: &Space, arguments: &[&str], word: &str) -> usize {
    findings(space, arguments).lines().filter(|line| line.starts_with(word)).count()
}

#[test]
fn damaged_files_of_the_store_are_found_and_their_results_removed() {
    let space = built_copy();
    let blobs = blobs(&space);
    rewrite(&blobs[0], |bytes| bytes[0] ^= 1);
    assert_eq!(count(&space, &["doctor", "--verify"], "finding"), 0);
    assert_eq!(count(&space, &["doctor", "--checksums"], "finding"), 1);
    rewrite(&blobs[1], |bytes| bytes.truncate(bytes.len() / 2));
    assert_eq!(count(&space, &["doctor", "--verify"], "finding"), 1);
    std::fs::remove_file(&blobs[2]).unwrap();
    let all = count(&space, &["doctor", "--checksums"], "finding");
    assert_eq!(count(&space, &["doctor", "--checksums", "--repair"], "fixed"), all);
    assert_eq!(count(&space, &["doctor", "--checksums"], "finding"), 0);
    assert!(!blobs[0].exists() && !blobs[1].exists());
    let results = space.json(&["stats", "--json"])["storage"]["results"].as_u64().unwrap();
    assert_eq!(results, 7 - all as u64);
}

/// Of two damaged files of one result, the second stayed: the first was enough to remove the result.
#[test]
fn a_repair_leaves_no_damaged_file_behind() {
    let space = built_copy();
    for blob in blobs(&space) {
        rewrite(&blob, |bytes| bytes[0] ^= 1);
    }
    assert_eq!(count(&space, &["doctor", "--checksums", "--repair"], "fixed"), 7);
    assert_eq!(blobs(&space), Vec::<PathBuf>::new());
}

#[test]
fn clean_shows_what_each_target_directory_frees_and_removes_them_when_told_to() {
    let space = Space::new();
    let first = Space::built().path("demo/first");
    assert!(
        Command::new("cp").arg("-R").args([first, space.path("w")]).status().unwrap().success()
    );
    assert_data_eq!(
        space.run(&["clean", "--dry-run"]),
        str![[r#"
 size frees last used target directory
[SIZE] [SIZE] [AGO] [ROOT]/w/target
exit status 0

"#]]
    );
    assert_data_eq!(
        space.run(&["clean"]),
        str![[r#"
 size frees last used target directory
[SIZE] [SIZE] [AGO] [ROOT]/w/target
error: there is no terminal to ask on
hint: `kache clean -y` does not ask
exit status 2

"#]]
    );
    assert!(space.path("w/target").exists());
    assert_data_eq!(
        space.run(&["clean", "-y", "w"]),
        str![[r#"
 size frees last used target directory
[SIZE] [SIZE] [AGO] [ROOT]/w/target
Removed 1 target directory.
exit status 0

"#]]
    );
    assert!(!space.path("w/target").exists() && space.path("w/Cargo.toml").exists());
    assert_data_eq!(
        space.run(&["clean"]),
        str![[r#"
No target directory below [ROOT].
exit status 0

"#]]
    );
    let shared = Space::built().run(&["clean", "-n", "demo"]);
    let rows: Vec<_> = shared.lines().filter(|line| line.starts_with("[SIZE]")).collect();
    assert_eq!(rows.len(), 3, "two directories, and both together: {shared}");
}

#[test]
fn init_can_be_undone_to_the_byte() {
    let space = Space::new();
    let file = space.path("cargo/config.toml");
    std::fs::create_dir(space.path("cargo")).unwrap();
    for text in ["# mine\n[net]\nretry = 3\n", "[build]\nrustc-wrapper = \"/opt/sccache\" # why\n"]
    {
        std::fs::write(&file, text).unwrap();
        assert!(kache(&space, &["init", "-y"]).status().unwrap().success());
        assert_ne!(std::fs::read_to_string(&file).unwrap(), text);
        assert!(kache(&space, &["init", "--undo", "-y"]).status().unwrap().success());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    }
    assert!(kache(&space, &["init", "-y"]).status().unwrap().success());
    assert_data_eq!(
        shown(&space, &["init", "--undo", "--check"]),
        str![[r#"
In [ROOT]/cargo/config.toml, [build]:
 rustc-wrapper = "/opt/sccache" again
exit status 1

"#]]
    );
    assert_data_eq!(
        shown(&space, &["init", "--undo", "-y"]),
        str![[r#"
In [ROOT]/cargo/config.toml, [build]:
 rustc-wrapper = "/opt/sccache" again
Done: builds no longer use the cache. `kache purge` empties the store.
exit status 0

"#]]
    );
    assert_data_eq!(
        shown(&space, &["init", "--undo"]),
        str![[r#"
Nothing to undo: [ROOT]/cargo/config.toml does not name kache.
exit status 0

"#]]
    );
    std::fs::remove_file(&file).unwrap();
    assert!(kache(&space, &["init", "-y"]).status().unwrap().success());
    assert_data_eq!(
        shown(&space, &["init", "--undo", "-y"]),
        str![[r#"
From [ROOT]/cargo/config.toml, [build]:
 rustc-wrapper is removed
Done: builds no longer use the cache. `kache purge` empties the store.
exit status 0

"#]]
    );
    assert!(!file.exists(), "init made the file, so undoing it removes it");
}

#[test]
fn init_installs_the_daemons_service_where_there_is_a_remote() {
    let space = Space::new();
    let home = space.path("home");
    // What tells systemd is not to reach the one of this machine.
    let told = space.path("told");
    let bin = space.path("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let script = format!("#!/bin/sh\necho \"$@\" >> '{}'\n", told.display());
    let systemctl = bin.join("systemctl");
    std::fs::write(&systemctl, script).unwrap();
    std::fs::set_permissions(&systemctl, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let run = |arguments: &[&str]| {
        let path = format!("{}:/usr/bin:/bin", bin.display());
        kache(&space, arguments)
            .env("PATH", path)
            .env("HOME", &home)
            .env("KACHE_S3_BUCKET", "builds")
            .output()
            .unwrap()
    };
    let unit = home.join(".config/systemd/user/kache.service");
    assert!(run(&["init", "-y", "--no-service"]).status.success());
    assert!(!unit.exists());
    let text = |output: std::process::Output| String::from_utf8(output.stdout).unwrap();
    assert!(text(run(&["init", "--check"])).contains("as a service"));
    assert!(run(&["init", "-y"]).status.success());
    let written = std::fs::read_to_string(&unit).unwrap();
    assert!(written.contains("kache\" daemon run\n"), "{written}");
    assert!(!text(run(&["init", "--check"])).contains("as a service"));
    assert!(run(&["daemon", "uninstall"]).status.success());
    assert!(!unit.exists());
    let told = std::fs::read_to_string(told).unwrap();
    let expected = "--user daemon-reload\n--user enable --now kache.service\n\
                    --user disable --now kache.service\n--user daemon-reload\n";
    assert_eq!(told, expected);
    // One that the system does not take is not left to be taken for one that runs.
    std::fs::write(&systemctl, "#!/bin/sh\nexit 1\n").unwrap();
    let output = run(&["init", "-y"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.contains("--no-service`"), "{error}");
    assert!(!unit.exists());
}

#[test]
fn init_does_its_work_whoever_reads_what_it_says() {
    let space = Space::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = kache(&space, &["init", "-y"]).stdout(writer).status().unwrap();
    assert_eq!(status.code(), Some(0));
    let text = std::fs::read_to_string(space.path("cargo/config.toml")).unwrap();
    assert!(text.contains("rustc-wrapper"), "{text}");
}

#[test]
fn an_empty_variable_and_the_older_file_are_what_cargo_goes_by() {
    let space = Space::new();
    assert!(kache(&space, &["init", "-y"]).output().unwrap().status.success());
    let check = |variable: Option<&str>| {
        let mut command = kache(&space, &["init", "--check"]);
        command.envs(variable.map(|name| (name, "")));
        command.output().unwrap().status.code()
    };
    assert_eq!(check(None), Some(0));
    assert_eq!(check(Some("RUSTC_WRAPPER")), Some(1), "Cargo uses no wrapper");
    std::fs::write(space.path("cargo/config"), "[build]\nrustc-wrapper = \"other\"\n").unwrap();
    assert_eq!(check(None), Some(1), "Cargo prefers that file");
}

#[test]
fn a_remote_that_is_half_configured_is_named() {
    let space = Space::new();
    let file = space.path("config.toml");
    for (line, problem) in [
        ("type = \"filesystem\"", "`remote.path` is not set"),
        ("path = \"/shared\"", "`remote.type` is not `filesystem`"),
    ] {
        std::fs::write(&file, format!("[cache.remote]\n{line}\n")).unwrap();
        for command in ["doctor", "sync"] {
            let output = kache(&space, &[command]).env("KACHE_CONFIG", &file).output().unwrap();
            let text = space.shown(&output);
            assert!(!output.status.success() && text.contains(problem), "{command}: {text}");
        }
    }
}

/// What loads the recorder takes a list, which a space separates on Linux.
#[cfg(target_os = "linux")]
#[test]
fn a_store_whose_path_keeps_the_recorder_out_is_named_with_the_remedy() {
    let space = Space::new();
    let store = space.path("my store");
    let mut command = kache(&space, &["doctor"]);
    let output = command.env("KACHE_CACHE_DIR", store).output().unwrap();
    let text = space.shown(&output);
    assert!(!output.status.success() && text.contains("holds a space"), "{text}");
    assert!(text.contains("set `local_store` to a path without"), "{text}");
}

/// It was called another wrapper, without a name, with a remedy that changed nothing.
#[test]
fn an_empty_variable_is_named_with_its_remedy() {
    let space = Space::new();
    assert!(kache(&space, &["init", "-y"]).output().unwrap().status.success());
    let run = |arguments: &[&str]| {
        space.shown(&kache(&space, arguments).env("RUSTC_WRAPPER", "").output().unwrap())
    };
    let doctor = run(&["doctor"]);
    let expected =
        "finding RUSTC_WRAPPER is empty, so that Cargo uses no wrapper\n unset the variable\n";
    assert!(doctor.contains(expected), "{doctor}");
    let init = run(&["init", "--check"]);
    assert!(
        init.contains("warning: RUSTC_WRAPPER is empty, which is stronger: unset it\n"),
        "{init}"
    );
    let cargo = run(&["cargo", "--version"]);
    assert!(!cargo.contains("warning"), "no wrapper is replaced: {cargo}");
}

#[test]
fn init_names_a_file_that_is_not_toml_and_shows_no_change_of_it() {
    let space = Space::new();
    std::fs::create_dir(space.path("cargo")).unwrap();
    std::fs::write(space.path("cargo/config.toml"), "[build\n").unwrap();
    for arguments in [&["init", "--check"][..], &["init", "-y"]] {
        let text = shown(&space, arguments);
        assert!(text.starts_with("error: [ROOT]/cargo/config.toml is not TOML: "), "{text}");
        assert!(text.ends_with("hint: correct the file first\nexit status 2\n"), "{text}");
    }
}

#[test]
fn init_says_plainly_that_there_is_no_systemd() {
    let space = Space::new();
    let output = kache(&space, &["init", "-y"])
        .env("PATH", space.path("bin"))
        .env("KACHE_S3_BUCKET", "builds")
        .output()
        .unwrap();
    let text = space.shown(&output).replace(env!("CARGO_BIN_EXE_kache"), "[KACHE]");
    assert_data_eq!(
        text,
        str![[r#"
In [ROOT]/cargo/config.toml, [build]:
 rustc-wrapper = "[KACHE]"
The daemon, which shares results through the remote, as a service of yours
error: the wrapper is set, and no service is made (a build starts a daemon where there is none): run `systemctl --user daemon-reload`: No such file or directory (os error 2)
hint: `kache init --no-service` asks for none
exit status 1

"#]]
    );
}
