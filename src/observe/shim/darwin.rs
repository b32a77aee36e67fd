//! What only macOS has. What a function passes on of arguments that are not named (`...`) is on the stack
//! there, and not in registers.
//!
//! Only type-checked: nothing of this has been run.

use core::ffi::{c_int, c_uint, c_void};

use crate::changes::{changed, linked};
use crate::files::{Path, opened};
use crate::layout::{MACHINE, NETWORK};
use crate::log;
use crate::next::{as_function, interpose, next};
use crate::probes::probed;
use crate::system::{self, AT_FDCWD, bytes};

type Any = *mut c_void;

next! {
    CLONEFILE = "clonefile"; CLONEFILEAT = "clonefileat"; CONNECTX = "connectx"; COPYFILE = "copyfile";
    FCLONEFILEAT = "fclonefileat"; GETATTRLIST = "getattrlist"; GETATTRLISTAT = "getattrlistat";
    OPEN = "open"; OPENAT = "openat"; OPENAT_ON = "openat$NOCANCEL"; OPEN_ON = "open$NOCANCEL";
    SYSCTL = "sysctl"; SYSCTLBYNAME = "sysctlbyname";
}

macro_rules! open_family {
    ($path:ident: $($next:ident ($($argument:ident: $type:ty),*) $directory:expr, $load:literal;)*) => {
        $(const _: () = {
            extern "C" fn recorded($($argument: $type),*, flags: c_int, mode: c_uint) -> c_int {
                opened($directory, $path, flags, || {
                    type Open = unsafe extern "C" fn($($type),*, c_int, ...) -> c_int;
                    match as_function!($next.find(), Open) {
                        // SAFETY: the caller's own arguments.
                        Some(next) => unsafe { next($($argument),*, flags, mode) },
                        None => -1,
                    }
                })
            }
            #[unsafe(naked)]
            unsafe extern "C" fn function() {
                core::arch::naked_asm!($load, "b {recorded}", recorded = sym recorded);
            }
            interpose! { function = $next; }
        };)*
    };
}

open_family! { path:
    OPEN (path: Path) AT_FDCWD, "ldr w2, [sp]";
    OPEN_ON (path: Path) AT_FDCWD, "ldr w2, [sp]";
    OPENAT (directory: c_int, path: Path) directory, "ldr w3, [sp]";
    OPENAT_ON (directory: c_int, path: Path) directory, "ldr w3, [sp]";
}

/// Functions whose inside cannot be seen, whatever their arguments are: recorded, and jumped to.
macro_rules! unseen_family {
    ($($name:literal $what:literal;)*) => {
        $(const _: () = {
            next! { NEXT = $name; }
            extern "C" fn recorded() -> *mut c_void {
                log::blind($what);
                NEXT.find()
            }
            #[unsafe(naked)]
            unsafe extern "C" fn function() {
                core::arch::naked_asm!(
                    "stp x0, x1, [sp, #-80]!",
                    "stp x2, x3, [sp, #16]",
                    "stp x4, x5, [sp, #32]",
                    "stp x6, x7, [sp, #48]",
                    "stp x8, x30, [sp, #64]",
                    "bl {recorded}",
                    "mov x16, x0",
                    "ldp x8, x30, [sp, #64]",
                    "ldp x6, x7, [sp, #48]",
                    "ldp x4, x5, [sp, #32]",
                    "ldp x2, x3, [sp, #16]",
                    "ldp x0, x1, [sp], #80",
                    "br x16",
                    recorded = sym recorded,
                );
            }
            interpose! { function = NEXT; }
        };)*
    };
}

unseen_family! {
    "__opendir2" "a directory opened with options";
    "chroot" "paths of a file system of its own";
    "execvP" "a program looked for in a list of its own";
    "exchangedata" "files that change places";
    "fsgetpath" "a file found by its number";
    "fts_open_b" "a walk by fts";
    "getattrlistbulk" "the attributes of a whole directory";
    "glob" "an expansion by glob";
    "glob_b" "an expansion by glob";
    "openbyid_np" "a file opened by its number";
    "pthread_chdir_np" "a working directory of a thread";
    "pthread_fchdir_np" "a working directory of a thread";
    "scandir_b" "a directory listed by a block";
    "searchfs" "a search of a whole file system";
    "sem_open" "a semaphore shared by name";
    "shm_open" "memory shared by name";
    "syscall" "a system call past the library";
}

/// Functions that are called first, and recorded by what they return.
macro_rules! recorded_family {
    ($result:ident: $($name:ident $next:ident ($($argument:ident: $type:ty),*) $recorded:expr;)*) => {
        $(extern "C" fn $name($($argument: $type),*) -> c_int {
            type Function = unsafe extern "C" fn($($type),*) -> c_int;
            let $result = match as_function!($next.find(), Function) {
                // SAFETY: the caller's own arguments.
                Some(next) => unsafe { next($($argument),*) },
                None => -1,
            };
            $recorded
        }
        interpose! { $name = $next; })*
    };
}

recorded_family! { result:
    clonefile CLONEFILE (from: Path, to: Path, flags: c_uint)
        copied(result, (AT_FDCWD, from), (AT_FDCWD, to));
    clonefileat CLONEFILEAT (from_at: c_int, from: Path, to_at: c_int, to: Path, flags: c_uint)
        copied(result, (from_at, from), (to_at, to));
    // What is copied was opened, and is known from that.
    fclonefileat FCLONEFILEAT (from: c_int, to_at: c_int, to: Path, flags: c_uint)
        changed(result, None, Some((to_at, to)));
    copyfile COPYFILE (from: Path, to: Path, state: Any, flags: c_uint)
        copied(result, (AT_FDCWD, from), (AT_FDCWD, to));
    connectx CONNECTX (socket: c_int, to: Any, association: c_uint, flags: c_uint, data: Any, count: c_uint, sent: Any, connection: Any)
        recorded(result, NETWORK, b"connectx");
    getattrlist GETATTRLIST (path: Path, list: Any, to: Any, size: usize, options: c_uint)
        probed(AT_FDCWD, path, result);
    getattrlistat GETATTRLISTAT (at: c_int, path: Path, list: Any, to: Any, size: usize, options: usize)
        probed(at, path, result);
    sysctl SYSCTL (name: *const c_int, length: c_uint, to: Any, size: Any, new: Any, new_size: usize)
        if asks_for_system(name, length) { recorded(result, MACHINE, b"kernel") } else { result };
    sysctlbyname SYSCTLBYNAME (name: Path, to: Any, size: Any, new: Any, new_size: usize)
        if tells_system(name) { recorded(result, MACHINE, b"kernel") } else { result };
}

fn recorded(result: c_int, kind: u8, what: &[u8]) -> c_int {
    log::text(kind, &[what]);
    result
}

/// Records a copy. One of a directory has everything below it; one whose names are elsewhere cannot be
/// followed.
fn copied(result: c_int, from: (c_int, Path), to: (c_int, Path)) -> c_int {
    let is_named = !from.1.is_null() && !to.1.is_null();
    if result >= 0 && (!is_named || system::path_node(from.0, from.1) != Some(system::Node::File)) {
        log::blind("a copy of more than a file");
    }
    linked(result, from, to)
}

fn asks_for_system(name: *const c_int, length: c_uint) -> bool {
    const KERNEL: c_int = 1;
    // SAFETY: so many numbers there are.
    length > 1 && unsafe { *name } == KERNEL
}

/// Whether a value of the kernel's tells which system this is.
fn tells_system(name: Path) -> bool {
    const NAMES: [&[u8]; 5] = [
        b"kern.osproductversion",
        b"kern.osrelease",
        b"kern.ostype",
        b"kern.osversion",
        b"kern.version",
    ];
    // SAFETY: a C string, as the function demands.
    NAMES.contains(&unsafe { bytes(name) })
}
