//! The executable: a compiler wrapper, or a command line.
//!
//! The first argument decides, before anything else is touched.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    match arguments.first() {
        Some(first) if kache::wrap::is_compiler(first) => kache::wrap::main(&arguments),
        _ => kache::cli::main(),
    }
}
