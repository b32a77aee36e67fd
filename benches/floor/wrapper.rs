//! A compiler wrapper that verifies nothing: the lower bound that `benches/build.rs` measures against.
//!
//! The first call of an argument list runs the compiler and keeps what it wrote; every later call puts
//! that in place again. No input is ever looked at, so it is of no use for anything else.

use std::collections::hash_map::DefaultHasher;
use std::ffi::OsString;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let store =
        PathBuf::from(std::env::var_os("FLOOR_STORE").expect("FLOOR_STORE names the store"));
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let (Some(_), Some(out)) = (value("--crate-name"), value("--out-dir")) else {
        panic!("{}", Command::new(&arguments[0]).args(&arguments[1..]).exec());
    };
    let mut hasher = DefaultHasher::new();
    arguments.hash(&mut hasher);
    let entry = store.join(format!("{:016x}", hasher.finish()));
    match if entry.join("stderr").exists() {
        restore(&entry, Path::new(&out))
    } else {
        compile(&arguments, &entry, Path::new(&out))
    } {
        Ok(status) => status,
        Err(error) => panic!("{}: {error}", entry.display()),
    }
}

fn restore(entry: &Path, out: &Path) -> io::Result<ExitCode> {
    for output in fs::read_dir(entry.join("outputs"))? {
        let output = output?;
        let to = out.join(output.file_name());
        if to.exists() {
            fs::remove_file(&to)?;
        }
        if to.extension().is_some_and(|extension| extension == "rlib") {
            fs::hard_link(output.path(), to)?;
        } else {
            fs::copy(output.path(), to)?;
        }
    }
    io::stderr().write_all(&fs::read(entry.join("stderr"))?)?;
    Ok(ExitCode::SUCCESS)
}

fn compile(arguments: &[OsString], entry: &Path, out: &Path) -> io::Result<ExitCode> {
    let names = || -> io::Result<Vec<OsString>> {
        fs::read_dir(out)?.map(|found| Ok(found?.file_name())).collect()
    };
    let extra = arguments
        .iter()
        .filter_map(|argument| argument.to_str()?.strip_prefix("extra-filename="))
        .next();
    let output = Command::new(&arguments[0]).args(&arguments[1..]).output()?;
    io::stdout().write_all(&output.stdout)?;
    io::stderr().write_all(&output.stderr)?;
    if !output.status.success() {
        return Ok(ExitCode::FAILURE);
    }
    fs::create_dir_all(entry.join("outputs"))?;
    for name in names()? {
        let text = name.to_string_lossy();
        let stem = text.split('.').next().unwrap_or(&text);
        let is_file = out.join(&name).is_file();
        if is_file && extra.is_some_and(|extra| stem.ends_with(extra)) {
            fs::copy(out.join(&name), entry.join("outputs").join(&name))?;
        }
    }
    // Last, for it says that the entry is complete.
    fs::write(entry.join("stderr"), &output.stderr)?;
    Ok(ExitCode::SUCCESS)
}
