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
    let mut roots = Roots::derive(&invocation(arguments), Path::new(directory), variable);
    // What lies below `/else` is vendored.
    roots.tell_package(|path| path.starts_with("/else"));
    roots
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
    // A Cargo that another build's test runs leaves that one's directory in the environment.
    check(old, "/p", Some("/q/target/debug/build/a-1/out"), "/p/target/debug/deps");
    check(old, "/p", Some("/p/target/debug/deps/build/a-1/out"), "/p/target/debug/deps");
    let nested = "--out-dir /p/target/debug/build/a-1/out/t/debug/deps";
    let deps = "/p/target/debug/build/a-1/out/t/debug/deps";
    check(nested, "/p", Some("/p/target/debug/build/a-1/out"), deps);
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

/// As images of containers have them.
#[test]
fn what_the_system_has_beside_a_checkout_is_not_named_from_there() {
    let roots = derive("--crate-name a src/lib.rs", "/usr/src/app", &[("HOME", "/root")]);
    let named = |path: &str| {
        let rooted = roots.relativize(path.as_bytes());
        (rooted.root, String::from_utf8(rooted.path).unwrap())
    };
    assert_eq!(named("/usr/lib/libc.so"), (None, "/usr/lib/libc.so".into()));
    assert_eq!(named("/usr/src/other/x"), (Some(Root::Workspace), "../other/x".into()));
    assert!(roots.is_near(b"/usr/lib/libc.so") && !roots.is_near(b"/etc/passwd"));
    assert!(!member().is_near(b"/usr/lib/libc.so"));
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
    let arguments = |roots: &Roots| {
        let list = roots.remap_arguments();
        list.into_iter().map(|argument| argument.into_string().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(
        arguments(&member()),
        [
            "--remap-path-prefix=/p=.",
            "--remap-path-prefix=/home/u/.cargo=/kache-cargo",
            "--remap-path-prefix=/p/target/debug=/kache-build",
        ]
    );
    let registry = derive(
        "--crate-name s /home/u/.cargo/registry/src/i/s-1/src/lib.rs --crate-type lib",
        "/home/u/.cargo/registry/src/i/s-1",
        &[("HOME", "/home/u")],
    );
    let cargo_home = "--remap-path-prefix=/home/u/.cargo=/kache-cargo";
    assert_eq!(arguments(&registry), [cargo_home]);
    let outside = derive(
        "--crate-name d_lib /else/d/src/lib.rs --crate-type lib",
        "/else/d",
        &[("HOME", "/home/u"), ("CARGO_PKG_NAME", "d")],
    );
    let package = "--remap-path-prefix=/else/d=/kache-package/d";
    assert_eq!(arguments(&outside), [package, cargo_home]);
    let path_dependency = derive(
        "--crate-name d_lib /near/d/src/lib.rs --crate-type lib",
        "/near/d",
        &[("HOME", "/home/u"), ("CARGO_PKG_NAME", "d")],
    );
    assert_eq!(arguments(&path_dependency), [cargo_home]);
    let split = derive(
        "--crate-name a src/lib.rs --crate-type lib --out-dir /p/target/debug/deps -g \
         -C split-debuginfo=unpacked",
        "/p",
        &[],
    );
    let build = "--remap-path-prefix=/p/target/debug/deps=/p/target/debug/deps";
    assert_eq!(arguments(&split), ["--remap-path-prefix=/p=.", build]);
}

/// The compiler finds them where they are, and names that place instead of what the toolchain was made with.
#[test]
fn sources_of_the_standard_library_keep_their_name_where_they_are_installed() {
    let mut roots = member();
    roots.set(Root::Sysroot, Path::new("/rust"));
    roots.tell_library("abc", |_| false);
    let first = |roots: &Roots| roots.remap_arguments()[0].clone();
    assert_eq!(first(&roots), "--remap-path-prefix=/p=.");
    roots.tell_library("abc", |path| path == Path::new("/rust/lib/rustlib/src/rust"));
    assert_eq!(first(&roots), "--remap-path-prefix=/rust/lib/rustlib/src/rust=/rustc/abc");
    let shown = roots.unmap(b"--> /rustc/abc/library/core/src/lib.rs:1");
    assert_eq!(shown, b"--> /rust/lib/rustlib/src/rust/library/core/src/lib.rs:1");
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
    fn a_name_leads_back_to_its_path(roots in any_roots(), path in "(/[ab ][ab .]{0,2}){1,5}") {
        let resolved = roots.resolve(&roots.relativize(path.as_bytes())).unwrap();
        let mut direct = PathBuf::new();
        for component in resolved.components() {
            if component == std::path::Component::ParentDir {
                prop_assert!(direct.pop());
            } else {
                direct.push(component);
            }
        }
        prop_assert_eq!(direct, PathBuf::from(path));
    }
}

/// Compiles `text` as a workspace member with the arguments that keep roots out, and returns the
/// directory, the roots and what the compiler said.
fn compile_member(text: &str, extra: &[&str]) -> (tempfile::TempDir, Roots, String) {
    let space = tempfile::tempdir().unwrap();
    let base = space.path().join("work space");
    let out_dir = base.join("target/debug/build/a-1/out");
    let products = base.join("target/debug/deps");
    std::fs::create_dir_all(&out_dir).unwrap();
    std::fs::create_dir_all(&products).unwrap();
    std::fs::create_dir_all(base.join("src")).unwrap();
    std::fs::write(base.join("src/lib.rs"), text).unwrap();
    std::fs::write(out_dir.join("made.rs"), "pub fn made() { let unused = 1; panic!() }").unwrap();
    let mut arguments = ["rustc", "--crate-name", "a", "--edition=2021", "src/lib.rs", "-g"]
        .map(OsString::from)
        .to_vec();
    arguments.extend(["--crate-type=lib", "-Cembed-bitcode=no"].map(OsString::from));
    arguments.extend(["--emit=metadata,link,dep-info", "--out-dir"].map(OsString::from));
    arguments.push(products.clone().into());
    arguments.extend(extra.iter().map(OsString::from));
    let Parsed::Compile(invocation) = parse(&arguments, |_| None) else { panic!() };
    let variable = |name: &str| (name == "OUT_DIR").then(|| out_dir.clone().into());
    let mut roots = Roots::derive(&invocation, &base, variable);
    assert_eq!(roots.path(Root::Build), Some(&*base.join("target/debug")));
    let compiler =
        || std::process::Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()));
    let told = |question: &[&str]| {
        String::from_utf8(compiler().args(question).output().unwrap().stdout).unwrap()
    };
    roots.set(Root::Sysroot, Path::new(told(&["--print", "sysroot"]).trim_end()));
    let version = told(&["-vV"]);
    let commit = version.lines().find_map(|line| line.strip_prefix("commit-hash: "));
    roots.tell_library(commit.unwrap(), Path::exists);
    let output = compiler()
        .args(roots.remap_arguments())
        .args(&arguments[1..])
        .current_dir(&base)
        .env("OUT_DIR", &out_dir)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    (space, roots, said)
}

const MEMBER: &str = "include!(concat!(env!(\"OUT_DIR\"), \"/made.rs\"));\n\
                      pub fn own() -> &'static str { file!() }\n\
                      pub fn generic<T>(_: T) { panic!() }\n\
                      pub fn of_library(list: &mut Vec<String>) { list.insert(9, list[3].clone()) }\n";

#[test]
fn outputs_of_the_compiler_in_use_hold_no_root_and_diagnostics_get_theirs_back() {
    let (_space, roots, said) = compile_member(MEMBER, &[]);
    let products = roots.path(Root::Build).unwrap().join("deps");
    for name in ["liba.rlib", "liba.rmeta"] {
        let content = std::fs::read(products.join(name)).unwrap();
        assert!(roots.surviving(&content).is_empty(), "{name}");
        assert!(memchr::memmem::find(&content, b"/kache-build/build/a-1/out/made.rs").is_some());
    }
    let real = roots.path(Root::Build).unwrap().join("build/a-1/out/made.rs");
    let shown = String::from_utf8(roots.unmap(said.as_bytes())).unwrap();
    assert!(shown.contains(real.to_str().unwrap()), "{shown}");
    assert!(!shown.contains("/kache-"), "{shown}");
    let rules = std::fs::read(products.join("a.d")).unwrap();
    let found = depinfo::parse(&rules).unwrap();
    assert!(found.files.contains(real.to_str().unwrap().as_bytes()));
    assert!(found.files.contains(&b"src/lib.rs"[..]));
    let templated = depinfo::template(&rules, &roots);
    assert!(roots.surviving(&templated).is_empty(), "{}", String::from_utf8_lossy(&templated));
}

#[test]
fn a_path_that_a_macro_embeds_is_found_in_the_outputs() {
    let text = "pub const HERE: &str = concat!(env!(\"OUT_DIR\"), \"x\");\n\
                pub fn here() -> &'static str { HERE }\n";
    let (_space, roots, _) = compile_member(text, &[]);
    let products = roots.path(Root::Build).unwrap().join("deps");
    let content = std::fs::read(products.join("liba.rmeta")).unwrap();
    let found = roots.surviving(&content).iter().collect::<Vec<_>>();
    assert_eq!(found, [Root::Workspace, Root::Build]);
}

#[test]
#[cfg(target_os = "linux")]
fn unpacked_debug_information_is_where_the_outputs_say() {
    let (_space, roots, _) = compile_member(MEMBER, &["-Csplit-debuginfo=unpacked"]);
    let products = roots.path(Root::Build).unwrap().join("deps");
    let content = std::fs::read(products.join("liba.rlib")).unwrap();
    let mut prefix = products.into_os_string().into_encoded_bytes();
    prefix.extend_from_slice(b"/a.");
    assert!(memchr::memmem::find(&content, &prefix).is_some());
    assert!(roots.surviving(&content).contains(Root::Build));
}

/// A crate that only compared its paths with short constants was once found to hold none.
#[test]
#[cfg(target_arch = "x86_64")]
fn pieces_of_a_path_in_optimized_code_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let root = "/home/someone/thing";
    let bodies = [
        "if p == env!(\"ROOT\") { exit(3) }",
        "if p.starts_with(concat!(env!(\"ROOT\"), \"/x\")) { exit(3) }",
        "if p == concat!(\"at:\", env!(\"ROOT\")) { exit(3) }",
        "if p.len() == 40 { std::hint::black_box(String::from(env!(\"ROOT\"))); exit(3) }",
    ];
    let mut roots = Roots::default();
    roots.set(Root::Workspace, Path::new(root));
    for (body, level) in bodies.iter().flat_map(|body| [(body, "0"), (body, "3")]) {
        let source = directory.path().join("a.rs");
        let text = format!(
            "use std::process::exit;\n\
             fn main() {{ let p = std::env::args().next().unwrap(); {body} }}"
        );
        std::fs::write(&source, text).unwrap();
        let program = std::env::var_os("RUSTC").unwrap_or("rustc".into());
        let status = std::process::Command::new(program)
            .args(["--crate-name=a", "--crate-type=bin", "--emit=obj", "-Ccodegen-units=1"])
            .arg(format!("-Copt-level={level}"))
            .args(["-o".as_ref(), directory.path().join("a.o").as_os_str()])
            .arg(&source)
            .env("ROOT", root)
            .status()
            .unwrap();
        assert!(status.success());
        let content = std::fs::read(directory.path().join("a.o")).unwrap();
        assert!(roots.fragments(&content).contains(Root::Workspace), "{level}: {body}");
    }
    assert!(roots.fragments(b"/home/u/x /homes/").is_empty());
    roots.set(Root::Build, Path::new("/w"));
    assert!(roots.fragments(b"x/wy").contains(Root::Build));
}

/// What the compilers make of a member's path begins with a dot, and goes on as the path does.
#[test]
fn the_rest_of_a_path_behind_the_workspace_is_no_fragment_of_it() {
    let mut roots = Roots::default();
    roots.set(Root::Workspace, Path::new("/tmp/checkout"));
    roots.set(Root::Package, Path::new("/tmp/checkout/target/crates/member"));
    roots.set(Root::Build, Path::new("/tmp/checkout/target/crates/member/target/debug"));
    assert!(roots.fragments(b"\0./target/crates/member/src/x.c\0").is_empty());
    for offset in 0..8 {
        let (pieces, _) = b"/tmp/checkout/target/crates/member"[offset..].as_chunks::<8>();
        let code: Vec<u8> =
            pieces.iter().flat_map(|piece| [b"\x48\xb8", &piece[..]].concat()).collect();
        assert!(roots.fragments(&code).contains(Root::Package), "{offset}");
    }
}
