//! Which of the things that happened are inputs: the one table of what is left out, and why.
//!
//! | left out | because |
//! |---|---|
//! | below the sysroot: the compiler's libraries, and of the host and the target `lib`, `bin` and `codegen-backends` | the toolchain's digest covers them, and the names in them |
//! | what an observed process has made before, and all below it | it follows from the other inputs |
//! | the call's own outputs, and probes directly in the output directory | what is there from an earlier compilation is replaced |
//! | the incremental directory | such results have a key of their own, and Cargo owns the content |
//! | what is not in a directory for temporary files until it is made | names made up at random |
//! | names in `-L` directories and the sysroot | the compiler looks for crates by name; those that it reads are inputs |
//! | state in `/proc`, `/dev` and `/sys`, see [`machine`] | it changes all the time, or is the process's own |
//! | loader files and translations | they decide how text looks and where the C library is |
//! | what a locale is, for who only diagnoses in it | it writes the same |
//! | what the locales `C` and `C.UTF-8` are | they are the same everywhere |
//! | kache's own library and tables | they are there because of kache |
//! | Cargo's locks, and its notes of what it used when, and of the compiler | they say nothing about a package |
//! | the counters of Java machines, among temporary files | they say which processes are at work |
//! | a program by its path, where `PATH` led to it | it is an input by its name |
//! | the C library and what compilers add, where the system has it | how they behave is a contract |
//! | that a directory exists which holds another input, or which the call names | the other input is absent without it |
//! | that something is absent below an absent directory | it follows |
//! | execution counts (`.profraw`) that an observed process wrote | instrumented code adds to them as it ends, and does nothing else with them |
//! | the named pipe of make's jobserver | how many jobs run says nothing about what comes out |
//! | variables in [`variables`] | see there |
//!
//! A symbolic link that they made stands for what it leads to. A file that was only looked at is an input by
//! its kind and size, and by its content where a version control system's index of times and sizes was
//! read as well; and a directory that was, by its names where git was told these by its index.
//!
//! Pure: nothing is read here. Everything else that happened is an input.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use store_format::{Input, InputKind, RootedPath};

pub use super::ground::{Context, ScriptContext};
use super::ground::{Ground, flat};
use super::image_file::EnvironmentUse;
use super::layout::PRELOAD_VARIABLE;
use super::machine::{self, Fact, Place};
pub use super::variables::{OF_COMPILERS, is_noise_variable, is_of_compilers};
use super::{Access, Observation, libraries, variables};
use crate::library_path;
use crate::roots::Roots;

/// The inputs of what was observed, and what it made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Sorted, each once.
    pub inputs: Vec<Input>,
    /// Files and links that were made and are there, without incremental ones.
    pub outputs: Vec<PathBuf>,
    /// What else is not as it was: names that are gone, and directories that were made.
    pub effects: Vec<PathBuf>,
    /// The compiler's incremental data of this unit.
    pub incremental: BTreeSet<PathBuf>,
    /// Those of the inputs that were looked for and found to be absent.
    pub absent: BTreeSet<Input>,
}

/// Why no set of inputs can describe what was observed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Uncacheable {
    #[error("it used the network ({0})")]
    Network(String),
    #[error("it talked to another process through {}", .0.display())]
    LocalSocket(PathBuf),
    #[error("it read {}, whose changes cannot be noticed", .0.display())]
    Opaque(PathBuf),
    #[error("it had the loader search for {}", .0.display())]
    Library(PathBuf),
    #[error("it opened the C library, {}, whose functions cannot be seen then", .0.display())]
    CLibrary(PathBuf),
    #[error("it moved or removed a link, {}: what was reached through it is not known", .0.display())]
    MovedLink(PathBuf),
}

/// The inputs of a compilation. The observation must be complete.
pub fn inputs(observation: &Observation, context: &Context) -> Result<Found, Uncacheable> {
    collect(observation, &Ground::of_compilation(observation, context), context.roots)
}

/// The inputs of a build script's run. The observation must be complete.
pub fn script_inputs(
    observation: &Observation,
    context: &ScriptContext,
) -> Result<Found, Uncacheable> {
    collect(observation, &Ground::of_script(observation, context), context.roots)
}

fn collect(
    observation: &Observation,
    ground: &Ground,
    roots: &Roots,
) -> Result<Found, Uncacheable> {
    let links = Links::made(&observation.events);
    if let Some(link) = links.moved(&observation.events, ground) {
        return Err(Uncacheable::MovedLink(link.to_owned()));
    }
    let events = links.redirected(&observation.events);
    let library_path = library_path::foreign(roots, &observation.library_path);
    let mut sorter = Sorter::new(observation, ground, &library_path);
    for access in events.iter() {
        sorter.access(access)?;
    }
    let is_output = |path: &PathBuf| ground.is_output(path);
    let outputs = observation.remaining.iter().map(|path| links.place(path)).filter(is_output);
    let effects = observation.effects.iter().map(|path| links.place(path)).filter(is_output);
    let absent = sorter.absent.difference(&sorter.present).copied();
    let absent = absent.chain(sorter.passed_over.iter().map(PathBuf::as_path));
    let absent = absent.map(|path| Input {
        kind: InputKind::Presence,
        name: roots.relativize(path.as_os_str().as_bytes()),
    });
    let absent = absent.collect();
    let incremental = observation.remaining.iter().filter_map(|path| ground.incremental_unit(path));
    Ok(Found {
        outputs: outputs.collect(),
        effects: effects.collect(),
        incremental: incremental.collect(),
        inputs: sorter.inputs(roots),
        absent,
    })
}

/// The symbolic links of the observed processes' own making, and where each leads.
struct Links<'a>(HashMap<&'a Path, &'a Path>);

impl<'a> Links<'a> {
    fn made(events: &'a [Access]) -> Self {
        let links = events.iter().filter_map(|access| match access {
            Access::Linked { link, target } => Some((link.as_path(), target.as_path())),
            _ => None,
        });
        Self(links.collect())
    }

    /// A link to elsewhere that lost its name, alone or with a directory that it was in.
    fn moved(&self, events: &[Access], ground: &Ground) -> Option<&'a Path> {
        if self.0.is_empty() {
            return None;
        }
        let removed: HashSet<&Path> = events
            .iter()
            .filter_map(|access| match access {
                Access::Removed(path) => Some(path.as_path()),
                _ => None,
            })
            .collect();
        let is_gone = |link: &Path| link.ancestors().any(|above| removed.contains(above));
        let elsewhere = self.0.iter().filter(|(_, target)| !ground.is_scratch(target));
        elsewhere.map(|(link, _)| *link).find(|link| is_gone(link))
    }

    /// Where a path leads.
    fn lead(&self, path: &Path) -> PathBuf {
        const LINKS_MAX: usize = 40;
        let mut path = path.to_owned();
        for _ in 0..LINKS_MAX {
            let led = path.ancestors().find_map(|above| {
                let rest = path.strip_prefix(above).ok()?;
                let target = self.0.get(above)?;
                // Joining nothing would leave a slash at the end.
                let is_itself = rest.as_os_str().is_empty();
                Some(if is_itself { target.to_path_buf() } else { target.join(rest) })
            });
            match led {
                Some(led) => path = led,
                None => break,
            }
        }
        path
    }

    /// Where a name is, which may be a link itself.
    fn place(&self, path: &Path) -> PathBuf {
        match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) if !self.0.is_empty() => self.lead(parent).join(name),
            _ => path.to_owned(),
        }
    }

    /// The accesses with each path that leads through a link replaced by where it leads.
    fn redirected<'e>(&self, events: &'e [Access]) -> Cow<'e, [Access]> {
        if self.0.is_empty() {
            return Cow::Borrowed(events);
        }
        let redirect = |access: &Access| match access {
            Access::Read(path) => Access::Read(self.lead(path)),
            Access::Listed(path) => Access::Listed(self.lead(path)),
            Access::ListedLater(path) => Access::ListedLater(self.lead(path)),
            Access::Missing(path) => Access::Missing(self.lead(path)),
            Access::Found(path) => Access::Found(self.lead(path)),
            Access::Executed(path) => Access::Executed(self.lead(path)),
            Access::OpenedLibrary(path) => Access::OpenedLibrary(self.lead(path)),
            Access::LinkRead(path) => Access::LinkRead(self.place(path)),
            Access::Loaded { library, by, passed_over } => Access::Loaded {
                library: self.lead(library),
                by: by.clone(),
                passed_over: passed_over.iter().map(|path| self.lead(path)).collect(),
            },
            Access::Wrote(path) => Access::Wrote(self.place(path)),
            Access::Removed(path) => Access::Removed(self.place(path)),
            other => other.clone(),
        };
        events.iter().map(redirect).collect()
    }
}

/// Sorts accesses into kinds of inputs, with absolute paths.
struct Sorter<'a> {
    ground: &'a Ground<'a>,
    root: Option<&'a Path>,
    runs_make: bool,
    /// What was made or removed by the observed processes so far.
    made: HashSet<Cow<'a, Path>>,
    files: BTreeSet<&'a Path>,
    listings: BTreeSet<&'a Path>,
    present: BTreeSet<&'a Path>,
    absent: BTreeSet<&'a Path>,
    links: BTreeSet<&'a Path>,
    dependencies: BTreeSet<PathBuf>,
    programs: BTreeSet<&'a [u8]>,
    /// Where those programs are: they are inputs by their names.
    found_by_name: HashSet<&'a Path>,
    /// Programs that were run by their paths.
    executed: BTreeSet<&'a Path>,
    /// Libraries that were asked for by their paths.
    opened: HashSet<&'a Path>,
    /// Where the loader searched before it came to a library.
    passed_over: BTreeSet<PathBuf>,
    library_path: &'a [PathBuf],
    variables: BTreeSet<&'a [u8]>,
    /// What was read without a name.
    environment: EnvironmentUse,
    /// Whether what was looked at was compared with what a version control system knows of it.
    compares_files: bool,
    /// Whether directories that were looked at were compared with the names that they had.
    compares_names: bool,
    facts: BTreeSet<Fact>,
}

impl<'a> Sorter<'a> {
    fn new(
        observation: &'a Observation,
        ground: &'a Ground<'a>,
        library_path: &'a [PathBuf],
    ) -> Self {
        let is_make = |access: &Access| match access {
            Access::Executed(path) => variables::is_make(path),
            Access::Searched { name, .. } => variables::is_make(Path::new(name)),
            _ => false,
        };
        Self {
            ground,
            root: observation.root.as_deref(),
            runs_make: observation.events.iter().any(is_make),
            made: HashSet::new(),
            files: BTreeSet::new(),
            listings: BTreeSet::new(),
            present: BTreeSet::new(),
            absent: BTreeSet::new(),
            links: BTreeSet::new(),
            dependencies: BTreeSet::new(),
            programs: BTreeSet::new(),
            found_by_name: HashSet::new(),
            executed: BTreeSet::new(),
            opened: HashSet::new(),
            passed_over: BTreeSet::new(),
            library_path,
            variables: BTreeSet::new(),
            environment: EnvironmentUse::Nothing,
            compares_files: false,
            compares_names: observation.git_knows_names,
            facts: BTreeSet::new(),
        }
    }

    fn access(&mut self, access: &'a Access) -> Result<(), Uncacheable> {
        match access {
            Access::Wrote(path) | Access::Removed(path) | Access::Linked { link: path, .. } => {
                self.made.insert(flat(path));
            }
            Access::Read(path) => {
                if let Place::Fact(fact) = not_opaque(path)? {
                    self.facts.insert(fact);
                }
                if machine::is_environment(path) {
                    self.environment = EnvironmentUse::Everything;
                }
                self.compares_files |= is_index_of_files(path);
                self.read(path);
            }
            Access::Listed(path) if self.ground.is_searched(path) => drop(not_opaque(path)?),
            Access::Listed(path) | Access::ListedLater(path) => {
                not_opaque(path)?;
                if !self.is_known(path) {
                    self.listings.insert(path);
                }
            }
            Access::Missing(path) => {
                if !self.is_known(path) && !self.ground.is_probe_noise(path) {
                    self.absent.insert(path);
                }
            }
            Access::Found(path) => {
                if !self.is_known(path) && !self.ground.is_probe_noise(path) {
                    self.present.insert(path);
                }
            }
            Access::LinkRead(path) => {
                if !self.is_known(path) {
                    self.links.insert(path);
                }
            }
            Access::Variable { name, by } => self.variable(name, by.as_deref()),
            Access::AllVariables(by) => self.all_variables(by),
            Access::Searched { name, path, is_ours } => {
                self.searched(name, path.as_deref(), *is_ours);
            }
            Access::Executed(path) => {
                if !self.found_by_name.contains(path.as_path()) {
                    self.execute(path);
                }
            }
            Access::Started(path) => {
                if self.root != Some(path) {
                    self.read(path);
                }
            }
            Access::Loaded { library, by, passed_over } => {
                self.loaded(library, by.as_deref(), passed_over);
            }
            Access::OpenedLibrary(library) => self.opened(library)?,
            Access::Machine(fact) => drop(self.facts.insert(*fact)),
            Access::Network(address) => return Err(Uncacheable::Network(address.clone())),
            Access::LocalSocket(path) => {
                if !is_harmless_socket(path) {
                    return Err(Uncacheable::LocalSocket(path.clone()));
                }
            }
        }
        Ok(())
    }

    fn read(&mut self, path: &'a Path) {
        if let Some(dependency) = self.ground.dependency(path) {
            self.dependencies.insert(dependency);
        } else if !self.is_known(path) {
            self.files.insert(path);
        }
    }

    fn execute(&mut self, path: &'a Path) {
        if !self.is_known(path) {
            self.executed.insert(path);
        }
    }

    /// Whether a path says nothing new: noise, covered by the toolchain, or made by the observed
    /// processes.
    fn is_known(&self, path: &Path) -> bool {
        let place = flat(path);
        self.ground.is_noise(&place) || place.ancestors().any(|above| self.made.contains(above))
    }

    fn variable(&mut self, name: &'a OsStr, by: Option<&Path>) {
        let name = name.as_bytes();
        let by_compiler = by.is_some_and(|by| self.ground.is_covered(by));
        let by_name = by.is_none_or(|by| self.root == Some(by)) && !by_compiler;
        let is_noise = is_noise_variable(name) && !(by_name && variables::is_of_session(name))
            || by_compiler && variables::is_compiler_noise(name)
            || !self.runs_make && variables::is_make_noise(name)
            || by.is_some_and(|by| variables::is_language(name, by));
        if !is_noise {
            self.variables.insert(name);
        }
    }

    fn all_variables(&mut self, by: &Path) {
        if self.root == Some(by) && self.ground.root_uses != EnvironmentUse::Everything {
            self.environment = self.environment.max(self.ground.root_uses);
            return;
        }
        // What has such a name in the checkout is not what the name says.
        let is_trusted = self.ground.is_covered(by)
            || variables::looks_up_by_name(by) && !self.ground.is_of_project(by);
        if !is_trusted && !self.is_known(by) {
            self.environment = EnvironmentUse::Everything;
        }
    }

    fn searched(&mut self, name: &'a OsStr, path: Option<&'a Path>, is_ours: bool) {
        match path {
            // Found through a `PATH` of its own.
            Some(path) if !is_ours => self.execute(path),
            Some(path) if self.is_known(path) => {}
            _ => {
                self.programs.insert(name.as_bytes());
                self.found_by_name.extend(path);
            }
        }
    }

    fn opened(&mut self, library: &'a Path) -> Result<(), Uncacheable> {
        if libraries::is_c_library(library) {
            return Err(Uncacheable::CLibrary(library.to_owned()));
        }
        if library.is_absolute() {
            self.opened.insert(library);
            self.read(library);
        } else if !libraries::has_runtime_name(library) {
            // What the loader finds for a bare name is not known.
            return Err(Uncacheable::Library(library.to_owned()));
        }
        Ok(())
    }

    fn loaded(&mut self, library: &'a Path, by: Option<&Path>, passed_over: &[PathBuf]) {
        if by.is_none() && self.opened.contains(library) {
            return;
        }
        let by_compiler = by.is_some_and(|by| self.ground.is_covered(by));
        if by_compiler {
            return;
        }
        if !libraries::is_runtime(library) {
            self.read(library);
        }
        self.variables.extend(LOADERS_VARIABLES);
        let (directory, name) = (library.parent(), library.file_name().unwrap_or_default());
        let before = self.library_path.iter().take_while(|path| Some(path.as_path()) != directory);
        let before = before.chain(passed_over).map(|directory| directory.join(name));
        let before: Vec<PathBuf> = before.filter(|path| !self.is_known(path)).collect();
        self.passed_over.extend(before);
    }

    fn inputs(mut self, roots: &Roots) -> Vec<Input> {
        if self.compares_names {
            // Which of them are directories is not known here. What is none has no names, now and later.
            let of_project = self.present.iter().filter(|path| self.ground.is_of_project(path));
            self.listings.extend(of_project);
        }
        if self.compares_files {
            // To such a system a link to an equal file is another one.
            self.links.extend(&self.present);
            self.files.append(&mut self.present);
        }
        let others = [&self.files, &self.executed, &self.listings, &self.present];
        let others = others.into_iter().flatten();
        let below_others: HashSet<Cow<Path>> = others
            .flat_map(|path| above(path))
            .chain(self.ground.named_directories().map(Cow::Borrowed))
            .collect();
        let implied = |path: &&Path| {
            below_others.contains(&flat(path))
                || self.files.contains(path)
                || self.executed.contains(path)
                || self.listings.contains(path)
        };
        let absent_above =
            |path: &&Path| path.ancestors().skip(1).any(|above| self.absent.contains(above));
        let named = |kind, name: RootedPath| Input { kind, name };
        let rooted = |kind: InputKind, path: &Path| {
            named(kind, roots.relativize(path.as_os_str().as_bytes()))
        };
        let bare = |kind: InputKind, name: &[u8]| {
            named(kind, RootedPath { root: None, path: name.into() })
        };
        let mut inputs = BTreeSet::new();
        inputs.extend(self.files.iter().map(|path| rooted(InputKind::File, path)));
        inputs.extend(self.listings.iter().map(|path| rooted(InputKind::Listing, path)));
        inputs.extend(self.links.iter().map(|path| rooted(InputKind::LinkTarget, path)));
        let present = self.present.iter().filter(|path| !implied(path));
        let made_up =
            |path: &&Path| self.ground.is_temporary(path) && self.made.contains(&flat(path));
        let absent = self.absent.iter().filter(|path| !absent_above(path) && !made_up(path));
        inputs.extend(present.chain(absent).map(|path| rooted(InputKind::Presence, path)));
        inputs.extend(self.passed_over.iter().map(|path| rooted(InputKind::Presence, path)));
        let kind = self.ground.dependency_kind;
        inputs.extend(self.dependencies.iter().map(|path| rooted(kind, path)));
        inputs.extend(self.programs.iter().map(|name| bare(InputKind::Program, name)));
        inputs.extend(self.executed.iter().map(|path| rooted(InputKind::Program, path)));
        inputs.extend(self.variables.iter().map(|name| bare(InputKind::Variable, name)));
        let facts = self.facts.iter();
        inputs.extend(facts.map(|fact| bare(InputKind::Machine, fact.name().as_bytes())));
        let all_variables: Option<&[u8]> = match self.environment {
            EnvironmentUse::Nothing => None,
            EnvironmentUse::Compilers => Some(OF_COMPILERS),
            EnvironmentUse::Everything => Some(b""),
        };
        inputs.extend(all_variables.map(|name| bare(InputKind::AllVariables, name)));
        inputs.into_iter().collect()
    }
}

/// The directories above a path, flat.
fn above(path: &Path) -> Vec<Cow<'_, Path>> {
    match flat(path) {
        Cow::Borrowed(path) => path.ancestors().skip(1).map(Cow::Borrowed).collect(),
        Cow::Owned(path) => {
            path.ancestors().skip(1).map(|above| Cow::Owned(above.to_owned())).collect()
        }
    }
}

/// Whether a file holds the times and sizes of files: who reads it and looks at them learns whether
/// their contents have changed.
fn is_index_of_files(path: &Path) -> bool {
    let is_inside = |directory: &str| path.components().any(|part| part.as_os_str() == directory);
    path.ends_with("index")
        || path.ends_with(".hg/dirstate")
        || path.ends_with(".svn/wc.db")
        || is_inside(".jj")
        || path.extension().is_some_and(|extension| extension == "pyc")
}

/// What a place that was read says of the machine.
fn not_opaque(path: &Path) -> Result<Place, Uncacheable> {
    match machine::place(&flat(path)) {
        Place::Opaque => Err(Uncacheable::Opaque(path.to_owned())),
        place => Ok(place),
    }
}

/// The variables that decide which libraries a program starts with.
const LOADERS_VARIABLES: &[&[u8]] = if cfg!(target_vendor = "apple") {
    &[
        library_path::VARIABLE.as_bytes(),
        PRELOAD_VARIABLE.as_bytes(),
        b"DYLD_FALLBACK_FRAMEWORK_PATH",
        b"DYLD_FRAMEWORK_PATH",
        b"DYLD_LIBRARY_PATH",
        b"DYLD_ROOT_PATH",
        b"DYLD_VERSIONED_FRAMEWORK_PATH",
        b"DYLD_VERSIONED_LIBRARY_PATH",
    ]
} else {
    &[library_path::VARIABLE.as_bytes(), PRELOAD_VARIABLE.as_bytes()]
};

/// Sockets of the C library's name services and of the system's log, which answer questions about
/// users and hosts alone.
fn is_harmless_socket(path: &Path) -> bool {
    const SOCKETS: [&str; 4] =
        ["/var/run/nscd/socket", "/run/nscd/socket", "/dev/log", "/run/systemd/journal/socket"];
    SOCKETS.iter().any(|socket| path == Path::new(socket))
        || path.starts_with("/run/systemd/userdb")
}
