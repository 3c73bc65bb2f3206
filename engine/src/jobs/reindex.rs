//! The job that builds a new generation of an alias beside the old one, checks it, and moves the alias to it.
//!
//! What is made anew is only what must be: into the same space go the vectors as they are; where features are kept and
//! the new model has the same encoder, its map is applied to those; else pictures are read and encoded again. Sources,
//! when given, are read as by any ingest.

use super::record::JobPhase;
use super::runner::Running;
use super::spec::ReindexJob;
use crate::collection::Collection;
use crate::database::{Database, NewCollection};
use crate::error::{Error, Result};
use crate::ingest::IngestEvent;
use crate::ingest::run::{Begin, Run};
use crate::ingest::stored::{StoredRecords, TakeOver};
use crate::name::check_name;
use crate::settings::{GenerationOf, Settings};

/// How often the old generation is read before it is sealed, and again before it is handed over, when it is written to all
/// the time. What then remains is brought over while writers wait.
const PASSES_MAX: usize = 2;

impl Database {
    /// A re-index that can be begun, with paths that mean the same everywhere.
    pub(super) fn checked_reindex(&self, job: ReindexJob) -> Result<ReindexJob> {
        check_name("alias", &job.alias)?;
        if !(0.0..=1.0).contains(&job.recall_min) {
            let value = job.recall_min.to_string();
            return Err(Error::OutOfRange { name: "recall_min", value, allowed: "0 to 1" });
        }
        match self.named_by(&job.alias) {
            None if self.open_collection(&job.alias).is_ok() => Err(Error::NotAnAlias { name: job.alias }),
            None if job.input.is_empty() => {
                // Says which names there are.
                self.open_collection(&job.alias).map(|_| job)
            }
            _ => {
                let bundle = match &job.bundle {
                    Some(path) => {
                        Some(std::path::absolute(path).map_err(|source| Error::File { path: path.clone(), source })?)
                    }
                    None => None,
                };
                Ok(ReindexJob { input: job.input.absolute()?, bundle, ..job })
            }
        }
    }
}

impl Running<'_> {
    pub(super) fn reindex(&self, job: &ReindexJob, on_event: &mut dyn FnMut(IngestEvent<'_>)) -> Result<()> {
        let new = self.generation(job)?;
        let old = new.settings().generation.as_ref().and_then(|of| of.replaces.clone());
        let old = old.map(|name| self.db.open_collection(&name)).transpose()?;
        if self.phase() <= JobPhase::Build {
            match &old {
                Some(old) if job.input.is_empty() => drop(self.copy(old, &new, job, on_event)?),
                _ => drop(self.read_sources(&new, &job.input, true, on_event)?),
            }
            self.enter(JobPhase::Seal)?;
        }
        if self.phase() == JobPhase::Seal {
            on_event(IngestEvent::Sealing);
            new.seal()?;
            self.enter(JobPhase::Verify)?;
        }
        if self.phase() == JobPhase::Verify {
            let checks = self.verify(&new, job)?;
            let failed = checks.iter().find(|check| !check.passed).cloned();
            self.change(|record| record.checks = checks)?;
            if let Some(check) = failed {
                // Run again, it looks again.
                return Err(Error::GenerationRefused {
                    collection: new.name().to_owned(),
                    check: check.name,
                    found: check.found,
                });
            }
            self.enter(JobPhase::Swap)?;
        }
        if self.phase() == JobPhase::Swap && !job.stay {
            self.swap(old.as_ref(), &new, job, on_event)?;
        }
        Ok(())
    }

    /// Moves the alias, unless it has moved: from then on what is written to it is the new generation's alone.
    fn swap(
        &self,
        old: Option<&Collection>,
        new: &Collection,
        job: &ReindexJob,
        on_event: &mut dyn FnMut(IngestEvent<'_>),
    ) -> Result<()> {
        let now = self.db.named_by(&job.alias);
        if now.as_deref() == Some(new.name()) {
            return Ok(());
        }
        if now.as_deref() != old.map(Collection::name) {
            let now = now.unwrap_or_else(|| "nothing".to_owned());
            let found = format!("it names {now} now, which this job does not replace: it stays where it is");
            return Err(refused(new, "alias", found));
        }
        let Some(old) = old.filter(|_| job.input.is_empty()) else { return self.db.set_alias(&job.alias, new.name()) };
        // What was written while it was verified; and then, while writers wait, what was written since.
        let looked = self.copy(old, new, job, on_event)?;
        old.stored().hand_over(|| {
            if old.stored().snapshot().sequence() != looked {
                // Unheard: who writes to the old one when told of something would wait for itself.
                self.pass(old, new, job, &mut |_| {})?;
            }
            let failed = self.active.record.lock().report.failed as u64;
            if failed > job.failures_max {
                let found =
                    format!("{failed} left out (at most {} may be) of what was written meanwhile", job.failures_max);
                return Err(refused(new, "counts", found));
            }
            self.db.set_alias(&job.alias, new.name())
        })
    }

    /// The new generation: made once, and known by the record from then on.
    fn generation(&self, job: &ReindexJob) -> Result<Collection> {
        let named = self.active.record.lock().collection.clone();
        if !named.is_empty() {
            match self.db.open_collection(&named) {
                Err(Error::UnknownCollection { .. }) => {}
                other => return other,
            }
        }
        let replaces = self.db.named_by(&job.alias);
        let old = replaces.as_ref().map(|name| self.db.open_collection(name)).transpose()?;
        let last = self.db.generations_of(&job.alias)?.iter().filter_map(|g| g.number).max().unwrap_or(0);
        let (number, unused) = self.db.next_generation(&job.alias, last)?;
        let name = if named.is_empty() { unused } else { named };
        check_name("collection", &name)?;
        let vectors_only = old.as_ref().filter(|old| old.space().is_none() && job.input.is_empty());
        let new = NewCollection {
            dim: vectors_only.map(|old| old.dim()),
            vectors_only: vectors_only.is_some(),
            index: job.index,
            vector_type: old.as_ref().map(Collection::vector_type).unwrap_or_default(),
            queries_kept: old.as_ref().map(|old| old.settings().queries_kept),
            features: job.features.unwrap_or(old.as_ref().is_some_and(|old| old.feature_dim() > 0)),
            thumbnails: job.thumbnails.unwrap_or(old.as_ref().map(Collection::thumbnails).unwrap_or_default()),
        };
        let new = match crate::ingest::source_vectors(&job.input.sources, &job.input.source) {
            Ok(Some(vectors)) if vectors.space.is_none() && !job.input.same_space => {
                NewCollection { dim: Some(vectors.dim), vectors_only: true, ..new }
            }
            _ => new,
        };
        self.change(|record| record.collection = name.clone())?;
        let generation = Some(GenerationOf { alias: job.alias.clone(), number, replaces });
        self.db.create_with(&name, new, Settings { generation, bundle: job.bundle.clone(), ..Settings::default() })
    }

    /// Brings `new` to what `old` has, and again as long as `old` is written to meanwhile. The place in its history up to which
    /// that is so.
    fn copy(
        &self,
        old: &Collection,
        new: &Collection,
        job: &ReindexJob,
        on_event: &mut dyn FnMut(IngestEvent<'_>),
    ) -> Result<u64> {
        let mut looked = self.pass(old, new, job, on_event)?;
        for _ in 1..PASSES_MAX {
            if old.stored().snapshot().sequence() == looked {
                break;
            }
            looked = self.pass(old, new, job, on_event)?;
        }
        Ok(looked)
    }

    /// Brings `new` to what `old` has at this moment.
    fn pass(
        &self,
        old: &Collection,
        new: &Collection,
        job: &ReindexJob,
        on_event: &mut dyn FnMut(IngestEvent<'_>),
    ) -> Result<u64> {
        let take = take_over(old, new);
        if take == TakeOver::Pictures {
            new.model("an image")?;
        }
        let records = StoredRecords::new(old, new, take);
        let sequence = records.sequence();
        // The order of a collection's items does not outlive a seal: each pass begins at its beginning.
        self.change(super::record::Record::rewind)?;
        let options = job.input.options();
        let run = Run { collection: new, options: &options, begin: Begin::default(), id: None };
        let ended = self.recorded(false, on_event, |on_event, on_reached| {
            run.over(records, &|| self.is_asked_to_stop(), on_event, on_reached)
        })?;
        let removed = new.remove_others(&ended.seen)?;
        self.change(|record| record.removed += removed)?;
        Ok(sequence)
    }
}

fn refused(new: &Collection, check: &str, found: String) -> Error {
    Error::GenerationRefused { collection: new.name().to_owned(), check: check.to_owned(), found }
}

/// What of `old` is good for `new`.
fn take_over(old: &Collection, new: &Collection) -> TakeOver {
    if old.space() == new.space() {
        return TakeOver::Vectors;
    }
    let encoder = new.model("an image").ok().and_then(|loaded| loaded.model.encoder_fingerprint());
    if old.feature_dim() > 0 && old.encoder().is_some() && old.encoder() == encoder {
        TakeOver::Features
    } else {
        TakeOver::Pictures
    }
}
