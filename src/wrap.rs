//! One invocation of the compiler, from its arguments to its end.
//!
//! arguments → unit key → manifests → value of each input → action key → result → restore → replay;
//! or the compiler, observed, and what came out of it stored. Whatever goes wrong in kache, the
//! compiler runs, and its streams and its exit status are what Cargo sees.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, exit};
use std::time::Duration;

use store_format::Root;

use crate::account::{Account, kind_of};
use crate::client;
use crate::compile::{self, Unfinished};
use crate::config::{Config, Verify};
use crate::env;
use crate::explain;
use crate::fs;
use crate::invocation::{CrateType, Invocation, Parsed, parse};
use crate::key::{Component, UnitComponents};
use crate::launcher::Launcher;
use crate::memo::Memo;
use crate::observe::apple::{self, ReportRequest};
use crate::observe::{self, Fact, Observation, Observer};
use crate::outcome::Reason;
use crate::process::end_like;
use crate::publish;
use crate::roots::Roots;
use crate::seen::{self, Seen};
use crate::session::{Session, Turn};
use crate::store::Store;
use crate::store::restore::Tree;
use crate::toolchain::{Toolchain, identify, refuse_changed};

/// A compilation that can be cached.
#[derive(Debug)]
pub struct Compilation {
    pub invocation: Invocation,
    pub toolchain: Toolchain,
    pub session: Session,
}

/// Whether the first argument is a compiler and not a command of kache: a path, or the bare name of
/// a driver. No command contains a slash or ends like a driver.
pub fn is_compiler(argument: &OsStr) -> bool {
    let bytes = argument.as_bytes();
    let name = Path::new(argument).file_name().map_or(bytes, OsStr::as_bytes);
    !bytes.starts_with(b"-")
        && (bytes.contains(&b'/')
            || name.starts_with(b"rustc")
            || name.ends_with(b"rustc")
            || name.ends_with(b"-driver"))
}

/// Whether the first argument is a compiler of C or a relative of it, by any target's name and
/// version: build scripts put `RUSTC_WRAPPER` in front of those as well, if they know its name.
pub fn is_c_compiler(argument: &OsStr) -> bool {
    const NAMES: [&[u8]; 17] = [
        b"cc",
        b"c++",
        b"gcc",
        b"g++",
        b"clang",
        b"clang++",
        b"cl",
        b"clang-cl",
        b"nvcc",
        b"emcc",
        b"em++",
        b"icx",
        b"icpx",
        b"icc",
        b"icpc",
        b"tcc",
        b"zig",
    ];
    let name = observe::plain_name(Path::new(argument));
    let name = name.strip_suffix(b".exe").unwrap_or(name);
    let last = name.rsplit(|byte| *byte == b'-').next().unwrap_or(name);
    NAMES.contains(&name) || NAMES.contains(&last)
}

/// Runs the compiler call `arguments` (the compiler first) and ends as it ends.
pub fn main(arguments: &[OsString]) -> ! {
    std::panic::set_hook(Box::new(|panic| crate::log::error!("{panic}")));
    let account = Account::begin();
    match catch_unwind(AssertUnwindSafe(|| prepare(arguments, account))) {
        Ok(Ok(compilation)) => compilation.run(arguments),
        Ok(Err(reason)) => {
            crate::log::info!("passed through: {reason}");
            exec(arguments)
        }
        Err(_) => exec(arguments),
    }
}

/// Everything up to the unit key. What cannot be cached is reported here, and its reason returned.
fn prepare(arguments: &[OsString], mut account: Account) -> Result<Compilation, Reason> {
    if !cfg!(any(target_os = "linux", target_os = "macos")) {
        return Err(Reason::NotCached("this system is not supported".into()));
    }
    let (config, _) = Config::load();
    if config.disabled {
        return Err(Reason::NotCached("disabled".into()));
    }
    if observe::is_observed() {
        // The build script that runs this compiler is being watched, and must be watched whole.
        return Err(Reason::NotCached("part of an observed build script".into()));
    }
    match identified(&config, arguments, &mut account) {
        Ok((store, invocation, toolchain)) => {
            Ok(Compilation::new(config, store, invocation, toolchain, account))
        }
        Err(reason) => {
            account.passed(&config.cache_dir, &reason.to_string());
            Err(reason)
        }
    }
}

fn identified(
    config: &Config,
    arguments: &[OsString],
    account: &mut Account,
) -> Result<(Store, Invocation, Toolchain), Reason> {
    let refuse = |error: &dyn std::fmt::Display| Reason::NotCached(error.to_string());
    let invocation = match parse(arguments, |path| fs::read(Path::new(path)).ok()) {
        Parsed::Compile(invocation) => *invocation,
        Parsed::Pass(reason) => {
            if is_probe(arguments) {
                client::build_begins(config, &arguments[0]);
            }
            return Err(refuse(&reason));
        }
    };
    account.describe(&invocation);
    if let Some(reason) = excluded(config, &invocation, account.crate_name()) {
        return Err(Reason::NotCached(reason));
    }
    if invocation.depends_on_host_cpu() && Fact::Processor.told().is_none() {
        return Err(refuse(&"made for the host's processor, which cannot be told"));
    }
    let store = Store::open(&config.cache_dir).map_err(|error| refuse(&error))?;
    let toolchain = identify(
        &store,
        &invocation.program,
        invocation.sysroot.as_deref(),
        invocation.target.as_deref(),
    )
    .map_err(|error| refuse(&error))?;
    Ok((store, invocation, toolchain))
}

/// Whether this is how Cargo asks a compiler who it is, at the beginning of a build.
fn is_probe(arguments: &[OsString]) -> bool {
    matches!(arguments, [_, flag] if flag == "-vV")
}

/// Why the configuration keeps this compilation out of the cache, if it does.
fn excluded(config: &Config, invocation: &Invocation, name: &str) -> Option<String> {
    if config.bypasses(name) {
        return Some("bypassed by bypass_crates".into());
    }
    if !config.cache_executables
        && invocation.crate_types.contains(&CrateType::Bin)
        && kind_of(invocation) != "build-script"
        && invocation.links()
    {
        return Some("cache_executables is off".into());
    }
    if config.exclude.is_empty() {
        return None;
    }
    let source = env::current_directory().join(&invocation.source);
    let excludes = |glob: &&String| crate::glob::matches(glob, source.as_os_str().as_bytes());
    config.exclude.iter().find(excludes).map(|glob| format!("excluded by {glob:?}"))
}

/// Variables that decide what the compiler accepts and makes. The observer sees them read; a compilation that
/// could not be observed must know them as well.
const ALWAYS_READ: [&str; 6] = [
    "RUSTC_BOOTSTRAP",
    // The oldest system to run on, which objects for Apple's systems name.
    "MACOSX_DEPLOYMENT_TARGET",
    "IPHONEOS_DEPLOYMENT_TARGET",
    "TVOS_DEPLOYMENT_TARGET",
    "WATCHOS_DEPLOYMENT_TARGET",
    "XROS_DEPLOYMENT_TARGET",
];

/// The components of the unit key, in the order of the table in `key.rs`.
fn components(
    config: &Config,
    invocation: &Invocation,
    roots: &Roots,
    toolchain: &Toolchain,
    memo: &Memo,
) -> UnitComponents {
    let mut components = UnitComponents::common(config, memo);
    components.add(Component::Toolchain, toolchain.digest.0.to_vec());
    for part in invocation.normalized(roots) {
        components.add_named(Component::Argument, part.name, part.value);
    }
    // Outputs name sources by it: a package in a registry and the same one elsewhere are two.
    let directory = roots.path(Root::Workspace).filter(|_| config.path_normalize);
    let name = directory.and_then(|path| roots.remapped(path.as_os_str().as_bytes()));
    components.add(Component::SourceName, name.unwrap_or_default());
    for name in ALWAYS_READ {
        let value = std::env::var_os(name).unwrap_or_default();
        components.add_named(Component::Variable, name.to_owned(), value.into_encoded_bytes());
    }
    if invocation.depends_on_host_cpu() {
        // Where it cannot be told, the call has been passed through.
        components.add(Component::HostCpu, Fact::Processor.told().unwrap_or_default());
    }
    components
}

impl Compilation {
    fn new(
        mut config: Config,
        store: Store,
        invocation: Invocation,
        toolchain: Toolchain,
        mut account: Account,
    ) -> Self {
        let working_directory = env::current_directory();
        let mut roots =
            Roots::derive(&invocation, &working_directory, |name| std::env::var_os(name));
        roots.set(Root::Sysroot, &toolchain.sysroot);
        let components = components(&config, &invocation, &roots, &toolchain, &store.memo);
        if invocation.names_objects_at_random() {
            config.verify_compiles = Verify::Off;
        }
        let unit = components.key();
        account.keyed(unit, &working_directory);
        let session = Session {
            tree: Tree {
                launcher: Launcher::of(&invocation),
                ..Tree::new(working_directory.join(invocation.output_directory()))
            },
            certain: seen::certain(&invocation, &roots),
            name: explain::compilation_name(&invocation),
            expected: None,
            config,
            store,
            working_directory,
            roots,
            components,
            unit,
            program: invocation.program.clone(),
            account,
        };
        Self { invocation, toolchain, session }
    }

    fn run(mut self, arguments: &[OsString]) -> ! {
        match self.session.seek() {
            Turn::Act(reason, claimed) => {
                let status = self.compile(reason, arguments);
                drop(claimed);
                end_like(status)
            }
            Turn::GiveUp => exec(arguments),
        }
    }

    /// Lets nothing be stored for a toolchain that was replaced meanwhile.
    fn of_one_toolchain(&self, seen: Seen, started_ns: i64) -> Result<Seen, Reason> {
        let Invocation { program, sysroot, target, .. } = &self.invocation;
        let asked = (program.as_os_str(), sysroot.as_deref(), target.as_deref());
        refuse_changed(&self.session.store, &self.toolchain, asked, started_ns).map(|()| seen)
    }

    /// Runs the compiler under the observer, and stores what came out of it.
    fn compile(&mut self, reason: Reason, arguments: &[OsString]) -> ExitStatus {
        let exists = |path: &Path| fs::lstat(path).is_ok();
        self.session.roots.tell_package(exists);
        self.session.roots.tell_library(&self.toolchain.commit, exists);
        let observer = Observer::prepare(&self.session.store.directory);
        let link_report = observer.as_ref().ok().and_then(|_| self.link_report());
        let mut command = self.command(arguments, link_report.as_ref());
        if let Ok(observer) = &observer {
            observer.attach(&mut command);
            if let Err(error) = observer.end_with_this_thread() {
                crate::log::debug!("the compiler may outlive a killed wrapper: {error}");
            }
        }
        self.unlink_shared_outputs();
        // A dependency may have been written a moment ago; a compiler takes longer than a tick of
        // the file clock to load, before it reads anything that could change unseen.
        let started_ns = fs::clock_ns();
        let unmap = |line: &[u8]| self.session.roots.unmap(line);
        let own_names = self.own_names();
        let is_own = |path: &[u8]| own_names.iter().any(|name| path.starts_with(name));
        let has_missed = || observer.as_ref().is_ok_and(|observer| observer.has_missed(is_own));
        let compiled = compile::run(command, &unmap, &has_missed);
        let is_void = matches!(compiled, Err(Unfinished::Stopped)) || has_missed();
        let link_report = link_report.and_then(ReportRequest::take);
        let observation = observer
            .map(|observer| apple::completed(observer.finish(), link_report.as_deref()))
            .map_err(|error| error.to_string());
        if is_void {
            self.compile_unmapped(arguments, observation.ok());
        }
        let Ok(compiled) = compiled else { exec(arguments) };
        let status = compiled.status;
        if !status.success() && observe::may_be_to_blame(&observation) {
            crate::log::info!("compiled again: it could not be observed");
            exec(arguments);
        }
        let launched = self.make_way_for_launcher(status);
        let stored = catch_unwind(AssertUnwindSafe(|| {
            self.session.account.compiled(compiled.elapsed);
            let seen = publish::worth_keeping(&compiled, &observation)
                .and_then(|()| seen::of_compilation(self, observation))
                .and_then(|seen| self.of_one_toolchain(seen, started_ns));
            let incremental = seen.as_ref().ok().map(|seen| seen.incremental.clone());
            let reason = publish::keep(&mut self.session, reason, &compiled, seen, started_ns);
            if self.session.config.clean_incremental && reason.stored() {
                for directory in incremental.unwrap_or_default() {
                    remove_incremental(&directory);
                }
            }
            self.session.account.missed(&self.session.store, &reason);
        }));
        if stored.is_err() {
            crate::log::error!("{}: not stored", self.invocation.crate_name);
        }
        if let Some(launcher) = launched
            && let Err(error) = launcher.install()
        {
            crate::log::error!("{error}");
            // Without it the executable itself belongs there, as the compiler left it.
            drop(launcher.give_way());
        }
        status
    }

    /// What the names of this crate's sources begin with because of kache, so that whoever opens what
    /// `Span::file` names finds nothing. The compiler itself looks for sources of other crates by such
    /// names, to show them, and has those of this one.
    fn own_names(&self) -> Vec<Vec<u8>> {
        let Self { session, invocation, .. } = self;
        if !session.config.path_normalize {
            return Vec::new();
        }
        let source = session.working_directory.join(&invocation.source);
        let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let sources = [package.as_deref(), source.parent(), session.roots.path(Root::Build)];
        let names = sources.into_iter().flatten().filter_map(|directory| {
            let mut name = session.roots.remapped(directory.as_os_str().as_bytes())?;
            name.push(b'/');
            Some(name)
        });
        names.collect()
    }

    /// Becomes the compiler as it was asked for, which makes something else. What one that was stopped has
    /// left beside its outputs has names that were made up.
    fn compile_unmapped(&mut self, arguments: &[OsString], seen: Option<Observation>) -> ! {
        let left = seen.into_iter().flat_map(|seen| seen.remaining.into_iter().chain(seen.effects));
        for path in left.filter(|path| path.parent() == Some(&self.session.tree.base)) {
            // What is there no longer was told as an effect, and what stays is in nobody's way.
            fs::remove_tree(&path).ok();
        }
        let what = "a macro looked for a source by the name that kache gives to it";
        crate::log::info!("compiled again: {what}");
        // How long it will take is not known here.
        self.session.account.compiled(Duration::ZERO);
        self.session.account.missed(&self.session.store, &Reason::Uncacheable(what.into()));
        exec(arguments)
    }

    /// Moves a fresh build script beside its launcher's place. Should that fail, it stays where
    /// Cargo expects it, and its runs are not cached.
    fn make_way_for_launcher(&mut self, status: ExitStatus) -> Option<Launcher> {
        let launcher = self.session.tree.launcher.take().filter(|_| status.success())?;
        if let Err(error) = launcher.make_way() {
            crate::log::warn!("{error}");
            return None;
        }
        self.session.tree.launcher = Some(launcher.clone());
        Some(launcher)
    }

    /// What the linker is to tell, where nothing else can.
    fn link_report(&self) -> Option<ReportRequest> {
        let cache_dir = &self.session.store.directory;
        ReportRequest::of(&self.invocation, cache_dir, cfg!(target_os = "macos"))
    }

    /// The compiler's command line: as given, with the roots remapped, and what is asked for besides.
    fn command(&self, arguments: &[OsString], link_report: Option<&ReportRequest>) -> Command {
        let lead = 1 + usize::from(self.invocation.wrapped.is_some());
        let mut command = Command::new(&arguments[0]);
        command.args(&arguments[1..lead]);
        if self.session.config.path_normalize {
            command.args(self.session.roots.remap_arguments());
        }
        command.args(link_report.map(ReportRequest::argument));
        command.args(&arguments[lead..]);
        command.args(self.invocation.added.iter().flat_map(|setting| ["-C", setting]));
        command
    }

    /// A compiler may write through an inode that the store or another target directory shares, so
    /// such an output is unlinked first.
    fn unlink_shared_outputs(&self) {
        for path in self.invocation.outputs().files {
            if fs::lstat(&path).is_ok_and(|stat| stat.links > 1) {
                // What cannot be unlinked, the compiler cannot write either, or it says so itself.
                drop(fs::remove(&path));
            }
        }
    }
}

/// Removes what the compiler would need to compile a unit incrementally the next time. What stays
/// is only not saved.
fn remove_incremental(directory: &Path) {
    if let Err(error) = fs::remove_tree(directory) {
        crate::log::debug!("{error}");
    }
}

/// Becomes the compiler. Returns only by ending: if the compiler cannot be run, as a shell would.
pub fn exec(arguments: &[OsString]) -> ! {
    let mut command = Command::new(&arguments[0]);
    command.args(&arguments[1..]);
    become_program(command)
}

/// Becomes any program.
pub fn become_program(mut command: Command) -> ! {
    let error = command.exec();
    report_exec_failure(command.get_program(), &error);
    exit(127)
}

#[expect(clippy::print_stderr, reason = "nothing else will say why the build failed")]
fn report_exec_failure(program: &OsStr, error: &std::io::Error) {
    eprintln!("error: kache cannot run {}: {error}", program.display());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compilers_of_c_are_told_from_commands_and_drivers_of_rust() {
        for name in ["cc", "/usr/bin/cc", "x86_64-linux-gnu-gcc-12", "clang++-17", "musl-gcc"] {
            assert!(is_c_compiler(OsStr::new(name)), "{name}");
        }
        for name in ["clean", "config", "rustc", "/usr/bin/clippy-driver", "cargo", "-c", "gc"] {
            assert!(!is_c_compiler(OsStr::new(name)), "{name}");
        }
    }
}
