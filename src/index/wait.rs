//! Waiting for the owner of a claim: for the end of its process, with a bound.
//!
//! No futex and no polling: an owner ends right after it has published or given up, and the kernel
//! tells of that however it ends. Where it does not, as Linux before 5.3 and under some filters of system
//! calls, a process is looked at now and then.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, poll};
use rustix::process::{Pid, getpid};
use store_format::slot::ProcessId;

/// How waiting for a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// It has ended, or never was.
    Gone,
    TimedOut,
}

/// How long nobody looks at a process of whose end the system does not tell.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// Waits for a process to end.
pub fn wait(process: ProcessId, bound: Duration) -> Waited {
    let Some(pid) = pid_of(process) else { return Waited::Gone };
    kernel::wait(pid, process, bound).unwrap_or_else(|| look_now_and_then(process, bound))
}

/// Waits without the system's help.
pub fn look_now_and_then(process: ProcessId, bound: Duration) -> Waited {
    let began = Instant::now();
    while is_alive(process) {
        let left = bound.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Waited::TimedOut;
        }
        let pause = Timespec::try_from(left.min(LOOK_PAUSE)).ok();
        // A signal ends a pause early.
        poll(&mut [], pause.as_ref()).ok();
    }
    Waited::Gone
}

/// A process that runs, told from later ones with its number as far as the system allows.
pub fn running(pid: u32) -> Option<ProcessId> {
    let start = kernel::start_of(Pid::from_raw(i32::try_from(pid).ok()?)?)?;
    Some(ProcessId::new(pid, start))
}

/// How long a process has been running; `None` where the system does not tell.
pub fn running_for(pid: u32) -> Option<Duration> {
    kernel::running_for(Pid::from_raw(i32::try_from(pid).ok()?)?)
}

/// This process; `None` where its start cannot be found out.
pub(super) fn own_id() -> Option<ProcessId> {
    static OWN: OnceLock<Option<ProcessId>> = OnceLock::new();
    *OWN.get_or_init(|| {
        let pid = getpid();
        let number = u32::try_from(pid.as_raw_nonzero().get()).ok()?;
        Some(ProcessId::new(number, kernel::start_of(pid)?))
    })
}

/// Tells apart the sets of processes that know each other by number.
pub fn scope() -> u64 {
    static SCOPE: OnceLock<u64> = OnceLock::new();
    *SCOPE.get_or_init(kernel::scope)
}

/// Whether a process runs: not one of the same number that started later, nor one that has ended
/// and not been waited for by its parent.
pub fn is_alive(process: ProcessId) -> bool {
    let start = pid_of(process).and_then(kernel::start_of);
    start.is_some_and(|start| ProcessId::new(process.pid, start) == process)
}

/// Whether a process is suspended, and nobody knows for how long.
pub fn is_stopped(process: ProcessId) -> bool {
    pid_of(process).is_some_and(kernel::is_stopped)
}

fn pid_of(process: ProcessId) -> Option<Pid> {
    Pid::from_raw(i32::try_from(process.pid).ok()?)
}

#[cfg(target_os = "linux")]
mod kernel {
    use std::fmt::Write as _;
    use std::str::SplitWhitespace;
    use std::time::{Duration, Instant};

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::fs::{Mode, OFlags};
    use rustix::io::Errno;
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    use store_format::slot::ProcessId;

    use super::{Waited, is_alive};

    /// The inode of the namespace of process numbers: containers that share a cache do not take
    /// each other's numbers for their own.
    pub(super) fn scope() -> u64 {
        rustix::fs::stat("/proc/self/ns/pid").map_or(0, |status| status.st_ino)
    }

    /// When a process that still runs was started, in clock ticks since the boot.
    pub(super) fn start_of(pid: Pid) -> Option<u64> {
        let mut text = [0; 1024];
        parse_start(stat_of(pid, &mut text)?)
    }

    pub(super) fn is_stopped(pid: Pid) -> bool {
        let mut text = [0; 1024];
        let state = stat_of(pid, &mut text).and_then(|stat| fields(stat)?.next());
        matches!(state, Some("T" | "t"))
    }

    fn stat_of(pid: Pid, text: &mut [u8; 1024]) -> Option<&[u8]> {
        let mut path = String::with_capacity(24);
        write!(path, "/proc/{}/stat", pid.as_raw_nonzero()).ok()?;
        let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let length = rustix::io::read(&file, &mut text[..]).ok()?;
        text.get(..length)
    }

    /// From the third on, which is the state. The second one, in parentheses, may contain anything.
    fn fields(stat: &[u8]) -> Option<SplitWhitespace<'_>> {
        let end_of_name = stat.iter().rposition(|byte| *byte == b')')?;
        Some(std::str::from_utf8(&stat[end_of_name + 1..]).ok()?.split_whitespace())
    }

    pub(super) fn running_for(pid: Pid) -> Option<Duration> {
        use rustix::time::{ClockId, clock_gettime};
        let began_ms = start_of(pid)?.checked_mul(1000)? / rustix::param::clock_ticks_per_second();
        let since_boot = Duration::try_from(clock_gettime(ClockId::Boottime)).ok()?;
        since_boot.checked_sub(Duration::from_millis(began_ms))
    }

    /// The 22nd field, of a process whose state (the third) is not that of one that has ended.
    pub(super) fn parse_start(stat: &[u8]) -> Option<u64> {
        let mut fields = fields(stat)?;
        let state = fields.next()?;
        if matches!(state, "Z" | "X" | "x") {
            return None;
        }
        fields.nth(18)?.parse().ok()
    }

    /// `None` where the system does not tell.
    pub(super) fn wait(pid: Pid, process: ProcessId, bound: Duration) -> Option<Waited> {
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(Errno::SRCH) => return Some(Waited::Gone),
            Err(_) => return None,
        };
        // The handle may be that of a later process with the number: looked at once it is held.
        if !is_alive(process) {
            return Some(Waited::Gone);
        }
        let deadline = Instant::now() + bound;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).ok()?;
            let mut handles = [PollFd::new(&handle, PollFlags::IN)];
            match poll(&mut handles, Some(&timeout)) {
                Ok(0) => return Some(Waited::TimedOut),
                Ok(_) => return Some(Waited::Gone),
                Err(Errno::INTR) => {}
                Err(_) => return None,
            }
        }
    }
}

#[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
mod kernel {
    use std::time::{Duration, Instant};

    use rustix::event::kqueue::{Event, EventFilter, EventFlags, ProcessEvents, kqueue};
    use rustix::io::Errno;
    use rustix::process::{Pid, test_kill_process};
    use store_format::slot::ProcessId;

    use super::Waited;
    use crate::index::map::await_event;

    /// There is one set of processes.
    pub(super) fn scope() -> u64 {
        0
    }

    /// Start times are not to be had without more: a later process with the number is waited for,
    /// within the bound.
    pub(super) fn start_of(pid: Pid) -> Option<u64> {
        match test_kill_process(pid) {
            Ok(()) | Err(Errno::PERM) => Some(0),
            Err(_) => None,
        }
    }

    pub(super) fn running_for(_pid: Pid) -> Option<Duration> {
        None
    }

    /// Not to be had without more.
    pub(super) fn is_stopped(_pid: Pid) -> bool {
        false
    }

    /// `None` where the system does not tell.
    pub(super) fn wait(pid: Pid, _process: ProcessId, bound: Duration) -> Option<Waited> {
        let queue = kqueue().ok()?;
        let filter = EventFilter::Proc { pid, flags: ProcessEvents::EXIT };
        let flags = EventFlags::ADD | EventFlags::ONESHOT;
        let change = Event::new(filter, flags, std::ptr::null_mut());
        let deadline = Instant::now() + bound;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match await_event(&queue, &change, left) {
                // An event that says that there is no such process is one of its end, too.
                Ok(Some(_)) | Err(Errno::SRCH) => return Some(Waited::Gone),
                Ok(None) => return Some(Waited::TimedOut),
                Err(Errno::INTR) => {}
                Err(_) => return None,
            }
        }
    }
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple", target_os = "freebsd")))]
mod kernel {
    use std::time::Duration;

    use rustix::process::Pid;
    use store_format::slot::ProcessId;

    use super::Waited;

    pub(super) fn scope() -> u64 {
        0
    }

    pub(super) fn start_of(_pid: Pid) -> Option<u64> {
        None
    }

    pub(super) fn running_for(_pid: Pid) -> Option<Duration> {
        None
    }

    pub(super) fn is_stopped(_pid: Pid) -> bool {
        false
    }

    pub(super) fn wait(_pid: Pid, _process: ProcessId, _bound: Duration) -> Option<Waited> {
        None
    }
}
