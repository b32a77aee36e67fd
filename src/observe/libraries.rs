//! What is known of libraries by their names.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Libraries that every program of a system shares: the C library, the loader and what compilers
/// add. How they behave is a contract; where a linker reads them, that is an input.
pub(super) fn is_runtime(library: &Path) -> bool {
    const PLACES: [&str; 8] = [
        "/lib",
        "/lib32",
        "/lib64",
        "/libx32",
        "/usr/lib",
        "/usr/lib32",
        "/usr/lib64",
        "/usr/libx32",
    ];
    PLACES.iter().any(|place| library.starts_with(place)) && has_runtime_name(library)
}

/// Whether a library's name is that of the C library, the loader or what compilers add.
pub(super) fn has_runtime_name(library: &Path) -> bool {
    const NAMES: [&[u8]; 13] = [
        b"ld-linux",
        b"ld-musl",
        b"ld64",
        b"libc.so",
        b"libc.musl",
        b"libdl.so",
        b"libm.so",
        b"libmvec.so",
        b"libpthread.so",
        b"librt.so",
        b"libutil.so",
        b"libgcc_s.so",
        b"libstdc++.so",
    ];
    begins_with_one_of(library, &NAMES)
}

/// Whether this is the C library, or a part of it that has functions of files.
pub(super) fn is_c_library(library: &Path) -> bool {
    const NAMES: [&[u8]; 4] = [b"libc.so", b"libc.musl", b"ld-musl", b"libpthread.so"];
    begins_with_one_of(library, &NAMES)
}

/// The last part of a path; empty if it has none.
pub(super) fn file_name(path: &Path) -> &[u8] {
    path.file_name().map_or(&b""[..], OsStr::as_bytes)
}

fn begins_with_one_of(library: &Path, beginnings: &[&[u8]]) -> bool {
    let name = file_name(library);
    beginnings.iter().any(|beginning| name.starts_with(beginning))
}
