//! Arguments that C compilers get besides those that they are given: where debug information shall
//! say that files are. Objects then do not name the directory in which a build script ran, and
//! nothing else about them changes: no environment variable that a configure script would see, no
//! macro, no code.

use core::ffi::c_char;
use core::ptr;

use crate::exec::List;
use crate::layout::MACHINE;
use crate::log;
use crate::system::{self, bytes};

/// The arguments for a program: the caller's, with those of the wrapper after the first where the
/// program is a C compiler's driver. Its memory is its own, and is given back where the program
/// did not start.
pub(crate) struct Arguments {
    pub(crate) list: List,
    memory: *mut u8,
    memory_bytes: usize,
}

impl Arguments {
    pub(crate) fn new(executable: &[u8], given: List) -> Self {
        let kept = Self { list: given, memory: ptr::null_mut(), memory_bytes: 0 };
        if given.is_null() {
            return kept;
        }
        // SAFETY: the caller's arguments, as it passes them on.
        if unsafe { adapt_to_processor(given) } {
            log::text(MACHINE, &[b"processor"]);
        }
        let name = executable.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let extra = log::compiler_arguments();
        if extra.is_empty() || !is_c_compiler(name) {
            return kept;
        }
        // SAFETY: the caller's arguments, as it passes them on.
        unsafe { Self::extended(given, extra) }.unwrap_or(kept)
    }

    /// # Safety
    /// `given` is an array of C strings that ends with null.
    unsafe fn extended(given: List, extra: &'static [u8]) -> Option<Self> {
        let mut count = 0_usize;
        // SAFETY: the array ends with null.
        let runs_itself = unsafe {
            while !(*given.add(count)).is_null() {
                count += 1;
            }
            count > 1 && bytes(*given.add(1)).starts_with(b"-cc1")
        };
        if count == 0 || runs_itself {
            return None;
        }
        let added = extra.split_inclusive(|byte| *byte == 0).count();
        let memory_bytes = (count + added + 1) * size_of::<*const c_char>();
        let memory = system::map(None, memory_bytes);
        if memory.is_null() {
            return None;
        }
        let list: *mut *const c_char = memory.cast();
        // SAFETY: the fresh memory has a place for each argument and the closing null; each part of
        // `extra` ends with NUL and lives as long as the process.
        unsafe {
            *list = *given;
            for (index, argument) in extra.split_inclusive(|byte| *byte == 0).enumerate() {
                *list.add(1 + index) = argument.as_ptr().cast();
            }
            for index in 1..count {
                *list.add(added + index) = *given.add(index);
            }
        }
        Some(Self { list, memory, memory_bytes })
    }
}

impl Drop for Arguments {
    fn drop(&mut self) {
        if !self.memory.is_null() {
            system::unmap(self.memory, self.memory_bytes);
        }
    }
}

/// Whether a compiler is told to make code for the processor that it runs on: `-march=native`,
/// `-Ctarget-cpu=native`.
///
/// # Safety
/// `given` is an array of C strings that ends with null.
unsafe fn adapt_to_processor(given: List) -> bool {
    let mut next = given;
    // SAFETY: the array ends with null.
    unsafe {
        while !(*next).is_null() {
            if bytes(*next).ends_with(b"=native") {
                return true;
            }
            next = next.add(1);
        }
    }
    false
}

/// Whether a program is the driver of GCC or Clang: `cc`, `x86_64-linux-gnu-gcc-12`, `clang++`.
fn is_c_compiler(name: &[u8]) -> bool {
    const DRIVERS: [&[u8]; 6] = [b"cc", b"c++", b"gcc", b"g++", b"clang", b"clang++"];
    let is_version = |part: &[u8]| {
        !part.is_empty() && part.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
    };
    let mut parts = name.rsplit(|byte| *byte == b'-');
    let mut last = parts.next().unwrap_or_default();
    if is_version(last) {
        last = parts.next().unwrap_or_default();
    }
    DRIVERS.contains(&last)
}
