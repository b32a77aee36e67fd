//! What `posix_spawn` is to do in the new process before a program runs there. The functions that say so
//! may be missing in a C library, which programs look for: they cannot be defined here. Their effect is
//! read from where both C libraries keep it.

use core::ffi::{c_char, c_int, c_void};

use crate::files::Path;
use crate::system;

/// What matters of an action.
#[derive(Clone, Copy)]
pub(crate) enum Action {
    /// The process works in a directory from here on.
    Enter(Path),
    EnterOpen,
    Open(Path),
}

/// Calls `visit` with each action, in order. `actions` is null or what the C library has filled.
pub(crate) fn each(actions: *const c_void, mut visit: impl FnMut(Action)) {
    if actions.is_null() {
        return;
    }
    if !system::is_gnu() {
        each_of_musl(actions.cast(), &mut visit);
        return;
    }
    // SAFETY: the structure of the GNU C library.
    unsafe {
        let list = &*actions.cast::<GnuActions>();
        let is_sound = (0..=list.allocated).contains(&list.used) && !list.actions.is_null();
        let count = if is_sound { usize::try_from(list.used).unwrap_or(0) } else { 0 };
        for number in 0..count.min(ACTIONS_MAX) {
            let action = &*list.actions.add(number);
            match action.kind {
                GNU_OPEN => visit(Action::Open(action.words[1] as Path)),
                GNU_ENTER => visit(Action::Enter(action.words[0] as Path)),
                GNU_ENTER_OPEN => visit(Action::EnterOpen),
                _ => {}
            }
        }
    }
}

/// More than anybody gives.
const ACTIONS_MAX: usize = 1000;

const GNU_OPEN: c_int = 2;
const GNU_ENTER: c_int = 3;
const GNU_ENTER_OPEN: c_int = 4;

/// `posix_spawn_file_actions_t`.
#[repr(C)]
struct GnuActions {
    allocated: c_int,
    used: c_int,
    actions: *const GnuAction,
}

/// A union: the path of what is opened follows a descriptor, that of what is entered comes first.
#[repr(C)]
struct GnuAction {
    kind: c_int,
    words: [usize; 3],
}

const MUSL_OPEN: c_int = 3;
const MUSL_ENTER: c_int = 4;
const MUSL_ENTER_OPEN: c_int = 5;

/// `posix_spawn_file_actions_t`.
#[repr(C)]
struct MuslActions {
    reserved: [c_int; 2],
    last: *const MuslAction,
}

#[repr(C)]
struct MuslAction {
    next: *const MuslAction,
    previous: *const MuslAction,
    kind: c_int,
    numbers: [c_int; 4],
    path: [c_char; 0],
}

fn each_of_musl(actions: *const MuslActions, visit: &mut impl FnMut(Action)) {
    // SAFETY: the structures of musl: a list whose head is what was added last.
    unsafe {
        let mut action = (*actions).last;
        while !action.is_null() && !(*action).next.is_null() {
            action = (*action).next;
        }
        for _ in 0..ACTIONS_MAX {
            if action.is_null() {
                return;
            }
            let path = (&raw const (*action).path).cast();
            match (*action).kind {
                MUSL_OPEN => visit(Action::Open(path)),
                MUSL_ENTER => visit(Action::Enter(path)),
                MUSL_ENTER_OPEN => visit(Action::EnterOpen),
                _ => {}
            }
            action = (*action).previous;
        }
    }
}
