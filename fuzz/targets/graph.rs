//! The frozen graph's parser and search under libFuzzer.
#![no_main]

#[path = "../graph.rs"]
mod graph;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    graph::graph(bytes);
});
