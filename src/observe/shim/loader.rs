//! Programs that the loader does not start: told to, it lists what a program would have, and the C library
//! says which one it is. What is loaded before programs would be listed as well, or end them.

use crate::arguments::file_name;
use crate::exec::List;
use crate::system::{self, bytes};

/// With which the loader does something else than to run the program that it is given.
const ACTIONS: [&[u8]; 6] =
    [b"--list", b"--verify", b"--version", b"--help", b"--list-tunables", b"--list-diagnostics"];

/// Options of the loader whose value is the next argument.
const VALUED: [&[u8]; 7] = [
    b"--library-path",
    b"--inhibit-rpath",
    b"--preload",
    b"--argv0",
    b"--audit",
    b"--glibc-hwcaps-prepend",
    b"--glibc-hwcaps-mask",
];

/// Whether no program will run. `executable` is a path.
///
/// # Safety
/// Both lists are null or arrays of C strings that end with null.
pub(crate) unsafe fn runs_nothing(executable: &[u8], arguments: List, environment: List) -> bool {
    if !cfg!(target_os = "linux") {
        return false;
    }
    let name = file_name(executable);
    // SAFETY: the caller says so.
    unsafe {
        !system::find_variable(environment, b"LD_TRACE_LOADED_OBJECTS").is_null()
            || is_c_library(name)
            || is_loader(name) && is_told_to_act(arguments)
    }
}

fn is_c_library(name: &[u8]) -> bool {
    name == b"libc.so.6" || name.starts_with(b"libc-2.")
}

/// The C library musl is its own loader.
fn is_loader(name: &[u8]) -> bool {
    const STARTS: [&[u8]; 4] = [b"ld-linux", b"ld-musl-", b"ld-2.", b"libc.musl-"];
    name == b"ld.so" || name == b"libc.so" || STARTS.iter().any(|start| name.starts_with(start))
}

/// # Safety
/// `arguments` is null or an array of C strings that ends with null.
unsafe fn is_told_to_act(arguments: List) -> bool {
    if arguments.is_null() {
        return false;
    }
    let mut next = arguments;
    let mut is_value = true;
    // SAFETY: nothing behind the closing null is read.
    unsafe {
        while !(*next).is_null() {
            let argument = bytes(*next);
            if !is_value {
                if ACTIONS.contains(&argument) {
                    return true;
                }
                if !argument.starts_with(b"--") || argument == b"--" {
                    return false;
                }
            }
            is_value = !is_value && VALUED.contains(&argument);
            next = next.add(1);
        }
    }
    false
}
