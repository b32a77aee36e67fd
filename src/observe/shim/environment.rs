//! The variables that a program gets: with those that have it observed, or without them where nothing is
//! started that could be.

use core::ffi::c_char;
use core::ptr;

use crate::exec::List;
use crate::layout::{PRELOAD_VARIABLE, VARIABLE};
use crate::system::{self, bytes};
use crate::ways::Absolute;
use crate::{loader, log};

/// Entries that have a program observed; those that are empty are left out.
struct Entries<'a> {
    /// Two parts of the list of libraries.
    preload: [&'a [u8]; 2],
    log: &'a [u8],
}

/// The environment for a program: the caller's, with the entries of the observation put back
/// where they are missing, or taken out. Its memory is its own, and is given back where the program did not
/// start.
pub(crate) struct Environment {
    pub(crate) list: List,
    memory: *mut u8,
    memory_bytes: usize,
}

impl Environment {
    /// What `executable` gets that is run with these arguments and variables.
    pub(crate) fn new(executable: &Absolute, arguments: List, given: List) -> Self {
        let kept = Self { list: given, memory: ptr::null_mut(), memory_bytes: 0 };
        let Some(entries) = log::entries() else { return kept };
        // SAFETY: the caller's environment and arguments, as it passes them on.
        let (preload, log, runs_nothing) = unsafe {
            (
                bytes(system::find_variable(given, PRELOAD_VARIABLE.as_bytes())),
                bytes(system::find_variable(given, VARIABLE.as_bytes())),
                loader::runs_nothing(executable.path(), arguments, given),
            )
        };
        let behind = preload.strip_prefix(entries.preload);
        let wanted = match behind {
            _ if runs_nothing => {
                let others = behind.map(|list| list.strip_prefix(b":").unwrap_or(list));
                Entries { preload: [b"", others.unwrap_or(preload)], log: b"" }
            }
            Some(_) if log == entries.log => return kept,
            Some(_) => Entries { preload: [b"", preload], log: entries.log },
            None => Entries { preload: [entries.preload, preload], log: entries.log },
        };
        // SAFETY: as above.
        unsafe { Self::rebuilt(given, &wanted) }.unwrap_or(kept)
    }

    /// # Safety
    /// `given` is null or an array of C strings that ends with null.
    unsafe fn rebuilt(given: List, entries: &Entries) -> Option<Self> {
        let mut count = 0_usize;
        // SAFETY: the array ends with null.
        unsafe {
            while !given.is_null() && !(*given.add(count)).is_null() {
                count += 1;
            }
        }
        let [first, others] = entries.preload;
        let list_bytes = (count + 3) * size_of::<*const c_char>();
        let text_bytes = first.len() + others.len() + entries.log.len() + 64;
        let memory_bytes = list_bytes + text_bytes;
        let memory = system::map(None, memory_bytes);
        if memory.is_null() {
            return None;
        }
        let list: *mut *const c_char = memory.cast();
        // SAFETY: the lists and both texts fit into the fresh memory, whose rest is zero.
        unsafe {
            let mut text = memory.add(list_bytes);
            let mut put = |parts: [&[u8]; 5]| {
                let begin = text;
                for part in parts {
                    ptr::copy_nonoverlapping(part.as_ptr(), text, part.len());
                    text = text.add(part.len());
                }
                begin.cast()
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
            if !first.is_empty() || !others.is_empty() {
                let between: &[u8] = if first.is_empty() || others.is_empty() { b"" } else { b":" };
                let name = PRELOAD_VARIABLE.as_bytes();
                *list.add(length) = put([name, b"=", first, between, others]);
                length += 1;
                put([b"\0", b"", b"", b"", b""]);
            }
            if !entries.log.is_empty() {
                *list.add(length) = put([VARIABLE.as_bytes(), b"=", entries.log, b"", b""]);
            }
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
