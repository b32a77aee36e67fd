//! One run of a build script, from Cargo's call of its launcher to its end.
//!
//! A run is an action like a compilation: looked up under what Cargo passes and the script's
//! executable, then under everything that the script and its children read, listed, probed, looked
//! up or executed. A hit restores `OUT_DIR` and replays the output; a miss runs the script,
//! observed, in an empty `OUT_DIR`, so that a result never depends on what an earlier run left.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, exit};

use store_format::{Digest, Input, InputKind, Root, RootedPath};

use crate::account::Account;
use crate::compile;
use crate::config::Config;
use crate::env;
use crate::fs::{self, FileKind, FsError};
use crate::inputs::{content_digest, find_program, finish, frame};
use crate::key::{Component, UnitComponents};
use crate::launcher::Launcher;
use crate::library_path::is_output_of_unit;
use crate::observe::{self, Observation, Observer, rules};
use crate::outcome::Reason;
use crate::process::end_like;
use crate::publish;
use crate::roots::{RootSet, Roots};
use crate::seen::{self, Seen};
use crate::session::{Session, Turn};
use crate::store::Store;
use crate::store::restore::Tree;
use crate::toolchain::{Toolchain, identify, refuse_changed};
use crate::wrap::{become_program, exec};

/// A run that can be cached.
#[derive(Debug)]
pub struct Run {
    pub toolchain: Toolchain,
    pub session: Session,
    pub out_dir: PathBuf,
}

/// Runs the build script `arguments` (its real executable first) and ends as it ends.
pub fn main(arguments: &[OsString]) -> ! {
    std::panic::set_hook(Box::new(|panic| crate::log::error!("{panic}")));
    let account = Account::begin();
    match catch_unwind(AssertUnwindSafe(|| prepare(arguments, account))) {
        Ok(Ok(run)) => run.go(arguments),
        Ok(Err(reason)) => {
            crate::log::info!("build script run as it is: {reason}");
            if let Some(real) = arguments.first().map(Path::new).filter(|real| is_gone(real)) {
                give_up_launcher(real);
            }
            exec(arguments)
        }
        Err(_) => exec(arguments),
    }
}

fn is_gone(real: &Path) -> bool {
    fs::stat(real).is_err_and(|error| error.is_absent())
}

/// Removes the launchers of an executable that is gone, as by a tool that removes what looks old: Cargo
/// does not know it, and compiles it again only where they are missing.
#[expect(clippy::print_stderr, reason = "nothing else will say why the build failed")]
fn give_up_launcher(real: &Path) -> ! {
    let removed = Launcher::beside(real).map(|launcher| launcher.remove());
    eprintln!("error: {} is gone, the build script's executable", real.display());
    match removed {
        Some(Ok(())) => eprintln!("note: build again, and it is compiled anew"),
        Some(Err(error)) => eprintln!("note: {error}; remove its directory and build again"),
        None => {}
    }
    exit(1)
}

fn prepare(arguments: &[OsString], mut account: Account) -> Result<Run, Reason> {
    let refuse = |error: &dyn std::fmt::Display| Reason::NotCached(error.to_string());
    let (config, _) = Config::load();
    if config.disabled || observe::is_observed() {
        return Err(Reason::NotCached("disabled or observed".into()));
    }
    let variable = |name: &str| std::env::var_os(name);
    let (Some(out_dir), Some(rustc)) = (variable("OUT_DIR"), variable("RUSTC")) else {
        return Err(Reason::NotCached("not called by Cargo".into()));
    };
    let out_dir = PathBuf::from(out_dir);
    // It is emptied for the run: whoever runs a script by hand may have named any directory.
    if !(out_dir.is_absolute() && is_output_of_unit(&out_dir)) {
        return Err(Reason::NotCached("OUT_DIR is not one of Cargo's".into()));
    }
    account.describe_script();
    if config.bypasses(account.crate_name()) {
        account.passed(&config.cache_dir, "bypassed by bypass_crates");
        return Err(Reason::NotCached("bypassed by bypass_crates".into()));
    }
    let store = Store::open(&config.cache_dir).map_err(|error| refuse(&error))?;
    let target = variable("TARGET");
    let toolchain =
        identify(&store, &rustc, None, target.as_deref()).map_err(|error| refuse(&error))?;
    let executable = executable_digest(&store, Path::new(&arguments[0]))?;
    let working_directory = env::current_directory();
    let mut roots =
        Roots::of_script(&out_dir, &working_directory, variable, |path| fs::lstat(path).is_ok());
    roots.set(Root::Sysroot, &toolchain.sysroot);
    let mut components = UnitComponents::common(&config, &store.memo);
    components.add(Component::Toolchain, toolchain.digest.0.to_vec());
    components.add(Component::Script, executable.0.to_vec());
    for argument in &arguments[1..] {
        components.add(Component::Argument, roots.template(argument.as_bytes()));
    }
    let unit = components.key();
    account.keyed(unit, &working_directory);
    let session = Session {
        tree: Tree { cleared: true, ..Tree::new(out_dir.clone()) },
        certain: certain(),
        name: run_name(&account),
        config,
        store,
        working_directory,
        roots,
        components,
        unit,
        expected: None,
        program: rustc,
        account,
    };
    Ok(Run { toolchain, session, out_dir })
}

fn executable_digest(store: &Store, path: &Path) -> Result<Digest, Reason> {
    fs::stat(path)
        .and_then(|stat| content_digest(&store.memo, path, &stat))
        .map_err(|error| Reason::NotCached(error.to_string()))
}

/// What Cargo passes to every script as its parameters, whether or not a run was seen to read it.
fn certain() -> Vec<Input> {
    let fixed = ["TARGET", "HOST", "PROFILE", "OPT_LEVEL", "DEBUG", "CARGO_MANIFEST_LINKS"];
    let prefixes = [&b"CARGO_FEATURE_"[..], b"CARGO_CFG_", b"DEP_"];
    let parameters = std::env::vars_os()
        .map(|(name, _)| name.as_bytes().to_vec())
        .filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)));
    let names = fixed.iter().map(|name| name.as_bytes().to_vec()).chain(parameters);
    names.map(|name| bare(InputKind::Variable, name)).collect()
}

fn bare(kind: InputKind, name: Vec<u8>) -> Input {
    Input { kind, name: RootedPath { root: None, path: name } }
}

fn run_name(account: &Account) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"kache latest script run\0");
    frame(&mut hasher, account.crate_name().as_bytes());
    finish(&hasher)
}

const WRAPPER: &str = "RUSTC_WRAPPER";

/// Another name of this executable, where scripts would be told the one that it has. By that the crate `cc`
/// knows it and has it run C compilers, which makes nothing faster, and nothing at all where the path has
/// a space; and what it runs comes to be known to programs.
fn nameless_wrapper(cache_directory: &Path) -> Result<Option<PathBuf>, FsError> {
    let wrapper = std::env::var_os(WRAPPER).and_then(|name| find_program(&name, Path::new("")));
    let (Some(wrapper), Ok(own)) = (wrapper, std::env::current_exe()) else { return Ok(None) };
    let (named, real) = (fs::stat(&wrapper)?, fs::stat(&own)?);
    if (named.device, named.inode) != (real.device, real.inode) {
        return Ok(None);
    }
    let name = observe::link_in(cache_directory);
    if fs::read_link(&name).is_ok_and(|known| known == own) {
        return Ok(Some(name));
    }
    fs::create_directories(name.parent().unwrap_or(cache_directory))?;
    fs::replace_by_symlink(&own, &name)?;
    Ok(Some(name))
}

impl Run {
    fn go(mut self, arguments: &[OsString]) -> ! {
        match self.session.seek() {
            Turn::Act(reason, claimed) => {
                let status = self.run(reason, arguments);
                drop(claimed);
                end_like(status)
            }
            Turn::GiveUp => self.give_up(arguments),
        }
    }

    fn command(&self, arguments: &[OsString]) -> Command {
        let mut command = Command::new(&arguments[0]);
        command.args(&arguments[1..]);
        match nameless_wrapper(&self.session.config.cache_dir) {
            Ok(Some(wrapper)) => drop(command.env(WRAPPER, wrapper)),
            Ok(None) => {}
            Err(error) => crate::log::info!("the script will know of kache: {error}"),
        }
        command
    }

    /// Becomes the script.
    fn give_up(&self, arguments: &[OsString]) -> ! {
        become_program(self.command(arguments))
    }

    /// Runs the script under the observer in an empty `OUT_DIR`, and stores what came out of it.
    fn run(&mut self, reason: Reason, arguments: &[OsString]) -> ExitStatus {
        if let Err(error) = fs::clear(&self.out_dir) {
            crate::log::warn!("{error}");
            self.give_up(arguments);
        }
        let observer = Observer::prepare(&self.session.store.directory);
        let mut command = self.command(arguments);
        if let Ok(observer) = &observer {
            observer.attach(&mut command);
            self.extend_c_compilers(observer);
            if let Err(error) = observer.end_with_this_thread() {
                crate::log::debug!("the compiler may outlive a killed wrapper: {error}");
            }
        }
        // A script may be at its work within the tick of the file clock in which it was started: a
        // change that has the stamp of that tick may have come after the script looked.
        let started_ns = fs::file_clock_ns() - 1;
        let Ok(compiled) = compile::run(command, &|line| line.to_vec(), &|| false) else {
            self.give_up(arguments);
        };
        let status = compiled.status;
        let observation = observer.map(Observer::finish).map_err(|error| error.to_string());
        if !status.success() && observe::may_be_to_blame(&observation) {
            crate::log::info!("run again: it could not be observed");
            if let Err(error) = fs::clear(&self.out_dir) {
                crate::log::warn!("{error}");
            }
            self.give_up(arguments);
        }
        let stored = catch_unwind(AssertUnwindSafe(|| {
            self.session.account.compiled(compiled.elapsed);
            let seen = publish::worth_keeping(&compiled, &observation)
                .and_then(|()| self.seen(&arguments[0], &compiled.stdout, observation))
                .and_then(|seen| self.of_one_toolchain(seen, started_ns));
            let reason = publish::keep(&mut self.session, reason, &compiled, seen, started_ns);
            self.session.account.missed(&self.session.store, &reason);
        }));
        if stored.is_err() {
            crate::log::error!("build script not stored");
        }
        status
    }

    /// Keeps the place of this build out of what C compilers write.
    fn extend_c_compilers(&self, observer: &Observer) {
        if !self.session.config.path_normalize {
            return;
        }
        let arguments = self.session.roots.c_compiler_arguments();
        if let Err(error) = observer.extend_c_compilers(&arguments) {
            crate::log::warn!("objects will name the place of this build: {error}");
        }
    }

    /// Lets nothing be stored for a toolchain that was replaced meanwhile.
    fn of_one_toolchain(&self, seen: Seen, started_ns: i64) -> Result<Seen, Reason> {
        let target = std::env::var_os("TARGET");
        let asked = (self.session.program.as_os_str(), None, target.as_deref());
        refuse_changed(&self.session.store, &self.toolchain, asked, started_ns).map(|()| seen)
    }

    /// What the run read and made, or why it cannot be stored.
    fn seen(
        &self,
        executable: &OsStr,
        stdout: &[u8],
        observation: Result<Observation, String>,
    ) -> Result<Seen, Reason> {
        let observation = seen::whole(observation).map_err(Reason::Unobserved)?;
        let context = rules::ScriptContext {
            roots: &self.session.roots,
            sysroot: &self.toolchain.sysroot,
            targets: self.toolchain.targets(),
            cache_directory: &self.session.store.directory,
            out_dir: &self.out_dir,
            working_directory: &self.session.working_directory,
        };
        let found = rules::script_inputs(&observation, &context)
            .map_err(|reason| Reason::Uncacheable(reason.to_string()))?;
        seen::refuse_side_effects(&found, &self.out_dir)?;
        let mut inputs = self.session.certain.clone();
        inputs.extend(found.inputs);
        self.add_declared(stdout, &mut inputs)?;
        inputs.sort();
        inputs.dedup();
        let outputs = everything_below(&self.out_dir)?;
        Ok(Seen {
            inputs,
            outputs,
            absent: found.absent,
            incremental: found.incremental,
            hides_text: false,
            named: self.named_by(executable)?,
            traces: observation.traces,
        })
    }

    /// The places whose paths are in the script: written there, they mean these everywhere.
    fn named_by(&self, executable: &OsStr) -> Result<RootSet, Reason> {
        let content = fs::read(Path::new(executable))
            .map_err(|error| Reason::Uncacheable(error.to_string()))?;
        let mut places = RootSet::default();
        for root in [Root::Workspace, Root::Package, Root::CargoHome, Root::Home] {
            places.insert(root);
        }
        Ok(self.session.roots.surviving(&content).intersection(places))
    }

    /// What the script itself declares: `rerun-if-changed` and `rerun-if-env-changed`.
    fn add_declared(&self, stdout: &[u8], inputs: &mut Vec<Input>) -> Result<(), Reason> {
        for line in stdout.split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let directive = |name: &[u8]| {
                let rest = line.strip_prefix(b"cargo:")?;
                rest.strip_prefix(b":").unwrap_or(rest).strip_prefix(name)?.strip_prefix(b"=")
            };
            if let Some(name) = directive(b"rerun-if-env-changed") {
                inputs.push(bare(InputKind::Variable, name.to_vec()));
            }
            if let Some(path) = directive(b"rerun-if-changed") {
                let path = self.session.working_directory.join(OsStr::from_bytes(path));
                if !path.starts_with(&self.out_dir) {
                    self.add_tree(&path, inputs)?;
                }
            }
        }
        Ok(())
    }

    /// A declared path as Cargo takes it: a directory stands for all below it.
    fn add_tree(&self, path: &Path, inputs: &mut Vec<Input>) -> Result<(), Reason> {
        if inputs.len() > DECLARED_INPUTS_MAX {
            return Err(Reason::Uncacheable("declares too many files".into()));
        }
        let name = self.session.roots.relativize(path.as_os_str().as_bytes());
        let is_directory = fs::stat(path).is_ok_and(|stat| stat.kind == FileKind::Directory);
        if !is_directory {
            inputs.push(Input { kind: InputKind::File, name });
            return Ok(());
        }
        inputs.push(Input { kind: InputKind::Listing, name });
        for name in fs::list_names(path).map_err(|error| unreadable(&error))? {
            self.add_tree(&path.join(name), inputs)?;
        }
        Ok(())
    }
}

/// A script that declares more files than this (a whole checkout with its target directory, say) is
/// run each time that Cargo asks for it.
const DECLARED_INPUTS_MAX: usize = 20_000;

fn unreadable(error: &FsError) -> Reason {
    Reason::Uncacheable(error.to_string())
}

/// All that a run left in its `OUT_DIR`, each directory before what is in it.
fn everything_below(directory: &Path) -> Result<Vec<PathBuf>, Reason> {
    let mut found = Vec::new();
    let mut names = fs::list_names(directory).map_err(|error| unreadable(&error))?;
    names.sort();
    for name in names {
        let path = directory.join(name);
        let kind = fs::lstat(&path).map_err(|error| unreadable(&error))?.kind;
        found.push(path.clone());
        if kind == FileKind::Directory {
            found.extend(everything_below(&path)?);
        }
    }
    Ok(found)
}
