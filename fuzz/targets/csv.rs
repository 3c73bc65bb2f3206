//! A source of this kind, read as an ingest reads it, under libFuzzer.
#![no_main]

#[path = "../foreign.rs"]
mod foreign;
#[path = "../scratch.rs"]
mod scratch;
#[path = "../source.rs"]
mod source;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    foreign::panics_are_caught();
    source::source(fromagerie::Format::Csv, bytes);
});
