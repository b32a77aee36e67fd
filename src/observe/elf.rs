//! Whether an executable or library reads its whole environment without looking up a name, and where it
//! has the loader search.
//!
//! A bounded reader of the tables that tell: the names of symbols, and what the loader is told. Whatever
//! it does not understand counts as reading.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const SECTIONS_MAX: u16 = 4096;
const NAMES_BYTES_MAX: u64 = 64 << 20;
const RUN_PATH_BYTES_MAX: u64 = 64 << 10;
const SECTION_HEADER_BYTES: usize = 64;
/// Section types.
const SYMBOLS: u32 = 2;
const DYNAMIC_SYMBOLS: u32 = 11;
const DYNAMIC: u32 = 6;

/// Whether `path` names the C library's variable that holds all variables. Scripts do not; what
/// runs them is asked for itself.
pub(crate) fn names_environment(path: &Path) -> bool {
    // `__environ` and `_environ` are the same variable, and end alike.
    match names(path, DYNAMIC_SYMBOLS) {
        Ok(names) => memchr::memmem::find(&names, b"environ\0").is_some(),
        Err(Unreadable::NoElf) => false,
        Err(Unreadable::NoTable) => true,
    }
}

/// Whether a Rust executable goes through all variables by the standard library. Starting a program
/// takes them all too, to pass them on: that has their iterator inlined, and only drops it by name.
pub(crate) fn iterates_variables(path: &Path) -> bool {
    const ITERATOR: [&[u8]; 3] = [b"3env4vars", b"3env4Vars", b"env..Vars$u20$"];
    match names(path, SYMBOLS) {
        // Without a single symbol it was stripped, and does not tell.
        Ok(names) => {
            names.len() < 2
                || ITERATOR.iter().any(|name| contains(&names, name))
                || contains(&names, b"VarsOs")
                    && names
                        .split(|byte| *byte == 0)
                        .any(|name| contains(name, b"VarsOs") && !contains(name, b"drop"))
        }
        Err(Unreadable::NoElf) => false,
        Err(Unreadable::NoTable) => true,
    }
}

/// The directories in which an executable or library has the loader search for what it needs. Those in a
/// store whose directories never change are left out.
pub(crate) fn run_path(path: &Path) -> Vec<PathBuf> {
    run_path_text(path).map_or_else(Vec::new, |text| {
        let directories = text.split(|byte| *byte == b':').filter_map(|part| {
            let (origin, rest) = [&b"$ORIGIN"[..], b"${ORIGIN}"]
                .iter()
                .find_map(|name| {
                    Some((path.parent()?.as_os_str().as_bytes(), part.strip_prefix(*name)?))
                })
                .unwrap_or((b"", part));
            let directory = [origin, rest].concat();
            let is_plain = directory.starts_with(b"/") && !directory.contains(&b'$');
            is_plain.then(|| PathBuf::from(OsStr::from_bytes(&directory)))
        });
        directories.filter(|directory| !directory.starts_with("/nix/store")).collect()
    })
}

fn run_path_text(path: &Path) -> Option<Vec<u8>> {
    const RPATH: u64 = 15;
    const RUNPATH: u64 = 29;
    let (file, _, sections) = opened(path)?;
    let (sections, _) = sections.as_chunks::<SECTION_HEADER_BYTES>();
    let dynamic = sections.iter().find(|section| half(*section, 4) == DYNAMIC)?;
    let entries = text(&file, dynamic)?;
    let (entries, _) = entries.as_chunks::<16>();
    // Where there are both, the loader follows the newer one.
    let find = |tag: u64| entries.iter().find(|entry| number(*entry, 0) == tag);
    let offset = number(find(RUNPATH).or_else(|| find(RPATH))?, 8);
    let names = sections.get(usize::try_from(half(dynamic, 40)).ok()?)?;
    // The names of all symbols are there, too: a large library has megabytes of them.
    let mut name = Vec::new();
    let bytes = number(names, 32).checked_sub(offset)?.min(RUN_PATH_BYTES_MAX);
    name.resize(usize::try_from(bytes).ok()?, 0);
    file.read_exact_at(&mut name, number(names, 24).checked_add(offset)?).ok()?;
    name.split(|byte| *byte == 0).next().map(<[u8]>::to_vec)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
}

/// Whether an executable or library holds code of the Go compiler: that calls the kernel itself,
/// also where the C library is linked.
pub(crate) fn is_written_in_go(path: &Path) -> bool {
    let names = opened(path).and_then(|(file, header, sections)| {
        let (sections, _) = sections.as_chunks::<SECTION_HEADER_BYTES>();
        let index = u16::from_le_bytes([header[62], header[63]]);
        text(&file, sections.get(usize::from(index))?)
    });
    names.is_some_and(|names| contains(&names, b".go.buildinfo\0"))
}

enum Unreadable {
    NoElf,
    NoTable,
}

/// The text that holds the names of a table of symbols; empty if there is no such table.
fn names(path: &Path, table: u32) -> Result<Vec<u8>, Unreadable> {
    let file = File::open(path).map_err(|_| Unreadable::NoTable)?;
    let mut header = [0; 64];
    if file.read_exact_at(&mut header, 0).is_err() || !header.starts_with(b"\x7fELF") {
        return Err(Unreadable::NoElf);
    }
    names_in(&file, &header, table).ok_or(Unreadable::NoTable)
}

fn names_in(file: &File, header: &[u8; 64], table: u32) -> Option<Vec<u8>> {
    let sections = sections(file, header)?;
    let (sections, _) = sections.as_chunks::<SECTION_HEADER_BYTES>();
    let Some(symbols) = sections.iter().find(|section| half(*section, 4) == table) else {
        return Some(Vec::new());
    };
    text(file, sections.get(usize::try_from(half(symbols, 40)).ok()?)?)
}

/// An executable or library with its header and those of all sections.
fn opened(path: &Path) -> Option<(File, [u8; 64], Vec<u8>)> {
    let file = File::open(path).ok()?;
    let mut header = [0; 64];
    file.read_exact_at(&mut header, 0).ok()?;
    let sections = sections(&file, &header)?;
    Some((file, header, sections))
}

/// The headers of all sections.
fn sections(file: &File, header: &[u8; 64]) -> Option<Vec<u8>> {
    const CLASS_64: u8 = 2;
    const LITTLE_ENDIAN: u8 = 1;
    if !header.starts_with(b"\x7fELF") || header[4] != CLASS_64 || header[5] != LITTLE_ENDIAN {
        return None;
    }
    let count = u16::from_le_bytes([header[60], header[61]]);
    let entry_bytes = u16::from_le_bytes([header[58], header[59]]);
    if usize::from(entry_bytes) != SECTION_HEADER_BYTES || count == 0 || count > SECTIONS_MAX {
        return None;
    }
    let mut sections = vec![0; usize::from(count) * SECTION_HEADER_BYTES];
    file.read_exact_at(&mut sections, number(header, 40)).ok()?;
    Some(sections)
}

/// The content of a section that holds names.
fn text(file: &File, section: &[u8; SECTION_HEADER_BYTES]) -> Option<Vec<u8>> {
    let size_bytes = number(section, 32);
    if size_bytes > NAMES_BYTES_MAX {
        return None;
    }
    let mut text = vec![0; usize::try_from(size_bytes).ok()?];
    file.read_exact_at(&mut text, number(section, 24)).ok()?;
    Some(text)
}

fn half(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from(half(bytes, at)) | u64::from(half(bytes, at + 4)) << 32
}
