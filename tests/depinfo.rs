//! Dep-info as compilers write it.

use kache::invocation::depinfo::{DepInfo, DepInfoError, parse};

fn files(text: &str) -> Vec<String> {
    let found = parse(text.as_bytes()).unwrap();
    found.files.into_iter().map(|file| String::from_utf8(file).unwrap()).collect()
}

#[test]
fn rules_name_files_once_with_spaces_unescaped() {
    let text = "/t/liba.rmeta: src/lib.rs src/a\\ b.rs /x/c:d.rs\n\n\
                /t/a.d: src/lib.rs src/a\\ b.rs /x/c:d.rs\n\n\
                src/lib.rs:\nsrc/a\\ b.rs:\n/x/c:d.rs:\n";
    assert_eq!(files(text), ["/x/c:d.rs", "src/a b.rs", "src/lib.rs"]);
}

#[test]
fn rules_of_other_systems_are_read_too() {
    assert_eq!(files("C:\\t\\a.d: src\\lib.rs C:\\x.rs\r\n"), ["C:\\x.rs", "src\\lib.rs"]);
    assert_eq!(files(""), [""; 0]);
    assert_eq!(files("a: \n"), [""; 0]);
}

#[test]
fn variables_may_be_unset_empty_or_escaped() {
    let text = b"# env-dep:UNSET\n# env-dep:EMPTY=\n# env-dep:A=b=c\n\
                 # env-dep:LINES=a\\nb\\r\\\\n\n# other: comment\n# checksum:blake3=00 file_len:3 a b\n";
    let owned = |text: &[u8]| text.to_vec();
    let expected = DepInfo {
        variables: vec![
            (owned(b"UNSET"), None),
            (owned(b"EMPTY"), Some(Vec::new())),
            (owned(b"A"), Some(owned(b"b=c"))),
            (owned(b"LINES"), Some(owned(b"a\nb\r\\n"))),
        ],
        ..DepInfo::default()
    };
    assert_eq!(parse(text).unwrap(), expected);
}

#[test]
fn what_is_no_dep_info_is_refused() {
    assert_eq!(parse(b"a: b\nnonsense\n"), Err(DepInfoError::NoRule { line: 2 }));
    assert_eq!(parse(b": b\n"), Err(DepInfoError::NoRule { line: 1 }));
    assert_eq!(parse(b"# env-dep:A=\\x\n"), Err(DepInfoError::Escape { line: 1 }));
    assert_eq!(parse(b"# env-dep:A=\\"), Err(DepInfoError::Escape { line: 1 }));
}

/// The compiler in use agrees: names with spaces and colons, variables with every escape.
#[test]
fn the_compiler_in_use_writes_what_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("a b:c.rs");
    let text = "pub const A: Option<&str> = option_env!(\"KACHE_UNSET\");\n\
                pub const B: &str = env!(\"KACHE_SET\");\n\
                pub const C: &[u8] = include_bytes!(\"in \\u{e9}.bin\");\n";
    std::fs::write(&source, text).unwrap();
    std::fs::write(directory.path().join("in \u{e9}.bin"), b"x").unwrap();
    let value = "a b\\n\r\nc=#";
    let status = std::process::Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()))
        .args(["--crate-name", "a", "--crate-type", "lib", "--emit=dep-info,metadata"])
        .arg("--out-dir")
        .arg(directory.path())
        .arg(&source)
        .env("KACHE_SET", value)
        .env_remove("KACHE_UNSET")
        .status()
        .unwrap();
    assert!(status.success());
    let found = parse(&std::fs::read(directory.path().join("a.d")).unwrap()).unwrap();
    let path = |name: &str| directory.path().join(name).into_os_string().into_encoded_bytes();
    assert_eq!(
        found.files.into_iter().collect::<Vec<_>>(),
        [path("a b:c.rs"), path("in \u{e9}.bin")]
    );
    let expected =
        [(b"KACHE_SET".to_vec(), Some(value.as_bytes().to_vec())), (b"KACHE_UNSET".to_vec(), None)];
    assert_eq!(found.variables, expected);
}
