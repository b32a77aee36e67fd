//! The compilers that tests run, and a witness that counts their runs.
//!
//! The witness is a C program with the name `rustc` that appends its arguments to a log and becomes
//! the real compiler. It stands where a rustup proxy stands for most users, and it counts compiler
//! runs without asking kache. The log is a file that every process of a build inherits open: to open
//! it would be an access that kache observes, and what kache observes must be the build's alone.

use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use rustix::io::{FdFlags, fcntl_setfd};

use super::succeed;

/// A compiler to build with.
#[derive(Clone, Debug)]
pub(crate) struct Toolchain {
    /// What Cargo gets as `RUSTC`.
    pub(crate) rustc: PathBuf,
    /// The real programs (`cargo`, `rustdoc`, `clippy-driver`).
    pub(crate) bin: PathBuf,
    /// Where the witness writes; never written if `rustc` is no witness.
    pub(crate) log: PathBuf,
    /// Open as long as any build may run.
    pub(crate) inherited: Arc<File>,
}

impl Toolchain {
    /// The toolchain that built the tests, behind a witness that logs to the space.
    pub(crate) fn counted(space: &Path) -> Self {
        Self::witnessed(space, "witness", sysroot())
    }

    /// The nightly toolchain beside the one that built the tests, if there is one.
    pub(crate) fn nightly(space: &Path) -> Option<Self> {
        let toolchains = sysroot().parent()?;
        let mut nightlies: Vec<_> = fs::read_dir(toolchains)
            .ok()?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| {
                path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"nightly"))
            })
            .filter(|path| path.join("bin/cargo").exists())
            .collect();
        nightlies.sort();
        Some(Self::witnessed(space, "witness-nightly", nightlies.last()?))
    }

    /// A toolchain at any place, behind a witness in `<space>/<name>`.
    pub(crate) fn witnessed(space: &Path, name: &str, sysroot: &Path) -> Self {
        let directory = space.join(name);
        let log = directory.join("log");
        let bin = sysroot.join("bin");
        fs::create_dir_all(&directory).expect("a directory for the witness");
        let file = File::options().append(true).create(true).open(&log).expect("a log");
        fcntl_setfd(&file, FdFlags::empty()).expect("a file can be made to be inherited");
        let inherited = Arc::new(file);
        let rustc = witness(&directory, &bin, "rustc", &inherited);
        Self { rustc, bin, log, inherited }
    }

    /// A witness in the place of Clippy's driver, with the same log.
    pub(crate) fn witnessed_clippy(&self) -> PathBuf {
        let directory = self.rustc.parent().expect("the witness has a directory");
        witness(directory, &self.bin, "clippy-driver", &self.inherited)
    }
}

/// Compiles the witness that stands for the program of that name.
fn witness(directory: &Path, bin: &Path, name: &str, log: &File) -> PathBuf {
    let (source, program) = (directory.join("witness.c"), directory.join(name));
    fs::write(&source, WITNESS).expect("the witness can be written");
    let mut compile = Command::new("cc");
    compile
        .arg(format!("-DLOG={}", log.as_raw_fd()))
        .arg(format!("-DREAL=\"{}\"", bin.join(name).display()))
        .arg("-o")
        .args([&program, &source]);
    succeed(&mut compile);
    program
}

/// The program under test: the one built with the tests, or another that `KACHE_TEST_PROGRAM` names.
pub(crate) fn kache() -> &'static Path {
    static KACHE: OnceLock<PathBuf> = OnceLock::new();
    KACHE.get_or_init(|| {
        let named = std::env::var_os("KACHE_TEST_PROGRAM").map(PathBuf::from);
        named.unwrap_or_else(|| env!("CARGO_BIN_EXE_kache").into())
    })
}

/// The sysroot of the compiler that built the tests.
pub(crate) fn sysroot() -> &'static Path {
    static SYSROOT: OnceLock<PathBuf> = OnceLock::new();
    SYSROOT.get_or_init(|| {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let output = succeed(Command::new(rustc).args(["--print", "sysroot"]));
        let text = String::from_utf8(output.stdout).expect("the sysroot's path is text");
        PathBuf::from(text.trim_end())
    })
}

const WITNESS: &str = r"
#include <string.h>
#include <unistd.h>
static char line[1 << 20];
int main(int argc, char **argv) {
    size_t used = 0;
    for (int i = 1; i < argc; i++) {
        size_t size = strlen(argv[i]);
        if (used + size + 2 > sizeof line) return 99;
        memcpy(line + used, argv[i], size);
        used += size;
        line[used++] = i + 1 < argc ? 0x1f : '\n';
    }
    if (used && write(LOG, line, used) != (ssize_t)used) return 98;
    argv[0] = REAL;
    execv(REAL, argv);
    return 97;
}
";
