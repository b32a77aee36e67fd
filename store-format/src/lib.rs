//! Every byte that kache persists: what it means, how it is laid out and how it is checked.
//!
//! No I/O, no dependencies, no `unsafe`. Bytes from a file, a mapping or the network become the
//! typed values of this crate only by checking; `SPEC.md` beside this crate is normative.

mod checksum;
mod dictionary;
mod digest;
mod error;
mod event;
mod record;

pub mod build;
pub mod dep_info;
pub mod frame;
pub mod header;
pub mod manifest;
pub mod memo;
pub mod message;
pub mod object;
pub mod pack;
pub mod result;
pub mod slot;
pub mod snapshot;
pub mod toolchain;
pub mod wire;

pub use build::{BuildAction, BuildList};
pub use checksum::checksum;
pub use digest::{ActionKey, Digest, UnitKey};
pub use error::FormatError;
pub use event::{
    EVENT_HEAD_BYTES, EVENT_LINES_MAX, EVENT_MAGIC, EVENT_PAYLOAD_BYTES_MAX, EVENT_TEXT_BYTES_MAX,
    EVENT_VERSION, Event, EventOutcome, EventView, Events,
};
pub use manifest::ManifestList;
pub use object::{ObjectHead, ObjectKind};
pub use record::{
    Inline, Input, InputKind, Manifest, NodeKind, Output, OutputRole, ResultRecord, Root,
    RootedPath,
};
pub use result::{BlobView, OutputView, ResultView};
pub use slot::Kind;
pub use snapshot::{Snapshot, SnapshotPart};
pub use toolchain::{ToolchainFile, ToolchainRecord};
