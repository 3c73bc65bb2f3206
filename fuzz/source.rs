//! The entry points for what an ingest reads: any bytes in the place of a source's file. Used by libFuzzer and by the
//! engine's own test.

use fromagerie::{Format, fuzzing};

/// Reads the bytes as a source of `format`; whether there was a record.
pub fn source(format: Format, bytes: &[u8]) -> bool {
    super::scratch::with(bytes, |path| fuzzing::source(path, format))
}
