//! Records of any source into a collection: read, decoded on every core, encoded in batches, written durably.
//!
//! While one batch is encoded the next is decoded, the one after it fetched, and one more read; no more than that is in
//! memory. A
//! record that cannot be used is reported and left out; it stops nothing. What the collection has already, byte for
//! byte, is not encoded again, so a run that was killed goes on where it was.
//!
//! [`source`] knows the kinds of files; [`fetch`] what lies at addresses; `look` what becomes of one record; `report` what is told.

pub(crate) mod fetch;
mod look;
mod report;
mod seen;
pub(crate) mod source;
mod write;

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use rayon::prelude::*;

use crate::collection::Collection;
use crate::error::{Error, Result};
use fetch::Fetcher;
pub use fetch::{FetchError, FetchOptions};
use look::Looked;
pub use report::{FailureLog, IngestEvent, IngestReport, failure_json};
use seen::Seen;
use source::{Body, Found, Shards};
pub use source::{Columns, Failure, Format, Place, Position, SourceError, SourceOptions, Spot, Stage, Vectors};
use write::Writer;

/// Vectors that are written together.
const VECTORS_BATCH: usize = 4096;
/// Bytes of records that are read ahead together, unless one alone has more.
const BATCH_BYTES_MAX: usize = 128 << 20;

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
        let begun = Instant::now();
        let (collection, same_space) = (self.clone(), options.same_space);
        let accept = Box::new(move |vectors: &Vectors| collection.accept(vectors, same_space));
        let shards = Shards::open(sources, &options.source, options.from, accept)?;
        if shards.holds_pictures() {
            // Before anything is read: a model that cannot be loaded must not look like a hundred bad files.
            self.model("an image")?;
        }
        on_event(IngestEvent::Found { items: shards.remaining() });
        std::thread::scope(|scope| {
            let (send_read, read) = sync_channel(1);
            scope.spawn(move || read_all(shards, options.batch, cancelled, send_read));
            let (send_fetched, fetched) = sync_channel(1);
            let (send_looked, looked) = sync_channel(1);
            scope.spawn(move || fetch_all(&Fetcher::new(options.fetch), read, cancelled, send_fetched));
            scope.spawn(move || self.look_at_all(fetched, cancelled, send_looked));
            let (skip_duplicates, report) = (options.skip_duplicates, IngestReport::default());
            let mut writer = Writer { collection: self, skip_duplicates, on_event, report, seen: Seen::default() };
            for batch in looked {
                if cancelled() {
                    break;
                }
                writer.write(batch.records)?;
                (writer.on_event)(IngestEvent::Reached(batch.end));
            }
            if cancelled() {
                return Err(Error::Cancelled);
            }
            Ok(IngestReport { seconds: begun.elapsed().as_secs_f64(), ..writer.report })
        })
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

    /// Decodes batch after batch until all is done or nobody wants more.
    fn look_at_all(
        &self,
        fetched: Receiver<Batch<Result<Found, Failure>>>,
        cancelled: &(dyn Fn() -> bool + Sync),
        send: SyncSender<Batch<Looked>>,
    ) {
        for batch in fetched {
            let records = batch.records.into_par_iter().map(|found| self.look_at(found)).collect();
            if cancelled() || send.send(Batch { records, end: batch.end }).is_err() {
                return;
            }
        }
    }
}

/// Records that travel together, and where the first one after them is.
struct Batch<T> {
    records: Vec<T>,
    end: Position,
}

/// Reads batch after batch, each as large as may be held.
fn read_all(
    mut shards: Shards,
    pictures: usize,
    cancelled: &(dyn Fn() -> bool + Sync),
    send: SyncSender<Batch<Result<Found, Failure>>>,
) {
    loop {
        let (mut records, mut bytes, mut has_picture) = (Vec::new(), 0, false);
        while records.len() < if has_picture { pictures } else { VECTORS_BATCH } && bytes < BATCH_BYTES_MAX {
            let Some(found) = shards.next() else { break };
            if let Ok(Found { body, .. }) = &found {
                has_picture |= !matches!(body, Body::Vector(_));
                bytes += body.len();
            }
            records.push(found);
        }
        let end = shards.position();
        if records.is_empty() || cancelled() || send.send(Batch { records, end }).is_err() {
            return;
        }
    }
}

/// Fetches what is named by its address, batch after batch.
fn fetch_all(
    fetcher: &Fetcher,
    read: Receiver<Batch<Result<Found, Failure>>>,
    cancelled: &(dyn Fn() -> bool + Sync),
    send: SyncSender<Batch<Result<Found, Failure>>>,
) {
    for batch in read {
        let records = fetcher.fetch_all(batch.records, cancelled);
        if cancelled() || send.send(Batch { records, end: batch.end }).is_err() {
            return;
        }
    }
}
