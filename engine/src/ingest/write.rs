//! The last step of a run, one batch after another: what repeats is told apart, what is new is written.

use super::look::Looked;
use super::report::{IngestEvent, IngestReport};
use super::seen::Seen;
use super::source::{Failure, Place, SourceError, Stage, ends_run};
use crate::collection::{Collection, Prepared};
use crate::error::Result;

/// Writes a run's batches, and counts.
pub(super) struct Writer<'a> {
    pub(super) collection: &'a Collection,
    pub(super) skip_duplicates: bool,
    pub(super) on_event: &'a mut dyn FnMut(IngestEvent<'_>),
    pub(super) report: IngestReport,
    pub(super) seen: Seen,
}

impl Writer<'_> {
    /// Writes one batch, durably.
    ///
    /// # Errors
    /// What is no single record's fault.
    pub(super) fn write(&mut self, batch: Vec<Looked>) -> Result<()> {
        let (mut prepared, mut keys, mut unchanged) = (Vec::new(), Vec::new(), 0);
        self.report.found += batch.len();
        for looked in batch {
            match looked {
                Looked::New { key, hash, place, prepared: one } => {
                    if self.is_wanted(&key, hash, place) {
                        prepared.push(*one);
                        keys.push(key);
                    }
                }
                Looked::Unchanged { key, hash, place } => unchanged += usize::from(self.is_wanted(&key, hash, place)),
                Looked::Failed(failure) if ends_run(&failure) => return Err(*failure.error),
                Looked::Failed(failure) => self.fail(&failure),
                Looked::Fatal(error) => return Err(error),
            }
        }
        self.put(prepared, &keys)?;
        if unchanged > 0 {
            self.report.unchanged += unchanged;
            (self.on_event)(IngestEvent::Unchanged { items: unchanged });
        }
        Ok(())
    }

    fn put(&mut self, prepared: Vec<Prepared>, keys: &[String]) -> Result<()> {
        if prepared.is_empty() {
            return Ok(());
        }
        let receipt = self.collection.write(prepared, None)?;
        self.report.written += keys.len();
        (self.on_event)(IngestEvent::Written { keys, sequence: receipt.sequence });
        Ok(())
    }

    /// Whether a record that could be used is to be kept, after its key and its picture are compared with the others.
    fn is_wanted(&mut self, key: &str, hash: Option<[u8; 32]>, place: Place) -> bool {
        if !self.seen.is_new_key(key) {
            let error = SourceError::RepeatedKey { key: key.to_owned() };
            self.fail(&Failure::new(Some(key.to_owned()), place, Stage::Check, error));
            return false;
        }
        if hash.is_none_or(|hash| self.seen.is_new_picture(hash)) {
            return true;
        }
        let skipped = self.skip_duplicates;
        self.report.duplicates += 1;
        self.report.skipped += usize::from(skipped);
        (self.on_event)(IngestEvent::Duplicate { key, skipped });
        !skipped
    }

    fn fail(&mut self, failure: &Failure) {
        self.report.failed += 1;
        (self.on_event)(IngestEvent::Failed(failure));
    }
}
