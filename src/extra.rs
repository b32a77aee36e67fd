//! `extra_inputs`: files whose contents enter every key of a workspace, whoever reads them.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::fs::{self, FileKind, FsError};
use crate::glob;
use crate::inputs::{content_digest, finish, frame};
use crate::memo::Memo;

/// The names and contents of all files below `base` that a glob matches. A glob that matches
/// nothing is part of it as well, and so is one that cannot be followed.
pub fn digest(globs: &[String], base: &Path, memo: &Memo) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    for pattern in globs {
        frame(&mut hasher, pattern.as_bytes());
        let mut files = Vec::new();
        if let Err(error) = collect(pattern, base, &fixed_part(pattern, base), &mut files) {
            crate::log::warn!("extra_inputs: {error}");
        }
        files.sort();
        for file in files {
            let name = file.strip_prefix(base).unwrap_or(&file);
            frame(&mut hasher, name.as_os_str().as_bytes());
            match fs::stat(&file).and_then(|stat| content_digest(memo, &file, &stat)) {
                Ok(digest) => hasher.update(&digest.0),
                Err(_) => hasher.update(b"unreadable"),
            };
        }
    }
    finish(&hasher).0.to_vec()
}

/// The directory or file that a glob names before its first wildcard.
fn fixed_part(pattern: &str, base: &Path) -> PathBuf {
    let is_wild = |part: &&str| part.contains(['*', '?']);
    let fixed: Vec<&str> = pattern.split('/').take_while(|part| !is_wild(part)).collect();
    base.join(fixed.join("/"))
}

/// Adds the files at `place` and below that match. Target directories and what begins with a dot
/// are no sources.
fn collect(
    pattern: &str,
    base: &Path,
    place: &Path,
    files: &mut Vec<PathBuf>,
) -> Result<(), FsError> {
    let stat = match fs::lstat(place) {
        Err(error) if error.is_absent() => return Ok(()),
        stat => stat?,
    };
    if stat.kind != FileKind::Directory {
        let whole = base.join(pattern);
        if glob::matches(&whole.to_string_lossy(), place.as_os_str().as_bytes()) {
            files.push(place.to_owned());
        }
        return Ok(());
    }
    if fs::lstat(&place.join("CACHEDIR.TAG")).is_ok() {
        return Ok(());
    }
    for name in fs::list_names(place)? {
        if !name.as_bytes().starts_with(b".") {
            collect(pattern, base, &place.join(name), files)?;
        }
    }
    Ok(())
}
