//! The launcher's program, where it is not a script: `build.rs` compiles it into an executable of its own,
//! not a module of kache, and `super` writes the places of what it runs into it.
//!
//! A shell would be shorter. But many take in only the variables whose names they could write, and pass no
//! others on (`CFLAGS_x86_64-unknown-linux-gnu`); and it starts more slowly than this.
//!
//! It needs no library, allocates nothing and does not panic.

#![no_std]
#![no_main]

#[path = "layout.rs"]
mod layout;

use core::arch::{asm, naked_asm};
use core::ffi::c_char;
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use layout::{PLACES_BYTES, PLACES_MARK, WORD};

/// Arguments that are passed on, beside those that stand in front. Cargo gives none.
const ARGUMENTS_MAX: usize = 64;

/// What [`layout`] describes. Words that may change, so that the compiler does not know them.
static PLACES: [AtomicU8; PLACES_BYTES] = {
    let mut places = [const { AtomicU8::new(0) }; PLACES_BYTES];
    let mut at = 0;
    while at < PLACES_MARK.len() {
        places[at] = AtomicU8::new(PLACES_MARK[at]);
        at += 1;
    }
    places
};

/// The arguments of what is run.
static ARGUMENTS: [AtomicUsize; ARGUMENTS_MAX + 4] =
    [const { AtomicUsize::new(0) }; ARGUMENTS_MAX + 4];

/// The path of an executable, with a zero behind it, beside this one.
static BESIDE: [AtomicU8; PLACES_BYTES] = [const { AtomicU8::new(0) }; PLACES_BYTES];

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    exit(70)
}

/// The kernel starts here, with the number of arguments, the arguments and the variables on the stack.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn _start() -> ! {
    #[cfg(target_arch = "x86_64")]
    naked_asm!("mov rdi, rsp", "and rsp, -16", "call {}", sym start);
    #[cfg(target_arch = "aarch64")]
    naked_asm!("mov x0, sp", "bl {}", sym start);
}

/// # Safety
///
/// `stack` is what the kernel gave.
unsafe extern "C" fn start(stack: *const usize) -> ! {
    // SAFETY: the number of arguments is first; they follow, then a zero, then the variables.
    let (given, arguments, variables) = unsafe {
        let given = *stack;
        (given, stack.add(1), stack.add(given.wrapping_add(2)))
    };
    // SAFETY: the kernel gave so many, and a zero behind them.
    let argument = |number: usize| unsafe { *arguments.add(number) };
    let kache = place(0);
    let moved = if given == 0 { None } else { beside(argument(0) as *const c_char, place(1)) };
    let real = moved.filter(|path| is_executable(*path)).unwrap_or(place(2));

    let mut passed = 0;
    for value in [kache as usize, WORD.as_ptr() as usize, real as usize] {
        put(&mut passed, value);
    }
    for number in 1..given {
        if !put(&mut passed, argument(number)) {
            exit(71);
        }
    }
    let list: *const AtomicUsize = ARGUMENTS.as_ptr();
    execute(kache, list, variables);
    // It is gone. What it would have run comes third.
    // SAFETY: the table is longer.
    execute(real, unsafe { list.add(2) }, variables);
    exit(127)
}

/// Puts a value behind the others; the last word stays zero.
fn put(passed: &mut usize, value: usize) -> bool {
    let Some(word) = ARGUMENTS.get(*passed).filter(|_| *passed + 1 < ARGUMENTS.len()) else {
        return false;
    };
    word.store(value, Ordering::Relaxed);
    *passed += 1;
    true
}

/// One of the texts behind the mark.
fn place(number: usize) -> *const c_char {
    let mut at = PLACES_MARK.len();
    for _ in 0..number {
        while PLACES.get(at).is_some_and(|byte| byte.load(Ordering::Relaxed) != 0) {
            at += 1;
        }
        at += 1;
    }
    PLACES.get(at).map_or(core::ptr::null(), |byte| (byte as *const AtomicU8).cast())
}

/// The path of a file beside another.
fn beside(path: *const c_char, name: *const c_char) -> Option<*const c_char> {
    let mut bytes = 0;
    let mut directory_bytes = None;
    // SAFETY: both are texts with a zero at their ends.
    let byte = |text: *const c_char, at: usize| unsafe { *text.add(at) }.cast_unsigned();
    while byte(path, bytes) != 0 {
        if byte(path, bytes) == b'/' {
            directory_bytes = Some(bytes + 1);
        }
        bytes += 1;
    }
    // Found through `PATH`, it could be anywhere.
    let directory_bytes = directory_bytes?;
    for at in 0..directory_bytes {
        BESIDE.get(at)?.store(byte(path, at), Ordering::Relaxed);
    }
    let mut at = 0;
    loop {
        BESIDE.get(directory_bytes + at)?.store(byte(name, at), Ordering::Relaxed);
        if byte(name, at) == 0 {
            return Some(BESIDE.as_ptr().cast());
        }
        at += 1;
    }
}

fn is_executable(path: *const c_char) -> bool {
    const HERE: usize = -100_isize as usize;
    const EXECUTABLE: usize = 1;
    const FACCESSAT: usize = if cfg!(target_arch = "x86_64") { 269 } else { 48 };
    // SAFETY: a path with a zero at its end.
    unsafe { call(FACCESSAT, [HERE, path as usize, EXECUTABLE]) == 0 }
}

/// Comes back if it fails.
fn execute(path: *const c_char, arguments: *const AtomicUsize, variables: *const usize) {
    const EXECVE: usize = if cfg!(target_arch = "x86_64") { 59 } else { 221 };
    // SAFETY: a path, and lists that end in a zero.
    unsafe { call(EXECVE, [path as usize, arguments as usize, variables as usize]) };
}

fn exit(status: usize) -> ! {
    const EXIT_GROUP: usize = if cfg!(target_arch = "x86_64") { 231 } else { 94 };
    loop {
        // SAFETY: it ends the process.
        unsafe { call(EXIT_GROUP, [status, 0, 0]) };
    }
}

/// # Safety
///
/// As the system call wants it.
unsafe fn call(number: usize, arguments: [usize; 3]) -> usize {
    let [first, second, third] = arguments;
    let result;
    // SAFETY: the registers are those of the kernel's convention.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") first, in("rsi") second,
            in("rdx") third, out("rcx") _, out("r11") _, options(nostack));
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") first => result, in("x1") second,
            in("x2") third, options(nostack));
    }
    result
}
