//! Entry points for fuzzing: any bytes in the place of a source's file, read to the end and again from the middle; and of
//! what the engine itself keeps in storage.
//!
//! A source may refuse, and may name a failure; it may not panic, hang, take memory without bound, or go on elsewhere
//! than where it was. `fuzz/` drives this with libFuzzer, `tests/fuzz.rs` with a mutation loop of its own. Not part of
//! the API.

use std::path::Path;

use crate::dialogue::record::SessionRecord;
use crate::ingest::source::{Failure, Format, Found, Position, Records, Shards, SourceOptions};

/// A conversation, as the catalog keeps it.
pub fn session(bytes: &[u8]) -> bool {
    let Ok(record) = SessionRecord::from_bytes("s", bytes) else { return false };
    let again = SessionRecord::from_bytes("s", &record.to_bytes()).expect("what was read can be written");
    assert!(again.turn_atoms().eq(record.turn_atoms()));
    assert_eq!((again.shown(), again.info("s").turns), (record.shown(), record.info("s").turns));
    true
}

/// The list of payloads of a segment.
pub fn payload_list(bytes: &[u8]) -> bool {
    crate::retrieve::payloads::fuzz(bytes)
}

/// What a collection knows of its queries.
pub fn hints(bytes: &[u8]) -> bool {
    crate::usage::record::fuzz(bytes)
}

/// More records than this tell nothing new.
const RECORDS_MAX: usize = 1 << 10;

/// Reads the file at `path` as a source of `format`; whether it gave a record.
pub fn source(path: &Path, format: Format) -> bool {
    let Some(whole) = read(path, format, Position::default()) else { return false };
    assert!(whole.is_sorted_by_key(|(position, _)| (position.shard, position.at)), "a position goes back: {whole:?}");
    if let Some((middle, _)) = whole.get(whole.len() / 2)
        && whole.len() < RECORDS_MAX
        && let Some(rest) = read(path, format, *middle)
    {
        let begin = whole.iter().position(|(at, _)| at == middle).unwrap_or_default();
        check_rest(&whole[begin..], &rest);
        check_rest(&rest, &whole[begin..]);
    }
    whole.iter().any(|(_, text)| is_record(text))
}

/// What one read gives, another from the same place gives too, or says that it cannot.
fn check_rest(one: &[(Position, String)], other: &[(Position, String)]) {
    let told = other.iter().any(|(_, text)| !is_record(text));
    let lost = one.iter().find(|(_, text)| is_record(text) && !other.iter().any(|(_, again)| again == text));
    assert!(told || lost.is_none(), "a source goes on elsewhere than where it was: {lost:?}, and {other:?}");
}

/// What the text of a record begins with, and that of a failure does not.
const RECORD: &str = "record ";

fn is_record(text: &str) -> bool {
    text.starts_with(RECORD)
}

/// Every record and failure from `from` on, with where it began; `None` where the source could not be opened.
fn read(path: &Path, format: Format, from: Position) -> Option<Vec<(Position, String)>> {
    let options = SourceOptions { format: Some(format), ..SourceOptions::default() };
    let mut shards = Shards::open(&[path.to_owned()], &options, from, Box::new(|_| Ok(()))).ok()?;
    let mut records = Vec::new();
    while records.len() < RECORDS_MAX {
        let position = shards.position();
        let _ = shards.remaining();
        let Some(found) = shards.next() else { break };
        records.push((position, text(&found)));
    }
    Some(records)
}

fn text(found: &Result<Found, Failure>) -> String {
    match found {
        Ok(found) => format!("{RECORD}{found:?}"),
        Err(failure) => format!("failure {:?} {} {}", failure.key, failure.place, failure.error),
    }
}
