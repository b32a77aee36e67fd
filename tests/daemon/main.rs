//! The daemon between wrappers and a remote: real processes, real builds, and what goes wrong.

#[path = "../support/removal.rs"]
mod removal;
#[path = "../support/server.rs"]
#[expect(dead_code, reason = "the tests of the remote use more of it")]
mod server;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the tests of builds use more of it")]
mod support;

mod faults;
mod lifecycle;
mod machine;
mod sharing;
mod stub;
