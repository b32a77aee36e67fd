//! Why the compiler ran, as a value: every path of the wrapper that is no hit ends in one, and it is
//! reported in one place.

use std::fmt;

/// Why the compiler ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing is known of this unit.
    FirstBuild,
    /// The unit is known, and no known compilation of it read what is there now.
    InputsDiffer,
    /// The store knew the action and could not give back its outputs.
    BlobUnusable,
    /// There was a result, and the configuration asks for what was done to be compared with it.
    Verifying,
    /// What was done came out different from the result that is stored for the same inputs.
    Different(String),
    /// The compiler or the script failed; failures are not stored.
    Failed,
    /// An input changed while the compiler ran; the outputs may mix old and new.
    InputChanged(String),
    /// A process that the compiler or the script started went on after it: the outputs may be half
    /// written.
    Outlived,
    /// Not everything that the compiler read was seen.
    Unobserved(String),
    /// What the compilation did cannot be keyed (a network connection, say).
    Uncacheable(String),
    /// The outputs could not be stored; the text names the operation and the path.
    StoreFailed(String),
    /// Not a compilation, or one that cannot be cached.
    NotCached(String),
}

impl Reason {
    /// Whether the outputs of this miss are in the store now.
    pub fn stored(&self) -> bool {
        matches!(self, Self::FirstBuild | Self::InputsDiffer | Self::BlobUnusable | Self::Verifying)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FirstBuild => f.write_str("first build"),
            Self::InputsDiffer => f.write_str("inputs differ"),
            Self::BlobUnusable => f.write_str("stored outputs missing or damaged"),
            Self::Verifying => f.write_str("verified: the same as stored"),
            Self::Different(what) => write!(f, "verified: not the same as stored: {what}"),
            Self::Failed => f.write_str("failed"),
            Self::InputChanged(what) => write!(f, "input changed while compiling: {what}"),
            Self::Outlived => {
                f.write_str("a process that it started was still running when it ended")
            }
            Self::Unobserved(what) => write!(f, "unobserved: {what}"),
            Self::Uncacheable(what) => write!(f, "uncacheable: {what}"),
            Self::StoreFailed(what) => write!(f, "not stored: {what}"),
            Self::NotCached(what) => f.write_str(what),
        }
    }
}
