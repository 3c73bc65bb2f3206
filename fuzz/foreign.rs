//! What strangers hand over, under libFuzzer: most of it is read by other people's code.

#![allow(dead_code)]

use std::panic::set_hook;
use std::sync::Once;

#[path = "model.rs"]
pub mod model;
#[path = "scratch.rs"]
mod scratch;
#[path = "source.rs"]
mod source;

/// Reads the bytes as a source.
pub fn source(format: fromagerie::Format, bytes: &[u8]) {
    look(|bytes| source::source(format, bytes), bytes);
}

/// Hands the bytes to an entry point.
///
/// libFuzzer counts every panic as a crash. Those of foreign decoders are caught where they are called, so that only one
/// that escapes from there counts: it ends the process, being caught by nobody.
pub fn look(at: impl Fn(&[u8]) -> bool, bytes: &[u8]) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| set_hook(Box::new(|_| ())));
    at(bytes);
}
