//! Compiler calls as Cargo makes them: parsed, normalized, and their outputs foretold.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use kache::invocation::{
    CrateType, EmitKind, Invocation, KeyPart, Parsed, PassReason, SearchKind, parse,
};
use kache::roots::Roots;

/// One call as it was recorded: working directory, a few variables, arguments.
#[derive(Clone)]
struct Call {
    text: String,
}

impl Call {
    fn load(name: &str) -> Self {
        let path = Path::new("tests/data/invocations").join(name).with_extension("txt");
        Self { text: std::fs::read_to_string(path).unwrap() }
    }

    fn all() -> Vec<(String, Self)> {
        let entries = std::fs::read_dir("tests/data/invocations").unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.map(|name| (name.clone(), Self::load(&name))).collect()
    }

    /// The same call in other places.
    fn moved(&self, places: &[(&str, &str)]) -> Self {
        let moved =
            places.iter().fold(self.text.clone(), |text, (from, to)| text.replace(from, to));
        Self { text: moved }
    }

    fn arguments(&self) -> Vec<OsString> {
        self.text.lines().filter_map(|line| Some(line.strip_prefix("arg ")?.into())).collect()
    }

    fn invocation(&self) -> Invocation {
        compiled(&self.arguments())
    }

    fn roots(&self) -> Roots {
        let variable = |name: &str| {
            let prefix = format!("env {name}=");
            self.text.lines().find_map(|line| line.strip_prefix(&prefix)).map(OsString::from)
        };
        let directory = self.text.lines().find_map(|line| line.strip_prefix("cwd=")).unwrap();
        Roots::derive(&self.invocation(), Path::new(directory), variable)
    }

    fn parts(&self) -> Vec<KeyPart> {
        self.invocation().normalized(&self.roots()).collect()
    }
}

fn parsed(arguments: &[OsString]) -> Parsed {
    parse(arguments, |_| None)
}

fn compiled(arguments: &[OsString]) -> Invocation {
    match parsed(arguments) {
        Parsed::Compile(invocation) => *invocation,
        Parsed::Pass(reason) => panic!("{reason}: {arguments:?}"),
    }
}

fn words(text: &str) -> Vec<OsString> {
    text.split_whitespace().map(OsString::from).collect()
}

fn call(text: &str) -> Invocation {
    compiled(&words(&format!("rustc --crate-name a src/lib.rs {text}")))
}

fn lib(text: &str) -> Invocation {
    call(&format!("--crate-type lib {text}"))
}

fn parts_of(invocation: &Invocation) -> Vec<KeyPart> {
    invocation.normalized(&Roots::default()).collect()
}

#[test]
fn every_compilation_that_cargo_makes_is_understood() {
    for (name, call) in Call::all() {
        if name == "query.txt" {
            assert_eq!(parsed(&call.arguments()), Parsed::Pass(PassReason::QueryPrint));
            continue;
        }
        let invocation = call.invocation();
        assert!(!invocation.crate_name.is_empty(), "{name}");
        assert!(invocation.emits(EmitKind::DepInfo), "{name}");
        assert!(invocation.outputs().complete, "{name}");
        let lead = 1 + usize::from(invocation.wrapped.is_some());
        assert_eq!(invocation.arguments, call.arguments()[lead..], "{name}");
        assert_eq!(name.starts_with("clippy"), invocation.wrapped.is_some(), "{name}");
    }
}

#[test]
fn a_call_means_the_same_in_another_checkout() {
    let places = [
        ("/home/u/code", "/srv/deeply/nested/place"),
        ("/home/u/.cargo", "/ci/cargo"),
        ("/home/u/.rustup", "/opt/rust"),
        ("HOME=/home/u", "HOME=/root"),
    ];
    for (name, call) in Call::all() {
        if name != "query.txt" {
            assert_eq!(call.parts(), call.moved(&places).parts(), "{name}");
            let text = format!("{:?}", call.parts());
            assert!(!text.contains("/home/u"), "{name}: {text}");
        }
    }
}

#[test]
fn a_moved_build_directory_changes_nothing() {
    for name in ["rustc-bin", "check-lib", "new-layout-bin", "ripgrep-registry-lib"] {
        let call = Call::load(name);
        let places = ["target-new", "target", "rgt"];
        let places =
            places.map(|name| format!("/home/u/code/app/{name}/").replace("app/rgt", "rgt"));
        let places =
            places.iter().map(|from| (from.as_str(), "/var/my build/")).collect::<Vec<_>>();
        assert_ne!(call.text, call.moved(&places).text);
        assert_eq!(call.parts(), call.moved(&places).parts(), "{name}");
    }
}

#[test]
fn every_argument_counts_unless_the_table_says_why_not() {
    for (name, call) in Call::all() {
        if name == "query.txt" {
            continue;
        }
        let parts = call.parts();
        let arguments = call.arguments();
        for (index, argument) in arguments.iter().enumerate().skip(1) {
            let mut changed = arguments.clone();
            let mut text = argument.clone().into_string().unwrap();
            if text == "-C" || text == "-L" || text.starts_with("--") && !text.contains('=') {
                continue; // The value after it is changed instead.
            }
            text.push('7');
            changed[index] = text.into();
            let Parsed::Compile(other) = parsed(&changed) else { continue };
            let other = other.normalized(&call.roots()).collect::<Vec<_>>();
            let previous = arguments[index - 1].to_str().unwrap();
            let dropped =
                previous == "--out-dir" || argument.to_str().unwrap().starts_with("incremental=");
            assert_eq!(parts == other, dropped, "{name}: {argument:?}");
        }
    }
}

#[test]
fn what_the_table_normalizes_is_all_that_is_dropped() {
    let base = lib("--out-dir /a -C incremental=/i --extern b=/d/libb-1.rlib -o /o/name");
    let same = lib("--out-dir /b -C incremental=/j --extern b=/d/libb-1.rmeta -o /q/name");
    assert_eq!(parts_of(&base), parts_of(&same));
    let coloured =
        lib("--out-dir /a -C incremental=/i --extern b=/d/libb-1.rlib -o /o/name --color=always \
         --diagnostic-width 80");
    assert_eq!(parts_of(&base), parts_of(&coloured));
    assert_ne!(parts_of(&lib("")), parts_of(&lib("-C incremental=/i")));
    assert_ne!(parts_of(&lib("-o /a/x")), parts_of(&lib("-o /a/y")));
    let emitted = |text: &str| parts_of(&lib(&format!("--emit {text}")));
    let [one, other] = ["dep-info=/a/x.d,link --out-dir /a", "dep-info=/b/x.d,link --out-dir /b"];
    assert_eq!(emitted(one), emitted(other));
    assert_ne!(emitted("dep-info=/a/x.d,link"), emitted("dep-info=/a/y.d,link"));
    assert_ne!(emitted("dep-info,link"), emitted("link,dep-info"));
}

#[test]
fn outputs_are_named_from_the_output_directory_and_relative_ones_as_they_are() {
    let differ = |one: &str, other: &str| {
        assert_ne!(parts_of(&lib(one)), parts_of(&lib(other)), "{one} {other}");
    };
    differ("--emit link=/o/a/x --out-dir /o", "--emit link=/o/b/x --out-dir /o");
    differ("--emit link=/o/a/x --out-dir /o", "--emit link=/o/a/x --out-dir /o/a");
    differ("--emit link=o/x --out-dir /w/o", "--emit link=o/x --out-dir /w/q");
    differ("--emit link=/q/x --out-dir /a", "--emit link=/q/x --out-dir /b");
    differ("--out-dir o", "--out-dir q");
    differ("-o o/x", "-o q/x");
}

#[test]
fn order_and_unknown_options_count() {
    let differ = |one: &str, other: &str| {
        assert_ne!(parts_of(&lib(one)), parts_of(&lib(other)), "{one} {other}");
    };
    differ("-L /a -L /b", "-L /b -L /a");
    differ("--cfg a --cfg b", "--cfg b --cfg a");
    differ("-l static=x", "-l dylib=x");
    differ("-C opt-level=3", "-C opt-level=2");
    differ("-C lto", "-C lto=fat");
    differ("-C lto=", "-C lto");
    differ("-g", "");
    differ("-Z threads=8", "");
    differ("--future-option=1", "--future-option=2");
    differ("--future-flag", "");
    differ("--extern priv:b=/x/libb.rlib", "--extern b=/x/libb.rlib");
    differ("--extern b=/x/libb.so", "--extern b=/x/libb.rlib");
}

#[test]
fn spellings_of_one_option_are_one() {
    let same = |one: &str, other: &str| assert_eq!(parts_of(&lib(one)), parts_of(&lib(other)));
    same("-Copt-level=3", "-C opt-level=3");
    same("-C opt_level=3", "--codegen opt-level=3");
    same("--codegen=opt-level=3", "-C opt-level=3");
    same("-L/x", "-L /x");
    same("--emit=link", "--emit link");
    same("-Adead_code", "--allow=dead_code");
    same("-gO", "-g -O");
    same("-gCopt-level=1", "-g -C opt-level=1");
}

#[test]
fn fields_hold_what_the_call_says() {
    let invocation = call(
        "--crate-type cdylib,rlib --crate-type=lib --extern priv,noprelude:b=/d/libb.rlib \
         --extern std -L native=/n -L dependency=/d -L /plain=path -l static:+whole-archive=z \
         --target t.json --emit=metadata,link=/x/y -C extra-filename=-1 -C incremental=/i \
         -C profile-use -C link-arg=-T/s.ld -C link-args=-nostdlib",
    );
    assert_eq!(invocation.crate_types, [CrateType::Cdylib, CrateType::Rlib]);
    let named = &invocation.externs[0];
    assert_eq!(named.name, "b");
    assert_eq!(named.options.as_deref(), Some(OsStr::new("priv,noprelude")));
    assert_eq!(named.path.as_deref(), Some(Path::new("/d/libb.rlib")));
    assert_eq!(
        (&invocation.externs[1].name[..], &invocation.externs[1].path),
        ("std".as_ref(), &None)
    );
    let paths = [
        (SearchKind::Native, PathBuf::from("/n")),
        (SearchKind::Dependency, PathBuf::from("/d")),
        (SearchKind::All, PathBuf::from("/plain=path")),
    ];
    assert_eq!(invocation.search_paths, paths);
    assert_eq!(invocation.native_libraries, ["static:+whole-archive=z"]);
    assert_eq!(invocation.incremental.as_deref(), Some(Path::new("/i")));
    assert!(invocation.links());
    let files = ["t.json", "default.profdata", "/s.ld"].map(PathBuf::from);
    assert_eq!(invocation.input_files(), files);
    assert!(lib("-C target-cpu=native").depends_on_host_cpu());
    assert!(!lib("-C target-cpu=native -Ctarget-cpu=x86-64").depends_on_host_cpu());
    assert!(!lib("").links() && call("--test --emit=link").links());
}

#[test]
fn calls_for_the_compiler_alone_are_passed_on_with_a_reason() {
    let check = |text: &str, reason: &str| match parsed(&words(text)) {
        Parsed::Pass(found) => assert_eq!(found.to_string(), reason, "{text}"),
        Parsed::Compile(_) => panic!("{text}"),
    };
    check("", "unparsable");
    check("rustc", "not-a-compile|no-source");
    check("rustc -vV", "not-a-compile|version");
    check("rustc --version --verbose", "not-a-compile|version");
    check("clippy-driver rustc -vV", "not-a-compile|version");
    check("rustc - --crate-name ___ --print=file-names --crate-type bin", "not-a-compile|print");
    check("rustc --print cfg", "not-a-compile|print");
    check("rustc -C help", "not-a-compile|help");
    check("rustc --explain E0001", "not-a-compile|help");
    check("rustc - --crate-name a --crate-type lib", "stdin");
    check("rustc a.rs b.rs --crate-name a --crate-type lib", "several-sources");
    check("rustc a.rs --unknown value --crate-name a --crate-type lib", "several-sources");
    check("rustc a.rs --crate-type lib", "no-crate-name");
    check("rustc a.rs --crate-name a --crate-type future", "unparsable");
    check("rustc a.rs --crate-name", "unparsable");
    check("rustc a.rs -C", "unparsable");
    check("rustc a.rs -x", "unparsable");
    check("rustc a.rs --test=1", "unparsable");
    check("rustc a.rs --crate-name a --crate-type lib --emit=asm", "unsupported-emit");
    check("rustc a.rs --crate-name a --crate-type lib --emit=link=-", "unsupported-emit");
    check("rustc a.rs --crate-name a --crate-type lib -o -", "unsupported-emit");
    check("rustc a.rs --crate-name a --crate-type lib -Zself-profile", "side-effect-option");
    check("rustc a.rs --crate-name a --crate-type lib -Z unpretty=expanded", "side-effect-option");
    // The compiler leaves a directory with a name made up at random: what was stored could not be restored.
    check("rustc a.rs --crate-name a --crate-type lib -Csave-temps", "side-effect-option");
    check("rustc a.rs --crate-name a --crate-type lib -C save_temps=yes", "side-effect-option");
    check("rustc @none", "response-file");
    check("rustc @shell:file", "response-file");
}

#[test]
fn response_files_are_read_one_level_deep() {
    let read = |name: &OsStr| {
        let content: &[u8] = match name.to_str()? {
            "first" => b"--crate-name\na b\r\n--cfg\nfeature=\"x y\"\n@second",
            "binary" => b"\xff",
            _ => return None,
        };
        Some(content.to_vec())
    };
    let arguments = words("rustc src/lib.rs @first --crate-type lib");
    // The nested one is a word like any other: a second source.
    assert_eq!(parse(&arguments, read), Parsed::Pass(PassReason::SeveralSources));
    let arguments = words("rustc @first --crate-type lib");
    let Parsed::Compile(invocation) = parse(&arguments, read) else { panic!() };
    assert_eq!(invocation.crate_name, "a b");
    assert_eq!(invocation.source, Path::new("@second"));
    let arguments = words("rustc @binary");
    assert_eq!(parse(&arguments, read), Parsed::Pass(PassReason::ResponseFile));
}

#[test]
fn output_names_follow_the_platform() {
    let check = |text: &str, expected: &[&str]| {
        let invocation = call(&format!("--out-dir /o -C extra-filename=-1 {text}"));
        let files = invocation.outputs().files;
        assert_eq!(files, expected.iter().map(PathBuf::from).collect::<Vec<_>>(), "{text}");
    };
    let link = "--emit=dep-info,metadata,link";
    check(&format!("--crate-type lib {link}"), &["/o/a-1.d", "/o/liba-1.rmeta", "/o/liba-1.rlib"]);
    check("--crate-type bin --target x86_64-unknown-linux-gnu", &["/o/a-1"]);
    check(
        "--crate-type cdylib,staticlib --target aarch64-unknown-linux-musl",
        &["/o/liba-1.so", "/o/liba-1.a"],
    );
    check(
        "--crate-type cdylib --target aarch64-apple-darwin -g -C split-debuginfo=packed",
        &["/o/liba-1.dylib", "/o/liba-1.dylib.dSYM"],
    );
    check("--crate-type bin --target x86_64-pc-windows-msvc", &["/o/a-1.exe", "/o/a-1.pdb"]);
    check(
        "--crate-type dylib --target x86_64-pc-windows-msvc",
        &["/o/a-1.dll", "/o/a-1.pdb", "/o/a-1.dll.lib", "/o/a-1.dll.exp"],
    );
    check("--crate-type staticlib --target x86_64-pc-windows-msvc", &["/o/a-1.lib"]);
    check(
        "--crate-type cdylib --target x86_64-pc-windows-gnu",
        &["/o/a-1.dll", "/o/liba-1.dll.a", "/o/a-1.def"],
    );
    check("--crate-type bin --target wasm32-wasip1", &["/o/a-1.wasm"]);
    check("--test --target x86_64-unknown-linux-gnu --emit=link,dep-info", &["/o/a-1", "/o/a-1.d"]);
    let linux = "--target x86_64-unknown-linux-gnu -C debuginfo=2";
    check(
        &format!("--crate-type bin {linux} -C split-debuginfo=packed"),
        &["/o/a-1", "/o/a-1.dwp"],
    );
    check("--crate-type lib --emit=mir,metadata=/m/x", &["/o/a-1.mir", "/m/x"]);
    check("--crate-type lib --emit=asm -Ccodegen-units=1", &["/o/a-1.s"]);
    check("--crate-type lib -o /q/z --emit=link,dep-info", &["/q/z", "/q/z.d"]);

    let unpacked =
        call(&format!("--crate-type bin --out-dir /o {linux} -Csplit-debuginfo=unpacked"));
    let outputs = unpacked.outputs();
    assert!(outputs.complete && unpacked.has_unpacked_debuginfo());
    assert!(outputs.matches_pattern("a.a.b0c1-cgu.0.rcgu.dwo".as_ref()));
    assert!(!outputs.matches_pattern("ab.dwo".as_ref()));
    assert!(!lib("--target spec.json").outputs().complete);
}

#[test]
fn outputs_that_hide_text_are_known() {
    let scannable = |text: &str| call(text).scannable(|| false);
    assert!(scannable("--crate-type lib --emit=metadata"));
    assert!(scannable("--crate-type lib -C embed-bitcode=no"));
    assert!(!scannable("--crate-type lib"));
    assert!(!scannable("--crate-type lib -C embed-bitcode=no -C linker-plugin-lto"));
    assert!(scannable("--crate-type bin -C lto --target x86_64-unknown-linux-gnu"));
    assert!(!scannable("--crate-type dylib -C embed-bitcode=no"));
    assert!(!scannable("--crate-type proc-macro -C embed-bitcode=no"));
    assert!(call("--crate-type proc-macro -C embed-bitcode=no").scannable(|| true));
    assert!(!call("--crate-type dylib").scannable(|| false));
    assert!(scannable("--crate-type proc-macro --emit=metadata"));
    assert!(!scannable("--crate-type bin -C link-arg=-Wl,--compress-debug-sections=zlib"));
    assert!(!scannable("--crate-type bin -Z debuginfo-compression=zstd"));
    assert!(!scannable("--crate-type bin --emit=llvm-bc -C codegen-units=1"));
    let optimized = "--crate-type bin -C opt-level=2 --target";
    assert!(scannable(&format!("{optimized} x86_64-unknown-linux-gnu")));
    assert!(!scannable(&format!("{optimized} aarch64-apple-darwin")));
    assert!(!scannable("--crate-type bin -O --target wasm32-wasip1"));
    assert!(scannable("--crate-type bin -C opt-level=0 --target aarch64-apple-darwin"));
    assert!(scannable("--crate-type bin -O --emit=metadata --target aarch64-apple-darwin"));
}

/// What runs while something is built; not where the rest of the call is sources, nor for what is built.
#[test]
fn symbols_are_kept_where_they_tell_how_a_program_asks() {
    let added = |text: &str| {
        let words: Vec<OsString> = text.split(' ').map(OsString::from).collect();
        let Parsed::Compile(invocation) = parse(&words, |_| None) else { panic!("{text}") };
        (invocation.added, invocation.codegen("strip").map(OsStr::to_owned))
    };
    let kept = (Some("strip=debuginfo"), Some("debuginfo".into()));
    let script = "rustc --crate-name build_script_build --crate-type bin build.rs";
    assert_eq!(added(&format!("{script} -C strip=symbols")), kept);
    let library = "rustc --crate-name m --crate-type proc-macro src/lib.rs";
    assert_eq!(added(&format!("{library} -Cstrip=none -Cstrip=symbols")), kept);
    for (call, strip) in [
        (format!("{script} -C strip=debuginfo"), Some("debuginfo")),
        (script.to_owned(), None),
        ("rustc --crate-name a -C strip=symbols src/main.rs".to_owned(), Some("symbols")),
        (script.replace("build.rs", "-C strip=symbols -- build.rs"), Some("symbols")),
    ] {
        assert_eq!(added(&call), (None, strip.map(OsString::from)), "{call}");
    }
}
