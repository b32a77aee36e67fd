//! The layout of the log that observed processes write and the wrapper reads, shared by both.
//!
//! The log is a file in memory, mapped by every observed process:
//!
//! ```text
//! 0        header: words of eight bytes, see the `WORD_*` constants
//! 4096     set of 64-bit hashes, open addressing, zero is empty: what was recorded already
//! HEAP     records, each aligned to eight bytes
//! ```
//!
//! A record is its length and kind (one word, stored last, so that zero means "not complete"), a
//! number (a process, or zero), and a text. Invariants: the end of the heap only grows; a hash
//! enters the set only after its record is complete, so that what is in the set is in the heap; a
//! record that does not fit sets the overflow word instead, and is lost.

/// First word of a log; changes with the layout.
pub(crate) const MAGIC: u64 = 0x6b61_6368_6501_0001;

pub(crate) const WORD_MAGIC: usize = 0;
/// Bytes of the heap that are reserved.
pub(crate) const WORD_HEAP_USED: usize = 1;
/// Not zero once a record was lost.
pub(crate) const WORD_OVERFLOW: usize = 2;
/// The process that the wrapper started, once it has reported.
pub(crate) const WORD_FIRST_PID: usize = 3;
/// The wrapper.
pub(crate) const WORD_WRAPPER_PID: usize = 4;
/// Not zero if the first process shall end with the wrapper.
pub(crate) const WORD_END_WITH_WRAPPER: usize = 5;

/// Bytes of the text at [`COMPILER_ARGUMENTS_OFFSET`].
pub(crate) const WORD_COMPILER_ARGUMENTS: usize = 6;

/// Where the arguments are that C compilers get besides their own, each closed by NUL. The wrapper
/// writes them before the first process starts.
pub(crate) const COMPILER_ARGUMENTS_OFFSET: usize = 512;
pub(crate) const COMPILER_ARGUMENTS_BYTES_MAX: usize = HEADER_BYTES - COMPILER_ARGUMENTS_OFFSET;

pub(crate) const HEADER_BYTES: usize = 4096;
pub(crate) const SET_SLOTS: usize = 1 << 18;
pub(crate) const HEAP_OFFSET: usize = HEADER_BYTES + SET_SLOTS * 8;
/// Size of the whole log. Memory is used only for what is written.
pub(crate) const LOG_BYTES: usize = 64 << 20;
pub(crate) const HEAP_BYTES: usize = LOG_BYTES - HEAP_OFFSET;
/// How many slots a hash may be away from its place.
pub(crate) const PROBES: usize = 32;

/// Bytes of a record before its text: length (low 32 bits) and kind (above), then the number.
pub(crate) const RECORD_HEADER_BYTES: usize = 16;
/// Longest text of a record.
pub(crate) const TEXT_BYTES_MAX: usize = 3 * 4096;

/// The variable that leads observed processes to the log.
pub(crate) const VARIABLE: &str = "KACHE_OBSERVE_LOG";

/// The name of a link to kache by which scripts run it.
pub(crate) const LINK_NAME: &str = "rustc-wrapper";

/// The variable that names the libraries which are loaded before a program.
pub(crate) const PRELOAD_VARIABLE: &str =
    if cfg!(target_vendor = "apple") { "DYLD_INSERT_LIBRARIES" } else { "LD_PRELOAD" };

pub(crate) const READ: u8 = 1;
pub(crate) const WROTE: u8 = 2;
pub(crate) const REMOVED: u8 = 3;
pub(crate) const LISTED: u8 = 4;
pub(crate) const MISSING: u8 = 5;
pub(crate) const FOUND: u8 = 6;
pub(crate) const LINK_READ: u8 = 7;
/// An environment variable was looked up.
pub(crate) const VARIABLE_READ: u8 = 8;
/// A connection or datagram to an address family that is not local; the text names it.
pub(crate) const NETWORK: u8 = 9;
/// A connection to a local socket; the text is its path (abstract ones start with NUL).
pub(crate) const LOCAL_SOCKET: u8 = 10;
/// A program was looked for by name: the name, NUL, where it was found (empty: nowhere).
pub(crate) const PROGRAM: u8 = 11;
/// A library is in a process: its path, NUL, the executable that started with it (empty: it came later).
pub(crate) const LOADED: u8 = 12;
/// A library was asked for while the process ran.
pub(crate) const OPENED_LIBRARY: u8 = 13;
/// A process reports that it runs under observation: number and executable.
pub(crate) const STARTED: u8 = 14;
/// A process is about to become another executable: its number and the executable.
pub(crate) const EXECUTING: u8 = 15;
/// What was announced by the last `EXECUTING` of this process did not happen.
pub(crate) const EXECUTE_FAILED: u8 = 16;
/// A process was made (its number, zero where it is not known) and runs an executable.
pub(crate) const SPAWNED: u8 = 17;
/// A symbolic link was made: its path, NUL, its target as given.
pub(crate) const LINKED: u8 = 19;
/// A fact about the machine was asked for; the text names it.
pub(crate) const MACHINE: u8 = 20;
/// A process (its number) is about to load a library, and has to tell which came with it.
pub(crate) const LOADING: u8 = 21;
/// What this process loaded since its last `LOADING` is recorded.
pub(crate) const TOLD: u8 = 22;
/// Like `LISTED`, by code that the process did not start with.
pub(crate) const LISTED_LATER: u8 = 23;
/// A process begins with a list of directories for libraries: the list, NUL, its executable.
pub(crate) const LIBRARY_PATH: u8 = 24;
/// A file in which a locale is described was found where the C library looks for one: its path, NUL, the
/// executable that chose the locale.
pub(crate) const LOCALE_READ: u8 = 25;
/// Nothing was there. The text is the same.
pub(crate) const LOCALE_MISSING: u8 = 26;
/// Something happened that cannot be followed; the text says what.
pub(crate) const BLIND: u8 = 18;
