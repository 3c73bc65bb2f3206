//! The last step of a run, one batch after another: what repeats is told apart, what is new is written.

use sha2::{Digest, Sha256};

use super::look::Looked;
use super::report::{IngestEvent, IngestReport};
use super::seen::Seen;
use super::source::{Failure, Place, Position, SourceError, Stage, ends_run};
use crate::collection::Collection;
use crate::error::Result;
use crate::prepare::Prepared;

/// Writes a run's batches, and counts.
pub(super) struct Writer<'a, 'e> {
    pub(super) collection: &'a Collection,
    pub(super) skip_duplicates: bool,
    /// The run's name, when its batches have request ids.
    pub(super) id: Option<&'a str>,
    pub(super) on_event: &'a mut (dyn FnMut(IngestEvent<'_>) + 'e),
    pub(super) report: IngestReport,
    pub(super) seen: Seen,
}

/// What a batch comes to.
#[derive(Default)]
struct Wanted {
    /// What the collection lacks.
    new: Vec<Prepared>,
    keys: Vec<String>,
    unchanged: usize,
    /// Of the keys and contents of all that is to be in the collection after this batch.
    digest: Sha256,
}

impl Writer<'_, '_> {
    /// Writes the batch that begins at `begin`, durably.
    ///
    /// # Errors
    /// What is no single record's fault.
    pub(super) fn write(&mut self, begin: Position, batch: Vec<Looked>) -> Result<()> {
        let mut wanted = Wanted::default();
        self.report.found += batch.len();
        for looked in batch {
            match looked {
                Looked::New { key, hash, content, place, prepared } => {
                    if self.is_wanted(&key, hash, place) {
                        wanted.digest.update(key.as_bytes());
                        wanted.digest.update(content);
                        wanted.new.push(*prepared);
                        wanted.keys.push(key);
                    }
                }
                Looked::Unchanged { key, hash, content, place } => {
                    if self.is_wanted(&key, hash, place) {
                        wanted.digest.update(key.as_bytes());
                        wanted.digest.update(content);
                        wanted.unchanged += 1;
                    }
                }
                Looked::Failed(failure) if ends_run(&failure) => return Err(failure.into_error()),
                Looked::Failed(failure) => self.fail(&failure),
                Looked::Fatal(error) => return Err(error),
            }
        }
        self.put(begin, wanted)
    }

    fn put(&mut self, begin: Position, wanted: Wanted) -> Result<()> {
        let Wanted { new, keys, mut unchanged, digest } = wanted;
        let digest: [u8; 32] = digest.finalize().into();
        let id = self.id.map(|id| format!("{id}/{}:{}/{}", begin.shard, begin.at, hex::encode(&digest[..8])));
        let before = id.as_ref().and_then(|id| self.collection.stored().receipt(id));
        let written = match before {
            // It was written before the process died, and counts as it did then.
            Some(receipt) => {
                let all = keys.len() + unchanged;
                unchanged = all - all.min(receipt.put as usize);
                all - unchanged
            }
            None => keys.len(),
        };
        let sequence = match before {
            Some(receipt) => receipt.sequence,
            None if new.is_empty() => 0,
            None => self.collection.write(new, id)?.sequence,
        };
        if written > 0 {
            self.report.written += written;
            (self.on_event)(IngestEvent::Written { keys: &keys, sequence });
        }
        if unchanged > 0 {
            self.report.unchanged += unchanged;
            (self.on_event)(IngestEvent::Unchanged { items: unchanged });
        }
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
        self.report.unknown += usize::from(failure.hides_records());
        if let Some(key) = &failure.key {
            self.seen.add_unusable(key);
        }
        (self.on_event)(IngestEvent::Failed(failure));
    }
}
