//! What the C library itself looks up around a process, past its own public functions: the locale
//! and the time zone. And what puts other files behind the same paths.

use core::ffi::{c_char, c_int, c_long, c_ulong, c_void};

use crate::files::{Path, no_function};
use crate::layout::{READ, VARIABLE_READ};
use crate::log;
use crate::next::{as_function, next};
use crate::system::{bytes, number};

type Any = *mut c_void;

next! {
    SETLOCALE = c"setlocale"; NEWLOCALE = c"newlocale";
    LOCALTIME = c"localtime"; LOCALTIME_R = c"localtime_r"; MKTIME = c"mktime"; TZSET = c"tzset";
    CTIME = c"ctime"; CTIME_R = c"ctime_r"; STRFTIME = c"strftime";
    CHROOT = c"chroot"; PIVOT_ROOT = c"pivot_root"; SETNS = c"setns"; MOUNT = c"mount";
    UNSHARE = c"unshare";
}

/// Variables that decide which locale the empty name stands for.
const LOCALE: [&[u8]; 9] = [
    b"LC_ALL",
    b"LANG",
    b"LANGUAGE",
    b"LC_COLLATE",
    b"LC_CTYPE",
    b"LC_MESSAGES",
    b"LC_MONETARY",
    b"LC_NUMERIC",
    b"LC_TIME",
];

fn looked_up(name: &[u8]) {
    if log::is_open() {
        log::text(VARIABLE_READ, &[name, b"\0", log::executable()]);
    }
}

fn locale_chosen(name: Path) {
    // SAFETY: null or a C string, as the functions that choose a locale demand.
    if !name.is_null() && unsafe { bytes(name) }.is_empty() {
        LOCALE.iter().for_each(|variable| looked_up(variable));
    }
}

#[unsafe(no_mangle)]
extern "C" fn setlocale(category: c_int, name: Path) -> *mut c_char {
    type Set = unsafe extern "C" fn(c_int, Path) -> *mut c_char;
    locale_chosen(name);
    match as_function!(SETLOCALE.find(), Set) {
        // SAFETY: the caller's own arguments.
        Some(next) => unsafe { next(category, name) },
        None => no_function().cast(),
    }
}

#[unsafe(no_mangle)]
extern "C" fn newlocale(categories: c_int, name: Path, base: Any) -> Any {
    locale_chosen(name);
    match as_function!(NEWLOCALE.find(), unsafe extern "C" fn(c_int, Path, Any) -> Any) {
        // SAFETY: the caller's own arguments.
        Some(next) => unsafe { next(categories, name, base) },
        None => no_function(),
    }
}

fn zone_asked_for() {
    looked_up(b"TZ");
    log::text(READ, &[b"/etc/localtime"]);
}

macro_rules! zone_family {
    ($($name:ident $next:ident ($($argument:ident: $type:ty),*) -> $result:ty, $none:expr;)*) => {
        $(#[unsafe(no_mangle)]
        extern "C" fn $name($($argument: $type),*) -> $result {
            zone_asked_for();
            match as_function!($next.find(), unsafe extern "C" fn($($type),*) -> $result) {
                // SAFETY: the caller's own arguments.
                Some(next) => unsafe { next($($argument),*) },
                None => $none,
            }
        })*
    };
}

zone_family! {
    localtime LOCALTIME (time: Any) -> Any, no_function();
    localtime_r LOCALTIME_R (time: Any, to: Any) -> Any, no_function();
    ctime CTIME (time: Any) -> Any, no_function();
    ctime_r CTIME_R (time: Any, to: Any) -> Any, no_function();
    mktime MKTIME (from: Any) -> c_long, no_result() as c_long;
    strftime STRFTIME (to: Any, bytes_max: usize, format: Path, time: Any) -> usize, 0;
    tzset TZSET () -> (), ();
}

fn no_result() -> c_int {
    no_function();
    -1
}

/// Whether a system call makes paths lead to other files. `argument` is its first.
pub(crate) fn changes_paths(call: isize, argument: isize) -> bool {
    const CLONE_NEWNS: isize = 0x0002_0000;
    match call {
        number::CHROOT | number::PIVOT_ROOT | number::SETNS | number::MOUNT => true,
        number::UNSHARE => argument & CLONE_NEWNS != 0,
        _ => false,
    }
}

/// Records that from here on paths lead to other files than they do for the wrapper.
pub(crate) fn paths_changed() {
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
