//! The daemon between wrappers and a remote: real processes, real builds, and what goes wrong.

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the tests of builds use more of it")]
mod support;

mod lifecycle;
mod machine;
mod sharing;
