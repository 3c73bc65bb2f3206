//! A bundle's configurations, under libFuzzer.
#![no_main]

#[path = "../foreign.rs"]
mod foreign;
#[path = "../model.rs"]
#[allow(dead_code)]
mod model;
#[path = "../scratch.rs"]
mod scratch;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    foreign::panics_are_caught();
    model::bundle(bytes);
});
