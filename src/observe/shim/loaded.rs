//! Libraries that a process loads while it runs.
//!
//! `dlopen` knows its caller by the return address, so nothing can be done here once it is through: what
//! came along with the library that was asked for is told before any library is given back, and before
//! the process becomes another program or ends.

use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::files::{self, Path, no_function, no_result};
use crate::layout::{LOADED, LOADING, OPENED_LIBRARY, TOLD};
#[cfg(target_os = "linux")]
use crate::next::Next;
use crate::next::{as_function, interpose, next};
use crate::system::{self, bytes};
use crate::{image, log};

next! { DLOPEN = "dlopen"; DLCLOSE = "dlclose"; EXIT = "_exit"; }

#[cfg(target_os = "linux")]
next! { DLMOPEN = "dlmopen"; }

#[cfg(target_vendor = "apple")]
next! { EXIT_NOW = "_Exit"; }

/// Names that must be known before they are called.
#[cfg(target_os = "linux")]
pub(crate) static COMMON: &[&Next] = &[&DLOPEN, &EXIT];

/// The process that loaded something and has not told since. The children of `fork` and `vfork` see
/// that it is not they.
static LOADER: AtomicU64 = AtomicU64::new(0);

#[cfg(target_os = "linux")]
#[used]
#[unsafe(link_section = ".fini_array")]
static DESTRUCTOR: extern "C" fn() = tell;

/// Has the libraries told when the process ends.
#[cfg(target_vendor = "apple")]
pub(crate) fn tell_at_exit() {
    unsafe extern "C" {
        fn atexit(function: extern "C" fn()) -> c_int;
    }
    // SAFETY: a function without arguments, in a library that is never unloaded.
    if unsafe { atexit(tell) } != 0 {
        log::blind("a process that cannot tell what it loaded");
    }
}

/// Tells which libraries this process has that it did not start with, if there may be new ones.
pub(crate) extern "C" fn tell() {
    // A process that forbids itself most system calls has loaded nothing since.
    if LOADER.load(Relaxed) == 0 {
        return;
    }
    let pid = system::pid();
    // Cleared first: what another thread loads meanwhile may be missed now, and is told next time.
    if LOADER.compare_exchange(pid, 0, Relaxed, Relaxed).is_ok() {
        image::each_later(&|library| log::text(LOADED, &[library, b"\0"]));
        log::process(TOLD, pid, b"");
    }
}

/// Records a library and returns where `dlopen` continues.
extern "C" fn asked_for(name: Path) -> *mut c_void {
    if !name.is_null() {
        // SAFETY: a C string, as `dlopen` demands.
        let name = unsafe { bytes(name) };
        // What begins so on macOS is found by who asks.
        if name.contains(&b'$') || name.starts_with(b"@") {
            log::blind("a library found by a name with a variable in it");
        } else if name.contains(&b'/') {
            files::path(OPENED_LIBRARY, system::AT_FDCWD, name);
        } else {
            log::text(OPENED_LIBRARY, &[name]);
        }
        let pid = system::pid();
        if LOADER.swap(pid, Relaxed) != pid {
            log::process(LOADING, pid, b"");
        }
    }
    let next = DLOPEN.find();
    if next.is_null() { no_library as *mut c_void } else { next }
}

extern "C" fn no_library(_name: Path, _flags: c_int) -> *mut c_void {
    no_function()
}

/// `dlopen` searches where its caller says, and knows the caller by the return address; so this
/// definition leaves no trace on the stack.
#[unsafe(naked)]
#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
unsafe extern "C" fn dlopen(name: Path, flags: c_int) -> *mut c_void {
    #[cfg(target_arch = "x86_64")]
    core::arch::naked_asm!(
        "push rdi",
        "push rsi",
        "sub rsp, 8",
        "call {record}",
        "add rsp, 8",
        "pop rsi",
        "pop rdi",
        "jmp rax",
        record = sym asked_for,
    );
    #[cfg(target_arch = "aarch64")]
    core::arch::naked_asm!(
        "stp x0, x1, [sp, #-32]!",
        "str x30, [sp, #16]",
        "bl {record}",
        "mov x16, x0",
        "ldr x30, [sp, #16]",
        "ldp x0, x1, [sp], #32",
        "br x16",
        record = sym asked_for,
    );
}

#[cfg(target_os = "linux")]
#[unsafe(no_mangle)]
extern "C" fn dlmopen(space: isize, name: Path, flags: c_int) -> *mut c_void {
    type Open = unsafe extern "C" fn(isize, Path, c_int) -> *mut c_void;
    log::blind("a library loaded into a space of its own");
    match as_function!(DLMOPEN.find(), Open) {
        // SAFETY: the caller's own arguments.
        Some(next) => unsafe { next(space, name, flags) },
        None => no_function(),
    }
}

#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
extern "C" fn dlclose(library: *mut c_void) -> c_int {
    tell();
    match as_function!(DLCLOSE.find(), unsafe extern "C" fn(*mut c_void) -> c_int) {
        // SAFETY: the caller's own argument.
        Some(next) => unsafe { next(library) },
        None => no_result(),
    }
}

fn end(status: c_int) -> ! {
    tell();
    if let Some(next) = as_function!(EXIT.known(), unsafe extern "C" fn(c_int) -> !) {
        // SAFETY: the caller's own argument.
        unsafe { next(status) }
    }
    loop {
        system::exit_group(status as isize);
    }
}

#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
extern "C" fn _exit(status: c_int) -> ! {
    end(status)
}

#[cfg(target_os = "linux")]
#[unsafe(no_mangle)]
extern "C" fn _Exit(status: c_int) -> ! {
    end(status)
}

interpose! { dlopen = DLOPEN; dlclose = DLCLOSE; _exit = EXIT; _exit = EXIT_NOW; }
