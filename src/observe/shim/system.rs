//! What the rest needs of the system below the C library, one file for each system.

use core::ffi::{c_char, c_int};

#[cfg(target_vendor = "apple")]
#[path = "system/darwin.rs"]
mod platform;
#[cfg(not(target_vendor = "apple"))]
#[path = "system/linux.rs"]
mod platform;

pub(crate) use platform::*;

pub(crate) const ENOENT: c_int = 2;
pub(crate) const EBADF: c_int = 9;
pub(crate) const EFAULT: c_int = 14;
pub(crate) const EEXIST: c_int = 17;
pub(crate) const ENOTDIR: c_int = 20;
pub(crate) const EINVAL: c_int = 22;
pub(crate) const PATH_BYTES_MAX: usize = 4096;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Node {
    File,
    Directory,
    Other,
}

fn node(mode: u32) -> Node {
    match mode & 0o170_000 {
        0o100_000 => Node::File,
        0o040_000 => Node::Directory,
        _ => Node::Other,
    }
}

/// The bytes of a C string without the closing NUL.
///
/// # Safety
/// `text` is null or a valid C string for as long as the result is used.
pub(crate) unsafe fn bytes<'a>(text: *const c_char) -> &'a [u8] {
    if text.is_null() {
        return &[];
    }
    let mut length = 0;
    // SAFETY: up to its NUL the string can be read, as the caller says.
    unsafe {
        while *text.add(length) != 0 {
            length += 1;
        }
        core::slice::from_raw_parts(text.cast(), length)
    }
}

/// The value of a variable in an array of `NAME=value`.
///
/// # Safety
/// `environment` is null or an array of C strings that ends with null.
pub(crate) unsafe fn find_variable(
    environment: *const *const c_char,
    name: &[u8],
) -> *const c_char {
    if environment.is_null() {
        return core::ptr::null();
    }
    let mut entry = environment;
    // SAFETY: the array ends with null, which ends the loop; entries are C strings.
    unsafe {
        while !(*entry).is_null() {
            let text: *const u8 = (*entry).cast();
            let mut matched = 0;
            for byte in name {
                if *text.add(matched) != *byte {
                    break;
                }
                matched += 1;
            }
            if matched == name.len() && *text.add(matched) == b'=' {
                return text.add(matched + 1).cast();
            }
            entry = entry.add(1);
        }
    }
    core::ptr::null()
}
