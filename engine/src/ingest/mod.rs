//! Pictures on disk into a collection: found, decoded on every core, encoded in batches, written durably.
//!
//! While one batch is encoded the next is decoded, and no more than that is in memory. A file that cannot be read
//! is reported and left out; it stops nothing. What the collection has already, byte for byte, is not encoded
//! again, so a run that was killed goes on where it was.

mod captions;
mod source;

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use rayon::prelude::*;

use crate::collection::{Collection, Prepared};
use crate::encoder::content_hash;
use crate::error::{Error, Result};
use crate::item::Item;
use source::Found;

/// How pictures are ingested.
#[derive(Clone, Debug)]
pub struct IngestOptions {
    /// Pictures that are encoded and written together, 1 to 1024.
    pub batch: usize,
    /// A TSV of file names and captions. Unset: `captions.tsv` at the top of a source, when there is one.
    pub captions: Option<PathBuf>,
}

impl Default for IngestOptions {
    fn default() -> Self {
        IngestOptions { batch: 32, captions: None }
    }
}

/// What happens during a run, in order.
#[derive(Debug)]
pub enum IngestEvent<'a> {
    /// All sources were listed.
    Found {
        /// Pictures to look at.
        items: usize,
    },
    /// A batch is durable.
    Written {
        /// The keys that it wrote.
        keys: &'a [String],
        /// Its place in the collection's history.
        sequence: u64,
    },
    /// Pictures that the collection has already.
    Unchanged {
        /// How many.
        items: usize,
    },
    /// A picture was left out.
    Failed(&'a IngestFailure),
}

/// A picture that was left out.
#[derive(Debug)]
pub struct IngestFailure {
    /// The key that it would have had.
    pub key: String,
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub error: Error,
}

/// A finished run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct IngestReport {
    /// Pictures found.
    pub found: usize,
    /// Pictures written.
    pub written: usize,
    /// Pictures that the collection had already.
    pub unchanged: usize,
    /// Pictures left out.
    pub failed: usize,
    /// How long it took.
    pub seconds: f64,
}

/// What became of one file.
enum Looked {
    New(Box<Prepared>, String),
    Unchanged,
    Failed(IngestFailure),
}

impl Collection {
    /// Ingests every picture of `sources` (folders and files). Keys are paths relative to their source, with `/`.
    ///
    /// # Errors
    /// A source that does not exist or holds no picture; the collection's own errors. Files that cannot be read
    /// are no error: they are reported to `on_event`.
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
        // Before anything is listed: a model that cannot be loaded must not look like a hundred bad files.
        self.model("an image")?;
        let found = source::list(sources, options.captions.as_deref())?;
        on_event(IngestEvent::Found { items: found.len() });
        let mut report = IngestReport { found: found.len(), ..IngestReport::default() };
        std::thread::scope(|scope| {
            let (send, batches) = sync_channel(1);
            scope.spawn(|| self.look_at_all(found, options.batch, cancelled, send));
            self.write_all(batches, cancelled, on_event, &mut report)
        })?;
        report.seconds = begun.elapsed().as_secs_f64();
        Ok(report)
    }

    /// Decodes batch after batch until all is done or nobody wants more.
    fn look_at_all(
        &self,
        found: Vec<Found>,
        batch: usize,
        cancelled: &(dyn Fn() -> bool + Sync),
        send: SyncSender<Vec<Looked>>,
    ) {
        for files in found.chunks(batch) {
            let looked = files.par_iter().map(|file| self.look_at(file)).collect();
            if cancelled() || send.send(looked).is_err() {
                return;
            }
        }
    }

    fn look_at(&self, file: &Found) -> Looked {
        let key = file.key.clone();
        match self.look(file) {
            Ok(Some(prepared)) => Looked::New(Box::new(prepared), key),
            Ok(None) => Looked::Unchanged,
            Err(error) => Looked::Failed(IngestFailure { key, path: file.path.clone(), error }),
        }
    }

    fn look(&self, file: &Found) -> Result<Option<Prepared>> {
        let bytes = std::fs::read(&file.path).map_err(|source| Error::File { path: file.path.clone(), source })?;
        let caption = file.caption()?;
        let has = self.get(&file.key)?.is_some_and(|item| {
            item.document.content_hash == Some(content_hash(&bytes)) && item.document.caption == caption
        });
        if has {
            return Ok(None);
        }
        let uri = file.path.to_string_lossy().into_owned();
        self.prepare(Item::image(&file.key, bytes).caption(caption).uri(uri)).map(Some)
    }

    fn write_all(
        &self,
        batches: Receiver<Vec<Looked>>,
        cancelled: &(dyn Fn() -> bool + Sync),
        on_event: &mut dyn FnMut(IngestEvent<'_>),
        report: &mut IngestReport,
    ) -> Result<()> {
        for batch in batches {
            if cancelled() {
                return Err(Error::Cancelled);
            }
            let (mut prepared, mut keys, mut unchanged) = (Vec::new(), Vec::new(), 0);
            for looked in batch {
                match looked {
                    Looked::New(one, key) => {
                        prepared.push(*one);
                        keys.push(key);
                    }
                    Looked::Unchanged => unchanged += 1,
                    Looked::Failed(failure) => {
                        report.failed += 1;
                        on_event(IngestEvent::Failed(&failure));
                    }
                }
            }
            if !prepared.is_empty() {
                let receipt = self.write(prepared, None)?;
                report.written += keys.len();
                on_event(IngestEvent::Written { keys: &keys, sequence: receipt.sequence });
            }
            if unchanged > 0 {
                report.unchanged += unchanged;
                on_event(IngestEvent::Unchanged { items: unchanged });
            }
        }
        if cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}
