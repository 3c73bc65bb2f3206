//! Records in, a table of vectors out, without a database: the part of an ingest that can run on many machines.
//!
//! [`embed`] reads, fetches, decodes and encodes as an ingest does, and writes what an ingest would have stored to a
//! Parquet or Arrow file ([`table`], whose columns `docs/API.md` draws). `ingest` takes such files without the model's
//! work. It keeps nothing between calls: the same shard gives the same file wherever it is run.

mod table;

use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use fromagerie_models::Pixels;
use rayon::prelude::*;

use crate::bounds::check_item;
use crate::encoder::DecodedImage;
use crate::error::{Error, ErrorKind, Result};
use crate::ingest::fetch::Fetcher;
use crate::ingest::run::{Batch, fetch_all, read_all};
use crate::ingest::source::{Body, Found, Position, Records, Shards, SourceOptions};
use crate::ingest::{Failure, FetchOptions, IngestEvent, IngestReport, SourceError, Stage};
use crate::item::read_file;
use crate::model::LoadedModel;
use crate::settings::Thumbnails;
use table::TableWriter;

/// How records are embedded.
#[derive(Clone, Debug)]
pub struct EmbedOptions {
    /// How sources are read.
    pub source: SourceOptions,
    /// How addresses are fetched.
    pub fetch: FetchOptions,
    /// Pictures that are encoded together, 1 to 1024.
    pub batch: usize,
    /// Write the encoder's features too.
    pub features: bool,
    /// The thumbnails to write.
    pub thumbnails: Thumbnails,
    /// Only every so-manieth record: part `part.0` (from 0) of `part.1`.
    pub part: (u64, u64),
}

impl Default for EmbedOptions {
    fn default() -> Self {
        EmbedOptions {
            source: SourceOptions::default(),
            fetch: FetchOptions::default(),
            batch: 32,
            features: false,
            thumbnails: Thumbnails::default(),
            part: (0, 1),
        }
    }
}

/// One record, ready for the encoder.
pub(crate) struct Row {
    pub(crate) found: Found,
    pub(crate) picture: DecodedImage,
}

/// Writes what `loaded` makes of every picture of `sources` to `out`, which ends in `.parquet` or `.arrow`. The file
/// appears when it is whole.
///
/// # Errors
/// Sources that are not there; vectors in the place of pictures; a file that cannot be written. Records that cannot be
/// used are reported to `on_event`.
pub fn embed(
    loaded: &LoadedModel,
    sources: &[PathBuf],
    options: &EmbedOptions,
    out: &Path,
    cancelled: &(dyn Fn() -> bool + Sync),
    on_event: &mut dyn FnMut(IngestEvent<'_>),
) -> Result<IngestReport> {
    let begun = Instant::now();
    if !(1..=1024).contains(&options.batch) {
        return Err(Error::OutOfRange { name: "batch", value: options.batch.to_string(), allowed: "1 to 1024" });
    }
    if options.part.0 >= options.part.1 {
        let value = format!("{} of {}", options.part.0, options.part.1);
        return Err(Error::OutOfRange { name: "part", value, allowed: "0 up to, and not with, the number of parts" });
    }
    let accept = Box::new(|_: &_| {
        let what = "vectors: they are embedded already, and `ingest` takes them";
        Err(SourceError::unsupported(what).into())
    });
    let shards = Shards::open(sources, &options.source, Position::default(), accept)?;
    let records = Part { records: shards, number: 0, part: options.part };
    let mut writer = TableWriter::create(out, loaded, options)?;
    let mut report = IngestReport::default();
    on_event(IngestEvent::Found { items: records.remaining() });
    std::thread::scope(|scope| -> Result<()> {
        let (send_read, read) = sync_channel(1);
        scope.spawn(move || read_all(records, options.batch, cancelled, send_read));
        let (send_fetched, fetched) = sync_channel(1);
        scope.spawn(move || fetch_all(&Fetcher::new(options.fetch), read, cancelled, send_fetched));
        let (send_looked, looked) = sync_channel::<Batch<Result<(Row, Pixels), Failure>>>(1);
        scope.spawn(move || {
            for batch in fetched {
                let look = |found: Result<Found, Failure>| look(loaded, options.thumbnails, found?);
                let records = batch.records.into_par_iter().map(look).collect();
                let batch = Batch { records, begin: batch.begin, end: batch.end };
                if cancelled() || send_looked.send(batch).is_err() {
                    return;
                }
            }
        });
        for batch in looked {
            let (mut rows, mut pixels) = (Vec::new(), Vec::new());
            report.found += batch.records.len();
            for record in batch.records {
                match record {
                    Ok((row, input)) => {
                        rows.push(row);
                        pixels.push(input);
                    }
                    Err(failure) => {
                        if failure.error.kind() != ErrorKind::InvalidArgument {
                            return Err(*failure.error);
                        }
                        report.failed += 1;
                        on_event(IngestEvent::Failed(&failure));
                    }
                }
            }
            let encoded = if pixels.is_empty() { Vec::new() } else { loaded.encoder.encode(&pixels)? };
            let keys: Vec<String> = rows.iter().map(|row| row.found.key.clone()).collect();
            writer.write(rows, encoded)?;
            report.written += keys.len();
            on_event(IngestEvent::Written { keys: &keys, sequence: 0 });
            if cancelled() {
                break;
            }
        }
        if cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    })?;
    writer.finish()?;
    Ok(IngestReport { seconds: begun.elapsed().as_secs_f64(), ..report })
}

/// Decodes a record's picture.
fn look(loaded: &LoadedModel, thumbnails: Thumbnails, mut found: Found) -> Result<(Row, Pixels), Failure> {
    let (key, place) = (found.key.clone(), found.place.clone());
    let read = |found: &mut Found| -> Result<(DecodedImage, Pixels)> {
        check_item(&found.key, &found.caption, &found.uri, &found.payload)?;
        let bytes = match std::mem::replace(&mut found.body, Body::Bytes(Vec::new())) {
            Body::Bytes(bytes) => bytes,
            Body::File(path) => read_file(&path)?,
            Body::Url(url) => return Err(SourceError::unsupported(format!("{url} was not fetched")).into()),
            Body::Vector(_) | Body::Made(_) => return Err(SourceError::unsupported("a vector").into()),
        };
        loaded.encoder.decode(&bytes, thumbnails)
    };
    match read(&mut found) {
        Ok((picture, pixels)) => Ok((Row { found, picture }, pixels)),
        Err(error) => {
            let stage = if matches!(error, Error::File { .. }) { Stage::Read } else { Stage::Decode };
            Err(Failure::new(Some(key), place, stage, error))
        }
    }
}

/// Every so-manieth record of others.
struct Part<R> {
    records: R,
    number: u64,
    part: (u64, u64),
}

impl<R: Records> Records for Part<R> {
    fn next(&mut self) -> Option<Result<Found, Failure>> {
        loop {
            let record = self.records.next()?;
            let number = self.number;
            self.number += 1;
            if number % self.part.1 == self.part.0 {
                return Some(record);
            }
        }
    }

    fn position(&self) -> Position {
        self.records.position()
    }

    fn remaining(&self) -> Option<u64> {
        self.records.remaining().map(|left| (left + self.part.1 - 1 - self.part.0) / self.part.1)
    }
}
