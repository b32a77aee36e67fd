//! An ELF file of 64 bits as an image: what its sections tell.

use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::image_file::{Image, Users, bytes, contains, directory};

const SECTIONS_MAX: u16 = 4096;
const RUN_PATH_BYTES_MAX: u64 = 64 << 10;
const SECTION_HEADER_BYTES: usize = 64;
const SYMBOL_BYTES: usize = 24;
const RELOCATION_BYTES: usize = 24;
/// Section types.
const SYMBOLS: u32 = 2;
const DYNAMIC_SYMBOLS: u32 = 11;
const DYNAMIC: u32 = 6;
const RELOCATIONS: u32 = 4;
/// Without content in the file.
const ZEROS: u32 = 8;
/// Flags of sections.
const IN_MEMORY: u64 = 2;
const CODE: u64 = 4;

pub(super) struct Elf<'a> {
    file: &'a File,
    header: [u8; 64],
}

impl Image for Elf<'_> {
    fn names_environment(&self) -> Option<bool> {
        let names = self.names(DYNAMIC_SYMBOLS)?;
        // A standard library beside it names the variable, and is asked by one of these.
        if [&b"3env7vars_os"[..], b"3env4vars"].iter().any(|name| contains(&names, name)) {
            return Some(true);
        }
        // Most have none whose name even ends so. A name can be the end of another one's.
        if !contains(&names, b"environ\0") {
            return Some(false);
        }
        let symbols = self.table(DYNAMIC_SYMBOLS)?;
        let mut symbols = symbols.as_chunks::<SYMBOL_BYTES>().0.iter();
        Some(symbols.any(|symbol| is_environment(symbol, &names) != Some(false)))
    }

    fn symbols(&self) -> Option<Vec<u8>> {
        // Without a single symbol it was stripped, and does not tell.
        self.names(SYMBOLS).filter(|names| names.len() >= 2)
    }

    fn code_tells(&self) -> bool {
        const X86_64: u16 = 62;
        self.header_half(18) == X86_64
    }

    fn users(&self, function: &[u8]) -> Option<Users> {
        let functions = self.functions()?;
        let meant = functions.iter().filter(|found| contains(&found.name, function));
        let mut targets: Vec<u64> = meant.map(|found| found.start).collect();
        if targets.is_empty() || contains(&self.names(DYNAMIC_SYMBOLS)?, function) {
            return None;
        }
        targets.extend(self.words_with(&targets)?);
        Some(Users {
            of_function: self.users_of(&functions, &targets)?,
            of_environment: self.users_of(&functions, &self.words_for_environment()?)?,
        })
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
        let names = self.text(sections.get(self.names_of_sections())?)?;
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

    fn header_half(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.header[at], self.header[at + 1]])
    }

    /// Which section has the names of all.
    fn names_of_sections(&self) -> usize {
        self.header_half(62).into()
    }

    /// A table of symbols; empty if there is none.
    fn table(&self, table: u32) -> Option<Vec<u8>> {
        let sections = self.sections()?;
        let (sections, _) = sections.as_chunks::<SECTION_HEADER_BYTES>();
        let found = sections.iter().find(|section| half(*section, 4) == table);
        found.map_or(Some(Vec::new()), |section| self.text(section))
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

    /// The functions whose code may refer to one of these places, in an executable or library for this
    /// processor that can lie anywhere: all its code refers to places by their distance. Each distance in it
    /// counts that leads there, wherever an instruction begins, if what is in front of it can be in front of
    /// a distance.
    fn users_of(&self, functions: &[Function], places: &[u64]) -> Option<Vec<Vec<u8>>> {
        const POSITION_INDEPENDENT: u16 = 3;
        if self.header_half(16) != POSITION_INDEPENDENT {
            return None;
        }
        let sections = self.sections()?;
        let mut users = Vec::new();
        for section in sections.as_chunks::<SECTION_HEADER_BYTES>().0 {
            if number(section, 8) & CODE == 0 || half(section, 4) == ZEROS {
                continue;
            }
            let (start, code) = (number(section, 16), self.text(section)?);
            let found = distances_to(places, start, &code)?.into_iter();
            for at in found.filter(|at| is_behind_instruction(&code, *at)) {
                users.push(function_at(functions, start.checked_add(at)?)?.name.clone());
            }
        }
        users.sort_unstable();
        users.dedup();
        Some(users)
    }

    /// The words of the table that the loader puts the place of the C library's variable into. `None` if that
    /// comes to be anywhere else.
    fn words_for_environment(&self) -> Option<Vec<u64>> {
        const PLACE: u64 = 6;
        let sections = self.sections()?;
        let names = self.names(DYNAMIC_SYMBOLS)?;
        let symbols = self.table(DYNAMIC_SYMBOLS)?;
        let symbols = symbols.as_chunks::<SYMBOL_BYTES>().0;
        let mut words = Vec::new();
        for section in sections.as_chunks::<SECTION_HEADER_BYTES>().0 {
            if half(section, 4) != RELOCATIONS {
                continue;
            }
            for entry in self.text(section)?.as_chunks::<RELOCATION_BYTES>().0 {
                let information = number(entry, 8);
                let symbol = symbols.get(usize::try_from(information >> 32).ok()?)?;
                if is_environment(symbol, &names)? {
                    if information & 0xffff_ffff != PLACE {
                        return None;
                    }
                    words.push(number(entry, 0));
                }
            }
        }
        Some(words)
    }

    /// Where words of the table lie that hold one of these addresses, once the loader has come by. `None`
    /// if it is anywhere else in memory, too.
    fn words_with(&self, addresses: &[u64]) -> Option<Vec<u64>> {
        const RELATIVE: u64 = 8;
        let sections = self.sections()?;
        let (sections, _) = sections.as_chunks::<SECTION_HEADER_BYTES>();
        let names = self.text(sections.get(self.names_of_sections())?)?;
        let is_table = |place: u64| {
            let holds = |section: &&[u8; SECTION_HEADER_BYTES]| {
                number(*section, 8) & IN_MEMORY != 0
                    && place
                        .checked_sub(number(*section, 16))
                        .is_some_and(|at| at < number(*section, 32))
            };
            let section = sections.iter().find(holds)?;
            let name = names.get(usize::try_from(half(section, 0)).ok()?..)?;
            Some(name.starts_with(b".got\0") || name.starts_with(b".got.plt\0"))
        };
        let mut places = Vec::new();
        for section in sections {
            let (kind, flags, start) = (half(section, 4), number(section, 8), number(section, 16));
            if kind == RELOCATIONS {
                for entry in self.text(section)?.as_chunks::<RELOCATION_BYTES>().0 {
                    if number(entry, 8) == RELATIVE && addresses.contains(&number(entry, 16)) {
                        places.push(number(entry, 0));
                    }
                }
            } else if flags & IN_MEMORY != 0 && flags & CODE == 0 && kind != ZEROS {
                let text = self.text(section)?;
                let words = text.as_chunks::<8>().0.iter().enumerate();
                let words =
                    words.filter(|(_, word)| addresses.contains(&u64::from_le_bytes(**word)));
                places.extend(words.map(|(at, _)| start.wrapping_add(at as u64 * 8)));
            }
        }
        places.iter().all(|place| is_table(*place) == Some(true)).then_some(places)
    }

    /// All functions, in the order of their addresses.
    fn functions(&self) -> Option<Vec<Function>> {
        const FUNCTION: u8 = 2;
        let names = self.names(SYMBOLS)?;
        let mut functions = Vec::new();
        for symbol in self.table(SYMBOLS)?.as_chunks::<SYMBOL_BYTES>().0 {
            if symbol[4] & 0xf == FUNCTION {
                let (start, length) = (number(symbol, 8), number(symbol, 16));
                let name = names.get(usize::try_from(half(symbol, 0)).ok()?..)?;
                let name = name.split(|byte| *byte == 0).next()?.to_vec();
                functions.push(Function { start, end: start.checked_add(length)?, name });
            }
        }
        functions.sort_by_key(|function| function.start);
        Some(functions)
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
        let (count, entry_bytes) = (self.header_half(60), self.header_half(58));
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

/// Where a function lies once it is loaded.
struct Function {
    start: u64,
    end: u64,
    name: Vec<u8>,
}

/// Where in code that begins at `start` four bytes lie that are the distance from behind them to one of the
/// places. Looks at each byte of it, and so has nothing but arithmetic inside.
fn distances_to(places: &[u64], start: u64, code: &[u8]) -> Option<Vec<u64>> {
    const HALF: u64 = 0xffff_ffff;
    let mut meant = [u64::MAX; 4];
    if places.len() > meant.len() {
        return None;
    }
    for (meant, place) in meant.iter_mut().zip(places) {
        *meant = place & HALF;
    }
    let [first, second, third, fourth] = meant;
    let mut found = Vec::new();
    let (mut last_four, mut behind, mut at) = (0, start & HALF, 0);
    while at < code.len() {
        last_four = last_four >> 8 | u64::from(code[at]) << 24;
        at += 1;
        behind += 1;
        let leads_to = (last_four + behind) & HALF;
        if (leads_to == first || leads_to == second || leads_to == third || leads_to == fourth)
            && at >= 4
        {
            found.push(at as u64 - 4);
        }
    }
    Some(found)
}

/// Whether an instruction with a distance can end where four bytes begin, near a place or far from it: a call, a
/// jump with or without a condition, or the address of an operand, which says so by five of its bits.
/// Places that are near have distances that are small numbers, of which code has many.
fn is_behind_instruction(code: &[u8], at: u64) -> bool {
    let byte = |back: usize| usize::try_from(at).ok()?.checked_sub(back).map(|at| code[at]);
    match (byte(2), byte(1)) {
        (_, Some(0xe8 | 0xe9)) | (Some(0x0f), Some(0x80..=0x8f)) => true,
        (_, Some(last)) => last & 0xc7 == 0x05,
        (_, None) => false,
    }
}

/// Whether a symbol is the C library's variable that holds all variables, by any of its names.
fn is_environment(symbol: &[u8; SYMBOL_BYTES], names: &[u8]) -> Option<bool> {
    const NAMES: [&[u8]; 3] = [b"environ", b"_environ", b"__environ"];
    let name = names.get(usize::try_from(half(symbol, 0)).ok()?..)?;
    Some(NAMES.contains(&name.split(|byte| *byte == 0).next()?))
}

fn function_at(functions: &[Function], address: u64) -> Option<&Function> {
    let behind = functions.partition_point(|function| function.start <= address);
    functions[..behind].last().filter(|function| address < function.end)
}

fn half(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from(half(bytes, at)) | u64::from(half(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::observe::image_file::{EnvironmentUse, calls_kernel, environment_use, run_path};

    /// Where the parts of the image lie once it is loaded.
    const CODE_AT: u64 = 0x1000;
    const TABLE_AT: u64 = 0x2000;
    const DATA_AT: u64 = 0x3000;
    const FUNCTION_BYTES: usize = 16;

    /// Functions that call each other, a table through which they do so, and data.
    #[derive(Clone)]
    struct Program {
        /// Of each its name and the place that its code refers to.
        functions: Vec<(&'static str, u64)>,
        /// What is in front of each distance.
        instruction: [u8; 2],
        /// Words at [`DATA_AT`].
        data: Vec<u64>,
        kind: u8,
    }

    impl Program {
        /// One that starts programs.
        fn new() -> Self {
            Self {
                functions: vec![
                    ("_ZN3std3sys7process4unix7Command7do_exec17h0E", TABLE_AT),
                    ("_ZN3std3env7vars_os17h0E", TABLE_AT),
                    ("_ZN3std3sys7process3env10CommandEnv7capture17h0E", TABLE_AT + 8),
                    ("_ZN5build4main17h0E", Self::place(2)),
                ],
                instruction: [0xff, 0x15],
                data: vec![0],
                kind: 3,
            }
        }

        /// Where a function lies.
        fn place(number: u64) -> u64 {
            CODE_AT + number * FUNCTION_BYTES as u64
        }

        /// Code, symbols and their names.
        fn code(&self) -> [Vec<u8>; 3] {
            let (mut code, mut symbols, mut names) = (Vec::new(), vec![0; SYMBOL_BYTES], vec![0]);
            for (number, (name, target)) in (0..).zip(&self.functions) {
                let distance = target.wrapping_sub(Self::place(number) + 6).to_le_bytes();
                code.extend_from_slice(&self.instruction);
                code.extend_from_slice(&distance[..4]);
                code.resize(code.len() + FUNCTION_BYTES - 6, 0x90);
                symbols.extend(symbol(names.len(), Self::place(number)));
                names.extend([name.as_bytes(), &[0]].concat());
            }
            [code, symbols, names]
        }

        fn bytes(&self) -> Vec<u8> {
            let [code, symbols, names] = self.code();
            // The loader puts the variable's place into the first word of the table, and that of the function
            // that gives all variables into the second.
            let relocations = [TABLE_AT, 1 << 32 | 6, 0, TABLE_AT + 8, 8, Self::place(1)];
            let dynamic = [vec![0; SYMBOL_BYTES], symbol(1, 0)].concat();
            let section_names =
                b"\0.text\0.got\0.data\0.rela\0.dynsym\0.dynstr\0.symtab\0.strtab\0.shstrtab\0";
            // Kind, flags, link, place and content.
            let sections = [
                (1, IN_MEMORY | CODE, 0, CODE_AT, code),
                (1, IN_MEMORY, 0, TABLE_AT, vec![0; 16]),
                (1, IN_MEMORY, 0, DATA_AT, words(&self.data)),
                (RELOCATIONS, 0, 0, 0, words(&relocations)),
                (DYNAMIC_SYMBOLS, 0, 6, 0, dynamic),
                (3, 0, 0, 0, b"\0environ\0".to_vec()),
                (SYMBOLS, 0, 8, 0, symbols),
                (3, 0, 0, 0, names),
                (3, 0, 0, 0, section_names.to_vec()),
            ];
            let (mut file, mut headers) = (vec![0; 64], vec![0; SECTION_HEADER_BYTES]);
            let mut name_at = 1;
            for (kind, flags, link, place, content) in sections {
                let (at, bytes) = (file.len() as u64, content.len() as u64);
                file.extend(content);
                let kind = u64::from(kind) << 32;
                headers.extend(words(&[name_at | kind, flags, place, at, bytes, link, 0, 0]));
                let rest = section_names.iter().skip(usize::try_from(name_at).unwrap());
                name_at += rest.take_while(|byte| **byte != 0).count() as u64 + 1;
            }
            let headers_at = file.len() as u64;
            file[..6].copy_from_slice(b"\x7fELF\x02\x01");
            (file[16], file[18]) = (self.kind, 62);
            file[40..48].copy_from_slice(&headers_at.to_le_bytes());
            (file[58], file[60], file[62]) = (64, 10, 9);
            file.extend(headers);
            file
        }
    }

    fn words(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// A function, and a variable of another image at no place.
    fn symbol(name: usize, place: u64) -> Vec<u8> {
        let mut symbol = words(&[name as u64, place, FUNCTION_BYTES as u64]);
        symbol[4] = if place == 0 { 0x11 } else { 0x12 };
        symbol
    }

    fn use_of(program: &Program, path: &Path) -> EnvironmentUse {
        std::fs::write(path, program.bytes()).unwrap();
        environment_use(path)
    }

    #[test]
    fn code_tells_who_can_reach_the_environment() {
        let space = tempfile::tempdir().unwrap();
        let path = space.path().join("program");
        let check = |what: &str, expected, change: &dyn Fn(&mut Program)| {
            let mut program = Program::new();
            change(&mut program);
            assert_eq!(use_of(&program, &path), expected, "{what}");
        };
        let (all, copy) = (Program::place(1), "_ZN2cc9build_env11EnvSnapshot7capture17h0E");
        check("it starts programs", EnvironmentUse::Nothing, &|_| {});
        for (name, expected) in
            [("_ZN5build4main17h0E", EnvironmentUse::Everything), (copy, EnvironmentUse::Compilers)]
        {
            for place in [all, TABLE_AT + 8] {
                check(name, expected, &|program| program.functions[3] = (name, place));
            }
            check(name, EnvironmentUse::Everything, &|program| {
                program.functions[3] = (name, TABLE_AT);
            });
        }
        check("a pointer in data", EnvironmentUse::Everything, &|program| program.data[0] = all);
        for (instruction, expected) in [
            // A call, a jump, one on a condition, and the address of an operand.
            ([0x90, 0xe8], EnvironmentUse::Everything),
            ([0x90, 0xe9], EnvironmentUse::Everything),
            ([0x0f, 0x84], EnvironmentUse::Everything),
            ([0x8d, 0x3d], EnvironmentUse::Everything),
            // A number that is moved.
            ([0x90, 0xb8], EnvironmentUse::Nothing),
        ] {
            check("a function is called", expected, &|program| {
                program.instruction = instruction;
                program.functions[3].1 = all;
            });
        }
        for (name, expected) in [
            ("_ZN5build4main17h0E", EnvironmentUse::Everything),
            ("_ZN2cc8parallel9job_token14jobserver_auth17h0E", EnvironmentUse::Compilers),
        ] {
            check("a command is asked", expected, &|program| {
                program.functions[3] = (copy, all);
                program.functions.push(("_ZN3std7process7Command8get_envs17h0E", 0));
                program.functions.push((name, Program::place(4)));
            });
        }
        check("it lies at one place", EnvironmentUse::Everything, &|program| program.kind = 2);
        check("it has no such function", EnvironmentUse::Everything, &|program| {
            program.functions[1].0 = "_ZN3std3env4args17h0E";
        });
        check("a function without a name", EnvironmentUse::Everything, &|program| {
            program.functions[3] = ("", all);
        });
    }

    #[test]
    fn an_image_that_is_damaged_or_cut_anywhere_is_never_a_crash() {
        let space = tempfile::tempdir().unwrap();
        let path = space.path().join("program");
        let whole = Program::new().bytes();
        let ask = |content: &[u8]| {
            std::fs::write(&path, content).unwrap();
            assert!(run_path(&path).is_empty() && !calls_kernel(&path));
            environment_use(&path)
        };
        assert_eq!(ask(&whole), EnvironmentUse::Nothing);
        for end in 64..whole.len() {
            assert_eq!(ask(&whole[..end]), EnvironmentUse::Everything, "cut at {end}");
        }
        for at in 0..whole.len() {
            for byte in [0xff, whole[at] ^ 0x01] {
                let mut damaged = whole.clone();
                damaged[at] = byte;
                ask(&damaged);
            }
        }
    }
}
