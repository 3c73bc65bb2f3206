//! `fromagerie_storage::fuzzing::manifest` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fromagerie_storage::fuzzing::manifest(bytes);
});
