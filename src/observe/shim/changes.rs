//! Changing what is there: making, removing, moving and linking.

use core::ffi::{c_char, c_int, c_uint};

use crate::files::{Path, failed, no_function, no_result, path, path_with};
use crate::layout::{LINKED, READ, REMOVED, WROTE};
use crate::log;
use crate::next::{as_function, interpose, kernel_call, next};
use crate::system::{self, AT_FDCWD, AT_REMOVEDIR, EEXIST, EFAULT, ENOENT, ENOTDIR, Node, bytes};
use crate::ways;

const S_IFIFO: c_uint = 0o10000;

next! {
    RENAME = "rename"; RENAMEAT = "renameat"; LINK = "link"; LINKAT = "linkat"; SYMLINK = "symlink";
    SYMLINKAT = "symlinkat"; UNLINK = "unlink"; UNLINKAT = "unlinkat"; REMOVE = "remove";
    MKDIR = "mkdir"; MKDIRAT = "mkdirat"; MKFIFO = "mkfifo"; MKNOD = "mknod"; CHMOD = "chmod";
    FCHMODAT = "fchmodat"; RMDIR = "rmdir"; TRUNCATE = "truncate"; MKSTEMP = "mkstemp";
    MKOSTEMP = "mkostemp"; MKSTEMPS = "mkstemps"; MKOSTEMPS = "mkostemps"; MKDTEMP = "mkdtemp";
}

#[cfg(target_os = "linux")]
next! {
    RENAMEAT2 = "renameat2"; MKFIFOAT = "mkfifoat"; MKNODAT = "mknodat"; TRUNCATE64 = "truncate64";
    MKSTEMP64 = "mkstemp64"; MKOSTEMP64 = "mkostemp64"; MKSTEMPS64 = "mkstemps64";
    MKOSTEMPS64 = "mkostemps64";
}

/// Records a change that was made, or what stood in its way. What is removed is recorded first:
/// where one name is moved to another, the new one is the last word.
pub(crate) fn changed(
    result: c_int,
    removed: Option<(c_int, Path)>,
    made: Option<(c_int, Path)>,
) -> c_int {
    let error = if result < 0 { system::errno() } else { 0 };
    if error == EFAULT {
        return result;
    }
    for (kind, place) in [(REMOVED, removed), (WROTE, made)] {
        let Some((at, name)) = place else { continue };
        if result < 0 {
            stood(at, name, error);
        } else {
            // SAFETY: the kernel has read the path.
            path(kind, at, unsafe { bytes(name) });
        }
    }
    if let Some((at, name)) = made {
        // SAFETY: as above.
        ways::failed_below(at, unsafe { bytes(name) }, error);
    }
    result
}

/// Records whether something is at a place in question: where there are two, the error does not say of
/// which it speaks.
fn stood(at: c_int, name: Path, error: c_int) {
    let is_there = matches!(error, ENOENT | ENOTDIR) && system::path_node(at, name).is_some();
    // SAFETY: the kernel has read the path.
    failed(at, unsafe { bytes(name) }, if is_there { EEXIST } else { error });
}

macro_rules! change_family {
    ($($name:ident $next:ident ($($argument:ident: $type:ty),*)
        $call:ident [$($raw:expr),*] $removed:expr, $made:expr;)*) => {
        $(#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
        extern "C" fn $name($($argument: $type),*) -> c_int {
            let result = match as_function!($next.find(), unsafe extern "C" fn($($type),*) -> c_int) {
                // SAFETY: the caller's own arguments.
                Some(next) => unsafe { next($($argument),*) },
                None => kernel_call!($call, [$($raw as isize),*]) as c_int,
            };
            changed(result, $removed, $made)
        }
        interpose! { $name = $next; })*
    };
}

change_family! {
    unlink UNLINK (path: Path) UNLINKAT [AT_FDCWD, path, 0, 0, 0, 0] Some((AT_FDCWD, path)), None;
    unlinkat UNLINKAT (at: c_int, path: Path, flags: c_int) UNLINKAT [at, path, flags, 0, 0, 0]
        Some((at, path)), None;
    rmdir RMDIR (path: Path) UNLINKAT [AT_FDCWD, path, AT_REMOVEDIR, 0, 0, 0]
        Some((AT_FDCWD, path)), None;
    mkdir MKDIR (path: Path, mode: c_uint) MKDIRAT [AT_FDCWD, path, mode, 0, 0, 0]
        None, Some((AT_FDCWD, path));
    mkdirat MKDIRAT (at: c_int, path: Path, mode: c_uint) MKDIRAT [at, path, mode, 0, 0, 0]
        None, Some((at, path));
    mkfifo MKFIFO (path: Path, mode: c_uint) MKNODAT [AT_FDCWD, path, mode | S_IFIFO, 0, 0, 0]
        None, Some((AT_FDCWD, path));
    mknod MKNOD (path: Path, mode: c_uint, device: u64) MKNODAT [AT_FDCWD, path, mode, device, 0, 0]
        None, Some((AT_FDCWD, path));
    chmod CHMOD (path: Path, mode: c_uint) FCHMODAT [AT_FDCWD, path, mode, 0, 0, 0]
        None, Some((AT_FDCWD, path));
    fchmodat FCHMODAT (at: c_int, path: Path, mode: c_uint, flags: c_int)
        FCHMODAT [at, path, mode, 0, 0, 0]
        None, Some((at, path));
    truncate TRUNCATE (path: Path, length: i64) TRUNCATE [path, length, 0, 0, 0, 0]
        None, Some((AT_FDCWD, path));
}

#[cfg(target_os = "linux")]
change_family! {
    mkfifoat MKFIFOAT (at: c_int, path: Path, mode: c_uint) MKNODAT [at, path, mode | S_IFIFO, 0, 0, 0]
        None, Some((at, path));
    mknodat MKNODAT (at: c_int, path: Path, mode: c_uint, device: u64) MKNODAT [at, path, mode, device, 0, 0]
        None, Some((at, path));
    truncate64 TRUNCATE64 (path: Path, length: i64) TRUNCATE [path, length, 0, 0, 0, 0]
        None, Some((AT_FDCWD, path));
}

/// Moving a file gives the new name its content, which is read in that sense.
fn moved(from: (c_int, Path), to: (c_int, Path), rename: impl FnOnce() -> c_int) -> c_int {
    let is_file = log::is_open() && system::path_node(from.0, from.1) == Some(Node::File);
    let result = rename();
    if result >= 0 && is_file {
        // SAFETY: the kernel has read the path.
        path(READ, from.0, unsafe { bytes(from.1) });
    }
    changed(result, Some(from), Some(to))
}

macro_rules! rename_family {
    ($($name:ident $next:ident ($($argument:ident: $type:ty),*) $from:expr, $to:expr, $flags:expr;)*) => {
        $(#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
        extern "C" fn $name($($argument: $type),*) -> c_int {
            let (from, to) = ($from, $to);
            moved(from, to, || {
                match as_function!($next.find(), unsafe extern "C" fn($($type),*) -> c_int) {
                    // SAFETY: the caller's own arguments.
                    Some(next) => unsafe { next($($argument),*) },
                    None => {
                        let (from_at, to_at) = (from.0 as isize, to.0 as isize);
                        let (from, to) = (from.1 as isize, to.1 as isize);
                        let arguments = [from_at, from, to_at, to, $flags as isize, 0];
                        kernel_call!(RENAMEAT2, arguments) as c_int
                    }
                }
            })
        }
        interpose! { $name = $next; })*
    };
}

rename_family! {
    rename RENAME (from: Path, to: Path) (AT_FDCWD, from), (AT_FDCWD, to), 0;
    renameat RENAMEAT (from_at: c_int, from: Path, to_at: c_int, to: Path)
        (from_at, from), (to_at, to), 0;
}

#[cfg(target_vendor = "apple")]
next! { RENAMEX = "renamex_np"; RENAMEATX = "renameatx_np"; }

#[cfg(target_vendor = "apple")]
rename_family! {
    renamex_np RENAMEX (from: Path, to: Path, flags: c_uint) (AT_FDCWD, from), (AT_FDCWD, to), flags;
    renameatx_np RENAMEATX (from_at: c_int, from: Path, to_at: c_int, to: Path, flags: c_uint)
        (from_at, from), (to_at, to), flags;
}

#[cfg(target_os = "linux")]
rename_family! {
    renameat2 RENAMEAT2 (from_at: c_int, from: Path, to_at: c_int, to: Path, flags: c_uint)
        (from_at, from), (to_at, to), flags;
}

/// A symbolic link leads what is below it to somewhere else.
fn symlinked(result: c_int, target: Path, to_at: c_int, to: Path) -> c_int {
    if result >= 0 {
        // SAFETY: the kernel has read the paths.
        let (target, to) = unsafe { (bytes(target), bytes(to)) };
        path_with(LINKED, to_at, to, &[b"\0", target]);
    }
    changed(result, None, Some((to_at, to)))
}

#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
extern "C" fn symlink(target: Path, to: Path) -> c_int {
    let result = match as_function!(SYMLINK.find(), unsafe extern "C" fn(Path, Path) -> c_int) {
        // SAFETY: the caller's own arguments.
        Some(next) => unsafe { next(target, to) },
        None => symlink_call(target, AT_FDCWD, to),
    };
    symlinked(result, target, AT_FDCWD, to)
}

#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
extern "C" fn symlinkat(target: Path, to_at: c_int, to: Path) -> c_int {
    type SymlinkAt = unsafe extern "C" fn(Path, c_int, Path) -> c_int;
    let result = match as_function!(SYMLINKAT.find(), SymlinkAt) {
        // SAFETY: the caller's own arguments.
        Some(next) => unsafe { next(target, to_at, to) },
        None => symlink_call(target, to_at, to),
    };
    symlinked(result, target, to_at, to)
}

fn symlink_call(target: Path, to_at: c_int, to: Path) -> c_int {
    let arguments = [target as isize, to_at as isize, to as isize, 0, 0, 0];
    kernel_call!(SYMLINKAT, arguments) as c_int
}

interpose! { symlink = SYMLINK; symlinkat = SYMLINKAT; remove = REMOVE; }

#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
extern "C" fn remove(path: Path) -> c_int {
    let result = match as_function!(REMOVE.find(), unsafe extern "C" fn(Path) -> c_int) {
        // SAFETY: the caller's own argument.
        Some(next) => unsafe { next(path) },
        None => no_result(),
    };
    changed(result, Some((AT_FDCWD, path)), None)
}

/// A second name for a file: the new name has the content of the old one, so that is read.
pub(crate) fn linked(result: c_int, from: (c_int, Path), to: (c_int, Path)) -> c_int {
    let error = if result < 0 { system::errno() } else { 0 };
    if error == 0 {
        // SAFETY: the kernel has read the path.
        let name = unsafe { bytes(from.1) };
        // Without a name it is a file that was made without one.
        if !name.is_empty() {
            path(READ, from.0, name);
        }
    } else if error != EFAULT {
        stood(from.0, from.1, error);
    }
    changed(result, None, Some(to))
}

#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
extern "C" fn link(from: Path, to: Path) -> c_int {
    let result = match as_function!(LINK.find(), unsafe extern "C" fn(Path, Path) -> c_int) {
        // SAFETY: the caller's own arguments.
        Some(next) => unsafe { next(from, to) },
        None => {
            let at = AT_FDCWD as isize;
            let arguments = [at, from as isize, at, to as isize, 0, 0];
            kernel_call!(LINKAT, arguments) as c_int
        }
    };
    linked(result, (AT_FDCWD, from), (AT_FDCWD, to))
}

#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
extern "C" fn linkat(from_at: c_int, from: Path, to_at: c_int, to: Path, flags: c_int) -> c_int {
    type LinkAt = unsafe extern "C" fn(c_int, Path, c_int, Path, c_int) -> c_int;
    let result = match as_function!(LINKAT.find(), LinkAt) {
        // SAFETY: the caller's own arguments.
        Some(next) => unsafe { next(from_at, from, to_at, to, flags) },
        None => {
            let arguments =
                [from_at as isize, from as isize, to_at as isize, to as isize, flags as isize, 0];
            kernel_call!(LINKAT, arguments) as c_int
        }
    };
    linked(result, (from_at, from), (to_at, to))
}

interpose! { link = LINK; linkat = LINKAT; }

/// Records what was made under a name of the C library's own making, or that it could not be.
fn temporary_made(template: *const c_char, done: bool) {
    // SAFETY: the C library has written the name into the template.
    let name = unsafe { bytes(template) };
    if done {
        path(WROTE, AT_FDCWD, name);
    } else {
        ways::failed_below(AT_FDCWD, name, system::errno());
    }
}

macro_rules! temporary_family {
    ($template:ident: $($name:ident $next:ident ($($argument:ident: $type:ty),*);)*) => {
        $(#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
        extern "C" fn $name($($argument: $type),*) -> c_int {
            let descriptor = match as_function!($next.find(), unsafe extern "C" fn($($type),*) -> c_int) {
                // SAFETY: the caller's own arguments.
                Some(next) => unsafe { next($($argument),*) },
                None => no_result(),
            };
            temporary_made($template, descriptor >= 0);
            descriptor
        }
        interpose! { $name = $next; })*
    };
}

temporary_family! { template:
    mkstemp MKSTEMP (template: *mut c_char);
    mkostemp MKOSTEMP (template: *mut c_char, flags: c_int);
    mkstemps MKSTEMPS (template: *mut c_char, suffix: c_int);
    mkostemps MKOSTEMPS (template: *mut c_char, suffix: c_int, flags: c_int);
}

#[cfg(target_os = "linux")]
temporary_family! { template:
    mkstemp64 MKSTEMP64 (template: *mut c_char);
    mkostemp64 MKOSTEMP64 (template: *mut c_char, flags: c_int);
    mkstemps64 MKSTEMPS64 (template: *mut c_char, suffix: c_int);
    mkostemps64 MKOSTEMPS64 (template: *mut c_char, suffix: c_int, flags: c_int);
}

#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
extern "C" fn mkdtemp(template: *mut c_char) -> *mut c_char {
    type MakeDirectory = unsafe extern "C" fn(*mut c_char) -> *mut c_char;
    let made = match as_function!(MKDTEMP.find(), MakeDirectory) {
        // SAFETY: the caller's own argument.
        Some(next) => unsafe { next(template) },
        None => no_function().cast(),
    };
    temporary_made(template, !made.is_null());
    made
}

interpose! { mkdtemp = MKDTEMP; }
