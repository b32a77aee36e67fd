//! Finding the roots of an invocation.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use store_format::Root;

use super::{Roots, below};
use crate::invocation::{Invocation, SearchKind};

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
    let out_dir = out_dir.filter(|out_dir| is_of_build(out_dir, &own));
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

/// Whether `OUT_DIR` is that of a unit whose products go to `own`. A Cargo that a test or a program
/// of another build runs leaves the variable alone in units without a build script.
fn is_of_build(out_dir: &Path, own: &Path) -> bool {
    let mut profile = out_dir.ancestors().skip_while(|path| !path.ends_with("build")).skip(1);
    !own.starts_with(out_dir) && profile.next().is_some_and(|profile| own.starts_with(profile))
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
