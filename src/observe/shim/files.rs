//! Opening, listing and changing files.

use core::ffi::{c_char, c_int, c_uint, c_void};
use core::ptr;

use crate::layout::{FOUND, LINKED, LISTED, MISSING, READ, REMOVED, WROTE};
use crate::{descriptor, log};
use crate::next::{Next, as_function, next};
use crate::system::{
    self, AT_FDCWD, EBADF, EFAULT, EINVAL, ENAMETOOLONG, ENOENT, ENOTDIR, Node, PATH_BYTES_MAX,
    bytes, number,
};

pub(crate) type Path = *const c_char;
type Stream = *mut c_void;

const O_ACCMODE: c_int = 3;
const O_RDONLY: c_int = 0;
const O_RDWR: c_int = 2;
const O_CREAT: c_int = 0o100;
const S_IFIFO: c_uint = 0o10000;
const O_EXCL: c_int = 0o200;
const O_TRUNC: c_int = 0o1000;
const O_PATH: c_int = 0o10_000_000;
/// `O_TMPFILE` without the flag for directories, which is part of it.
const O_TMPFILE_BIT: c_int = 0o20_000_000;

next! {
    OPEN = c"open"; OPEN64 = c"open64"; OPEN_2 = c"__open_2"; OPEN64_2 = c"__open64_2";
    OPENAT = c"openat"; OPENAT64 = c"openat64"; OPENAT_2 = c"__openat_2";
    OPENAT64_2 = c"__openat64_2"; CREAT = c"creat"; CREAT64 = c"creat64";
    FOPEN = c"fopen"; FOPEN64 = c"fopen64"; FREOPEN = c"freopen"; FREOPEN64 = c"freopen64";
    OPENDIR = c"opendir"; FDOPENDIR = c"fdopendir"; SCANDIR = c"scandir";
    SCANDIR64 = c"scandir64"; SCANDIRAT = c"scandirat"; SCANDIRAT64 = c"scandirat64";
    RENAME = c"rename"; RENAMEAT = c"renameat"; RENAMEAT2 = c"renameat2"; LINK = c"link";
    LINKAT = c"linkat"; SYMLINK = c"symlink"; SYMLINKAT = c"symlinkat"; UNLINK = c"unlink";
    UNLINKAT = c"unlinkat"; REMOVE = c"remove"; MKDIR = c"mkdir"; MKDIRAT = c"mkdirat";
    MKFIFO = c"mkfifo"; MKFIFOAT = c"mkfifoat"; MKNOD = c"mknod"; MKNODAT = c"mknodat";
    CHMOD = c"chmod"; FCHMODAT = c"fchmodat"; RMDIR = c"rmdir"; TRUNCATE = c"truncate"; TRUNCATE64 = c"truncate64";
    MKSTEMP = c"mkstemp"; MKSTEMP64 = c"mkstemp64"; MKOSTEMP = c"mkostemp";
    MKOSTEMP64 = c"mkostemp64"; MKSTEMPS = c"mkstemps"; MKSTEMPS64 = c"mkstemps64";
    MKOSTEMPS = c"mkostemps"; MKOSTEMPS64 = c"mkostemps64"; MKDTEMP = c"mkdtemp";
}

/// Simple names, often used where a lookup would be dangerous.
pub(crate) static COMMON: &[&Next] = &[
    &OPEN,
    &OPEN64,
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
fn path_with(kind: u8, directory: c_int, path: &[u8], rest: &[&[u8]]) {
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
        let error = system::errno();
        if error != EFAULT {
            // SAFETY: the kernel has read the path.
            failed(directory, unsafe { bytes(name) }, error);
        }
        return descriptor;
    }
    if flags & O_TMPFILE_BIT != 0 {
        return descriptor;
    }
    // SAFETY: the kernel has read the path.
    let name = unsafe { bytes(name) };
    record_open(directory, name, flags, may_exist.then_some(existed), || {
        system::descriptor_node(descriptor)
    });
    descriptor
}

fn record_open(
    directory: c_int,
    name: &[u8],
    flags: c_int,
    existed: Option<bool>,
    node: impl FnOnce() -> Option<Node>,
) {
    let access = flags & O_ACCMODE;
    if flags & O_PATH != 0 {
        path(FOUND, directory, name);
    } else if access == O_RDONLY {
        match node() {
            Some(Node::Directory) => path(FOUND, directory, name),
            // What a pipe says is an input as well, though one that cannot be asked for again.
            _ => path(READ, directory, name),
        }
    } else {
        let truncated = flags & (O_TRUNC | O_EXCL) != 0 && existed.is_none();
        if existed == Some(false) {
            path(MISSING, directory, name);
        } else if access == O_RDWR && !truncated {
            path(READ, directory, name);
        }
        path(WROTE, directory, name);
    }
}

fn open_call(directory: c_int, name: Path, flags: c_int, mode: c_uint) -> c_int {
    let arguments = [directory as isize, name as isize, flags as isize, mode as isize, 0, 0];
    system::returned(system::call(number::OPENAT, arguments)) as c_int
}

macro_rules! open_family {
    ($path:ident: $($name:ident $next:ident ($($argument:ident: $type:ty),*)
        $directory:expr, $flags:expr, $mode:expr;)*) => {
        $(#[unsafe(no_mangle)]
        extern "C" fn $name($($argument: $type),*) -> c_int {
            opened($directory, $path, $flags, || {
                match as_function!($next.known(), unsafe extern "C" fn($($type),*) -> c_int) {
                    // SAFETY: the caller's own arguments.
                    Some(next) => unsafe { next($($argument),*) },
                    None => open_call($directory, $path, $flags, $mode),
                }
            })
        })*
    };
}

open_family! { path:
    open OPEN (path: Path, flags: c_int, mode: c_uint) AT_FDCWD, flags, mode;
    open64 OPEN64 (path: Path, flags: c_int, mode: c_uint) AT_FDCWD, flags, mode;
    __open_2 OPEN_2 (path: Path, flags: c_int) AT_FDCWD, flags, 0;
    __open64_2 OPEN64_2 (path: Path, flags: c_int) AT_FDCWD, flags, 0;
    openat OPENAT (directory: c_int, path: Path, flags: c_int, mode: c_uint) directory, flags, mode;
    openat64 OPENAT64 (directory: c_int, path: Path, flags: c_int, mode: c_uint) directory, flags, mode;
    __openat_2 OPENAT_2 (directory: c_int, path: Path, flags: c_int) directory, flags, 0;
    __openat64_2 OPENAT64_2 (directory: c_int, path: Path, flags: c_int) directory, flags, 0;
    creat CREAT (path: Path, mode: c_uint) AT_FDCWD, 1 | O_CREAT | O_TRUNC, mode;
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
        failed(AT_FDCWD, text, system::errno());
    } else {
        record_open(AT_FDCWD, text, flags, may_exist.then_some(existed), || {
            system::path_node(AT_FDCWD, name)
        });
    }
    stream
}

macro_rules! stream_family {
    ($path:ident, $mode:ident: $($name:ident $next:ident ($($argument:ident: $type:ty),*);)*) => {
        $(#[unsafe(no_mangle)]
        extern "C" fn $name($($argument: $type),*) -> Stream {
            stream_opened($path, $mode, || {
                match as_function!($next.find(), unsafe extern "C" fn($($type),*) -> Stream) {
                    // SAFETY: the caller's own arguments.
                    Some(next) => unsafe { next($($argument),*) },
                    None => no_function().cast(),
                }
            })
        })*
    };
}

/// What a function returns that the C library does not have.
pub(crate) fn no_function() -> *mut c_void {
    system::set_errno(system::ENOSYS);
    ptr::null_mut()
}

stream_family! { path, mode:
    fopen FOPEN (path: Path, mode: Path);
    fopen64 FOPEN64 (path: Path, mode: Path);
    freopen FREOPEN (path: Path, mode: Path, stream: Stream);
    freopen64 FREOPEN64 (path: Path, mode: Path, stream: Stream);
}

fn listed(directory: c_int, name: Path, done: bool) {
    if name.is_null() {
        return;
    }
    // SAFETY: a C string, as the functions that list directories demand.
    let name = unsafe { bytes(name) };
    if done {
        path(LISTED, directory, name);
    } else {
        failed(directory, name, system::errno());
    }
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn opendir(name: Path) -> Stream {
    let stream = match as_function!(OPENDIR.find(), unsafe extern "C" fn(Path) -> Stream) {
        // SAFETY: the caller's own argument.
        Some(next) => unsafe { next(name) },
        None => no_function(),
    };
    listed(AT_FDCWD, name, !stream.is_null());
    stream
}

#[unsafe(no_mangle)]
extern "C" fn fdopendir(descriptor: c_int) -> Stream {
    let stream = match as_function!(FDOPENDIR.find(), unsafe extern "C" fn(c_int) -> Stream) {
        // SAFETY: the caller's own argument.
        Some(next) => unsafe { next(descriptor) },
        None => no_function(),
    };
    if !stream.is_null() {
        path(LISTED, descriptor, b"");
    }
    stream
}

/// Records that the entries of an open directory were read.
pub(crate) fn entries_read(descriptor: c_int, length: isize) -> isize {
    if length >= 0 {
        path(LISTED, descriptor, b"");
    }
    length
}

#[unsafe(no_mangle)]
extern "C" fn getdents64(descriptor: c_int, to: *mut c_void, size: usize) -> isize {
    let arguments = [descriptor as isize, to as isize, size as isize, 0, 0, 0];
    entries_read(descriptor, system::returned(system::call(number::GETDENTS64, arguments)))
}

macro_rules! scan_family {
    ($path:ident: $($name:ident $next:ident ($($argument:ident: $type:ty),*) $directory:expr;)*) => {
        $(#[unsafe(no_mangle)]
        extern "C" fn $name($($argument: $type),*) -> c_int {
            let count = match as_function!($next.find(), unsafe extern "C" fn($($type),*) -> c_int) {
                // SAFETY: the caller's own arguments.
                Some(next) => unsafe { next($($argument),*) },
                None => { no_function(); -1 }
            };
            listed($directory, $path, count >= 0);
            count
        })*
    };
}

scan_family! { path:
    scandir SCANDIR (path: Path, names: *mut c_void, select: *mut c_void, order: *mut c_void) AT_FDCWD;
    scandir64 SCANDIR64 (path: Path, names: *mut c_void, select: *mut c_void, order: *mut c_void) AT_FDCWD;
    scandirat SCANDIRAT (directory: c_int, path: Path, names: *mut c_void, select: *mut c_void, order: *mut c_void) directory;
    scandirat64 SCANDIRAT64 (directory: c_int, path: Path, names: *mut c_void, select: *mut c_void, order: *mut c_void) directory;
}

/// Records a change that was made, or what stood in its way. What is removed is recorded first:
/// where one name is moved to another, the new one is the last word.
fn changed(result: c_int, removed: Option<(c_int, Path)>, made: Option<(c_int, Path)>) -> c_int {
    let error = if result < 0 { system::errno() } else { 0 };
    if error == EFAULT {
        return result;
    }
    // SAFETY: the kernel has read the paths.
    let texts = unsafe {
        [
            removed.map(|(at, name)| (REMOVED, at, bytes(name))),
            made.map(|(at, name)| (WROTE, at, bytes(name))),
        ]
    };
    for (kind, at, name) in texts.into_iter().flatten() {
        if result >= 0 {
            path(kind, at, name);
        } else if kind == REMOVED || error == system::EEXIST {
            failed(at, name, error);
        }
    }
    result
}

macro_rules! change_family {
    ($($name:ident $next:ident ($($argument:ident: $type:ty),*)
        $call:ident [$($raw:expr),*] $removed:expr, $made:expr;)*) => {
        $(#[unsafe(no_mangle)]
        extern "C" fn $name($($argument: $type),*) -> c_int {
            let result = match as_function!($next.find(), unsafe extern "C" fn($($type),*) -> c_int) {
                // SAFETY: the caller's own arguments.
                Some(next) => unsafe { next($($argument),*) },
                None => system::returned(system::call(number::$call, [$($raw as isize),*])) as c_int,
            };
            changed(result, $removed, $made)
        })*
    };
}

const AT_REMOVEDIR: isize = 0x200;

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
    mkfifoat MKFIFOAT (at: c_int, path: Path, mode: c_uint) MKNODAT [at, path, mode | S_IFIFO, 0, 0, 0]
        None, Some((at, path));
    mknod MKNOD (path: Path, mode: c_uint, device: u64) MKNODAT [AT_FDCWD, path, mode, device, 0, 0]
        None, Some((AT_FDCWD, path));
    mknodat MKNODAT (at: c_int, path: Path, mode: c_uint, device: u64) MKNODAT [at, path, mode, device, 0, 0]
        None, Some((at, path));
    chmod CHMOD (path: Path, mode: c_uint) FCHMODAT [AT_FDCWD, path, mode, 0, 0, 0]
        None, Some((AT_FDCWD, path));
    fchmodat FCHMODAT (at: c_int, path: Path, mode: c_uint, flags: c_int)
        FCHMODAT [at, path, mode, 0, 0, 0]
        None, Some((at, path));
    truncate TRUNCATE (path: Path, length: i64) TRUNCATE [path, length, 0, 0, 0, 0]
        None, Some((AT_FDCWD, path));
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
        $(#[unsafe(no_mangle)]
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
                        system::returned(system::call(number::RENAMEAT2, arguments)) as c_int
                    }
                }
            })
        })*
    };
}

rename_family! {
    rename RENAME (from: Path, to: Path) (AT_FDCWD, from), (AT_FDCWD, to), 0;
    renameat RENAMEAT (from_at: c_int, from: Path, to_at: c_int, to: Path)
        (from_at, from), (to_at, to), 0;
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

#[unsafe(no_mangle)]
extern "C" fn symlink(target: Path, to: Path) -> c_int {
    let result = match as_function!(SYMLINK.find(), unsafe extern "C" fn(Path, Path) -> c_int) {
        // SAFETY: the caller's own arguments.
        Some(next) => unsafe { next(target, to) },
        None => symlink_call(target, AT_FDCWD, to),
    };
    symlinked(result, target, AT_FDCWD, to)
}

#[unsafe(no_mangle)]
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
    system::returned(system::call(number::SYMLINKAT, arguments)) as c_int
}

#[unsafe(no_mangle)]
extern "C" fn remove(path: Path) -> c_int {
    let result = match as_function!(REMOVE.find(), unsafe extern "C" fn(Path) -> c_int) {
        // SAFETY: the caller's own argument.
        Some(next) => unsafe { next(path) },
        None => {
            no_function();
            -1
        }
    };
    changed(result, Some((AT_FDCWD, path)), None)
}

/// A second name for a file: the new name has the content of the old one, so that is read.
fn linked(result: c_int, from: (c_int, Path), to: (c_int, Path)) -> c_int {
    if result >= 0 {
        // SAFETY: the kernel has read the path.
        let name = unsafe { bytes(from.1) };
        // Without a name it is a file that was made without one.
        if !name.is_empty() {
            path(READ, from.0, name);
        }
    }
    changed(result, None, Some(to))
}

#[unsafe(no_mangle)]
extern "C" fn link(from: Path, to: Path) -> c_int {
    let result = match as_function!(LINK.find(), unsafe extern "C" fn(Path, Path) -> c_int) {
        // SAFETY: the caller's own arguments.
        Some(next) => unsafe { next(from, to) },
        None => {
            let at = AT_FDCWD as isize;
            let arguments = [at, from as isize, at, to as isize, 0, 0];
            system::returned(system::call(number::LINKAT, arguments)) as c_int
        }
    };
    linked(result, (AT_FDCWD, from), (AT_FDCWD, to))
}

#[unsafe(no_mangle)]
extern "C" fn linkat(from_at: c_int, from: Path, to_at: c_int, to: Path, flags: c_int) -> c_int {
    type LinkAt = unsafe extern "C" fn(c_int, Path, c_int, Path, c_int) -> c_int;
    let result = match as_function!(LINKAT.find(), LinkAt) {
        // SAFETY: the caller's own arguments.
        Some(next) => unsafe { next(from_at, from, to_at, to, flags) },
        None => {
            let arguments =
                [from_at as isize, from as isize, to_at as isize, to as isize, flags as isize, 0];
            system::returned(system::call(number::LINKAT, arguments)) as c_int
        }
    };
    linked(result, (from_at, from), (to_at, to))
}

macro_rules! temporary_family {
    ($template:ident: $($name:ident $next:ident ($($argument:ident: $type:ty),*);)*) => {
        $(#[unsafe(no_mangle)]
        extern "C" fn $name($($argument: $type),*) -> c_int {
            let descriptor = match as_function!($next.find(), unsafe extern "C" fn($($type),*) -> c_int) {
                // SAFETY: the caller's own arguments.
                Some(next) => unsafe { next($($argument),*) },
                None => { no_function(); -1 }
            };
            if descriptor >= 0 {
                // SAFETY: the C library has written the name into the template.
                path(WROTE, AT_FDCWD, unsafe { bytes($template) });
            }
            descriptor
        })*
    };
}

temporary_family! { template:
    mkstemp MKSTEMP (template: *mut c_char);
    mkstemp64 MKSTEMP64 (template: *mut c_char);
    mkostemp MKOSTEMP (template: *mut c_char, flags: c_int);
    mkostemp64 MKOSTEMP64 (template: *mut c_char, flags: c_int);
    mkstemps MKSTEMPS (template: *mut c_char, suffix: c_int);
    mkstemps64 MKSTEMPS64 (template: *mut c_char, suffix: c_int);
    mkostemps MKOSTEMPS (template: *mut c_char, suffix: c_int, flags: c_int);
    mkostemps64 MKOSTEMPS64 (template: *mut c_char, suffix: c_int, flags: c_int);
}

#[unsafe(no_mangle)]
extern "C" fn mkdtemp(template: *mut c_char) -> *mut c_char {
    type MakeDirectory = unsafe extern "C" fn(*mut c_char) -> *mut c_char;
    let made = match as_function!(MKDTEMP.find(), MakeDirectory) {
        // SAFETY: the caller's own argument.
        Some(next) => unsafe { next(template) },
        None => no_function().cast(),
    };
    if !made.is_null() {
        // SAFETY: the C library has written the name into the template.
        path(WROTE, AT_FDCWD, unsafe { bytes(made) });
    }
    made
}
