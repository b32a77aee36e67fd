//! The system calls of a process, and their failure: strace, without which these tests cannot be run.
//!
//! Only the process itself is traced, neither the compilers that it starts nor what it becomes.

use std::path::Path;
use std::process::Command;

use crate::support::succeed;

/// The n-th call of that name, and what it was about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) nth: usize,
    text: String,
}

/// One call that fails, or all from one on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) call: Call,
    pub(crate) error: &'static str,
    pub(crate) lasting: bool,
}

impl Fault {
    /// The start of a command line under which the rest of it meets the fault.
    pub(crate) fn launcher(&self, log: &Path) -> Vec<String> {
        let Call { name, nth, .. } = &self.call;
        let lasting = if self.lasting { "+" } else { "" };
        let inject = format!("inject={name}:error={}:when={nth}{lasting}", self.error);
        launcher(log, name, &["-e", &inject])
    }
}

/// The start of a command line that records the calls of the rest of it.
pub(crate) fn recorder(log: &Path) -> Vec<String> {
    launcher(log, "all", &[])
}

/// The start of a command line that is killed at a call.
pub(crate) fn killer(log: &Path, call: &Call) -> Vec<String> {
    let inject = format!("inject={}:signal=KILL:when={}", call.name, call.nth);
    launcher(log, &call.name, &["-e", &inject])
}

fn launcher(log: &Path, traced: &str, more: &[&str]) -> Vec<String> {
    // The check is what says what is missing where strace is.
    succeed(Command::new("strace").arg("--version"));
    let log = log.to_str().expect("the space has a plain name");
    let traced = format!("trace={traced}");
    let mut words = vec!["strace", "-y", "-qq", "-b", "execve", "-o", log, "-e", &traced];
    words.extend(more);
    words.into_iter().map(str::to_owned).collect()
}

/// Whether a call of the log was made to fail, or killed.
pub(crate) fn was_injected(log: &Path) -> bool {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.contains("(INJECTED)") || text.contains("+++ killed by SIGKILL")
}

/// The calls of a log, each with its number among those of its name.
pub(crate) fn calls(log: &Path) -> Vec<Call> {
    let text = std::fs::read(log).expect("strace has written its log");
    let text = String::from_utf8_lossy(&text);
    let mut calls: Vec<Call> = Vec::new();
    for line in text.lines() {
        let Some((name, rest)) = line.split_once('(') else { continue };
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !name.is_empty() && name.chars().all(is_name) && name != "execve" {
            let nth = 1 + calls.iter().filter(|call| call.name == name).count();
            calls.push(Call { name: name.into(), nth, text: rest.into() });
        }
    }
    calls
}

impl Call {
    /// How a file system, or a limit on files, can make this call fail; nothing for calls that
    /// are about no file.
    pub(crate) fn errors(&self) -> &'static [&'static str] {
        if self.is_about_a_stream() {
            return &[];
        }
        match self.name.as_str() {
            "open" | "openat" if self.text.contains("O_CREAT") => {
                &["ENOSPC", "EIO", "EMFILE", "EDQUOT", "EROFS"]
            }
            "open" | "openat" if self.text.contains("O_RDONLY") => &["EIO", "EMFILE"],
            "open" | "openat" => &["EIO", "EMFILE", "EROFS"],
            "read" | "pread64" | "getdents64" | "stat" | "lstat" | "fstat" | "newfstatat"
            | "statx" | "statfs" | "fstatfs" | "readlink" | "readlinkat" | "close" | "lseek"
            | "flock" => &["EIO"],
            "write" | "pwrite64" | "fallocate" | "ftruncate" | "fsync" | "fdatasync" | "syncfs" => {
                &["ENOSPC", "EIO", "EDQUOT"]
            }
            "link" | "linkat" => &["ENOSPC", "EIO", "EDQUOT", "EROFS", "EXDEV", "EMLINK"],
            "rename" | "renameat" | "renameat2" => &["ENOSPC", "EIO", "EDQUOT", "EROFS", "EXDEV"],
            "mkdir" | "mkdirat" => &["ENOSPC", "EIO", "EDQUOT", "EROFS", "EMLINK"],
            "symlink" | "symlinkat" => &["ENOSPC", "EIO", "EDQUOT", "EROFS"],
            "unlink" | "unlinkat" | "rmdir" => &["EIO", "EROFS"],
            "chmod" | "fchmod" | "fchmodat" | "utimensat" => &["ENOSPC", "EIO", "EROFS"],
            "ioctl" if self.text.contains("FICLONE") => &["ENOSPC", "EIO", "EDQUOT", "EXDEV"],
            "copy_file_range" => &["ENOSPC", "EIO", "EDQUOT", "EXDEV"],
            "mmap" if self.text.contains("</") || self.text.contains("<memfd") => {
                &["EIO", "ENOMEM"]
            }
            "pipe2" | "memfd_create" | "pidfd_open" => &["EMFILE"],
            "fcntl" if self.text.contains("F_DUPFD") => &["EMFILE"],
            "fcntl" if self.text.contains("F_SETFL") => &["EIO"],
            _ => &[],
        }
    }

    /// Of the streams that a compiler writes to or is read from, nothing is kache's: the compiler
    /// alone would fail as well.
    fn is_about_a_stream(&self) -> bool {
        let descriptor = self.text.split(['<', ',', ')']).next().unwrap_or_default();
        ["0", "1", "2"].contains(&descriptor)
            || self.text.split(',').next().is_some_and(|first| first.contains("<pipe:"))
    }
}
