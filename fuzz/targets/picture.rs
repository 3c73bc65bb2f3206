//! A picture, decoded, prepared and made small, under libFuzzer.
#![no_main]

#[path = "../foreign.rs"]
mod foreign;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| foreign::look(foreign::model::picture, bytes));
