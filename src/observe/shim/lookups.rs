//! Environment variables, connections, and what cannot be followed.

use core::ffi::{c_int, c_uint, c_void};

#[cfg(target_os = "linux")]
use crate::files::no_function;
use crate::files::{Path, no_result};
#[cfg(target_os = "linux")]
use crate::layout::READ;
use crate::layout::{BLIND, LOCAL_SOCKET, MACHINE, NETWORK, VARIABLE_READ};
use crate::log;
use crate::next::{Next, as_function, from_caller, interpose, kernel_call, next};
use crate::system::{self, AF_INET6, bytes};
#[cfg(target_os = "linux")]
use crate::system::{O_CREAT, O_EXCL};

next! {
    GETENV = "getenv"; CONNECT = "connect"; SENDTO = "sendto"; SENDMSG = "sendmsg";
    GETADDRINFO = "getaddrinfo"; GETHOSTBYNAME = "gethostbyname"; GETHOSTBYNAME2 = "gethostbyname2";
    UNAME = "uname"; NFTW = "nftw"; FTW = "ftw"; FTS_OPEN = "fts_open"; SHMGET = "shmget";
    CATOPEN = "catopen"; WORDEXP = "wordexp"; ACCEPT = "accept";
}

#[cfg(target_os = "linux")]
next! {
    CONFSTR = "confstr"; SECURE_GETENV = "secure_getenv"; SENDMMSG = "sendmmsg"; NFTW64 = "nftw64";
    FTW64 = "ftw64"; OPEN_BY_HANDLE_AT = "open_by_handle_at"; SHM_OPEN = "shm_open";
    SETMNTENT = "setmntent"; FTS64_OPEN = "fts64_open"; MSGGET = "msgget"; SEMGET = "semget";
    SEM_OPEN = "sem_open"; MQ_OPEN = "mq_open"; ACCEPT4 = "accept4"; GETADDRINFO_A = "getaddrinfo_a";
    RES_QUERY = "res_query"; RES_SEARCH = "res_search"; RES_QUERYDOMAIN = "res_querydomain";
    RES_SEND = "res_send"; RES_NQUERY = "res_nquery"; RES_NSEARCH = "res_nsearch";
    RES_NQUERYDOMAIN = "res_nquerydomain"; RES_NSEND = "res_nsend";
    RES_QUERY_OLD = "__res_query"; RES_SEARCH_OLD = "__res_search";
    RES_QUERYDOMAIN_OLD = "__res_querydomain"; RES_SEND_OLD = "__res_send";
    RES_NQUERY_OLD = "__res_nquery"; RES_NSEARCH_OLD = "__res_nsearch";
    RES_NQUERYDOMAIN_OLD = "__res_nquerydomain"; RES_NSEND_OLD = "__res_nsend";
    GETHOSTBYNAME_R = "gethostbyname_r"; GETHOSTBYNAME2_R = "gethostbyname2_r";
    GETHOSTBYADDR = "gethostbyaddr"; GETHOSTBYADDR_R = "gethostbyaddr_r";
    GETNAMEINFO = "getnameinfo";
    GETSERVBYNAME = "getservbyname"; GETSERVBYNAME_R = "getservbyname_r";
    GETSERVBYPORT = "getservbyport"; GETSERVBYPORT_R = "getservbyport_r";
}

/// Names that must be known before they are called.
#[cfg(target_os = "linux")]
pub(crate) static COMMON: &[&Next] = &[&GETENV, &SECURE_GETENV, &CONNECT, &SENDTO, &UNAME];

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

#[cfg(target_os = "linux")]
extern "C" fn get_secure(name: Path, caller: usize) -> Path {
    look_up(&SECURE_GETENV, name, caller)
}

from_caller! { getenv(Path) -> Path = get; }

#[cfg(target_os = "linux")]
from_caller! {
    secure_getenv(Path) -> Path = get_secure;
    __secure_getenv(Path) -> Path = get_secure;
}

/// Records where a socket address leads.
///
/// # Safety
/// `address` is null or can be read for `length` bytes.
unsafe fn addressed(address: *const c_void, length: usize) {
    const AF_UNIX: u16 = 1;
    const AF_INET: u16 = 2;
    const AF_UNSPEC: u16 = 0;
    /// Kernel interfaces of this machine: routing tables and the like.
    const AF_NETLINK: u16 = 16;
    if address.is_null() || length < 2 {
        return;
    }
    // SAFETY: the caller says so.
    let (family, rest) = unsafe {
        (
            system::address_family(address),
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

#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
pub(crate) extern "C" fn connect(socket: c_int, address: *const c_void, length: c_uint) -> c_int {
    type Connect = unsafe extern "C" fn(c_int, *const c_void, c_uint) -> c_int;
    let result = match as_function!(CONNECT.known(), Connect) {
        // SAFETY: the caller's own arguments.
        Some(next) => unsafe { next(socket, address, length) },
        None => {
            let arguments = [socket as isize, address as isize, length as isize, 0, 0, 0];
            kernel_call!(CONNECT, arguments) as c_int
        }
    };
    // Whether it was accepted is an input too.
    if result == 0 || system::errno() != system::EFAULT {
        // SAFETY: the kernel has read the address.
        unsafe { addressed(address, length as usize) };
    }
    result
}

#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
pub(crate) extern "C" fn sendto(
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
        None => no_result() as isize,
    };
    if result >= 0 {
        // SAFETY: the kernel has read the address.
        unsafe { addressed(address, length as usize) };
    }
    result
}

/// The beginning of `struct msghdr`.
#[repr(C)]
pub(crate) struct Message {
    address: *const c_void,
    length: c_uint,
}

#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
pub(crate) extern "C" fn sendmsg(socket: c_int, message: *const Message, flags: c_int) -> isize {
    type Send = unsafe extern "C" fn(c_int, *const Message, c_int) -> isize;
    let result = match as_function!(SENDMSG.find(), Send) {
        // SAFETY: the caller's own arguments.
        Some(next) => unsafe { next(socket, message, flags) },
        None => no_result() as isize,
    };
    if result >= 0 {
        // SAFETY: the kernel has read the message.
        unsafe { addressed((*message).address, (*message).length as usize) };
    }
    result
}

#[cfg(target_os = "linux")]
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
        None => no_result(),
    };
    if result > 0 {
        // SAFETY: the kernel has read the first message.
        unsafe { addressed((*messages).address, (*messages).length as usize) };
    }
    result
}

/// Records that the kernel was asked which one it is.
#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
pub(crate) extern "C" fn uname(to: *mut c_void) -> c_int {
    type Uname = unsafe extern "C" fn(*mut c_void) -> c_int;
    log::text(MACHINE, &[b"kernel"]);
    match as_function!(UNAME.known(), Uname) {
        // SAFETY: the caller's own argument.
        Some(next) => unsafe { next(to) },
        None => kernel_call!(UNAME, [to as isize, 0, 0, 0, 0, 0]) as c_int,
    }
}

interpose! { getenv = GETENV; connect = CONNECT; sendto = SENDTO; sendmsg = SENDMSG; uname = UNAME; }

/// Records which C library it is that tells its version. Only who asks for just that depends on it: the
/// standard library of Rust calls `gnu_get_libc_version` whenever it starts a program.
#[cfg(target_os = "linux")]
#[unsafe(no_mangle)]
extern "C" fn confstr(name: c_int, to: Any, bytes: usize) -> usize {
    const GNU_LIBC_VERSION: c_int = 2;
    const GNU_LIBPTHREAD_VERSION: c_int = 3;
    let next = CONFSTR.find();
    if matches!(name, GNU_LIBC_VERSION | GNU_LIBPTHREAD_VERSION) && log::is_open() {
        crate::image::holder(next as usize, &|library| log::text(READ, &[library]));
    }
    match as_function!(next, unsafe extern "C" fn(c_int, Any, usize) -> usize) {
        // SAFETY: the caller's own arguments.
        Some(next) => unsafe { next(name, to, bytes) },
        None => 0,
    }
}

/// Functions whose inside cannot be seen: called, and recorded by name.
macro_rules! unseen_family {
    ($($name:ident $next:ident $kind:ident $what:literal ($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        $(#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
        extern "C" fn $name($($argument: $type),*) -> $result {
            log::text($kind, &[$what]);
            match as_function!($next.find(), unsafe extern "C" fn($($type),*) -> $result) {
                // SAFETY: the caller's own arguments.
                Some(next) => unsafe { next($($argument),*) },
                None => no_result() as $result,
            }
        }
        interpose! { $name = $next; })*
    };
}

type Any = *mut c_void;

unseen_family! {
    getaddrinfo GETADDRINFO NETWORK b"name lookup"
        (node: Path, service: Path, hints: Any, result: Any) -> c_int;
    gethostbyname GETHOSTBYNAME NETWORK b"name lookup" (name: Path) -> Any;
    gethostbyname2 GETHOSTBYNAME2 NETWORK b"name lookup" (name: Path, family: c_int) -> Any;
    nftw NFTW BLIND b"a walk by nftw" (path: Path, each: Any, limit: c_int, flags: c_int) -> c_int;
    ftw FTW BLIND b"a walk by ftw" (path: Path, each: Any, limit: c_int) -> c_int;
    fts_open FTS_OPEN BLIND b"a walk by fts" (paths: Any, options: c_int, compare: Any) -> Any;
    shmget SHMGET BLIND b"memory shared by number" (key: c_int, bytes: usize, flags: c_int) -> c_int;
    catopen CATOPEN BLIND b"a catalogue of messages" (name: Path, flags: c_int) -> Any;
    wordexp WORDEXP BLIND b"an expansion by wordexp" (words: Path, to: Any, flags: c_int) -> c_int;
    accept ACCEPT NETWORK b"a connection from elsewhere" (socket: c_int, address: Any, length: Any) -> c_int;
}

#[cfg(target_os = "linux")]
unseen_family! {
    nftw64 NFTW64 BLIND b"a walk by nftw" (path: Path, each: Any, limit: c_int, flags: c_int) -> c_int;
    ftw64 FTW64 BLIND b"a walk by ftw" (path: Path, each: Any, limit: c_int) -> c_int;
    fts64_open FTS64_OPEN BLIND b"a walk by fts" (paths: Any, options: c_int, compare: Any) -> Any;
    open_by_handle_at OPEN_BY_HANDLE_AT BLIND b"a file opened by its handle"
        (mount: c_int, handle: Any, flags: c_int) -> c_int;
    shm_open SHM_OPEN BLIND b"memory shared by name" (name: Path, flags: c_int, mode: c_uint) -> c_int;
    setmntent SETMNTENT BLIND b"a table of mounts" (path: Path, mode: Path) -> Any;
    msgget MSGGET BLIND b"messages between processes" (key: c_int, flags: c_int) -> c_int;
    gethostbyname_r GETHOSTBYNAME_R NETWORK b"name lookup"
        (name: Path, to: Any, buffer: Any, bytes: usize, result: Any, error: Any) -> c_int;
    gethostbyname2_r GETHOSTBYNAME2_R NETWORK b"name lookup"
        (name: Path, family: c_int, to: Any, buffer: Any, bytes: usize, result: Any, error: Any) -> c_int;
    gethostbyaddr GETHOSTBYADDR NETWORK b"name lookup"
        (address: Any, length: c_uint, family: c_int) -> Any;
    gethostbyaddr_r GETHOSTBYADDR_R NETWORK b"name lookup"
        (address: Any, length: c_uint, family: c_int, to: Any, buffer: Any, bytes: usize, result: Any,
         error: Any) -> c_int;
    getnameinfo GETNAMEINFO NETWORK b"name lookup"
        (address: Any, length: c_uint, host: Any, host_bytes: c_uint, service: Any,
         service_bytes: c_uint, flags: c_int) -> c_int;
    semget SEMGET BLIND b"semaphores by number" (key: c_int, count: c_int, flags: c_int) -> c_int;
    accept4 ACCEPT4 NETWORK b"a connection from elsewhere"
        (socket: c_int, address: Any, length: Any, flags: c_int) -> c_int;
    getaddrinfo_a GETADDRINFO_A NETWORK b"name lookup"
        (mode: c_int, list: Any, count: c_int, event: Any) -> c_int;
    res_query RES_QUERY NETWORK b"name lookup"
        (name: Path, class: c_int, kind: c_int, to: Any, bytes: c_int) -> c_int;
    __res_query RES_QUERY_OLD NETWORK b"name lookup"
        (name: Path, class: c_int, kind: c_int, to: Any, bytes: c_int) -> c_int;
    res_search RES_SEARCH NETWORK b"name lookup"
        (name: Path, class: c_int, kind: c_int, to: Any, bytes: c_int) -> c_int;
    __res_search RES_SEARCH_OLD NETWORK b"name lookup"
        (name: Path, class: c_int, kind: c_int, to: Any, bytes: c_int) -> c_int;
    res_querydomain RES_QUERYDOMAIN NETWORK b"name lookup"
        (name: Path, domain: Path, class: c_int, kind: c_int, to: Any, bytes: c_int) -> c_int;
    __res_querydomain RES_QUERYDOMAIN_OLD NETWORK b"name lookup"
        (name: Path, domain: Path, class: c_int, kind: c_int, to: Any, bytes: c_int) -> c_int;
    res_send RES_SEND NETWORK b"name lookup"
        (message: Any, length: c_int, to: Any, bytes: c_int) -> c_int;
    __res_send RES_SEND_OLD NETWORK b"name lookup"
        (message: Any, length: c_int, to: Any, bytes: c_int) -> c_int;
    res_nquery RES_NQUERY NETWORK b"name lookup"
        (state: Any, name: Path, class: c_int, kind: c_int, to: Any, bytes: c_int) -> c_int;
    __res_nquery RES_NQUERY_OLD NETWORK b"name lookup"
        (state: Any, name: Path, class: c_int, kind: c_int, to: Any, bytes: c_int) -> c_int;
    res_nsearch RES_NSEARCH NETWORK b"name lookup"
        (state: Any, name: Path, class: c_int, kind: c_int, to: Any, bytes: c_int) -> c_int;
    __res_nsearch RES_NSEARCH_OLD NETWORK b"name lookup"
        (state: Any, name: Path, class: c_int, kind: c_int, to: Any, bytes: c_int) -> c_int;
    res_nquerydomain RES_NQUERYDOMAIN NETWORK b"name lookup"
        (state: Any, name: Path, domain: Path, class: c_int, kind: c_int, to: Any, bytes: c_int)
        -> c_int;
    __res_nquerydomain RES_NQUERYDOMAIN_OLD NETWORK b"name lookup"
        (state: Any, name: Path, domain: Path, class: c_int, kind: c_int, to: Any, bytes: c_int)
        -> c_int;
    res_nsend RES_NSEND NETWORK b"name lookup"
        (state: Any, message: Any, length: c_int, to: Any, bytes: c_int) -> c_int;
    __res_nsend RES_NSEND_OLD NETWORK b"name lookup"
        (state: Any, message: Any, length: c_int, to: Any, bytes: c_int) -> c_int;
    getservbyname GETSERVBYNAME READ b"/etc/services" (name: Path, protocol: Path) -> Any;
    getservbyname_r GETSERVBYNAME_R READ b"/etc/services"
        (name: Path, protocol: Path, to: Any, buffer: Any, bytes: usize, result: Any) -> c_int;
    getservbyport GETSERVBYPORT READ b"/etc/services" (port: c_int, protocol: Path) -> Any;
    getservbyport_r GETSERVBYPORT_R READ b"/etc/services"
        (port: c_int, protocol: Path, to: Any, buffer: Any, bytes: usize, result: Any) -> c_int;
}

/// Opens by name what other processes may have made. What is new here is nobody else's.
#[cfg(target_os = "linux")]
macro_rules! named_family {
    ($($name:ident $next:ident $what:literal ($last:ident: $type:ty) -> $result:ty, $none:expr;)*) => {
        $(#[unsafe(no_mangle)]
        extern "C" fn $name(name: Path, flags: c_int, mode: c_uint, $last: $type) -> $result {
            type Open = unsafe extern "C" fn(Path, c_int, c_uint, $type) -> $result;
            if flags & O_CREAT == 0 || flags & O_EXCL == 0 {
                log::blind($what);
            }
            match as_function!($next.find(), Open) {
                // SAFETY: the caller's own arguments; those that it did not pass are ignored.
                Some(next) => unsafe { next(name, flags, mode, $last) },
                None => $none,
            }
        })*
    };
}

#[cfg(target_os = "linux")]
named_family! {
    sem_open SEM_OPEN "a semaphore by name" (value: c_uint) -> Any, no_function();
    mq_open MQ_OPEN "messages between processes" (attributes: Any) -> c_int, no_result();
}
