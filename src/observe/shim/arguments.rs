//! Arguments that C compilers get besides those that they are given: where debug information shall
//! say that files are. Objects then do not name the directory in which a build script ran, and
//! nothing else about them changes: no environment variable that a configure script would see, no
//! macro, no code.

use core::ffi::c_char;
use core::ptr;

use crate::exec::List;
use crate::layout::{LINK_NAME, MACHINE};
use crate::log;
use crate::system::{self, bytes};
use crate::ways::Absolute;

/// The arguments for a program: the caller's, with those of the wrapper after the first where the
/// program is a C compiler's driver. Its memory is its own, and is given back where the program
/// did not start.
pub(crate) struct Arguments {
    pub(crate) list: List,
    memory: *mut u8,
    memory_bytes: usize,
}

impl Arguments {
    pub(crate) fn new(executable: &Absolute, given: List) -> Self {
        let kept = Self { list: given, memory: ptr::null_mut(), memory_bytes: 0 };
        if given.is_null() {
            return kept;
        }
        let name = file_name(executable.path());
        let is_kache = name == b"kache" || name == LINK_NAME.as_bytes();
        // What compiles C puts kache in front of the compiler where Cargo does, and kache becomes that.
        // SAFETY: the caller's arguments, as it passes them on.
        let behind = if is_kache { file_name(unsafe { first(given) }) } else { b"" };
        // SAFETY: as above.
        if unsafe { adapt_to_processor(if is_kache { behind } else { name }, given) } {
            log::text(MACHINE, &[b"processor"]);
        }
        let extra = log::compiler_arguments();
        if extra.is_empty() {
            return kept;
        }
        let is_behind = is_c_compiler(behind);
        if !is_behind && !is_c_compiler(name) {
            return kept;
        }
        // A script may look at its arguments, and runs the compiler itself.
        if system::is_script(executable.as_ptr()) {
            return kept;
        }
        // SAFETY: as above.
        unsafe { Self::extended(given, 1 + usize::from(is_behind), extra) }.unwrap_or(kept)
    }

    /// The arguments with `extra` behind the first `words` of them.
    ///
    /// # Safety
    /// `given` is an array of C strings that ends with null.
    unsafe fn extended(given: List, words: usize, extra: &'static [u8]) -> Option<Self> {
        let mut count = 0_usize;
        // SAFETY: the array ends with null.
        let runs_itself = unsafe {
            while !(*given.add(count)).is_null() {
                count += 1;
            }
            count > words && bytes(*given.add(words)).starts_with(b"-cc1")
        };
        if count < words || runs_itself {
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
            for index in 0..words {
                *list.add(index) = *given.add(index);
            }
            for (index, argument) in extra.split_inclusive(|byte| *byte == 0).enumerate() {
                *list.add(words + index) = argument.as_ptr().cast();
            }
            for index in words..count {
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

pub(crate) fn file_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

/// The first argument behind the program's own name; empty if there is none.
///
/// # Safety
/// `given` is an array of C strings that ends with null.
unsafe fn first<'a>(given: List) -> &'a [u8] {
    // SAFETY: nothing behind the closing null is read.
    unsafe {
        if (*given).is_null() || (*given.add(1)).is_null() { b"" } else { bytes(*given.add(1)) }
    }
}

/// Whether a compiler makes code for the processor that it runs on (`-march=native`, `-Ctarget-cpu=native`),
/// may be told to in a file, or tells which one that is.
///
/// # Safety
/// `given` is an array of C strings that ends with null.
unsafe fn adapt_to_processor(name: &[u8], given: List) -> bool {
    let reads_files = is_c_compiler(name) || is_rust_compiler(name);
    let says_host = is_llvms(name);
    let mut next = given;
    // SAFETY: the array ends with null.
    unsafe {
        while !(*next).is_null() {
            let argument = bytes(*next);
            let is_in_file = argument.starts_with(b"@") || argument.starts_with(b"--config");
            if argument.ends_with(b"=native")
                || reads_files && (is_in_file || argument.ends_with(b"target-cpus"))
                || says_host && argument.ends_with(b"-version")
            {
                return true;
            }
            next = next.add(1);
        }
    }
    false
}

/// A program's name without the target in front and the version behind.
fn plain(name: &[u8]) -> &[u8] {
    let is_version = |part: &[u8]| {
        !part.is_empty() && part.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
    };
    let mut parts = name.rsplit(|byte| *byte == b'-');
    let last = parts.next().unwrap_or_default();
    if is_version(last) { parts.next().unwrap_or_default() } else { last }
}

/// Whether a program is the driver of GCC or Clang: `cc`, `x86_64-linux-gnu-gcc-12`, `clang++`.
fn is_c_compiler(name: &[u8]) -> bool {
    const DRIVERS: [&[u8]; 6] = [b"cc", b"c++", b"gcc", b"g++", b"clang", b"clang++"];
    DRIVERS.contains(&plain(name))
}

fn is_rust_compiler(name: &[u8]) -> bool {
    matches!(name, b"rustc" | b"rustdoc" | b"clippy-driver")
}

/// Whether a program is one of LLVM's that name the processor with their version: `llc`, `llvm-ar-14`.
fn is_llvms(name: &[u8]) -> bool {
    matches!(plain(name), b"llc" | b"lli" | b"opt")
        || name.starts_with(b"llvm-") && plain(name) != b"config"
}
