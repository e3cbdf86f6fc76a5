//! Fuzzes the decoder of the same name in `src/lib.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dvc_fuzz::pack_list(bytes));
