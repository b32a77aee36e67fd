//! What compilations read, as inputs.

use std::net::TcpListener;
use std::path::Path;

use kache::observe::rules::Uncacheable;
use kache::observe::{Access, IncompleteReason};
use store_format::{Input, InputKind};

use crate::space::{Compilation, TestSpace};

/// Compiles a procedural macro whose body is `code`, and a crate that calls it once.
fn with_macro(space: &TestSpace, code: &str, environment: &[(&str, &str)]) -> Compilation {
    let text = format!(
        "extern crate proc_macro;\nuse proc_macro::TokenStream;\n#[proc_macro]\npub fn run(_: TokenStream) -> TokenStream {{\n\
         {code}\nTokenStream::new() }}"
    );
    space.write("own.rs", &text);
    space.write("user.rs", "own::run!();");
    let plain = ["own.rs", "--crate-type=proc-macro", "--emit=link"];
    assert!(space.compile(&plain).sorted.is_ok());
    space.compile_with(
        &[
            "user.rs",
            "--crate-type=lib",
            "--emit=metadata",
            "-Ldependency=out",
            "--extern",
            "own=out/libown.so",
        ],
        environment,
    )
}

#[test]
fn a_library_reads_its_sources_and_nothing_else_that_matters() {
    let space = TestSpace::new();
    space.write("a.rs", "mod b; pub const T: &str = include_str!(\"t.txt\");");
    space.write("b.rs", "");
    space.write("t.txt", "");
    let library = space.compile(&["a.rs", "--crate-type=lib", "--emit=metadata,link,dep-info"]);
    assert_eq!(library.observation.complete, Ok(()));
    let mut files = library.of_kind(InputKind::File);
    files.sort();
    assert_eq!(files, ["a.rs", "b.rs", "t.txt"].map(|name| space.path(name)));
    // The other place of the module.
    assert!(library.has(InputKind::Presence, space.path("b/mod.rs")));
    assert_eq!(library.of_kind(InputKind::Listing), [""; 0].map(Path::new));
    assert_eq!(library.of_kind(InputKind::Program), [""; 0].map(Path::new));
    assert_eq!(library.of_kind(InputKind::AllVariables), [""; 0].map(Path::new));
    for noise in ["PATH", "TERM", "CI", "CARGO_MAKEFLAGS", "MAKEFLAGS", "RUSTC_LOG"] {
        assert!(!library.has(InputKind::Variable, noise), "{noise}");
    }
    let outputs = ["out/a.d", "out/liba.rlib", "out/liba.rmeta"].map(|name| space.path(name));
    let mut written = library.outputs().to_vec();
    written.sort();
    assert_eq!(written, outputs);
}

#[test]
fn a_second_compilation_over_the_first_ones_outputs_has_the_same_inputs() {
    let space = TestSpace::new();
    space.write("a.rs", "pub fn f() {}");
    for arguments in [
        ["a.rs", "--crate-type=lib", "--emit=metadata,link,dep-info"],
        ["a.rs", "--crate-type=cdylib", "--emit=link,dep-info"],
    ] {
        let first = space.compile(&arguments);
        let second = space.compile(&arguments);
        let named = |compilation: &Compilation| -> Vec<String> {
            let inputs = compilation.sorted.as_ref().unwrap().inputs.iter();
            let text = |input: &Input| String::from_utf8_lossy(&input.name.path).into_owned();
            inputs.map(|input| format!("{:?} {}", input.kind, text(input))).collect()
        };
        assert_eq!(named(&first), named(&second));
    }
}

#[test]
fn the_variables_and_files_of_a_macro_are_inputs() {
    let space = TestSpace::new();
    space.write("listed/one", "");
    space.write("file.txt", "");
    space.write("linked.txt", "");
    std::os::unix::fs::symlink("linked.txt", space.path("link")).unwrap();
    let code = "let _ = std::env::var(\"MACRO_INPUT\");\n\
                let _ = std::env::var(\"CI\");\n\
                std::fs::read(\"file.txt\").unwrap();\n\
                std::fs::read_dir(\"listed\").unwrap().count();\n\
                assert!(!std::path::Path::new(\"probe.txt\").exists());\n\
                std::fs::read_link(\"link\").unwrap();\n\
                std::fs::metadata(\"listed/one\").unwrap();\n\
                std::fs::write(\"out/scratch\", \"x\").unwrap();\n\
                std::fs::read(\"out/scratch\").unwrap();";
    let user = with_macro(&space, code, &[("CI", "1")]);
    assert_eq!(user.observation.complete, Ok(()));
    assert!(user.has(InputKind::Variable, "MACRO_INPUT"));
    // The compiler looks this up as well, where it is noise.
    assert!(user.has(InputKind::Variable, "CI"));
    assert!(user.has(InputKind::File, space.path("file.txt")));
    assert!(user.has(InputKind::Listing, space.path("listed")));
    assert!(user.has(InputKind::Presence, space.path("probe.txt")));
    assert!(user.has(InputKind::Presence, space.path("listed/one")));
    assert!(user.has(InputKind::LinkTarget, space.path("link")));
    assert!(user.has(InputKind::DependencyMetadata, space.path("out/libown")));
    assert!(!user.has(InputKind::File, space.path("out/scratch")), "made before it was read");
    assert!(user.outputs().contains(&space.path("out/scratch")));
    assert_eq!(user.of_kind(InputKind::AllVariables), [""; 0].map(Path::new));
}

#[test]
fn what_a_macro_reads_through_a_link_of_its_own_or_moves_is_an_input() {
    let space = TestSpace::new();
    space.write("sources/deep/file.txt", "");
    space.write("moved.txt", "");
    space.write("hard.txt", "");
    let code = "use std::os::unix::fs::symlink;\n\
                symlink(\"../sources\", \"out/link\").unwrap();\n\
                symlink(\"link/deep\", \"out/second\").unwrap();\n\
                std::fs::read(\"out/second/file.txt\").unwrap();\n\
                std::fs::read_dir(\"out/link\").unwrap();\n\
                std::fs::rename(\"moved.txt\", \"out/moved.txt\").unwrap();\n\
                std::fs::hard_link(\"hard.txt\", \"out/hard.txt\").unwrap();\n\
                std::fs::write(\"out/made\", \"\").unwrap();\n\
                std::fs::rename(\"out/made\", \"out/made2\").unwrap();";
    let user = with_macro(&space, code, &[]);
    assert!(user.has(InputKind::File, space.path("sources/deep/file.txt")));
    assert!(user.has(InputKind::Listing, space.path("sources")));
    assert!(user.has(InputKind::File, space.path("moved.txt")));
    assert!(user.has(InputKind::File, space.path("hard.txt")));
    assert!(!user.has(InputKind::File, space.path("out/made")));
}

#[test]
fn a_macro_that_goes_through_all_variables_depends_on_all_of_them() {
    let space = TestSpace::new();
    let user = with_macro(&space, "assert!(std::env::vars_os().count() > 0);", &[]);
    assert_eq!(user.of_kind(InputKind::AllVariables).len(), 1);
}

#[test]
fn a_program_that_a_macro_runs_is_an_input_by_its_name_with_all_that_it_reads() {
    let space = TestSpace::new();
    space.write("file.txt", "");
    let code = "assert!(std::process::Command::new(\"cat\").arg(\"file.txt\").output().unwrap()\
                .status.success());\n\
                assert!(std::process::Command::new(\"kache-no-such-program\").output().is_err());";
    let user = with_macro(&space, code, &[]);
    assert_eq!(user.observation.complete, Ok(()));
    assert!(user.has(InputKind::Program, "cat"));
    assert!(user.has(InputKind::Program, "kache-no-such-program"));
    assert!(user.has(InputKind::File, space.path("file.txt")));
    assert!(!user.has(InputKind::File, "/usr/bin/cat"), "named already");
}

#[test]
fn a_macro_that_uses_the_network_cannot_be_cached() {
    let space = TestSpace::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let code = format!("drop(std::net::TcpStream::connect(\"{address}\"));");
    let user = with_macro(&space, &code, &[]);
    assert_eq!(user.sorted, Err(Uncacheable::Network(address)));
    let socket = space.path("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let code = "std::os::unix::net::UnixStream::connect(\"socket\").unwrap();";
    let user = with_macro(&space, code, &[]);
    assert!(matches!(user.sorted, Err(Uncacheable::LocalSocket(_))), "{:?}", user.sorted);
}

#[test]
fn a_static_program_that_a_macro_runs_is_named() {
    let space = TestSpace::new();
    let program = space.c_program("mute", "int main(void) { return 0; }", &["-static"]);
    let code = "std::process::Command::new(\"./mute\").status().unwrap();";
    let user = with_macro(&space, code, &[]);
    assert_eq!(user.observation.complete, Err(IncompleteReason::Unreported(program)));
}

#[test]
fn an_executable_depends_on_its_linker_its_objects_and_its_libraries() {
    let space = TestSpace::new();
    space.write("a.rs", "pub fn f() {}");
    space.compile(&["a.rs", "--crate-type=lib", "--emit=metadata,link"]);
    space.write("native.c", "int native(void) { return 0; }");
    let object = std::process::Command::new("cc")
        .args(["-c", "native.c", "-o", "native.o"])
        .current_dir(space.path(""))
        .status();
    assert!(object.unwrap().success());
    let archive = std::process::Command::new("ar")
        .args(["rcs", "libnative.a", "native.o"])
        .current_dir(space.path(""))
        .status();
    assert!(archive.unwrap().success());
    space.write(
        "b.rs",
        "extern \"C\" { fn native() -> i32; }\nfn main() { a::f(); unsafe { native() }; }",
    );
    let program = space.compile(&[
        "b.rs",
        "--crate-type=bin",
        "--emit=link,dep-info",
        "-Ldependency=out",
        "--extern",
        "a=out/liba.rlib",
        "-Lnative=.",
        "-lstatic=native",
    ]);
    assert_eq!(program.observation.complete, Ok(()));
    assert!(program.has(InputKind::Program, "cc"));
    assert!(program.has(InputKind::File, space.path("libnative.a")));
    assert!(program.has(InputKind::DependencyLibrary, space.path("out/liba")));
    let files = program.of_kind(InputKind::File);
    for name in ["crti.o", "Scrt1.o", "libc.so.6"] {
        assert!(files.iter().any(|path| path.ends_with(name)), "{name}: {files:#?}");
    }
    assert_eq!(program.of_kind(InputKind::AllVariables), [""; 0].map(Path::new));
    assert_eq!(program.of_kind(InputKind::Listing), [""; 0].map(Path::new));
    let own = space.path("");
    let temporary =
        |path: &&std::path::PathBuf| path.starts_with("/tmp") && !path.starts_with(&own);
    assert_eq!(files.iter().find(temporary), None);
    let mut outputs = program.outputs().to_vec();
    outputs.sort();
    assert_eq!(outputs, ["out/b", "out/b.d"].map(|name| space.path(name)));
}

#[test]
fn a_linker_that_is_a_script_is_an_input_with_its_interpreter() {
    let space = TestSpace::new();
    let linker = space.write("linker", "#!/bin/sh\nexec cc \"$@\"\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&linker, mode).unwrap();
    space.write("b.rs", "fn main() {}");
    let program = space.compile(&["b.rs", "--crate-type=bin", "--emit=link", "-Clinker=./linker"]);
    assert_eq!(program.observation.complete, Ok(()));
    assert!(program.has(InputKind::File, &linker));
    assert!(program.has(InputKind::Program, "cc"));
    assert!(program.has(InputKind::Program, "/bin/sh"));
    // A shell has all variables, and no name of a variable in it can be seen.
    assert_eq!(program.of_kind(InputKind::AllVariables).len(), 1);
}

#[test]
fn a_file_that_dep_info_names_is_seen_as_well() {
    let space = TestSpace::new();
    space.write(
        "a.rs",
        "#[path = \"sub/b.rs\"] mod b; const _: Option<&str> = option_env!(\"SEEN\");",
    );
    space.write("sub/b.rs", "const _: &[u8] = include_bytes!(\"../data\");");
    space.write("data", "");
    let library = space.compile(&["a.rs", "--crate-type=lib", "--emit=metadata,dep-info"]);
    let text = std::fs::read(space.path("out/a.d")).unwrap();
    let named = kache::invocation::depinfo::parse(&text).unwrap();
    assert_eq!(named.files.len(), 3);
    for file in named.files {
        let file = space.path(str::from_utf8(&file).unwrap()).canonicalize().unwrap();
        let seen = library.of_kind(InputKind::File);
        assert!(seen.iter().any(|path| path.canonicalize().is_ok_and(|path| path == file)));
    }
    assert!(library.has(InputKind::Variable, "SEEN"));
    assert!(library.observation.events.iter().any(|access| matches!(access, Access::Started(_))));
}
