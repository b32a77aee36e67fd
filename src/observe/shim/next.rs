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

/// Definitions of functions with one argument that pass on where they were called from.
macro_rules! from_caller {
    ($($name:ident($argument:ty) -> $result:ty = $handler:ident;)*) => {
        $(#[unsafe(naked)]
        #[cfg_attr(target_os = "linux", unsafe(no_mangle))]
        pub(crate) unsafe extern "C" fn $name(argument: $argument) -> $result {
            #[cfg(target_arch = "x86_64")]
            core::arch::naked_asm!("mov rsi, [rsp]", "jmp {handler}", handler = sym $handler);
            #[cfg(target_arch = "aarch64")]
            core::arch::naked_asm!("mov x1, x30", "b {handler}", handler = sym $handler);
        })*
    };
}

pub(crate) use {as_function, from_caller};
