//! Definitions of the same name come first by being preloaded, and find the next one by its name.
//!
//! Invariant: a definition once found stays. The common, simple names are looked up when the
//! process starts; they have a system call to fall back on, so that no lookup ever happens inside
//! a signal handler, a child of `vfork`, or an allocator that initialises itself. The others are
//! looked up when they are first called, or at the start if they run programs.

use core::ffi::{CStr, c_void};
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use crate::system;

/// One name and its next definition.
pub(crate) struct Next {
    name: &'static CStr,
    found: AtomicPtr<c_void>,
}

impl Next {
    /// `name` ends with NUL.
    pub(crate) const fn new(name: &'static str) -> Self {
        let name = match CStr::from_bytes_with_nul(name.as_bytes()) {
            Ok(name) => name,
            Err(_) => c"",
        };
        Self { name, found: AtomicPtr::new(ptr::null_mut()) }
    }

    /// What an earlier lookup found; null before.
    pub(crate) fn known(&self) -> *mut c_void {
        self.found.load(Relaxed)
    }

    /// Looks the name up unless that has happened; null if there is no such name.
    pub(crate) fn find(&self) -> *mut c_void {
        let known = self.known();
        if !known.is_null() {
            return known;
        }
        let found = lookup(self.name);
        // Two threads find the same, so the order of their stores does not matter.
        self.found.store(found, Relaxed);
        found
    }
}

fn lookup(name: &CStr) -> *mut c_void {
    const RTLD_NEXT: *mut c_void = -1_isize as *mut c_void;
    if let Some(dlsym) = system::kache_dlsym {
        // SAFETY: a handle that the C library defines, and a C string.
        return unsafe { dlsym(RTLD_NEXT, name.as_ptr()) };
    }
    // C libraries before 2.34 define `dlsym` in a library of its own, which may be absent; these
    // two are always in the main one.
    let (Some(open), Some(dlsym)) = (system::kache_libc_dlopen_mode, system::kache_libc_dlsym)
    else {
        return ptr::null_mut();
    };
    const RTLD_LAZY_INTERNAL: i32 = 0x8000_0001_u32 as i32;
    // SAFETY: C strings; the library is loaded already.
    unsafe {
        let library = open(c"libc.so.6".as_ptr(), RTLD_LAZY_INTERNAL);
        if library.is_null() { ptr::null_mut() } else { dlsym(library, name.as_ptr()) }
    }
}

/// Looks up the names that must not be looked up later.
pub(crate) fn resolve_common() {
    use crate::{exec, files, linux, loaded, lookups, probes};
    let all = [
        files::COMMON,
        probes::COMMON,
        exec::COMMON,
        lookups::COMMON,
        loaded::COMMON,
        linux::COMMON,
    ];
    for next in all.into_iter().flatten() {
        next.find();
    }
}

/// Declares the next definition of a function: a static with the function's name in capitals.
macro_rules! next {
    ($($constant:ident = $name:literal;)*) => {
        $(static $constant: crate::next::Next = crate::next::Next::new(concat!($name, "\0"));)*
    };
}

/// A definition has the name of the one that it comes before.
macro_rules! interpose {
    ($($name:ident = $next:ident;)*) => {};
}

/// The system call that a function stands for, as the C library gives its result.
macro_rules! kernel_call {
    ($call:ident, $arguments:expr) => {
        crate::system::returned(crate::system::call(crate::system::number::$call, $arguments))
    };
}

pub(crate) use {interpose, kernel_call, next};
