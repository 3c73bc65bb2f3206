//! `fromagerie_storage::fuzzing::snapshot_list` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fromagerie_storage::fuzzing::snapshot_list(bytes);
});
