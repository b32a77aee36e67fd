//! The code that a process started with, as opposed to what it loaded later.

use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::system::{self, next_types::{LibraryInfo, Segment}};

const RANGES_MAX: usize = 64;

/// Address ranges of executable code: begin and end. Written once, when the process starts; an
/// empty range contains nothing.
static RANGES: [[AtomicUsize; 2]; RANGES_MAX] =
    [const { [const { AtomicUsize::new(0) }; 2] }; RANGES_MAX];

/// Whether the code at an address was there when the process started. Code that is not known
/// counts as loaded later.
pub(crate) fn is_initial(address: usize) -> bool {
    RANGES.iter().any(|[begin, end]| {
        let end = end.load(Relaxed);
        address < end && begin.load(Relaxed) <= address
    })
}

/// Passes on the path of each library that the process did not start with.
pub(crate) fn each_later(each: &dyn Fn(&[u8])) {
    let mut each = each;
    if let Some(iterate) = system::kache_dl_iterate_phdr {
        // SAFETY: the callback has the type that the C library wants, and gets the function back.
        unsafe { iterate(visit_later, (&raw mut each).cast()) };
    }
}

extern "C" fn visit_later(library: *const LibraryInfo, _size: usize, data: *mut c_void) -> c_int {
    // SAFETY: the C library passes a valid structure, and what `each_later` gave it.
    let (library, each) = unsafe { (&*library, &*data.cast::<&dyn Fn(&[u8])>()) };
    // SAFETY: a C string or null.
    let name = unsafe { system::bytes(library.name) };
    if name.first() == Some(&b'/') && !code(library).any(|[begin, _]| is_initial(begin)) {
        each(name);
    }
    0
}

/// The address ranges of a library's executable code.
fn code(library: &LibraryInfo) -> impl Iterator<Item = [usize; 2]> {
    const LOADED: u32 = 1;
    const EXECUTABLE: u32 = 1;
    // SAFETY: so many segments there are.
    let segments = (0..usize::from(library.segment_count))
        .map(|index| unsafe { &*library.segments.add(index) });
    let is_code = |segment: &&Segment| segment.kind == LOADED && segment.flags & EXECUTABLE != 0;
    segments.filter(is_code).map(|segment| {
        let begin = library.address.wrapping_add(segment.address as usize);
        [begin, begin.wrapping_add(segment.memory_bytes as usize)]
    })
}

struct Walk<'a> {
    index: usize,
    each: &'a dyn Fn(&[u8]),
}

/// Remembers where the code of this process is, and passes on the path of each library.
pub(crate) fn remember(each: impl Fn(&[u8])) {
    let mut walk = Walk { index: 0, each: &each };
    if let Some(iterate) = system::kache_dl_iterate_phdr {
        // SAFETY: the callback has the type that the C library wants, and gets the walk back.
        unsafe { iterate(visit, (&raw mut walk).cast()) };
    }
}

extern "C" fn visit(library: *const LibraryInfo, _size: usize, data: *mut c_void) -> c_int {
    // SAFETY: the C library passes a valid structure, and what `remember` gave it.
    let (library, walk) = unsafe { (&*library, &mut *data.cast::<Walk<'_>>()) };
    for [from, to] in code(library) {
        if let Some([begin, end]) = RANGES.get(walk.index) {
            begin.store(from, Relaxed);
            end.store(to, Relaxed);
            walk.index += 1;
        }
    }
    // SAFETY: a C string or null.
    let name = unsafe { system::bytes(library.name) };
    if name.first() == Some(&b'/') {
        (walk.each)(name);
    }
    0
}
