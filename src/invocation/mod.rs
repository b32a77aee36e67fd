//! One parsed call of the compiler, as Cargo makes it: `rustc`, `clippy-driver`, any driver that
//! takes rustc's options, and a workspace wrapper in front of the real one.
//!
//! Pure: response files come through a closure, nothing else is read. What is not understood is
//! kept literally, and takes part in the key; what cannot be understood safely is passed through
//! with a [`PassReason`].

pub mod argv;
pub mod depinfo;
mod normalize;
pub mod outputs;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use store_format::InputKind;

use argv::{Word, os};
pub use normalize::{KeyPart, NORMALIZED, Normalization, Treatment};

/// What a call turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A compilation.
    Compile(Box<Invocation>),
    /// Something for the compiler alone.
    Pass(PassReason),
}

/// Why a call is not looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PassReason {
    /// `-V`, `-vV`.
    QueryVersion,
    /// `--print …`.
    QueryPrint,
    /// `-h`, `-C help`, `--explain …`.
    QueryHelp,
    /// No source and no query.
    NoSource,
    /// The source is standard input.
    StandardInput,
    /// More than one word belongs to no option.
    SeveralSources,
    /// Without `--crate-name` the name is in the source.
    NoCrateName,
    /// Against the grammar of the compiler's options.
    Unparsable,
    /// A response file is unreadable, not UTF-8, or of a form that is not stable.
    ResponseFile,
    /// Emits files whose names depend on how the compiler splits its work, or writes an output
    /// to its standard output.
    UnsupportedEmit,
    /// An option whose purpose is a file or text that is no output (`-Z self-profile`), or that is
    /// left under a name made up at random (`-C save-temps`).
    SideEffect,
}

impl fmt::Display for PassReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::QueryVersion => "not-a-compile|version",
            Self::QueryPrint => "not-a-compile|print",
            Self::QueryHelp => "not-a-compile|help",
            Self::NoSource => "not-a-compile|no-source",
            Self::StandardInput => "stdin",
            Self::SeveralSources => "several-sources",
            Self::NoCrateName => "no-crate-name",
            Self::Unparsable => "unparsable",
            Self::ResponseFile => "response-file",
            Self::UnsupportedEmit => "unsupported-emit",
            Self::SideEffect => "side-effect-option",
        })
    }
}

/// `--crate-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CrateType {
    Bin,
    /// `lib` and `rlib` alike.
    Rlib,
    Dylib,
    Cdylib,
    Staticlib,
    ProcMacro,
}

/// What `--emit` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EmitKind {
    DepInfo,
    Metadata,
    Link,
    Mir,
    Assembly,
    LlvmIr,
    LlvmBitcode,
    Object,
    ThinLinkBitcode,
}

/// One output kind, and the file that the call names for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emit {
    pub kind: EmitKind,
    pub path: Option<PathBuf>,
}

/// `--extern [OPTIONS:]NAME[=PATH]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extern {
    pub name: OsString,
    pub path: Option<PathBuf>,
    /// Comma-separated, as given: `priv`, `noprelude`, `nounused`, `force`.
    pub options: Option<OsString>,
}

/// Which search an `-L` takes part in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SearchKind {
    Dependency,
    Crate,
    Native,
    Framework,
    All,
}

/// A compilation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// What to run: the first word of the call.
    pub program: OsString,
    /// The compiler behind a workspace wrapper, when the second word names one.
    pub wrapped: Option<OsString>,
    /// Everything after the program (and the wrapped compiler), response files expanded.
    pub arguments: Vec<OsString>,
    pub crate_name: String,
    /// Without repetition, in order. A test harness without a type is a [`CrateType::Bin`].
    pub crate_types: Vec<CrateType>,
    /// `--test`.
    pub test: bool,
    pub emit: Vec<Emit>,
    pub out_dir: Option<PathBuf>,
    /// `-o`.
    pub output: Option<PathBuf>,
    /// `-C extra-filename`; empty without it.
    pub extra_filename: OsString,
    pub source: PathBuf,
    pub externs: Vec<Extern>,
    pub search_paths: Vec<(SearchKind, PathBuf)>,
    /// `-l`, as given.
    pub native_libraries: Vec<OsString>,
    /// A target's name, or the path of its specification.
    pub target: Option<OsString>,
    pub sysroot: Option<PathBuf>,
    pub incremental: Option<PathBuf>,
    pub error_format: Option<OsString>,
    /// Asked for besides what is given, and part of the key.
    pub added: Option<&'static str>,
    words: Vec<Word>,
}

/// What runs while something is built tells by its symbols how it asks for things: for a build script or a
/// macro this takes the place of `-C strip=symbols`. Only what they were compiled from is to be seen of them in
/// what is built.
const WITH_SYMBOLS: &str = "strip=debuginfo";

/// Options that make the compiler answer instead of compiling, or write what is no output.
const SIDE_EFFECTS: &[&str] = &[
    "dump-dep-graph",
    "dump-mir",
    "dump-mono-stats",
    "llvm-time-trace",
    "ls",
    "parse-crate-root-only",
    "print-llvm-passes",
    "print-mono-items",
    "print-type-sizes",
    "query-dep-graph",
    "remark-dir",
    "self-profile",
    "time-llvm-passes",
    "time-passes",
    "unpretty",
];

/// Parses a call: `arguments` begins with the program.
pub fn parse(
    arguments: &[OsString],
    read_response_file: impl FnMut(&OsStr) -> Option<Vec<u8>>,
) -> Parsed {
    match compile(arguments, read_response_file) {
        Ok(invocation) => Parsed::Compile(Box::new(invocation)),
        Err(reason) => Parsed::Pass(reason),
    }
}

fn compile(
    arguments: &[OsString],
    read_response_file: impl FnMut(&OsStr) -> Option<Vec<u8>>,
) -> Result<Invocation, PassReason> {
    let (program, rest) = arguments.split_first().ok_or(PassReason::Unparsable)?;
    let (wrapped, rest) = match rest.split_first() {
        Some((first, after)) if names_compiler(first) => (Some(first.clone()), after),
        _ => (None, rest),
    };
    let arguments = argv::expand(rest, read_response_file)?;
    let words = argv::words(&arguments)?;
    query(&words)?;
    let mut invocation = Invocation {
        program: program.clone(),
        wrapped,
        arguments,
        crate_name: String::new(),
        crate_types: Vec::new(),
        test: false,
        emit: Vec::new(),
        out_dir: None,
        output: None,
        extra_filename: OsString::new(),
        source: source(&words)?,
        externs: Vec::new(),
        search_paths: Vec::new(),
        native_libraries: Vec::new(),
        target: None,
        sysroot: None,
        incremental: None,
        error_format: None,
        added: None,
        words: Vec::new(),
    };
    for word in &words {
        match word {
            Word::Flag(flag) => invocation.test |= flag == "--test",
            Word::Valued(name, value) => invocation.option(name, value)?,
            Word::Free(_) => {}
        }
    }
    invocation.words = words;
    invocation.complete()?;
    Ok(invocation)
}

/// A word before all options that is no source file is the compiler that a workspace wrapper is
/// to run.
fn names_compiler(word: &OsStr) -> bool {
    let option = matches!(word.as_bytes().first(), None | Some(b'-' | b'@'));
    !option && Path::new(word).extension().is_none_or(|extension| extension != "rs")
}

/// Fails for calls that ask the compiler something.
fn query(words: &[Word]) -> Result<(), PassReason> {
    for word in words {
        match word {
            Word::Flag(flag) if flag == "-V" => return Err(PassReason::QueryVersion),
            Word::Flag(flag) if flag == "-h" => return Err(PassReason::QueryHelp),
            Word::Valued("--print", _) => return Err(PassReason::QueryPrint),
            Word::Valued("--explain", _) => return Err(PassReason::QueryHelp),
            Word::Valued("-C" | "-Z" | "-W" | "-A", value) if value == "help" => {
                return Err(PassReason::QueryHelp);
            }
            _ => {}
        }
    }
    Ok(())
}

fn source(words: &[Word]) -> Result<PathBuf, PassReason> {
    let mut free = words.iter().filter_map(|word| match word {
        Word::Free(source) => Some(source),
        _ => None,
    });
    match (free.next(), free.next()) {
        (None, _) => Err(PassReason::NoSource),
        (Some(source), None) if source == "-" => Err(PassReason::StandardInput),
        (Some(source), None) => Ok(source.into()),
        (Some(_), Some(_)) => Err(PassReason::SeveralSources),
    }
}

impl Invocation {
    fn option(&mut self, name: &str, value: &OsString) -> Result<(), PassReason> {
        match name {
            "--crate-name" => {
                value.to_str().ok_or(PassReason::Unparsable)?.clone_into(&mut self.crate_name);
            }
            "--crate-type" => self.add_crate_types(value)?,
            "--emit" => self.add_emits(value)?,
            "--out-dir" => self.out_dir = Some(value.into()),
            "-o" => self.output = Some(value.into()),
            "--extern" => self.externs.push(parse_extern(value)),
            "-L" => self.search_paths.push(parse_search(value)),
            "-l" => self.native_libraries.push(value.clone()),
            "--target" => self.target = Some(value.clone()),
            "--sysroot" => self.sysroot = Some(value.into()),
            "--error-format" => self.error_format = Some(value.clone()),
            "-C" => match codegen_pair(value) {
                (name, Some(value)) if name == "incremental" => {
                    self.incremental = Some(PathBuf::from(os(value)));
                }
                (name, Some(value)) if name == "extra-filename" => self.extra_filename = os(value),
                (name, _) if name == "save-temps" => return Err(PassReason::SideEffect),
                _ => {}
            },
            "-Z" => {
                let (name, _) = codegen_pair(value);
                if SIDE_EFFECTS.contains(&&name[..]) || name.starts_with("dump-") {
                    return Err(PassReason::SideEffect);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn add_crate_types(&mut self, value: &OsStr) -> Result<(), PassReason> {
        for name in value.as_bytes().split(|&byte| byte == b',') {
            let crate_type = match name {
                b"bin" => CrateType::Bin,
                b"lib" | b"rlib" => CrateType::Rlib,
                b"dylib" => CrateType::Dylib,
                b"cdylib" => CrateType::Cdylib,
                b"staticlib" => CrateType::Staticlib,
                b"proc-macro" => CrateType::ProcMacro,
                _ => return Err(PassReason::Unparsable),
            };
            if !self.crate_types.contains(&crate_type) {
                self.crate_types.push(crate_type);
            }
        }
        Ok(())
    }

    fn add_emits(&mut self, value: &OsStr) -> Result<(), PassReason> {
        for item in value.as_bytes().split(|&byte| byte == b',') {
            let (name, path) = split_at_equals(item);
            let kind = match name {
                b"dep-info" => EmitKind::DepInfo,
                b"metadata" => EmitKind::Metadata,
                b"link" => EmitKind::Link,
                b"mir" => EmitKind::Mir,
                b"asm" => EmitKind::Assembly,
                b"llvm-ir" => EmitKind::LlvmIr,
                b"llvm-bc" => EmitKind::LlvmBitcode,
                b"obj" => EmitKind::Object,
                b"thin-link-bitcode" => EmitKind::ThinLinkBitcode,
                _ => return Err(PassReason::UnsupportedEmit),
            };
            if path == Some(b"-") {
                return Err(PassReason::UnsupportedEmit);
            }
            self.emit.retain(|emit| emit.kind != kind);
            self.emit.push(Emit { kind, path: path.map(|path| os(path).into()) });
        }
        Ok(())
    }

    /// Defaults, and the checks that need the whole call.
    fn complete(&mut self) -> Result<(), PassReason> {
        if self.crate_name.is_empty() {
            return Err(PassReason::NoCrateName);
        }
        if self.test {
            // A harness is an executable whatever type is named beside it.
            self.crate_types = vec![CrateType::Bin];
        }
        if self.crate_types.is_empty() {
            // The default, as Cargo has it for tests and benches without a harness. What the compiler
            // makes where the source says otherwise is observed like any output.
            self.crate_types = vec![CrateType::Bin];
        }
        if self.emit.is_empty() {
            self.emit.push(Emit { kind: EmitKind::Link, path: None });
        }
        if self.output.as_ref().is_some_and(|output| output.as_os_str() == "-") {
            return Err(PassReason::UnsupportedEmit);
        }
        let split_by_units = self.emit.iter().any(|emit| {
            use EmitKind::{Assembly, LlvmBitcode, LlvmIr, Object, ThinLinkBitcode};
            matches!(emit.kind, Assembly | LlvmIr | LlvmBitcode | Object | ThinLinkBitcode)
        });
        if split_by_units && self.codegen("codegen-units") != Some(OsStr::new("1")) {
            return Err(PassReason::UnsupportedEmit);
        }
        let is_run = self.is_build_script() || self.crate_types == [CrateType::ProcMacro];
        let takes_more = !self.arguments.iter().any(|argument| argument == "--");
        if is_run && takes_more && self.codegen("strip") == Some(OsStr::new("symbols")) {
            self.words.push(Word::Valued("-C", WITH_SYMBOLS.into()));
            self.added = Some(WITH_SYMBOLS);
        }
        Ok(())
    }

    /// Whether a build script comes out, by the name that Cargo gives to it.
    pub fn is_build_script(&self) -> bool {
        self.crate_name.starts_with("build_script_")
            && self.crate_types == [CrateType::Bin]
            && !self.test
    }

    /// Whether `kind` is among the outputs.
    pub fn emits(&self, kind: EmitKind) -> bool {
        self.emit.iter().any(|emit| emit.kind == kind)
    }

    /// Whether dependencies' libraries, not only their metadata, go into the outputs.
    pub fn links(&self) -> bool {
        self.emits(EmitKind::Link)
            && self.crate_types.iter().any(|&crate_type| crate_type != CrateType::Rlib)
    }

    /// Which part of a dependency goes into the outputs.
    pub fn dependency_kind(&self) -> InputKind {
        if self.links() { InputKind::DependencyLibrary } else { InputKind::DependencyMetadata }
    }

    /// The value of the last `-C name=value`; empty for `-C name`.
    pub fn codegen(&self, name: &str) -> Option<&OsStr> {
        last(&self.words, "-C", name)
    }

    /// The value of the last `-Z name=value`; empty for `-Z name`.
    pub fn unstable(&self, name: &str) -> Option<&OsStr> {
        last(&self.words, "-Z", name)
    }

    /// Whether the host's own processor decides what code comes out.
    pub fn depends_on_host_cpu(&self) -> bool {
        self.codegen("target-cpu") == Some(OsStr::new("native"))
            || self.unstable("tune-cpu") == Some(OsStr::new("native"))
    }

    /// Whether native libraries may go into the outputs.
    pub fn takes_native_libraries(&self) -> bool {
        let finds = |kind: &SearchKind| {
            matches!(kind, SearchKind::Native | SearchKind::Framework | SearchKind::All)
        };
        let are_named = !self.native_libraries.is_empty();
        self.emits(EmitKind::Link)
            && (are_named || self.search_paths.iter().any(|(kind, _)| finds(kind)))
    }

    /// Whether `-Z` asks for anything: such options may name what no one knows of here.
    pub fn is_unstable(&self) -> bool {
        self.words.iter().any(|word| matches!(word, Word::Valued("-Z", _)))
    }

    /// Whether an output differs each time: where it compiles incrementally, the compiler gives objects names
    /// that are made up, and archives keep them.
    pub fn names_objects_at_random(&self) -> bool {
        let archives = [CrateType::Rlib, CrateType::Staticlib];
        self.incremental.is_some() && archives.iter().any(|it| self.crate_types.contains(it))
    }

    /// The directory that receives outputs without a path of their own.
    pub fn output_directory(&self) -> PathBuf {
        match (&self.output, &self.out_dir) {
            (Some(output), _) => output.parent().map(Path::to_owned).unwrap_or_default(),
            (None, Some(out_dir)) => out_dir.clone(),
            (None, None) => PathBuf::new(),
        }
    }

    /// Files that arguments name and the compiler or linker reads, besides the source and the
    /// dependency crates: target specification, profiles, linker scripts. Paths as given.
    pub fn input_files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        if let Some(target) = &self.target
            && target.as_bytes().ends_with(b".json")
        {
            files.push(target.into());
        }
        if let Some(profile) = self.codegen("profile-use") {
            let default = OsStr::new("default.profdata");
            files.push(if profile.is_empty() { default } else { profile }.into());
        }
        files.extend(self.unstable("profile-sample-use").map(PathBuf::from));
        for argument in self.link_arguments() {
            files.extend(linker_file(argument).map(|file| PathBuf::from(os(file))));
        }
        files
    }

    /// What `-C link-arg` and `-C link-args` have the linker called with.
    pub fn link_arguments(&self) -> impl Iterator<Item = &[u8]> {
        let arguments = settings(&self.words, "-C", "link-arg").map(OsStr::as_bytes);
        let lists = settings(&self.words, "-C", "link-args").map(OsStr::as_bytes);
        arguments.chain(lists.flat_map(|list| list.split(|&byte| byte == b' ')))
    }
}

/// The values of every `option setting=value`; empty for one without a value.
fn settings<'w>(
    words: &'w [Word],
    option: &str,
    setting: &str,
) -> impl DoubleEndedIterator<Item = &'w OsStr> {
    words.iter().filter_map(move |word| match word {
        Word::Valued(name, value) if *name == option => {
            let (name, value) = codegen_pair(value);
            (name == setting).then(|| OsStr::from_bytes(value.unwrap_or_default()))
        }
        _ => None,
    })
}

fn last<'w>(words: &'w [Word], option: &str, setting: &str) -> Option<&'w OsStr> {
    settings(words, option, setting).next_back()
}

/// The file that a linker argument names, for the forms that are in use.
fn linker_file(argument: &[u8]) -> Option<&[u8]> {
    const PREFIXES: &[&[u8]] = &[
        b"-Wl,--version-script=",
        b"-Wl,--version-script,",
        b"-Wl,--dynamic-list=",
        b"-Wl,-exported_symbols_list,",
        b"-Wl,-T,",
        b"-Wl,-T",
        b"--version-script=",
        b"--dynamic-list=",
        b"-T",
        b"@",
    ];
    let file = PREFIXES.iter().find_map(|prefix| argument.strip_prefix(*prefix));
    let file = file.or_else(|| argument.starts_with(b"/").then_some(argument))?;
    (!file.is_empty() && !file.starts_with(b"-") && !file.starts_with(b"text")).then_some(file)
}

/// `name=value` or `name`, the name spelled with hyphens as the compiler reads it.
fn codegen_pair(value: &OsStr) -> (String, Option<&[u8]>) {
    let (name, value) = split_at_equals(value.as_bytes());
    (String::from_utf8_lossy(name).replace('_', "-"), value)
}

fn split_at_equals(item: &[u8]) -> (&[u8], Option<&[u8]>) {
    match item.iter().position(|&byte| byte == b'=') {
        Some(equals) => (&item[..equals], Some(&item[equals + 1..])),
        None => (item, None),
    }
}

fn parse_extern(value: &OsStr) -> Extern {
    let (name, path) = split_at_equals(value.as_bytes());
    let (options, name) = match name.iter().position(|&byte| byte == b':') {
        Some(colon) => (Some(os(&name[..colon])), &name[colon + 1..]),
        None => (None, name),
    };
    Extern { name: os(name), path: path.map(|path| os(path).into()), options }
}

fn parse_search(value: &OsStr) -> (SearchKind, PathBuf) {
    let (kind, path) = split_at_equals(value.as_bytes());
    let kind = match kind {
        b"dependency" => SearchKind::Dependency,
        b"crate" => SearchKind::Crate,
        b"native" => SearchKind::Native,
        b"framework" => SearchKind::Framework,
        b"all" => SearchKind::All,
        _ => return (SearchKind::All, value.into()),
    };
    match path {
        Some(path) => (kind, os(path).into()),
        None => (SearchKind::All, value.into()),
    }
}
