//! What the C library itself looks up around a process, past its own public functions: the locale
//! and the time zone.

use core::ffi::{c_char, c_int, c_long, c_void};

use crate::files::{Path, no_function, no_result, path_with};
use crate::layout::{READ, VARIABLE_READ};
use crate::next::{as_function, interpose, next};
use crate::system::{self, AT_FDCWD, bytes};
use crate::{locale, log};

type Any = *mut c_void;

next! {
    SETLOCALE = "setlocale"; NEWLOCALE = "newlocale"; LOCALTIME = "localtime";
    LOCALTIME_R = "localtime_r"; MKTIME = "mktime"; TZSET = "tzset"; CTIME = "ctime";
    CTIME_R = "ctime_r"; TIMELOCAL = "timelocal"; STRFTIME = "strftime";
}

#[cfg(target_os = "linux")]
next! { BINDTEXTDOMAIN = "bindtextdomain"; }

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

#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
extern "C" fn setlocale(category: c_int, name: Path) -> *mut c_char {
    type Set = unsafe extern "C" fn(c_int, Path) -> *mut c_char;
    locale_chosen(name);
    locale::chosen(locale::bit(category), name);
    match as_function!(SETLOCALE.find(), Set) {
        // SAFETY: the caller's own arguments.
        Some(next) => unsafe { next(category, name) },
        None => no_function().cast(),
    }
}

#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
extern "C" fn newlocale(categories: c_int, name: Path, base: Any) -> Any {
    locale_chosen(name);
    locale::chosen(categories, name);
    match as_function!(NEWLOCALE.find(), unsafe extern "C" fn(c_int, Path, Any) -> Any) {
        // SAFETY: the caller's own arguments.
        Some(next) => unsafe { next(categories, name, base) },
        None => no_function(),
    }
}

interpose! { setlocale = SETLOCALE; newlocale = NEWLOCALE; }

fn zone_asked_for() {
    if !log::is_open() {
        return;
    }
    looked_up(b"TZ");
    looked_up(b"TZDIR");
    // SAFETY: the process's environment; values are C strings.
    let [zone, directory] = [b"TZ".as_slice(), b"TZDIR"]
        .map(|name| unsafe { bytes(system::find_variable(system::environment(), name)) });
    let zone = zone.strip_prefix(b":").unwrap_or(zone);
    if zone.is_empty() {
        log::text(READ, &[b"/etc/localtime"]);
    } else if zone.first() == Some(&b'/') {
        log::text(READ, &[zone]);
    } else {
        // What is no file's name is a description.
        let directory = if directory.is_empty() { b"/usr/share/zoneinfo" } else { directory };
        path_with(READ, AT_FDCWD, directory, &[b"/", zone]);
    }
}

macro_rules! zone_family {
    ($($name:ident $next:ident ($($argument:ident: $type:ty),*) -> $result:ty, $none:expr;)*) => {
        $(#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
        extern "C" fn $name($($argument: $type),*) -> $result {
            zone_asked_for();
            match as_function!($next.find(), unsafe extern "C" fn($($type),*) -> $result) {
                // SAFETY: the caller's own arguments.
                Some(next) => unsafe { next($($argument),*) },
                None => $none,
            }
        }
        interpose! { $name = $next; })*
    };
}

zone_family! {
    localtime LOCALTIME (time: Any) -> Any, no_function();
    localtime_r LOCALTIME_R (time: Any, to: Any) -> Any, no_function();
    ctime CTIME (time: Any) -> Any, no_function();
    ctime_r CTIME_R (time: Any, to: Any) -> Any, no_function();
    timelocal TIMELOCAL (from: Any) -> c_long, no_result() as c_long;
    mktime MKTIME (from: Any) -> c_long, no_result() as c_long;
    strftime STRFTIME (to: Any, bytes_max: usize, format: Path, time: Any) -> usize, 0;
    tzset TZSET () -> (), ();
}

/// Which translations a program looks for. Its own ones, installed with it, decide how text looks; where
/// it looks for others is not followed.
#[cfg(target_os = "linux")]
#[unsafe(no_mangle)]
extern "C" fn bindtextdomain(domain: Path, directory: Path) -> *mut c_char {
    // SAFETY: null or a C string, as the function demands.
    let mut place = unsafe { bytes(directory) };
    while let Some(shorter) = place.strip_suffix(b"/") {
        place = shorter;
    }
    let is_usual = place.ends_with(b"/share/locale") || place.ends_with(b"/share/locale-langpack");
    if !directory.is_null() && !is_usual {
        log::blind("translations in a directory of their own");
    }
    match as_function!(BINDTEXTDOMAIN.find(), unsafe extern "C" fn(Path, Path) -> *mut c_char) {
        // SAFETY: the caller's own arguments.
        Some(next) => unsafe { next(domain, directory) },
        None => no_function().cast(),
    }
}
