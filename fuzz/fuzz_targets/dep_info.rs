//! Dep-info files of any bytes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kache_fuzz::text::dep_info(data));
