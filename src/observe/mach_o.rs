//! A Mach-O file of 64 bits as one image, and a universal file as several: what load commands tell.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::image_file::{Image, bytes, contains, directory};

/// Java classes begin alike, and have a number above this in the place of the count.
const IMAGES_MAX: u32 = 40;
const COMMANDS_BYTES_MAX: u32 = 1 << 20;
const HEADER_BYTES: u64 = 32;
const SYMBOL_BYTES: usize = 16;
const SEGMENT_BYTES: usize = 72;
const SECTION_BYTES: usize = 80;
/// Kinds of load commands.
const SYMBOLS: u32 = 0x2;
const SEGMENT: u32 = 0x19;
const RUN_PATH: u32 = 0x8000_001c;

const MAGIC: [u8; 4] = [0xcf, 0xfa, 0xed, 0xfe];
const UNIVERSAL: [u8; 4] = [0xca, 0xfe, 0xba, 0xbe];
const UNIVERSAL_LARGE: [u8; 4] = [0xca, 0xfe, 0xba, 0xbf];

pub(super) struct MachO<'a> {
    file: &'a File,
    start: u64,
}

/// The images in a file, if it tells where they are. There are none in one of another format.
pub(super) fn images(file: &File) -> Option<Vec<MachO<'_>>> {
    let mut magic = [0; 4];
    if file.read_exact_at(&mut magic, 0).is_err() {
        return Some(Vec::new());
    }
    match magic {
        MAGIC => Some(vec![MachO { file, start: 0 }]),
        UNIVERSAL => of_processors(file, 20, 4),
        UNIVERSAL_LARGE => of_processors(file, 32, 8),
        _ => Some(Vec::new()),
    }
}

/// The images of a universal file. Those for processors of 32 bits are left out: no system runs them
/// where it runs others.
fn of_processors(file: &File, entry_bytes: usize, offset_bytes: usize) -> Option<Vec<MachO<'_>>> {
    const BITS_32: u8 = 0;
    let count = bytes(file, 4, 4)?;
    let count = u32::from_be_bytes(*count.first_chunk()?);
    if count > IMAGES_MAX {
        return None;
    }
    let entries = bytes(file, 8, u64::from(count) * entry_bytes as u64)?;
    let entries = entries.chunks_exact(entry_bytes).filter(|entry| entry[0] != BITS_32);
    let starts = entries.map(|entry| {
        entry[8..][..offset_bytes].iter().fold(0, |start, byte| start << 8 | u64::from(*byte))
    });
    let images: Vec<_> = starts.map(|start| MachO { file, start }).collect();
    (!images.is_empty()).then_some(images)
}

impl Image for MachO<'_> {
    fn names_environment(&self) -> Option<bool> {
        // Libraries call the function that tells where the variable is.
        const NAMES: [&[u8]; 2] = [b"_environ\0", b"NSGetEnviron\0"];
        let names = self.names()?;
        Some(NAMES.iter().any(|name| contains(&names, name)))
    }

    fn symbols(&self) -> Option<Vec<u8>> {
        // One that was stripped keeps the names that the loader needs, and does not tell.
        if self.has_local_function()? { self.names() } else { None }
    }

    fn run_path(&self, origin: &[u8]) -> Option<Vec<PathBuf>> {
        let commands = self.commands(RUN_PATH)?;
        let directories = commands.iter().filter_map(|command| {
            let text = command.get(usize::try_from(word(command, 8)?).ok()?..)?;
            let part = text.split(|byte| *byte == 0).next()?;
            directory(part, [b"@executable_path", b"@loader_path"], origin)
        });
        Some(directories.collect())
    }

    fn is_written_in_go(&self) -> Option<bool> {
        let segments = self.commands(SEGMENT)?;
        let mut sections = segments.iter().filter_map(|segment| segment.get(SEGMENT_BYTES..));
        Some(sections.any(|sections| {
            let (sections, _) = sections.as_chunks::<SECTION_BYTES>();
            sections.iter().any(|section| section.starts_with(b"__go_buildinfo\0"))
        }))
    }
}

impl MachO<'_> {
    /// The load commands of a kind, if all that there are can be told apart.
    fn commands(&self, kind: u32) -> Option<Vec<Vec<u8>>> {
        let header = bytes(self.file, self.start, HEADER_BYTES)?;
        let count_bytes = word(&header, 20)?;
        if !header.starts_with(&MAGIC) || count_bytes > COMMANDS_BYTES_MAX {
            return None;
        }
        let start = self.start.checked_add(HEADER_BYTES)?;
        let commands = bytes(self.file, start, u64::from(count_bytes))?;
        let mut rest = &commands[..];
        let mut found = Vec::new();
        for _ in 0..word(&header, 16)? {
            let command_bytes = usize::try_from(word(rest, 4)?).ok()?;
            let (command, others) = rest.split_at_checked(command_bytes)?;
            if word(command, 0)? == kind {
                found.push(command.to_vec());
            }
            rest = others;
        }
        Some(found)
    }

    /// The names of all symbols. Without any, what the loader binds is told elsewhere.
    fn names(&self) -> Option<Vec<u8>> {
        let commands = self.commands(SYMBOLS)?;
        let table = commands.first()?;
        if word(table, 12)? == 0 {
            return None;
        }
        self.table(word(table, 16)?, u64::from(word(table, 20)?))
    }

    /// Whether a function that no other image calls is among the symbols.
    fn has_local_function(&self) -> Option<bool> {
        /// Of the type: whether it is for debuggers, where it is defined, and whether others see it.
        const TYPE: u8 = 0xe0 | 0x0e | 0x01;
        const IN_SECTION: u8 = 0x0e;
        /// Linkers begin with the code. Some of their own symbols are elsewhere.
        const FIRST_SECTION: u8 = 1;
        let commands = self.commands(SYMBOLS)?;
        let table = commands.first()?;
        let count_bytes = u64::from(word(table, 12)?) * SYMBOL_BYTES as u64;
        let symbols = self.table(word(table, 8)?, count_bytes)?;
        let (symbols, _) = symbols.as_chunks::<SYMBOL_BYTES>();
        let is_one =
            |symbol: &[u8; _]| symbol[4] & TYPE == IN_SECTION && symbol[5] == FIRST_SECTION;
        Some(symbols.iter().any(is_one))
    }

    fn table(&self, at: u32, count: u64) -> Option<Vec<u8>> {
        bytes(self.file, self.start.checked_add(u64::from(at))?, count)
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_le_bytes(*word))
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::observe::image_file::{EnvironmentUse, calls_kernel, environment_use, run_path};

    /// Types and sections of symbols.
    const UNDEFINED: [u8; 2] = [0x01, 0];
    const GLOBAL: [u8; 2] = [0x0f, 1];
    const LOCAL: [u8; 2] = [0x0e, 1];
    const LOCAL_DATA: [u8; 2] = [0x0e, 2];
    const FOR_DEBUGGERS: [u8; 2] = [0x3c, 0];

    fn command(kind: u32, content: &[u8]) -> Vec<u8> {
        let content_bytes = content.len().next_multiple_of(8);
        let mut command = kind.to_le_bytes().to_vec();
        command.extend(u32::try_from(8 + content_bytes).unwrap().to_le_bytes());
        command.extend(content);
        command.resize(8 + content_bytes, 0);
        command
    }

    fn run_path_command(directory: &str) -> Vec<u8> {
        command(RUN_PATH, &[&12_u32.to_le_bytes()[..], directory.as_bytes(), b"\0"].concat())
    }

    fn segment_command(sections: &[&str]) -> Vec<u8> {
        let mut content = vec![0; SEGMENT_BYTES - 8];
        for section in sections {
            let end = content.len() + SECTION_BYTES;
            content.extend(section.as_bytes());
            content.resize(end, 0);
        }
        command(SEGMENT, &content)
    }

    /// An image with a table of symbols besides other load commands.
    fn image(commands: &[Vec<u8>], symbols: &[([u8; 2], &str)]) -> Vec<u8> {
        let mut table = Vec::new();
        let mut names = b" \0".to_vec();
        for (kind, name) in symbols {
            table.extend(u32::try_from(names.len()).unwrap().to_le_bytes());
            table.extend(kind);
            table.extend([0; 10]);
            names.extend([name.as_bytes(), b"\0"].concat());
        }
        let count = commands.len() + 1;
        let mut commands = commands.concat();
        let end = 32 + commands.len() + 24;
        commands
            .extend(command(SYMBOLS, &words([end, symbols.len(), end + table.len(), names.len()])));
        let header = words([0x0100_000c, 0, 2, count, commands.len(), 0, 0]);
        [&MAGIC[..], &header, &commands, &table, &names].concat()
    }

    fn words<const COUNT: usize>(words: [usize; COUNT]) -> Vec<u8> {
        words.map(|word| u32::try_from(word).unwrap().to_le_bytes()).concat()
    }

    /// A universal file of images, each with the first byte that tells of its processor.
    fn universal(magic: [u8; 4], images: &[(u8, &[u8])]) -> Vec<u8> {
        let is_large = magic == UNIVERSAL_LARGE;
        let entry_bytes = if is_large { 32 } else { 20 };
        let mut start = 8 + images.len() * entry_bytes;
        let mut file = [magic, u32::try_from(images.len()).unwrap().to_be_bytes()].concat();
        for (processor, image) in images {
            let end = file.len() + entry_bytes;
            file.extend([*processor, 0, 0, 12, 0, 0, 0, 0]);
            for number in [start, image.len()] {
                let number = u64::try_from(number).unwrap().to_be_bytes();
                file.extend(&number[if is_large { 0 } else { 4 }..]);
            }
            file.resize(end, 0);
            start += image.len();
        }
        file.extend(images.iter().flat_map(|(_, image)| *image));
        file
    }

    /// A file with some content.
    struct Space {
        directory: tempfile::TempDir,
        path: PathBuf,
    }

    impl Space {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            Self { path: directory.path().join("program"), directory }
        }

        fn holds(&self, content: &[u8]) -> &Path {
            std::fs::write(&self.path, content).unwrap();
            &self.path
        }
    }

    fn goes_through(path: &Path) -> bool {
        environment_use(path) != EnvironmentUse::Nothing
    }

    #[test]
    fn an_image_names_the_variable_or_who_tells_where_it_is() {
        let space = Space::new();
        for (name, expected) in [
            ("_environ", true),
            ("__NSGetEnviron", true),
            ("_getenv", false),
            ("_environment", false),
            ("__NSGetEnvironment", false),
        ] {
            let image = image(&[], &[(UNDEFINED, "_open"), (UNDEFINED, name), (LOCAL, "_main")]);
            assert_eq!(goes_through(space.holds(&image)), expected, "{name}");
        }
        assert!(goes_through(space.holds(&image(&[], &[]))), "what it binds is not told");
    }

    #[test]
    fn an_image_goes_through_variables_by_the_standard_library() {
        let space = Space::new();
        for (name, expected) in [
            ("__ZN3std3env4vars17h0123456789abcdefE", true),
            ("__RNvNtCs1_3std3env7vars_os", false),
            ("__RNvXNtCs1_3std3envNtB2_6VarsOsNtNtCs2_4core4iter8Iterator4next", true),
            ("__RINvNtCs2_4core3ptr13drop_in_placeNtNtCs1_3std3env6VarsOsE", false),
            ("__ZN3std3env3var17h0123456789abcdefE", false),
        ] {
            let all = (LOCAL, "__ZN3std3env7vars_os17h0123456789abcdefE");
            let image = image(&[], &[(UNDEFINED, "_environ"), all, (LOCAL, name)]);
            assert_eq!(goes_through(space.holds(&image)), expected, "{name}");
        }
        let inlined = image(&[], &[(UNDEFINED, "_environ"), (LOCAL, "_main")]);
        assert!(goes_through(space.holds(&inlined)), "nothing tells who does it");
    }

    #[test]
    fn an_image_that_was_stripped_counts_as_going_through_variables() {
        let space = Space::new();
        let left = [
            (FOR_DEBUGGERS, "radr://5614542"),
            (LOCAL_DATA, "__dyld_private"),
            (GLOBAL, "__mh_execute_header"),
            (UNDEFINED, "_environ"),
        ];
        for symbols in [&left[..], &[]] {
            assert!(goes_through(space.holds(&image(&[], symbols))), "{symbols:?}");
        }
        let whole = [&left[..], &[(LOCAL, "__RNvNtCs1_3std3env7vars_os")]].concat();
        assert!(!goes_through(space.holds(&image(&[], &whole))));
    }

    #[test]
    fn an_image_tells_where_the_loader_searches() {
        let space = Space::new();
        let commands = [
            "/usr/lib/a",
            "@loader_path/../lib",
            "@executable_path",
            "@rpath/b",
            "relative",
            "/nix/store/c/lib",
            "/usr/lib/a",
            "/with $ and:colon",
        ]
        .map(run_path_command);
        let content = image(&commands, &[]);
        let here = space.directory.path();
        let expected =
            ["/usr/lib/a".into(), here.join("../lib"), here.into(), "/with $ and:colon".into()];
        assert_eq!(run_path(space.holds(&content)), expected);

        let other = image(&["/usr/lib/a", "/usr/lib/d"].map(run_path_command), &[]);
        let both = universal(UNIVERSAL, &[(1, &other), (1, &content)]);
        let expected = [&["/usr/lib/a".into(), "/usr/lib/d".into()], &expected[1..]].concat();
        assert_eq!(run_path(space.holds(&both)), expected);
    }

    #[test]
    fn an_image_of_the_go_compiler_has_its_section() {
        let space = Space::new();
        let segments = [&["__text"][..], &["__data", "__go_buildinfo"]].map(segment_command);
        assert!(calls_kernel(space.holds(&image(&segments, &[]))));
        assert!(!calls_kernel(space.holds(&image(&segments[..1], &[]))));
    }

    #[test]
    fn every_image_of_64_bits_in_a_universal_file_is_asked() {
        let space = Space::new();
        let segment = segment_command(&["__go_buildinfo"]);
        let yes = image(&[segment], &[(LOCAL, "__ZN3std3env4varsE"), (UNDEFINED, "_environ")]);
        let no = image(&[], &[(LOCAL, "_main")]);
        for magic in [UNIVERSAL, UNIVERSAL_LARGE] {
            for (images, expected) in [
                (&[(1, &yes[..])][..], [true; 2]),
                (&[(1, &no), (1, &yes)], [true; 2]),
                (&[(1, &yes), (1, &no)], [true; 2]),
                (&[(1, &no), (1, &no)], [false; 2]),
                (&[(0, &yes), (1, &no)], [false; 2]),
                // Nothing tells what runs.
                (&[(0, &no)], [true, false]),
                (&[], [true, false]),
                (&[(1, &no), (1, b"!<arch>\n")], [true, false]),
                (&[(1, b"!<arch>\n"), (1, &yes)], [true; 2]),
            ] {
                let path = space.holds(&universal(magic, images));
                let answers = [goes_through(path), calls_kernel(path)];
                assert_eq!(answers, expected, "{images:?}");
            }
        }
    }

    #[test]
    fn a_file_that_is_damaged_or_cut_anywhere_is_never_a_crash_and_counts_as_reading_if_cut() {
        let space = Space::new();
        let commands = [run_path_command("/usr/lib"), segment_command(&["__text"])];
        let thin = image(&commands, &[(LOCAL, "_main"), (UNDEFINED, "_getenv")]);
        for whole in [
            thin.clone(),
            universal(UNIVERSAL, &[(1, &thin), (1, &thin)]),
            universal(UNIVERSAL_LARGE, &[(1, &thin), (1, &thin)]),
        ] {
            let reads = |content: &[u8]| {
                let path = space.holds(content);
                assert!(run_path(path).len() <= 2, "{content:?}");
                assert!(!calls_kernel(path), "{content:?}");
                goes_through(path)
            };
            assert!(!reads(&whole));
            for end in 0..whole.len() {
                assert_eq!(reads(&whole[..end]), end >= MAGIC.len(), "cut at {end}");
            }
            for at in 0..whole.len() {
                for byte in [0, 0xff, whole[at] ^ 0x01, whole[at] ^ 0x80] {
                    let mut damaged = whole.clone();
                    damaged[at] = byte;
                    reads(&damaged);
                }
            }
        }
    }
}
