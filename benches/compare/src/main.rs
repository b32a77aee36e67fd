//! The index beside embedded databases, the ladder beside bare system calls, and garbage collection.
//!
//! `cargo run --release [-- DIRECTORY [rates [WORK]|files|collection]]`, here. Every side of a line works on the same records in the
//! same run; what counts is the ratio.

#![allow(
    dead_code,
    unused_imports,
    unfulfilled_lint_expectations,
    reason = "kache's modules are more than is measured of them, and are linted where they belong"
)]

mod collection;
mod engines;
mod files;
mod rates;

#[path = "../../../src/env.rs"]
mod env;
#[path = "../../../src/events.rs"]
mod events;
#[path = "../../../src/fs/mod.rs"]
mod fs;
#[path = "../../../src/index/mod.rs"]
mod index;

/// What the modules above know of the configuration.
mod config {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum LinkMode {
        Auto,
        Clone,
        Hardlink,
        Copy,
    }
}

mod store;

use std::path::PathBuf;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next();
    if first.as_deref() == Some(rates::ROLE) {
        rates::perform(arguments.collect());
        return;
    }
    let base = first.map_or_else(std::env::temp_dir, PathBuf::from);
    let space = tempfile::tempdir_in(base).expect("a directory to measure in");
    let only = arguments.next();
    let wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    if wanted("rates") {
        rates::compare(space.path(), arguments.next().as_deref());
    }
    if wanted("files") {
        files::compare(space.path());
    }
    if wanted("collection") {
        collection::measure(space.path());
    }
}
