//! Setting up, and finding what is wrong with a setup.

use crate::space::Space;
use snapbox::{assert_data_eq, str};
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
warning: `sccache` is replaced
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
