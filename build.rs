//! Compiles the observer's preloaded library for the target, where the observer exists, and has the
//! executable linked so that starting it costs little.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Directories are looked through.
const SOURCES: [&str; 3] = ["src/observe/shim.rs", "src/observe/layout.rs", "src/observe/shim"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    let output = PathBuf::from(variable("OUT_DIR")).join("observe.so");
    let system = variable("CARGO_CFG_TARGET_OS");
    match (system.as_str(), variable("CARGO_CFG_TARGET_ARCH").as_str()) {
        ("linux", "x86_64" | "aarch64") => {
            assert!(compile(&output, &LINUX), "the observer's library does not compile");
        }
        // Nobody has run it there yet: without it kache works, and caches less.
        ("macos", "aarch64") if compile(&output, &[]) => {}
        // An empty library: observation is not possible there.
        _ => std::fs::write(&output, []).expect("the build directory can be written to"),
    }
    let is_gnu = system == "linux" && variable("CARGO_CFG_TARGET_ENV") == "gnu";
    if is_gnu && variable("HOST") == variable("TARGET") {
        link_statically();
    }
}

/// Libraries that the compiler names when it links an executable for GNU systems, and the archives
/// that stand for them.
const LIBRARIES: [(&str, &[&str]); 7] = [
    ("libc.so", &["libc.a", "libgcc_eh.a", "libgcc.a"]),
    ("libgcc_s.so", &["libgcc_eh.a", "libgcc.a", "libc.a"]),
    ("libm.so", &["libm.a"]),
    ("libdl.so", &["libdl.a"]),
    ("libpthread.so", &["libpthread.a"]),
    ("librt.so", &["librt.a"]),
    ("libutil.so", &["libutil.a"]),
];

/// Links the executable statically and to a fixed address, where the C library comes as an archive:
/// Cargo sets a library path for the compiler and so for the wrapper, in which the loader would
/// search for every shared library first (some 40 system calls at each start, and relocations).
///
/// The compiler names shared libraries all the same. Linker scripts of those names lead to the
/// archives.
fn link_statically() {
    let Some(scripts) = LIBRARIES.iter().map(script).collect::<Option<Vec<_>>>() else { return };
    let directory = PathBuf::from(variable("OUT_DIR")).join("static");
    std::fs::create_dir_all(&directory).expect("the build directory can be written to");
    for ((name, _), script) in LIBRARIES.iter().zip(scripts) {
        std::fs::write(directory.join(name), script)
            .expect("the build directory can be written to");
    }
    println!("cargo::rustc-link-arg-bins=-L{}", directory.display());
    println!("cargo::rustc-link-arg-bins=-static");
    println!("cargo::rustc-link-arg-bins=-no-pie");
}

/// The linker script of a library; `None` if one of its archives is not there.
fn script((_, archives): &(&str, &[&str])) -> Option<String> {
    let found = archives.iter().map(|archive| archive_path(archive)).collect::<Option<Vec<_>>>()?;
    Some(format!("GROUP ( {} )\n", found.join(" ")))
}

/// Where the C compiler finds an archive.
fn archive_path(name: &str) -> Option<String> {
    let linker = env::var("RUSTC_LINKER").unwrap_or_else(|_| "cc".to_owned());
    let output = Command::new(linker).arg(format!("-print-file-name={name}")).output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (path.starts_with('/') && Path::new(&path).exists()).then_some(path)
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("Cargo sets {name}"))
}

/// The library does without the C library's start and without its functions.
const LINUX: [&str; 3] =
    ["-Clink-arg=-nostartfiles", "-Clink-arg=-nostdlib", "-Clink-arg=-Wl,-z,now"];

/// Whether the library could be compiled.
fn compile(output: &Path, link_arguments: &[&str]) -> bool {
    let mut command = Command::new(variable("RUSTC"));
    command
        .args(["--edition=2024", "--crate-type=cdylib", "--crate-name=kache_observe"])
        .args(["-Cpanic=abort", "-Copt-level=3", "-Crelocation-model=pic", "-Ccodegen-units=1"])
        .args(["-Cstrip=symbols", "-Cforce-unwind-tables=no", "-Ccontrol-flow-guard=no"])
        .args(link_arguments)
        .arg(format!("--target={}", variable("TARGET")))
        .arg("src/observe/shim.rs")
        .arg("-o")
        .arg(output);
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        command.arg(format!("-Clinker={linker}"));
    }
    command.status().expect("the compiler that builds this package runs").success()
}
