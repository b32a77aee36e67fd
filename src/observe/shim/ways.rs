//! Paths as they are written, and the links on the way to a directory.
//!
//! What is found from the working directory, or from a directory that is open, is recorded by where that
//! lies. Which links led there has to be recorded when it is entered or opened: they may be turned.

use core::ffi::c_int;

use crate::files::{Path, failed, path};
use crate::layout::{FOUND, LINK_READ};
use crate::log;
use crate::system::{self, AT_FDCWD, ENOENT, PATH_BYTES_MAX, bytes};

/// How many links the kernel follows on one way.
const LINKS_MAX: usize = 40;

/// An absolute path, closed by NUL; empty where it is not known.
pub(crate) struct Absolute {
    path: [u8; PATH_BYTES_MAX],
    length: usize,
}

impl Absolute {
    pub(crate) fn new() -> Self {
        Self { path: [0; PATH_BYTES_MAX], length: 0 }
    }

    /// What a path that starts from a directory leads to.
    pub(crate) fn of(directory: c_int, name: &[u8]) -> Self {
        let mut absolute = Self::new();
        absolute.set_path(directory, name);
        absolute
    }

    pub(crate) fn path(&self) -> &[u8] {
        self.path.get(..self.length).unwrap_or_default()
    }

    /// As a C string.
    pub(crate) fn as_ptr(&self) -> Path {
        self.path.as_ptr().cast()
    }

    pub(crate) fn clear(&mut self) {
        self.length = 0;
    }

    /// Puts the parts together; leaves room for a closing NUL. Empty if they do not fit.
    pub(crate) fn set(&mut self, parts: &[&[u8]]) -> bool {
        self.length = 0;
        let mut end = 0_usize;
        for part in parts {
            let Some(to) = self.path.get_mut(end..end.saturating_add(part.len())) else {
                return false;
            };
            to.copy_from_slice(part);
            end += part.len();
        }
        let Some(closing) = self.path.get_mut(end) else { return false };
        *closing = 0;
        self.length = end;
        true
    }

    pub(crate) fn set_below(&mut self, directory: c_int, parts: &[&[u8]]) -> bool {
        let mut buffer = [0; PATH_BYTES_MAX];
        let base = if directory == AT_FDCWD {
            system::working_directory(&mut buffer)
        } else {
            system::descriptor_path(directory, &mut buffer)
        };
        let Some(base) = base else { return false };
        match *parts {
            [first] if first.is_empty() => self.set(&[base]),
            [first] => self.set(&[base, b"/", first]),
            [first, second, third] => self.set(&[base, b"/", first, second, third]),
            _ => false,
        }
    }

    pub(crate) fn set_path(&mut self, directory: c_int, name: &[u8]) {
        if name.first() == Some(&b'/') {
            self.set(&[name]);
        } else {
            self.set_below(directory, &[name]);
        }
    }

    /// Records each link on this way, and on the ways that those lead.
    fn record_links(mut self) {
        // They lead elsewhere in each process.
        if [&b"/proc/"[..], b"/dev/fd/"].iter().any(|place| self.path().starts_with(place)) {
            return;
        }
        let (mut known, mut links) = (0, 0);
        let mut buffer = [0; PATH_BYTES_MAX];
        while let Some((start, end)) = self.part_behind(known) {
            known = end;
            let Some(target) = self.link_at(end, &mut buffer) else { continue };
            path(LINK_READ, AT_FDCWD, self.path().get(..end).unwrap_or_default());
            let base = if target.first() == Some(&b'/') { 0 } else { start };
            links += 1;
            if links > LINKS_MAX || !self.put(base, end, target) {
                return;
            }
            known = base;
        }
    }

    /// Where the first part begins and ends that is not before `known`.
    fn part_behind(&self, known: usize) -> Option<(usize, usize)> {
        let rest = self.path().get(known..)?;
        let start = known + rest.iter().position(|byte| *byte != b'/')?;
        let part = self.path().get(start..)?;
        let length = part.iter().position(|byte| *byte == b'/').unwrap_or(part.len());
        Some((start, start + length))
    }

    /// What the link says that the path up to there is.
    fn link_at<'a>(
        &mut self,
        end: usize,
        buffer: &'a mut [u8; PATH_BYTES_MAX],
    ) -> Option<&'a [u8]> {
        let behind = core::mem::replace(self.path.get_mut(end)?, 0);
        let target = system::read_link(AT_FDCWD, self.as_ptr(), buffer);
        *self.path.get_mut(end)? = behind;
        target
    }

    /// Replaces the bytes between two places, unless there would be too many.
    fn put(&mut self, start: usize, end: usize, target: &[u8]) -> bool {
        let Some(rest) = self.length.checked_sub(end) else { return false };
        let moved = start + target.len();
        let length = moved + rest;
        if length >= self.path.len() {
            return false;
        }
        self.path.copy_within(end..self.length, moved);
        if let Some(to) = self.path.get_mut(start..moved) {
            to.copy_from_slice(target);
        }
        if let Some(closing) = self.path.get_mut(length) {
            *closing = 0;
        }
        self.length = length;
        true
    }
}

/// Records the links on the way to what a path leads to.
pub(crate) fn followed(directory: c_int, name: &[u8]) {
    if log::is_open() {
        Absolute::of(directory, name).record_links();
    }
}

/// Records how a directory was reached that is open now.
pub(crate) fn reached(directory: c_int, name: &[u8], descriptor: c_int) {
    if !log::is_open() {
        return;
    }
    let way = Absolute::of(directory, name);
    let mut buffer = [0; PATH_BYTES_MAX];
    let place = system::descriptor_path(descriptor, &mut buffer);
    // Most paths go through no link.
    if place.is_none_or(|place| place != without_end(way.path())) {
        way.record_links();
    }
}

/// A directory's path without what only says that it is one.
fn without_end(path: &[u8]) -> &[u8] {
    let mut path = path;
    while let Some(shorter) = path.strip_suffix(b"/").or_else(|| path.strip_suffix(b"/.")) {
        if shorter.is_empty() {
            break;
        }
        path = shorter;
    }
    path
}

/// Records that a process is about to work in a directory, or to find out that it cannot.
pub(crate) fn entering(directory: c_int, name: Path) {
    if name.is_null() || !log::is_open() {
        return;
    }
    let node = system::path_node(directory, name);
    // SAFETY: a C string, as the functions that change the directory demand.
    let name = unsafe { bytes(name) };
    if node.is_some() {
        path(FOUND, directory, name);
    } else {
        failed(directory, name, ENOENT);
    }
    followed(directory, name);
}
