//! What the fuzz targets check.
//!
//! `cargo +nightly fuzz run TARGET fuzz/corpus/TARGET`, in the repository's root. The corpora that
//! are committed are small; `cargo test` here runs each of their files once.

pub mod events;
pub mod messages;
pub mod table;
pub mod text;
pub mod values;
pub mod words;
