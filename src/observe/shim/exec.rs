//! Running programs: what is run, and that it is observed as well.

use core::ffi::{c_char, c_int, c_uint, c_void};

#[cfg(target_os = "linux")]
use crate::actions::{self, Action};
use crate::arguments::Arguments;
use crate::environment::Environment;
use crate::files::{Path, failed, no_function, no_result, path};
use crate::layout::{EXECUTE_FAILED, EXECUTING, PROGRAM, READ, SPAWNED, WROTE};
use crate::log;
use crate::next::{Next, as_function, interpose, kernel_call, next};
use crate::system::{self, AT_FDCWD, PATH_BYTES_MAX, bytes};
use crate::ways::{self, Absolute, Scratch};

/// Arguments or environment: C strings, closed by null.
pub(crate) type List = *const *const c_char;
type Any = *mut c_void;

next! {
    EXECVE = "execve"; POSIX_SPAWN = "posix_spawn"; POSIX_SPAWNP = "posix_spawnp";
    SYSTEM = "system"; POPEN = "popen"; ADD_OPEN = "posix_spawn_file_actions_addopen";
}

#[cfg(target_vendor = "apple")]
next! {
    EXECL = "execl"; EXECLE = "execle"; EXECLP = "execlp"; EXECV = "execv"; EXECVP = "execvp";
    ADD_CHDIR = "posix_spawn_file_actions_addchdir_np";
}

#[cfg(target_os = "linux")]
next! {
    EXECVPE = "execvpe"; FEXECVE = "fexecve"; PIDFD_SPAWN = "pidfd_spawn";
    PIDFD_SPAWNP = "pidfd_spawnp";
}

/// Programs are run by children of `vfork`, where nothing can be looked up.
#[cfg(target_os = "linux")]
pub(crate) static COMMON: &[&Next] = &[&EXECVE, &EXECVPE, &FEXECVE, &POSIX_SPAWN, &POSIX_SPAWNP];

/// Follows `PATH` as the C library does, and records what came out. Where nothing was found is
/// recorded too: the list may be this command's own. `here` is where the program begins, if that is not the
/// working directory.
fn search(name: &[u8], here: Option<&[u8]>, found: &mut Absolute) {
    if name.contains(&b'/') {
        set_from(here, name, found);
        return;
    }
    // SAFETY: the process's environment; values are C strings.
    let list = unsafe {
        let list = system::find_variable(system::environment(), b"PATH");
        if list.is_null() { b"/bin:/usr/bin".as_slice() } else { bytes(list) }
    };
    for directory in list.split(|byte| *byte == b':') {
        let is_set = set_from(here, directory, found)
            && (directory.ends_with(b"/") || found.push(b"/"))
            && found.push(name);
        if !is_set {
            continue;
        }
        if system::is_executable(found.as_ptr()) {
            log::text(PROGRAM, &[name, b"\0", found.path()]);
            return;
        }
        failed(AT_FDCWD, found.path(), system::ENOENT);
    }
    found.clear();
    log::text(PROGRAM, &[name, b"\0"]);
}

/// Records that a program could not be run which is there and may be run: for what it needs itself.
fn lacks_interpreter(executable: &Absolute, error: c_int) {
    const EACCES: c_int = 13;
    let is_lacking = matches!(error, system::ENOENT | EACCES)
        && !executable.path().is_empty()
        && system::is_executable(executable.as_ptr());
    if is_lacking {
        log::blind("a program whose interpreter could not be run");
    }
}

/// Sets what a path is from a directory, or else from the working directory.
fn set_from(here: Option<&[u8]>, name: &[u8], to: &mut Absolute) -> bool {
    match here {
        Some(here) if name.is_empty() => to.set(&[here]),
        Some(here) if name.first() != Some(&b'/') => to.set(&[here, b"/", name]),
        _ => to.set_path(AT_FDCWD, name),
    }
}

/// Announces that this process becomes another executable, tries it, and takes the announcement
/// back when that fails.
fn executing(
    executable: &Absolute,
    name: Option<(c_int, Path)>,
    run: impl FnOnce() -> c_int,
) -> c_int {
    crate::loaded::tell();
    let pid = system::pid();
    log::process(EXECUTING, pid, executable.path());
    let result = run();
    let error = system::errno();
    log::process(EXECUTE_FAILED, pid, b"");
    lacks_interpreter(executable, error);
    if let Some((directory, name)) = name.filter(|_| error != system::EFAULT) {
        // SAFETY: a C string, as the functions that run programs demand.
        failed(directory, unsafe { bytes(name) }, error);
    }
    result
}

type Execute = unsafe extern "C" fn(Path, List, List) -> c_int;

/// Has the C library look for the program.
#[cfg(target_os = "linux")]
fn execute_searched(name: Path, arguments: List, environment: List) -> c_int {
    match as_function!(EXECVPE.known(), Execute) {
        // SAFETY: the arguments of who runs the program; the list is as the caller's.
        Some(next) => unsafe { next(name, arguments, environment) },
        None => no_result(),
    }
}

/// Has the C library look for the program. It passes on the variables of this process.
#[cfg(target_vendor = "apple")]
fn execute_searched(name: Path, arguments: List, environment: List) -> c_int {
    let own = system::replace_environment(environment);
    let result = match as_function!(EXECVP.known(), unsafe extern "C" fn(Path, List) -> c_int) {
        // SAFETY: the arguments of who runs the program.
        Some(next) => unsafe { next(name, arguments) },
        None => -1,
    };
    system::replace_environment(own);
    result
}

fn execute(name: Path, arguments: List, environment: List, searches: bool) -> c_int {
    let run = |executable: &Absolute| {
        let environment = Environment::new(executable, arguments, environment);
        let extended = Arguments::new(executable, arguments);
        let arguments = extended.list;
        if searches {
            return execute_searched(name, arguments, environment.list);
        }
        match as_function!(EXECVE.known(), Execute) {
            // SAFETY: the caller's own arguments; the list is as the caller's.
            Some(next) => unsafe { next(name, arguments, environment.list) },
            None => {
                let arguments =
                    [name as isize, arguments as isize, environment.list as isize, 0, 0, 0];
                kernel_call!(EXECVE, arguments) as c_int
            }
        }
    };
    let mut buffer = [0; PATH_BYTES_MAX];
    let mut executable = Absolute::new(&mut buffer);
    if name.is_null() || !log::is_open() {
        return run(&executable);
    }
    // SAFETY: a C string, as the functions that run programs demand.
    let text = unsafe { bytes(name) };
    if searches {
        search(text, None, &mut executable);
    } else {
        executable.set_path(AT_FDCWD, text);
    }
    // What was searched for is known already.
    let named = !searches || text.contains(&b'/');
    executing(&executable, named.then_some((AT_FDCWD, name)), || run(&executable))
}

#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
pub(crate) extern "C" fn execve(name: Path, arguments: List, environment: List) -> c_int {
    execute(name, arguments, environment, false)
}

#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
extern "C" fn execv(name: Path, arguments: List) -> c_int {
    execute(name, arguments, system::environment(), false)
}

#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
extern "C" fn execvp(name: Path, arguments: List) -> c_int {
    execute(name, arguments, system::environment(), true)
}

interpose! { execve = EXECVE; execv = EXECV; execvp = EXECVP; }

#[cfg(target_os = "linux")]
#[unsafe(no_mangle)]
extern "C" fn execvpe(name: Path, arguments: List, environment: List) -> c_int {
    execute(name, arguments, environment, true)
}

#[cfg(target_os = "linux")]
#[unsafe(no_mangle)]
extern "C" fn fexecve(descriptor: c_int, arguments: List, environment: List) -> c_int {
    let mut buffer = [0; PATH_BYTES_MAX];
    let mut executable = Absolute::new(&mut buffer);
    executable.set_path(descriptor, b"");
    executing(&executable, None, || {
        let environment = Environment::new(&executable, arguments, environment);
        match as_function!(FEXECVE.known(), unsafe extern "C" fn(c_int, List, List) -> c_int) {
            // SAFETY: the caller's own arguments; the list is as the caller's.
            Some(next) => unsafe { next(descriptor, arguments, environment.list) },
            None => no_result(),
        }
    })
}

#[cfg(target_os = "linux")]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn execveat(
    directory: c_int,
    name: Path,
    arguments: List,
    environment: List,
    flags: c_int,
) -> c_int {
    let mut buffer = [0; PATH_BYTES_MAX];
    let mut executable = Absolute::new(&mut buffer);
    // SAFETY: a C string, as the function demands.
    executable.set_path(directory, unsafe { bytes(name) });
    executing(&executable, Some((directory, name)), || {
        let environment = Environment::new(&executable, arguments, environment);
        let arguments = [
            directory as isize,
            name as isize,
            arguments as isize,
            environment.list as isize,
            flags as isize,
            0,
        ];
        kernel_call!(EXECVEAT, arguments) as c_int
    })
}

/// The arguments after the program's path, as `execl` was given them: they end with null, and
/// the environment may follow.
extern "C" fn execute_list(name: Path, arguments: List) -> c_int {
    execute(name, arguments, system::environment(), false)
}

extern "C" fn execute_list_searched(name: Path, arguments: List) -> c_int {
    execute(name, arguments, system::environment(), true)
}

extern "C" fn execute_list_with_environment(name: Path, arguments: List) -> c_int {
    let mut end = arguments;
    // SAFETY: the caller closed its list with null, and the environment follows.
    let environment = unsafe {
        while !(*end).is_null() {
            end = end.add(1);
        }
        *end.add(1).cast::<List>()
    };
    execute(name, arguments, environment, false)
}

/// Functions with any number of arguments: those that came in registers are stored right before
/// the others, which makes the list that the function is about.
macro_rules! list_family {
    ($($name:ident $next:ident $handler:ident;)*) => {
        $(#[unsafe(naked)]
        #[cfg_attr(target_os = "linux", unsafe(no_mangle))]
        unsafe extern "C" fn $name() -> c_int {
            #[cfg(target_arch = "x86_64")]
            core::arch::naked_asm!(
                "pop r11",
                "push r9",
                "push r8",
                "push rcx",
                "push rdx",
                "push rsi",
                "mov rsi, rsp",
                "push r11",
                "call {handler}",
                "pop r11",
                "add rsp, 40",
                "push r11",
                "ret",
                handler = sym $handler,
            );
            // All but the program and the first argument are on the stack already.
            #[cfg(all(target_arch = "aarch64", target_vendor = "apple"))]
            core::arch::naked_asm!(
                "sub sp, sp, #32",
                "str x30, [sp]",
                "str x1, [sp, #24]",
                "add x1, sp, #24",
                "bl {handler}",
                "ldr x30, [sp]",
                "add sp, sp, #32",
                "ret",
                handler = sym $handler,
            );
            #[cfg(all(target_arch = "aarch64", not(target_vendor = "apple")))]
            core::arch::naked_asm!(
                "sub sp, sp, #64",
                "str x30, [sp]",
                "str x1, [sp, #8]",
                "stp x2, x3, [sp, #16]",
                "stp x4, x5, [sp, #32]",
                "stp x6, x7, [sp, #48]",
                "add x1, sp, #8",
                "bl {handler}",
                "ldr x30, [sp]",
                "add sp, sp, #64",
                "ret",
                handler = sym $handler,
            );
        }
        interpose! { $name = $next; })*
    };
}

list_family! {
    execl EXECL execute_list;
    execlp EXECLP execute_list_searched;
    execle EXECLE execute_list_with_environment;
}

/// Records in which directory a new process begins, and sets that if it is not this one's.
#[cfg(target_os = "linux")]
fn set_beginning(actions: Any, here: &mut Absolute) {
    if !log::is_open() {
        return;
    }
    actions::each(actions, |action| match action {
        Action::Enter(path) if here.path().is_empty() => {
            ways::entering(AT_FDCWD, path);
            // SAFETY: a C string, as the function demands that was given it.
            here.set_path(AT_FDCWD, unsafe { bytes(path) });
        }
        Action::Enter(_) | Action::EnterOpen => {
            log::blind("a directory that is entered from another")
        }
        // SAFETY: as above.
        Action::Open(path) if unsafe { bytes(path) }.first() != Some(&b'/') => {
            if !here.path().is_empty() {
                log::blind("a file that is opened from another directory by `posix_spawn`");
            }
        }
        Action::Open(_) => {}
    });
}

/// The functions that say so are defined here, and have recorded it.
#[cfg(target_vendor = "apple")]
fn set_beginning(_actions: Any, _here: &mut Absolute) {}

/// Starts a program by a function of the `posix_spawn` family. The number of the new process is
/// in `*to` where that is a process number.
fn spawned(
    next: &Next,
    to: *mut c_int,
    name: Path,
    rest: [Any; 2],
    arguments: List,
    environment: List,
    (searches, gives_pid): (bool, bool),
) -> c_int {
    type Spawn = unsafe extern "C" fn(*mut c_int, Path, Any, Any, List, List) -> c_int;
    let [actions, attributes] = rest;
    let mut pid = 0;
    let to = if to.is_null() { &raw mut pid } else { to };
    let run = |arguments: List, environment: List| match as_function!(next.find(), Spawn) {
        // SAFETY: the caller's own arguments; the lists are as the caller's.
        Some(next) => unsafe { next(to, name, actions, attributes, arguments, environment) },
        None => system::ENOSYS,
    };
    let Some(mut scratch) = Scratch::new() else { return run(arguments, environment) };
    let (executable, here) = scratch.buffers();
    let (mut executable, mut here) = (Absolute::new(executable), Absolute::new(here));
    set_beginning(actions, &mut here);
    let here = Some(here.path()).filter(|path| !path.is_empty());
    if !name.is_null() && log::is_open() {
        // SAFETY: a C string, as the function demands.
        let text = unsafe { bytes(name) };
        if searches {
            search(text, here, &mut executable);
        } else {
            set_from(here, text, &mut executable);
        }
    }
    let full = Environment::new(&executable, arguments, environment);
    let extended = Arguments::new(&executable, arguments);
    if system::takes_own_place(attributes) {
        log::blind("a program that takes the place of another by `posix_spawn`");
    }
    let error = run(extended.list, full.list);
    if error == 0 {
        // SAFETY: written by the C library, or this function's own variable.
        let pid = if gives_pid { u64::from(unsafe { *to }.unsigned_abs()) } else { 0 };
        log::process(SPAWNED, pid, executable.path());
    } else if !name.is_null() && log::is_open() {
        // That may have been it as well; it is closed by NUL.
        let is_there = |here: &[u8]| system::path_node(AT_FDCWD, here.as_ptr().cast()).is_some();
        if here.is_none_or(is_there) {
            lacks_interpreter(&executable, error);
        }
        // SAFETY: a C string, as the function demands.
        let text = unsafe { bytes(name) };
        // What was searched for is known already.
        if (!searches || text.contains(&b'/')) && set_from(here, text, &mut executable) {
            failed(AT_FDCWD, executable.path(), error);
        }
    }
    error
}

macro_rules! spawn_family {
    ($($name:ident $next:ident $how:expr;)*) => {
        $(#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
        extern "C" fn $name(
            to: *mut c_int,
            name: Path,
            actions: Any,
            attributes: Any,
            arguments: List,
            environment: List,
        ) -> c_int {
            spawned(&$next, to, name, [actions, attributes], arguments, environment, $how)
        }
        interpose! { $name = $next; })*
    };
}

spawn_family! {
    posix_spawn POSIX_SPAWN (false, true);
    posix_spawnp POSIX_SPAWNP (true, true);
}

#[cfg(target_os = "linux")]
spawn_family! {
    pidfd_spawn PIDFD_SPAWN (false, false);
    pidfd_spawnp PIDFD_SPAWNP (true, false);
}

/// The shell that the C library runs commands with.
const SHELL: &[u8] = b"/bin/sh";

#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
extern "C" fn system(command: *const c_char) -> c_int {
    let status = match as_function!(SYSTEM.find(), unsafe extern "C" fn(*const c_char) -> c_int) {
        // SAFETY: the caller's own argument.
        Some(next) => unsafe { next(command) },
        None => no_result(),
    };
    if !command.is_null() && status != -1 {
        log::process(SPAWNED, 0, SHELL);
    }
    status
}

#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
extern "C" fn popen(command: *const c_char, mode: *const c_char) -> Any {
    type Open = unsafe extern "C" fn(*const c_char, *const c_char) -> Any;
    let stream = match as_function!(POPEN.find(), Open) {
        // SAFETY: the caller's own arguments.
        Some(next) => unsafe { next(command, mode) },
        None => no_function(),
    };
    if !stream.is_null() {
        log::process(SPAWNED, 0, SHELL);
    }
    stream
}

/// A file that a program gets open: it is recorded as if it were opened now.
#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
extern "C" fn posix_spawn_file_actions_addopen(
    actions: Any,
    descriptor: c_int,
    name: Path,
    flags: c_int,
    mode: c_uint,
) -> c_int {
    type AddOpen = unsafe extern "C" fn(Any, c_int, Path, c_int, c_uint) -> c_int;
    const O_ACCMODE: c_int = 3;
    if !name.is_null() {
        // SAFETY: a C string, as the function demands.
        let text = unsafe { bytes(name) };
        match (flags & O_ACCMODE, system::path_node(AT_FDCWD, name)) {
            (0, Some(system::Node::File)) => path(READ, AT_FDCWD, text),
            (0, Some(_)) => {}
            (0, None) => failed(AT_FDCWD, text, system::ENOENT),
            _ => path(WROTE, AT_FDCWD, text),
        }
    }
    match as_function!(ADD_OPEN.find(), AddOpen) {
        // SAFETY: the caller's own arguments.
        Some(next) => unsafe { next(actions, descriptor, name, flags, mode) },
        None => system::ENOSYS,
    }
}

interpose! { system = SYSTEM; popen = POPEN; posix_spawn_file_actions_addopen = ADD_OPEN; }

/// A directory that a program works in: recorded as if it were entered now.
#[cfg(target_vendor = "apple")]
extern "C" fn posix_spawn_file_actions_addchdir_np(actions: Any, name: Path) -> c_int {
    ways::entering(AT_FDCWD, name);
    match as_function!(ADD_CHDIR.find(), unsafe extern "C" fn(Any, Path) -> c_int) {
        // SAFETY: the caller's own arguments.
        Some(next) => unsafe { next(actions, name) },
        None => system::ENOSYS,
    }
}

#[cfg(target_vendor = "apple")]
interpose! { posix_spawn_file_actions_addchdir_np = ADD_CHDIR; }
