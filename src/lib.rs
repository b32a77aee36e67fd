//! kache: a zero-copy, content-addressed build cache for Rust. See `ARCHITECTURE.md`.

pub mod cli;
pub mod config;
pub mod env;
pub mod events;
pub mod fs;
pub mod index;
pub mod invocation;
pub mod log;
pub mod memo;
pub mod observe;
pub mod roots;
pub mod wrap;
