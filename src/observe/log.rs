//! The reading side of the log: bytes that any observed process may have written, turned into an
//! [`Observation`].
//!
//! Invariants: nothing in the log is trusted (lengths, kinds and order are checked); what cannot
//! be read makes the observation incomplete and nothing else.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::layout::{
    BLIND, EXECUTE_FAILED, EXECUTING, FOUND, HEADER_BYTES, HEAP_BYTES, HEAP_OFFSET, LINK_READ,
    LISTED, LOADED, LOCAL_SOCKET, MAGIC, MISSING, NETWORK, OPENED_LIBRARY, PROGRAM, READ,
    RECORD_HEADER_BYTES, REMOVED, SPAWNED, STARTED, TEXT_BYTES_MAX, VARIABLE_READ, WORD_FIRST_PID,
    WORD_HEAP_USED, WORD_MAGIC, WORD_OVERFLOW, WROTE,
};
use super::{elf, path_of};

/// One thing that an observed process did. Paths are absolute. Each is told once, at the place
/// where it happened first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// A file was opened for reading.
    Read(PathBuf),
    /// Something was created, or opened for writing.
    Wrote(PathBuf),
    /// Something was removed, or moved away.
    Removed(PathBuf),
    /// The names in a directory were read.
    Listed(PathBuf),
    /// Something was looked for and is not there.
    Missing(PathBuf),
    /// Something was asked for, and is there.
    Found(PathBuf),
    /// The target of a symbolic link was read.
    LinkRead(PathBuf),
    /// An environment variable was looked up.
    Variable(OsString),
    /// This executable or library can read all variables without looking one up.
    AllVariables(PathBuf),
    /// A program was looked for by name, and found or not.
    Searched { name: OsString, path: Option<PathBuf> },
    /// A file was run. A script here, its interpreter in [`Access::Started`].
    Executed(PathBuf),
    /// A process of this executable reported.
    Started(PathBuf),
    /// A library that a process was started with.
    Loaded(PathBuf),
    /// A library that a process loaded later; a bare name where the loader was to search for it.
    OpenedLibrary(PathBuf),
    /// A connection or a message to another machine, or to this one through its network.
    Network(String),
    /// A connection to a local socket; abstract ones begin with NUL.
    LocalSocket(PathBuf),
}

/// Why an observation may lack something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IncompleteReason {
    #[error("the log cannot be read")]
    Unreadable,
    #[error("the log was full")]
    Overflow,
    #[error("a record was not completed")]
    Torn,
    #[error("the process did not report")]
    NobodyReported,
    #[error("{} did not report (static, or without the observer's variables)", .0.display())]
    Unreported(PathBuf),
    #[error("something happened that cannot be followed: {0}")]
    Blind(String),
}

/// What a process and all that it started did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    pub events: Vec<Access>,
    /// Whether `events` is all that there is.
    pub complete: Result<(), IncompleteReason>,
    /// How many processes reported.
    pub processes: u64,
}

impl Observation {
    /// Reads a log whose writers have ended.
    pub(crate) fn read(log: &File) -> Self {
        let unreadable = |_| Self {
            events: Vec::new(),
            complete: Err(IncompleteReason::Unreadable),
            processes: 0,
        };
        read_heap(log).map_or_else(unreadable, |(heap, overflow, first)| {
            Self::parse(&heap, overflow, first)
        })
    }

    fn parse(heap: &[u8], overflow: bool, first_pid: u64) -> Self {
        let mut reader = Reader::default();
        let whole = reader.records(heap);
        let unreported = reader.processes.unreported(first_pid);
        let processes = reader.processes.started;
        let complete = if overflow {
            Err(IncompleteReason::Overflow)
        } else if !whole {
            Err(IncompleteReason::Torn)
        } else if processes == 0 {
            Err(IncompleteReason::NobodyReported)
        } else if let Some(path) = unreported {
            Err(IncompleteReason::Unreported(path))
        } else if let Some(what) = reader.blind.take() {
            Err(IncompleteReason::Blind(what))
        } else {
            Ok(())
        };
        Self { events: reader.events, complete, processes }
    }
}

fn read_heap(log: &File) -> std::io::Result<(Vec<u8>, bool, u64)> {
    let mut header = vec![0; HEADER_BYTES];
    log.read_exact_at(&mut header, 0)?;
    let header_word = |index: usize| word(&header, index * 8).unwrap_or(0);
    if header_word(WORD_MAGIC) != MAGIC {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    let used = header_word(WORD_HEAP_USED).min(HEAP_BYTES as u64);
    let mut heap = vec![0; usize::try_from(used).unwrap_or(0)];
    log.read_exact_at(&mut heap, HEAP_OFFSET as u64)?;
    Ok((heap, header_word(WORD_OVERFLOW) != 0, header_word(WORD_FIRST_PID)))
}

#[expect(clippy::host_endian_bytes, reason = "the log never leaves this machine")]
fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|word| u64::from_ne_bytes(*word))
}

#[derive(Default)]
struct Reader {
    events: Vec<Access>,
    seen: HashSet<Access>,
    processes: Processes,
    blind: Option<String>,
}

impl Reader {
    /// Reads record by record; `false` where one is damaged, which hides all behind it.
    fn records(&mut self, heap: &[u8]) -> bool {
        let mut offset = 0;
        while offset < heap.len() {
            let (Some(head), Some(number)) = (word(heap, offset), word(heap, offset + 8)) else {
                return false;
            };
            let length = usize::try_from(head & 0xffff_ffff).unwrap_or(0);
            let text = heap.get(offset + RECORD_HEADER_BYTES..offset + length);
            let Some(text) = text.filter(|text| text.len() <= TEXT_BYTES_MAX) else {
                return false;
            };
            let Ok(kind) = u8::try_from(head >> 32) else { return false };
            if !self.record(kind, number, text) {
                return false;
            }
            offset += length.next_multiple_of(8);
        }
        true
    }

    fn record(&mut self, kind: u8, number: u64, text: &[u8]) -> bool {
        let path = || tidy(text);
        let access = match kind {
            READ => Access::Read(path()),
            WROTE => Access::Wrote(path()),
            REMOVED => Access::Removed(path()),
            LISTED => Access::Listed(path()),
            MISSING => Access::Missing(path()),
            FOUND => Access::Found(path()),
            LINK_READ => Access::LinkRead(path()),
            VARIABLE_READ => Access::Variable(OsStr::from_bytes(text).into()),
            NETWORK => Access::Network(address(text)),
            LOCAL_SOCKET => Access::LocalSocket(path_of(text)),
            LOADED => Access::Loaded(path()),
            PROGRAM => return self.searched(text),
            OPENED_LIBRARY => {
                self.event(Access::OpenedLibrary(path()));
                return self.can_read_variables(path());
            }
            STARTED => {
                if let Some(executed) = self.processes.start(number) {
                    self.event(Access::Executed(executed));
                }
                self.event(Access::Started(path()));
                return self.can_read_variables(path());
            }
            EXECUTING => {
                self.processes.announce(number, path());
                return true;
            }
            EXECUTE_FAILED => return self.processes.take_back(number),
            SPAWNED => {
                self.processes.announce(number, path());
                Access::Executed(path())
            }
            BLIND => {
                self.blind.get_or_insert_with(|| String::from_utf8_lossy(text).into_owned());
                return true;
            }
            _ => return false,
        };
        self.event(access)
    }

    fn searched(&mut self, text: &[u8]) -> bool {
        let Some(end) = text.iter().position(|byte| *byte == 0) else { return false };
        let name = OsStr::from_bytes(&text[..end]).into();
        let path = Some(tidy(&text[end + 1..])).filter(|path| !path.as_os_str().is_empty());
        self.event(Access::Searched { name, path })
    }

    fn can_read_variables(&mut self, path: PathBuf) -> bool {
        let access = Access::AllVariables(path);
        if let Access::AllVariables(path) = &access
            && !self.seen.contains(&access)
            && path.is_absolute()
            && elf::names_environment(path)
        {
            self.event(access);
        }
        true
    }

    fn event(&mut self, access: Access) -> bool {
        if self.seen.insert(access.clone()) {
            self.events.push(access);
        }
        true
    }
}

/// A path without empty and `.` components. `..` stays: what it means depends on links.
fn tidy(bytes: &[u8]) -> PathBuf {
    let is_clean = !bytes.windows(2).any(|pair| pair == b"//" || pair == b"/.")
        && !(bytes.len() > 1 && bytes.ends_with(b"/"));
    if is_clean { path_of(bytes) } else { path_of(bytes).components().collect() }
}

fn address(text: &[u8]) -> String {
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
    let port = |bytes: &[u8]| u16::from_be_bytes([bytes[0], bytes[1]]);
    match text {
        [b'4', rest @ ..] if rest.len() == 6 => {
            let host = Ipv4Addr::new(rest[2], rest[3], rest[4], rest[5]);
            SocketAddr::from((host, port(rest))).to_string()
        }
        [b'6', rest @ ..] if rest.len() == 22 => {
            let mut host = [0; 16];
            host.copy_from_slice(&rest[6..]);
            SocketAddr::from((Ipv6Addr::from(host), port(rest))).to_string()
        }
        other => String::from_utf8_lossy(other).into_owned(),
    }
}

/// Which executables were to run, and which reported.
#[derive(Default)]
struct Processes {
    started: u64,
    /// Reports without an announcement yet (above zero) or announcements without a report yet.
    by_pid: HashMap<u64, Balance>,
}

#[derive(Default)]
struct Balance {
    reports: u64,
    announced: Vec<PathBuf>,
}

impl Processes {
    /// Counts a report, and returns what the process said that it would become.
    fn start(&mut self, pid: u64) -> Option<PathBuf> {
        self.started += 1;
        let balance = self.by_pid.entry(pid).or_default();
        balance.reports += 1;
        balance.announced.last().cloned()
    }

    fn announce(&mut self, pid: u64, executable: PathBuf) {
        self.by_pid.entry(pid).or_default().announced.push(executable);
    }

    fn take_back(&mut self, pid: u64) -> bool {
        self.by_pid.get_mut(&pid).and_then(|balance| balance.announced.pop()).is_some()
    }

    /// An executable that ran and did not report, if there is one.
    fn unreported(&mut self, first_pid: u64) -> Option<PathBuf> {
        // The wrapper itself started the first one.
        if let Some(first) = self.by_pid.get_mut(&first_pid) {
            first.reports = first.reports.saturating_sub(1);
        }
        let nameless = self.by_pid.remove(&0).unwrap_or_default().announced;
        let mut spare = 0;
        for balance in self.by_pid.values() {
            let announced = balance.announced.len() as u64;
            if announced > balance.reports {
                let last = usize::try_from(balance.reports).unwrap_or(0);
                return balance.announced.get(last).cloned();
            }
            spare += balance.reports - announced;
        }
        nameless.into_iter().nth(usize::try_from(spare).unwrap_or(usize::MAX))
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path) => write!(f, "read {}", path.display()),
            Self::Wrote(path) => write!(f, "wrote {}", path.display()),
            Self::Removed(path) => write!(f, "removed {}", path.display()),
            Self::Listed(path) => write!(f, "listed {}", path.display()),
            Self::Missing(path) => write!(f, "missing {}", path.display()),
            Self::Found(path) => write!(f, "found {}", path.display()),
            Self::LinkRead(path) => write!(f, "link {}", path.display()),
            Self::Variable(name) => write!(f, "variable {}", name.display()),
            Self::AllVariables(path) => write!(f, "all variables by {}", path.display()),
            Self::Searched { name, path: Some(path) } => {
                write!(f, "program {} at {}", name.display(), path.display())
            }
            Self::Searched { name, path: None } => {
                write!(f, "program {} nowhere", name.display())
            }
            Self::Executed(path) => write!(f, "executed {}", path.display()),
            Self::Started(path) => write!(f, "started {}", path.display()),
            Self::Loaded(path) => write!(f, "loaded {}", path.display()),
            Self::OpenedLibrary(path) => write!(f, "library {}", path.display()),
            Self::Network(address) => write!(f, "network {address}"),
            Self::LocalSocket(path) => write!(f, "socket {}", path.display()),
        }
    }
}
