//! What only Linux has: ways past the C library's functions for files, and what puts other files behind
//! the same paths.

use core::ffi::{c_int, c_long, c_uint, c_ulong, c_void};

use crate::files::{self, Path, no_result, opened, path};
use crate::layout::LISTED;
use crate::next::{Next, as_function, kernel_call, next};
use crate::system::{self, AT_EMPTY_PATH, number};
use crate::{exec, log, lookups, probes, ways};

type Any = *mut c_void;

next! {
    CHROOT = "chroot"; GLOB = "glob"; GLOB64 = "glob64"; MOUNT = "mount"; PIVOT_ROOT = "pivot_root";
    GETDIRENTRIES = "getdirentries"; GETDIRENTRIES64 = "getdirentries64"; SETNS = "setns";
    SYSCALL = "syscall"; UNSHARE = "unshare";
}

/// Names that must be known before they are called.
pub(crate) static COMMON: &[&Next] = &[&SYSCALL];

/// Records that the entries of an open directory were read.
fn entries_read(descriptor: c_int, length: isize) -> isize {
    if length >= 0 {
        path(LISTED, descriptor, b"");
    }
    length
}

macro_rules! entries_family {
    ($($name:ident $next:ident;)*) => {
        $(#[unsafe(no_mangle)]
        extern "C" fn $name(descriptor: c_int, to: Any, size: usize, base: Any) -> isize {
            type Entries = unsafe extern "C" fn(c_int, Any, usize, Any) -> isize;
            let length = match as_function!($next.find(), Entries) {
                // SAFETY: the caller's own arguments.
                Some(next) => unsafe { next(descriptor, to, size, base) },
                None => no_result() as isize,
            };
            entries_read(descriptor, length)
        })*
    };
}

entries_family! { getdirentries GETDIRENTRIES; getdirentries64 GETDIRENTRIES64; }

#[unsafe(no_mangle)]
extern "C" fn getdents64(descriptor: c_int, to: *mut c_void, size: usize) -> isize {
    let arguments = [descriptor as isize, to as isize, size as isize, 0, 0, 0];
    entries_read(descriptor, kernel_call!(GETDENTS64, arguments))
}

/// Records a system call that was made without its function in the C library, and returns its result.
fn probed_raw(directory: c_int, name: Path, flags: c_int, result: c_long) -> c_long {
    if flags & AT_EMPTY_PATH == 0 {
        probes::probed(directory, name, if result < 0 { -1 } else { 0 });
    }
    result
}

/// Whether a system call makes paths lead to other files. `argument` is its first.
fn changes_paths(call: isize, argument: isize) -> bool {
    const CLONE_NEWNS: isize = 0x0002_0000;
    match call {
        number::CHROOT | number::PIVOT_ROOT | number::SETNS | number::MOUNT => true,
        number::UNSHARE => argument & CLONE_NEWNS != 0,
        _ => false,
    }
}

/// Records that from here on paths lead to other files than they do for the wrapper.
fn paths_changed() {
    log::blind("paths of a file system of its own");
}

macro_rules! other_paths_family {
    ($($name:ident $next:ident $call:ident ($first:ident: $first_type:ty $(, $argument:ident: $type:ty)*);)*) => {
        $(#[unsafe(no_mangle)]
        extern "C" fn $name($first: $first_type $(, $argument: $type)*) -> c_int {
            if changes_paths(number::$call, $first as isize) {
                paths_changed();
            }
            match as_function!($next.find(), unsafe extern "C" fn($first_type $(, $type)*) -> c_int) {
                // SAFETY: the caller's own arguments.
                Some(next) => unsafe { next($first $(, $argument)*) },
                None => no_result(),
            }
        })*
    };
}

other_paths_family! {
    chroot CHROOT CHROOT (path: Path);
    pivot_root PIVOT_ROOT PIVOT_ROOT (root: Path, old: Path);
    setns SETNS SETNS (descriptor: c_int, kind: c_int);
    mount MOUNT MOUNT (source: Path, target: Path, kind: Path, flags: c_ulong, data: Any);
    unshare UNSHARE UNSHARE (flags: c_int);
}

/// `glob_t` of the GNU C library.
#[repr(C)]
struct Glob {
    count: usize,
    paths: Any,
    reserved: usize,
    flags: c_int,
    close: Any,
    read: Any,
    open: Any,
    lstat: Any,
    stat: Any,
}

unsafe extern "C" {
    fn closedir(stream: *mut c_void) -> c_int;
    fn readdir(stream: *mut c_void) -> *mut c_void;
}

/// Expands a pattern with directories opened through the functions of this library.
fn expand(next: &Next, pattern: Path, flags: c_int, error: Any, to: *mut Glob) -> c_int {
    const GLOB_ALTDIRFUNC: c_int = 1 << 9;
    const GLOB_ABORTED: c_int = 2;
    let type_is_known = system::is_gnu();
    let mut flags = flags;
    if flags & GLOB_ALTDIRFUNC == 0 {
        if type_is_known && !to.is_null() {
            // SAFETY: the GNU C library's structure; these fields count only with the flag.
            unsafe {
                (*to).close = closedir as *mut c_void;
                (*to).read = readdir as *mut c_void;
                (*to).open = files::opendir as *mut c_void;
                (*to).lstat = probes::lstat as *mut c_void;
                (*to).stat = probes::stat as *mut c_void;
            }
            flags |= GLOB_ALTDIRFUNC;
        } else {
            log::blind("an expansion by glob");
        }
    }
    type Expand = unsafe extern "C" fn(Path, c_int, Any, *mut Glob) -> c_int;
    match as_function!(next.find(), Expand) {
        // SAFETY: the caller's own arguments.
        Some(next) => unsafe { next(pattern, flags, error, to) },
        None => GLOB_ABORTED,
    }
}

#[unsafe(no_mangle)]
extern "C" fn glob(pattern: Path, flags: c_int, error: Any, to: *mut Glob) -> c_int {
    expand(&GLOB, pattern, flags, error, to)
}

#[unsafe(no_mangle)]
extern "C" fn glob64(pattern: Path, flags: c_int, error: Any, to: *mut Glob) -> c_int {
    expand(&GLOB64, pattern, flags, error, to)
}

type SystemCall = unsafe extern "C" fn(c_long, isize, isize, isize, isize, isize, isize) -> c_long;

/// The flags to open with, from what the caller of `openat2` passes: those, a mode, and how the path is
/// resolved.
fn flags_of_openat2(how: *const [u64; 3]) -> c_int {
    const RESOLVE_IN_ROOT: u64 = 0x10;
    // SAFETY: null or the structure that the call demands.
    let [flags, _, resolve] = if how.is_null() { [0; 3] } else { unsafe { *how } };
    if resolve & RESOLVE_IN_ROOT != 0 {
        paths_changed();
    }
    flags as c_int
}

/// Those that newer processors do not have.
#[cfg(target_arch = "x86_64")]
fn old_call(number: isize, [a, b]: [isize; 2], next: &impl Fn() -> c_long) -> Option<c_long> {
    let directory = system::AT_FDCWD;
    Some(match number {
        number::OPEN => opened(directory, a as Path, b as c_int, || next() as c_int) as c_long,
        number::STAT | number::LSTAT | number::ACCESS => {
            probed_raw(directory, a as Path, 0, next())
        }
        number::GETDENTS => entries_read(a as c_int, next() as isize) as c_long,
        number::READLINK => probes::link_read(directory, a as Path, next() as isize) as c_long,
        _ => return None,
    })
}

/// Those that talk to others.
fn network_call(number: isize, [a, b, c, d, e, f]: [isize; 6]) -> Option<c_long> {
    let data = b as *const c_void;
    Some(match number {
        number::CONNECT => lookups::connect(a as c_int, data, c as c_uint) as c_long,
        number::SENDTO => {
            let address = e as *const c_void;
            lookups::sendto(a as c_int, data, c as usize, d as c_int, address, f as c_uint)
                as c_long
        }
        number::SENDMSG => lookups::sendmsg(a as c_int, data.cast(), c as c_int) as c_long,
        _ => return None,
    })
}

/// System calls made through the C library's door, for those that have a definition here.
#[unsafe(no_mangle)]
extern "C" fn syscall(
    call: c_long,
    a: isize,
    b: isize,
    c: isize,
    d: isize,
    e: isize,
    f: isize,
) -> c_long {
    let next = || match as_function!(SYSCALL.known(), SystemCall) {
        // SAFETY: the caller's own arguments; those that it did not pass are ignored.
        Some(next) => unsafe { next(call, a, b, c, d, e, f) },
        None => system::returned(system::call(call as isize, [a, b, c, d, e, f])) as c_long,
    };
    let number = call as isize;
    #[cfg(target_arch = "x86_64")]
    if let Some(result) = old_call(number, [a, b], &next) {
        return result;
    }
    if let Some(result) = network_call(number, [a, b, c, d, e, f]) {
        return result;
    }
    match number {
        number::OPENAT => opened(a as c_int, b as Path, c as c_int, || next() as c_int) as c_long,
        number::OPENAT2 => {
            let flags = flags_of_openat2(c as *const [u64; 3]);
            opened(a as c_int, b as Path, flags, || next() as c_int) as c_long
        }
        number::FSTATAT | number::FACCESSAT | number::FACCESSAT2 | number::UTIMENSAT => {
            let flags = if number == number::FACCESSAT { 0 } else { d as c_int };
            probed_raw(a as c_int, b as Path, flags, next())
        }
        number::STATFS => probed_raw(system::AT_FDCWD, a as Path, 0, next()),
        number::STATX => probed_raw(a as c_int, b as Path, c as c_int, next()),
        number::READLINKAT => probes::link_read(a as c_int, b as Path, next() as isize) as c_long,
        number::CHDIR => {
            ways::entering(system::AT_FDCWD, a as Path);
            next()
        }
        number::UNAME => lookups::uname(a as *mut c_void) as c_long,
        // What the kernel does for a ring cannot be seen. Who asks for one gets the answer of a kernel that
        // has none, as in many containers, and does without.
        number::IO_URING_SETUP if log::is_open() => no_result() as c_long,
        number::EXECVE => exec::execve(a as Path, b as exec::List, c as exec::List) as c_long,
        number::EXECVEAT => {
            exec::execveat(a as c_int, b as Path, c as exec::List, d as exec::List, e as c_int)
                as c_long
        }
        number::GETDENTS64 => entries_read(a as c_int, next() as isize) as c_long,
        _ => {
            if changes_paths(number, a) {
                paths_changed();
            }
            if system::is_unseen(number) {
                log::blind("a system call that reads or changes files past the C library");
            }
            next()
        }
    }
}
