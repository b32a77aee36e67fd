//! Objects as files of a directory that machines share.

use std::fmt::Display;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use super::RemoteError;
use super::backend::Content;
use crate::fs::{self, FsError, LinkMode};

/// The directory. Calls take as long as its disk or network does.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    pub(super) root: PathBuf,
}

impl Directory {
    pub(super) fn get(&self, name: &str) -> Result<Option<File>, RemoteError> {
        match File::open(self.root.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some).map_err(|error| refused("get", name, &error)),
        }
    }

    pub(super) fn exists(&self, name: &str) -> Result<bool, RemoteError> {
        self.root.join(name).try_exists().map_err(|error| refused("look at", name, &error))
    }

    pub(super) fn put(&self, name: &str, content: &Content) -> Result<(), RemoteError> {
        // What cannot be copied names where it comes from.
        let to = |error| format!("{error}, to {}", self.root.display());
        self.write(name, content).map_err(|error| refused("put", name, &to(error)))
    }

    /// Under a temporary name first.
    fn write(&self, name: &str, content: &Content) -> Result<(), FsError> {
        let path = self.root.join(name);
        if let Some(directory) = path.parent() {
            fs::create_directories(directory)?;
        }
        match content {
            Content::Bytes(bytes) => fs::write_new(&path, bytes, 0o644),
            Content::File(file) => {
                fs::place_private(file, &path, LinkMode::Auto, 0o644).map(|_| ())
            }
        }
    }

    pub(super) fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>, RemoteError> {
        let directory = self.root.join(prefix);
        let names = fs::list_names_if_present(&directory);
        let names = names.map_err(|error| refused("list", prefix, &error))?;
        let sized = names.iter().filter_map(|name| {
            let bytes = fs::stat(&directory.join(name)).ok()?.size_bytes;
            Some((format!("{prefix}{}", name.to_str()?), bytes))
        });
        Ok(sized.collect())
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), RemoteError> {
        fs::remove_if_present(&self.root.join(name))
            .map_err(|error| refused("remove", name, &error))
    }
}

fn refused(operation: &'static str, name: &str, error: &dyn Display) -> RemoteError {
    RemoteError::Refused { operation, name: name.to_owned(), reason: error.to_string() }
}
