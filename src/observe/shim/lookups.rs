//! Environment variables, connections, and what cannot be followed.

use core::ffi::{c_int, c_long, c_uint, c_void};

use crate::files::{Path, no_function, opened};
use crate::layout::{LOCAL_SOCKET, MACHINE, NETWORK, VARIABLE_READ};
use crate::next::{Next, as_function, next};
use crate::system::{self, bytes, number};
use crate::{exec, log, probes, surroundings};

next! {
    GETENV = c"getenv"; SECURE_GETENV = c"secure_getenv";
    CONNECT = c"connect"; SENDTO = c"sendto"; SENDMSG = c"sendmsg"; SENDMMSG = c"sendmmsg";
    GETADDRINFO = c"getaddrinfo"; GETHOSTBYNAME = c"gethostbyname";
    GETHOSTBYNAME2 = c"gethostbyname2";
    SYSCALL = c"syscall"; UNAME = c"uname";
    NFTW = c"nftw"; NFTW64 = c"nftw64"; FTW = c"ftw"; FTW64 = c"ftw64"; FTS_OPEN = c"fts_open";
    OPEN_BY_HANDLE_AT = c"open_by_handle_at"; SHM_OPEN = c"shm_open"; SHMGET = c"shmget";
    SETMNTENT = c"setmntent"; CATOPEN = c"catopen";
    FTS64_OPEN = c"fts64_open"; GLOB = c"glob"; GLOB64 = c"glob64"; WORDEXP = c"wordexp";
}

/// Names that must be known before they are called.
pub(crate) static COMMON: &[&Next] =
    &[&GETENV, &SECURE_GETENV, &CONNECT, &SENDTO, &SYSCALL, &UNAME];

type Lookup = unsafe extern "C" fn(Path) -> Path;

/// Looks a variable up for the code at `caller`.
fn look_up(next: &Next, name: Path, caller: usize) -> Path {
    // SAFETY: a C string, as the function demands.
    let text = unsafe { bytes(name) };
    // What a process started with is known once the log is open.
    if log::is_open() {
        let initial = crate::image::is_initial(caller);
        let by = if initial { log::executable() } else { b"" };
        log::text(VARIABLE_READ, &[text, b"\0", by]);
    }
    match as_function!(next.known(), Lookup) {
        // SAFETY: the caller's own argument.
        Some(next) => unsafe { next(name) },
        // SAFETY: the process's environment.
        None => unsafe { system::find_variable(system::environment(), text) },
    }
}

extern "C" fn get(name: Path, caller: usize) -> Path {
    look_up(&GETENV, name, caller)
}

extern "C" fn get_secure(name: Path, caller: usize) -> Path {
    look_up(&SECURE_GETENV, name, caller)
}

/// Definitions that pass on where they were called from.
macro_rules! variable_family {
    ($($name:ident $handler:ident;)*) => {
        $(#[unsafe(naked)]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(name: Path) -> Path {
            #[cfg(target_arch = "x86_64")]
            core::arch::naked_asm!("mov rsi, [rsp]", "jmp {handler}", handler = sym $handler);
            #[cfg(target_arch = "aarch64")]
            core::arch::naked_asm!("mov x1, x30", "b {handler}", handler = sym $handler);
        })*
    };
}

variable_family! {
    getenv get;
    secure_getenv get_secure;
    __secure_getenv get_secure;
}

/// Records where a socket address leads.
///
/// # Safety
/// `address` is null or can be read for `length` bytes.
unsafe fn addressed(address: *const c_void, length: usize) {
    const AF_UNIX: u16 = 1;
    const AF_INET: u16 = 2;
    const AF_INET6: u16 = 10;
    const AF_UNSPEC: u16 = 0;
    /// Kernel interfaces of this machine: routing tables and the like.
    const AF_NETLINK: u16 = 16;
    if address.is_null() || length < 2 {
        return;
    }
    // SAFETY: the caller says so.
    let (family, rest) = unsafe {
        (
            address.cast::<u16>().read_unaligned(),
            core::slice::from_raw_parts(address.cast::<u8>().add(2), length - 2),
        )
    };
    match family {
        AF_UNIX => {
            let abstract_name = rest.first() == Some(&0);
            let end =
                rest.iter().skip(1).position(|byte| *byte == 0).map_or(rest.len(), |at| at + 1);
            let name = if abstract_name { rest } else { rest.get(..end).unwrap_or(rest) };
            log::text(LOCAL_SOCKET, &[name]);
        }
        AF_INET | AF_INET6 => {
            // Port and address, as the kernel orders them.
            let end = if family == AF_INET { 6 } else { 22 };
            let kind: &[u8] = if family == AF_INET { b"4" } else { b"6" };
            log::text(NETWORK, &[kind, rest.get(..end).unwrap_or(rest)]);
        }
        AF_UNSPEC | AF_NETLINK => {}
        _ => log::text(NETWORK, &[b"?"]),
    }
}

#[unsafe(no_mangle)]
extern "C" fn connect(socket: c_int, address: *const c_void, length: c_uint) -> c_int {
    type Connect = unsafe extern "C" fn(c_int, *const c_void, c_uint) -> c_int;
    let result = match as_function!(CONNECT.known(), Connect) {
        // SAFETY: the caller's own arguments.
        Some(next) => unsafe { next(socket, address, length) },
        None => {
            let arguments = [socket as isize, address as isize, length as isize, 0, 0, 0];
            system::returned(system::call(number::CONNECT, arguments)) as c_int
        }
    };
    // Whether it was accepted is an input too.
    if result == 0 || system::errno() != system::EFAULT {
        // SAFETY: the kernel has read the address.
        unsafe { addressed(address, length as usize) };
    }
    result
}

#[unsafe(no_mangle)]
extern "C" fn sendto(
    socket: c_int,
    data: *const c_void,
    size: usize,
    flags: c_int,
    address: *const c_void,
    length: c_uint,
) -> isize {
    type SendTo =
        unsafe extern "C" fn(c_int, *const c_void, usize, c_int, *const c_void, c_uint) -> isize;
    let result = match as_function!(SENDTO.find(), SendTo) {
        // SAFETY: the caller's own arguments.
        Some(next) => unsafe { next(socket, data, size, flags, address, length) },
        None => no_function_number(),
    };
    if result >= 0 {
        // SAFETY: the kernel has read the address.
        unsafe { addressed(address, length as usize) };
    }
    result
}

fn no_function_number() -> isize {
    no_function();
    -1
}

/// The beginning of `struct msghdr`.
#[repr(C)]
struct Message {
    address: *const c_void,
    length: c_uint,
}

#[unsafe(no_mangle)]
extern "C" fn sendmsg(socket: c_int, message: *const Message, flags: c_int) -> isize {
    type Send = unsafe extern "C" fn(c_int, *const Message, c_int) -> isize;
    let result = match as_function!(SENDMSG.find(), Send) {
        // SAFETY: the caller's own arguments.
        Some(next) => unsafe { next(socket, message, flags) },
        None => no_function_number(),
    };
    if result >= 0 {
        // SAFETY: the kernel has read the message.
        unsafe { addressed((*message).address, (*message).length as usize) };
    }
    result
}

#[unsafe(no_mangle)]
extern "C" fn sendmmsg(
    socket: c_int,
    messages: *const Message,
    count: c_uint,
    flags: c_int,
) -> c_int {
    type Send = unsafe extern "C" fn(c_int, *const Message, c_uint, c_int) -> c_int;
    let result = match as_function!(SENDMMSG.find(), Send) {
        // SAFETY: the caller's own arguments.
        Some(next) => unsafe { next(socket, messages, count, flags) },
        None => no_function_number() as c_int,
    };
    if result > 0 {
        // SAFETY: the kernel has read the first message.
        unsafe { addressed((*messages).address, (*messages).length as usize) };
    }
    result
}

/// Records that the kernel was asked which one it is.
#[unsafe(no_mangle)]
extern "C" fn uname(to: *mut c_void) -> c_int {
    type Uname = unsafe extern "C" fn(*mut c_void) -> c_int;
    log::text(MACHINE, &[b"kernel"]);
    match as_function!(UNAME.known(), Uname) {
        // SAFETY: the caller's own argument.
        Some(next) => unsafe { next(to) },
        None => {
            system::returned(system::call(number::UNAME, [to as isize, 0, 0, 0, 0, 0])) as c_int
        }
    }
}

/// Functions whose inside cannot be seen: called, and recorded by name.
macro_rules! unseen_family {
    ($($name:ident $next:ident $kind:ident $what:literal ($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        $(#[unsafe(no_mangle)]
        extern "C" fn $name($($argument: $type),*) -> $result {
            log::text($kind, &[$what]);
            match as_function!($next.find(), unsafe extern "C" fn($($type),*) -> $result) {
                // SAFETY: the caller's own arguments.
                Some(next) => unsafe { next($($argument),*) },
                None => no_function_number() as $result,
            }
        })*
    };
}

use crate::layout::BLIND;

type Any = *mut c_void;

unseen_family! {
    getaddrinfo GETADDRINFO NETWORK b"name lookup"
        (node: Path, service: Path, hints: Any, result: Any) -> c_int;
    gethostbyname GETHOSTBYNAME NETWORK b"name lookup" (name: Path) -> Any;
    gethostbyname2 GETHOSTBYNAME2 NETWORK b"name lookup" (name: Path, family: c_int) -> Any;
    nftw NFTW BLIND b"a walk by nftw" (path: Path, each: Any, limit: c_int, flags: c_int) -> c_int;
    nftw64 NFTW64 BLIND b"a walk by nftw" (path: Path, each: Any, limit: c_int, flags: c_int) -> c_int;
    ftw FTW BLIND b"a walk by ftw" (path: Path, each: Any, limit: c_int) -> c_int;
    ftw64 FTW64 BLIND b"a walk by ftw" (path: Path, each: Any, limit: c_int) -> c_int;
    fts_open FTS_OPEN BLIND b"a walk by fts" (paths: Any, options: c_int, compare: Any) -> Any;
    fts64_open FTS64_OPEN BLIND b"a walk by fts" (paths: Any, options: c_int, compare: Any) -> Any;
    open_by_handle_at OPEN_BY_HANDLE_AT BLIND b"a file opened by its handle"
        (mount: c_int, handle: Any, flags: c_int) -> c_int;
    shm_open SHM_OPEN BLIND b"memory shared by name" (name: Path, flags: c_int, mode: c_uint) -> c_int;
    shmget SHMGET BLIND b"memory shared by number" (key: c_int, bytes: usize, flags: c_int) -> c_int;
    setmntent SETMNTENT BLIND b"a table of mounts" (path: Path, mode: Path) -> Any;
    catopen CATOPEN BLIND b"a catalogue of messages" (name: Path, flags: c_int) -> Any;
    wordexp WORDEXP BLIND b"an expansion by wordexp" (words: Path, to: Any, flags: c_int) -> c_int;
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
    let type_is_known = !system::kache_gnu_get_libc_version.is_null();
    let mut flags = flags;
    if flags & GLOB_ALTDIRFUNC == 0 {
        if type_is_known && !to.is_null() {
            // SAFETY: the GNU C library's structure; these fields count only with the flag.
            unsafe {
                (*to).close = closedir as *mut c_void;
                (*to).read = readdir as *mut c_void;
                (*to).open = crate::files::opendir as *mut c_void;
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
        surroundings::paths_changed();
    }
    flags as c_int
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
    match number {
        number::OPEN => {
            return opened(system::AT_FDCWD, a as Path, b as c_int, || next() as c_int) as c_long;
        }
        number::STAT | number::LSTAT => {
            let result = next();
            probes::probed_raw(system::AT_FDCWD, a as Path, 0, result as isize);
            return result;
        }
        number::GETDENTS => {
            return crate::files::entries_read(a as c_int, next() as isize) as c_long;
        }
        number::READLINK => {
            return probes::link_read(system::AT_FDCWD, a as Path, next() as isize) as c_long;
        }
        _ => {}
    }
    match number {
        number::OPENAT => opened(a as c_int, b as Path, c as c_int, || next() as c_int) as c_long,
        number::OPENAT2 => {
            let flags = flags_of_openat2(c as *const [u64; 3]);
            opened(a as c_int, b as Path, flags, || next() as c_int) as c_long
        }
        number::FSTATAT | number::FACCESSAT | number::FACCESSAT2 => {
            let result = next();
            let flags = if number == number::FACCESSAT { 0 } else { d as c_int };
            probes::probed_raw(a as c_int, b as Path, flags, result as isize);
            result
        }
        number::STATX => {
            let result = next();
            probes::probed_raw(a as c_int, b as Path, c as c_int, result as isize);
            result
        }
        number::READLINKAT => probes::link_read(a as c_int, b as Path, next() as isize) as c_long,
        number::UNAME => uname(a as *mut c_void) as c_long,
        number::CONNECT => connect(a as c_int, b as *const c_void, c as c_uint) as c_long,
        number::EXECVE => exec::execve(a as Path, b as exec::List, c as exec::List) as c_long,
        number::EXECVEAT => {
            exec::execveat(a as c_int, b as Path, c as exec::List, d as exec::List, e as c_int)
                as c_long
        }
        number::GETDENTS64 => crate::files::entries_read(a as c_int, next() as isize) as c_long,
        _ => {
            if surroundings::changes_paths(number, a) {
                surroundings::paths_changed();
            }
            if number::UNSEEN.contains(&number) {
                log::blind("a system call that reads or changes files past the C library");
            }
            next()
        }
    }
}
