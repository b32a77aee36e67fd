//! The arguments that have compilers write other names in place of the roots, and the way back.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use memchr::memmem;
use store_format::Root;

use super::text::ends_path;
use super::{Form, Place, Roots, below};

/// What Cargo puts into each package of a directory that stands for a registry.
const VENDORED: &str = ".cargo-checksum.json";

/// Where the standard library's sources are in a sysroot that has them.
const LIBRARY: &str = "lib/rustlib/src/rust";

impl Roots {
    /// Leaves a package outside of the workspace where it is, unless it is a vendored one. To be called
    /// before the mappings are asked for, which only a compilation needs.
    pub fn tell_package(&mut self, exists: impl Fn(&Path) -> bool) {
        let place = self.path(Root::Package).or_else(|| self.path(Root::Workspace));
        let home = self.path(Root::CargoHome);
        let is_fetched = |place: &Path| home.is_some_and(|home| place.starts_with(home));
        let is_apart = |place: &Path| !is_fetched(place) && !exists(&place.join(VENDORED));
        self.keeps_package = self.package_name.is_some() && place.is_some_and(is_apart);
    }

    /// Gives the standard library's sources the name that they have where they are not installed. To be called
    /// before the mappings are asked for.
    pub fn tell_library(&mut self, commit: &str, exists: impl Fn(&Path) -> bool) {
        let sources = self.path(Root::Sysroot).map(|sysroot| sysroot.join(LIBRARY));
        let sources = sources.filter(|sources| !commit.is_empty() && exists(sources));
        let name = format!("/rustc/{commit}").into_bytes();
        self.library = sources.map(|sources| (sources.into_os_string().into_vec(), name));
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
    /// | a vendored package elsewhere | `/kache-package/NAME` | `./src/lib.rs` would be taken for a file of the workspace |
    /// | a path dependency elsewhere | stays | Cargo gives its units other names in each place, and diagnostics of the packages that use it show its sources: the compiler looks for them by these names |
    /// | build | `/kache-build` | for generated sources; the same in every layout, for outputs must be a function of the key |
    ///
    /// The names begin unlike any directory in use, so that the search for a root such as
    /// `/cargo` or `/build` never finds them. Where debug information stays beside the outputs
    /// (`-C split-debuginfo=unpacked`) the build directory is not replaced: debuggers find those
    /// files by its path. Sysroot and home are left alone. Sources of the standard library have
    /// been replaced in the toolchain already; where they are installed, the compiler would undo that.
    pub fn remap_arguments(&self) -> Vec<OsString> {
        const OPTION: &[u8] = b"--remap-path-prefix=";
        let library = self.library.iter().map(|(place, name)| mapping(OPTION, place, name));
        library.chain(self.mappings(OPTION)).collect()
    }

    /// The same for the debug information that C compilers write.
    pub fn c_compiler_arguments(&self) -> Vec<OsString> {
        self.mappings(b"-fdebug-prefix-map=").collect()
    }

    fn mappings(&self, option: &[u8]) -> impl Iterator<Item = OsString> {
        let mapped = |place: &Place| Some(mapping(option, &place.path, &self.remap_target(place)?));
        self.places.iter().rev().filter_map(mapped)
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
            Root::Workspace | Root::Package if self.keeps_package => None,
            Root::Workspace if self.package_name.is_none() => Some(b".".to_vec()),
            Root::Workspace | Root::Package => package(),
            Root::Build if self.keeps_build => Some(place.path.clone()),
            Root::Build => Some(b"/kache-build".to_vec()),
            Root::CargoHome => Some(b"/kache-cargo".to_vec()),
            Root::Sysroot | Root::Home => None,
        }
    }

    /// The name that a directory has by [`Roots::remap_arguments`], if that leads to nothing.
    pub fn remapped(&self, directory: &[u8]) -> Option<Vec<u8>> {
        let mapping = self.places.iter().find_map(|place| {
            let rest = below(directory, &place.path)?;
            Some((self.remap_target(place)?, rest))
        });
        let (mut name, rest) = mapping.filter(|(target, _)| target.starts_with(b"/kache-"))?;
        if !rest.is_empty() {
            name.push(b'/');
            name.extend_from_slice(rest);
        }
        Some(name)
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
        if let Some((place, name)) = &self.library {
            line = replace(&line, name, place);
        }
        line
    }
}

fn mapping(option: &[u8], place: &[u8], name: &[u8]) -> OsString {
    OsString::from_vec([option, place, b"=", name].concat())
}

/// Replaces a path, but for where the name of something else begins with it.
fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = memmem::find(rest, from) {
        let (before, found) = rest.split_at(start);
        let (found, after) = found.split_at(from.len());
        replaced.extend_from_slice(before);
        replaced.extend_from_slice(if ends_path(after) { to } else { found });
        rest = after;
    }
    replaced.extend_from_slice(rest);
    replaced
}
