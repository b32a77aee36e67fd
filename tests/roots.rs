//! Roots: names relative to them, text without them, and their traces in outputs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use kache::invocation::{Invocation, Parsed, depinfo, parse};
use kache::roots::{RootSet, Roots};
use proptest::prelude::*;
use store_format::{Root, RootedPath};

fn invocation(arguments: &str) -> Invocation {
    let arguments =
        ["rustc"].into_iter().chain(arguments.split(' ')).map(OsString::from).collect::<Vec<_>>();
    match parse(&arguments, |_| None) {
        Parsed::Compile(invocation) => *invocation,
        Parsed::Pass(reason) => panic!("{reason}"),
    }
}

fn derive(arguments: &str, directory: &str, environment: &[(&str, &str)]) -> Roots {
    let variable = |name: &str| {
        let found = environment.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| OsString::from(value))
    };
    Roots::derive(&invocation(arguments), Path::new(directory), variable)
}

/// A member of a workspace, as Cargo compiles it today.
fn member() -> Roots {
    derive(
        "--crate-name a src/lib.rs --crate-type lib --out-dir /p/target/debug/deps \
         -L dependency=/p/target/debug/deps -C incremental=/p/target/debug/incremental",
        "/p",
        &[("HOME", "/home/u"), ("CARGO_MANIFEST_DIR", "/p/a")],
    )
}

fn place(roots: &Roots, root: Root) -> Option<&str> {
    roots.path(root).and_then(Path::to_str)
}

#[test]
fn the_build_root_is_what_all_product_directories_share() {
    let check = |arguments: &str, directory: &str, out_dir: Option<&str>, expected: &str| {
        let arguments = format!("--crate-name a src/lib.rs --crate-type lib {arguments}");
        let mut environment = vec![("HOME", "/home/u")];
        environment.extend(out_dir.map(|value| ("OUT_DIR", value)));
        let roots = derive(&arguments, directory, &environment);
        assert_eq!(place(&roots, Root::Build), Some(expected), "{arguments}");
    };
    let old = "--out-dir /p/target/debug/deps -L dependency=/p/target/debug/deps";
    check(old, "/p", None, "/p/target/debug/deps");
    check(old, "/p", Some("/p/target/debug/build/a-1/out"), "/p/target/debug");
    // A dependent of a crate with C code gets that one's output directory, whatever is in it.
    let native =
        format!("{old} -L native=/p/target/debug/build/z-sys-1/out/lib -L native=/usr/lib");
    check(&native, "/home/u/.cargo/registry/src/i/z-1", None, "/p/target/debug");
    let cross = "--out-dir /p/target/x86_64-unknown-linux-gnu/debug/deps \
                 -L dependency=/p/target/x86_64-unknown-linux-gnu/debug/deps \
                 -L dependency=/p/target/debug/deps";
    check(cross, "/p", None, "/p/target");
    let new = "--out-dir /p/target/debug/build/a/1/out -L dependency=/p/target/debug/build/b/2/out \
               -L native=/p/target/debug/build/c/3/out";
    check(new, "/p", None, "/p/target/debug/build");
    // Relative, and a build directory around the workspace.
    check("--out-dir target/debug/deps", "/p", None, "/p/target/debug/deps");
    check("--out-dir /b/deps", "/b/work", Some("/b/build/a-1/out"), "/b/deps");
}

#[test]
fn the_longest_root_names_a_path() {
    let roots = member();
    let named = |path: &str| {
        let rooted = roots.relativize(path.as_bytes());
        (rooted.root, String::from_utf8(rooted.path).unwrap())
    };
    assert_eq!(named("/p/src/lib.rs"), (Some(Root::Workspace), "src/lib.rs".into()));
    assert_eq!(named("src/lib.rs"), (Some(Root::Workspace), "src/lib.rs".into()));
    assert_eq!(named("target/debug/deps/x"), (Some(Root::Build), "deps/x".into()));
    assert_eq!(named("/p"), (Some(Root::Workspace), String::new()));
    assert_eq!(named("/p2/x"), (None, "/p2/x".into()));
    assert_eq!(named("/home/u/.cargo/bin"), (Some(Root::CargoHome), "bin".into()));
    assert_eq!(named("/home/u/.cargo2"), (Some(Root::Home), ".cargo2".into()));
    let foreign = RootedPath { root: Some(Root::Sysroot), path: b"lib".to_vec() };
    assert_eq!(roots.resolve(&foreign), None);
}

#[test]
fn only_whole_components_are_replaced_in_text() {
    let roots = member();
    let kept = [
        "/p2/x", "/px", "/p.d", "/p-1/x", "/mnt/p/x", "a/p/x", "./p/x", "/p\u{e9}", "/pp", "x-L/p",
        "/p\\ q/x", "//p",
    ];
    for text in kept {
        assert_eq!(roots.template(text.as_bytes()), text.as_bytes(), "{text}");
    }
    let replaced = [
        "/p",
        "/p/x",
        "-L/p/x",
        "-Wl,-rpath,/p",
        "native=/p",
        "\"/p\"",
        "(/p)",
        "\\n/p/x:3",
        "x /p ",
        "\u{1b}[1m/p/x",
        "\\u001b[38;5;9m/p",
        "file:///p/x",
        "/q:/p",
        "'/p'",
        "</p>",
    ];
    for text in replaced {
        let expected = text.replacen("/p", "\x001\0", 1);
        assert_eq!(roots.template(text.as_bytes()), expected.as_bytes(), "{text}");
    }
    let both = roots.template(b"/p/target/debug/deps /p/target/debugger");
    assert_eq!(both, b"\x003\0/deps \x001\0/target/debugger");
}

#[test]
fn text_moves_from_one_place_to_another() {
    let there = derive(
        "--crate-name a src/lib.rs --crate-type lib --out-dir /x/my-build/deps \
         -L dependency=/x/my-build/deps -C incremental=/x/my-build/incremental",
        "/srv/a checkout",
        &[("HOME", "/root"), ("CARGO_HOME", "/ci/cargo")],
    );
    let here = member();
    let text = b"warning: unused\n --> /p/src/lib.rs:1:1 /p/target/debug/x /home/u/.cargo/y \0";
    let moved = there.expand(&here.template(text)).unwrap();
    let expected =
        b"warning: unused\n --> /srv/a checkout/src/lib.rs:1:1 /x/my-build/x /ci/cargo/y \0";
    assert_eq!(moved, expected);
    assert_eq!(here.expand(&there.template(&moved)).unwrap(), text);
    let rules = b"/p/target/debug/a.d: /p/src/lib.rs\n\n# env-dep:CARGO_MANIFEST_DIR=/p\n";
    let moved = there.expand(&depinfo::template(rules, &here)).unwrap();
    let expected = b"/x/my-build/a.d: /srv/a\\ checkout/src/lib.rs\n\n\
                     # env-dep:CARGO_MANIFEST_DIR=/srv/a checkout\n";
    assert_eq!(String::from_utf8_lossy(&moved), String::from_utf8_lossy(expected));
    assert_eq!(here.expand(&depinfo::template(&moved, &there)).unwrap(), rules);
}

#[test]
fn what_is_no_template_is_not_expanded() {
    let roots = member();
    for bad in [&b"\0"[..], b"\x001", b"\x001x", b"a\x009\0", b"\x00\0\0", b"\x005\0", b"\x00E\0"] {
        assert_eq!(roots.expand(bad), None, "{bad:?}");
    }
    assert_eq!(roots.expand(b"\x000\0").unwrap(), b"\0");
}

#[test]
fn a_root_survives_wherever_its_bytes_are() {
    let roots = member();
    let found = |bytes: &[u8]| roots.surviving(bytes).iter().collect::<Vec<_>>();
    assert_eq!(found(b"nothing /home/v here"), []);
    assert_eq!(found(b"abc/home/u/.cargo/x"), [Root::CargoHome, Root::Home]);
    assert_eq!(found(b"x/home/users"), [Root::Home]);
    assert_eq!(found(b"\xff\0/p/target/debug\0"), [Root::Workspace, Root::Build]);
    let mut spaced = roots.clone();
    spaced.set(Root::Build, Path::new("/q/my build/"));
    assert_eq!(spaced.surviving(b"/q/my\\ build/x").iter().collect::<Vec<_>>(), [Root::Build]);
    assert_eq!(spaced.longest_bytes(), "/home/u/.cargo".len());
}

#[test]
fn awkward_directories_stay_literal() {
    for directory in ["/", "", "relative", "/a\\b", "/a\"b", "/a\nb"] {
        let mut roots = Roots::default();
        roots.set(Root::Workspace, Path::new(directory));
        assert_eq!(roots.path(Root::Workspace), None, "{directory:?}");
    }
    let mut roots = Roots::default();
    roots.set(Root::Workspace, Path::new("/a/"));
    roots.set(Root::Package, Path::new("/a"));
    assert_eq!(roots.path(Root::Workspace), Some(Path::new("/a")));
    assert_eq!(roots.path(Root::Package), None);
}

#[test]
fn the_compiler_is_told_the_longest_root_last() {
    let arguments = |roots: &Roots, scope| {
        let list = roots.remap_arguments(scope);
        list.into_iter().map(|argument| argument.into_string().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(
        arguments(&member(), true),
        [
            "--remap-path-prefix=/p=.",
            "--remap-path-prefix=/home/u/.cargo=/kache-cargo",
            "--remap-path-prefix=/p/target/debug=/kache-build",
            "--remap-path-scope=macro,debuginfo,coverage",
        ]
    );
    let registry = derive(
        "--crate-name s /home/u/.cargo/registry/src/i/s-1/src/lib.rs --crate-type lib",
        "/home/u/.cargo/registry/src/i/s-1",
        &[("HOME", "/home/u")],
    );
    let cargo_home = "--remap-path-prefix=/home/u/.cargo=/kache-cargo";
    assert_eq!(arguments(&registry, false), [cargo_home]);
    let outside = derive(
        "--crate-name d_lib /else/d/src/lib.rs --crate-type lib",
        "/else/d",
        &[("HOME", "/home/u"), ("CARGO_PKG_NAME", "d")],
    );
    let package = "--remap-path-prefix=/else/d=/kache-package/d";
    assert_eq!(arguments(&outside, false), [package, cargo_home]);
    let split = derive(
        "--crate-name a src/lib.rs --crate-type lib --out-dir /p/target/debug/deps -g \
         -C split-debuginfo=unpacked --remap-path-scope=object",
        "/p",
        &[],
    );
    let build = "--remap-path-prefix=/p/target/debug/deps=/p/target/debug/deps";
    assert_eq!(arguments(&split, true), ["--remap-path-prefix=/p=.", build]);
}

fn any_roots() -> impl Strategy<Value = Roots> {
    let name = "[ab][ab .]{0,2}";
    prop::collection::vec((0..6_usize, prop::collection::vec(name, 1..4)), 0..7).prop_map(|list| {
        let mut roots = Roots::default();
        let kinds = [
            Root::Workspace,
            Root::Package,
            Root::Build,
            Root::CargoHome,
            Root::Sysroot,
            Root::Home,
        ];
        for (kind, components) in list {
            let mut path = PathBuf::from("/");
            path.extend(components);
            roots.set(kinds[kind], &path);
        }
        roots
    })
}

fn any_text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..6),
        "[ab /.\\\\]{0,12}".prop_map(String::into_bytes),
        "\x00[0-9A-H]\x00".prop_map(String::into_bytes),
        Just(b"\n# env-dep:".to_vec()),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_come_back_from_a_template(roots in any_roots(), text in any_text()) {
        prop_assert_eq!(roots.expand(&roots.template(&text)), Some(text.clone()));
        prop_assert_eq!(roots.expand(&roots.template_makefile(&text)), Some(text.clone()));
        prop_assert_eq!(roots.expand(&depinfo::template(&text, &roots)), Some(text));
    }

    #[test]
    fn a_template_holds_no_root_that_the_search_does_not_find(
        roots in any_roots(),
        text in any_text(),
    ) {
        let contains = |path: &Path| {
            let path = path.to_str().unwrap().as_bytes();
            text.windows(path.len()).any(|window| window == path)
        };
        let found = roots.surviving(&text);
        let mut expected = RootSet::default();
        for kind in [Root::Workspace, Root::Build, Root::CargoHome, Root::Home] {
            if roots.path(kind).is_some_and(contains) {
                expected.insert(kind);
                prop_assert!(found.contains(kind));
            }
        }
        if found.is_empty() {
            let templated = roots.template(&text);
            prop_assert_eq!(roots.surviving(&templated), found);
        }
    }

    #[test]
    fn a_name_leads_back_to_its_path(roots in any_roots(), path in "(/[ab .]{1,3}){1,5}") {
        let rooted = roots.relativize(path.as_bytes());
        prop_assert_eq!(roots.resolve(&rooted), Some(PathBuf::from(path)));
    }
}
