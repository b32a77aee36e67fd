//! What holds for any bytes that come as a compiler call, a dep-info file, a linker's report or a text
//! with roots in it. The fuzzer runs these, and so does `tests/fuzz.rs` on the corpus.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use kache::invocation::{Parsed, depinfo, parse};
use kache::observe::{Access, link_report};
use kache::roots::Roots;
use store_format::Root;

/// Words, one a line. Whatever is understood is understood in the same way a second time, and
/// every question about it has an answer.
pub fn argv(data: &[u8]) {
    let words = data.split(|&byte| byte == b'\n');
    let arguments = words.map(|word| OsStr::from_bytes(word).to_owned()).collect::<Vec<_>>();
    let file = |name: &OsStr| Some(name.as_bytes().repeat(2));
    let Parsed::Compile(invocation) = parse(&arguments, file) else { return };
    let lead = [Some(&invocation.program), invocation.wrapped.as_ref()];
    let again = lead.into_iter().flatten().chain(&invocation.arguments).cloned();
    let again = again.collect::<Vec<OsString>>();
    if !again.iter().any(|word| word.as_bytes().starts_with(b"@")) {
        assert_eq!(parse(&again, file), Parsed::Compile(invocation.clone()));
    }
    let variable = |name: &str| matches!(name, "HOME" | "OUT_DIR").then(|| "/w/out".into());
    let roots = Roots::derive(&invocation, Path::new("/w"), variable);
    let parts = invocation.normalized(&roots).collect::<Vec<_>>();
    assert!(parts.iter().any(|part| part.name == "source"));
    assert!(parts.iter().any(|part| part.name == "--crate-name"));
    assert!(!invocation.crate_name.is_empty() && !invocation.crate_types.is_empty());
    assert!(!invocation.emit.is_empty());
    let outputs = invocation.outputs();
    assert!(!outputs.files.is_empty());
    let _ = (invocation.input_files(), invocation.scannable(|| true), invocation.links());
    let _ = (roots.remap_arguments(), invocation.depends_on_host_cpu());
}

/// A dep-info file. Its template leads back to it, and means the same files and variables.
pub fn dep_info(data: &[u8]) {
    let roots = roots(b"/w\n/w/target dir\n/home/u");
    let templated = depinfo::template(data, &roots);
    assert_eq!(roots.expand(&templated).as_deref(), Some(data));
    if let Ok(found) = depinfo::parse(data) {
        assert!(found.files.iter().all(|file| !file.is_empty()));
    }
}

/// A linker's report. Each record behind the first becomes an access, and one that is cut off is noticed.
pub fn link_report(data: &[u8]) {
    let Ok(report) = link_report::parse(data) else { return };
    // The first record's kind is zero, and so is the end of each.
    assert_eq!(data.split(|&byte| byte == 0).count(), report.accesses.len() + 3);
    assert!(link_report::parse(&data[..data.len() - 1]).is_err());
    let more = [data, b"\x10/more\0"].concat();
    let more = link_report::parse(&more).expect("one more record is understood");
    assert_eq!(more.accesses[..report.accesses.len()], report.accesses);
    assert_eq!(more.accesses.last(), Some(&Access::Read("/more".into())));
}

/// Roots, one a line up to an empty one, then a text.
pub fn template(data: &[u8]) {
    let end = data.windows(2).position(|pair| pair == b"\n\n").unwrap_or(data.len());
    let roots = roots(&data[..end]);
    let text = data.get(end + 2..).unwrap_or_default();
    for templated in [roots.template(text), roots.template_makefile(text)] {
        assert_eq!(roots.expand(&templated).as_deref(), Some(text));
    }
    if let Some(expanded) = roots.expand(text) {
        assert_eq!(roots.expand(&roots.template(&expanded)), Some(expanded));
    }
    let found = roots.surviving(text);
    for root in ROOTS {
        let path = roots.path(root).map(|path| path.as_os_str().as_bytes());
        let occurs = path.is_some_and(|path| text.windows(path.len()).any(|part| part == path));
        assert!(found.contains(root) || !occurs);
    }
    if !text.contains(&b'\n') && text.first() == Some(&b'/') {
        assert!(roots.resolve(&roots.relativize(text)).is_some());
    }
}

const ROOTS: [Root; 6] =
    [Root::Workspace, Root::Package, Root::Build, Root::CargoHome, Root::Sysroot, Root::Home];

fn roots(lines: &[u8]) -> Roots {
    let mut roots = Roots::default();
    for (root, line) in ROOTS.into_iter().zip(lines.split(|&byte| byte == b'\n')) {
        roots.set(root, Path::new(OsStr::from_bytes(line)));
    }
    roots
}
