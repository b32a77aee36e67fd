//! An ELF file of 64 bits as an image: what its sections tell.

use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::image_file::{Image, bytes, contains, directory};

const SECTIONS_MAX: u16 = 4096;
const RUN_PATH_BYTES_MAX: u64 = 64 << 10;
const SECTION_HEADER_BYTES: usize = 64;
/// Section types.
const SYMBOLS: u32 = 2;
const DYNAMIC_SYMBOLS: u32 = 11;
const DYNAMIC: u32 = 6;

pub(super) struct Elf<'a> {
    file: &'a File,
    header: [u8; 64],
}

impl Image for Elf<'_> {
    fn names_environment(&self) -> Option<bool> {
        // `__environ` and `_environ` are the same variable, and end alike.
        Some(contains(&self.names(DYNAMIC_SYMBOLS)?, b"environ\0"))
    }

    fn symbols(&self) -> Option<Vec<u8>> {
        // Without a single symbol it was stripped, and does not tell.
        self.names(SYMBOLS).filter(|names| names.len() >= 2)
    }

    fn run_path(&self, origin: &[u8]) -> Option<Vec<PathBuf>> {
        let text = self.run_path_text()?;
        let parts = text.split(|byte| *byte == b':');
        let directories =
            parts.filter_map(|part| directory(part, [b"$ORIGIN", b"${ORIGIN}"], origin));
        let is_plain = |directory: &PathBuf| !directory.as_os_str().as_bytes().contains(&b'$');
        Some(directories.filter(is_plain).collect())
    }

    fn is_written_in_go(&self) -> Option<bool> {
        let sections = self.sections()?;
        let (sections, _) = sections.as_chunks::<SECTION_HEADER_BYTES>();
        let index = u16::from_le_bytes([self.header[62], self.header[63]]);
        let names = self.text(sections.get(usize::from(index))?)?;
        Some(contains(&names, b".go.buildinfo\0"))
    }
}

impl<'a> Elf<'a> {
    /// The file, if it is one of this format.
    pub(super) fn begin(file: &'a File) -> Option<Self> {
        let mut header = [0; 64];
        file.read_exact_at(&mut header, 0).ok()?;
        header.starts_with(b"\x7fELF").then_some(Self { file, header })
    }

    /// The text that holds the names of a table of symbols; empty if there is no such table.
    fn names(&self, table: u32) -> Option<Vec<u8>> {
        let sections = self.sections()?;
        let (sections, _) = sections.as_chunks::<SECTION_HEADER_BYTES>();
        let Some(symbols) = sections.iter().find(|section| half(*section, 4) == table) else {
            return Some(Vec::new());
        };
        self.text(sections.get(usize::try_from(half(symbols, 40)).ok()?)?)
    }

    fn run_path_text(&self) -> Option<Vec<u8>> {
        const RPATH: u64 = 15;
        const RUNPATH: u64 = 29;
        let sections = self.sections()?;
        let (sections, _) = sections.as_chunks::<SECTION_HEADER_BYTES>();
        let dynamic = sections.iter().find(|section| half(*section, 4) == DYNAMIC)?;
        let entries = self.text(dynamic)?;
        let (entries, _) = entries.as_chunks::<16>();
        // Where there are both, the loader follows the newer one.
        let find = |tag: u64| entries.iter().find(|entry| number(*entry, 0) == tag);
        let offset = number(find(RUNPATH).or_else(|| find(RPATH))?, 8);
        let names = sections.get(usize::try_from(half(dynamic, 40)).ok()?)?;
        // The names of all symbols are there, too: a large library has megabytes of them.
        let count = number(names, 32).checked_sub(offset)?.min(RUN_PATH_BYTES_MAX);
        let name = bytes(self.file, number(names, 24).checked_add(offset)?, count)?;
        name.split(|byte| *byte == 0).next().map(<[u8]>::to_vec)
    }

    /// The headers of all sections.
    fn sections(&self) -> Option<Vec<u8>> {
        const CLASS_64: u8 = 2;
        const LITTLE_ENDIAN: u8 = 1;
        let header = &self.header;
        if header[4] != CLASS_64 || header[5] != LITTLE_ENDIAN {
            return None;
        }
        let count = u16::from_le_bytes([header[60], header[61]]);
        let entry_bytes = u16::from_le_bytes([header[58], header[59]]);
        if usize::from(entry_bytes) != SECTION_HEADER_BYTES || count == 0 || count > SECTIONS_MAX {
            return None;
        }
        bytes(self.file, number(header, 40), u64::from(count) * u64::from(entry_bytes))
    }

    /// The content of a section.
    fn text(&self, section: &[u8; SECTION_HEADER_BYTES]) -> Option<Vec<u8>> {
        bytes(self.file, number(section, 24), number(section, 32))
    }
}

fn half(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from(half(bytes, at)) | u64::from(half(bytes, at + 4)) << 32
}
