//! The ladder: how a file gets from one place to another, by sharing as much as the two allow.
//!
//! | wanted | rungs |
//! |---|---|
//! | private (an inode of its own) | clone, copy |
//! | shared | hard link, clone, copy; on macOS clone first, which costs the same there |
//! | lent (private, and the original is nobody's yet) | hard link, clone, copy; on macOS clone first |
//!
//! A rung that answers "not between these two places" leads to the next one; that includes a full
//! inode, and filesystems that allow links only to one's own files. Anything else is an error.

use std::path::Path;

use rustix::io::Errno;

use super::posix::{self, is_not_here};
use super::stat::{bits, set_mtime_errno, touch};
use super::{
    Context, FsError, LinkMode, link_errno, lstat, remove_if_present, rename, retry, stat,
    temporary_name,
};

/// How a file got to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Placed {
    /// It shares its blocks with the original until one of them is written.
    Cloned,
    /// It is the original's inode.
    Linked,
    Copied,
}

/// Puts a copy of `from` at `to`, with an inode of its own, permission bits `mode` and the
/// current time.
pub fn place_private(
    from: &Path,
    to: &Path,
    links: LinkMode,
    mode: u32,
) -> Result<Placed, FsError> {
    replace(to, |temporary| copy(from, temporary, links != LinkMode::Copy, mode))
}

/// Puts `from` at `to`, where it may share its inode: then `mode` and time are those of `from`.
pub fn place_shared(from: &Path, to: &Path, links: LinkMode, mode: u32) -> Result<Placed, FsError> {
    let clone_first =
        links == LinkMode::Clone || links == LinkMode::Auto && cfg!(target_vendor = "apple");
    if clone_first && let Some(placed) = try_clone(from, to, mode)? {
        return Ok(placed);
    }
    let may_link = matches!(links, LinkMode::Auto | LinkMode::Hardlink);
    if may_link && replace_by_link(from, to)? {
        return Ok(Placed::Linked);
    }
    let may_clone = links == LinkMode::Auto;
    replace(to, |temporary| copy(from, temporary, may_clone, mode))
}

/// Puts `from` at `to` with permission bits `mode` and the current time. As long as nobody else has the
/// inode of `from`, it may become that of `to`: the time of both is returned then.
pub fn place_lent(
    from: &Path,
    to: &Path,
    links: LinkMode,
    mode: u32,
) -> Result<(Placed, Option<i64>), FsError> {
    let may_link = match links {
        LinkMode::Auto => !cfg!(target_vendor = "apple"),
        LinkMode::Hardlink => true,
        LinkMode::Clone | LinkMode::Copy => false,
    };
    if may_link && let Some(mtime_ns) = lend(from, to, mode)? {
        return Ok((Placed::Linked, Some(mtime_ns)));
    }
    place_private(from, to, links, mode).map(|placed| (placed, None))
}

/// Of those who would share the inode at the same moment each sees the others' names, and none does.
fn lend(from: &Path, to: &Path, mode: u32) -> Result<Option<i64>, FsError> {
    let temporary = temporary_name(to);
    match link_errno(from, &temporary) {
        Ok(()) => {}
        Err(errno) if is_not_here(errno) => return Ok(None),
        Err(errno) => return Err(FsError::new("link to", to, errno)),
    }
    let lent = (|| {
        let found = stat(&temporary)?;
        if found.links != 2 || bits(found.mode) != bits(mode) {
            return Ok(None);
        }
        touch(&temporary)?;
        let mtime_ns = stat(&temporary)?.mtime_ns;
        posix::put(&temporary, to).context("rename to", to)?;
        Ok(Some(mtime_ns))
    })();
    match lent {
        Ok(None) => remove_if_present(&temporary).map(|()| None),
        lent => lent.inspect_err(|_| {
            // What failed is what matters.
            drop(remove_if_present(&temporary));
        }),
    }
}

fn try_clone(from: &Path, to: &Path, mode: u32) -> Result<Option<Placed>, FsError> {
    let temporary = temporary_name(to);
    match posix::clone_new(from, &temporary, bits(mode)) {
        Ok(()) => rename_or_remove(&temporary, to).map(|()| Some(Placed::Cloned)),
        Err(errno) if is_not_here(errno) => Ok(None),
        Err(errno) => Err(FsError::new("clone", from, errno)),
    }
}

fn copy(from: &Path, to: &Path, may_clone: bool, mode: u32) -> Result<Placed, FsError> {
    let cloned = posix::copy_new(from, to, bits(mode), may_clone).context("copy", from)?;
    Ok(if cloned { Placed::Cloned } else { Placed::Copied })
}

/// Makes something under a temporary name, then gives it the name `to`.
fn replace<T>(to: &Path, make: impl FnOnce(&Path) -> Result<T, FsError>) -> Result<T, FsError> {
    let temporary = temporary_name(to);
    let result = make(&temporary)?;
    rename_or_remove(&temporary, to)?;
    Ok(result)
}

/// For a temporary file of an inode that has no other name.
fn rename_or_remove(temporary: &Path, to: &Path) -> Result<(), FsError> {
    let renamed = posix::put(temporary, to).context("rename to", to);
    if renamed.is_err() {
        // The rename's failure is what matters.
        drop(remove_if_present(temporary));
    }
    renamed
}

/// Makes `to` another name of `from`, in place of what stands there. `false` if the two places
/// allow no link; then `to` is as it was.
pub fn replace_by_link(from: &Path, to: &Path) -> Result<bool, FsError> {
    match link_errno(from, to) {
        Ok(()) => return Ok(true),
        Err(Errno::EXIST) => {}
        Err(errno) if is_not_here(errno) => return Ok(false),
        Err(errno) => return Err(FsError::new("link to", to, errno)),
    }
    if lstat(to).is_ok_and(|there| stat(from).is_ok_and(|from| from.is_same_file(&there))) {
        return Ok(true);
    }
    let temporary = temporary_name(to);
    match link_errno(from, &temporary) {
        Ok(()) => rename(&temporary, to).map(|()| true).inspect_err(|_| {
            // The rename's failure is what matters.
            drop(remove_if_present(&temporary));
        }),
        Err(errno) if is_not_here(errno) => Ok(false),
        Err(errno) => Err(FsError::new("link to", to, errno)),
    }
}

/// Makes `to` a symbolic link, in place of what stands there.
pub fn replace_by_symlink(target: &Path, to: &Path) -> Result<(), FsError> {
    replace(to, |temporary| {
        retry(|| rustix::fs::symlink(target, temporary)).context("make the link", to)
    })
}

/// Writes a file of its own inode with permission bits `mode`, in place of what stands there.
pub fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<(), FsError> {
    replace(path, |temporary| {
        let written = || {
            let file = posix::create_new(temporary, bits(mode))?;
            posix::write_all(&file, content)?;
            posix::set_mode_bits(&file, bits(mode))
        };
        written().context("write", path).inspect_err(|_| {
            // The failure to write is what matters.
            drop(remove_if_present(temporary));
        })
    })
}

/// Gives `from` the second name `to`, or a copy with mode and time of `from` where no link is
/// possible. `false` if `to` was there already; it stays as it was.
pub fn link_or_copy_new(from: &Path, to: &Path) -> Result<bool, FsError> {
    match link_errno(from, to) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(errno) if is_not_here(errno) => copy_like(from, to),
        Err(errno) => Err(FsError::new("link to", to, errno)),
    }
}

/// Makes `to` a clone of `from`, else a second name of it, else a copy; with mode and time of
/// `from`. `false` if `to` was there already; it stays as it was.
pub fn clone_or_link_new(from: &Path, to: &Path) -> Result<bool, FsError> {
    let original = stat(from)?;
    let temporary = temporary_name(to);
    match posix::clone_new(from, &temporary, bits(original.mode)) {
        Ok(()) => publish_like(&temporary, to, original.mtime_ns),
        Err(errno) if is_not_here(errno) => link_or_copy_new(from, to),
        Err(errno) => Err(FsError::new("clone", from, errno)),
    }
}

fn copy_like(from: &Path, to: &Path) -> Result<bool, FsError> {
    let original = stat(from)?;
    let temporary = temporary_name(to);
    copy(from, &temporary, true, original.mode)?;
    publish_like(&temporary, to, original.mtime_ns)
}

/// Gives a complete temporary file its time and its name, unless that is taken.
fn publish_like(temporary: &Path, to: &Path, mtime_ns: i64) -> Result<bool, FsError> {
    let published = set_mtime_errno(temporary, mtime_ns).and_then(|()| {
        match link_errno(temporary, to) {
            // A filesystem without links; a concurrent writer has the same content to offer.
            Err(errno) if is_not_here(errno) => retry(|| rustix::fs::rename(temporary, to)),
            done => done,
        }
    });
    remove_if_present(temporary)?;
    match published {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Err(FsError::new("link to", to, errno)),
    }
}
