//! Where objects lie: names to bytes, and nothing else.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use super::filesystem::Directory;
use super::s3::{Bucket, Stream};
use super::{RemoteError, blocking};

/// A kind of remote.
#[derive(Clone, Debug)]
pub(super) enum Backend {
    Filesystem(Directory),
    S3(Bucket),
}

/// The bytes of an object, as they come.
pub(super) struct Body {
    source: Source,
    read_bytes: u64,
}

enum Source {
    File(File),
    Stream(Stream),
}

/// The bytes of an object that is to be.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Bytes(Vec<u8>),
    File(PathBuf),
}

impl Body {
    fn new(source: Source) -> Self {
        Self { source, read_bytes: 0 }
    }

    /// How much was read so far.
    pub(super) fn read_bytes(&self) -> u64 {
        self.read_bytes
    }

    /// Why reading failed, if the object is not to blame for it.
    pub(super) fn failure(&mut self) -> Option<String> {
        match &mut self.source {
            Source::File(_) => None,
            Source::Stream(stream) => stream.failure(),
        }
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match &mut self.source {
            Source::File(file) => file.read(buffer)?,
            Source::Stream(stream) => stream.read(buffer)?,
        };
        self.read_bytes += count as u64;
        Ok(count)
    }
}

impl Backend {
    /// `None` if there is no such object.
    pub(super) async fn get(&self, name: &str) -> Result<Option<Body>, RemoteError> {
        match self {
            Self::Filesystem(directory) => {
                let (directory, object) = (directory.clone(), name.to_owned());
                let file = blocking(name, move || directory.get(&object)).await??;
                Ok(file.map(|file| Body::new(Source::File(file))))
            }
            Self::S3(bucket) => {
                let stream = bucket.get(name).await?;
                Ok(stream.map(|stream| Body::new(Source::Stream(stream))))
            }
        }
    }

    pub(super) async fn exists(&self, name: &str) -> Result<bool, RemoteError> {
        match self {
            Self::Filesystem(directory) => {
                let (directory, object) = (directory.clone(), name.to_owned());
                blocking(name, move || directory.exists(&object)).await?
            }
            Self::S3(bucket) => bucket.exists(name).await,
        }
    }

    /// Writes an object, in place of one of that name; readers see the one or the other.
    pub(super) async fn put(&self, name: &str, content: Content) -> Result<(), RemoteError> {
        match self {
            Self::Filesystem(directory) => {
                let (directory, object) = (directory.clone(), name.to_owned());
                blocking(name, move || directory.put(&object, &content)).await?
            }
            Self::S3(bucket) => bucket.put(name, content).await,
        }
    }

    /// The names of all objects that begin so, with their sizes; `prefix` ends in a slash.
    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>, RemoteError> {
        match self {
            Self::Filesystem(directory) => {
                let (directory, objects) = (directory.clone(), prefix.to_owned());
                blocking(prefix, move || directory.list(&objects)).await?
            }
            Self::S3(bucket) => bucket.list(prefix).await,
        }
    }

    pub(super) async fn remove(&self, name: &str) -> Result<(), RemoteError> {
        match self {
            Self::Filesystem(directory) => {
                let (directory, object) = (directory.clone(), name.to_owned());
                blocking(name, move || directory.remove(&object)).await?
            }
            Self::S3(bucket) => bucket.remove(name).await,
        }
    }
}
