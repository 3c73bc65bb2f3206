//! A segment's list of payloads, under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fromagerie::fuzzing::payload_list(bytes);
});
