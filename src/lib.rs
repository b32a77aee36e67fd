//! kache: a zero-copy, content-addressed build cache for Rust. See `ARCHITECTURE.md`.
