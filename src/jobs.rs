//! Cargo's limit on the processes that run at a time, and making room in it while this one waits.
//!
//! Cargo starts as many wrappers as there are processors. One that waits, for the network or for an
//! equal compilation elsewhere, takes none of them, but its place: on two processors two downloads
//! would hold up a whole build. Cargo's places are the tokens of a jobserver as GNU make has it, a pipe
//! with a byte for each that is free. A wrapper that is about to wait puts the byte in that
//! stands for itself, and takes one out again before it goes on.
//!
//! Nobody waits who has a token: else two builds, each waiting for what the other one does, could wait for each
//! other's tokens for ever.

/// How flags as make has them name a jobserver, each time that they do: `fifo:PATH`, or `R,W`, the numbers
/// of descriptors that a process has inherited. For make the last one counts.
pub fn named_in(flags: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    flags.split(|byte| *byte == b' ').filter_map(|word| word.strip_prefix(b"--jobserver-auth="))
}

/// The place of this process, given to another one.
#[derive(Debug)]
pub struct Lent {
    #[cfg(target_os = "linux")]
    tokens: pipe::Tokens,
}

impl Lent {
    /// Gives the place away; `None` if Cargo did not say how, or nothing came of it.
    pub fn new() -> Option<Self> {
        #[cfg(target_os = "linux")]
        {
            let flags = std::env::var_os("CARGO_MAKEFLAGS")?;
            let tokens = pipe::Tokens::named_in(flags.as_encoded_bytes())?;
            tokens.put().ok()?;
            Some(Self { tokens })
        }
        // The descriptors of a pipe cannot be opened a second time there, and those that are
        // shared with Cargo cannot be read without the danger of waiting for ever.
        #[cfg(not(target_os = "linux"))]
        None
    }
}

/// Waits for a place to be free, and takes it.
impl Drop for Lent {
    fn drop(&mut self) {
        #[cfg(target_os = "linux")]
        if let Err(error) = self.tokens.take() {
            crate::log::debug!("goes on without a token of Cargo's jobserver: {error}");
        }
    }
}

#[cfg(target_os = "linux")]
mod pipe {
    use std::ffi::OsStr;
    use std::os::fd::OwnedFd;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;
    use std::time::{Duration, Instant};

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::fs::{FileType, Mode, OFlags, fstat, open};
    use rustix::io::{Errno, read, write};
    use rustix::process::{Pid, getppid};

    use crate::fs::retry;

    /// How long a token is waited for. Compilations that hold them take less.
    const TAKE_MAX: Duration = Duration::from_mins(10);
    /// How often it is looked whether Cargo is still there.
    const LOOK_EVERY: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
    /// What a token looks like: all are alike.
    const TOKEN: &[u8] = b"+";

    /// Both ends of the jobserver's pipe, opened again: whether they wait is nobody else's matter.
    #[derive(Debug)]
    pub(super) struct Tokens {
        pipe: OwnedFd,
        parent: Option<Pid>,
    }

    impl Tokens {
        /// The jobserver that counts.
        pub(super) fn named_in(flags: &[u8]) -> Option<Self> {
            let named = super::named_in(flags).next_back()?;
            let pipe = match named.strip_prefix(b"fifo:") {
                Some(path) => open_pipe(Path::new(OsStr::from_bytes(path)))?,
                None => inherited_pipe(str::from_utf8(named).ok()?)?,
            };
            Some(Self { pipe, parent: getppid() })
        }

        pub(super) fn put(&self) -> Result<(), Errno> {
            retry(|| write(&self.pipe, TOKEN)).map(drop)
        }

        pub(super) fn take(&self) -> Result<(), Errno> {
            let began = Instant::now();
            loop {
                match retry(|| read(&self.pipe, &mut [0; 1])) {
                    Err(Errno::AGAIN) => {}
                    read => return read.map(drop),
                }
                if getppid() != self.parent || began.elapsed() > TAKE_MAX {
                    return Err(Errno::TIMEDOUT);
                }
                let mut readable = [PollFd::new(&self.pipe, PollFlags::IN)];
                match poll(&mut readable, Some(&LOOK_EVERY)) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// The pipe with these two ends. Where a program between has closed them, the numbers may stand for
    /// anything, but hardly for the ends of one pipe.
    fn inherited_pipe(numbers: &str) -> Option<OwnedFd> {
        let (read, write) = numbers.split_once(',')?;
        let open_end = |number: &str| {
            let number: u32 = number.parse().ok()?;
            open_pipe(&Path::new("/proc/self/fd").join(number.to_string()))
        };
        let ends = (open_end(read)?, open_end(write)?);
        let (one, other) = (fstat(&ends.0).ok()?, fstat(&ends.1).ok()?);
        ((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)).then_some(ends.0)
    }

    fn open_pipe(path: &Path) -> Option<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let pipe = retry(|| open(path, flags, Mode::empty())).ok()?;
        let kind = fstat(&pipe).ok().map(|stat| FileType::from_raw_mode(stat.st_mode));
        (kind == Some(FileType::Fifo)).then_some(pipe)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::fd::{AsRawFd, OwnedFd};

    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use rustix::io::{read, write};
    use rustix::pipe::pipe;

    use super::pipe::Tokens;

    fn auth(read: &OwnedFd, write: &OwnedFd) -> String {
        format!(
            "-j --jobserver-fds=0,0 --jobserver-auth={},{}",
            read.as_raw_fd(),
            write.as_raw_fd()
        )
    }

    #[test]
    fn a_place_is_a_byte_in_the_pipe_and_is_waited_for() {
        let (reader, writer) = pipe().unwrap();
        let tokens = Tokens::named_in(auth(&reader, &writer).as_bytes()).unwrap();
        tokens.put().unwrap();
        let mut token = [0];
        assert_eq!((read(&reader, &mut token), &token), (Ok(1), b"+"));
        std::thread::scope(|scope| {
            let taking = scope.spawn(|| tokens.take());
            write(&writer, b"+").unwrap();
            assert_eq!(taking.join().unwrap(), Ok(()));
        });
        tokens.put().unwrap();
        assert_eq!(tokens.take(), Ok(()), "one's own, if nobody else wants it");
    }

    #[test]
    fn a_pipe_may_have_a_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("jobs");
        mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let flags = format!("-j4 --jobserver-auth=fifo:{}", path.display());
        let tokens = Tokens::named_in(flags.as_bytes()).unwrap();
        tokens.put().unwrap();
        assert_eq!(Tokens::named_in(flags.as_bytes()).unwrap().take(), Ok(()));
    }

    #[test]
    fn numbers_that_stand_for_something_else_are_not_written_to() {
        let (reader, writer) = pipe().unwrap();
        let (_, other) = pipe().unwrap();
        let file: OwnedFd = tempfile::tempfile().unwrap().into();
        for flags in [auth(&reader, &other), auth(&reader, &file), auth(&file, &file)] {
            assert!(Tokens::named_in(flags.as_bytes()).is_none(), "{flags}");
        }
        for flags in
            ["", "-j", "--jobserver-auth=", "--jobserver-auth=fifo:/", "--jobserver-auth=-2,-2"]
        {
            assert!(Tokens::named_in(flags.as_bytes()).is_none(), "{flags}");
        }
        assert!(Tokens::named_in(auth(&reader, &writer).as_bytes()).is_some());
    }
}
