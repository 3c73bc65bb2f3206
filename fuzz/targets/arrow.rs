//! An Arrow file, read as an ingest reads it, under libFuzzer.
#![no_main]

#[path = "../foreign.rs"]
mod foreign;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| foreign::source(fromagerie::Format::Arrow, bytes));
