//! Headers, records, slots, claims and memo entries of any words.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kache_fuzz::words::run(bytes));
