//! A conversation, as the catalog keeps it, under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fromagerie::fuzzing::session(bytes);
});
