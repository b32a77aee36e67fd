//! Paths as they are written, and the links on the way to a directory.
//!
//! What is found from the working directory, or from a directory that is open, is recorded by where that
//! lies. Which links led there has to be recorded when it is entered or opened: they may be turned.

use core::ffi::c_int;

use crate::files::{Path, failed, path};
use crate::layout::{FOUND, LINK_READ, MISSING};
use crate::log;
use crate::system::{self, AT_FDCWD, ENOENT, ENOTDIR, PATH_BYTES_MAX, bytes};

/// How many links the kernel follows on one way.
const LINKS_MAX: usize = 40;

/// Memory for paths: stacks may be small, those of threads and of signal handlers.
pub(crate) struct Scratch(*mut u8);

type Buffer = [u8; PATH_BYTES_MAX];

impl Scratch {
    const BYTES: usize = 2 * PATH_BYTES_MAX;

    pub(crate) fn new() -> Option<Self> {
        let start = system::map(None, Self::BYTES);
        if start.is_null() {
            log::blind("no memory for a path");
            return None;
        }
        Some(Self(start))
    }

    pub(crate) fn buffers(&mut self) -> (&mut Buffer, &mut Buffer) {
        // SAFETY: fresh memory of that size, which is this value's alone.
        unsafe { (&mut *self.0.cast(), &mut *self.0.add(PATH_BYTES_MAX).cast()) }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        system::unmap(self.0, Self::BYTES);
    }
}

/// An absolute path, closed by NUL; empty where it is not known.
pub(crate) struct Absolute<'a> {
    path: &'a mut Buffer,
    length: usize,
}

impl<'a> Absolute<'a> {
    /// `path` begins with zero.
    pub(crate) fn new(path: &'a mut Buffer) -> Self {
        Self { path, length: 0 }
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
        parts.iter().all(|part| self.push(part))
    }

    pub(crate) fn push(&mut self, part: &[u8]) -> bool {
        let end = self.length.saturating_add(part.len());
        let is_short = end < self.path.len();
        if is_short && let Some(to) = self.path.get_mut(self.length..end) {
            to.copy_from_slice(part);
        }
        if is_short && let Some(closing) = self.path.get_mut(end) {
            *closing = 0;
        }
        self.length = if is_short { end } else { 0 };
        is_short
    }

    /// Leaves out the last part; `false` where there is only one.
    fn go_up(&mut self) -> bool {
        let is_slash = |byte: &u8| *byte == b'/';
        let path = without_end(self.path());
        let end = path.iter().rposition(is_slash).unwrap_or(0);
        if let Some(closing) = self.path.get_mut(end) {
            *closing = 0;
        }
        self.length = end;
        end > 0
    }

    /// What a path that starts from a directory leads to: the path itself if it is absolute.
    pub(crate) fn set_path(&mut self, directory: c_int, name: &[u8]) -> bool {
        if name.first() == Some(&b'/') {
            return self.set(&[name]);
        }
        let base = if directory == AT_FDCWD {
            system::working_directory(self.path)
        } else {
            system::descriptor_path(directory, self.path)
        };
        // It is written without NUL.
        self.length = base.map_or(0, <[u8]>::len);
        self.length > 0 && self.push(b"") && (name.is_empty() || self.push(b"/") && self.push(name))
    }

    /// Records each link on this way, and on the ways that those lead.
    fn record_links(mut self, buffer: &mut Buffer) {
        // They lead elsewhere in each process.
        if [&b"/proc/"[..], b"/dev/fd/"].iter().any(|place| self.path().starts_with(place)) {
            return;
        }
        let (mut known, mut links) = (0, 0);
        while let Some((start, end)) = self.part_behind(known) {
            known = end;
            let Some(target) = self.link_at(end, buffer) else { continue };
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
    fn link_at<'b>(&mut self, end: usize, buffer: &'b mut Buffer) -> Option<&'b [u8]> {
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
    record_way(directory, name, None);
}

/// Records how a directory was reached that is open now.
pub(crate) fn reached(directory: c_int, name: &[u8], descriptor: c_int) {
    record_way(directory, name, Some(descriptor));
}

fn record_way(directory: c_int, name: &[u8], open: Option<c_int>) {
    if !log::is_open() {
        return;
    }
    let Some(mut scratch) = Scratch::new() else { return };
    let (path, buffer) = scratch.buffers();
    let mut way = Absolute::new(path);
    way.set_path(directory, name);
    let place = open.and_then(|descriptor| system::descriptor_path(descriptor, buffer));
    // Most paths go through no link.
    if place.is_none_or(|place| place != without_end(way.path())) {
        way.record_links(buffer);
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

/// Records whether the directory is there in which something could not be made. That it is not there
/// either does not follow from what is missing below it: this may be missing still once that is there.
pub(crate) fn failed_below(directory: c_int, name: &[u8], error: c_int) {
    if !matches!(error, ENOENT | ENOTDIR) || !log::is_open() {
        return;
    }
    let Some(mut scratch) = Scratch::new() else { return };
    let mut above = Absolute::new(scratch.buffers().0);
    if above.set_path(directory, name) && above.go_up() {
        let is_there = system::path_node(AT_FDCWD, above.as_ptr()).is_some();
        path(if is_there { FOUND } else { MISSING }, AT_FDCWD, above.path());
    }
}

/// Records that a process is about to work in a directory, or to find out that it cannot.
pub(crate) fn entering(directory: c_int, name: Path) {
    if name.is_null() || !log::is_open() || !system::is_readable(name) {
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
