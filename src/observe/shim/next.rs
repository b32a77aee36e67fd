//! The next definitions of the names that this library defines, and how its own come before them: by
//! their names (`next/linux.rs`), or by a table that the loader reads (`next/darwin.rs`).

#[cfg(target_vendor = "apple")]
#[path = "next/darwin.rs"]
mod platform;
#[cfg(not(target_vendor = "apple"))]
#[path = "next/linux.rs"]
mod platform;

pub(crate) use platform::*;

/// The next definition as a function of the given type: `None` where there is none.
macro_rules! as_function {
    ($pointer:expr, $type:ty) => {{
        let pointer = $pointer;
        // SAFETY: the C library's function of this name has this type; null is `None`.
        unsafe { core::mem::transmute::<*mut core::ffi::c_void, Option<$type>>(pointer) }
    }};
}

pub(crate) use as_function;
