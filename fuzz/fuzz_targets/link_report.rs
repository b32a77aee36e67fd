//! Reports of linkers of any bytes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kache_fuzz::text::link_report(data));
