//! Paths that go through the open descriptors of the process itself: each means another file in every
//! process, so that the file behind it is what counts.

use core::ffi::c_int;

use crate::log;
use crate::system::{self, PATH_BYTES_MAX};

/// Records where a path leads that goes through one of this process's open descriptors. `false` for
/// other paths, and where what is open has no name (any more).
pub(crate) fn led_through(kind: u8, path: &[u8], rest: [&[u8]; 2]) -> bool {
    let places = [&b"/proc/self/fd/"[..], b"/proc/thread-self/fd/", b"/dev/fd/"];
    let Some(inside) = places.iter().find_map(|place| path.strip_prefix(*place)) else {
        return false;
    };
    let end = inside.iter().position(|byte| *byte == b'/').unwrap_or(inside.len());
    let (digits, below) = inside.split_at_checked(end).unwrap_or_default();
    let Some(descriptor) = number(digits) else { return false };
    let mut buffer = [0; PATH_BYTES_MAX];
    let base = system::descriptor_path(descriptor, &mut buffer);
    let Some(base) = base.filter(|base| !base.ends_with(b" (deleted)")) else { return false };
    let [first, second] = rest;
    log::text(kind, &[base, below, first, second]);
    true
}

fn number(digits: &[u8]) -> Option<c_int> {
    let (first, _) = digits.split_first()?;
    let mut number = c_int::from(first.checked_sub(b'0').filter(|digit| *digit < 10)?);
    for digit in digits.iter().skip(1) {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number = number.checked_mul(10)?.checked_add(c_int::from(digit))?;
    }
    Some(number)
}
