//! Compiles the observer's preloaded library and the launcher's program for the target, where they exist, and
//! has the executable linked so that starting it costs little.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Directories are looked through.
const SOURCES: [&str; 5] = [
    "src/observe/shim.rs",
    "src/observe/layout.rs",
    "src/observe/shim",
    "src/launcher/program.rs",
    "src/launcher/layout.rs",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    let output = |name| PathBuf::from(variable("OUT_DIR")).join(name);
    let (library, launcher) = (output("observe.so"), output("launcher"));
    let system = variable("CARGO_CFG_TARGET_OS");
    match (system.as_str(), variable("CARGO_CFG_TARGET_ARCH").as_str()) {
        ("linux", "x86_64" | "aarch64") => {
            assert!(compile(&LIBRARY, &library, &LINUX), "the observer's library does not compile");
            assert!(compile(&LAUNCHER, &launcher, &STATIC), "the launcher does not compile");
        }
        // Nobody has run it there yet: without it kache works, and caches less.
        ("macos", "aarch64") if compile(&LIBRARY, &library, &[]) => empty(&launcher),
        // Observation is not possible there, and launchers are scripts.
        _ => {
            empty(&library);
            empty(&launcher);
        }
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

fn empty(output: &Path) {
    std::fs::write(output, []).expect("the build directory can be written to");
}

/// What is compiled: source and arguments.
type Part = (&'static str, [&'static str; 3]);

const LIBRARY: Part = (
    "src/observe/shim.rs",
    ["--crate-type=cdylib", "--crate-name=kache_observe", "-Crelocation-model=pic"],
);
const LAUNCHER: Part = (
    "src/launcher/program.rs",
    ["--crate-type=bin", "--crate-name=kache_launcher", "-Crelocation-model=static"],
);

/// The library does without the C library's start and without its functions.
const LINUX: [&str; 3] =
    ["-Clink-arg=-nostartfiles", "-Clink-arg=-nostdlib", "-Clink-arg=-Wl,-z,now"];
/// So does the launcher, which needs no loader either, and has as little between its parts as can be.
const STATIC: [&str; 5] = [
    "-Clink-arg=-nostartfiles",
    "-Clink-arg=-nostdlib",
    "-Clink-arg=-static",
    "-Clink-arg=-no-pie",
    "-Clink-arg=-Wl,--build-id=none,-z,max-page-size=4096,-z,noseparate-code",
];

/// Whether a part could be compiled.
fn compile((source, arguments): &Part, output: &Path, link_arguments: &[&str]) -> bool {
    let mut command = Command::new(variable("RUSTC"));
    command
        .arg("--edition=2024")
        .args(arguments)
        .args(["-Cpanic=abort", "-Copt-level=3", "-Ccodegen-units=1"])
        .args(["-Cstrip=symbols", "-Cforce-unwind-tables=no", "-Ccontrol-flow-guard=no"])
        .args(link_arguments)
        .arg(format!("--target={}", variable("TARGET")))
        .arg(source)
        .arg("-o")
        .arg(output);
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        command.arg(format!("-Clinker={linker}"));
    }
    command.status().expect("the compiler that builds this package runs").success()
}
