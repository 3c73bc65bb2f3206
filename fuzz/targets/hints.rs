//! What a collection knows of its queries, under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fromagerie::fuzzing::hints(bytes);
});
