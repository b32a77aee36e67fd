//! What happens to disks and processes, done to them: every file-system call failed in turn, processes
//! killed anywhere, the power cut, links and space used up, another user's store.
//!
//! After each fault the same holds: no call ends or writes otherwise than the compiler alone would,
//! nothing wrong is restored, the store verifies (or is repaired), and what was not hit by the fault
//! still comes from it. Each test prints how many faults there were.
//!
//! A run is bounded and seeded; `KACHE_TEST_FAULTS=full` enumerates and kills without the bound, and
//! `KACHE_TEST_SEED` sets the seed.
#![cfg(target_os = "linux")]
#![expect(clippy::print_stdout, reason = "each test tells its counts")]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "what other tests stand on is more than is needed here")]
mod support;

mod cap;
mod circumstances;
mod disks;
mod injection;
mod kills;
mod random;
mod scene;
mod strace;
mod users;
