//! Why a remote did not do what it was asked for.

use store_format::wire::WireError;
use store_format::{ActionKey, Digest, FormatError};

use crate::events::EventsError;
use crate::fs::FsError;
use crate::index::IndexError;

/// Why a remote did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    #[error("no remote is configured")]
    NotConfigured,
    #[error("{0}")]
    Configuration(String),
    #[error("the remote is read-only here")]
    ReadOnly,
    /// The server answered, and will not do it.
    #[error("{operation} {name}: {reason}")]
    Refused { operation: &'static str, name: String, reason: String },
    /// There is no answer, or none that says anything about the object.
    #[error("{operation} {name}: {reason}")]
    Unreachable { operation: &'static str, name: String, reason: String },
    /// What is there cannot be used.
    #[error("{name}: {damage}")]
    Damaged { name: String, damage: Damage },
    #[error("result {} is not in the store", .0.0)]
    NotStored(ActionKey),
    /// The store on this machine failed.
    #[error(transparent)]
    Local(#[from] LocalError),
}

impl RemoteError {
    /// Whether trying again is of no use, and the network is not to blame: refused, damaged, or
    /// a failure of this machine.
    pub fn is_definite(&self) -> bool {
        !matches!(self, Self::Unreachable { .. })
    }

    /// Whether what was to be uploaded is not in the store any more, or is damaged there.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::NotStored(_) | Self::Local(LocalError::Blob(_)))
    }
}

/// What is there, for who writes it anew: what is damaged is as good as absent.
pub fn unless_damaged<T>(found: Result<Option<T>, RemoteError>) -> Result<Option<T>, RemoteError> {
    match found {
        Err(RemoteError::Damaged { .. }) => Ok(None),
        found => found,
    }
}

/// Why an object cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error("it is another object")]
    Misplaced,
    #[error("the seal does not match")]
    Seal,
    #[error("the signature is of another key")]
    Signature,
    #[error("it is not signed")]
    Unsigned,
    #[error("a compressed part does not decompress")]
    Compression,
    #[error("a part is longer or shorter than it claims")]
    Length,
    #[error("the content of {0} is another")]
    Content(Digest),
}

impl From<WireError> for Damage {
    fn from(error: WireError) -> Self {
        Self::Format(error.into())
    }
}

/// A failure of the store on this machine.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error(transparent)]
    Fs(#[from] FsError),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Events(#[from] EventsError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("the blob {0} is damaged")]
    Blob(Digest),
}

/// Why an object that is being read came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Damaged(#[from] Damage),
    #[error(transparent)]
    Local(#[from] LocalError),
}

impl ReadError {
    pub(super) fn of(self, name: &str) -> RemoteError {
        match self {
            Self::Damaged(damage) => RemoteError::Damaged { name: name.to_owned(), damage },
            Self::Local(error) => error.into(),
        }
    }
}

impl From<FormatError> for ReadError {
    fn from(error: FormatError) -> Self {
        Self::Damaged(error.into())
    }
}
