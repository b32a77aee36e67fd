//! The loader reads a table of definitions and of those that they come before, and leads everybody there
//! but this library: a name that is used here is the C library's own.

use core::ffi::c_void;

/// One function of the C library.
pub(crate) struct Next(*const c_void);

// SAFETY: the address of a function, which nobody writes through.
unsafe impl Sync for Next {}

impl Next {
    pub(crate) const fn new(function: *const c_void) -> Self {
        Self(function)
    }

    pub(crate) const fn known(&self) -> *mut c_void {
        self.0.cast_mut()
    }

    pub(crate) const fn find(&self) -> *mut c_void {
        self.known()
    }
}

/// An entry of the loader's table.
#[repr(C)]
pub(crate) struct Interposed {
    pub(crate) definition: *const c_void,
    pub(crate) before: *const c_void,
}

// SAFETY: the addresses of two functions, which nobody writes through.
unsafe impl Sync for Interposed {}

/// Declares the next definition of a function: a static with the function's name in capitals.
macro_rules! next {
    ($($constant:ident = $name:literal;)*) => {
        $(static $constant: crate::next::Next = {
            unsafe extern "C" {
                #[link_name = $name]
                fn function();
            }
            crate::next::Next::new(function as *const core::ffi::c_void)
        };)*
    };
}

/// Has definitions come before the C library's.
macro_rules! interpose {
    ($($name:ident = $next:ident;)*) => {
        $(const _: () = {
            #[used]
            #[unsafe(link_section = "__DATA,__interpose")]
            static ENTRY: crate::next::Interposed = crate::next::Interposed {
                definition: $name as *const core::ffi::c_void,
                before: $next.known().cast_const(),
            };
        };)*
    };
}

/// System calls have no stable numbers here, and no function is ever missing.
macro_rules! kernel_call {
    ($call:ident, $arguments:expr) => {{
        let _arguments: [isize; 6] = $arguments;
        crate::files::no_result() as isize
    }};
}

pub(crate) use {interpose, kernel_call, next};
