//! The reading side of the log: bytes that any observed process may have written, turned into an
//! [`Observation`].
//!
//! Invariants: nothing in the log is trusted (lengths, kinds and order are checked); what cannot
//! be read makes the observation incomplete and nothing else.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use memchr::memmem;

use super::access::Access;
use super::ground::flat;
use super::image_file::EnvironmentUse;
use super::layout::{
    BLIND, EXECUTE_FAILED, EXECUTING, FOUND, HEADER_BYTES, HEAP_BYTES, HEAP_OFFSET, LIBRARY_PATH,
    LINK_READ, LINKED, LISTED, LISTED_LATER, LOADED, LOADING, LOCAL_SOCKET, LOCALE_MISSING,
    LOCALE_READ, MACHINE, MAGIC, MISSING, NETWORK, OPENED_LIBRARY, PROGRAM, READ,
    RECORD_HEADER_BYTES, REMOVED, SPAWNED, STARTED, TEXT_BYTES_MAX, TOLD, VARIABLE_READ,
    WORD_FIRST_PID, WORD_HEAP_USED, WORD_MAGIC, WORD_OVERFLOW, WROTE,
};
use super::machine::Fact;
use super::processes::Processes;
use super::programs::{self, Images, SearchPath};
use super::{image_file, path_of, variables};
use crate::fs::{self, FileKind};
use crate::{jobs, library_path};

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
    #[error("{} did not report (static, privileged, or of another architecture)", .0.display())]
    Unreported(PathBuf),
    #[error("a process that it started was still running when it ended")]
    Outlived,
    #[error("something happened that cannot be followed: {0}")]
    Blind(String),
}

/// What a process and all that it started did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// In the order in which things happened first.
    pub events: Vec<Access>,
    /// Whether `events` is all that there is.
    pub complete: Result<(), IncompleteReason>,
    /// The programs that ran and did not report, each as often as that happened, if nothing else is
    /// missing.
    pub unreported: Vec<PathBuf>,
    /// How many times a process reported that it runs.
    pub processes: u64,
    /// The executable that was observed first: what the wrapper ran.
    pub root: Option<PathBuf>,
    /// Who in it goes through all variables, if it is a Rust program.
    pub root_uses: EnvironmentUse,
    /// The files (and links) that were written and are there now.
    pub remaining: Vec<PathBuf>,
    /// What else is not as it was: names that were there before and are gone, and directories that
    /// were made.
    pub effects: Vec<PathBuf>,
    /// Where temporary files go.
    pub temporary: Vec<PathBuf>,
    /// The named pipe through which make tells how many jobs may run.
    pub jobserver: Option<PathBuf>,
    /// Where the loader searches first.
    pub library_path: OsString,
    /// Whether git was told the names in directories by its index.
    pub git_knows_names: bool,
    /// Names in the environment of the observed processes that are there because they were observed.
    pub traces: Vec<Vec<u8>>,
}

impl Observation {
    /// Tells of a directory that was reached under its real name as if it had been reached under
    /// the name that the call gives it (a target directory behind a symbolic link).
    pub fn rename(&mut self, real: &Path, given: &Path) {
        self.events.iter_mut().for_each(|access| access.rename(real, given));
        let made = self.remaining.iter_mut().chain(&mut self.effects);
        made.for_each(|path| super::access::rename(path, real, given));
    }

    /// Reads a log whose writers have ended. The first process was to run `expected`.
    pub(crate) fn read(log: &File, expected: Option<&Path>) -> Self {
        match Heap::read(log) {
            Ok(heap) => Self::parse(&heap, expected),
            Err(_) => Self::empty(IncompleteReason::Unreadable),
        }
    }

    fn empty(reason: IncompleteReason) -> Self {
        Self {
            events: Vec::new(),
            complete: Err(reason),
            unreported: Vec::new(),
            processes: 0,
            root: None,
            root_uses: EnvironmentUse::Everything,
            remaining: Vec::new(),
            effects: Vec::new(),
            temporary: Vec::new(),
            jobserver: None,
            library_path: OsString::new(),
            git_knows_names: false,
            traces: Vec::new(),
        }
    }

    fn parse(heap: &Heap, expected: Option<&Path>) -> Self {
        let mut reader = Reader::new();
        let is_whole = reader.records(&heap.bytes);
        let processes = reader.processes.reports();
        let mut unreported = Vec::new();
        let complete = if heap.is_full {
            Err(IncompleteReason::Overflow)
        } else if !is_whole {
            Err(IncompleteReason::Torn)
        } else if heap.first_pid == 0 {
            Err(IncompleteReason::NobodyReported)
        } else if let Some(path) = expected.filter(|path| reader.root.as_deref() != Some(path)) {
            // It reported late, as something else: what it did before is not known.
            Err(IncompleteReason::Unreported(path.to_owned()))
        } else {
            unreported = reader.processes.unreported(heap.first_pid, &mut Images::default());
            let first = unreported.first().cloned().map(IncompleteReason::Unreported);
            let hidden = reader.hidden();
            if hidden.is_some() {
                unreported.clear();
            }
            first.or(hidden).map_or(Ok(()), Err)
        };
        reader.drop_named_twice();
        let temporary = vec![std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()];
        let remaining = remaining(&reader.events);
        let effects = effects(&reader.events);
        let git_knows_names = reader.events.iter().any(is_index_with_names);
        Self {
            root_uses: reader.root_uses,
            root: reader.root,
            events: reader.events,
            complete,
            unreported,
            processes,
            remaining,
            effects,
            temporary,
            jobserver: jobserver(),
            git_knows_names,
            traces: Vec::new(),
            library_path: std::env::var_os(library_path::VARIABLE).unwrap_or_default(),
        }
    }
}

fn jobserver() -> Option<PathBuf> {
    ["CARGO_MAKEFLAGS", "MAKEFLAGS", "MFLAGS"].into_iter().find_map(|name| {
        let flags = std::env::var_os(name)?;
        let mut named = jobs::named_in(flags.as_bytes());
        named.find_map(|name| name.strip_prefix(b"fifo:")).map(path_of)
    })
}

/// Bytes of a file that are looked through at a time.
const WINDOW_BYTES: usize = 256 << 10;

/// Whether git's index was read, and tells which names each directory had when it looked as it did
/// then: git lists only those that look otherwise.
fn is_index_with_names(access: &Access) -> bool {
    const MARK: &[u8] = b"UNTR";
    let Access::Read(path) = access else { return false };
    let is_file = || fs::stat(path).is_ok_and(|stat| stat.kind == FileKind::File);
    if path.file_name() != Some(OsStr::new("index")) || !is_file() {
        return false;
    }
    let mut is_marked = false;
    let read = fs::read_in_windows(path, WINDOW_BYTES, |window| {
        is_marked |= memmem::find(window, MARK).is_some();
        (MARK.len() - 1).min(window.len())
    });
    is_marked || read.is_err()
}

/// What was written and is still there. Directories say nothing of their own.
fn remaining(events: &[Access]) -> Vec<PathBuf> {
    let written = events.iter().filter_map(|access| match access {
        Access::Wrote(path) => Some(path),
        _ => None,
    });
    let is_left = |path: &&PathBuf| {
        fs::lstat(path).is_ok_and(|stat| matches!(stat.kind, FileKind::File | FileKind::Symlink))
    };
    written.filter(is_left).cloned().collect()
}

/// Names that the processes did not make and removed, directories that they made, and files that they
/// made and that are gone: something was done with them that was not seen, as to give them another name.
fn effects(events: &[Access]) -> Vec<PathBuf> {
    let removed = events.iter().filter_map(|access| match access {
        Access::Removed(path) => Some(path.as_path()),
        _ => None,
    });
    let removed: HashSet<&Path> = removed.collect();
    let mut made = HashSet::new();
    let mut effects = Vec::new();
    for access in events {
        match access {
            Access::Wrote(path) => {
                made.insert(path.as_path());
                let is_effect = match fs::lstat(path) {
                    Ok(stat) => stat.kind == FileKind::Directory,
                    Err(_) => !path.ancestors().any(|above| removed.contains(above)),
                };
                if is_effect {
                    effects.push(path.clone());
                }
            }
            Access::Removed(path) => {
                let is_own = path.ancestors().any(|above| made.contains(above));
                if !is_own && fs::lstat(path).is_err_and(|error| error.is_absent()) {
                    effects.push(path.clone());
                }
            }
            _ => {}
        }
    }
    effects
}

/// The used part of a log.
struct Heap {
    bytes: Vec<u8>,
    is_full: bool,
    first_pid: u64,
}

impl Heap {
    fn read(log: &File) -> std::io::Result<Self> {
        let mut header = vec![0; HEADER_BYTES];
        log.read_exact_at(&mut header, 0)?;
        let header_word = |index: usize| word(&header, index * 8).unwrap_or(0);
        if header_word(WORD_MAGIC) != MAGIC {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        let used = header_word(WORD_HEAP_USED);
        let mut bytes = vec![0; usize::try_from(used).map_or(HEAP_BYTES, |it| it.min(HEAP_BYTES))];
        log.read_exact_at(&mut bytes, HEAP_OFFSET as u64)?;
        let is_full = header_word(WORD_OVERFLOW) != 0;
        Ok(Self { bytes, is_full, first_pid: header_word(WORD_FIRST_PID) })
    }
}

#[expect(clippy::host_endian_bytes, reason = "the log never leaves this machine")]
pub(super) fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|word| u64::from_ne_bytes(*word))
}

/// One record of the heap.
pub(super) struct Record<'a> {
    pub(super) kind: u8,
    number: u64,
    pub(super) text: &'a [u8],
    /// Where the next one begins.
    pub(super) end: usize,
}

impl<'a> Record<'a> {
    /// The record that begins at `offset`; `None` where it is damaged or not complete.
    pub(super) fn at(heap: &'a [u8], offset: usize) -> Option<Self> {
        let (lead, number) = (word(heap, offset)?, word(heap, offset + 8)?);
        let length = usize::try_from(lead & 0xffff_ffff).unwrap_or(0);
        let text = heap.get(offset + RECORD_HEADER_BYTES..offset.saturating_add(length))?;
        let kind = u8::try_from(lead >> 32).ok().filter(|_| text.len() <= TEXT_BYTES_MAX)?;
        Some(Self { kind, number, text, end: offset + length.next_multiple_of(8) })
    }
}

struct Reader {
    path: SearchPath,
    events: Vec<Access>,
    seen: HashSet<Access>,
    processes: Processes,
    /// Those that were looked at, and where each has the loader search.
    libraries: HashMap<PathBuf, Vec<PathBuf>>,
    /// Where the executables, and the libraries that they have so far, have the loader search.
    run_paths: HashMap<Option<PathBuf>, Vec<Vec<PathBuf>>>,
    root: Option<PathBuf>,
    root_uses: EnvironmentUse,
    /// What each executable and library that was looked at takes from its environment.
    uses: HashMap<PathBuf, EnvironmentUse>,
    blind: Option<String>,
    /// kache's own executable.
    own: Option<PathBuf>,
}

impl Reader {
    fn new() -> Self {
        Self {
            path: SearchPath::of_this_process(),
            events: Vec::new(),
            seen: HashSet::new(),
            processes: Processes::default(),
            libraries: HashMap::new(),
            run_paths: HashMap::new(),
            root: None,
            root_uses: EnvironmentUse::Everything,
            uses: HashMap::new(),
            blind: None,
            own: std::env::current_exe().ok(),
        }
    }

    /// Reads record by record; `false` where one is damaged, which hides all behind it.
    fn records(&mut self, heap: &[u8]) -> bool {
        let mut offset = 0;
        while offset < heap.len() {
            let Some(record) = Record::at(heap, offset) else { return false };
            if !self.record(record.kind, record.number, record.text) {
                return false;
            }
            offset = record.end;
        }
        true
    }

    fn record(&mut self, kind: u8, number: u64, text: &[u8]) -> bool {
        let path = || tidy(text);
        let access = match kind {
            READ => Access::Read(path()),
            WROTE => Access::Wrote(path()),
            LINKED => match pair(text) {
                Some((link, target)) => linked(tidy(link), &target.unwrap_or_default()),
                None => return false,
            },
            REMOVED => Access::Removed(path()),
            LISTED => Access::Listed(path()),
            LISTED_LATER => Access::ListedLater(path()),
            MISSING => self.probed(path(), false),
            FOUND => self.probed(path(), true),
            LINK_READ => Access::LinkRead(path()),
            NETWORK => Access::Network(address(text)),
            MACHINE => match Fact::from_name(text) {
                Some(fact) => Access::Machine(fact),
                None => return false,
            },
            LOCAL_SOCKET => Access::LocalSocket(path_of(text)),
            VARIABLE_READ => match pair(text) {
                Some((name, by)) => Access::Variable { name: OsStr::from_bytes(name).into(), by },
                None => return false,
            },
            LOADED => match pair(text) {
                Some((library, by)) => self.loaded(tidy(library), by),
                None => return false,
            },
            PROGRAM => match pair(text) {
                Some((name, path)) => self.searched(OsStr::from_bytes(name), path),
                None => return false,
            },
            LIBRARY_PATH => match pair(text) {
                Some((directories, Some(by))) => {
                    self.begins_with(directories, by);
                    return true;
                }
                _ => return false,
            },
            OPENED_LIBRARY => {
                self.can_read_variables(&path());
                Access::OpenedLibrary(path())
            }
            LOCALE_READ | LOCALE_MISSING => match pair(text) {
                Some((_, Some(by))) if variables::only_diagnoses(&by) => return true,
                Some((file, _)) if kind == LOCALE_READ => Access::Read(tidy(file)),
                Some((file, _)) => Access::Missing(tidy(file)),
                None => return false,
            },
            STARTED => return self.started(number, path()),
            LOADING => return self.processes.loads(number),
            TOLD => return self.processes.told(number),
            EXECUTING => return self.processes.announce(number, path()),
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

    fn started(&mut self, pid: u64, executable: PathBuf) -> bool {
        if let Some(path) = self.processes.report(pid, executable.clone()) {
            self.event(Access::Executed(path));
        }
        let uses = self.can_read_variables(&executable);
        if self.root.is_none() {
            self.root = Some(executable.clone());
            self.root_uses = uses;
        }
        self.event(Access::Started(executable))
    }

    /// Why nothing tells of all that happened, if what reported is to blame.
    fn hidden(&mut self) -> Option<IncompleteReason> {
        if self.processes.owes_libraries() {
            let what = "a process that loaded libraries was ended before it told which";
            return Some(IncompleteReason::Blind(what.into()));
        }
        self.blind.take().map(IncompleteReason::Blind)
    }

    /// What is observed behind kache depends on what kache runs, not on kache.
    fn is_kache(&self, path: &Path) -> bool {
        self.own.as_ref().is_some_and(|own| programs::is_kache(path, own))
    }

    fn can_read_variables(&mut self, path: &Path) -> EnvironmentUse {
        if !path.is_absolute() {
            return EnvironmentUse::Everything;
        }
        if let Some(uses) = self.uses.get(path) {
            return *uses;
        }
        if !self.is_kache(path) && image_file::calls_kernel(path) {
            let what = format!("{} makes system calls of its own", path.display());
            self.blind.get_or_insert(what);
        }
        let uses = image_file::environment_use(path);
        if uses != EnvironmentUse::Nothing {
            self.event(Access::AllVariables(path.to_owned()));
        }
        self.uses.insert(path.to_owned(), uses);
        uses
    }

    fn loaded(&mut self, library: PathBuf, by: Option<PathBuf>) -> Access {
        if !self.libraries.contains_key(&library) {
            if !variables::is_plain_library(&library) {
                self.can_read_variables(&library);
            }
            self.libraries.insert(library.clone(), image_file::run_path(&library));
        }
        let own = self.libraries.get(&library).cloned();
        let lists = self.searched_for(by.clone());
        let searched = lists.iter().flat_map(|directories| {
            directories.iter().take_while(|directory| library.parent() != Some(directory))
        });
        let passed_over = searched.cloned().collect();
        lists.extend(own);
        Access::Loaded { library, by, passed_over }
    }

    /// Adds where the loader searches for one executable; for all of them it searches where the wrapper's
    /// own variable says.
    fn begins_with(&mut self, directories: &[u8], by: PathBuf) {
        let own = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        let own: HashSet<PathBuf> = std::env::split_paths(&own).collect();
        let directories = directories.split(|byte| matches!(byte, b':' | b';')).map(path_of);
        let more = directories.filter(|path| path.is_absolute() && !own.contains(path)).collect();
        self.searched_for(Some(by)).push(more);
    }

    /// Where the loader searches for an executable and for the libraries that it has so far.
    fn searched_for(&mut self, by: Option<PathBuf>) -> &mut Vec<Vec<PathBuf>> {
        self.run_paths.entry(by).or_insert_with_key(|by| {
            by.iter().map(|executable| image_file::run_path(executable)).collect()
        })
    }

    fn probed(&mut self, path: PathBuf, is_there: bool) -> Access {
        match self.path.search_behind(&path, is_there) {
            Some(search) => search,
            None if is_there => Access::Found(path),
            None => Access::Missing(path),
        }
    }

    fn searched(&mut self, name: &OsStr, path: Option<PathBuf>) -> Access {
        let is_ours = self.path.find(name) == path.as_deref();
        Access::Searched { name: name.into(), path, is_ours }
    }

    fn event(&mut self, access: Access) -> bool {
        let path = match &access {
            Access::Executed(path) | Access::Found(path) | Access::Started(path) => Some(path),
            Access::Searched { path, .. } => path.as_ref(),
            _ => None,
        };
        if path.is_some_and(|path| self.is_kache(path)) {
            return true;
        }
        if self.seen.insert(access.clone()) {
            // A script is run by what it names, whichever program a link makes of that.
            let interpreter = match &access {
                Access::Executed(path) | Access::Searched { path: Some(path), .. } => {
                    programs::interpreter(path)
                }
                _ => None,
            };
            self.events.push(access);
            match interpreter {
                Some(path) if path.is_absolute() => drop(self.event(Access::Executed(path))),
                Some(path) => {
                    let what = format!("a script with the relative interpreter {}", path.display());
                    self.blind.get_or_insert(what);
                }
                None => {}
            }
        }
        true
    }

    /// Forgets the executables of processes where the name under which they were run is known:
    /// what stays are interpreters of scripts, and the first process.
    fn drop_named_twice(&mut self) {
        let real = |path: &Path| std::fs::canonicalize(path).ok();
        let named: HashSet<PathBuf> = self
            .events
            .iter()
            .filter_map(|access| match access {
                Access::Executed(path) | Access::Searched { path: Some(path), .. } => real(path),
                _ => None,
            })
            .collect();
        self.events.retain(|access| match access {
            Access::Started(path) => !named.contains(path),
            _ => true,
        });
    }
}

/// A text, NUL, and a path, which may be missing.
fn pair(text: &[u8]) -> Option<(&[u8], Option<PathBuf>)> {
    let end = text.iter().position(|byte| *byte == 0)?;
    let path = Some(&text[end + 1..]).filter(|path| !path.is_empty());
    Some((&text[..end], path.map(tidy)))
}

fn linked(link: PathBuf, target: &Path) -> Access {
    let target = link.parent().map(|parent| flat(&parent.join(target)).into_owned());
    Access::Linked { target: target.unwrap_or_default(), link }
}

/// A path without empty and `.` components. `..` stays: what it means depends on links.
fn tidy(bytes: &[u8]) -> PathBuf {
    let has_part = |part: &[u8; 2]| bytes.windows(2).any(|pair| pair == part);
    let is_untidy = has_part(b"//") || has_part(b"/.") || bytes.len() > 1 && bytes.ends_with(b"/");
    if is_untidy { path_of(bytes).components().collect() } else { path_of(bytes) }
}

/// The text of a socket's address.
fn address(text: &[u8]) -> String {
    let port = |high: u8, low: u8| u16::from_be_bytes([high, low]);
    match *text {
        [b'4', high, low, a, b, c, d] => {
            SocketAddr::from((Ipv4Addr::new(a, b, c, d), port(high, low))).to_string()
        }
        [b'6', high, low, _, _, _, _, ref host @ ..] if host.len() == 16 => {
            let mut bytes = [0; 16];
            bytes.copy_from_slice(host);
            SocketAddr::from((Ipv6Addr::from(bytes), port(high, low))).to_string()
        }
        _ => String::from_utf8_lossy(text).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log of these records: kind, number, text.
    fn heap(records: &[(u8, u64, &[u8])]) -> Heap {
        let mut bytes = Vec::new();
        for (kind, number, text) in records {
            let length = RECORD_HEADER_BYTES + text.len();
            bytes.extend((u64::from(*kind) << 32 | length as u64).to_le_bytes());
            bytes.extend(number.to_le_bytes());
            bytes.extend(*text);
            bytes.resize(bytes.len().next_multiple_of(8), 0);
        }
        Heap { bytes, is_full: false, first_pid: 7 }
    }

    fn whole() -> Heap {
        heap(&[
            (STARTED, 7, b"/bin/first"),
            (VARIABLE_READ, 0, b"NAME\0/bin/first"),
            (READ, 0, b"/a//b/./c"),
            (PROGRAM, 0, b"kache-no-such-program\0"),
            (NETWORK, 0, b"4\x00\x50\x7f\x00\x00\x01"),
            (EXECUTING, 7, b"/nonexistent"),
            (EXECUTE_FAILED, 7, b""),
            (SPAWNED, 8, b"/bin/gone"),
            (STARTED, 8, b"/bin/gone"),
        ])
    }

    #[test]
    fn records_become_accesses_once_and_in_order() {
        let observation = Observation::parse(&whole(), None);
        assert_eq!(observation.complete, Ok(()));
        assert_eq!(observation.root.as_deref(), Some(Path::new("/bin/first")));
        let told: Vec<String> =
            observation.events.iter().take(6).map(ToString::to_string).collect();
        let expected = [
            // It is not there to be looked at.
            "all variables by /bin/first",
            "started /bin/first",
            "variable NAME by /bin/first",
            "read /a/b/c",
            "program kache-no-such-program nowhere",
            "network 127.0.0.1:80",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_log_that_ends_early_or_is_damaged_anywhere_is_incomplete_or_read_but_never_a_crash() {
        let whole = whole();
        let mut ends: Vec<std::ops::Range<usize>> = Vec::new();
        ends.push(0..1);
        while let Some(at) = ends.last().map(|end| end.end - 1).filter(|at| *at < whole.bytes.len())
        {
            let length = usize::from(whole.bytes[at]);
            // What fills a record up may be missing.
            ends.push(at + length..at + length.next_multiple_of(8) + 1);
        }
        for end in 0..whole.bytes.len() {
            let cut = Heap { bytes: whole.bytes[..end].to_vec(), ..heap(&[]) };
            let read = Observation::parse(&cut, None);
            let is_between = ends.iter().any(|range| range.contains(&end));
            assert_eq!(read.complete == Err(IncompleteReason::Torn), !is_between, "cut at {end}");
        }
        for at in 0..whole.bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut damaged = Heap { bytes: whole.bytes.clone(), ..heap(&[]) };
                damaged.bytes[at] ^= flip;
                let read = Observation::parse(&damaged, None);
                assert!(read.events.len() <= 16);
            }
        }
    }

    #[test]
    fn an_announced_program_without_a_report_is_named() {
        let mut records = whole();
        records.bytes.extend(heap(&[(SPAWNED, 9, b"/bin/mute")]).bytes);
        let expected = Err(IncompleteReason::Unreported("/bin/mute".into()));
        let observation = Observation::parse(&records, None);
        assert_eq!(observation.complete, expected);
        assert_eq!(observation.unreported, [Path::new("/bin/mute")]);
        // A process whose number is not known, as `system` starts them.
        let mut records = whole();
        records.bytes.extend(heap(&[(SPAWNED, 0, b"/bin/mute")]).bytes);
        assert_eq!(Observation::parse(&records, None).complete, expected);
        records.bytes.extend(heap(&[(STARTED, 10, b"/bin/mute")]).bytes);
        assert_eq!(Observation::parse(&records, None).complete, Ok(()));
    }

    #[test]
    fn programs_without_a_report_are_all_that_is_missing_unless_something_was_hidden() {
        let mute: [(u8, u64, &[u8]); 3] =
            [(SPAWNED, 9, b"/bin/mute"), (SPAWNED, 10, b"/bin/mute"), (SPAWNED, 11, b"/bin/other")];
        let mut records = whole();
        records.bytes.extend(heap(&mute).bytes);
        let observation = Observation::parse(&records, None);
        let mut unreported = observation.unreported;
        unreported.sort();
        assert_eq!(unreported, ["/bin/mute", "/bin/mute", "/bin/other"].map(Path::new));

        for hidden in [(BLIND, 0, &b"a call"[..]), (LOADING, 7, b"")] {
            let mut records = whole();
            records.bytes.extend(heap(&mute[..1]).bytes);
            records.bytes.extend(heap(&[hidden]).bytes);
            let observation = Observation::parse(&records, None);
            let expected = Err(IncompleteReason::Unreported("/bin/mute".into()));
            assert_eq!(observation.complete, expected);
            assert!(observation.unreported.is_empty());
        }
        assert!(Observation::parse(&whole(), Some(Path::new("/bin/other"))).unreported.is_empty());
    }

    /// `configure` and `make` start more processes than there are numbers: the report of a shell was
    /// taken for that of a test program which had its number before and was removed.
    #[test]
    fn a_process_number_that_is_given_again_does_not_hide_a_report() {
        let shell = std::fs::canonicalize("/bin/sh").expect("there is a shell");
        let shell = shell.as_os_str().as_bytes();
        let mut records = whole();
        let again: [(u8, u64, &[u8]); 4] = [
            (SPAWNED, 9, b"/bin/conftest-that-is-gone"),
            (STARTED, 9, b"/bin/conftest-that-is-gone"),
            (SPAWNED, 9, b"/bin/sh"),
            (STARTED, 9, shell),
        ];
        records.bytes.extend(heap(&again).bytes);
        assert_eq!(Observation::parse(&records, None).complete, Ok(()));
        records.bytes.extend(heap(&[(SPAWNED, 9, b"/bin/conftest-that-is-gone")]).bytes);
        let expected = Err(IncompleteReason::Unreported("/bin/conftest-that-is-gone".into()));
        assert_eq!(Observation::parse(&records, None).complete, expected);
    }

    #[test]
    fn the_first_process_must_be_what_was_to_run() {
        let expected = Err(IncompleteReason::Unreported("/bin/other".into()));
        assert_eq!(Observation::parse(&whole(), Some(Path::new("/bin/other"))).complete, expected);
        assert_eq!(Observation::parse(&whole(), Some(Path::new("/bin/first"))).complete, Ok(()));
    }
}
