//! Asking whether something is there and where it leads, without reading it.

use core::ffi::{c_char, c_int, c_void};
#[cfg(target_os = "linux")]
use core::ffi::{c_long, c_uint};

use crate::files::{Path, failed, no_function, path};
use crate::layout::{FOUND, LINK_READ};
#[cfg(target_os = "linux")]
use crate::next::Next;
use crate::next::{as_function, interpose, kernel_call, next};
use crate::system::{self, AT_FDCWD, AT_SYMLINK_NOFOLLOW, EFAULT, EINVAL, bytes};
use crate::ways;

type Buffer = *mut c_void;

next! {
    STAT = "stat"; LSTAT = "lstat"; FSTATAT = "fstatat"; ACCESS = "access"; FACCESSAT = "faccessat";
    READLINK = "readlink"; READLINKAT = "readlinkat"; REALPATH = "realpath";
}

#[cfg(target_os = "linux")]
next! {
    STAT64 = "stat64"; LSTAT64 = "lstat64"; FSTATAT64 = "fstatat64"; STATX = "statx";
    XSTAT = "__xstat"; XSTAT64 = "__xstat64"; LXSTAT = "__lxstat"; LXSTAT64 = "__lxstat64";
    FXSTATAT = "__fxstatat"; FXSTATAT64 = "__fxstatat64"; EACCESS = "eaccess";
    EUIDACCESS = "euidaccess"; READLINK_CHK = "__readlink_chk"; READLINKAT_CHK = "__readlinkat_chk";
    REALPATH_CHK = "__realpath_chk"; CANONICALIZE = "canonicalize_file_name"; STATFS = "statfs";
    STATFS64 = "statfs64"; STATVFS = "statvfs"; STATVFS64 = "statvfs64"; PATHCONF = "pathconf";
    UTIME = "utime"; UTIMES = "utimes"; LUTIMES = "lutimes"; FUTIMESAT = "futimesat";
    UTIMENSAT = "utimensat"; CHOWN = "chown"; LCHOWN = "lchown"; FCHOWNAT = "fchownat";
    GETXATTR = "getxattr"; LGETXATTR = "lgetxattr"; LISTXATTR = "listxattr";
    LLISTXATTR = "llistxattr"; INOTIFY_ADD_WATCH = "inotify_add_watch";
    NAME_TO_HANDLE_AT = "name_to_handle_at";
}

/// Simple names, often used where a lookup would be dangerous.
#[cfg(target_os = "linux")]
pub(crate) static COMMON: &[&Next] = &[
    &STAT,
    &STAT64,
    &LSTAT,
    &LSTAT64,
    &FSTATAT,
    &FSTATAT64,
    &STATX,
    &ACCESS,
    &FACCESSAT,
    &READLINK,
    &READLINKAT,
    &CHDIR,
];

pub(crate) fn probed(directory: c_int, name: Path, result: c_int) -> c_int {
    if result == 0 {
        if !name.is_null() {
            // SAFETY: the kernel has read the path.
            let name = unsafe { bytes(name) };
            // Without a name it is an open file that was asked for.
            if !name.is_empty() {
                path(FOUND, directory, name);
            }
        }
    } else {
        let error = system::errno();
        if error != EFAULT && !name.is_null() {
            // SAFETY: the kernel has read the path.
            failed(directory, unsafe { bytes(name) }, error);
        }
    }
    result
}

/// Probes whose system call takes the listed arguments where the name is not known yet.
macro_rules! probe_family {
    ($path:ident: $($name:ident $next:ident ($($argument:ident: $type:ty),*)
        $directory:expr, $call:ident [$($raw:expr),*];)*) => {
        $(#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
        pub(crate) extern "C" fn $name($($argument: $type),*) -> c_int {
            let result = match as_function!($next.known(), unsafe extern "C" fn($($type),*) -> c_int) {
                // SAFETY: the caller's own arguments.
                Some(next) => unsafe { next($($argument),*) },
                None => kernel_call!($call, [$($raw as isize),*]) as c_int,
            };
            probed($directory, $path, result)
        }
        interpose! { $name = $next; })*
    };
}

probe_family! { path:
    stat STAT (path: Path, to: Buffer) AT_FDCWD, FSTATAT [AT_FDCWD, path, to, 0, 0, 0];
    lstat LSTAT (path: Path, to: Buffer) AT_FDCWD,
        FSTATAT [AT_FDCWD, path, to, AT_SYMLINK_NOFOLLOW, 0, 0];
    fstatat FSTATAT (at: c_int, path: Path, to: Buffer, flags: c_int) at,
        FSTATAT [at, path, to, flags, 0, 0];
    access ACCESS (path: Path, mode: c_int) AT_FDCWD, FACCESSAT [AT_FDCWD, path, mode, 0, 0, 0];
    faccessat FACCESSAT (at: c_int, path: Path, mode: c_int, flags: c_int) at,
        FACCESSAT2 [at, path, mode, flags, 0, 0];
}

#[cfg(target_os = "linux")]
probe_family! { path:
    stat64 STAT64 (path: Path, to: Buffer) AT_FDCWD, FSTATAT [AT_FDCWD, path, to, 0, 0, 0];
    lstat64 LSTAT64 (path: Path, to: Buffer) AT_FDCWD,
        FSTATAT [AT_FDCWD, path, to, AT_SYMLINK_NOFOLLOW, 0, 0];
    fstatat64 FSTATAT64 (at: c_int, path: Path, to: Buffer, flags: c_int) at,
        FSTATAT [at, path, to, flags, 0, 0];
    statx STATX (at: c_int, path: Path, flags: c_int, mask: c_uint, to: Buffer) at,
        STATX [at, path, flags, mask, to, 0];
}

/// Probes that only older C libraries have, and others that are rare, some of which are probes where they
/// fail: looked up when called.
#[cfg(target_os = "linux")]
macro_rules! rare_probe_family {
    ($path:ident: $($name:ident $next:ident ($($argument:ident: $type:ty),*) -> $result:ty, $directory:expr;)*) => {
        $(#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
        extern "C" fn $name($($argument: $type),*) -> $result {
            let result = match as_function!($next.find(), unsafe extern "C" fn($($type),*) -> $result) {
                // SAFETY: the caller's own arguments.
                Some(next) => unsafe { next($($argument),*) },
                None => crate::files::no_result() as $result,
            };
            probed($directory, $path, if result < 0 { -1 } else { 0 });
            result
        }
        interpose! { $name = $next; })*
    };
}

#[cfg(target_os = "linux")]
rare_probe_family! { path:
    __xstat XSTAT (version: c_int, path: Path, to: Buffer) -> c_int, AT_FDCWD;
    __xstat64 XSTAT64 (version: c_int, path: Path, to: Buffer) -> c_int, AT_FDCWD;
    __lxstat LXSTAT (version: c_int, path: Path, to: Buffer) -> c_int, AT_FDCWD;
    __lxstat64 LXSTAT64 (version: c_int, path: Path, to: Buffer) -> c_int, AT_FDCWD;
    __fxstatat FXSTATAT (version: c_int, at: c_int, path: Path, to: Buffer, flags: c_int) -> c_int, at;
    __fxstatat64 FXSTATAT64 (version: c_int, at: c_int, path: Path, to: Buffer, flags: c_int) -> c_int, at;
    eaccess EACCESS (path: Path, mode: c_int) -> c_int, AT_FDCWD;
    euidaccess EUIDACCESS (path: Path, mode: c_int) -> c_int, AT_FDCWD;
    statfs STATFS (path: Path, to: Buffer) -> c_int, AT_FDCWD;
    statfs64 STATFS64 (path: Path, to: Buffer) -> c_int, AT_FDCWD;
    statvfs STATVFS (path: Path, to: Buffer) -> c_int, AT_FDCWD;
    statvfs64 STATVFS64 (path: Path, to: Buffer) -> c_int, AT_FDCWD;
    pathconf PATHCONF (path: Path, what: c_int) -> c_long, AT_FDCWD;
    utime UTIME (path: Path, times: Buffer) -> c_int, AT_FDCWD;
    utimes UTIMES (path: Path, times: Buffer) -> c_int, AT_FDCWD;
    lutimes LUTIMES (path: Path, times: Buffer) -> c_int, AT_FDCWD;
    futimesat FUTIMESAT (at: c_int, path: Path, times: Buffer) -> c_int, at;
    utimensat UTIMENSAT (at: c_int, path: Path, times: Buffer, flags: c_int) -> c_int, at;
    chown CHOWN (path: Path, user: c_uint, group: c_uint) -> c_int, AT_FDCWD;
    lchown LCHOWN (path: Path, user: c_uint, group: c_uint) -> c_int, AT_FDCWD;
    fchownat FCHOWNAT (at: c_int, path: Path, user: c_uint, group: c_uint, flags: c_int) -> c_int, at;
    getxattr GETXATTR (path: Path, name: Path, to: Buffer, size: usize) -> isize, AT_FDCWD;
    lgetxattr LGETXATTR (path: Path, name: Path, to: Buffer, size: usize) -> isize, AT_FDCWD;
    listxattr LISTXATTR (path: Path, to: Buffer, size: usize) -> isize, AT_FDCWD;
    llistxattr LLISTXATTR (path: Path, to: Buffer, size: usize) -> isize, AT_FDCWD;
    inotify_add_watch INOTIFY_ADD_WATCH (descriptor: c_int, path: Path, events: c_uint) -> c_int, AT_FDCWD;
    name_to_handle_at NAME_TO_HANDLE_AT (at: c_int, path: Path, to: Buffer, mount: Buffer, flags: c_int)
        -> c_int, at;
}

pub(crate) fn link_read(directory: c_int, name: Path, length: isize) -> isize {
    if length >= 0 {
        // SAFETY: the kernel has read the path. Without a name it is the link that is open.
        path(LINK_READ, directory, unsafe { bytes(name) });
    } else {
        match system::errno() {
            EFAULT => {}
            // SAFETY: as above. It is there, and is no link.
            EINVAL => path(FOUND, directory, unsafe { bytes(name) }),
            // SAFETY: as above.
            error => failed(directory, unsafe { bytes(name) }, error),
        }
    }
    length
}

macro_rules! link_family {
    ($path:ident, $to:ident, $size:ident: $($name:ident $next:ident ($($argument:ident: $type:ty),*) $directory:expr;)*) => {
        $(#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
        extern "C" fn $name($($argument: $type),*) -> isize {
            let length = match as_function!($next.known(), unsafe extern "C" fn($($type),*) -> isize) {
                // SAFETY: the caller's own arguments.
                Some(next) => unsafe { next($($argument),*) },
                None => {
                    let at = $directory as isize;
                    let arguments = [at, $path as isize, $to as isize, $size as isize, 0, 0];
                    kernel_call!(READLINKAT, arguments)
                }
            };
            link_read($directory, $path, length)
        }
        interpose! { $name = $next; })*
    };
}

link_family! { path, to, size:
    readlink READLINK (path: Path, to: *mut c_char, size: usize) AT_FDCWD;
    readlinkat READLINKAT (at: c_int, path: Path, to: *mut c_char, size: usize) at;
}

#[cfg(target_os = "linux")]
link_family! { path, to, size:
    __readlink_chk READLINK_CHK (path: Path, to: *mut c_char, size: usize, object: usize) AT_FDCWD;
    __readlinkat_chk READLINKAT_CHK (at: c_int, path: Path, to: *mut c_char, size: usize, object: usize) at;
}

/// Records each link that resolving `name` went through. `resolved` is what came out.
fn resolved(name: Path, resolved: *const c_char) {
    if name.is_null() {
        return;
    }
    // SAFETY: a C string, as the functions that resolve paths demand.
    let name = unsafe { bytes(name) };
    if resolved.is_null() {
        failed(AT_FDCWD, name, system::errno());
        return;
    }
    path(FOUND, AT_FDCWD, name);
    // SAFETY: the C library's own result.
    if name != unsafe { bytes(resolved) } {
        ways::followed(AT_FDCWD, name);
    }
}

next! { CHDIR = "chdir"; }

#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
extern "C" fn chdir(name: Path) -> c_int {
    ways::entering(AT_FDCWD, name);
    match as_function!(CHDIR.known(), unsafe extern "C" fn(Path) -> c_int) {
        // SAFETY: the caller's own argument.
        Some(next) => unsafe { next(name) },
        None => kernel_call!(CHDIR, [name as isize, 0, 0, 0, 0, 0]) as c_int,
    }
}

interpose! { chdir = CHDIR; }

macro_rules! resolve_family {
    ($path:ident: $($name:ident $next:ident ($($argument:ident: $type:ty),*);)*) => {
        $(#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
        extern "C" fn $name($($argument: $type),*) -> *mut c_char {
            let result = match as_function!($next.find(), unsafe extern "C" fn($($type),*) -> *mut c_char) {
                // SAFETY: the caller's own arguments.
                Some(next) => unsafe { next($($argument),*) },
                None => no_function().cast(),
            };
            resolved($path, result);
            result
        }
        interpose! { $name = $next; })*
    };
}

resolve_family! { path:
    realpath REALPATH (path: Path, to: *mut c_char);
}

#[cfg(target_vendor = "apple")]
next! { REALPATH_EXTENDED = "realpath$DARWIN_EXTSN"; }

#[cfg(target_vendor = "apple")]
resolve_family! { path:
    realpath_extended REALPATH_EXTENDED (path: Path, to: *mut c_char);
}

#[cfg(target_os = "linux")]
resolve_family! { path:
    __realpath_chk REALPATH_CHK (path: Path, to: *mut c_char, size: usize);
    canonicalize_file_name CANONICALIZE (path: Path);
}
