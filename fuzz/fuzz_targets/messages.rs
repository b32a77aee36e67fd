//! Messages of any bytes.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kache_fuzz::messages::run(bytes));
