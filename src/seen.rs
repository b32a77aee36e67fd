//! What a compilation read and what it made, from its observation and its dep-info.
//!
//! The observation is the truth; dep-info is always part of it, so that what either one misses the
//! other may still hold. Without an observation a library that the compiler itself makes of Rust alone,
//! with no procedural macro among its dependencies, can rely on dep-info, and nothing else is stored.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use store_format::{Input, InputKind, Root, RootedPath};

use crate::fs;
use crate::invocation::depinfo::{self, DepInfo};
use crate::invocation::outputs::has_plain_metadata;
use crate::invocation::{Invocation, SearchKind};
use crate::observe::rules::{self, Found};
use crate::observe::{Observation, flat, has_parents, is_profile};
use crate::outcome::Reason;
use crate::roots::{RootSet, Roots};
use crate::strangers;
use crate::wrap::Compilation;

/// The inputs of a compilation by name, and the files that it made.
#[derive(Debug)]
pub struct Seen {
    pub inputs: Vec<Input>,
    pub outputs: Vec<PathBuf>,
    /// Those of the inputs that were looked for and found to be absent.
    pub absent: BTreeSet<Input>,
    /// The compiler's incremental data of this unit.
    pub incremental: BTreeSet<PathBuf>,
    /// Whether an output may contain text in a form that a scan of its bytes does not find.
    pub hides_text: bool,
    /// Roots whose paths are in what ran: what it read and said is about this place.
    pub named: RootSet,
    /// Names that only the observation has: what contains one is true of this run alone.
    pub traces: Vec<Vec<u8>>,
}

/// Collects both for a compilation, or says why it cannot be stored.
pub fn of_compilation(
    compilation: &Compilation,
    observation: Result<Observation, String>,
) -> Result<Seen, Reason> {
    let Compilation { invocation, session, .. } = compilation;
    let predicted = invocation.outputs();
    let mut outputs: BTreeSet<PathBuf> =
        predicted.files.iter().map(|path| session.working_directory.join(path)).collect();
    outputs.retain(|path| fs::lstat(path).is_ok());
    let dep_info = read_dep_info(&outputs)?;
    let mut inputs = session.certain.clone();
    inputs.extend(named(&dep_info, &session.roots));
    let mut absent = BTreeSet::new();
    let mut incremental = BTreeSet::new();
    let mut traces = Vec::new();
    match whole(observation) {
        Ok(mut observation) => {
            let given = [Some(&session.tree.base), invocation.incremental.as_ref()];
            let build = session.roots.path(Root::Build);
            for directory in given.into_iter().flatten().map(PathBuf::as_path).chain(build) {
                if let Ok(real) = fs::real_path(directory)
                    && real != directory
                {
                    observation.rename(&real, directory);
                }
            }
            let found = rules::inputs(&observation, &context(compilation))
                .map_err(|reason| Reason::Uncacheable(reason.to_string()))?;
            refuse_side_effects(&found, &session.tree.base)?;
            inputs.extend(found.inputs);
            strangers::remove(&mut inputs, &session.certain, |input| {
                session.roots.resolve(&input.name)
            });
            absent = found.absent;
            traces = observation.traces;
            incremental = found.incremental;
            outputs.extend(
                found.outputs.into_iter().filter(|path| path.starts_with(&session.tree.base)),
            );
        }
        Err(reason) => {
            if !predicted.complete || !dep_info_tells(compilation) {
                return Err(Reason::Unobserved(reason));
            }
        }
    }
    if let Some(launcher) = &session.tree.launcher {
        // The executable has made way for its launcher.
        outputs.remove(&launcher.path);
        outputs.insert(launcher.real());
    }
    let hides_text = !invocation.scannable(|| have_plain_metadata(&outputs));
    let outputs = outputs.into_iter().collect();
    let named = RootSet::default();
    Ok(Seen { inputs, outputs, absent, incremental, hides_text, named, traces })
}

fn have_plain_metadata(outputs: &BTreeSet<PathBuf>) -> bool {
    let mut libraries = outputs.iter().filter(|path| {
        path.extension().is_some_and(|it| ["so", "dylib", "dll"].iter().any(|known| it == *known))
    });
    libraries.all(|path| fs::read(path).is_ok_and(|library| has_plain_metadata(&library)))
}

/// Fails if a file was made that restoring the outputs would not bring back, or if anything else was
/// changed elsewhere. Execution counts of instrumented compilers and macros are nobody's input.
pub fn refuse_side_effects(found: &Found, base: &Path) -> Result<(), Reason> {
    let elsewhere = |path: &&PathBuf| !is_below(path, base) && !is_profile(path);
    let refuse =
        |what: &str, path: &Path| Err(Reason::Uncacheable(format!("it {what} {}", path.display())));
    if let Some(path) = found.outputs.iter().find(elsewhere) {
        return refuse("made", path);
    }
    match found.effects.iter().find(elsewhere) {
        Some(path) if fs::lstat(path).is_ok() => refuse("made", path),
        Some(path) => refuse("removed", path),
        None => Ok(()),
    }
}

/// Whether a path leads below a directory, also with `..` in it: what that means depends on links.
fn is_below(path: &Path, base: &Path) -> bool {
    match path.strip_prefix(base) {
        Ok(rest) if !has_parents(rest) => return true,
        Err(_) if !has_parents(path) && !has_parents(base) => return false,
        _ => {}
    }
    let parent = path.parent().and_then(|parent| parent.canonicalize().ok());
    match (parent, base.canonicalize()) {
        (Some(parent), Ok(base)) => parent.starts_with(base),
        // What is gone was not reached through a link that anyone can still follow.
        _ => flat(path).starts_with(flat(base)),
    }
}

/// An observation that saw every process, or why there is none.
pub fn whole(observation: Result<Observation, String>) -> Result<Observation, String> {
    let observation = observation?;
    match &observation.complete {
        Ok(()) => Ok(observation),
        Err(reason) => Err(reason.to_string()),
    }
}

/// The inputs that are certain from the arguments alone: the root file of the crate, the files that
/// arguments name, and the direct dependencies.
pub fn certain(invocation: &Invocation, roots: &Roots) -> Vec<Input> {
    let file = |path: &Path| named_file(path.as_os_str().as_bytes(), roots);
    let mut inputs = vec![file(&invocation.source)];
    inputs.extend(invocation.input_files().iter().map(|path| file(path)));
    let kind = invocation.dependency_kind();
    for path in invocation.externs.iter().filter_map(|dependency| dependency.path.as_ref()) {
        let stem = path.with_extension("");
        inputs.push(Input { kind, name: roots.relativize(stem.as_os_str().as_bytes()) });
    }
    inputs
}

fn named_file(path: &[u8], roots: &Roots) -> Input {
    Input { kind: InputKind::File, name: roots.relativize(path) }
}

fn read_dep_info(outputs: &BTreeSet<PathBuf>) -> Result<DepInfo, Reason> {
    let Some(path) = outputs.iter().find(|path| path.extension() == Some(OsStr::new("d"))) else {
        return Ok(DepInfo::default());
    };
    let failed = |error: &dyn std::fmt::Display| {
        Reason::Uncacheable(format!("dep-info {}: {error}", path.display()))
    };
    let text = fs::read(path).map_err(|error| failed(&error))?;
    depinfo::parse(&text).map_err(|error| failed(&error))
}

/// The inputs that dep-info names.
fn named<'a>(dep_info: &'a DepInfo, roots: &'a Roots) -> impl Iterator<Item = Input> + 'a {
    let variables = dep_info.variables.iter().map(|(name, _)| Input {
        kind: InputKind::Variable,
        name: RootedPath { root: None, path: name.clone() },
    });
    dep_info.files.iter().map(|path| named_file(path, roots)).chain(variables)
}

/// Whether dep-info names all that is read besides what arguments name: where the compiler itself is called,
/// and not clippy or another program that runs it, and takes in nothing but Rust.
fn dep_info_tells(compilation: &Compilation) -> bool {
    let Compilation { invocation, toolchain, .. } = compilation;
    invocation.wrapped.is_none()
        && toolchain.is_run_by(&invocation.program)
        && !invocation.links()
        && !invocation.takes_native_libraries()
        && !invocation.is_unstable()
        && !may_expand_macros(invocation)
}

/// Whether a procedural macro is anywhere that this compilation may load one from.
fn may_expand_macros(invocation: &Invocation) -> bool {
    let directories = invocation.search_paths.iter().filter(|(kind, _)| {
        matches!(kind, SearchKind::Dependency | SearchKind::Crate | SearchKind::All)
    });
    let is_dynamic = |name: &OsStr| {
        [&b".so"[..], b".dylib", b".dll"].iter().any(|suffix| name.as_bytes().ends_with(suffix))
    };
    let given = invocation.externs.iter().filter_map(|given| given.path.as_ref());
    given.into_iter().any(|path| is_dynamic(path.as_os_str()))
        || directories.into_iter().any(|(_, directory)| match fs::list_names(directory) {
            Ok(names) => names.iter().any(|name| is_dynamic(name)),
            Err(error) => !error.is_absent(),
        })
}

/// What the rules need to know of the compilation.
fn context(compilation: &Compilation) -> rules::Context<'_> {
    let Compilation { invocation, session, toolchain } = compilation;
    rules::Context {
        roots: &session.roots,
        sysroot: &toolchain.sysroot,
        targets: toolchain.targets(),
        cache_directory: &session.store.directory,
        invocation,
        working_directory: &session.working_directory,
    }
}
