//! The places around what was observed, as the rules need them.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use store_format::{InputKind, Root};

use super::image_file::EnvironmentUse;
use super::machine::{self, Place};
use super::{Access, Observation};
use crate::invocation::{Invocation, SearchKind};
use crate::roots::Roots;

/// What the rules need to know of a compilation. Paths are absolute.
#[derive(Debug)]
pub struct Context<'a> {
    pub roots: &'a Roots,
    pub sysroot: &'a Path,
    /// Whose files the toolchain's digest covers.
    pub targets: Vec<OsString>,
    pub cache_directory: &'a Path,
    pub invocation: &'a Invocation,
    pub working_directory: &'a Path,
}

/// What the rules need to know of a build script's run. Paths are absolute.
#[derive(Debug)]
pub struct ScriptContext<'a> {
    pub roots: &'a Roots,
    pub sysroot: &'a Path,
    /// Whose files the toolchain's digest covers.
    pub targets: Vec<OsString>,
    pub cache_directory: &'a Path,
    pub out_dir: &'a Path,
    pub working_directory: &'a Path,
}

/// Both kinds of context in the same terms. Its paths are flat, and what is asked of it is made so.
pub(super) struct Ground<'a> {
    sysroot: &'a Path,
    targets: &'a [OsString],
    cache_directory: Cow<'a, Path>,
    working_directory: &'a Path,
    temporary: &'a [PathBuf],
    /// What is built, which may itself be among temporary files.
    projects: [Option<Cow<'a, Path>>; 3],
    jobserver: Option<&'a Path>,
    /// Execution counts that observed processes wrote.
    profiles: HashSet<Cow<'a, Path>>,
    cargo_home: Option<Cow<'a, Path>>,
    /// Receives outputs; direct probes there are noise.
    out_dir: Option<PathBuf>,
    /// Nothing was in `out_dir` before.
    out_dir_was_empty: bool,
    own_outputs: HashSet<PathBuf>,
    incremental: Option<PathBuf>,
    searched: Vec<PathBuf>,
    crate_directories: Vec<PathBuf>,
    /// Those of them where the linker looks for shared libraries as well.
    linker_directories: Vec<PathBuf>,
    externs: HashSet<PathBuf>,
    pub(super) dependency_kind: InputKind,
    pub(super) root_uses: EnvironmentUse,
}

impl<'a> Ground<'a> {
    pub(super) fn of_compilation(observation: &'a Observation, context: &'a Context<'a>) -> Self {
        let call = context.invocation;
        let absolute = |path: &Path| flat(&context.working_directory.join(path)).into_owned();
        let searches_crates = |kind: SearchKind| {
            matches!(kind, SearchKind::Dependency | SearchKind::Crate | SearchKind::All)
        };
        let crate_directories = call.search_paths.iter().filter(|(kind, _)| searches_crates(*kind));
        let linker_directories =
            call.search_paths.iter().filter(|(kind, _)| *kind == SearchKind::All);
        let externs = call.externs.iter().filter_map(|dependency| dependency.path.as_deref());
        Self {
            sysroot: context.sysroot,
            targets: &context.targets,
            cache_directory: flat(context.cache_directory),
            working_directory: context.working_directory,
            temporary: &observation.temporary,
            projects: projects(context.roots),
            jobserver: observation.jobserver.as_deref(),
            profiles: profiles(observation),
            cargo_home: context.roots.path(Root::CargoHome).map(flat),
            out_dir: call.out_dir.as_deref().map(absolute),
            out_dir_was_empty: false,
            own_outputs: call.outputs().files.iter().map(|path| absolute(path)).collect(),
            incremental: call.incremental.as_deref().map(absolute),
            searched: call.search_paths.iter().map(|(_, path)| absolute(path)).collect(),
            crate_directories: crate_directories.map(|(_, path)| absolute(path)).collect(),
            linker_directories: linker_directories.map(|(_, path)| absolute(path)).collect(),
            externs: externs.map(|path| absolute(path).with_extension("")).collect(),
            dependency_kind: call.dependency_kind(),
            // A compiler is covered; a wrapper around it may be anything.
            root_uses: observation.root_uses,
        }
    }

    pub(super) fn of_script(observation: &'a Observation, context: &'a ScriptContext<'a>) -> Self {
        Self {
            sysroot: context.sysroot,
            targets: &context.targets,
            cache_directory: flat(context.cache_directory),
            working_directory: context.working_directory,
            temporary: &observation.temporary,
            projects: projects(context.roots),
            jobserver: observation.jobserver.as_deref(),
            profiles: profiles(observation),
            cargo_home: context.roots.path(Root::CargoHome).map(flat),
            out_dir: Some(flat(context.out_dir).into_owned()),
            out_dir_was_empty: true,
            own_outputs: HashSet::new(),
            incremental: None,
            searched: Vec::new(),
            crate_directories: Vec::new(),
            linker_directories: Vec::new(),
            externs: HashSet::new(),
            dependency_kind: InputKind::DependencyMetadata,
            root_uses: observation.root_uses,
        }
    }

    /// Whether nothing about this place is an input. `path` is flat.
    pub(super) fn is_noise(&self, path: &Path) -> bool {
        is_state_of_the_machine(path)
            || self.is_covered(path)
            || self.is_kaches_own(path)
            || self.is_cargos_own(path)
            || self.is_javas_own(path)
            || self.own_outputs.contains(path)
            || self.jobserver == Some(path)
            || self.profiles.contains(path)
            || self.incremental.as_ref().is_some_and(|directory| path.starts_with(directory))
            || self.out_dir_was_empty
                && self.out_dir.as_ref().is_some_and(|directory| path.starts_with(directory))
    }

    /// Whether the toolchain's digest says everything about this place.
    pub(super) fn is_covered(&self, path: &Path) -> bool {
        const LIBRARIES: [&[u8]; 5] =
            [b"librustc", b"libstd-", b"libtest-", b"libLLVM", b"libclippy"];
        let Ok(inside) = path.strip_prefix(self.sysroot) else { return false };
        let names: Vec<&[u8]> =
            inside.components().map(|component| component.as_os_str().as_bytes()).collect();
        match names[..] {
            [b"lib", b"rustlib", target, b"lib" | b"bin" | b"codegen-backends", ..] => {
                self.targets.iter().any(|covered| covered.as_bytes() == target)
            }
            [b"bin", b"rustc" | b"clippy-driver"] => true,
            [b"lib", library] => LIBRARIES.iter().any(|prefix| library.starts_with(prefix)),
            _ => false,
        }
    }

    fn is_kaches_own(&self, path: &Path) -> bool {
        let Ok(inside) = path.strip_prefix(&*self.cache_directory) else { return false };
        inside.starts_with("lib") || inside.components().count() < 2
    }

    /// Whether Cargo has a lock there, or notes of what it used and of its compiler. Scripts run it for
    /// what it knows of their package.
    fn is_cargos_own(&self, path: &Path) -> bool {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return false };
        if name == ".rustc_info.json" {
            return self.projects.iter().flatten().any(|directory| directory.starts_with(parent));
        }
        let starts = [&b".package-cache"[..], b".global-cache"];
        self.cargo_home.as_deref() == Some(parent)
            && starts.iter().any(|start| name.as_bytes().starts_with(start))
    }

    /// Whether a Java machine keeps its counters there, in a file named by its process, for tools that look
    /// at machines at work. It removes what others left.
    fn is_javas_own(&self, path: &Path) -> bool {
        let is_of_user = |directory: &Path| {
            let name = directory.file_name().map_or(&b""[..], OsStr::as_bytes);
            name.starts_with(b"hsperfdata_") && self.is_temporary(directory)
        };
        is_of_user(path) || path.parent().is_some_and(is_of_user)
    }

    /// Whether it does not matter that something is at this place or not.
    pub(super) fn is_probe_noise(&self, path: &Path) -> bool {
        let place = flat(path);
        let parent = place.parent();
        let is_out_dir = |directory: &Path| self.out_dir.as_deref() == Some(directory);
        parent.is_some_and(is_out_dir)
            || self.temporary.iter().any(|directory| *directory == *place)
            || self.dependency(&place).is_some()
    }

    /// Whether a path is directly in a directory for temporary files.
    pub(super) fn is_temporary(&self, path: &Path) -> bool {
        let place = flat(path);
        place.parent().is_some_and(|parent| self.temporary.iter().any(|above| parent == above))
    }

    /// Whether the compiler looks for crates and libraries by name in this directory.
    pub(super) fn is_searched(&self, path: &Path) -> bool {
        let place = flat(path);
        self.searched.iter().any(|directory| *directory == *place)
            || self.out_dir.as_deref() == Some(&place)
    }

    /// The dependency that a file is a part of: its path without extension.
    pub(super) fn dependency(&self, path: &Path) -> Option<PathBuf> {
        let place = flat(path);
        let extension = place.extension()?.as_bytes();
        if !matches!(extension, b"rmeta" | b"rlib" | b"so" | b"dylib" | b"dll") {
            return None;
        }
        let stem = place.with_extension("");
        let is_library = place.file_name()?.as_bytes().starts_with(b"lib");
        let is_in = |directories: &[PathBuf]| {
            directories.iter().any(|directory| place.parent() == Some(directory))
        };
        let is_for_linker =
            || !matches!(extension, b"rmeta" | b"rlib") && is_in(&self.linker_directories);
        let is_dependency = self.externs.contains(&stem)
            || is_library && is_in(&self.crate_directories) && !is_for_linker();
        // A unit's own metadata may lie where it looks for those of others.
        (is_dependency && !self.own_outputs.contains(&*place)).then_some(stem)
    }

    /// Whether a path is in `OUT_DIR` or among temporary files: what is there was made by the
    /// observed processes.
    pub(super) fn is_scratch(&self, path: &Path) -> bool {
        let place = flat(path);
        let is_in = |directory: &Path| place.starts_with(directory);
        self.out_dir.as_deref().is_some_and(is_in)
            || self.temporary.iter().any(|path| is_in(path)) && !self.is_of_project(&place)
    }

    /// Whether it lies where something is built, or where what is built comes to lie.
    pub(super) fn is_of_project(&self, path: &Path) -> bool {
        let place = flat(path);
        self.projects.iter().flatten().any(|directory| place.starts_with(directory))
    }

    /// Whether a file that was made is an output. One that was left among temporary files is: others may
    /// use it.
    pub(super) fn is_output(&self, path: &Path) -> bool {
        let place = flat(path);
        let is_incremental =
            self.incremental.as_ref().is_some_and(|directory| place.starts_with(directory));
        let is_foreign = self.is_cargos_own(&place) || self.is_javas_own(&place);
        !is_incremental && !is_state_of_the_machine(&place) && !is_foreign
    }

    /// The directory of incremental data that a path lies in: the compiler makes one for each unit.
    pub(super) fn incremental_unit(&self, path: &Path) -> Option<PathBuf> {
        let all = self.incremental.as_ref()?;
        let place = flat(path);
        let unit = place.strip_prefix(all).ok()?.components().next()?;
        Some(all.join(unit))
    }

    /// Directories that exist because the call names them, and those above; flat.
    pub(super) fn named_directories(&self) -> impl Iterator<Item = &Path> {
        let directories = [self.sysroot, self.working_directory, &*self.cache_directory];
        let named = self.searched.iter().chain(&self.out_dir).map(PathBuf::as_path);
        directories.into_iter().chain(named).flat_map(Path::ancestors)
    }
}

/// The directories of what is built and of its build, flat.
fn projects(roots: &Roots) -> [Option<Cow<'_, Path>>; 3] {
    [Root::Workspace, Root::Package, Root::Build].map(|root| roots.path(root).map(flat))
}

/// Whether a file has execution counts of instrumented code.
pub(crate) fn is_profile(path: &Path) -> bool {
    path.extension() == Some(OsStr::new("profraw"))
}

/// What the observed processes wrote of such files. Instrumented macros and scripts add to what is there.
fn profiles(observation: &Observation) -> HashSet<Cow<'_, Path>> {
    let written = observation.events.iter().filter_map(|access| match access {
        Access::Wrote(path) if is_profile(path) => Some(flat(path)),
        _ => None,
    });
    written.collect()
}

/// Whether a place tells about this machine, or decides how text looks.
fn is_state_of_the_machine(path: &Path) -> bool {
    const TREES: [&str; 2] = ["/usr/share/locale", "/run/nscd"];
    const FILES: [&str; 5] = [
        "/etc/ld.so.preload",
        "/etc/ld.so.nohwcap",
        "/etc/malloc.conf",
        "/etc/selinux/config",
        "/usr/share/locale/locale.alias",
    ];
    matches!(machine::place(path), Place::State | Place::Fact(_))
        || TREES.iter().any(|tree| path.starts_with(tree))
        || FILES.iter().any(|file| path == Path::new(file))
}

/// Whether a path has `..` in it.
pub(crate) fn has_parents(path: &Path) -> bool {
    path.components().any(|component| component == Component::ParentDir)
}

/// A path with each `..` taken as the directory before it. Right unless that is a symbolic link,
/// which is good enough to tell what kind of place it is.
pub(crate) fn flat(path: &Path) -> Cow<'_, Path> {
    if !has_parents(path) {
        return Cow::Borrowed(path);
    }
    let mut flat = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                flat.pop();
            }
            other => flat.push(AsRef::<OsStr>::as_ref(&other)),
        }
    }
    Cow::Owned(flat)
}
