//! Processes: waiting for the end of one, and ending as one ended.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::process::{Child, ExitStatus, exit};
use std::time::Duration;

/// A descriptor that becomes readable when the process ends; `None` where the system has none.
#[cfg(target_os = "linux")]
pub fn end_of(pid: u32) -> Option<OwnedFd> {
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

/// A descriptor that becomes readable when the process ends; `None` where the system has none.
#[cfg(not(target_os = "linux"))]
pub fn end_of(_pid: u32) -> Option<OwnedFd> {
    None
}

/// Ends this process as the compiler ended: with its exit status, or by the same signal.
pub fn end_like(status: ExitStatus) -> ! {
    use std::os::unix::process::ExitStatusExt;
    if let Some(signal) = status.signal() {
        raise(signal);
        exit(128 + signal);
    }
    exit(status.code().unwrap_or(1))
}

/// Starts kache itself with `arguments`, and lets it go: it has no part in the streams of this
/// process, in its terminal or its process group.
pub fn detach<'a>(arguments: impl Iterator<Item = &'a OsStr>) -> std::io::Result<Child> {
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};
    Command::new(std::env::current_exe()?)
        .args(arguments)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

/// Waits for a process that this one has started, or until `bound` has passed.
pub fn wait_for_end(pid: u32, bound: Duration) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let (Some(end), Ok(bound)) = (end_of(pid), Timespec::try_from(bound)) else { return };
    // A signal ends the wait early, which does no harm.
    poll(&mut [PollFd::new(&end, PollFlags::IN)], Some(&bound)).ok();
}

/// Sends this process a signal whose action nobody here has changed.
fn raise(signal: i32) {
    use rustix::process::{Signal, getpid, kill_process};
    if let Some(signal) = Signal::from_named_raw(signal) {
        // Twice, for the runtime's handler of invalid accesses takes the first one to remove itself.
        // Should the signal be ignored, the caller exits with the shell's convention for it.
        for _ in 0..2 {
            kill_process(getpid(), signal).ok();
        }
    }
}
