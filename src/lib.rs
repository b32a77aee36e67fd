//! kache: a zero-copy, content-addressed build cache for Rust. See `ARCHITECTURE.md`.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod account;
pub mod bound;
pub mod changed;
#[cfg_attr(
    not(test),
    expect(
        clippy::disallowed_methods,
        reason = "commands are no hot path, and standard calls say the most to their readers"
    )
)]
pub mod cli;
pub mod client;
pub mod compile;
#[cfg_attr(not(test), expect(clippy::disallowed_methods, reason = "one file is read, once"))]
pub mod config;
pub mod daemon;
pub mod env;
#[cfg_attr(
    not(test),
    expect(clippy::disallowed_methods, reason = "the log of events is one append")
)]
pub mod events;
pub mod explain;
pub mod extra;
pub mod fs;
pub mod glob;
pub mod index;
pub mod inputs;
pub mod invocation;
pub mod jobs;
pub mod key;
pub mod launcher;
pub mod library_path;
pub mod listing;
#[cfg_attr(not(test), expect(clippy::disallowed_methods, reason = "the log is one append"))]
pub mod log;
pub mod memo;
#[cfg_attr(
    not(test),
    expect(clippy::disallowed_methods, reason = "reads executables, and a log of its own")
)]
pub mod observe;
pub mod outcome;
pub mod parallel;
pub mod process;
pub mod publish;
pub mod queue;
#[cfg_attr(
    not(test),
    expect(clippy::disallowed_methods, reason = "streams between files and sockets")
)]
pub mod remote;
pub mod replay;
pub mod roots;
pub mod runs;
pub mod script;
pub mod seen;
pub mod session;
pub mod store;
pub mod strangers;
pub mod times;
pub mod toolchain;
pub mod wrap;
