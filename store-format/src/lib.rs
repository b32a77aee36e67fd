//! Every byte that kache persists: what it means, how it is laid out and how it is checked.
//!
//! No I/O, no dependencies, no `unsafe`. Bytes from a file, a mapping or the network become the
//! typed values of this crate only by checking; `SPEC.md` beside this crate is normative.

mod digest;
mod record;

pub use digest::{ActionKey, Digest, UnitKey};
pub use record::{
    Input, InputKind, Manifest, NodeKind, Output, OutputRole, ResultRecord, Root, RootedPath,
};
