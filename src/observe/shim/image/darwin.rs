//! The libraries of a process, as the loader numbers them: those that are not part of the system's
//! own cache of libraries, which is one with the system.
//!
//! Only type-checked: nothing of this has been run.

use core::ffi::{c_char, c_void};

use crate::system;

unsafe extern "C" {
    fn _dyld_get_image_header(index: u32) -> *const Header;
    fn _dyld_get_image_name(index: u32) -> *const c_char;
    fn _dyld_get_image_vmaddr_slide(index: u32) -> isize;
    fn _dyld_image_count() -> u32;
    fn _dyld_shared_cache_contains_path(path: *const c_char) -> bool;
}

/// `struct mach_header_64`.
#[repr(C)]
struct Header {
    before: [u32; 4],
    command_count: u32,
    after: [u32; 3],
}

/// `struct segment_command_64` up to where it lies; of every command the first two fields.
#[repr(C)]
struct Segment {
    command: u32,
    command_bytes: u32,
    name: [u8; 16],
    address: u64,
    memory_bytes: u64,
}

pub(super) struct Library {
    name: *const c_char,
    header: *const Header,
    slide: usize,
}

impl Library {
    pub(super) fn name(&self) -> &[u8] {
        // SAFETY: a C string or null, as long as the library is loaded.
        unsafe { system::bytes(self.name) }
    }

    /// The address ranges of its executable code.
    pub(super) fn code(&self) -> impl Iterator<Item = [usize; 2]> {
        const SEGMENT_64: u32 = 0x19;
        const TEXT: &[u8; 16] = b"__TEXT\0\0\0\0\0\0\0\0\0\0";
        let slide = self.slide;
        // SAFETY: a library that is loaded has its commands right behind its header.
        let (count, mut next) =
            unsafe { ((*self.header).command_count, self.header.add(1).cast::<c_void>()) };
        let commands = (0..count).map(move |_| {
            let command: *const Segment = next.cast();
            // SAFETY: as above; each command begins with its length.
            next = unsafe { next.byte_add((*command).command_bytes as usize) };
            command
        });
        // SAFETY: as above; a command of that kind has all these fields.
        let is_text = |command: &*const Segment| unsafe {
            (**command).command == SEGMENT_64 && (**command).name == *TEXT
        };
        commands.filter(is_text).map(move |command| {
            // SAFETY: as above.
            let (address, bytes) = unsafe { ((*command).address, (*command).memory_bytes) };
            let begin = slide.wrapping_add(address as usize);
            [begin, begin.wrapping_add(bytes as usize)]
        })
    }
}

pub(super) fn each_library(each: &mut dyn FnMut(&Library)) {
    // SAFETY: without arguments.
    for index in 0..unsafe { _dyld_image_count() } {
        // SAFETY: where a library was unloaded meanwhile these are null.
        let (name, header, slide) = unsafe {
            (
                _dyld_get_image_name(index),
                _dyld_get_image_header(index),
                _dyld_get_image_vmaddr_slide(index),
            )
        };
        // SAFETY: a C string.
        if !name.is_null()
            && !header.is_null()
            && !unsafe { _dyld_shared_cache_contains_path(name) }
        {
            each(&Library { name, header, slide: slide as usize });
        }
    }
}
