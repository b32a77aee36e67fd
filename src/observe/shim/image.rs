//! The code that a process started with, as opposed to what it loaded later.

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

#[cfg(target_vendor = "apple")]
#[path = "image/darwin.rs"]
mod platform;
#[cfg(not(target_vendor = "apple"))]
#[path = "image/linux.rs"]
mod platform;

use platform::{Library, each_library};

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
    each_library(&mut |library| {
        if !library.code().any(|[begin, _]| is_initial(begin)) {
            named(library, each);
        }
    });
}

/// Passes on the path of the library whose code an address is in.
#[cfg(target_os = "linux")]
pub(crate) fn holder(address: usize, each: &dyn Fn(&[u8])) {
    each_library(&mut |library| {
        if library.code().any(|[begin, end]| begin <= address && address < end) {
            named(library, each);
        }
    });
}

/// Remembers where the code of this process is, and passes on the path of each library.
pub(crate) fn remember(each: impl Fn(&[u8])) {
    let mut free = RANGES.iter();
    each_library(&mut |library| {
        for ([from, to], [begin, end]) in library.code().zip(&mut free) {
            begin.store(from, Relaxed);
            end.store(to, Relaxed);
        }
        named(library, &each);
    });
}

fn named(library: &Library, each: &dyn Fn(&[u8])) {
    let name = library.name();
    if name.first() == Some(&b'/') {
        each(name);
    } else if name.contains(&b'/') {
        crate::log::blind("a library that is named from a directory");
    }
}
