//! Opening and listing files.

use core::ffi::{c_char, c_int, c_uint, c_void};
use core::ptr;

use crate::layout::{FOUND, LISTED, LISTED_LATER, MISSING, READ, WROTE};
#[cfg(target_os = "linux")]
use crate::next::Next;
use crate::next::{as_function, from_caller, interpose, kernel_call, next};
use crate::system::{
    self, AT_FDCWD, EBADF, EFAULT, EINVAL, ENAMETOOLONG, ENOENT, ENOTDIR, Node, O_CREAT, O_EXCL,
    O_NAMELESS, O_PATH, O_TRUNC, PATH_BYTES_MAX, bytes,
};
use crate::{descriptor, image, log, ways};

pub(crate) type Path = *const c_char;
type Stream = *mut c_void;

unsafe extern "C" {
    fn dirfd(stream: Stream) -> c_int;
}

const O_ACCMODE: c_int = 3;
const O_RDONLY: c_int = 0;
const O_RDWR: c_int = 2;

next! {
    CREAT = "creat"; FOPEN = "fopen"; FREOPEN = "freopen"; OPENDIR = "opendir";
    FDOPENDIR = "fdopendir"; SCANDIR = "scandir";
}

#[cfg(target_os = "linux")]
next! {
    OPEN = "open"; OPENAT = "openat"; OPEN64 = "open64"; OPEN_2 = "__open_2";
    OPEN_OWN = "__open"; OPEN64_OWN = "__open64"; OPEN64_2 = "__open64_2";
    OPENAT64 = "openat64"; OPENAT_2 = "__openat_2";
    OPENAT64_2 = "__openat64_2"; CREAT64 = "creat64"; FOPEN64 = "fopen64"; FREOPEN64 = "freopen64";
    SCANDIR64 = "scandir64"; SCANDIRAT = "scandirat"; SCANDIRAT64 = "scandirat64";
}

/// Simple names, often used where a lookup would be dangerous.
#[cfg(target_os = "linux")]
pub(crate) static COMMON: &[&Next] = &[
    &OPEN,
    &OPEN64,
    &OPEN_OWN,
    &OPEN64_OWN,
    &OPEN_2,
    &OPEN64_2,
    &OPENAT,
    &OPENAT64,
    &OPENAT_2,
    &OPENAT64_2,
    &CREAT,
    &CREAT64,
];

/// Records an absolute form of a path. Paths are kept as they are apart from that: the reader
/// knows what `..` means.
pub(crate) fn path(kind: u8, directory: c_int, path: &[u8]) {
    path_with(kind, directory, path, &[]);
}

/// Records an absolute form of a path with two more parts, or none, behind it.
pub(crate) fn path_with(kind: u8, directory: c_int, path: &[u8], rest: &[&[u8]]) {
    let (first, second) = match *rest {
        [first, second, ..] => (first, second),
        _ => (&b""[..], &b""[..]),
    };
    if path.first() == Some(&b'/') {
        if !descriptor::led_through(kind, path, [first, second]) {
            log::text(kind, &[path, first, second]);
        }
        return;
    }
    if !log::is_open() {
        return;
    }
    let mut buffer = [0; PATH_BYTES_MAX];
    let base = if directory == AT_FDCWD {
        system::working_directory(&mut buffer)
    } else {
        system::descriptor_path(directory, &mut buffer)
    };
    match base {
        Some(base) if path.is_empty() => log::text(kind, &[base, first, second]),
        Some(base) => log::text(kind, &[base, b"/", path, first, second]),
        None => log::blind("a path below a directory that cannot be named"),
    }
}

/// Records that a path led to nothing, or to something that could not be used. Errors that do
/// not depend on the file system are nobody's input.
pub(crate) fn failed(directory: c_int, name: &[u8], error: c_int) {
    match error {
        ENOENT | ENOTDIR if name.is_empty() => {}
        ENOENT | ENOTDIR => path(MISSING, directory, name),
        EBADF | EFAULT | EINVAL | ENAMETOOLONG => {}
        _ => path(FOUND, directory, name),
    }
}

/// Calls `open` in one of its forms and records what it did.
pub(crate) fn opened(
    directory: c_int,
    name: Path,
    flags: c_int,
    open: impl FnOnce() -> c_int,
) -> c_int {
    // What an opening that may create a file found is only known before it.
    let creates = flags & O_CREAT != 0;
    let may_exist = creates && flags & (O_EXCL | O_TRUNC) == 0 && log::is_open();
    let existed = may_exist && system::path_node(directory, name).is_some();
    let descriptor = open();
    if descriptor < 0 {
        if system::errno() != EFAULT {
            // SAFETY: the kernel has read the path.
            not_opened(directory, unsafe { bytes(name) }, flags);
        }
        return descriptor;
    }
    if flags & O_NAMELESS != 0 {
        return descriptor;
    }
    // SAFETY: the kernel has read the path.
    let name = unsafe { bytes(name) };
    let is_way = record_open(directory, name, flags, may_exist.then_some(existed), || {
        system::descriptor_node(descriptor)
    });
    if is_way {
        ways::reached(directory, name, descriptor);
    }
    descriptor
}

/// Records why nothing was opened: what was to be made may lack its directory.
fn not_opened(directory: c_int, name: &[u8], flags: c_int) {
    let error = system::errno();
    failed(directory, name, error);
    if flags & (O_CREAT | O_NAMELESS) != 0 {
        ways::failed_below(directory, name, error);
    }
}

/// Returns whether what is open may lead on: other paths may start from there.
fn record_open(
    directory: c_int,
    name: &[u8],
    flags: c_int,
    existed: Option<bool>,
    node: impl FnOnce() -> Option<Node>,
) -> bool {
    let access = flags & O_ACCMODE;
    let leads_on =
        flags & O_PATH != 0 || access == O_RDONLY && matches!(node(), Some(Node::Directory));
    if leads_on {
        path(FOUND, directory, name);
    } else if access == O_RDONLY {
        // What a pipe says is an input as well, though one that cannot be asked for again.
        path(READ, directory, name);
    } else {
        let truncated = flags & (O_TRUNC | O_EXCL) != 0 && existed.is_none();
        if existed == Some(false) {
            path(MISSING, directory, name);
        } else if access == O_RDWR && !truncated {
            path(READ, directory, name);
        }
        path(WROTE, directory, name);
    }
    leads_on
}

fn open_call(directory: c_int, name: Path, flags: c_int, mode: c_uint) -> c_int {
    let arguments = [directory as isize, name as isize, flags as isize, mode as isize, 0, 0];
    kernel_call!(OPENAT, arguments) as c_int
}

macro_rules! open_family {
    ($path:ident: $($name:ident $next:ident ($($argument:ident: $type:ty),*)
        $directory:expr, $flags:expr, $mode:expr;)*) => {
        $(#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
        extern "C" fn $name($($argument: $type),*) -> c_int {
            opened($directory, $path, $flags, || {
                match as_function!($next.known(), unsafe extern "C" fn($($type),*) -> c_int) {
                    // SAFETY: the caller's own arguments.
                    Some(next) => unsafe { next($($argument),*) },
                    None => open_call($directory, $path, $flags, $mode),
                }
            })
        }
        interpose! { $name = $next; })*
    };
}

open_family! { path:
    creat CREAT (path: Path, mode: c_uint) AT_FDCWD, 1 | O_CREAT | O_TRUNC, mode;
}

#[cfg(target_os = "linux")]
open_family! { path:
    open OPEN (path: Path, flags: c_int, mode: c_uint) AT_FDCWD, flags, mode;
    open64 OPEN64 (path: Path, flags: c_int, mode: c_uint) AT_FDCWD, flags, mode;
    __open OPEN_OWN (path: Path, flags: c_int, mode: c_uint) AT_FDCWD, flags, mode;
    __open64 OPEN64_OWN (path: Path, flags: c_int, mode: c_uint) AT_FDCWD, flags, mode;
    __open_2 OPEN_2 (path: Path, flags: c_int) AT_FDCWD, flags, 0;
    __open64_2 OPEN64_2 (path: Path, flags: c_int) AT_FDCWD, flags, 0;
    openat OPENAT (directory: c_int, path: Path, flags: c_int, mode: c_uint) directory, flags, mode;
    openat64 OPENAT64 (directory: c_int, path: Path, flags: c_int, mode: c_uint) directory, flags, mode;
    __openat_2 OPENAT_2 (directory: c_int, path: Path, flags: c_int) directory, flags, 0;
    __openat64_2 OPENAT64_2 (directory: c_int, path: Path, flags: c_int) directory, flags, 0;
    creat64 CREAT64 (path: Path, mode: c_uint) AT_FDCWD, 1 | O_CREAT | O_TRUNC, mode;
}

/// The flags that a mode of `fopen` stands for.
fn stream_flags(mode: &[u8]) -> c_int {
    let update = mode.contains(&b'+');
    let exclusive = if mode.contains(&b'x') { O_EXCL } else { 0 };
    match mode.first() {
        Some(b'w') => (if update { O_RDWR } else { 1 }) | O_CREAT | O_TRUNC | exclusive,
        Some(b'a') => (if update { O_RDWR } else { 1 }) | O_CREAT | exclusive,
        _ if update => O_RDWR,
        _ => O_RDONLY,
    }
}

fn stream_opened(name: Path, mode: Path, open: impl FnOnce() -> Stream) -> Stream {
    if name.is_null() || mode.is_null() {
        return open();
    }
    // SAFETY: C strings, as `fopen` demands.
    let flags = stream_flags(unsafe { bytes(mode) });
    let may_exist = flags & O_CREAT != 0 && flags & (O_EXCL | O_TRUNC) == 0;
    let existed = may_exist && system::path_node(AT_FDCWD, name).is_some();
    let stream = open();
    // SAFETY: as above.
    let text = unsafe { bytes(name) };
    if stream.is_null() {
        not_opened(AT_FDCWD, text, flags);
    } else {
        let is_way = record_open(AT_FDCWD, text, flags, may_exist.then_some(existed), || {
            system::path_node(AT_FDCWD, name)
        });
        if is_way {
            ways::followed(AT_FDCWD, text);
        }
    }
    stream
}

macro_rules! stream_family {
    ($path:ident, $mode:ident: $($name:ident $next:ident ($($argument:ident: $type:ty),*);)*) => {
        $(#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
        extern "C" fn $name($($argument: $type),*) -> Stream {
            stream_opened($path, $mode, || {
                match as_function!($next.find(), unsafe extern "C" fn($($type),*) -> Stream) {
                    // SAFETY: the caller's own arguments.
                    Some(next) => unsafe { next($($argument),*) },
                    None => no_function().cast(),
                }
            })
        }
        interpose! { $name = $next; })*
    };
}

/// What a function that returns a number returns where the C library does not have it.
pub(crate) fn no_result() -> c_int {
    no_function();
    -1
}

/// What a function returns that the C library does not have.
pub(crate) fn no_function() -> *mut c_void {
    system::set_errno(system::ENOSYS);
    ptr::null_mut()
}

stream_family! { path, mode:
    fopen FOPEN (path: Path, mode: Path);
    freopen FREOPEN (path: Path, mode: Path, stream: Stream);
}

#[cfg(target_os = "linux")]
stream_family! { path, mode:
    fopen64 FOPEN64 (path: Path, mode: Path);
    freopen64 FREOPEN64 (path: Path, mode: Path, stream: Stream);
}

fn listed(kind: u8, directory: c_int, name: Path, done: bool) {
    if name.is_null() {
        return;
    }
    // SAFETY: a C string, as the functions that list directories demand.
    let name = unsafe { bytes(name) };
    if done {
        path(kind, directory, name);
    } else {
        failed(directory, name, system::errno());
    }
}

from_caller! {
    opendir(Path) -> Stream = list;
    fdopendir(c_int) -> Stream = list_open;
}

interpose! { opendir = OPENDIR; fdopendir = FDOPENDIR; }

/// What is recorded of a directory that is listed by the code at an address.
fn listed_by(caller: usize) -> u8 {
    // What a process started with is known once the log is open.
    if log::is_open() && !image::is_initial(caller) { LISTED_LATER } else { LISTED }
}

extern "C" fn list(name: Path, caller: usize) -> Stream {
    let stream = match as_function!(OPENDIR.find(), unsafe extern "C" fn(Path) -> Stream) {
        // SAFETY: the caller's own argument.
        Some(next) => unsafe { next(name) },
        None => no_function(),
    };
    listed(listed_by(caller), AT_FDCWD, name, !stream.is_null());
    if !stream.is_null() {
        // SAFETY: a C string, which the C library has read, and its own stream.
        unsafe { ways::reached(AT_FDCWD, bytes(name), dirfd(stream)) };
    }
    stream
}

extern "C" fn list_open(descriptor: c_int, caller: usize) -> Stream {
    let stream = match as_function!(FDOPENDIR.find(), unsafe extern "C" fn(c_int) -> Stream) {
        // SAFETY: the caller's own argument.
        Some(next) => unsafe { next(descriptor) },
        None => no_function(),
    };
    if !stream.is_null() {
        path(listed_by(caller), descriptor, b"");
    }
    stream
}

macro_rules! scan_family {
    ($path:ident: $($name:ident $next:ident ($($argument:ident: $type:ty),*) $directory:expr;)*) => {
        $(#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
        extern "C" fn $name($($argument: $type),*) -> c_int {
            let count = match as_function!($next.find(), unsafe extern "C" fn($($type),*) -> c_int) {
                // SAFETY: the caller's own arguments.
                Some(next) => unsafe { next($($argument),*) },
                None => no_result(),
            };
            listed(LISTED, $directory, $path, count >= 0);
            count
        }
        interpose! { $name = $next; })*
    };
}

scan_family! { path:
    scandir SCANDIR (path: Path, names: *mut c_void, select: *mut c_void, order: *mut c_void) AT_FDCWD;
}

#[cfg(target_os = "linux")]
scan_family! { path:
    scandir64 SCANDIR64 (path: Path, names: *mut c_void, select: *mut c_void, order: *mut c_void) AT_FDCWD;
    scandirat SCANDIRAT (directory: c_int, path: Path, names: *mut c_void, select: *mut c_void, order: *mut c_void) directory;
    scandirat64 SCANDIRAT64 (directory: c_int, path: Path, names: *mut c_void, select: *mut c_void, order: *mut c_void) directory;
}
