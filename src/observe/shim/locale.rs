//! Where the GNU C library finds what a locale is. It looks past its own public functions, and passes over
//! what is not there: the same name may mean another order of the alphabet, or none.

use core::ffi::c_int;

use crate::files::Path;
use crate::layout::{LOCALE_MISSING, LOCALE_READ, VARIABLE_READ};
use crate::log;
use crate::system::{self, AT_FDCWD, Node, PATH_BYTES_MAX, bytes};
use crate::ways::Absolute;

/// Each category's variable and file, by its number. Number six is all of them.
const CATEGORIES: [&[u8]; 13] = [
    b"LC_CTYPE",
    b"LC_NUMERIC",
    b"LC_TIME",
    b"LC_COLLATE",
    b"LC_MONETARY",
    b"LC_MESSAGES",
    b"LC_ALL",
    b"LC_PAPER",
    b"LC_NAME",
    b"LC_ADDRESS",
    b"LC_TELEPHONE",
    b"LC_MEASUREMENT",
    b"LC_IDENTIFICATION",
];
const ALL: usize = 6;

const DIRECTORY: &[u8] = b"/usr/lib/locale";
const ARCHIVE: &[u8] = b"/usr/lib/locale/locale-archive";

/// The bit of a category in masks as `newlocale` has them: all of them for `LC_ALL`.
pub(crate) fn bit(category: c_int) -> c_int {
    if category == ALL as c_int { -1 } else { 1 << (category & 31) }
}

/// Records what is looked for when the categories of a mask are set to a locale. The empty name is what
/// the environment says.
pub(crate) fn chosen(categories: c_int, name: Path) {
    if name.is_null() || !log::is_open() || !system::is_gnu() {
        return;
    }
    // SAFETY: a C string, as the functions that choose a locale demand.
    let name = unsafe { bytes(name) };
    let mut last: &[u8] = b"";
    for (number, category) in CATEGORIES.iter().enumerate() {
        if number == ALL || categories & bit(number as c_int) == 0 {
            continue;
        }
        let value = if name.is_empty() { of_environment(category) } else { part(name, category) };
        if !is_known_everywhere(value) {
            if value != last {
                archives();
            }
            last = value;
            each_place(|place| in_place(place, value, category));
        }
    }
}

fn variable(name: &[u8]) -> &'static [u8] {
    // SAFETY: the process's environment; values are C strings.
    unsafe { bytes(system::find_variable(system::environment(), name)) }
}

fn of_environment(category: &[u8]) -> &'static [u8] {
    let values = [b"LC_ALL", category, b"LANG"].map(variable);
    values.into_iter().find(|value| !value.is_empty()).unwrap_or_default()
}

/// What a name says of a category, which may be different for each: `LC_CTYPE=C;LC_TIME=de_DE`.
fn part<'a>(name: &'a [u8], category: &[u8]) -> &'a [u8] {
    let mut parts = name.split(|byte| *byte == b';');
    let of_category = parts.find_map(|part| part.strip_prefix(category)?.strip_prefix(b"="));
    of_category.unwrap_or(name)
}

/// Whether a locale is the same wherever it is: the C library's own one, and the one that has its order.
fn is_known_everywhere(name: &[u8]) -> bool {
    name.is_empty() || name == b"C" || name == b"POSIX" || name.starts_with(b"C.")
}

fn is_searched_elsewhere() -> bool {
    !variable(b"LOCPATH").is_empty()
}

/// Records the files that hold many locales: the system's, and what Nix names.
fn archives() {
    log::text(VARIABLE_READ, &[b"LOCPATH", b"\0", log::executable()]);
    if is_searched_elsewhere() {
        return;
    }
    for name in [&b"LOCALE_ARCHIVE"[..], b"LOCALE_ARCHIVE_2_27"] {
        let archive = variable(name);
        if !archive.is_empty() {
            log::text(VARIABLE_READ, &[name, b"\0", log::executable()]);
            looked_for(&[archive]);
        }
    }
    looked_for(&[ARCHIVE]);
}

/// Visits the directories in which locales are looked for.
fn each_place(visit: impl Fn(&[u8])) {
    let named = variable(b"LOCPATH").split(|byte| *byte == b':');
    named.filter(|place| !place.is_empty()).for_each(&visit);
    visit(DIRECTORY);
}

/// Records a category's file below each directory that the locale's name may mean: with the character
/// set as it is written, in its plain form, or without, and so the variant behind it.
fn in_place(place: &[u8], name: &[u8], category: &[u8]) {
    if name.contains(&b'/') {
        return;
    }
    let (base, variant) = cut(name, b'@');
    let (base, set) = cut(base, b'.');
    let mut plain = [0; SET_BYTES_MAX];
    let plain = plain_form(set, &mut plain);
    let sets = [set, plain, b""];
    for (index, set) in sets.iter().enumerate() {
        if sets.iter().take(index).any(|other| other == set) {
            continue;
        }
        in_directory(&[place, b"/", base, set, variant], category);
        if !variant.is_empty() {
            in_directory(&[place, b"/", base, set], category);
        }
    }
}

/// A text before and from a letter on.
fn cut(text: &[u8], letter: u8) -> (&[u8], &[u8]) {
    let at = text.iter().position(|byte| *byte == letter).unwrap_or(text.len());
    text.split_at_checked(at).unwrap_or_default()
}

const SET_BYTES_MAX: usize = 64;

/// A dot and the small letters and digits of a character set's name, with `iso` before a mere number.
fn plain_form<'a>(set: &[u8], to: &'a mut [u8; SET_BYTES_MAX]) -> &'a [u8] {
    let Some(name) = set.strip_prefix(b".") else { return b"" };
    let is_number = !name.iter().any(u8::is_ascii_alphabetic);
    let start: &[u8] = if is_number { b".iso" } else { b"." };
    let letters = name.iter().filter(|byte| byte.is_ascii_alphanumeric());
    let letters = letters.map(u8::to_ascii_lowercase);
    let mut length = 0;
    for (place, byte) in to.iter_mut().zip(start.iter().copied().chain(letters)) {
        *place = byte;
        length += 1;
    }
    to.get(..length).unwrap_or_default()
}

fn in_directory(directory: &[&[u8]], category: &[u8]) {
    if looked_for(directory) != Some(Node::Directory) {
        return;
    }
    // The messages are beside the translations of programs.
    let is_messages = category == b"LC_MESSAGES";
    let name = if is_messages { b"LC_MESSAGES/SYS_LC_MESSAGES" } else { category };
    let mut file = [&b""[..]; 8];
    for (place, part) in file.iter_mut().zip(directory.iter().chain(&[b"/", name])) {
        *place = part;
    }
    looked_for(&file);
}

/// Records a file, or that nothing is there.
fn looked_for(parts: &[&[u8]]) -> Option<Node> {
    let mut buffers = [[0; PATH_BYTES_MAX]; 2];
    let [given, absolute] = &mut buffers;
    let (mut name, mut path) = (Absolute::new(given), Absolute::new(absolute));
    if !name.set(parts) || !path.set_path(AT_FDCWD, name.path()) {
        return None;
    }
    let node = system::path_node(AT_FDCWD, path.as_ptr());
    let kind = match node {
        None => LOCALE_MISSING,
        Some(Node::File) => LOCALE_READ,
        Some(_) => return node,
    };
    log::text(kind, &[path.path(), b"\0", log::executable()]);
    node
}
