//! Records of any source into a collection: read, decoded on every core, encoded in batches, written durably.
//!
//! While one batch is encoded the next is decoded, the one after it fetched, and one more read; no more than that is in
//! memory. A
//! record that cannot be used is reported and left out; it stops nothing. What the collection has already, byte for
//! byte, is not encoded again, so a run that was killed goes on where it was.
//!
//! [`source`] knows the kinds of files; [`fetch`] what lies at addresses; [`run`] joins the stages; `look` says what
//! becomes of one record; `report` what is told.

pub(crate) mod fetch;
mod look;
mod near;
mod report;
pub(crate) mod run;
pub(crate) mod seen;
pub(crate) mod source;
pub(crate) mod stored;
mod write;

use std::path::{Path, PathBuf};

use crate::collection::Collection;
use crate::error::{Error, Result};
pub use fetch::{FetchError, FetchOptions};
pub use report::{FailureLog, IngestEvent, IngestReport, failure_json};
use run::{Begin, Run};
use source::{Body, Found, Records, Shards};
pub use source::{Columns, Failure, Format, Place, Position, SourceError, SourceOptions, Spot, Stage, Vectors};

/// How records are ingested.
#[derive(Clone, Debug)]
pub struct IngestOptions {
    /// Pictures that are encoded and written together, 1 to 1024. Vectors are written by the thousand.
    pub batch: usize,
    /// How sources are read.
    pub source: SourceOptions,
    /// How addresses are fetched.
    pub fetch: FetchOptions,
    /// Leave out a record whose picture is, byte for byte, that of an earlier one of the run.
    pub skip_duplicates: bool,
    /// Where to begin: what [`IngestEvent::Reached`] told an earlier run of the same sources and options.
    pub from: Position,
    /// The caller vouches that vectors were made by the collection's model, where they do not say so themselves.
    pub same_space: bool,
}

impl Default for IngestOptions {
    fn default() -> Self {
        IngestOptions {
            batch: 32,
            source: SourceOptions::default(),
            fetch: FetchOptions::default(),
            skip_duplicates: false,
            from: Position::default(),
            same_space: false,
        }
    }
}

/// The vectors that the first file of `sources` that can be opened holds; `None` when it holds pictures.
///
/// # Errors
/// A source that is not there, or of no known kind; what is wrong with the first file, when none can be opened.
pub fn source_vectors(sources: &[PathBuf], options: &SourceOptions) -> Result<Option<Vectors>> {
    Shards::open(sources, options, Position::default(), Box::new(|_| Ok(())))?.first_vectors()
}

/// The pictures below a folder: the key that each would have, and its path, in the order of names.
///
/// # Errors
/// The folder cannot be read.
pub fn folder_pictures(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    source::folder::walk(folder)
}

/// What a place in `sources` depends on, as a digest: while it stays, a [`Position`] means the same place.
pub(crate) fn source_fingerprint(sources: &[PathBuf], options: &SourceOptions) -> Result<String> {
    Ok(Shards::open(sources, options, Position::default(), Box::new(|_| Ok(())))?.fingerprint())
}

/// The key and the picture of the record at a place; `None` when it has no picture, or is one at an address.
pub(crate) fn record_at(
    sources: &[PathBuf],
    options: &SourceOptions,
    at: Position,
) -> Result<Option<(String, Vec<u8>)>> {
    let mut shards = Shards::open(sources, options, at, Box::new(|_| Ok(())))?;
    Ok(match shards.next() {
        Some(Ok(Found { key, body: Body::Bytes(bytes), .. })) => Some((key, bytes)),
        Some(Ok(Found { key, body: Body::File(path), .. })) => Some((key, crate::item::read_file(&path)?)),
        _ => None,
    })
}

impl Collection {
    /// Ingests every record of `sources`: folders, files, and patterns with braces (see [`source::Format`]).
    ///
    /// # Errors
    /// A source that does not exist or holds nothing; vectors of another space; the collection's own errors. Records
    /// that cannot be used are no error: they are reported to `on_event`.
    pub fn ingest(
        &self,
        sources: &[PathBuf],
        options: &IngestOptions,
        cancelled: &(dyn Fn() -> bool + Sync),
        on_event: &mut dyn FnMut(IngestEvent<'_>),
    ) -> Result<IngestReport> {
        if !(1..=1024).contains(&options.batch) {
            return Err(Error::OutOfRange { name: "batch", value: options.batch.to_string(), allowed: "1 to 1024" });
        }
        let run = Run { collection: self, options, begin: Begin::at(options.from), id: None };
        let ended = run.over_sources(sources, cancelled, on_event, &mut |_| Ok(()))?;
        Ok(ended.report)
    }

    /// Whether vectors of a source may become this collection's.
    fn accept(&self, vectors: &Vectors, same_space: bool) -> Result<()> {
        if vectors.dim != self.dim() {
            let (expected, found) = (self.dim(), vectors.dim);
            return Err(Error::WrongDim { collection: self.name().to_owned(), expected, found });
        }
        match (self.space(), vectors.space) {
            (Some(mine), Some(theirs)) if mine == theirs => Ok(()),
            (Some(_), None) if same_space => Ok(()),
            (Some(mine), theirs) => Err(Error::ForeignVectors {
                collection: self.name().to_owned(),
                expected: hex::encode(mine),
                found: theirs.map_or_else(|| "unknown".to_owned(), hex::encode),
            }),
            (None, _) => Ok(()),
        }
    }
}
