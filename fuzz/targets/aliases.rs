//! `fromagerie_storage::fuzzing::aliases` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fromagerie_storage::fuzzing::aliases(bytes);
});
