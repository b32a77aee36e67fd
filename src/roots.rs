//! The directories whose place differs between checkouts and machines, and the names of paths
//! relative to them.
//!
//! `derive` finds them, `text` replaces them in texts, `search` looks for them in outputs, and
//! `remap` has the compilers keep them out of outputs.
//!
//! Invariants:
//! - Of several roots that contain a path, the longest one names it.
//! - Paths are compared as given; nothing is resolved and nothing is read.
//! - `expand(template(text))` is `text`, for any bytes.
//! - [`Roots::surviving`] never misses a root that the bytes contain.

mod derive;
mod remap;
mod search;
mod text;

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use store_format::{Root, RootedPath};
pub use text::{named, names};

/// All roots, in the order in which equal places are named: the first one wins.
const ROOTS: [Root; 6] =
    [Root::Workspace, Root::Package, Root::Build, Root::CargoHome, Root::Sysroot, Root::Home];

/// Directories whose content is the system's, wherever in them a checkout is.
const SYSTEM: [&[u8]; 4] = [b"/usr", b"/usr/local", b"/opt", b"/var"];

/// A set of roots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RootSet(u8);

impl RootSet {
    pub fn insert(&mut self, root: Root) {
        self.0 |= 1 << root as u8;
    }

    /// The members of both sets.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Adds the members of another set.
    pub fn extend(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub fn contains(self, root: Root) -> bool {
        self.0 & 1 << root as u8 != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The members, in the order of [`Root`].
    pub fn iter(self) -> impl Iterator<Item = Root> {
        ROOTS.into_iter().filter(move |&root| self.contains(root))
    }
}

/// A path beside the checkout.
#[derive(Clone, Debug)]
pub struct Beside {
    pub path: Vec<u8>,
    /// Its other names: from the checkout, from home, and none but the path.
    pub names: Vec<RootedPath>,
    /// The first directory on the way to it that the checkout is not in, or the path itself.
    entry: Vec<u8>,
}

impl Beside {
    /// Whether a text gives a path that leads to it, or past it.
    pub fn is_named_in(&self, texts: &[Vec<u8>]) -> bool {
        texts.iter().any(|text| names(text, &self.entry))
    }
}

/// One root and its place here.
#[derive(Clone, Debug)]
struct Place {
    root: Root,
    /// Absolute, without a slash at the end.
    path: Vec<u8>,
    /// The path as make reads it, where that differs.
    escaped: Option<Vec<u8>>,
}

/// The roots of one invocation.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    /// Longest path first.
    places: Vec<Place>,
    /// What relative paths are relative to.
    working_directory: Vec<u8>,
    /// Where the sources of a package outside the workspace are said to be.
    package_name: Option<String>,
    /// It is a path dependency: Cargo tells its units apart by that path, and diagnostics of others name it.
    keeps_package: bool,
    /// Where the sources of the standard library are here, and what the compiler calls that elsewhere.
    library: Option<(Vec<u8>, Vec<u8>)>,
    /// Outputs must name the build directory as it is, for a debugger to find files there.
    keeps_build: bool,
}

/// How a path is written in a text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    Makefile,
}

impl Roots {
    /// Places a root. A path that is relative, `/`, already another root's, or of characters
    /// that texts write in different ways, is left out: it stays literal wherever it appears.
    pub fn set(&mut self, root: Root, path: &Path) {
        self.places.retain(|place| place.root != root);
        let mut path = path.as_os_str().as_bytes();
        while let Some(shorter) = path.strip_suffix(b"/") {
            path = shorter;
        }
        let awkward = |&byte: &u8| byte < b' ' || matches!(byte, b'\\' | b'"' | 0x7f);
        if path.first() != Some(&b'/')
            || path.iter().any(awkward)
            || self.places.iter().any(|place| place.path == path)
        {
            return;
        }
        let escaped = path.contains(&b' ').then(|| {
            let words = path.split(|&byte| byte == b' ').collect::<Vec<_>>();
            words.join(&b"\\ "[..])
        });
        self.places.push(Place { root, path: path.to_vec(), escaped });
        self.places.sort_by_key(|place| std::cmp::Reverse(place.path.len()));
    }

    /// Where a root is.
    pub fn path(&self, root: Root) -> Option<&Path> {
        let bytes = self.bytes(root, Form::Plain)?;
        Some(Path::new(OsStr::from_bytes(bytes)))
    }

    fn bytes(&self, root: Root, form: Form) -> Option<&[u8]> {
        let place = self.places.iter().find(|place| place.root == root)?;
        Some(place.text(form))
    }

    /// A path in full. A relative one is one of the working directory.
    pub fn absolute(&self, path: &Path) -> PathBuf {
        Path::new(OsStr::from_bytes(&self.working_directory)).join(path)
    }

    /// Names a path relative to the longest root that contains it. A relative path is one of the
    /// working directory.
    pub fn relativize(&self, path: &[u8]) -> RootedPath {
        let joined;
        let path = if path.first() == Some(&b'/') {
            path
        } else {
            joined = [&self.working_directory[..], path].join(&b'/');
            &joined
        };
        for place in self.places.iter().filter(|place| place.root != Root::Home) {
            if let Some(rest) = below(path, &place.path) {
                return RootedPath { root: Some(place.root), path: rest.to_vec() };
            }
        }
        if let Some(near) = self.beside(path) {
            return near;
        }
        self.name_in_home(path).unwrap_or_else(|| RootedPath { root: None, path: path.to_vec() })
    }

    fn name_in_home(&self, path: &[u8]) -> Option<RootedPath> {
        let rest = below(path, self.bytes(Root::Home, Form::Plain)?)?;
        Some(RootedPath { root: Some(Root::Home), path: rest.to_vec() })
    }

    /// A path above or beside a root that belongs to the checkout, named by way of `..`: whoever
    /// found it by going up finds another file in another checkout. Home's own files, and those
    /// that share nothing but `/` or a directory of the system with a root, are named from there.
    fn beside(&self, path: &[u8]) -> Option<RootedPath> {
        let place = self.of_checkout().max_by_key(|place| shared(path, &place.path))?;
        let is_from_there = shared(path, &place.path) > components(self.known(place));
        is_from_there.then(|| place.name_beside(path))
    }

    /// How a path may have been meant that lies beside the checkout, below a directory that has both in it.
    pub fn beside_checkout(&self, name: &RootedPath) -> Option<Beside> {
        let is_inside =
            name.root.is_some_and(|root| root != Root::Home) && upward(&name.path).0 == 0;
        let path = self.flat(name).filter(|path| !is_inside && path.starts_with(b"/"))?;
        let place = self.of_checkout().max_by_key(|place| shared(&path, &place.path))?;
        let common = shared(&path, &place.path);
        if common == 0 || common == components(&path) {
            return None;
        }
        let from_checkout = place.name_beside(&path);
        let literal = RootedPath { root: None, path: path.clone() };
        let names = [Some(from_checkout), self.name_in_home(&path), Some(literal)];
        let names = names.into_iter().flatten();
        let entry = path_of(parts(&path).take(common + 1));
        Some(Beside { names: names.filter(|other| other != name).collect(), entry, path })
    }

    /// The roots that differ between checkouts.
    fn of_checkout(&self) -> impl Iterator<Item = &Place> {
        let belongs =
            |place: &&Place| matches!(place.root, Root::Workspace | Root::Package | Root::Build);
        self.places.iter().filter(belongs)
    }

    /// The directory with a root in it whose own files are not named by way of `..`: the user's or one of the
    /// system; empty for `/`.
    fn known<'a>(&'a self, place: &Place) -> &'a [u8] {
        let all = SYSTEM.iter().copied().chain(self.bytes(Root::Home, Form::Plain));
        let known = all.filter(|known| below(&place.path, known).is_some());
        known.max_by_key(|known| known.len()).unwrap_or_default()
    }

    /// Whether a path that no root contains is below a directory of the system that has the checkout in it:
    /// whoever found it by going up finds another one in a checkout elsewhere.
    pub fn is_near(&self, path: &[u8]) -> bool {
        self.of_checkout().any(|place| {
            let known = self.known(place);
            SYSTEM.contains(&known) && below(path, known).is_some()
        })
    }

    /// Whether one of these paths, of which there is one outside of the checkout, was looked for in one
    /// directory after the other on the way up from it.
    pub fn are_looked_for_upward(&self, paths: &HashSet<Vec<u8>>) -> bool {
        self.of_checkout().any(|place| {
            let is_also_lower = |path: &Vec<u8>| {
                let common = shared(path, &place.path);
                let is_beside = common < components(&place.path) && common < components(path);
                let way = parts(&place.path).take(common + 1).chain(parts(path).skip(common));
                is_beside && paths.contains(&path_of(way))
            };
            paths.iter().any(is_also_lower)
        })
    }

    /// How the roots lie to each other: whoever goes up from one comes through others, and by as many
    /// directories, where this is the same.
    pub fn layout(&self) -> Vec<u8> {
        let home = self.bytes(Root::Home, Form::Plain).unwrap_or_default();
        let mut layout = Vec::new();
        for root in ROOTS {
            let Some(place) = self.places.iter().find(|place| place.root == root) else { continue };
            let contains =
                |other: &&Place| other.root != root && below(&place.path, &other.path).is_some();
            let holder = self.places.iter().find(contains).map_or(0, |holder| holder.root as u8);
            let known = self.known(place);
            // Home goes by a name of its own, and what is above it by none.
            let literal = if known == home { parent(home) } else { known };
            let depths = [components(&place.path), components(known)];
            layout.extend_from_slice(format!("{} {holder} {depths:?} ", root as u8).as_bytes());
            layout.extend_from_slice(literal);
            layout.push(b'\n');
        }
        layout
    }

    /// The directory that a name starts from, and its root: the root itself, or one above it for a name
    /// by way of `..`.
    pub fn base(&self, name: &RootedPath) -> Option<(Vec<u8>, Root)> {
        let root = name.root?;
        let (steps, _) = upward(&name.path);
        let base = (0..steps).fold(self.bytes(root, Form::Plain)?, |base, _| parent(base));
        Some((base.to_vec(), root))
    }

    /// The path that a name stands for here, without `..`.
    pub fn flat(&self, name: &RootedPath) -> Option<Vec<u8>> {
        let Some((mut path, _)) = self.base(name) else {
            return name.root.is_none().then(|| name.path.clone());
        };
        let (_, rest) = upward(&name.path);
        if !rest.is_empty() {
            path.push(b'/');
            path.extend_from_slice(rest);
        }
        Some(path)
    }

    /// The path that a name stands for here; `None` if its root is unknown.
    pub fn resolve(&self, name: &RootedPath) -> Option<PathBuf> {
        let Some(root) = name.root else {
            return Some(OsString::from_vec(name.path.clone()).into());
        };
        let mut path = self.bytes(root, Form::Plain)?.to_vec();
        if !name.path.is_empty() {
            path.push(b'/');
            path.extend_from_slice(&name.path);
        }
        Some(OsString::from_vec(path).into())
    }
}

impl Place {
    /// The name of a path outside by way of `..`.
    fn name_beside(&self, path: &[u8]) -> RootedPath {
        let common = shared(path, &self.path);
        let up = std::iter::repeat_n(&b".."[..], components(&self.path) - common);
        let name = up.chain(parts(path).skip(common)).collect::<Vec<_>>().join(&b'/');
        RootedPath { root: Some(self.root), path: name }
    }

    fn text(&self, form: Form) -> &[u8] {
        match (form, &self.escaped) {
            (Form::Makefile, Some(escaped)) => escaped,
            _ => &self.path,
        }
    }
}

/// What of `path` is below `root`; empty for the root itself.
fn below<'a>(path: &'a [u8], root: &[u8]) -> Option<&'a [u8]> {
    match path.strip_prefix(root)? {
        [] => Some(&[]),
        [b'/', rest @ ..] => Some(rest),
        _ => None,
    }
}

/// How many times a name goes up, and what is behind that.
fn upward(mut name: &[u8]) -> (usize, &[u8]) {
    let mut steps = 0;
    while let Some(rest) = below(name, b"..") {
        (steps, name) = (steps + 1, rest);
    }
    (steps, name)
}

/// The path of the directory that a path is in; empty for `/`.
fn parent(path: &[u8]) -> &[u8] {
    &path[..memchr::memrchr(b'/', path).unwrap_or(0)]
}

/// How many components two paths have in common at their beginnings.
fn shared(one: &[u8], other: &[u8]) -> usize {
    parts(one).zip(parts(other)).take_while(|(ours, theirs)| ours == theirs).count()
}

/// The components of an absolute path.
fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !part.is_empty())
}

/// The absolute path that has these components.
fn path_of<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    parts.flat_map(|part| [b"/", part].concat()).collect()
}

fn components(path: &[u8]) -> usize {
    parts(path).count()
}
