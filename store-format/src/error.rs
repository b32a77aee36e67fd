//! Why bytes are not a value of this format.

use std::fmt;

use crate::wire::WireError;

/// Why bytes are not a value of this format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatError {
    Wire(WireError),
    /// Not of this format at all.
    Magic,
    /// Written by another version.
    Version {
        found: u32,
    },
    /// The checksum does not cover the bytes.
    Checksum,
    /// A number that stands for nothing.
    Tag {
        what: &'static str,
        value: u64,
    },
    /// Values that have to ascend do not.
    Order,
    /// A name that could lead out of the directory it belongs to, or that is not text.
    Name,
}

impl From<WireError> for FormatError {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wire(error) => error.fmt(f),
            Self::Magic => f.write_str("not a file of this kind"),
            Self::Version { found } => write!(f, "written by version {found} of the format"),
            Self::Checksum => f.write_str("the checksum does not match"),
            Self::Tag { what, value } => write!(f, "{value} is not a {what}"),
            Self::Order => f.write_str("values are out of order"),
            Self::Name => f.write_str("a name is not acceptable"),
        }
    }
}

impl std::error::Error for FormatError {}
