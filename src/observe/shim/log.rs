//! The writing side of the log (see `layout.rs`).

use core::ffi::c_char;
use core::ptr;
use core::sync::atomic::{
    AtomicPtr, AtomicU8, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use crate::layout::{
    BLIND, COMPILER_ARGUMENTS_BYTES_MAX, COMPILER_ARGUMENTS_OFFSET, HEADER_BYTES, HEAP_BYTES,
    HEAP_OFFSET, LIBRARY_PATH, LOADED, LOG_BYTES, MAGIC, PRELOAD_VARIABLE, PROBES,
    RECORD_HEADER_BYTES, SET_SLOTS, STARTED, TEXT_BYTES_MAX, VARIABLE, WORD_COMPILER_ARGUMENTS,
    WORD_END_WITH_WRAPPER, WORD_FIRST_PID, WORD_HEAP_USED, WORD_MAGIC, WORD_OVERFLOW,
    WORD_WRAPPER_PID,
};
use crate::system::{self, PATH_BYTES_MAX, bytes};

/// The mapping: null before it is open and where there is none.
static MAPPING: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
/// Set once the log was found to be absent or not to be a log.
static ABSENT: AtomicU8 = AtomicU8::new(0);

/// The entries that programs started from here need in their environment: the list of libraries with this
/// one, and the log's variable. Empty before the log is open.
pub(crate) struct Entries {
    pub(crate) preload: &'static [u8],
    pub(crate) log: &'static [u8],
}

static mut PRELOAD: [u8; PATH_BYTES_MAX] = [0; PATH_BYTES_MAX];
static mut LOG: [u8; 256] = [0; 256];
static PRELOAD_BYTES: AtomicU64 = AtomicU64::new(0);
static LOG_NAME_BYTES: AtomicU64 = AtomicU64::new(0);

static mut EXECUTABLE: [u8; PATH_BYTES_MAX] = [0; PATH_BYTES_MAX];
static EXECUTABLE_BYTES: AtomicU64 = AtomicU64::new(0);

/// The executable of this process; empty before the log is open.
pub(crate) fn executable() -> &'static [u8] {
    let length = EXECUTABLE_BYTES.load(Acquire) as usize;
    // SAFETY: written once, before the length was published, and never again.
    unsafe { core::slice::from_raw_parts((&raw const EXECUTABLE).cast(), length) }
}

/// This library's path and the log's value, as this process was given them.
pub(crate) fn entries() -> Option<Entries> {
    let preload_bytes = PRELOAD_BYTES.load(Acquire) as usize;
    let log_bytes = LOG_NAME_BYTES.load(Acquire) as usize;
    if preload_bytes == 0 || log_bytes == 0 {
        return None;
    }
    // SAFETY: written once, before the lengths were published, and never again.
    unsafe {
        Some(Entries {
            preload: core::slice::from_raw_parts((&raw const PRELOAD).cast(), preload_bytes),
            log: core::slice::from_raw_parts((&raw const LOG).cast(), log_bytes),
        })
    }
}

fn remember_entries(preload: &[u8], log: &[u8]) {
    // This library's path is the first entry of the list: the wrapper puts it there.
    let mine = preload.iter().position(|byte| matches!(byte, b':' | b' '));
    let preload = mine.and_then(|end| preload.get(..end)).unwrap_or(preload);
    if preload.len() > PATH_BYTES_MAX || log.len() > 256 {
        return;
    }
    // SAFETY: the caller won the right to initialise; the lengths fit, and nobody reads before
    // they are published below.
    unsafe {
        ptr::copy_nonoverlapping(preload.as_ptr(), (&raw mut PRELOAD).cast(), preload.len());
        ptr::copy_nonoverlapping(log.as_ptr(), (&raw mut LOG).cast(), log.len());
    }
    PRELOAD_BYTES.store(preload.len() as u64, Release);
    LOG_NAME_BYTES.store(log.len() as u64, Release);
}

/// Opens the log and reports this process, once; safe to call at any time.
#[cold]
pub(crate) fn open() {
    if !MAPPING.load(Acquire).is_null() || ABSENT.load(Relaxed) != 0 {
        return;
    }
    let environment = system::environment();
    if environment.is_null() {
        // Before the C library's own initialisation: later.
        return;
    }
    // SAFETY: the process's environment.
    let (log, preload) = unsafe {
        (
            system::find_variable(environment, VARIABLE.as_bytes()),
            system::find_variable(environment, PRELOAD_VARIABLE.as_bytes()),
        )
    };
    let mapping = if log.is_null() { ptr::null_mut() } else { map(log) };
    if mapping.is_null() {
        ABSENT.store(1, Relaxed);
        return;
    }
    if MAPPING.compare_exchange(ptr::null_mut(), mapping, AcqRel, Acquire).is_err() {
        system::unmap(mapping, LOG_BYTES);
        return;
    }
    // SAFETY: values of the environment are C strings.
    unsafe { remember_entries(system::bytes(preload), system::bytes(log)) };
    report_start(mapping);
}

fn map(log: *const c_char) -> *mut u8 {
    if system::is_short_of_addresses() {
        return ptr::null_mut();
    }
    let descriptor = system::open_log(log);
    if descriptor < 0 {
        return ptr::null_mut();
    }
    // The name may mean another file by now, where the process has outlived the wrapper.
    let is_long = system::has_bytes(descriptor, LOG_BYTES);
    let mapping = if is_long { system::map(Some(descriptor), LOG_BYTES) } else { ptr::null_mut() };
    system::close(descriptor);
    if !mapping.is_null() && word(mapping, WORD_MAGIC).load(Acquire) != MAGIC {
        system::unmap(mapping, LOG_BYTES);
        return ptr::null_mut();
    }
    mapping
}

fn report_start(mapping: *mut u8) {
    let pid = system::pid();
    let wrapper = word(mapping, WORD_WRAPPER_PID).load(Relaxed);
    if system::parent_pid() == wrapper {
        let first = word(mapping, WORD_FIRST_PID);
        let is_first = first.compare_exchange(0, pid, Relaxed, Relaxed).is_ok();
        if is_first && word(mapping, WORD_END_WITH_WRAPPER).load(Relaxed) != 0 {
            system::end_with(wrapper);
        }
    }
    let mut buffer = [0; PATH_BYTES_MAX];
    let executable = system::executable_path(&mut buffer).unwrap_or_default();
    // SAFETY: only the one that opened the log comes here; nobody reads before the length is
    // published.
    unsafe {
        ptr::copy_nonoverlapping(
            executable.as_ptr(),
            (&raw mut EXECUTABLE).cast(),
            executable.len(),
        );
    }
    EXECUTABLE_BYTES.store(executable.len() as u64, Release);
    append(mapping, STARTED, pid, &[executable]);
    // SAFETY: the process's environment; values are C strings.
    let directories =
        unsafe { bytes(system::find_variable(system::environment(), b"LD_LIBRARY_PATH")) };
    if !directories.is_empty() {
        text(LIBRARY_PATH, &[directories, b"\0", executable]);
    }
    crate::image::remember(|library| text(LOADED, &[library, b"\0", executable]));
}

/// The arguments that C compilers get besides their own, each closed by NUL.
pub(crate) fn compiler_arguments() -> &'static [u8] {
    let Some(mapping) = mapping() else { return &[] };
    let length = word(mapping, WORD_COMPILER_ARGUMENTS).load(Relaxed);
    let length = (length as usize).min(COMPILER_ARGUMENTS_BYTES_MAX);
    // SAFETY: within the header of the mapping, which stays as long as the process, and which the
    // wrapper wrote before this process started.
    unsafe { core::slice::from_raw_parts(mapping.add(COMPILER_ARGUMENTS_OFFSET), length) }
}

fn word(mapping: *mut u8, index: usize) -> &'static AtomicU64 {
    // SAFETY: header words lie in the mapping, which is never unmapped once it is published.
    unsafe { &*mapping.cast::<AtomicU64>().add(index) }
}

fn set_slot(mapping: *mut u8, index: usize) -> &'static AtomicU64 {
    word(mapping, HEADER_BYTES / 8 + index % SET_SLOTS)
}

/// Whether there is a log to record in. Opens it if that was not possible before.
#[inline]
fn mapping() -> Option<*mut u8> {
    let mapping = MAPPING.load(Acquire);
    if !mapping.is_null() {
        return Some(mapping);
    }
    open();
    let mapping = MAPPING.load(Acquire);
    if mapping.is_null() { None } else { Some(mapping) }
}

/// Whether anything that is recorded is kept.
pub(crate) fn is_open() -> bool {
    mapping().is_some()
}

/// Records a text (the parts one after the other) unless it is recorded already.
pub(crate) fn text(kind: u8, parts: &[&[u8]]) {
    let Some(mapping) = mapping() else { return };
    let hash = hash(kind, parts);
    let start = hash as usize;
    let mut free = None;
    for probe in 0..PROBES {
        let slot = set_slot(mapping, start.wrapping_add(probe));
        // Pairs with the release below: a hash that is seen here has its record.
        match slot.load(Acquire) {
            0 => {
                free = Some(slot);
                break;
            }
            known if known == hash => return,
            _ => {}
        }
    }
    if append(mapping, kind, 0, parts)
        && let Some(slot) = free
    {
        // Another process may have taken the slot meanwhile; then the record is repeated some
        // time, which does no harm.
        slot.compare_exchange(0, hash, Release, Relaxed).ok();
    }
}

/// Records something about a process, each time.
pub(crate) fn process(kind: u8, pid: u64, path: &[u8]) {
    if let Some(mapping) = mapping() {
        append(mapping, kind, pid, &[path]);
    }
}

/// Records that something happened that cannot be followed.
pub(crate) fn blind(what: &str) {
    text(BLIND, &[what.as_bytes()]);
}

fn append(mapping: *mut u8, kind: u8, number: u64, parts: &[&[u8]]) -> bool {
    let mut text_bytes = 0_usize;
    for part in parts {
        text_bytes = text_bytes.saturating_add(part.len());
    }
    let length = RECORD_HEADER_BYTES.saturating_add(text_bytes);
    let reserved = length.saturating_add(7) & !7;
    let used = word(mapping, WORD_HEAP_USED);
    if text_bytes > TEXT_BYTES_MAX || used.load(Relaxed) > HEAP_BYTES as u64 {
        word(mapping, WORD_OVERFLOW).store(1, Relaxed);
        return false;
    }
    let offset = used.fetch_add(reserved as u64, Relaxed) as usize;
    if offset.saturating_add(reserved) > HEAP_BYTES {
        word(mapping, WORD_OVERFLOW).store(1, Relaxed);
        return false;
    }
    let record = (HEAP_OFFSET + offset) / 8;
    word(mapping, record + 1).store(number, Relaxed);
    // SAFETY: the reserved bytes lie in the mapping and belong to this record alone.
    unsafe {
        let mut to = mapping.add(HEAP_OFFSET + offset + RECORD_HEADER_BYTES);
        for part in parts {
            ptr::copy_nonoverlapping(part.as_ptr(), to, part.len());
            to = to.add(part.len());
        }
    }
    // The reader takes the record only once it sees this word.
    word(mapping, record).store(u64::from(kind) << 32 | length as u64, Release);
    true
}

/// A hash of a record, never zero. Two records of one compilation fall together with a
/// probability of about one in 10^10.
fn hash(kind: u8, parts: &[&[u8]]) -> u64 {
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    fn mix(state: u64, value: u64) -> u64 {
        let product = u128::from(state ^ value) * u128::from(MULTIPLIER | 1);
        (product as u64) ^ ((product >> 64) as u64)
    }
    let mut state = mix(MULTIPLIER, u64::from(kind) + 1);
    let mut pending = 0_u64;
    let mut count = 0_u32;
    for part in parts {
        for byte in *part {
            pending = pending << 8 | u64::from(*byte);
            count = count.wrapping_add(1);
            if count % 8 == 0 {
                state = mix(state, pending).rotate_left(23);
                pending = 0;
            }
        }
    }
    let state = mix(mix(state, pending).rotate_left(23), u64::from(count));
    state | u64::from(state == 0)
}
