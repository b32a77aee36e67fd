//! Whether an executable or library can read its whole environment without looking up a name.
//!
//! A bounded reader of the one table that tells: the names of the dynamic symbols. Whatever it does
//! not understand counts as able to.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

const SECTIONS_MAX: u16 = 4096;
const NAMES_BYTES_MAX: u64 = 64 << 20;
const SECTION_HEADER_BYTES: usize = 64;
/// Section type of dynamic symbols.
const DYNAMIC_SYMBOLS: u32 = 11;

/// Whether `path` names the C library's variable that holds all variables. Scripts do not; what
/// runs them is asked for itself.
pub(crate) fn names_environment(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return true };
    let mut header = [0; 64];
    if file.read_exact_at(&mut header, 0).is_err() {
        return false;
    }
    if !header.starts_with(b"\x7fELF") {
        return false;
    }
    let names = dynamic_names(&file, &header);
    // `__environ` and `_environ` are the same variable, and end alike.
    names.is_none_or(|names| memchr::memmem::find(&names, b"environ\0").is_some())
}

/// The text that holds the names of the dynamic symbols; empty if there are none.
fn dynamic_names(file: &File, header: &[u8; 64]) -> Option<Vec<u8>> {
    const CLASS_64: u8 = 2;
    const LITTLE_ENDIAN: u8 = 1;
    if header[4] != CLASS_64 || header[5] != LITTLE_ENDIAN {
        return None;
    }
    let table = number(header, 40);
    let count = u16::from_le_bytes([header[60], header[61]]);
    let entry_bytes = u16::from_le_bytes([header[58], header[59]]);
    if usize::from(entry_bytes) != SECTION_HEADER_BYTES || count == 0 || count > SECTIONS_MAX {
        return None;
    }
    let mut sections = vec![0; usize::from(count) * SECTION_HEADER_BYTES];
    file.read_exact_at(&mut sections, table).ok()?;
    let (sections, _) = sections.as_chunks::<SECTION_HEADER_BYTES>();
    let Some(symbols) = sections.iter().find(|section| half(*section, 4) == DYNAMIC_SYMBOLS)
    else {
        return Some(Vec::new());
    };
    let names = sections.get(usize::try_from(half(symbols, 40)).ok()?)?;
    let size_bytes = number(names, 32);
    if size_bytes > NAMES_BYTES_MAX {
        return None;
    }
    let mut text = vec![0; usize::try_from(size_bytes).ok()?];
    file.read_exact_at(&mut text, number(names, 24)).ok()?;
    Some(text)
}

fn half(bytes: &[u8; 64], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn number(bytes: &[u8; 64], at: usize) -> u64 {
    u64::from(half(bytes, at)) | u64::from(half(bytes, at + 4)) << 32
}
