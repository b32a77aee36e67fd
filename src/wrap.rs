//! One call in place of the compiler.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, exit};

/// Whether the first argument is a compiler and not a command of kache: a path, or the bare name of
/// a driver. No command contains a slash or ends like a driver.
pub fn is_compiler(argument: &OsStr) -> bool {
    let bytes = argument.as_bytes();
    let name = Path::new(argument).file_name().map_or(bytes, OsStr::as_bytes);
    !bytes.starts_with(b"-")
        && (bytes.contains(&b'/')
            || name.starts_with(b"rustc")
            || name.ends_with(b"rustc")
            || name.ends_with(b"-driver"))
}

/// Runs the compiler that the arguments name.
pub fn main(arguments: &[OsString]) -> ! {
    let Some((compiler, rest)) = arguments.split_first() else { exit(2) };
    let error = Command::new(compiler).args(rest).exec();
    crate::log::error!("cannot run {}: {error}", compiler.display());
    exit(127)
}
