//! What a run tells while it goes on, and at its end.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::source::{Failure, Position, Spot};

/// What happens during a run, in order.
#[derive(Debug)]
pub enum IngestEvent<'a> {
    /// All sources were listed, and the first was opened.
    Found {
        /// Records to look at, when the sources know.
        items: Option<u64>,
    },
    /// A batch is durable.
    Written {
        /// The keys that it wrote.
        keys: &'a [String],
        /// Its place in the collection's history.
        sequence: u64,
    },
    /// Records that the collection has already.
    Unchanged {
        /// How many.
        items: usize,
    },
    /// The picture is, byte for byte, that of an earlier record of this run.
    Duplicate {
        /// The later record's key.
        key: &'a str,
        /// True when it was left out for that.
        skipped: bool,
    },
    /// A record was left out.
    Failed(&'a Failure),
    /// Everything before this place is durable, was there already, or was reported. A later run may begin here.
    Reached(Position),
    /// A job has written all: what is in memory becomes segments, and many segments few.
    Sealing,
}

/// A finished run. `found` is the sum of `written`, `unchanged`, `skipped` and `failed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IngestReport {
    /// Records seen, files that could not be opened among them.
    pub found: usize,
    /// Records written.
    pub written: usize,
    /// Records that the collection had already.
    pub unchanged: usize,
    /// Records whose picture an earlier one had, whether they were written or not.
    pub duplicates: usize,
    /// Duplicates that were left out.
    pub skipped: usize,
    /// Records left out because something is wrong with them.
    pub failed: usize,
    /// Of those, the ones that hide which records there are: a file that could not be opened or that ends early, and records
    /// whose key could not be read. A sync removes nothing then.
    pub unknown: usize,
    /// How long it took.
    pub seconds: f64,
}

/// Failures as JSON Lines: one object each, as they happen.
pub struct FailureLog<W: Write>(W);

impl<W: Write> FailureLog<W> {
    /// A log that is written to `to`.
    pub fn new(to: W) -> FailureLog<W> {
        FailureLog(to)
    }

    /// Adds a failure.
    pub fn add(&mut self, failure: &Failure) -> io::Result<()> {
        writeln!(self.0, "{}", failure_json(failure))
    }

    /// Writes out what is still held back.
    pub fn finish(mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A failure for programs: `key`, `source`, one of `offset`, `row` and `line`, `stage`, `reason`, `message`.
pub fn failure_json(failure: &Failure) -> Value {
    let mut object = Map::new();
    object.insert("key".into(), failure.key.clone().into());
    object.insert("source".into(), failure.place.source.clone().into());
    match failure.place.spot {
        Spot::Whole => None,
        Spot::Offset(offset) => object.insert("offset".into(), offset.into()),
        Spot::Row(row) => object.insert("row".into(), row.into()),
        Spot::Line(line) => object.insert("line".into(), line.into()),
    };
    object.insert("stage".into(), failure.stage.name().into());
    object.insert("reason".into(), failure.error.reason().into());
    object.insert("message".into(), json!(failure.error.to_string()));
    Value::Object(object)
}
