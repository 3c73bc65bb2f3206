//! A bundle's configurations, under libFuzzer.
#![no_main]

#[path = "../foreign.rs"]
mod foreign;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| foreign::look(foreign::model::bundle, bytes));
