//! Compiles the observer's preloaded library for the target, where the observer exists.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCES: [&str; 10] = [
    "src/observe/shim.rs",
    "src/observe/layout.rs",
    "src/observe/shim",
    "src/observe/shim/exec.rs",
    "src/observe/shim/files.rs",
    "src/observe/shim/log.rs",
    "src/observe/shim/lookups.rs",
    "src/observe/shim/next.rs",
    "src/observe/shim/probes.rs",
    "src/observe/shim/system.rs",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    let output = PathBuf::from(variable("OUT_DIR")).join("observe.so");
    let linux = variable("CARGO_CFG_TARGET_OS") == "linux";
    let architecture = variable("CARGO_CFG_TARGET_ARCH");
    if linux && matches!(architecture.as_str(), "x86_64" | "aarch64") {
        compile(&output);
    } else {
        // An empty library: observation is not possible there.
        std::fs::write(&output, []).expect("the build directory can be written to");
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("Cargo sets {name}"))
}

fn compile(output: &Path) {
    let mut command = Command::new(variable("RUSTC"));
    command
        .args(["--edition=2024", "--crate-type=cdylib", "--crate-name=kache_observe"])
        .args(["-Cpanic=abort", "-Copt-level=3", "-Crelocation-model=pic", "-Ccodegen-units=1"])
        .args(["-Cstrip=symbols", "-Cforce-unwind-tables=no", "-Ccontrol-flow-guard=no"])
        .args(["-Clink-arg=-nostartfiles", "-Clink-arg=-nostdlib", "-Clink-arg=-Wl,-z,now"])
        .arg(format!("--target={}", variable("TARGET")))
        .arg("src/observe/shim.rs")
        .arg("-o")
        .arg(output);
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        command.arg(format!("-Clinker={linker}"));
    }
    let status = command.status().expect("the compiler that builds this package runs");
    assert!(status.success(), "the observer's library does not compile");
}
