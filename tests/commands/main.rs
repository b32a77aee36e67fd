//! The commands as a user meets them: what they print, and with which exit status, on a store that
//! real builds have filled.
//!
//! `SNAPSHOTS=overwrite cargo test --test commands` accepts what they print now.
#![expect(clippy::needless_raw_string_hashes, reason = "snapshots are written with them")]

mod configuration;
#[path = "../support/removal.rs"]
mod removal;
mod report;
mod setup;
mod space;
mod store;

use snapbox::{assert_data_eq, str};
use space::Space;
use std::process::Stdio;

#[test]
fn without_arguments_there_is_help() {
    assert_data_eq!(
        Space::new().run(&[]),
        str![[r#"
A zero-copy, content-addressed build cache for Rust: hardlinks locally, S3 for sharing

Usage: kache [OPTIONS] [COMMAND]

Commands:
 cargo Run Cargo through the cache, nothing configured
 demo Build a small sample twice and show what was reused
 init Make Cargo use the cache for every build
 doctor Find what is wrong with the setup, and what to do about it
 stats Show what the cache did
 list List what the store holds
 report Show builds in detail
 monitor Watch builds, the store and what is not cached, live
 why-miss Name the input that differed when a crate was compiled again
 sync Bring what builds made to the remote, and what they need from there
 save-manifest Tell the remote what this workspace's builds used, for others to fetch ahead
 gc Bring the store within its cap
 purge Remove results from the store
 clean Find target directories, and show what each would really free
 config Read and change the configuration
 daemon Run, start, stop and ask the daemon that shares results through a remote
 completions Print completions for a shell
 help Print this message or the help of the given subcommand(s)

Options:
 -q, --quiet Only data and errors, no notes
 -h, --help Print help
 -V, --version Print version

Try `kache cargo build`: Cargo through the cache, nothing configured.
exit status 0

"#]]
    );
}

#[test]
fn wrong_usage_ends_with_2_and_a_broken_pipe_with_0() {
    let space = Space::new();
    for arguments in [&["stats", "--since", "1y"][..], &["lst"], &["list", "--sort", "colour"]] {
        let output = space.kache(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = space.kache(&["config", "list"]).stdout(writer).status().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn cargo_keeps_its_exit_status_and_its_options() {
    let space = Space::new();
    let output = space.kache(&["cargo", "--quiet", "no-such-command"]).output().unwrap();
    assert_eq!(output.status.code(), Some(101));
    let output = space.kache(&["cargo", "--version"]).output().unwrap();
    assert!(output.stdout.starts_with(b"cargo "), "{output:?}");
    // An option that both have is Cargo's.
    let output = space.kache(&["cargo", "-q", "new", "--vcs=none", "quiet"]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    let output = space.kache(&["cargo", "--version"]).env("CARGO", "/nowhere/cargo").output();
    assert_data_eq!(
        space.shown(&output.unwrap()),
        str![[r#"
error: `/nowhere/cargo` was not found
hint: install Rust, or put the directory of `cargo` in PATH
exit status 2

"#]]
    );
}

#[test]
fn a_demo_that_is_interrupted_leaves_nothing() {
    use std::os::unix::process::ExitStatusExt;
    let space = Space::new();
    let temporary = space.path("temporary");
    std::fs::create_dir(&temporary).unwrap();
    let mut demo = space.kache(&["demo"]);
    let demo = demo.env("TMPDIR", &temporary).stdout(Stdio::null()).stderr(Stdio::null());
    let mut demo = demo.spawn().unwrap();
    let is_empty = || std::fs::read_dir(&temporary).unwrap().next().is_none();
    while is_empty() {
        assert_eq!(demo.try_wait().unwrap(), None);
    }
    let pid = i32::try_from(demo.id()).ok().and_then(rustix::process::Pid::from_raw).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(demo.wait().unwrap().signal(), Some(15));
    assert!(is_empty());
}

#[test]
fn cargo_warns_when_another_wrapper_is_configured() {
    let space = Space::new();
    let version = || space.kache(&["cargo", "--version"]);
    let output = version().env("RUSTC_WRAPPER", "sccache").output().unwrap();
    assert_data_eq!(
        String::from_utf8(output.stderr).unwrap(),
        str![[r#"
warning: RUSTC_WRAPPER sets the wrapper `sccache`; this command uses kache in its place

"#]]
    );
    std::fs::create_dir(space.path(".cargo")).unwrap();
    let config = space.path(".cargo/config.toml");
    std::fs::write(&config, "[build]\nrustc-wrapper = \"/opt/sccache\"\n").unwrap();
    let output = version().output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_data_eq!(
        text.replace(space.root.path().to_str().unwrap(), "[ROOT]"),
        str![[r#"
warning: [ROOT]/.cargo/config.toml sets the wrapper `/opt/sccache`; this command uses kache in its place

"#]]
    );
    std::fs::write(&config, "[build]\nrustc-wrapper = \"kache\"\n").unwrap();
    assert!(version().output().unwrap().stderr.is_empty());
}

#[test]
fn completions_name_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = Space::new().kache(&["completions", shell]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        for command in ["cargo", "demo", "stats", "list", "report", "why-miss", "purge", "config"] {
            assert!(text.contains(command), "{shell} does not complete {command}");
        }
    }
}

/// What nobody is to type was offered.
#[test]
fn completions_keep_to_what_the_help_shows() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = Space::new().kache(&["completions", shell]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        for hidden in ["examine", "max-size", "detach", "sysroot"] {
            assert!(!text.contains(hidden), "{shell} completes {hidden}");
        }
        for shown in ["max-age", "dry-run", "quiet", "why-miss", "uninstall", "version"] {
            assert!(text.contains(shown), "{shell} does not complete {shown}");
        }
    }
}

/// The commands that the help lists.
fn commands() -> Vec<String> {
    let help = Space::new().run(&["--help"]);
    let commands = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let names = commands.lines().filter_map(|line| line.split_whitespace().next());
    let names: Vec<_> = names.filter(|name| *name != "help").map(str::to_owned).collect();
    assert!(names.len() > 10, "{names:?}");
    names
}

#[test]
fn each_command_has_an_example_that_it_understands() {
    let space = Space::new();
    for name in commands() {
        let help = space.run(&[&name, "--help"]);
        let example = help.lines().find_map(|line| line.strip_prefix("Example: kache "));
        let example = example.unwrap_or_else(|| panic!("{help}"));
        let words =
            example.split(" > ").next().unwrap().split(' ').map(|word| word.trim_matches('\''));
        // The help of a command that is wrong in any other way is not reached.
        let arguments: Vec<_> =
            words.take_while(|word| *word != "build").chain(["--help"]).collect();
        let shown = space.kache(&arguments).output().unwrap();
        assert!(shown.status.success(), "{example}: {shown:?}");
    }
}

#[test]
fn the_readme_describes_every_command() {
    let readme = include_str!("../../README.md");
    let mut expected = commands();
    let described = readme.lines().filter_map(|line| line.strip_prefix("| `kache "));
    let mut described: Vec<_> =
        described.filter_map(|line| line.split([' ', '`']).next()).collect();
    expected.sort_unstable();
    described.sort_unstable();
    assert_eq!(described, expected);
}
