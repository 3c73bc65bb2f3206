//! One run from its first record to its last: the stages, each one batch ahead of the next.
//!
//! A run can begin in the middle. What it must know of the part before is in [`Begin`], and what a later run would have
//! to know is handed out after each batch, as [`Reached`]. A run with a name gives each of its batches a request id that
//! says where the batch begins and what is in it: one that was written before the process died is not written twice,
//! and counts as it did the first time.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use rayon::prelude::*;

use super::fetch::Fetcher;
use super::look::Looked;
use super::seen::Seen;
use super::source::{Body, Failure, Found, Position, Records, Shards, Vectors};
use super::write::Writer;
use super::{IngestEvent, IngestOptions, IngestReport};
use crate::collection::Collection;
use crate::error::{Error, Result};

/// Records and bytes that are read ahead together, unless one record alone has more.
#[derive(Clone, Copy)]
struct BatchMax {
    records: usize,
    bytes: usize,
}

/// Of vectors. A batch so large becomes a segment at once.
const VECTORS: BatchMax = BatchMax { records: 1 << 16, bytes: 16 << 20 };
/// Of pictures, which options count.
const PICTURES_BYTES_MAX: usize = 128 << 20;

/// Where a run begins, and what it knows of what comes before.
#[derive(Default)]
pub(crate) struct Begin {
    pub(crate) from: Position,
    pub(crate) report: IngestReport,
    pub(crate) seen: Seen,
}

impl Begin {
    pub(crate) fn at(from: Position) -> Begin {
        Begin { from, ..Begin::default() }
    }
}

/// A run stands between two batches: all before is durable, was there already, or was reported.
pub(crate) struct Reached<'a> {
    pub(crate) at: Position,
    pub(crate) report: &'a IngestReport,
    pub(crate) seen: &'a mut Seen,
}

/// What a run leaves.
pub(crate) struct Ended {
    pub(crate) report: IngestReport,
    pub(crate) seen: Seen,
}

/// A run into a collection.
pub(crate) struct Run<'a> {
    pub(crate) collection: &'a Collection,
    pub(crate) options: &'a IngestOptions,
    pub(crate) begin: Begin,
    /// Its name, when batches that were written before are to be known again.
    pub(crate) id: Option<&'a str>,
}

pub(crate) type OnEvent<'a> = dyn FnMut(IngestEvent<'_>) + 'a;
pub(crate) type OnReached<'a> = dyn FnMut(Reached<'_>) -> Result<()> + 'a;
type Cancelled<'a> = dyn Fn() -> bool + Sync + 'a;

impl Run<'_> {
    /// Runs over files.
    pub(crate) fn over_sources(
        self,
        sources: &[PathBuf],
        cancelled: &Cancelled<'_>,
        on_event: &mut OnEvent<'_>,
        on_reached: &mut OnReached<'_>,
    ) -> Result<Ended> {
        let (collection, same_space) = (self.collection.clone(), self.options.same_space);
        let collection_is_of_a_model = collection.space().is_some();
        let accept = Box::new(move |vectors: &Vectors| collection.accept(vectors, same_space));
        let shards = Shards::open(sources, &self.options.source, self.begin.from, accept)?;
        if shards.holds_pictures() && collection_is_of_a_model {
            // Before anything is read: a model that cannot be loaded must not look like a hundred bad files. A collection of
            // vectors alone has none, and a table without a row needs none.
            self.collection.model("an image")?;
        }
        self.over(shards, cancelled, on_event, on_reached)
    }

    /// Runs over any records.
    ///
    /// # Errors
    /// [`Error::Cancelled`]; what is no single record's fault.
    pub(crate) fn over(
        self,
        records: impl Records,
        cancelled: &Cancelled<'_>,
        on_event: &mut OnEvent<'_>,
        on_reached: &mut OnReached<'_>,
    ) -> Result<Ended> {
        let Run { collection, options, begin, id } = self;
        let begun = Instant::now();
        let seconds_before = begin.report.seconds;
        on_event(IngestEvent::Found { items: records.remaining() });
        std::thread::scope(|scope| {
            let (send_read, read) = sync_channel(1);
            scope.spawn(move || read_all(records, options.batch, cancelled, send_read));
            let (send_fetched, fetched) = sync_channel(1);
            let (send_looked, looked) = sync_channel(1);
            scope.spawn(move || fetch_all(&Fetcher::new(options.fetch), read, cancelled, send_fetched));
            scope.spawn(move || collection.look_at_all(fetched, cancelled, send_looked));
            let skip_duplicates = options.skip_duplicates;
            let mut writer =
                Writer { collection, skip_duplicates, id, on_event, report: begin.report, seen: begin.seen };
            for batch in looked {
                if cancelled() {
                    break;
                }
                writer.write(batch.begin, batch.records)?;
                writer.report.seconds = seconds_before + begun.elapsed().as_secs_f64();
                on_reached(Reached { at: batch.end, report: &writer.report, seen: &mut writer.seen })?;
                (writer.on_event)(IngestEvent::Reached(batch.end));
            }
            if cancelled() {
                return Err(Error::Cancelled);
            }
            writer.report.seconds = seconds_before + begun.elapsed().as_secs_f64();
            Ok(Ended { report: writer.report, seen: writer.seen })
        })
    }
}

impl Collection {
    /// Decodes batch after batch until all is done or nobody wants more.
    fn look_at_all(
        &self,
        fetched: Receiver<Batch<Result<Found, Failure>>>,
        cancelled: &Cancelled<'_>,
        send: SyncSender<Batch<Looked>>,
    ) {
        for batch in fetched {
            let records = batch.records.into_par_iter().map(|found| self.look_at(found)).collect();
            if cancelled() || send.send(Batch { records, begin: batch.begin, end: batch.end }).is_err() {
                return;
            }
        }
    }
}

/// Records that travel together, where the first one is, and where the first one after them is.
pub(crate) struct Batch<T> {
    pub(crate) records: Vec<T>,
    pub(crate) begin: Position,
    pub(crate) end: Position,
}

/// Reads batch after batch, each as large as may be held. What is in one depends on the records alone.
pub(crate) fn read_all(
    mut source: impl Records,
    pictures: usize,
    cancelled: &Cancelled<'_>,
    send: SyncSender<Batch<Result<Found, Failure>>>,
) {
    let of_pictures = BatchMax { records: pictures, bytes: PICTURES_BYTES_MAX };
    loop {
        let begin = source.position();
        let (mut records, mut bytes, mut max) = (Vec::new(), 0, VECTORS);
        while records.len() < max.records && bytes < max.bytes {
            let Some(found) = source.next() else { break };
            if let Ok(Found { body, .. }) = &found {
                if !matches!(body, Body::Vector(_) | Body::Made(_)) {
                    max = of_pictures;
                }
                bytes += body.len();
            }
            records.push(found);
        }
        let end = source.position();
        if records.is_empty() || cancelled() || send.send(Batch { records, begin, end }).is_err() {
            return;
        }
    }
}

/// Fetches what is named by its address, batch after batch.
pub(crate) fn fetch_all(
    fetcher: &Fetcher,
    read: Receiver<Batch<Result<Found, Failure>>>,
    cancelled: &Cancelled<'_>,
    send: SyncSender<Batch<Result<Found, Failure>>>,
) {
    for batch in read {
        let records = fetcher.fetch_all(batch.records, cancelled);
        if cancelled() || send.send(Batch { records, begin: batch.begin, end: batch.end }).is_err() {
            return;
        }
    }
}
