//! Runs the compiler on a miss: streams are passed on as they come and kept for the replay.
//!
//! The wrapper is one thread: it waits in `poll` for either pipe. The compiler's end is known by
//! both pipes closing; a stray process that holds one of them open after the compiler has ended
//! keeps nobody waiting.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What is kept of a stream; a compilation that writes more is not stored.
const STREAM_BYTES_MAX: usize = 64 << 20;

/// A compilation that has ended.
#[derive(Debug)]
pub struct Compiled {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// Whether both streams are whole.
    pub streams_complete: bool,
    pub elapsed: Duration,
}

/// Why nothing is known of a compilation's end. Whatever it wrote is to be written again.
#[derive(Debug, thiserror::Error)]
pub enum Unfinished {
    #[error(transparent)]
    Failed(#[from] io::Error),
    #[error("what it said was not to be passed on")]
    Stopped,
}

/// How a line of the error stream is changed before it is passed on.
pub type Change<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;

/// Whether what was said since this was asked last is to be thrown away, and the compiler stopped.
pub type IsVoid<'a> = &'a dyn Fn() -> bool;

/// Runs `command` to its end, unless what it does `is_void`. Each line of its error stream is passed on,
/// and kept, as `change` makes it.
pub fn run(mut command: Command, change: Change, is_void: IsVoid) -> Result<Compiled, Unfinished> {
    let started = Instant::now();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdout = Stream::new(child.stdout.take().map(OwnedFd::from), None, is_void);
    let mut stderr = Stream::new(child.stderr.take().map(OwnedFd::from), Some(change), is_void);
    let status = pump(&mut child, &mut stdout, &mut stderr)
        .inspect_err(|_| stop(&mut child, &mut stdout, &mut stderr))?;
    Ok(Compiled {
        status,
        streams_complete: stdout.complete && stderr.complete,
        stdout: stdout.kept,
        stderr: stderr.kept,
        elapsed: started.elapsed(),
    })
}

/// A line longer than this is changed and passed on in parts.
const LINE_BYTES_MAX: usize = 4 << 20;

struct Stream<'a> {
    pipe: Option<std::fs::File>,
    change: Option<Change<'a>>,
    is_void: IsVoid<'a>,
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
    kept: Vec<u8>,
    complete: bool,
}

impl<'a> Stream<'a> {
    fn new(pipe: Option<OwnedFd>, change: Option<Change<'a>>, is_void: IsVoid<'a>) -> Self {
        let pipe = pipe.map(std::fs::File::from);
        Self { pipe, change, is_void, line: Vec::new(), kept: Vec::new(), complete: true }
    }

    /// Passes on what is there; the pipe is dropped at its end.
    fn pass_on(&mut self, to: &mut impl Write) -> Result<(), Unfinished> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        let mut buffer = [0; 16 << 10];
        let count = match pipe.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let Some(change) = self.change else {
            self.emit(&buffer[..count], to)?;
            self.pipe.take_if(|_| count == 0);
            return Ok(());
        };
        // What came before has no end of a line.
        let last_end = memchr::memrchr(b'\n', &buffer[..count]);
        let whole = last_end.map_or(0, |last| self.line.len() + last + 1);
        self.line.extend_from_slice(&buffer[..count]);
        let at_end = count == 0 || self.line.len() > LINE_BYTES_MAX;
        let ready = if at_end { self.line.len() } else { whole };
        if ready > 0 {
            let rest = self.line.split_off(ready);
            let lines = std::mem::replace(&mut self.line, rest);
            self.emit(&change(&lines), to)?;
        }
        self.pipe.take_if(|_| count == 0);
        Ok(())
    }

    /// Reads what is there for nobody.
    fn throw_away(&mut self) {
        let mut buffer = [0; 16 << 10];
        self.pipe.take_if(|pipe| match pipe.read(&mut buffer) {
            Ok(count) => count == 0,
            Err(error) => error.kind() != io::ErrorKind::Interrupted,
        });
    }

    /// Writes, and keeps for the replay. A reader that has gone away is no reason to stop the
    /// compiler.
    fn emit(&mut self, bytes: &[u8], to: &mut impl Write) -> Result<(), Unfinished> {
        if !bytes.is_empty() && (self.is_void)() {
            return Err(Unfinished::Stopped);
        }
        if to.write_all(bytes).and_then(|()| to.flush()).is_err() {
            self.complete = false;
        }
        if self.kept.len() + bytes.len() <= STREAM_BYTES_MAX {
            self.kept.extend_from_slice(bytes);
        } else {
            self.complete = false;
        }
        Ok(())
    }
}

/// How long the pipes are looked at before the compiler's own end is asked for.
const QUIET: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// How many times nothing may come from what outlives a compiler that was stopped.
const QUIET_ROUNDS_MAX: u32 = 60;

/// How often what is left in the pipes is read after the compiler has ended.
const ROUNDS_AFTER_END_MAX: usize = 4096;

fn pump(
    child: &mut Child,
    stdout: &mut Stream,
    stderr: &mut Stream,
) -> Result<ExitStatus, Unfinished> {
    let ended = crate::process::end_of(child.id());
    while stdout.pipe.is_some() || stderr.pipe.is_some() {
        let [out, err, end] = wait_for(stdout, stderr, ended.as_ref(), &QUIET)?;
        let may_have_ended = end || (ended.is_none() && !out && !err);
        if may_have_ended && let Some(status) = child.try_wait()? {
            drain(stdout, stderr)?;
            return Ok(status);
        }
        pass_on(out, err, stdout, stderr)?;
    }
    Ok(child.wait()?)
}

/// Ends the compiler, if it has not ended by now. Whoever runs it again must be alone with its outputs: a
/// compiler that was started by what was ended here holds the pipes for as long as it writes.
fn stop(child: &mut Child, stdout: &mut Stream, stderr: &mut Stream) {
    if matches!(child.try_wait(), Ok(Some(_))) {
        return;
    }
    child.kill().ok();
    child.wait().ok();
    let mut quiet_rounds = 0;
    while quiet_rounds < QUIET_ROUNDS_MAX && (stdout.pipe.is_some() || stderr.pipe.is_some()) {
        let Ok([out, err, _]) = wait_for(stdout, stderr, None, &QUIET) else { return };
        quiet_rounds = if out || err { 0 } else { quiet_rounds + 1 };
        if out {
            stdout.throw_away();
        }
        if err {
            stderr.throw_away();
        }
    }
}

fn pass_on(
    out: bool,
    err: bool,
    stdout: &mut Stream,
    stderr: &mut Stream,
) -> Result<(), Unfinished> {
    if out {
        stdout.pass_on(&mut io::stdout().lock())?;
    }
    if err {
        stderr.pass_on(&mut io::stderr().lock())?;
    }
    Ok(())
}

/// Passes on what the compiler left in the pipes. A pipe that is open still is held by a process
/// that the compiler left behind, and what that will say is lost.
fn drain(stdout: &mut Stream, stderr: &mut Stream) -> Result<(), Unfinished> {
    for _ in 0..ROUNDS_AFTER_END_MAX {
        let [out, err, _] = wait_for(stdout, stderr, None, &Timespec { tv_sec: 0, tv_nsec: 0 })?;
        if !out && !err {
            break;
        }
        pass_on(out, err, stdout, stderr)?;
    }
    stdout.complete &= stdout.pipe.is_none();
    stderr.complete &= stderr.pipe.is_none();
    let unfinished = std::mem::take(&mut stderr.line);
    stderr.emit(&unfinished, &mut io::stderr().lock())
}

/// Which of the pipes and the compiler's end are ready, after at most `bound`.
fn wait_for(
    stdout: &Stream,
    stderr: &Stream,
    ended: Option<&OwnedFd>,
    bound: &Timespec,
) -> io::Result<[bool; 3]> {
    let mut fds = Vec::with_capacity(3);
    let mut places = [None; 3];
    let sources = [
        stdout.pipe.as_ref().map(AsFd::as_fd),
        stderr.pipe.as_ref().map(AsFd::as_fd),
        ended.map(AsFd::as_fd),
    ];
    for (place, source) in places.iter_mut().zip(&sources) {
        if let Some(fd) = source {
            *place = Some(fds.len());
            fds.push(PollFd::new(fd, PollFlags::IN));
        }
    }
    match poll(&mut fds, Some(bound)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(places.map(|place| place.is_some_and(|index| !fds[index].revents().is_empty())))
}
