//! macOS: the functions of its library, which are the only door to the kernel. A function that is called
//! here is the library's own, whatever comes before it elsewhere; those that are called are such that they
//! make a system call and call nothing else.
//!
//! Only type-checked: nothing of this has been run.

use core::arch::global_asm;
use core::ffi::{c_char, c_int, c_void};

use super::{Node, PATH_BYTES_MAX, node};

pub(crate) const AT_FDCWD: c_int = -2;
pub(crate) const AT_SYMLINK_NOFOLLOW: c_int = 0x20;
pub(crate) const AT_REMOVEDIR: c_int = 0x80;
pub(crate) const AF_INET6: u16 = 30;
pub(crate) const O_CREAT: c_int = 0x200;
pub(crate) const O_EXCL: c_int = 0x800;
pub(crate) const O_TRUNC: c_int = 0x400;
/// No flag opens a name alone, whatever it leads to.
pub(crate) const O_PATH: c_int = 0;
/// There are no files without a name.
pub(crate) const O_NAMELESS: c_int = 0;
pub(crate) const ENAMETOOLONG: c_int = 63;
pub(crate) const ENOSYS: c_int = 78;

const O_RDWR: c_int = 2;
const O_CLOEXEC: c_int = 0x0100_0000;
/// Opens what is only to be asked for.
const O_EVTONLY: c_int = 0x8000;

#[link(name = "System")]
#[expect(clashing_extern_declarations, reason = "some come after definitions of this library, too")]
unsafe extern "C" {
    fn __error() -> *mut c_int;
    fn _NSGetEnviron() -> *mut *const *const c_char;
    fn _exit(status: c_int) -> !;
    fn access(path: *const c_char, mode: c_int) -> c_int;
    #[link_name = "close"]
    fn close_descriptor(descriptor: c_int) -> c_int;
    fn fcntl(descriptor: c_int, command: c_int, ...) -> c_int;
    fn fstat(descriptor: c_int, to: *mut Stat) -> c_int;
    fn fstatat(at: c_int, path: *const c_char, to: *mut Stat, flags: c_int) -> c_int;
    fn getpid() -> c_int;
    fn getppid() -> c_int;
    fn mmap(
        at: *mut c_void,
        bytes: usize,
        access: c_int,
        flags: c_int,
        file: c_int,
        from: i64,
    ) -> *mut c_void;
    fn munmap(start: *mut c_void, bytes: usize) -> c_int;
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn posix_spawnattr_getflags(attributes: *const c_void, to: *mut i16) -> c_int;
    fn read(descriptor: c_int, to: *mut c_void, bytes: usize) -> isize;
    fn proc_pidpath(pid: c_int, to: *mut c_void, size: u32) -> c_int;
    fn readlinkat(at: c_int, path: *const c_char, to: *mut c_char, size: usize) -> isize;
}

// As on Linux: the precompiled parts of the core library name it, and nothing unwinds here.
global_asm!(
    ".globl _rust_eh_personality",
    ".private_extern _rust_eh_personality",
    "_rust_eh_personality:",
    ".byte 0",
);

/// `struct stat` with 64-bit file numbers.
#[repr(C)]
struct Stat {
    device: i32,
    mode: u16,
    rest: [u64; 17],
}

impl Stat {
    const EMPTY: Self = Self { device: 0, mode: 0, rest: [0; 17] };
}

/// Leaves `errno` as it is: what is recorded must not show.
fn unnoticed<T>(work: impl FnOnce() -> T) -> T {
    let before = errno();
    let result = work();
    set_errno(before);
    result
}

pub(crate) fn errno() -> c_int {
    // SAFETY: this thread's own error number.
    unsafe { *__error() }
}

pub(crate) fn set_errno(value: c_int) {
    // SAFETY: as above.
    unsafe { *__error() = value }
}

/// The process's environment: an array of pointers that ends with null, or null itself.
pub(crate) fn environment() -> *const *const c_char {
    // SAFETY: where the library keeps it.
    unsafe { *_NSGetEnviron() }
}

/// Puts another environment in the place of the process's, and returns that.
pub(crate) fn replace_environment(by: *const *const c_char) -> *const *const c_char {
    // SAFETY: where the library keeps it; who runs a program must not change it meanwhile.
    unsafe { core::mem::replace(&mut *_NSGetEnviron(), by) }
}

pub(crate) fn pid() -> u64 {
    // SAFETY: without arguments and without failure.
    unsafe { getpid() as u64 }
}

pub(crate) fn parent_pid() -> u64 {
    // SAFETY: as above.
    unsafe { getppid() as u64 }
}

pub(crate) fn exit_group(status: isize) {
    // SAFETY: nothing that was begun here is left undone.
    unsafe { _exit(status as c_int) }
}

pub(crate) fn close(descriptor: isize) {
    // SAFETY: a descriptor of this library's own.
    unnoticed(|| unsafe { close_descriptor(descriptor as c_int) });
}

/// Opens for reading and writing, without inheritance.
pub(crate) fn open_log(path: *const c_char) -> isize {
    // SAFETY: a C string.
    unnoticed(|| unsafe { open(path, O_RDWR | O_CLOEXEC) as isize })
}

/// Whether an interpreter would run a file.
pub(crate) fn is_script(path: *const c_char) -> bool {
    const O_NONBLOCK: c_int = 4;
    let mut mark = [0_u8; 2];
    // SAFETY: a C string, and room for what is read.
    unnoticed(|| unsafe {
        let descriptor = open(path, O_NONBLOCK | O_CLOEXEC);
        if descriptor >= 0 {
            read(descriptor, mark.as_mut_ptr().cast(), mark.len());
            close_descriptor(descriptor);
        }
    });
    mark == *b"#!"
}

/// Whether a file is at least so long: what is mapped behind its end must not be touched.
pub(crate) fn has_bytes(descriptor: isize, bytes: usize) -> bool {
    // `st_size`, behind five words.
    const SIZE_WORD: usize = 11;
    let mut stat = Stat::EMPTY;
    // SAFETY: room for what the function writes.
    let result = unnoticed(|| unsafe { fstat(descriptor as c_int, &raw mut stat) });
    result == 0 && stat.rest.get(SIZE_WORD).is_some_and(|size| *size >= bytes as u64)
}

/// Nothing limits addresses here.
pub(crate) fn is_short_of_addresses() -> bool {
    false
}

/// Maps a file to be shared, or (without one) fresh private memory; null on failure.
pub(crate) fn map(descriptor: Option<isize>, bytes: usize) -> *mut u8 {
    const READ_WRITE: c_int = 3;
    let (flags, descriptor) = match descriptor {
        Some(descriptor) => (1, descriptor as c_int),
        None => (0x1002, -1),
    };
    // SAFETY: at a place that the kernel chooses.
    let start = unnoticed(|| unsafe {
        mmap(core::ptr::null_mut(), bytes, READ_WRITE, flags, descriptor, 0)
    });
    if start as isize == -1 { core::ptr::null_mut() } else { start.cast() }
}

pub(crate) fn unmap(start: *mut u8, bytes: usize) {
    // SAFETY: a mapping of this library's own, which nobody uses any more.
    unnoticed(|| unsafe { munmap(start.cast(), bytes) });
}

/// The working directory's bytes in `buffer`.
pub(crate) fn working_directory(buffer: &mut [u8; PATH_BYTES_MAX]) -> Option<&[u8]> {
    // Not by `getcwd`: the library's own functions call each other by way of the definitions here.
    // SAFETY: a C string.
    let directory = unnoticed(|| unsafe { open(c".".as_ptr(), O_EVTONLY | O_CLOEXEC) });
    if directory < 0 {
        return None;
    }
    let path = descriptor_path(directory, buffer);
    close(directory as isize);
    path
}

/// A symbolic link's target in `buffer`.
pub(crate) fn read_link<'a>(
    directory: c_int,
    path: *const c_char,
    buffer: &'a mut [u8; PATH_BYTES_MAX],
) -> Option<&'a [u8]> {
    // SAFETY: the buffer has that size; a path that cannot be read is the kernel's error.
    let result = unnoticed(|| unsafe {
        readlinkat(directory, path, buffer.as_mut_ptr().cast(), buffer.len())
    });
    buffer.get(..usize::try_from(result).ok()?)
}

/// Where an open descriptor leads, in `buffer`.
pub(crate) fn descriptor_path(
    descriptor: c_int,
    buffer: &mut [u8; PATH_BYTES_MAX],
) -> Option<&[u8]> {
    const F_GETPATH: c_int = 50;
    // SAFETY: the buffer is longer than any path.
    let result = unnoticed(|| unsafe { fcntl(descriptor, F_GETPATH, buffer.as_mut_ptr()) });
    if result < 0 { None } else { absolute(buffer) }
}

/// The executable of this process.
pub(crate) fn executable_path(buffer: &mut [u8; PATH_BYTES_MAX]) -> Option<&[u8]> {
    let to = buffer.as_mut_ptr().cast();
    // SAFETY: the buffer has that size.
    let length = unnoticed(|| unsafe { proc_pidpath(getpid(), to, PATH_BYTES_MAX as u32) });
    if length <= 0 { None } else { absolute(buffer) }
}

/// The text in a buffer, if it is an absolute path.
fn absolute(buffer: &[u8; PATH_BYTES_MAX]) -> Option<&[u8]> {
    let length = buffer.iter().position(|byte| *byte == 0)?;
    buffer.get(..length).filter(|path| path.first() == Some(&b'/'))
}

/// What an open descriptor is.
pub(crate) fn descriptor_node(descriptor: c_int) -> Option<Node> {
    let mut stat = Stat::EMPTY;
    // SAFETY: the structure that the function fills.
    let result = unnoticed(|| unsafe { fstat(descriptor, &raw mut stat) });
    if result < 0 { None } else { Some(node(u32::from(stat.mode))) }
}

/// What a path leads to.
pub(crate) fn path_node(directory: c_int, path: *const c_char) -> Option<Node> {
    let mut stat = Stat::EMPTY;
    // SAFETY: the structure that the function fills; a path that cannot be read is the kernel's error.
    let result = unnoticed(|| unsafe { fstatat(directory, path, &raw mut stat, 0) });
    if result < 0 { None } else { Some(node(u32::from(stat.mode))) }
}

/// Whether this process can read a path. Who passes one that it cannot read is not looked for here.
pub(crate) fn is_readable(_path: *const c_char) -> bool {
    true
}

/// Whether the process has the GNU C library.
pub(crate) fn is_gnu() -> bool {
    false
}

pub(crate) fn is_executable(path: *const c_char) -> bool {
    const X_OK: c_int = 1;
    // SAFETY: a C string.
    unnoticed(|| unsafe { access(path, X_OK) }) == 0
        && path_node(AT_FDCWD, path) == Some(Node::File)
}

/// The family of a socket's address.
///
/// # Safety
/// The first two bytes can be read.
pub(crate) unsafe fn address_family(address: *const c_void) -> u16 {
    // SAFETY: the caller says so. The first byte is the length.
    u16::from(unsafe { *address.cast::<u8>().add(1) })
}

/// Whether a process that is to be started takes the place of the one that starts it.
pub(crate) fn takes_own_place(attributes: *const c_void) -> bool {
    const POSIX_SPAWN_SETEXEC: i16 = 0x40;
    let mut flags = 0;
    // SAFETY: null, or attributes that the caller has prepared.
    unsafe {
        !attributes.is_null()
            && posix_spawnattr_getflags(attributes, &raw mut flags) == 0
            && flags & POSIX_SPAWN_SETEXEC != 0
    }
}

/// A process cannot be made to end with another one.
pub(crate) fn end_with(_owner: u64) {}
