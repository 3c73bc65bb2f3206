//! Verification. Storage reads every live byte; what only the engine understands of them is looked at here: whether graphs
//! and lists of payloads say of a segment's rows what the rows say themselves.

use std::fmt;

use fromagerie_storage::{SegmentView, VerifyReport as ReadReport, Watch};

use crate::database::Database;
use crate::error::Result;
use crate::graph;
use crate::retrieve::payloads;

/// What verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// What was read, and where bytes are not what was written.
    pub read: ReadReport,
    /// Parts that are what was written and still of no use. [`crate::Collection::learn`] makes them anew.
    pub unfit: Vec<UnfitPart>,
}

impl VerifyReport {
    /// Whether nothing is damaged and nothing is unfit.
    pub fn is_clean(&self) -> bool {
        self.read.is_clean() && self.unfit.is_empty()
    }
}

/// A part of a segment that was made of its rows and cannot be used as it is, for instance because another version made it.
/// No item is lost with it; searches are slower without it, and may find less with one that contradicts its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfitPart {
    /// Of which collection.
    pub collection: String,
    /// The segment's number.
    pub segment: u64,
    /// Rows of the segment, dead ones counted.
    pub rows: u32,
    /// `graph` or `payloads`.
    pub part: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for UnfitPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UnfitPart { collection, segment, rows, part, problem } = self;
        write!(f, "the {part} of segment {segment} of {collection}, {rows} rows: {problem}")
    }
}

impl Database {
    /// Reads every live byte and reports all damage and what it costs, and what cannot be used.
    ///
    /// # Errors
    /// An I/O error that is not damage: the report would not be complete.
    pub fn verify(&self, watch: Watch<'_>) -> Result<VerifyReport> {
        let read = self.store().verify(watch)?;
        let names: Vec<String> = self.store().collections().into_iter().map(|known| known.name).collect();
        Ok(VerifyReport { read, unfit: names.iter().flat_map(|name| self.unfit(name)).collect() })
    }

    /// The same for one collection.
    ///
    /// # Errors
    /// [`crate::Error::UnknownCollection`], and as [`Database::verify`].
    pub fn verify_collection(&self, name: &str, watch: Watch<'_>) -> Result<VerifyReport> {
        let read = self.named(name, self.store().verify_collection(name, watch))?;
        Ok(VerifyReport { read, unfit: self.unfit(name) })
    }

    /// Damaged bytes are passed over: they have been told.
    fn unfit(&self, name: &str) -> Vec<UnfitPart> {
        let Ok(collection) = self.store().collection(name) else { return Vec::new() };
        let snapshot = collection.snapshot();
        let mut unfit = Vec::new();
        for segment in snapshot.segments() {
            let problems = [("graph", graph_problem(segment)), ("payloads", payloads_problem(segment))];
            unfit.extend(problems.into_iter().filter_map(|(part, problem)| {
                let (collection, segment, rows) = (collection.name().to_owned(), segment.id(), segment.rows());
                Some(UnfitPart { collection, segment, rows, part, problem: problem? })
            }));
        }
        unfit
    }
}

fn graph_problem(segment: &SegmentView) -> Option<String> {
    segment.graph().ok()??;
    match graph::of(segment) {
        Ok(graph) => Some(graph?.check().err()?.to_string()),
        Err(error) => Some(error.to_string()),
    }
}

fn payloads_problem(segment: &SegmentView) -> Option<String> {
    let list = segment.payloads().ok()??;
    payloads::first_missing(list, segment).ok()?
}
