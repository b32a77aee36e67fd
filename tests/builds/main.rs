//! Real builds through kache, by the real Cargo and the real compiler: one file per promise.

#[path = "../support/server.rs"]
mod server;
#[path = "../support/mod.rs"]
mod support;

mod attempts;
mod checkouts;
mod cost;
mod detours;
mod docs;
mod eviction;
mod found_by_name;
mod freshness;
mod hidden_inputs;
mod kinds;
mod meanwhile;
mod never_in_the_way;
mod script_runs;
mod scripts;
mod settings;
mod spans;
mod streaming;
#[cfg(target_os = "linux")]
mod unobserved;
mod upward;
