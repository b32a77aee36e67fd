//! Results travel between two machines, and nothing that is not theirs gets into a store.

mod access;
mod faults;
mod hostile;
mod objects;
mod s3;
#[path = "../support/server.rs"]
mod server;
#[expect(dead_code, reason = "builds use the rest")]
#[path = "../support/mod.rs"]
mod support;
mod sync;
