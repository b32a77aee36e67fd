//! Stops a macro or a build script in the middle of its work.

use std::io::Read as _;
use std::net::Shutdown;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};

/// A place where code stops until the test lets it go on. It goes by a descriptor that the code
/// inherits, so that nothing is an input for it: whatever is built through a gate can be stored.
pub(crate) struct Gate {
    ours: UnixStream,
    /// Open as long as any build may run.
    theirs: UnixStream,
}

impl Gate {
    pub(crate) fn new() -> Self {
        let (ours, theirs) = UnixStream::pair().expect("sockets can be made");
        fcntl_setfd(&theirs, FdFlags::empty()).expect("a socket can be made to be inherited");
        ours.set_read_timeout(Some(Duration::from_mins(1))).expect("a socket has a timeout");
        Self { ours, theirs }
    }

    /// A Rust statement that stops there.
    pub(crate) fn code(&self) -> String {
        let descriptor = self.theirs.as_raw_fd();
        format!(
            "{{ use std::io::{{Read as _, Write as _}};\n\
             let mut gate: std::fs::File = unsafe {{ std::os::fd::FromRawFd::from_raw_fd({descriptor}) }};\n\
             gate.write_all(&[1]).unwrap();\n\
             gate.read(&mut [0]).unwrap();\n\
             std::mem::forget(gate); }}\n"
        )
    }

    /// A Rust statement that starts a shell in the background, which runs `before`, stops there and runs
    /// `after`, with `$0` as the variable `argument`. The code goes on when `before` is done.
    pub(crate) fn code_beside(&self, before: &str, after: &str) -> String {
        let descriptor = self.theirs.as_raw_fd();
        format!(
            "{{ use std::io::Read as _;\n\
             use std::process::Stdio;\n\
             let mut shell = std::process::Command::new(\"sh\");\n\
             shell.arg(\"-c\").arg(r#\"{before}; echo; echo >&0; read x; {after}\"#).arg(argument);\n\
             let gate: Stdio = unsafe {{ std::os::fd::FromRawFd::from_raw_fd({descriptor}) }};\n\
             let shell = shell.stdin(gate).stdout(Stdio::piped()).stderr(Stdio::null());\n\
             shell.spawn().unwrap().stdout.unwrap().read(&mut [0]).unwrap(); }}\n"
        )
    }

    /// Waits until the code is there, does something meanwhile, and lets this and every later run
    /// pass.
    pub(crate) fn pass(mut self, meanwhile: impl FnOnce()) -> impl Sized {
        self.ours.read_exact(&mut [0]).expect("the code gets to the gate");
        meanwhile();
        self.ours.shutdown(Shutdown::Write).expect("a gate can be opened");
        self
    }
}
