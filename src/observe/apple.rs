//! Links by Apple's tools: what they read, told by the linker itself.
//!
//! The system protects its own `cc`, and the `clang` and `ld` behind it: nothing can be loaded into them,
//! so they never report. But the linker writes down what it read where it is asked to
//! (`link_report.rs`), and what the driver in front of it goes by is known: the variables, the link and
//! the programs that are named here. Both complete an observation that lacks nothing else.
//!
//! In doubt a compilation stays unobserved: where the call or a variable may choose another program, or
//! has more written than the output; where anything else did not report; and where a program or an SDK
//! is not found.
//!
//! **Nothing of this has been run on macOS.** For that system it has been type-checked alone; its logic
//! is tested on Linux, on observations made up for it, and the reader of reports with those of LLVM's
//! linker, which writes the same format.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::link_report::{self, REPORT_BYTES_MAX, Unusable};
use super::{Access, Observation};
use crate::fs;
use crate::invocation::{CrateType, EmitKind, Invocation};

/// The system's drivers, which run what is in the active developer directory.
const DRIVERS: [&str; 2] = ["/usr/bin/cc", "/usr/bin/clang"];
/// How the compiler finds the SDK. It looks where the drivers look, by the same variables.
const SDK_FINDER: &str = "/usr/bin/xcrun";

/// The link to the active developer directory, where no variable names that.
const DEVELOPER_LINK: &str = "/var/db/xcode_select_link";
/// Where it is without either.
const DEVELOPER_DIRECTORIES: [&str; 2] =
    ["/Applications/Xcode.app/Contents/Developer", "/Library/Developer/CommandLineTools"];
const DEVELOPER_VARIABLE: &str = "DEVELOPER_DIR";
/// Where programs are in a developer directory.
const PROGRAM_DIRECTORIES: [&str; 2] = ["Toolchains/XcodeDefault.xctoolchain/usr/bin", "usr/bin"];

/// Variables that driver and linker go by.
const VARIABLES: [&str; 17] = [
    DEVELOPER_VARIABLE,
    "SDKROOT",
    "MACOSX_DEPLOYMENT_TARGET",
    "IPHONEOS_DEPLOYMENT_TARGET",
    "TVOS_DEPLOYMENT_TARGET",
    "WATCHOS_DEPLOYMENT_TARGET",
    "XROS_DEPLOYMENT_TARGET",
    "DRIVERKIT_DEPLOYMENT_TARGET",
    "LIBRARY_PATH",
    "CPATH",
    "C_INCLUDE_PATH",
    "ZERO_AR_DATE",
    "SOURCE_DATE_EPOCH",
    "LD_DYLD_PATH",
    "LD_WARN_COMMONS",
    "RC_ProjectSourceVersion",
    "RC_DEBUG_OPTIONS",
];

/// Variables that choose other programs, change arguments or have more written. Where one is set,
/// nobody knows what ran.
const DISTURBING: [&str; 9] = [
    "TOOLCHAINS",
    "COMPILER_PATH",
    "GCC_EXEC_PREFIX",
    "CCC_OVERRIDE_OPTIONS",
    "CCC_ADD_ARGS",
    "QA_OVERRIDE_GCC3_OPTIONS",
    "CC_PRINT_OPTIONS",
    "CC_LOG_DIAGNOSTICS",
    "LD_TRACE_FILE",
];

/// The compiler's options that choose the linker, or have it do more than link.
const CHOOSING: [&str; 5] =
    ["linker", "linker-flavor", "linker-features", "linker-plugin-lto", "link-self-contained"];
const CHOOSING_UNSTABLE: [&str; 5] =
    ["gcc-ld", "link-only", "linker-features", "pre-link-arg", "pre-link-args"];

/// Options of the linker and its driver that choose no program, read nothing that the linker does not
/// tell and have nothing else written.
const HARMLESS: [&[u8]; 11] = [
    b"-ObjC",
    b"-compatibility_version",
    b"-current_version",
    b"-dead_strip",
    b"-framework",
    b"-headerpad_max_install_names",
    b"-install_name",
    b"-rpath",
    b"-stack_size",
    b"-undefined",
    b"-weak_framework",
];

/// A report that the linker of one compilation is asked for.
#[derive(Debug)]
pub struct ReportRequest {
    path: PathBuf,
}

impl ReportRequest {
    /// The request for a compilation, if Apple's own linker is what will run.
    pub fn of(invocation: &Invocation, cache_dir: &Path, host_is_macos: bool) -> Option<Self> {
        let is_linked =
            |crate_type: &&CrateType| !matches!(crate_type, CrateType::Rlib | CrateType::Staticlib);
        let links = invocation.crate_types.iter().filter(is_linked).count();
        // A second link would write its report over the first one's.
        if !host_is_macos || !invocation.emits(EmitKind::Link) || links != 1 {
            return None;
        }
        if !has_default_linker(invocation) {
            return None;
        }
        let path = std::path::absolute(fs::temporary_name(&cache_dir.join("report"))).ok()?;
        // The compiler takes nothing but text, and its linker's driver ends arguments at commas.
        let is_plain = path.to_str().is_some_and(|path| !path.contains(','));
        is_plain.then_some(Self { path })
    }

    /// What the compiler is called with besides its own arguments. It keeps no account of arguments for
    /// the linker, so that nothing else that comes out of it differs.
    pub fn argument(&self) -> OsString {
        let mut argument = OsString::from("-Clink-arg=-Wl,-dependency_info,");
        argument.push(&self.path);
        argument
    }

    /// The report, if the linker made one; its file is removed. To be called before the observation
    /// ends, for which a linker that reports would have left an output there.
    pub fn take(self) -> Option<Vec<u8>> {
        let stat = fs::lstat(&self.path).ok()?;
        let is_bounded = stat.size_bytes <= REPORT_BYTES_MAX as u64;
        let report = if is_bounded { fs::read(&self.path).ok() } else { None };
        if let Err(error) = fs::remove(&self.path) {
            crate::log::debug!("{error}");
        }
        report
    }
}

/// Whether the call leaves to Apple's driver what links, and how.
fn has_default_linker(invocation: &Invocation) -> bool {
    let is_apples = |target: &OsStr| {
        let target = target.as_bytes();
        // A specification may name another linker.
        !target.ends_with(b".json") && target.split(|byte| *byte == b'-').any(|it| it == b"apple")
    };
    let chooses = CHOOSING.iter().any(|name| invocation.codegen(name).is_some())
        || CHOOSING_UNSTABLE.iter().any(|name| invocation.unstable(name).is_some());
    let passes_on = |library: &OsString| library.as_bytes().starts_with(b"link-arg");
    invocation.target.as_deref().is_none_or(is_apples)
        && !chooses
        && !invocation.native_libraries.iter().any(passes_on)
        && invocation.link_arguments().all(is_harmless)
}

fn is_harmless(argument: &[u8]) -> bool {
    const OPERANDS: [&[u8]; 3] = [b"@executable_path", b"@loader_path", b"@rpath"];
    const PLACES: [&[u8]; 2] = [b"-L/", b"-F/"];
    let begins = |part: &[u8], all: &[&[u8]]| all.iter().any(|begin| part.starts_with(begin));
    let is_plain = |part: &[u8]| match part.first() {
        Some(b'-') => HARMLESS.contains(&part) || begins(part, &PLACES),
        Some(b'@') => begins(part, &OPERANDS),
        // What an option before it takes, or a file to link.
        _ => true,
    };
    match argument.strip_prefix(b"-Wl,") {
        Some(parts) => parts.split(|byte| *byte == b',').all(is_plain),
        None => is_plain(argument),
    }
}

/// What is asked of the machine.
struct Lookups<'a> {
    variable: &'a dyn Fn(&str) -> Option<OsString>,
    link: &'a dyn Fn(&Path) -> Option<PathBuf>,
    is_there: &'a dyn Fn(&Path) -> bool,
}

/// Why a link stays unobserved.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Unobserved {
    #[error("more than the compiler's one link did not report")]
    NotTheLinkAlone,
    #[error("{0} is set, which changes what the driver runs")]
    Disturbed(&'static str),
    #[error("clang and ld are not where the driver looks for them")]
    NoPrograms,
    #[error("the linker read nothing of an SDK")]
    NoSdk,
    #[error("the linker's report is of no use: {0}")]
    Report(#[from] Unusable),
}

/// An observation with what the linker's report adds to it, where nothing else is missing.
#[must_use]
pub fn completed(mut observation: Observation, report: Option<&[u8]>) -> Observation {
    let Some(report) = report.filter(|_| observation.complete.is_err()) else {
        return observation;
    };
    let lookups = Lookups {
        variable: &|name| std::env::var_os(name).filter(|value| !value.is_empty()),
        link: &|path| fs::read_link(path).ok(),
        is_there: &|path| fs::stat(path).is_ok(),
    };
    match complete(&mut observation, report, &lookups) {
        Ok(linker) => crate::log::debug!("what was linked was told by {linker}"),
        Err(reason) => crate::log::debug!("the link stays unobserved: {reason}"),
    }
    observation
}

/// Puts what driver and linker did behind the start of the driver. Returns the linker's version.
fn complete(
    observation: &mut Observation,
    report: &[u8],
    lookups: &Lookups,
) -> Result<String, Unobserved> {
    let (driver, start) = the_link(observation).ok_or(Unobserved::NotTheLinkAlone)?;
    let report = link_report::parse(report)?;
    let mut events = of_driver(&driver, lookups)?;
    let told = as_made(report.accesses, &observation.events);
    events.extend(of_sdks(&told)?);
    for access in told {
        if let Access::Wrote(output) = &access
            && (lookups.is_there)(output)
        {
            observation.remaining.push(output.clone());
        }
        events.push(access);
    }
    observation.events.splice(start + 1..=start, events);
    observation.unreported.clear();
    observation.complete = Ok(());
    Ok(report.linker)
}

/// The driver and the event of its start, if it ran once and nothing else is missing but the search for
/// the SDK. Both come behind the first object: what a procedural macro runs comes before it.
fn the_link(observation: &Observation) -> Option<(PathBuf, usize)> {
    let (mut drivers, others): (Vec<&Path>, Vec<&Path>) = observation
        .unreported
        .iter()
        .map(PathBuf::as_path)
        .partition(|path| DRIVERS.iter().any(|driver| *path == Path::new(driver)));
    let driver = drivers.pop().filter(|_| drivers.is_empty())?;
    if others.len() > 1 || others.first().is_some_and(|other| *other != Path::new(SDK_FINDER)) {
        return None;
    }
    let events = &observation.events;
    let object = events.iter().position(|access| match access {
        Access::Wrote(path) => path.extension() == Some(OsStr::new("o")),
        _ => false,
    })?;
    let start_of = |program: &Path| {
        let start = events.iter().position(|access| match access {
            Access::Searched { path: Some(path), .. } | Access::Executed(path) => path == program,
            _ => false,
        });
        start.filter(|start| *start > object)
    };
    let all_linked = others.into_iter().all(|other| start_of(other).is_some());
    start_of(driver).filter(|_| all_linked).map(|start| (driver.to_owned(), start))
}

/// What the driver goes by, and what it runs.
fn of_driver(driver: &Path, lookups: &Lookups) -> Result<Vec<Access>, Unobserved> {
    if let Some(name) = DISTURBING.iter().find(|name| (lookups.variable)(name).is_some()) {
        return Err(Unobserved::Disturbed(name));
    }
    let by = Some(driver.to_owned());
    let names = VARIABLES.iter().chain(&DISTURBING);
    let variables = names.map(|name| Access::Variable { name: name.into(), by: by.clone() });
    let mut events: Vec<Access> = variables.collect();
    events.push(Access::Executed(driver.to_owned()));
    events.push(Access::LinkRead(DEVELOPER_LINK.into()));
    for directory in developer_directories(lookups) {
        let places = PROGRAM_DIRECTORIES.map(|place| directory.join(place));
        let is_in_any =
            |name: &str| places.iter().any(|place| (lookups.is_there)(&place.join(name)));
        if !is_in_any("clang") || !is_in_any("ld") {
            events.push(Access::Missing(directory));
            continue;
        }
        for place in &places {
            // By the driver's own name it is looked for first, and the linker hands some links over.
            let names = [driver.file_name().unwrap_or_default(), OsStr::new("clang")];
            let names = names.into_iter().chain(["ld", "ld-classic"].map(OsStr::new));
            events.extend(names.map(|name| Access::Executed(place.join(name))));
            events.push(Access::Read(place.join("clang.cfg")));
        }
        return Ok(events);
    }
    Err(Unobserved::NoPrograms)
}

/// The places of the active developer directory, of which the first one with programs is it.
fn developer_directories(lookups: &Lookups) -> Vec<PathBuf> {
    if let Some(given) = (lookups.variable)(DEVELOPER_VARIABLE) {
        let given = PathBuf::from(given);
        // The application that it is in will do, too.
        let inside = given.join("Contents/Developer");
        return [given, inside].into_iter().filter(|path| path.is_absolute()).collect();
    }
    let link = Path::new(DEVELOPER_LINK);
    match (lookups.link)(link) {
        Some(target) => vec![link.parent().unwrap_or(link).join(target)],
        None => DEVELOPER_DIRECTORIES.map(PathBuf::from).to_vec(),
    }
}

fn is_sdk(path: &&Path) -> bool {
    path.extension() == Some(OsStr::new("sdk"))
}

/// What the driver reads of the SDKs that the linker read from, and the SDKs beside them.
fn of_sdks(told: &[Access]) -> Result<Vec<Access>, Unobserved> {
    let sdks: HashSet<&Path> = told
        .iter()
        .filter_map(|access| match access {
            Access::Read(path) => path.ancestors().find(is_sdk),
            _ => None,
        })
        .collect();
    if sdks.is_empty() {
        return Err(Unobserved::NoSdk);
    }
    let read = |sdk: &Path| {
        let settings = ["SDKSettings.json", "SDKSettings.plist"];
        let settings = settings.map(|name| Access::Read(sdk.join(name)));
        let beside = sdk.parent().map(|parent| Access::Listed(parent.to_owned()));
        settings.into_iter().chain(beside)
    };
    Ok(sdks.into_iter().flat_map(read).collect())
}

/// The linker's accesses, where what the compiler made has the name that it was made by: some of the
/// system's directories are links into `/private`, and the linker may tell where they lead. It looks for
/// libraries by absolute paths below the SDK as well, also for those with names made up at random: such
/// misses are left out.
fn as_made(told: Vec<Access>, events: &[Access]) -> Vec<Access> {
    let made: HashSet<&Path> = events
        .iter()
        .filter_map(|access| match access {
            Access::Wrote(path) => Some(path.as_path()),
            _ => None,
        })
        .collect();
    let root = Path::new("/");
    let other_name = |path: &Path| match path.strip_prefix("/private") {
        Ok(inside) => root.join(inside),
        Err(_) => Path::new("/private").join(path.strip_prefix(root).unwrap_or(path)),
    };
    let is_of_made = |path: &Path| {
        let inside = path.ancestors().find(is_sdk).and_then(|sdk| path.strip_prefix(sdk).ok());
        inside.is_some_and(|inside| root.join(inside).ancestors().any(|it| made.contains(it)))
    };
    let name = |access: Access| match access {
        Access::Read(path) if !made.contains(path.as_path()) => {
            let other = other_name(&path);
            Some(Access::Read(if made.contains(other.as_path()) { other } else { path }))
        }
        Access::Missing(path) if is_of_made(&path) => None,
        other => Some(other),
    };
    told.into_iter().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use store_format::{Input, InputKind};

    use super::*;
    use crate::invocation::{Parsed, parse};
    use crate::observe::link_report::tests::REAL;
    use crate::observe::rules::{Context, Found, inputs};
    use crate::observe::{EnvironmentUse, IncompleteReason};
    use crate::roots::Roots;

    fn invocation(arguments: &str) -> Invocation {
        let words = arguments.split('|').map(OsString::from).collect::<Vec<_>>();
        match parse(&words, |_| None) {
            Parsed::Compile(invocation) => *invocation,
            Parsed::Pass(reason) => panic!("{arguments}: {reason}"),
        }
    }

    const CALL: &str = "rustc|a.rs|--crate-name=a|--emit=link|-o|/tmp/linktest/out";

    #[track_caller]
    fn check_asked(arguments: &str, is_asked: bool) {
        let invocation = invocation(&format!("{CALL}|{arguments}"));
        let asked = |on_macos| ReportRequest::of(&invocation, Path::new("/cache"), on_macos);
        assert_eq!(asked(true).is_some(), is_asked, "{arguments}");
        assert!(asked(false).is_none(), "no other system's linker takes the argument");
    }

    #[test]
    fn apples_linker_is_asked_where_the_call_chooses_no_other_and_links_once() {
        check_asked("-g", true);
        check_asked("--test", true);
        check_asked("--crate-type=proc-macro", true);
        check_asked("--crate-type=cdylib,rlib", true);
        check_asked("--target=aarch64-apple-ios", true);
        check_asked("-Clink-arg=-undefined|-Clink-arg=dynamic_lookup", true);
        check_asked("-Clink-args=-Wl,-rpath,@loader_path/../lib -framework CoreText /a.o", true);

        check_asked("--crate-type=rlib", false);
        check_asked("--crate-type=cdylib,dylib", false);
        check_asked("--target=wasm32-unknown-unknown", false);
        check_asked("--target=x-apple-y.json", false);
        check_asked("-Clinker=clang", false);
        check_asked("-C|linker_flavor=ld64.lld", false);
        check_asked("-Clink-self-contained=+linker", false);
        check_asked("-Clinker-plugin-lto", false);
        check_asked("-Zpre-link-arg=-fuse-ld=lld", false);
        check_asked("-llink-arg=-fuse-ld=lld", false);
        for other in ["-fuse-ld=lld", "-B/tools", "@file", "-Wl,-map,/a.map", "-Wl,-rpath,@file"] {
            check_asked(&format!("-Clink-arg={other}"), false);
        }
        check_asked("-Clink-args=-ObjC -ld_classic", false);
    }

    #[test]
    fn only_the_link_is_asked_for() {
        let library = invocation("rustc|a.rs|--crate-name=a|--emit=metadata,dep-info");
        assert!(ReportRequest::of(&library, Path::new("/cache"), true).is_none());
    }

    #[test]
    fn the_argument_names_a_fresh_file_if_it_can_name_one() {
        let invocation = invocation(CALL);
        let of = |cache_dir: &str| ReportRequest::of(&invocation, Path::new(cache_dir), true);
        let (one, two) = (of("/my cache").unwrap().argument(), of("/my cache").unwrap().argument());
        assert!(one.to_str().unwrap().starts_with("-Clink-arg=-Wl,-dependency_info,/my cache/."));
        assert_ne!(one, two);
        assert!(of("/a,b").is_none());
        let no_text = Path::new(OsStr::from_bytes(b"/\xff"));
        assert!(ReportRequest::of(&invocation, no_text, true).is_none());
    }

    #[test]
    fn a_report_is_taken_away() {
        let space = tempfile::tempdir().unwrap();
        let request = || ReportRequest { path: space.path().join("report") };
        assert_eq!(request().take(), None);
        std::fs::write(request().path, REAL).unwrap();
        assert_eq!(request().take().as_deref(), Some(REAL));
        std::fs::File::create(request().path)
            .unwrap()
            .set_len(REPORT_BYTES_MAX as u64 + 1)
            .unwrap();
        assert_eq!(request().take(), None);
        assert_eq!(std::fs::read_dir(space.path()).unwrap().count(), 0);
    }

    /// Where the command line tools are, and what is beside them.
    const TOOLS: &str = "/Library/Developer/CommandLineTools";

    fn searched(name: &str) -> Access {
        let path = Some(Path::new("/usr/bin").join(name));
        Access::Searched { name: name.into(), path, is_ours: true }
    }

    /// What is seen of a compiler that makes an object, asks for the SDK, links and looks at what came
    /// out.
    fn observed(unreported: &[&str]) -> Observation {
        Observation {
            events: vec![
                Access::Read("/p/a.rs".into()),
                Access::Wrote("/tmp/linktest/a.o".into()),
                searched("xcrun"),
                searched("cc"),
                Access::Read("/tmp/linktest/out".into()),
            ],
            complete: Err(IncompleteReason::Unreported("/usr/bin/cc".into())),
            unreported: unreported.iter().map(PathBuf::from).collect(),
            processes: 1,
            root: Some("/rust/bin/rustc".into()),
            root_uses: EnvironmentUse::Nothing,
            remaining: Vec::new(),
            effects: Vec::new(),
            temporary: vec!["/tmp".into()],
            jobserver: None,
            library_path: OsString::new(),
            git_knows_names: false,
            traces: Vec::new(),
        }
    }

    const LINK: [&str; 2] = ["/usr/bin/xcrun", "/usr/bin/cc"];

    /// Where these variables are set, and programs are where the command line tools have them.
    fn complete_with(
        observation: &mut Observation,
        report: &[u8],
        variables: &[(&str, &str)],
    ) -> Result<String, Unobserved> {
        let value = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let tools = Path::new(TOOLS).join("usr/bin");
        let there = [tools.join("clang"), tools.join("ld"), "/tmp/linktest/out".into()];
        let is_there = |path: &Path| there.iter().any(|known| known == path);
        complete(
            observation,
            report,
            &Lookups { variable: &value, link: &|_| None, is_there: &is_there },
        )
    }

    fn inputs_of(observation: &Observation) -> Found {
        let (roots, invocation) = (Roots::default(), invocation("rustc|a.rs|--crate-name=a"));
        let context = Context {
            roots: &roots,
            sysroot: Path::new("/rust"),
            targets: Vec::new(),
            cache_directory: Path::new("/cache"),
            invocation: &invocation,
            working_directory: Path::new("/p"),
        };
        inputs(observation, &context).unwrap()
    }

    #[test]
    fn what_driver_and_linker_go_by_becomes_inputs() {
        let mut observation = observed(&LINK);
        let linker = complete_with(&mut observation, REAL, &[]);
        assert_eq!(linker.as_deref(), Ok("Debian LLD 14.0.6"));
        assert_eq!(observation.complete, Ok(()));
        let found = inputs_of(&observation);
        assert_eq!(found.outputs, [Path::new("/tmp/linktest/out")]);
        let (variables, others): (Vec<&Input>, Vec<&Input>) =
            found.inputs.iter().partition(|input| input.kind == InputKind::Variable);
        assert_eq!(variables.len(), VARIABLES.len() + DISTURBING.len());
        let told = others.into_iter().map(|input| {
            let name = String::from_utf8_lossy(&input.name.path);
            let name = name.replace("Toolchains/XcodeDefault.xctoolchain", "TOOLCHAIN");
            format!("{:?} {}", input.kind, name.replace(TOOLS, "TOOLS"))
        });
        let expected = [
            "File TOOLS/TOOLCHAIN/usr/bin/clang.cfg",
            "File TOOLS/usr/bin/clang.cfg",
            "File /p/a.rs",
            "File /tmp/linktest/MacOSX.sdk/SDKSettings.json",
            "File /tmp/linktest/MacOSX.sdk/SDKSettings.plist",
            "File /tmp/linktest/MacOSX.sdk/usr/lib/libSystem.tbd",
            // The other object was made by the compiler, and the output by the linker.
            "File /tmp/linktest/b.o",
            "Listing /tmp/linktest",
            "Presence /Applications/Xcode.app/Contents/Developer",
            "Presence /tmp/linktest/empty/libSystem.a",
            "Presence /tmp/linktest/empty/libSystem.dylib",
            "Presence /tmp/linktest/empty/libSystem.tbd",
            "Program TOOLS/TOOLCHAIN/usr/bin/cc",
            "Program TOOLS/TOOLCHAIN/usr/bin/clang",
            "Program TOOLS/TOOLCHAIN/usr/bin/ld",
            "Program TOOLS/TOOLCHAIN/usr/bin/ld-classic",
            "Program TOOLS/usr/bin/cc",
            "Program TOOLS/usr/bin/clang",
            "Program TOOLS/usr/bin/ld",
            "Program TOOLS/usr/bin/ld-classic",
            "Program cc",
            "Program xcrun",
            "LinkTarget /var/db/xcode_select_link",
        ];
        assert_eq!(told.collect::<Vec<String>>(), expected);
    }

    /// Whether what the linker told in a record is an input, where the compiler had made something.
    #[track_caller]
    fn check_made(made: &str, kind: u8, told: &str, is_input: bool) {
        let mut observation = observed(&LINK);
        observation.events.insert(1, Access::Wrote(made.into()));
        let records: [&[u8]; 4] = [b"\0ld\0\x10/M.sdk/a.tbd\0", &[kind], told.as_bytes(), b"\0"];
        assert!(complete_with(&mut observation, &records.concat(), &[]).is_ok());
        let found = inputs_of(&observation);
        let is_told = |input: &Input| input.name.path == told.as_bytes();
        assert_eq!(found.inputs.iter().any(is_told), is_input, "{told}");
    }

    #[test]
    fn what_the_compiler_made_is_no_input_by_its_other_names_either() {
        const INPUT: u8 = 0x10;
        const NOT_FOUND: u8 = 0x11;
        check_made("/tmp/l/b.o", INPUT, "/private/tmp/l/b.o", false);
        check_made("/private/var/b.o", INPUT, "/var/b.o", false);
        check_made("/tmp/l/b.o", INPUT, "/private/tmp/l/c.o", true);
        check_made("/w/rustc1", NOT_FOUND, "/M.sdk/w/rustc1/a.rlib", false);
        check_made("/w/rustc1", NOT_FOUND, "/M.sdk/w/b.rlib", true);
        check_made("/w/rustc1", NOT_FOUND, "/w/b.rlib", true);
    }

    #[track_caller]
    fn check_stays(
        observation: &Observation,
        report: &[u8],
        variables: &[(&str, &str)],
        expected: Unobserved,
    ) {
        let mut completed = observation.clone();
        assert_eq!(complete_with(&mut completed, report, variables), Err(expected));
        assert_eq!(completed, *observation, "nothing is added");
    }

    #[test]
    fn more_than_the_link_of_the_compiler_is_not_made_up_for() {
        let check = |observation: &Observation| {
            check_stays(observation, REAL, &[], Unobserved::NotTheLinkAlone);
        };
        assert!(complete_with(&mut observed(&["/usr/bin/cc"]), REAL, &[]).is_ok());
        for unreported in [
            &[][..],
            &["/usr/bin/xcrun"],
            &["/opt/bin/cc"],
            &["/usr/bin/cc", "/usr/bin/cc"],
            &["/usr/bin/cc", "/usr/bin/clang"],
            &["/usr/bin/cc", "/usr/bin/dsymutil"],
            &["/usr/bin/cc", "/usr/bin/xcrun", "/usr/bin/xcrun"],
            // Nobody was seen to start it.
            &["/usr/bin/clang"],
        ] {
            check(&observed(unreported));
        }
        // A procedural macro that runs one of them does so before there is an object.
        for early in [2, 3] {
            let mut observation = observed(&LINK);
            let start = observation.events.remove(early);
            observation.events.insert(0, start);
            check(&observation);
        }
    }

    #[test]
    fn in_doubt_of_what_ran_a_link_stays_unobserved() {
        let observation = observed(&LINK);
        let disturbed = Unobserved::Disturbed("COMPILER_PATH");
        check_stays(&observation, REAL, &[("COMPILER_PATH", "/tools")], disturbed);
        let no_tools = [("DEVELOPER_DIR", "/Applications/Other.app")];
        check_stays(&observation, REAL, &no_tools, Unobserved::NoPrograms);
        check_stays(&observation, b"\0ld\0\x10/a.o\0", &[], Unobserved::NoSdk);
        let cut = Unobserved::Report(Unusable::NoEnd);
        check_stays(&observation, &REAL[..REAL.len() - 1], &[], cut);
    }

    #[test]
    fn the_developer_directory_is_the_variables_then_the_links_then_a_known_one() {
        let check = |variable: Option<&str>, link: Option<&str>, expected: &[&str]| {
            let lookups = Lookups {
                variable: &|name| variable.filter(|_| name == "DEVELOPER_DIR").map(OsString::from),
                link: &|_| link.map(PathBuf::from),
                is_there: &|_| false,
            };
            let expected: Vec<&Path> = expected.iter().map(Path::new).collect();
            assert_eq!(developer_directories(&lookups), expected);
        };
        check(Some("/X.app"), Some("/Y"), &["/X.app", "/X.app/Contents/Developer"]);
        check(Some("relative"), Some("/Y"), &[]);
        check(None, Some("/Y"), &["/Y"]);
        check(None, Some("xcode"), &["/var/db/xcode"]);
        check(None, None, &DEVELOPER_DIRECTORIES);
    }

    #[test]
    fn an_observation_without_a_report_or_that_is_complete_stays_as_it_is() {
        let observation = observed(&LINK);
        assert_eq!(completed(observation.clone(), None), observation);
        let observation = Observation { complete: Ok(()), ..observed(&[]) };
        assert_eq!(completed(observation.clone(), Some(REAL)), observation);
    }
}
