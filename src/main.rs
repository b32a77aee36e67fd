//! The executable: a compiler wrapper, a build script's launcher, or a command line.
//!
//! The first argument decides, before anything else is touched.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    match arguments.first() {
        Some(first) if first == kache::launcher::WORD => kache::script::main(&arguments[1..]),
        Some(first) if kache::wrap::is_c_compiler(first) => kache::wrap::exec(&arguments),
        Some(first) if kache::wrap::is_compiler(first) => kache::wrap::main(&arguments),
        _ => kache::cli::main(),
    }
}
