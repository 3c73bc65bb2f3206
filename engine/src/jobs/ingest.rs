//! The job that reads sources into a collection.

use std::path::PathBuf;

use super::kept;
use super::record::{Check, JobPhase};
use super::runner::{Running, seen_before};
use super::spec::{IngestJob, JobInput};
use crate::collection::Collection;
use crate::database::NewCollection;
use crate::error::{Error, Result};
use crate::ingest::run::{Begin, Ended, Run};
use crate::ingest::seen::Seen;
use crate::ingest::{IngestEvent, source_fingerprint, source_vectors};

/// Items that are removed together.
const REMOVED_BATCH: usize = 1024;

impl Running<'_> {
    pub(super) fn ingest(&self, job: &IngestJob, on_event: &mut dyn FnMut(IngestEvent<'_>)) -> Result<()> {
        let collection = self.target(job)?;
        if self.phase() <= JobPhase::Build {
            let ended = self.read_sources(&collection, &job.input, false, on_event)?;
            if job.sync {
                self.remove_others(&collection, &ended.seen)?;
            }
            self.enter(JobPhase::Seal)?;
        }
        on_event(IngestEvent::Sealing);
        collection.seal()
    }

    /// Removes what the sources do not name, if it is known what they name: a file that was cut off must not take along what
    /// it had, nor one that is empty, as what was not written or not mounted is, everything.
    fn remove_others(&self, collection: &Collection, met: &Seen) -> Result<()> {
        let report = self.active.record.lock().report;
        let (unknown, is_empty) = (report.unknown, report.found == 0);
        let is_known = unknown == 0 && !is_empty;
        let removed = if is_known { collection.remove_others(met)? } else { 0 };
        let hidden = "hides which records the sources have; mend them and run it again";
        let found = match unknown {
            _ if is_empty => "nothing was removed: the sources have no record at all".to_owned(),
            0 => format!("{removed} items removed"),
            1 => format!("nothing was removed: a failure {hidden}"),
            _ => format!("nothing was removed: each of {unknown} failures {hidden}"),
        };
        self.change(|record| {
            record.removed = removed;
            record.checks = vec![Check::new("sync", is_known, found)];
        })
    }

    /// The collection; a new one is in the model's space, or of vectors alone when the sources hold such.
    fn target(&self, job: &IngestJob) -> Result<Collection> {
        match self.db.open_collection(&job.collection) {
            Err(Error::UnknownCollection { .. }) => {}
            other => return other,
        }
        let input = &job.input;
        let new = NewCollection {
            features: job.features,
            thumbnails: job.thumbnails,
            vector_type: job.vector_type,
            ..NewCollection::default()
        };
        let new = match source_vectors(&input.sources, &input.source)? {
            Some(vectors) if !input.same_space && !self.makes(vectors.space) => {
                NewCollection { dim: Some(vectors.dim), vectors_only: true, ..new }
            }
            _ => new,
        };
        self.db.create_collection(&job.collection, new)
    }

    /// Whether the database's model makes vectors of this space.
    fn makes(&self, space: Option<[u8; 32]>) -> bool {
        space.is_some() && self.db.model().ok().map(|loaded| loaded.model.fingerprint()) == space
    }

    /// Reads sources into `collection` from where the record says, which must mean the same place still.
    pub(super) fn read_sources(
        &self,
        collection: &Collection,
        input: &JobInput,
        keeps_samples: bool,
        on_event: &mut dyn FnMut(IngestEvent<'_>),
    ) -> Result<Ended> {
        let fingerprint = source_fingerprint(&input.sources, &input.source)?;
        let begin = self.begin(&fingerprint)?;
        let id = self.active.record.lock().id.clone();
        let run = Run { collection, options: &input.options(), begin, id: Some(&id) };
        self.recorded(keeps_samples, on_event, |on_event, on_reached| {
            run.over_sources(&input.sources, &|| self.is_asked_to_stop(), on_event, on_reached)
        })
    }

    /// Where to begin. Sources that changed since, or files of ours that are gone, make a place meaningless: then all is
    /// read again, and what the collection has is passed over.
    fn begin(&self, fingerprint: &str) -> Result<Begin> {
        let seen = seen_before(self);
        let mut record = self.active.record.lock();
        let seen = match seen {
            Some(seen) if record.fingerprint == fingerprint => seen,
            _ => {
                record.rewind();
                record.fingerprint = fingerprint.to_owned();
                Seen::default()
            }
        };
        kept::store(self.db, &record)?;
        Ok(Begin { from: record.at, report: record.report, seen })
    }
}

impl Collection {
    /// Removes the items whose keys were not met; how many there were.
    pub(crate) fn remove_others(&self, met: &Seen) -> Result<u64> {
        let (snapshot, mut others, mut removed) = (self.stored().snapshot(), Vec::new(), 0);
        for view in snapshot.segments() {
            for row in (0..view.rows()).filter(|row| view.is_live(*row)) {
                let key = view.key(row)?;
                if !met.has_key(key) {
                    others.push(key.to_owned());
                }
                if others.len() == REMOVED_BATCH {
                    removed += u64::from(self.delete(std::mem::take(&mut others), None)?.deleted);
                }
            }
        }
        if !others.is_empty() {
            removed += u64::from(self.delete(others, None)?.deleted);
        }
        Ok(removed)
    }
}

impl JobInput {
    /// True when there is nothing to read but what is stored.
    pub(super) fn is_empty(&self) -> bool {
        self.sources == Vec::<PathBuf>::new()
    }
}
