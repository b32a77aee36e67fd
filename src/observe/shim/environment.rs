//! The variables that a program gets: with those that have it observed.

use core::ffi::c_char;
use core::ptr;

use crate::exec::List;
use crate::layout::{PRELOAD_VARIABLE, VARIABLE};
use crate::log;
use crate::system::{self, bytes};

/// The environment for a program: the caller's, with the entries of the observation put back
/// where they are missing. Its memory is its own, and is given back where the program did not
/// start.
pub(crate) struct Environment {
    pub(crate) list: List,
    memory: *mut u8,
    memory_bytes: usize,
}

impl Environment {
    pub(crate) fn new(given: List) -> Self {
        let kept = Self { list: given, memory: ptr::null_mut(), memory_bytes: 0 };
        let Some(entries) = log::entries() else { return kept };
        // SAFETY: the caller's environment, as it passes it on.
        let (preload, log) = unsafe {
            (
                bytes(system::find_variable(given, PRELOAD_VARIABLE.as_bytes())),
                bytes(system::find_variable(given, VARIABLE.as_bytes())),
            )
        };
        let is_first = preload.starts_with(entries.preload);
        if is_first && log == entries.log {
            return kept;
        }
        // SAFETY: as above.
        unsafe { Self::rebuilt(given, preload, is_first, &entries) }.unwrap_or(kept)
    }

    /// # Safety
    /// `given` is null or an array of C strings that ends with null.
    unsafe fn rebuilt(
        given: List,
        preload: &[u8],
        is_first: bool,
        entries: &log::Entries,
    ) -> Option<Self> {
        let mut count = 0_usize;
        // SAFETY: the array ends with null.
        unsafe {
            while !given.is_null() && !(*given.add(count)).is_null() {
                count += 1;
            }
        }
        let list_bytes = (count + 3) * size_of::<*const c_char>();
        let text_bytes = preload.len() + entries.preload.len() + entries.log.len() + 64;
        let memory_bytes = list_bytes + text_bytes;
        let memory = system::map(None, memory_bytes);
        if memory.is_null() {
            return None;
        }
        let list: *mut *const c_char = memory.cast();
        // SAFETY: the lists and both texts fit into the fresh memory, whose rest is zero.
        unsafe {
            let mut text = memory.add(list_bytes);
            let mut put = |part: &[u8]| {
                ptr::copy_nonoverlapping(part.as_ptr(), text, part.len());
                text = text.add(part.len());
                text
            };
            let mut length = 0;
            for index in 0..count {
                let entry = *given.add(index);
                if !names(entry, PRELOAD_VARIABLE.as_bytes()) && !names(entry, VARIABLE.as_bytes())
                {
                    *list.add(length) = entry;
                    length += 1;
                }
            }
            *list.add(length) = put(b"").cast();
            put(PRELOAD_VARIABLE.as_bytes());
            put(b"=");
            if !is_first {
                put(entries.preload);
                if !preload.is_empty() {
                    put(b":");
                }
            }
            put(preload);
            put(b"\0");
            *list.add(length + 1) = put(b"").cast();
            put(VARIABLE.as_bytes());
            put(b"=");
            put(entries.log);
        }
        Some(Self { list, memory, memory_bytes })
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        if !self.memory.is_null() {
            system::unmap(self.memory, self.memory_bytes);
        }
    }
}

/// Whether an entry is `name=…`.
///
/// # Safety
/// `entry` is a C string.
unsafe fn names(entry: *const c_char, name: &[u8]) -> bool {
    // SAFETY: the caller says so.
    let entry = unsafe { bytes(entry) };
    entry.starts_with(name) && entry.get(name.len()) == Some(&b'=')
}
