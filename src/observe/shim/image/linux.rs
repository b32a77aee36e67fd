//! The libraries of a process, as the C library goes through them.

use core::ffi::{c_int, c_void};

use crate::system::{
    self,
    next_types::{LibraryInfo, Segment},
};

pub(super) struct Library<'a>(&'a LibraryInfo);

impl Library<'_> {
    pub(super) fn name(&self) -> &[u8] {
        // SAFETY: a C string or null.
        unsafe { system::bytes(self.0.name) }
    }

    /// The address ranges of its executable code.
    pub(super) fn code(&self) -> impl Iterator<Item = [usize; 2]> {
        const LOADED: u32 = 1;
        const EXECUTABLE: u32 = 1;
        let library = self.0;
        // SAFETY: so many segments there are.
        let segments = (0..usize::from(library.segment_count))
            .map(|index| unsafe { &*library.segments.add(index) });
        let is_code =
            |segment: &&Segment| segment.kind == LOADED && segment.flags & EXECUTABLE != 0;
        segments.filter(is_code).map(|segment| {
            let begin = library.address.wrapping_add(segment.address as usize);
            [begin, begin.wrapping_add(segment.memory_bytes as usize)]
        })
    }
}

pub(super) fn each_library(mut each: &mut dyn FnMut(&Library)) {
    if let Some(iterate) = system::kache_dl_iterate_phdr {
        // SAFETY: the callback has the type that the C library wants, and gets the function back.
        unsafe { iterate(visit, (&raw mut each).cast()) };
    }
}

extern "C" fn visit(library: *const LibraryInfo, _size: usize, data: *mut c_void) -> c_int {
    // SAFETY: the C library passes a valid structure, and what `each_library` gave it.
    let (library, each) = unsafe { (&*library, &mut *data.cast::<&mut dyn FnMut(&Library)>()) };
    each(&Library(library));
    0
}
