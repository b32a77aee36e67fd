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
        #[cfg(not(target_os = "linux"))]
        Some(first) if first == kache::observe::trial::ARGUMENT => on_trial(&arguments),
        _ => kache::cli::main(),
    }
}

/// What the observer is tried with.
#[cfg(not(target_os = "linux"))]
fn on_trial(arguments: &[std::ffi::OsString]) -> ExitCode {
    let directory = arguments.get(1).map(std::path::Path::new);
    match directory.map(kache::observe::trial::perform) {
        Some(Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
