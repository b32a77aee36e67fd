//! The directories whose place differs between checkouts and machines, and everything that is
//! done with their literal text: names relative to them, text with them replaced, the search for
//! them in outputs, and the compiler's arguments that keep them out of outputs.
//!
//! Invariants:
//! - Of several roots that contain a path, the longest one names it.
//! - Paths are compared as given; nothing is resolved and nothing is read.
//! - `expand(template(text))` is `text`, for any bytes.
//! - [`Roots::surviving`] never misses a root that the bytes contain.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use memchr::memmem;
use store_format::{Root, RootedPath};

use crate::invocation::{Invocation, SearchKind};

/// All roots, in the order in which equal places are named: the first one wins.
const ROOTS: [Root; 6] =
    [Root::Workspace, Root::Package, Root::Build, Root::CargoHome, Root::Sysroot, Root::Home];

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
    /// Where the sources of a path dependency outside the workspace are said to be.
    package_name: Option<String>,
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
    /// Finds the roots of an invocation that runs in `working_directory`, with the environment
    /// `variable`. The sysroot is added by who knows it, through [`Roots::set`].
    pub fn derive(
        invocation: &Invocation,
        working_directory: &Path,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Self {
        let mut roots = Self {
            working_directory: working_directory.as_os_str().as_bytes().to_vec(),
            keeps_build: invocation.has_unpacked_debuginfo(),
            ..Self::default()
        };
        let home = variable("HOME").map(PathBuf::from);
        let cargo_home = variable("CARGO_HOME").map(PathBuf::from);
        let cargo_home = cargo_home.or_else(|| Some(home.as_ref()?.join(".cargo")));
        let package = variable("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let out_dir = variable("OUT_DIR").map(PathBuf::from);
        let build =
            build_root(invocation, working_directory, cargo_home.as_deref(), out_dir.as_deref());
        if invocation.source.is_absolute() {
            let name = variable("CARGO_PKG_NAME").and_then(|name| name.into_string().ok());
            roots.package_name = Some(name.unwrap_or_else(|| invocation.crate_name.clone()));
        }
        roots.set(Root::Workspace, working_directory);
        if let Some(package) = package.filter(|path| !path.starts_with(working_directory)) {
            roots.set(Root::Package, &package);
        }
        let rest = [
            (Root::Build, build),
            (Root::CargoHome, cargo_home),
            (Root::Sysroot, invocation.sysroot.clone()),
            (Root::Home, home),
        ];
        for (root, path) in rest {
            if let Some(path) = path {
                roots.set(root, &path);
            }
        }
        roots
    }

    /// The roots of a build script's run in `working_directory`.
    ///
    /// The checkout is the nearest directory upward that is a repository, else that has a lockfile;
    /// the build directory is the one that holds `build`, whose parts belong to single packages.
    pub fn of_script(
        out_dir: &Path,
        working_directory: &Path,
        variable: impl Fn(&str) -> Option<OsString>,
        exists: impl Fn(&Path) -> bool,
    ) -> Self {
        let mut roots = Self {
            working_directory: working_directory.as_os_str().as_bytes().to_vec(),
            ..Self::default()
        };
        let holder = |name: &str| {
            working_directory.ancestors().find(|directory| exists(&directory.join(name)))
        };
        let checkout = holder(".git").or_else(|| holder("Cargo.lock")).unwrap_or(working_directory);
        let build = out_dir
            .ancestors()
            .find(|directory| directory.file_name().is_some_and(|name| name == "build"))
            .and_then(Path::parent);
        let home = variable("HOME").map(PathBuf::from);
        let cargo_home = variable("CARGO_HOME").map(PathBuf::from);
        let cargo_home = cargo_home.or_else(|| Some(home.as_ref()?.join(".cargo")));
        roots.set(Root::Workspace, checkout);
        roots.set(Root::Package, working_directory);
        roots.set(Root::Build, build.unwrap_or(out_dir));
        for (root, path) in [(Root::CargoHome, cargo_home), (Root::Home, home)] {
            if let Some(path) = path {
                roots.set(root, &path);
            }
        }
        roots
    }

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

    /// Bytes of the longest form of a root: whoever searches a file in pieces lets them overlap
    /// by that much.
    pub fn longest_bytes(&self) -> usize {
        let forms = self.places.iter().map(|place| place.text(Form::Makefile).len());
        forms.max().unwrap_or(0)
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
        let home = self.bytes(Root::Home, Form::Plain).map_or(0, components);
        for place in self.places.iter().filter(|place| place.root != Root::Home) {
            if let Some(rest) = below(path, &place.path) {
                return RootedPath { root: Some(place.root), path: rest.to_vec() };
            }
        }
        if let Some(near) = self.beside(path, home) {
            return near;
        }
        match self.bytes(Root::Home, Form::Plain).and_then(|home| below(path, home)) {
            Some(rest) => RootedPath { root: Some(Root::Home), path: rest.to_vec() },
            None => RootedPath { root: None, path: path.to_vec() },
        }
    }

    /// A path above or beside a root that belongs to the checkout, named by way of `..`: whoever
    /// found it by going up finds another file in another checkout. Home's own files, and those
    /// that share nothing but `/` with a root, are named from there.
    fn beside(&self, path: &[u8], home_components: usize) -> Option<RootedPath> {
        let shared = |place: &&Place| {
            let pairs = parts(path).zip(parts(&place.path));
            pairs.take_while(|(ours, theirs)| ours == theirs).count()
        };
        let of_checkout =
            |place: &&Place| matches!(place.root, Root::Workspace | Root::Package | Root::Build);
        let place = self.places.iter().filter(of_checkout).max_by_key(shared)?;
        let common = shared(&place);
        let in_home = self
            .bytes(Root::Home, Form::Plain)
            .is_some_and(|home| below(&place.path, home).is_some());
        if common == 0 || in_home && common <= home_components {
            return None;
        }
        let mut name = b"../".repeat(components(&place.path) - common);
        for part in parts(path).skip(common) {
            name.extend_from_slice(part);
            name.push(b'/');
        }
        name.pop();
        Some(RootedPath { root: Some(place.root), path: name })
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

    /// The compiler's arguments that replace roots in outputs. They go before those of the call,
    /// so that a mapping given by the user wins; among each other the last match wins, hence the
    /// longest path comes last.
    ///
    /// Metadata keeps the names that diagnostics show, so these are remapped as well: with a scope
    /// that left them alone every crate would name the place where it was built. The real paths
    /// return in [`Roots::unmap`].
    ///
    /// | root | becomes | because |
    /// |---|---|---|
    /// | workspace | `.` | what debuggers, backtraces and panics show for members then leads to the source from the workspace's directory, as it does without kache |
    /// | a package in Cargo's home | `/kache-cargo/registry/…` | says which crate it is, once for all crates; one substitution rule leads a debugger there |
    /// | a package elsewhere | `/kache-package/NAME` | `./src/lib.rs` would be taken for a file of the workspace |
    /// | build | `/kache-build` | for generated sources; the same in every layout, for outputs must be a function of the key |
    ///
    /// The names begin unlike any directory in use, so that the search for a root such as
    /// `/cargo` or `/build` never finds them. Where debug information stays beside the outputs
    /// (`-C split-debuginfo=unpacked`) the build directory is not replaced: debuggers find those
    /// files by its path. Sysroot and home are left alone; sources of the standard library have
    /// been replaced in the toolchain already.
    pub fn remap_arguments(&self) -> Vec<OsString> {
        self.mappings(b"--remap-path-prefix=")
    }

    /// The same for the debug information that C compilers write.
    pub fn c_compiler_arguments(&self) -> Vec<OsString> {
        self.mappings(b"-fdebug-prefix-map=")
    }

    fn mappings(&self, option: &[u8]) -> Vec<OsString> {
        let mapping = |place: &Place| {
            let target = self.remap_target(place)?;
            let argument = [option, &place.path, b"=", &target].concat();
            Some(OsString::from_vec(argument))
        };
        self.places.iter().rev().filter_map(mapping).collect()
    }

    fn is_in_workspace(&self, place: &Place) -> bool {
        self.bytes(Root::Workspace, Form::Plain)
            .is_some_and(|workspace| below(&place.path, workspace).is_some())
    }

    fn remap_target(&self, place: &Place) -> Option<Vec<u8>> {
        let in_cargo_home = self
            .bytes(Root::CargoHome, Form::Plain)
            .is_some_and(|home| below(&place.path, home).is_some());
        let package = || {
            let name = self.package_name.as_deref().unwrap_or("package");
            Some(format!("/kache-package/{name}").into_bytes())
        };
        match place.root {
            Root::Workspace | Root::Package if in_cargo_home => None,
            Root::Package if self.is_in_workspace(place) => None,
            Root::Workspace if self.package_name.is_none() => Some(b".".to_vec()),
            Root::Workspace | Root::Package => package(),
            Root::Build if self.keeps_build => Some(place.path.clone()),
            Root::Build => Some(b"/kache-build".to_vec()),
            Root::CargoHome => Some(b"/kache-cargo".to_vec()),
            Root::Sysroot | Root::Home => None,
        }
    }

    /// A diagnostic with the real paths in place of those that [`Roots::remap_arguments`] puts there.
    pub fn unmap(&self, line: &[u8]) -> Vec<u8> {
        let mut line = line.to_vec();
        for place in &self.places {
            if let Some(target) = self.remap_target(place)
                && target.starts_with(b"/")
            {
                line = replace(&line, &target, &place.path);
            }
        }
        line
    }

    /// Which roots' literal paths the bytes of an output contain. A path of a root that lies in
    /// another one contains both.
    ///
    /// Conservative: compilers put strings one after another without anything between them, so
    /// what stands before and after an occurrence proves nothing, and nothing there is looked at.
    pub fn surviving(&self, bytes: &[u8]) -> RootSet {
        let mut found = RootSet::default();
        // Shortest first: where a path is absent, those that begin with it are.
        let mut absent: Vec<&[u8]> = Vec::with_capacity(self.places.len());
        for place in self.places.iter().rev() {
            let known_absent = absent.iter().any(|path| place.path.starts_with(path));
            if !known_absent && memmem::find(bytes, &place.path).is_some() {
                found.insert(place.root);
            } else if !known_absent {
                absent.push(&place.path);
            }
            if let Some(escaped) = &place.escaped
                && memmem::find(bytes, escaped).is_some()
            {
                found.insert(place.root);
            }
        }
        found
    }

    /// Which roots' paths may be in optimized code that does not contain them as a whole.
    ///
    /// Optimizers turn a comparison with a short text, or a copy of one, into constants of eight or
    /// sixteen bytes. Whatever stands before the root, they hold every eight bytes
    /// of it from some offset below eight on. Of these the first one with a slash is looked
    /// for, since others may be words. Holds where constants are whole in the code: see
    /// [`Invocation::scannable`].
    pub fn fragments(&self, bytes: &[u8]) -> RootSet {
        let mut found = RootSet::default();
        let mut searched: Vec<(&[u8], bool)> = Vec::new();
        for place in &self.places {
            for piece in telling_pieces(&place.path) {
                let known = searched.iter().find(|(other, _)| *other == piece);
                let occurs = known
                    .map_or_else(|| memmem::find(bytes, piece).is_some(), |&(_, occurs)| occurs);
                searched.push((piece, occurs));
                if occurs {
                    found.insert(place.root);
                }
            }
        }
        found
    }

    /// The text with each literal root replaced by its marker: NUL, digit, NUL; NUL, letter, NUL
    /// for a path as make writes it. A NUL of the text itself becomes NUL `0` NUL.
    pub fn template(&self, text: &[u8]) -> Vec<u8> {
        self.template_as(text, Form::Plain)
    }

    /// As [`Roots::template`], for the rules of a makefile, where paths with spaces are escaped.
    pub fn template_makefile(&self, text: &[u8]) -> Vec<u8> {
        self.template_as(text, Form::Makefile)
    }

    /// As [`Roots::template`], for one path; a relative one is one of the working directory.
    pub fn template_path(&self, path: &[u8]) -> Vec<u8> {
        let rooted = self.relativize(path);
        let Some(root) = rooted.root else { return self.template(&rooted.path) };
        let mut templated = marker(root, Form::Plain).to_vec();
        if !rooted.path.is_empty() {
            templated.push(b'/');
            templated.extend_from_slice(&rooted.path);
        }
        templated
    }

    fn template_as(&self, text: &[u8], form: Form) -> Vec<u8> {
        let mut templated = Vec::with_capacity(text.len());
        let mut copied = 0;
        let mut at = 0;
        // A root begins with a slash; nothing else can begin a replacement.
        while let Some(step) = memchr::memchr2(b'/', 0, &text[at..]) {
            at += step;
            let replacement =
                if text[at] == 0 { Some((LITERAL_NUL, 1)) } else { self.root_at(text, at, form) };
            match replacement {
                Some((marker, length)) => {
                    templated.extend_from_slice(&text[copied..at]);
                    templated.extend_from_slice(&marker);
                    at += length;
                    copied = at;
                }
                None => at += 1,
            }
        }
        templated.extend_from_slice(&text[copied..]);
        templated
    }

    fn root_at(&self, text: &[u8], at: usize, form: Form) -> Option<([u8; 3], usize)> {
        if !begins_path(&text[..at]) {
            return None;
        }
        self.places.iter().find_map(|place| {
            let forms: &[Form] = match form {
                Form::Plain => &[Form::Plain, Form::Makefile],
                Form::Makefile => &[Form::Makefile],
            };
            forms.iter().find_map(|&form| {
                let path = place.text(form);
                let after = text[at..].strip_prefix(path)?;
                ends_path(after).then(|| (marker(place.root, form), path.len()))
            })
        })
    }

    /// The text that a template stands for here; `None` if a root in it is unknown here or it is
    /// no template.
    pub fn expand(&self, template: &[u8]) -> Option<Vec<u8>> {
        let mut text = Vec::with_capacity(template.len() + 64);
        let mut rest = template;
        while let Some(at) = memchr::memchr(0, rest) {
            text.extend_from_slice(&rest[..at]);
            let [0, tag, 0, after @ ..] = &rest[at..] else { return None };
            if *tag == b'0' {
                text.push(0);
            } else {
                let (root, form) = marked(*tag)?;
                text.extend_from_slice(self.bytes(root, form)?);
            }
            rest = after;
        }
        text.extend_from_slice(rest);
        Some(text)
    }
}

impl Place {
    fn text(&self, form: Form) -> &[u8] {
        match (form, &self.escaped) {
            (Form::Makefile, Some(escaped)) => escaped,
            _ => &self.path,
        }
    }
}

const LITERAL_NUL: [u8; 3] = [0, b'0', 0];

fn marker(root: Root, form: Form) -> [u8; 3] {
    let base = match form {
        Form::Plain => b'0',
        Form::Makefile => b'@', // 'A' is the first root.
    };
    [0, base + root as u8, 0]
}

fn marked(tag: u8) -> Option<(Root, Form)> {
    let forms = [Form::Plain, Form::Makefile];
    let mut all = ROOTS.into_iter().flat_map(|root| forms.map(|form| (root, form)));
    all.find(|&(root, form)| marker(root, form)[1] == tag)
}

/// What of `path` is below `root`; empty for the root itself.
fn below<'a>(path: &'a [u8], root: &[u8]) -> Option<&'a [u8]> {
    match path.strip_prefix(root)? {
        [] => Some(&[]),
        [b'/', rest @ ..] => Some(rest),
        _ => None,
    }
}

/// The components of an absolute path.
fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !part.is_empty())
}

fn components(path: &[u8]) -> usize {
    parts(path).count()
}

/// One piece of a path for each of the eight ways to cut it into pieces of eight bytes.
fn telling_pieces(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    const PIECE_BYTES: usize = 8;
    let length = PIECE_BYTES.min(path.len());
    path.windows(length).take(PIECE_BYTES).enumerate().map(move |(offset, first)| {
        let mut pieces = path[offset..].chunks_exact(length);
        pieces.find(|piece| piece.contains(&b'/')).unwrap_or(first)
    })
}

/// Whether a byte belongs to the same path component as the one before it.
fn continues_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80 || b"_-.+~@%#$".contains(&byte)
}

/// Whether an absolute path can begin after these bytes.
fn begins_path(before: &[u8]) -> bool {
    match before {
        // Also: an URL, the escapes of JSON strings.
        [] | [.., b':', b'/', b'/'] | [.., b'\\', b'n' | b'r' | b't'] => true,
        // An attached value: `-L/…`, `-T/…`.
        [b'-', letter] if letter.is_ascii_alphabetic() => true,
        [.., earlier, b'-', letter] if letter.is_ascii_alphabetic() => {
            !continues_name(*earlier) && *earlier != b'/'
        }
        // The end of a terminal's colour sequence.
        [rest @ .., b'm'] => {
            let digits = |&&byte: &&u8| byte.is_ascii_digit() || byte == b';';
            let length = rest.iter().rev().take_while(digits).count();
            rest[..rest.len() - length].last() == Some(&b'[')
        }
        [.., last] => !continues_name(*last) && *last != b'/',
    }
}

/// Whether a path can end before these bytes, or go on with another component.
fn ends_path(after: &[u8]) -> bool {
    match after {
        [] => true,
        [b'\\', b' ', ..] => false,
        [next, ..] => !continues_name(*next),
    }
}

/// The longest common ancestor of the directories that Cargo names for this build's products:
/// one for old and new layouts, separate build directories and linked target directories.
fn build_root(
    invocation: &Invocation,
    working_directory: &Path,
    cargo_home: Option<&Path>,
    out_dir: Option<&Path>,
) -> Option<PathBuf> {
    let own = invocation.output_directory();
    if own.as_os_str().is_empty() {
        return None;
    }
    let own = working_directory.join(own);
    let searched = invocation.search_paths.iter().filter_map(|(kind, path)| match kind {
        SearchKind::Dependency => Some(path.as_path()),
        _ => script_output(path),
    });
    let externs = invocation.externs.iter().filter_map(|named| named.path.as_deref()?.parent());
    let incremental = invocation.incremental.iter().filter_map(|path| path.parent());
    let all = searched.chain(externs).chain(incremental).chain(out_dir);
    let mut ancestor = own.as_os_str().as_bytes();
    for path in all {
        let length = if path.is_absolute() {
            common_bytes(ancestor, path.as_os_str().as_bytes())
        } else {
            common_bytes(ancestor, working_directory.join(path).as_os_str().as_bytes())
        };
        ancestor = &ancestor[..length];
    }
    let holds = |path: &Path| below(path.as_os_str().as_bytes(), ancestor).is_some();
    let is_shared =
        ancestor.is_empty() || holds(working_directory) || cargo_home.is_some_and(holds);
    Some(if is_shared { own } else { PathBuf::from(OsStr::from_bytes(ancestor)) })
}

/// The output directory of a build script that a native search path leads into: below `build`,
/// in both layouts. Others may be anywhere on the machine.
fn script_output(path: &Path) -> Option<&Path> {
    let output = path.ancestors().find(|ancestor| ancestor.ends_with("out"))?;
    let mut parents = output.ancestors().skip(1).take(4);
    parents.any(|ancestor| ancestor.ends_with("build")).then_some(output)
}

/// Bytes of `one` that spell its longest ancestor that is also one of `other`; 0 for `/`.
fn common_bytes(one: &[u8], other: &[u8]) -> usize {
    let equal = one.iter().zip(other).take_while(|(left, right)| left == right).count();
    let ends = |path: &[u8]| matches!(path.get(equal), None | Some(b'/'));
    if ends(one) && ends(other) {
        return equal;
    }
    memchr::memrchr(b'/', &one[..equal]).unwrap_or(0)
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = memmem::find(rest, from) {
        replaced.extend_from_slice(&rest[..start]);
        replaced.extend_from_slice(to);
        rest = &rest[start + from.len()..];
    }
    replaced.extend_from_slice(rest);
    replaced
}
