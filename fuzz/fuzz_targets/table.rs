//! Operations on a table, against a map.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kache_fuzz::table::run(bytes));
