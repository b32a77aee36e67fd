//! Texts of any bytes, with roots in them.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kache_fuzz::text::template(data));
