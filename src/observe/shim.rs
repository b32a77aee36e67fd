//! The preloaded library that tells the wrapper what a process reads, lists, probes, looks up and
//! runs. Compiled by `build.rs` into a shared library of its own, not a module of kache.
//!
//! It lives in processes that it knows nothing about, so:
//!
//! - It needs no library (on macOS the system's one), holds no lock, allocates nothing, starts nothing
//!   and has no thread-local state. It is safe in signal handlers, in children of `vfork`, and before
//!   the C library has initialised itself.
//! - Every definition here calls the next definition of the same name (`next.rs`; or, before that can
//!   be looked up, the system call that it stands for) exactly once, with the arguments that it was
//!   given, and returns its result and its `errno`. The exceptions are in `arguments.rs`, and that the
//!   kernel has no rings (`linux.rs`).
//!   Recording uses what `system.rs` has alone, which leaves `errno` as it is.
//! - Where the log cannot be reached, is full, or is not wanted, everything still works, and the
//!   wrapper sees that the observation is incomplete.
//! - Nothing here panics: there is no indexing and no unchecked arithmetic on foreign numbers.

#![no_std]

#[cfg(target_os = "linux")]
#[path = "shim/actions.rs"]
mod actions;
#[path = "shim/arguments.rs"]
mod arguments;
#[path = "shim/changes.rs"]
mod changes;
#[cfg(target_vendor = "apple")]
#[path = "shim/darwin.rs"]
mod darwin;
#[path = "shim/descriptor.rs"]
mod descriptor;
#[path = "shim/environment.rs"]
mod environment;
#[path = "shim/exec.rs"]
mod exec;
#[path = "shim/files.rs"]
mod files;
#[path = "shim/image.rs"]
mod image;
#[path = "layout.rs"]
mod layout;
#[cfg(target_os = "linux")]
#[path = "shim/linux.rs"]
mod linux;
#[path = "shim/loaded.rs"]
mod loaded;
#[path = "shim/loader.rs"]
mod loader;
#[path = "shim/locale.rs"]
mod locale;
#[path = "shim/log.rs"]
mod log;
#[path = "shim/lookups.rs"]
mod lookups;
#[path = "shim/next.rs"]
mod next;
#[path = "shim/probes.rs"]
mod probes;
#[path = "shim/surroundings.rs"]
mod surroundings;
#[path = "shim/system.rs"]
mod system;
#[path = "shim/ways.rs"]
mod ways;

/// Nothing here panics; the compiler wants a handler all the same.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {
        system::exit_group(70);
    }
}

#[used]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array"))]
#[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__mod_init_func"))]
static CONSTRUCTOR: extern "C" fn() = constructor;

extern "C" fn constructor() {
    log::open();
    #[cfg(target_os = "linux")]
    next::resolve_common();
    #[cfg(target_vendor = "apple")]
    loaded::tell_at_exit();
}
