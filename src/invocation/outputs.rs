//! Names of the files that a compilation will write into its output directory.
//!
//! Used to unlink, before the compiler runs, outputs that still share an inode with the store,
//! and by compilations that could not be observed. Names that the compiler makes up while it
//! works are given as patterns.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::argv::os;
use super::{CrateType, Emit, EmitKind, Invocation};

/// What a compilation will write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outputs {
    /// Each file (or, for `.dSYM`, directory) by its path: below the output directory, or where
    /// the call itself says.
    pub files: Vec<PathBuf>,
    /// Files of the output directory whose names are only known by their ends: prefix, suffix.
    pub patterns: Vec<(OsString, &'static str)>,
    /// Whether nothing else will be written.
    pub complete: bool,
}

impl Outputs {
    /// Whether a file of this name, in the output directory, falls under a pattern.
    pub fn matches_pattern(&self, name: &OsStr) -> bool {
        let name = name.as_bytes();
        self.patterns.iter().any(|(prefix, suffix)| {
            name.len() >= prefix.len() + suffix.len()
                && name.starts_with(prefix.as_bytes())
                && name.ends_with(suffix.as_bytes())
        })
    }
}

/// What an object format's conventions make of a crate's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Platform {
    Elf,
    Apple,
    WindowsMsvc,
    WindowsGnu,
    Wasm,
    /// A specification file, or a system with conventions of its own.
    Unknown,
}

fn platform(target: Option<&OsStr>) -> Platform {
    let host = if cfg!(target_os = "macos") { Platform::Apple } else { Platform::Elf };
    let Some(target) = target else { return host };
    let target = target.to_string_lossy();
    let has = |part: &str| target.split('-').any(|component| component.starts_with(part));
    match () {
        () if target.ends_with(".json") => Platform::Unknown,
        () if target.starts_with("wasm") => Platform::Wasm,
        () if has("apple") => Platform::Apple,
        () if has("windows") && has("msvc") => Platform::WindowsMsvc,
        () if has("windows") || has("cygwin") => Platform::WindowsGnu,
        () if has("uefi") || has("cuda") || has("psp") || has("amdhsa") => Platform::Unknown,
        () => Platform::Elf,
    }
}

impl Platform {
    /// Prefix and suffix of an executable, a dynamic library, a static library.
    fn executable(self) -> &'static str {
        match self {
            Self::WindowsMsvc | Self::WindowsGnu => ".exe",
            Self::Wasm => ".wasm",
            Self::Elf | Self::Apple | Self::Unknown => "",
        }
    }

    fn dynamic(self) -> (&'static str, &'static str) {
        match self {
            Self::Elf | Self::Unknown => ("lib", ".so"),
            Self::Apple => ("lib", ".dylib"),
            Self::WindowsMsvc | Self::WindowsGnu => ("", ".dll"),
            Self::Wasm => ("", ".wasm"),
        }
    }

    fn archive(self) -> (&'static str, &'static str) {
        match self {
            Self::WindowsMsvc => ("", ".lib"),
            _ => ("lib", ".a"),
        }
    }
}

/// Whether the metadata in a dynamic library is as it is in one of the other kinds: where it begins
/// follows at once on the beginning of the section and a length. Older compilers pack it.
pub fn has_plain_metadata(library: &[u8]) -> bool {
    const BEGIN: &[u8] = b"rust\0\0\0";
    const VERSION_AND_LENGTH: usize = 1 + 8;
    memchr::memmem::find_iter(library, BEGIN).any(|at| {
        let inner = library.get(at + BEGIN.len() + VERSION_AND_LENGTH..);
        inner.is_some_and(|inner| inner.starts_with(BEGIN))
    })
}

impl Invocation {
    /// The files that this compilation will write.
    pub fn outputs(&self) -> Outputs {
        let mut stem = OsString::from(&self.crate_name);
        stem.push(&self.extra_filename);
        let platform = platform(self.target.as_deref());
        let mut outputs = Outputs {
            complete: platform != Platform::Unknown && self.unstable("emit-stack-sizes").is_none(),
            ..Outputs::default()
        };
        for emit in &self.emit {
            self.add(emit, &stem, platform, &mut outputs);
        }
        if let Some(split) = self.split_debuginfo(platform) {
            self.add_split_debuginfo(&split, &stem, platform, &mut outputs);
        }
        outputs
    }

    fn add(&self, emit: &Emit, stem: &OsStr, platform: Platform, outputs: &mut Outputs) {
        if let Some(path) = &emit.path {
            outputs.files.push(path.clone());
            // With a path for the link, side files are named after it.
            outputs.complete &= emit.kind != EmitKind::Link || platform == Platform::Elf;
            return;
        }
        let (prefix, suffix) = match emit.kind {
            EmitKind::Link => return self.add_links(stem, platform, outputs),
            EmitKind::Metadata => ("lib", ".rmeta"),
            EmitKind::DepInfo => ("", ".d"),
            EmitKind::Mir => ("", ".mir"),
            EmitKind::Assembly => ("", ".s"),
            EmitKind::LlvmIr => ("", ".ll"),
            EmitKind::LlvmBitcode => ("", ".bc"),
            EmitKind::Object => ("", ".o"),
            EmitKind::ThinLinkBitcode => ("", ".indexing.o"),
        };
        let sole = self.emit.len() == 1;
        match &self.output {
            Some(output) if sole => outputs.files.push(output.clone()),
            Some(output) => outputs.files.push(output.with_extension(&suffix[1..])),
            None => outputs.files.push(self.placed(prefix, stem, suffix)),
        }
    }

    fn add_links(&self, stem: &OsStr, platform: Platform, outputs: &mut Outputs) {
        if let Some(output) = &self.output {
            outputs.files.push(output.clone());
            outputs.complete &= platform == Platform::Elf && self.crate_types.len() == 1;
            return;
        }
        for crate_type in &self.crate_types {
            let (prefix, suffix) = match crate_type {
                CrateType::Bin => ("", platform.executable()),
                CrateType::Rlib => ("lib", ".rlib"),
                CrateType::Dylib | CrateType::Cdylib | CrateType::ProcMacro => platform.dynamic(),
                CrateType::Staticlib => platform.archive(),
            };
            outputs.files.push(self.placed(prefix, stem, suffix));
            self.add_companions(*crate_type, stem, platform, outputs);
        }
    }

    /// What linkers write beside an executable or a dynamic library.
    fn add_companions(
        &self,
        crate_type: CrateType,
        stem: &OsStr,
        platform: Platform,
        outputs: &mut Outputs,
    ) {
        let dynamic =
            matches!(crate_type, CrateType::Dylib | CrateType::Cdylib | CrateType::ProcMacro);
        let linked = dynamic || crate_type == CrateType::Bin;
        match platform {
            Platform::WindowsMsvc if linked => {
                outputs.files.push(self.placed("", stem, ".pdb"));
                if dynamic {
                    outputs.files.push(self.placed("", stem, ".dll.lib"));
                    outputs.files.push(self.placed("", stem, ".dll.exp"));
                }
            }
            Platform::WindowsGnu if dynamic => {
                outputs.files.push(self.placed("lib", stem, ".dll.a"));
                outputs.files.push(self.placed("", stem, ".def"));
            }
            _ => {}
        }
    }

    /// The value in force, where there is debug information to split.
    fn split_debuginfo(&self, platform: Platform) -> Option<String> {
        if !self.emits(EmitKind::Link) || !self.has_debuginfo() {
            return None;
        }
        let given = self.codegen("split-debuginfo").map(|value| value.to_string_lossy());
        let default = if platform == Platform::Apple { "packed" } else { "off" };
        Some(given.unwrap_or(default.into()).into_owned())
    }

    /// Whether the outputs carry debug information of this crate.
    pub fn has_debuginfo(&self) -> bool {
        let flag = self.words.iter().any(|word| *word == super::Word::Flag("-g".into()));
        match self.codegen("debuginfo") {
            Some(level) => level != "0" && level != "none",
            None => flag,
        }
    }

    /// Whether debug information stays in files that the outputs name by path.
    pub fn has_unpacked_debuginfo(&self) -> bool {
        self.split_debuginfo(platform(self.target.as_deref())).is_some_and(|s| s == "unpacked")
    }

    fn add_split_debuginfo(
        &self,
        split: &str,
        stem: &OsStr,
        platform: Platform,
        outputs: &mut Outputs,
    ) {
        let mut prefix = stem.to_owned();
        prefix.push(".");
        match (platform, split) {
            (Platform::Elf | Platform::Wasm, "unpacked") => outputs.patterns.push((prefix, ".dwo")),
            (Platform::Apple, "unpacked") => outputs.patterns.push((prefix, ".o")),
            (Platform::Elf, "packed") => self.add_packages(stem, ".dwp", platform, outputs),
            (Platform::Apple, "packed") => self.add_packages(stem, ".dSYM", platform, outputs),
            _ => {}
        }
    }

    /// A package of debug information beside each linked file.
    fn add_packages(
        &self,
        stem: &OsStr,
        extension: &str,
        platform: Platform,
        outputs: &mut Outputs,
    ) {
        for crate_type in &self.crate_types {
            let (prefix, suffix) = match crate_type {
                CrateType::Bin => ("", ""),
                CrateType::Dylib | CrateType::Cdylib | CrateType::ProcMacro => platform.dynamic(),
                CrateType::Rlib | CrateType::Staticlib => continue,
            };
            let suffix = [suffix, extension].concat();
            match &self.output {
                Some(output) => {
                    let mut name = output.clone().into_os_string();
                    name.push(extension);
                    outputs.files.push(name.into());
                }
                None => outputs.files.push(self.placed(prefix, stem, &suffix)),
            }
        }
    }

    fn placed(&self, prefix: &str, stem: &OsStr, suffix: &str) -> PathBuf {
        let name = [prefix.as_bytes(), stem.as_bytes(), suffix.as_bytes()].concat();
        self.output_directory().join(os(&name))
    }

    /// Whether a path in an output shows as plain bytes, so that scanning for it is proof.
    ///
    /// It does not in bitcode (packed characters), in the metadata of dynamic libraries and
    /// procedural macros where the compiler compresses it (`metadata_is_plain` tells), and in
    /// compressed debug sections; nor in optimized code of processors that build constants from
    /// small pieces. On x86-64 those pieces are searched for
    /// (see [`Roots::fragments`](crate::roots::Roots::fragments)).
    pub fn scannable(&self, metadata_is_plain: impl Fn() -> bool) -> bool {
        let compressed_sections =
            self.unstable("debuginfo-compression").is_some_and(|compression| compression != "none")
                || self.words.iter().any(|word| match word {
                    super::Word::Valued("-C", value) => {
                        memchr::memmem::find(value.as_bytes(), b"compress-debug-sections").is_some()
                    }
                    _ => false,
                });
        let kinds = [EmitKind::LlvmBitcode, EmitKind::ThinLinkBitcode];
        let bitcode_file = kinds.into_iter().any(|kind| self.emits(kind));
        !compressed_sections
            && !bitcode_file
            && (!self.emits_objects() || self.links_scannably(metadata_is_plain))
    }

    fn is_optimized(&self) -> bool {
        self.words.contains(&super::Word::Flag("-O".into()))
            || self.codegen("opt-level").is_some_and(|level| level != "0")
    }

    /// Whether eight bytes of a constant stand together in the code.
    fn has_whole_constants(&self) -> bool {
        match &self.target {
            Some(target) => target.as_bytes().starts_with(b"x86_64-"),
            None => cfg!(target_arch = "x86_64"),
        }
    }

    fn emits_objects(&self) -> bool {
        self.emits(EmitKind::Link) || self.emits(EmitKind::Object)
    }

    fn links_scannably(&self, metadata_is_plain: impl Fn() -> bool) -> bool {
        if self.is_optimized() && !self.has_whole_constants() {
            return false;
        }
        let is = |name: &str, words: &[&str]| {
            self.codegen(name).is_some_and(|value| words.iter().any(|word| value == *word))
        };
        let off = ["no", "n", "off", "false"];
        let plugin = self.codegen("linker-plugin-lto").is_some() && !is("linker-plugin-lto", &off);
        let embeds = plugin || !is("embed-bitcode", &off);
        self.crate_types.iter().all(|crate_type| match crate_type {
            CrateType::Dylib | CrateType::ProcMacro => metadata_is_plain(),
            CrateType::Rlib | CrateType::Staticlib => !embeds,
            CrateType::Bin | CrateType::Cdylib => true,
        })
    }
}
