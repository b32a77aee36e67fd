//! System calls without the C library. Results are negative error numbers, as the kernel gives
//! them.

use core::arch::{asm, global_asm};
use core::ffi::{c_char, c_int, c_void};

use super::{EFAULT, Node, PATH_BYTES_MAX, node};

pub(crate) const AT_FDCWD: c_int = -100;
pub(crate) const AT_SYMLINK_NOFOLLOW: c_int = 0x100;
pub(crate) const AT_EMPTY_PATH: c_int = 0x1000;
pub(crate) const AT_REMOVEDIR: c_int = 0x200;
pub(crate) const AF_INET6: u16 = 10;
pub(crate) const O_CREAT: c_int = 0o100;
pub(crate) const O_EXCL: c_int = 0o200;
pub(crate) const O_TRUNC: c_int = 0o1000;
/// Opens a name and not what is behind it.
pub(crate) const O_PATH: c_int = 0o10_000_000;
/// `O_TMPFILE` without the flag for directories, which is part of it.
pub(crate) const O_NAMELESS: c_int = 0o20_000_000;
pub(crate) const ENAMETOOLONG: c_int = 36;
pub(crate) const ENOSYS: c_int = 38;

#[cfg(target_arch = "x86_64")]
pub(crate) mod number {
    pub(super) const READ: isize = 0;
    pub(crate) const OPEN: isize = 2;
    pub(crate) const CLOSE: isize = 3;
    pub(crate) const STAT: isize = 4;
    pub(crate) const FSTAT: isize = 5;
    pub(crate) const LSTAT: isize = 6;
    pub(crate) const MMAP: isize = 9;
    pub(crate) const MUNMAP: isize = 11;
    pub(crate) const GETPID: isize = 39;
    pub(crate) const CONNECT: isize = 42;
    pub(super) const ACCEPT: isize = 43;
    pub(crate) const SENDTO: isize = 44;
    pub(crate) const SENDMSG: isize = 46;
    pub(crate) const EXECVE: isize = 59;
    pub(crate) const KILL: isize = 62;
    pub(crate) const UNAME: isize = 63;
    pub(crate) const TRUNCATE: isize = 76;
    pub(crate) const GETDENTS: isize = 78;
    pub(crate) const GETCWD: isize = 79;
    pub(crate) const READLINK: isize = 89;
    pub(crate) const GETPPID: isize = 110;
    pub(crate) const PIVOT_ROOT: isize = 155;
    pub(crate) const PRCTL: isize = 157;
    pub(crate) const ACCESS: isize = 21;
    pub(crate) const CHDIR: isize = 80;
    pub(crate) const CHROOT: isize = 161;
    pub(crate) const MOUNT: isize = 165;
    pub(crate) const GETDENTS64: isize = 217;
    pub(crate) const EXIT_GROUP: isize = 231;
    pub(crate) const OPENAT: isize = 257;
    pub(crate) const MKDIRAT: isize = 258;
    pub(crate) const MKNODAT: isize = 259;
    pub(crate) const FSTATAT: isize = 262;
    pub(crate) const UNLINKAT: isize = 263;
    pub(crate) const LINKAT: isize = 265;
    pub(crate) const SYMLINKAT: isize = 266;
    pub(crate) const READLINKAT: isize = 267;
    pub(crate) const FCHMODAT: isize = 268;
    pub(crate) const FACCESSAT: isize = 269;
    pub(crate) const UNSHARE: isize = 272;
    pub(crate) const SETNS: isize = 308;
    pub(crate) const RENAMEAT2: isize = 316;
    pub(crate) const EXECVEAT: isize = 322;
    pub(crate) const STATFS: isize = 137;
    pub(crate) const UTIMENSAT: isize = 280;
    pub(super) const ACCEPT4: isize = 288;
    pub(super) const PRLIMIT64: isize = 302;
    pub(super) const SENDMMSG: isize = 307;
    pub(crate) const STATX: isize = 332;
    pub(crate) const IO_URING_SETUP: isize = 425;
    pub(crate) const OPENAT2: isize = 437;
    pub(crate) const FACCESSAT2: isize = 439;

    pub(super) const SHMGET: isize = 29;
    const RENAME: isize = 82;
    const MKDIR: isize = 83;
    const RMDIR: isize = 84;
    const CREAT: isize = 85;
    const LINK: isize = 86;
    const UNLINK: isize = 87;
    const SYMLINK: isize = 88;
    const CHMOD: isize = 90;
    pub(super) const RENAMEAT: isize = 264;
    pub(super) const OPEN_BY_HANDLE_AT: isize = 304;

    /// Calls that newer processors do not have, of the kind that `is_unseen` names.
    pub(super) const UNSEEN_OLD: &[isize] =
        &[RENAME, MKDIR, RMDIR, CREAT, LINK, UNLINK, SYMLINK, CHMOD];
}

#[cfg(target_arch = "aarch64")]
pub(crate) mod number {
    pub(crate) const GETCWD: isize = 17;
    pub(crate) const MKNODAT: isize = 33;
    pub(crate) const MKDIRAT: isize = 34;
    pub(crate) const UNLINKAT: isize = 35;
    pub(crate) const SYMLINKAT: isize = 36;
    pub(crate) const LINKAT: isize = 37;
    pub(crate) const MOUNT: isize = 40;
    pub(crate) const PIVOT_ROOT: isize = 41;
    pub(crate) const TRUNCATE: isize = 45;
    pub(crate) const FACCESSAT: isize = 48;
    pub(crate) const CHDIR: isize = 49;
    pub(crate) const CHROOT: isize = 51;
    pub(crate) const FCHMODAT: isize = 53;
    pub(crate) const OPENAT: isize = 56;
    pub(crate) const CLOSE: isize = 57;
    pub(crate) const GETDENTS64: isize = 61;
    pub(super) const READ: isize = 63;
    pub(crate) const READLINKAT: isize = 78;
    pub(crate) const FSTATAT: isize = 79;
    pub(crate) const FSTAT: isize = 80;
    pub(crate) const EXIT_GROUP: isize = 94;
    pub(crate) const UNSHARE: isize = 97;
    pub(crate) const KILL: isize = 129;
    pub(crate) const UNAME: isize = 160;
    pub(crate) const PRCTL: isize = 167;
    pub(crate) const GETPID: isize = 172;
    pub(crate) const GETPPID: isize = 173;
    pub(crate) const CONNECT: isize = 203;
    pub(crate) const STATFS: isize = 43;
    pub(crate) const UTIMENSAT: isize = 88;
    pub(super) const ACCEPT: isize = 202;
    pub(crate) const SENDTO: isize = 206;
    pub(crate) const SENDMSG: isize = 211;
    pub(super) const ACCEPT4: isize = 242;
    pub(super) const PRLIMIT64: isize = 261;
    pub(super) const SENDMMSG: isize = 269;
    pub(crate) const IO_URING_SETUP: isize = 425;
    pub(crate) const MUNMAP: isize = 215;
    pub(crate) const EXECVE: isize = 221;
    pub(crate) const MMAP: isize = 222;
    pub(crate) const SETNS: isize = 268;
    pub(crate) const RENAMEAT2: isize = 276;
    pub(crate) const EXECVEAT: isize = 281;
    pub(crate) const STATX: isize = 291;
    pub(crate) const OPENAT2: isize = 437;
    pub(crate) const FACCESSAT2: isize = 439;

    pub(super) const RENAMEAT: isize = 38;
    pub(super) const SHMGET: isize = 194;
    pub(super) const OPEN_BY_HANDLE_AT: isize = 265;

    pub(super) const UNSEEN_OLD: &[isize] = &[];
}

/// Whether nothing is known of a call but that it reads or changes files, or may.
pub(crate) fn is_unseen(call: isize) -> bool {
    const UNSEEN: &[isize] = &[
        number::SHMGET,
        number::TRUNCATE,
        number::MKDIRAT,
        number::MKNODAT,
        number::UNLINKAT,
        number::RENAMEAT,
        number::LINKAT,
        number::SYMLINKAT,
        number::FCHMODAT,
        number::OPEN_BY_HANDLE_AT,
        number::RENAMEAT2,
        number::ACCEPT,
        number::ACCEPT4,
        number::SENDMMSG,
    ];
    UNSEEN.contains(&call) || number::UNSEEN_OLD.contains(&call)
}

/// Makes a system call. The kernel checks every pointer that it is given, so that a wrong one is
/// an error and not a fault.
#[inline]
pub(crate) fn call(number: isize, arguments: [isize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    let result;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction clobbers what is named; memory is not assumed to be unchanged.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") a, in("rsi") b, in("rdx") c,
            in("r10") d, in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _,
            options(nostack));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") a => result, in("x1") b, in("x2") c,
            in("x3") d, in("x4") e, in("x5") f, options(nostack));
    }
    result
}

pub(crate) fn pid() -> u64 {
    call(number::GETPID, [0; 6]) as u64
}

pub(crate) fn parent_pid() -> u64 {
    call(number::GETPPID, [0; 6]) as u64
}

pub(crate) fn exit_group(status: isize) {
    call(number::EXIT_GROUP, [status, 0, 0, 0, 0, 0]);
}

pub(crate) fn close(descriptor: isize) {
    call(number::CLOSE, [descriptor, 0, 0, 0, 0, 0]);
}

/// Opens for reading and writing, without inheritance.
pub(crate) fn open_log(path: *const c_char) -> isize {
    const O_RDWR_CLOEXEC: isize = 0o2_000_002;
    call(number::OPENAT, [AT_FDCWD as isize, path as isize, O_RDWR_CLOEXEC, 0, 0, 0])
}

/// Whether an interpreter would run a file.
pub(crate) fn is_script(path: *const c_char) -> bool {
    const O_NONBLOCK_CLOEXEC: isize = 0o2_004_000;
    let opening = [AT_FDCWD as isize, path as isize, O_NONBLOCK_CLOEXEC, 0, 0, 0];
    let descriptor = call(number::OPENAT, opening);
    if descriptor < 0 {
        return false;
    }
    let mut mark = [0_u8; 2];
    call(number::READ, [descriptor, mark.as_mut_ptr() as isize, mark.len() as isize, 0, 0, 0]);
    close(descriptor);
    mark == *b"#!"
}

/// Whether a file is at least so long: what is mapped behind its end must not be touched.
pub(crate) fn has_bytes(descriptor: isize, bytes: usize) -> bool {
    let mut stat = [0_u32; STAT_WORDS];
    let result = call(number::FSTAT, [descriptor, stat.as_mut_ptr() as isize, 0, 0, 0, 0]);
    let half = |word: usize| stat.get(word).map_or(0, |half| u64::from(*half));
    result >= 0 && half(STAT_SIZE_WORD) | half(STAT_SIZE_WORD + 1) << 32 >= bytes as u64
}

/// Whether this process may use so little memory that the log would be in its way.
pub(crate) fn is_short_of_addresses() -> bool {
    const RLIMIT_AS: isize = 9;
    const ADDRESSES_MIN: u64 = 1 << 30;
    let mut limits = [u64::MAX; 2];
    let arguments = [0, RLIMIT_AS, 0, limits.as_mut_ptr() as isize, 0, 0];
    let result = call(number::PRLIMIT64, arguments);
    let [now, _] = limits;
    result >= 0 && now < ADDRESSES_MIN
}

/// Maps a file to be shared, or (without one) fresh private memory; null on failure.
pub(crate) fn map(descriptor: Option<isize>, bytes: usize) -> *mut u8 {
    const READ_WRITE: isize = 3;
    let (flags, descriptor) = match descriptor {
        Some(descriptor) => (1, descriptor),
        None => (0x22, -1),
    };
    let start = call(number::MMAP, [0, bytes as isize, READ_WRITE, flags, descriptor, 0]);
    if (-4095..0).contains(&start) { core::ptr::null_mut() } else { start as *mut u8 }
}

pub(crate) fn unmap(start: *mut u8, bytes: usize) {
    call(number::MUNMAP, [start as isize, bytes as isize, 0, 0, 0, 0]);
}

/// The working directory's bytes in `buffer`.
pub(crate) fn working_directory(buffer: &mut [u8; PATH_BYTES_MAX]) -> Option<&[u8]> {
    let result =
        call(number::GETCWD, [buffer.as_mut_ptr() as isize, buffer.len() as isize, 0, 0, 0, 0]);
    // The kernel counts the closing NUL.
    let length = usize::try_from(result).ok()?.checked_sub(1)?;
    buffer.get(..length).filter(|path| path.first() == Some(&b'/'))
}

/// A symbolic link's target in `buffer`.
pub(crate) fn read_link<'a>(
    directory: c_int,
    path: *const c_char,
    buffer: &'a mut [u8; PATH_BYTES_MAX],
) -> Option<&'a [u8]> {
    let result = call(
        number::READLINKAT,
        [
            directory as isize,
            path as isize,
            buffer.as_mut_ptr() as isize,
            buffer.len() as isize,
            0,
            0,
        ],
    );
    buffer.get(..usize::try_from(result).ok()?)
}

/// Where an open descriptor leads, in `buffer`.
pub(crate) fn descriptor_path(
    descriptor: c_int,
    buffer: &mut [u8; PATH_BYTES_MAX],
) -> Option<&[u8]> {
    let mut name = *b"/proc/self/fd/\0\0\0\0\0\0\0\0\0\0\0\0";
    let mut digits = [0_u8; 10];
    let mut rest = u32::try_from(descriptor).ok()?;
    let mut count = 0;
    for digit in &mut digits {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        count += 1;
        if rest == 0 {
            break;
        }
    }
    for (to, from) in name.iter_mut().skip(14).zip(digits.iter().take(count).rev()) {
        *to = *from;
    }
    read_link(AT_FDCWD, name.as_ptr().cast(), buffer).filter(|path| path.first() == Some(&b'/'))
}

const STAT_WORDS: usize = 36;
#[cfg(target_arch = "x86_64")]
const STAT_MODE_WORD: usize = 6;
#[cfg(target_arch = "aarch64")]
const STAT_MODE_WORD: usize = 4;
/// The first of two.
const STAT_SIZE_WORD: usize = 12;

/// What an open descriptor is.
pub(crate) fn descriptor_node(descriptor: c_int) -> Option<Node> {
    let mut stat = [0_u32; STAT_WORDS];
    let result = call(number::FSTAT, [descriptor as isize, stat.as_mut_ptr() as isize, 0, 0, 0, 0]);
    if result < 0 { None } else { stat.get(STAT_MODE_WORD).map(|mode| node(*mode)) }
}

/// What a path leads to.
pub(crate) fn path_node(directory: c_int, path: *const c_char) -> Option<Node> {
    let mut stat = [0_u32; STAT_WORDS];
    let arguments = [directory as isize, path as isize, stat.as_mut_ptr() as isize, 0, 0, 0];
    if call(number::FSTATAT, arguments) < 0 {
        return None;
    }
    stat.get(STAT_MODE_WORD).map(|mode| node(*mode))
}

/// Whether the kernel can read a path, so that this process can.
pub(crate) fn is_readable(path: *const c_char) -> bool {
    let result = call(number::FACCESSAT, [AT_FDCWD as isize, path as isize, 0, 0, 0, 0]);
    result != -(EFAULT as isize)
}

/// Whether the process has the GNU C library.
pub(crate) fn is_gnu() -> bool {
    !kache_gnu_get_libc_version.is_null()
}

pub(crate) fn is_executable(path: *const c_char) -> bool {
    const X_OK: isize = 1;
    call(number::FACCESSAT, [AT_FDCWD as isize, path as isize, X_OK, 0, 0, 0]) == 0
        && path_node(AT_FDCWD, path) == Some(Node::File)
}

/// The executable of this process.
pub(crate) fn executable_path(buffer: &mut [u8; PATH_BYTES_MAX]) -> Option<&[u8]> {
    read_link(AT_FDCWD, c"/proc/self/exe".as_ptr(), buffer)
}

/// The family of a socket's address.
///
/// # Safety
/// The first two bytes can be read.
pub(crate) unsafe fn address_family(address: *const c_void) -> u16 {
    // SAFETY: the caller says so.
    unsafe { address.cast::<u16>().read_unaligned() }
}

/// Whether a process that is to be started takes the place of the one that starts it.
pub(crate) fn takes_own_place(_attributes: *const c_void) -> bool {
    false
}

/// Ends this process with the one that started it.
pub(crate) fn end_with(owner: u64) {
    const PR_SET_PDEATHSIG: isize = 1;
    const SIGTERM: isize = 15;
    call(number::PRCTL, [PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0, 0]);
    if parent_pid() != owner {
        call(number::KILL, [pid() as isize, SIGTERM, 0, 0, 0, 0]);
    }
}

// The C library's variables and functions that this library uses, as weak references: null where
// they are missing.
global_asm!(
    ".weak __errno_location",
    ".weak environ",
    ".weak dlsym",
    ".weak __libc_dlopen_mode",
    ".weak __libc_dlsym",
    ".weak dl_iterate_phdr",
    ".weak gnu_get_libc_version",
    ".pushsection .data.rel.ro,\"aw\"",
    ".balign 8",
    "kache_errno_location: .quad __errno_location",
    "kache_environ: .quad environ",
    "kache_dlsym: .quad dlsym",
    "kache_libc_dlopen_mode: .quad __libc_dlopen_mode",
    "kache_libc_dlsym: .quad __libc_dlsym",
    "kache_dl_iterate_phdr: .quad dl_iterate_phdr",
    "kache_gnu_get_libc_version: .quad gnu_get_libc_version",
    ".popsection",
    ".hidden kache_errno_location",
    ".hidden kache_environ",
    ".hidden kache_dlsym",
    ".hidden kache_libc_dlopen_mode",
    ".hidden kache_libc_dlsym",
    ".hidden kache_dl_iterate_phdr",
    ".hidden kache_gnu_get_libc_version",
    ".globl kache_errno_location",
    ".globl kache_environ",
    ".globl kache_dlsym",
    ".globl kache_libc_dlopen_mode",
    ".globl kache_libc_dlsym",
    ".globl kache_dl_iterate_phdr",
    ".globl kache_gnu_get_libc_version",
);

// The precompiled parts of the core library name the function that unwinds frames. Nothing unwinds
// here, and the definition must not be seen by others, who have their own.
global_asm!(
    ".globl rust_eh_personality",
    ".hidden rust_eh_personality",
    "rust_eh_personality:",
    ".byte 0",
);

unsafe extern "C" {
    static kache_errno_location: Option<extern "C" fn() -> *mut c_int>;
    static kache_environ: *const *const *const c_char;
    pub(crate) safe static kache_dlsym: Option<next_types::Dlsym>;
    pub(crate) safe static kache_libc_dlopen_mode: Option<next_types::DlopenMode>;
    pub(crate) safe static kache_libc_dlsym: Option<next_types::Dlsym>;
    pub(crate) safe static kache_dl_iterate_phdr: Option<next_types::IteratePhdr>;
    safe static kache_gnu_get_libc_version: *const u8;
}

/// Types of the weak references.
pub(crate) mod next_types {
    use core::ffi::{c_char, c_int, c_void};
    pub(crate) type Dlsym = unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void;
    pub(crate) type DlopenMode = unsafe extern "C" fn(*const c_char, c_int) -> *mut c_void;
    pub(crate) type IteratePhdr = unsafe extern "C" fn(
        extern "C" fn(*const LibraryInfo, usize, *mut c_void) -> c_int,
        *mut c_void,
    ) -> c_int;

    /// The part of `struct dl_phdr_info` that is used.
    #[repr(C)]
    pub(crate) struct LibraryInfo {
        pub(crate) address: usize,
        pub(crate) name: *const c_char,
        pub(crate) segments: *const Segment,
        pub(crate) segment_count: u16,
    }

    /// `Elf64_Phdr`.
    #[repr(C)]
    pub(crate) struct Segment {
        pub(crate) kind: u32,
        pub(crate) flags: u32,
        pub(crate) offset: u64,
        pub(crate) address: u64,
        pub(crate) physical_address: u64,
        pub(crate) file_bytes: u64,
        pub(crate) memory_bytes: u64,
        pub(crate) alignment: u64,
    }
}

pub(crate) fn errno() -> c_int {
    // SAFETY: the C library's function returns this thread's own error number.
    unsafe { kache_errno_location.map_or(0, |location| *location()) }
}

pub(crate) fn set_errno(value: c_int) {
    // SAFETY: as above.
    unsafe {
        if let Some(location) = kache_errno_location {
            *location() = value;
        }
    }
}

/// A system call's result as the C library gives it.
pub(crate) fn returned(result: isize) -> isize {
    if (-4095..0).contains(&result) {
        set_errno(-result as c_int);
        return -1;
    }
    result
}

/// The process's environment: an array of pointers that ends with null, or null itself.
pub(crate) fn environment() -> *const *const c_char {
    // SAFETY: the address of the C library's variable, or null.
    unsafe { if kache_environ.is_null() { core::ptr::null() } else { *kache_environ } }
}
