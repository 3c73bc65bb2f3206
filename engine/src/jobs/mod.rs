//! Work that outlives a process: ingests and re-indexes that are recorded, watched, paused, and gone on with.
//!
//! A job is a record in the catalog ([`record`]) and, where it needs more than fits one, two files beside it
//! ([`files`]). It runs on the thread that calls [`Database::run_job`]; after each batch it writes down how far it is
//! ([`runner`]). Killed at any instant, it goes on from what is written down: what was durable by then is known again by
//! its request id, so nothing is done twice or left out. [`ingest`] and [`reindex`] are the two kinds; [`generations`]
//! is what a re-index leaves; [`verify`] what it must show before an alias moves.

mod ask;
mod files;
mod generations;
mod ingest;
mod record;
mod reindex;
mod runner;
mod verify;

use std::path::PathBuf;
use std::sync::Arc;

use fromagerie_storage::VectorType;
use serde::{Deserialize, Serialize};

pub use ask::{Ask, ask_job};
pub use generations::Generation;
pub use record::{Job, JobError, JobPhase, JobProgress, JobState};
pub(crate) use runner::Active;
pub use runner::JobRun;
pub use verify::Check;

use crate::database::Database;
use crate::error::{Error, Result};
use crate::ingest::{FetchOptions, IngestOptions, SourceOptions};
use crate::settings::{IndexKind, Thumbnails};
use record::Record;

/// Jobs that ended and are remembered, at most.
const ENDED_JOBS_MAX: usize = 100;

/// What a job reads, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobInput {
    /// Folders, files, and patterns with braces.
    pub sources: Vec<PathBuf>,
    /// How they are read.
    pub source: SourceOptions,
    /// Fetch from private and loopback addresses too.
    pub allow_private_addresses: bool,
    /// Leave out a record whose picture is, byte for byte, that of an earlier one.
    pub skip_duplicates: bool,
    /// The caller vouches that vectors were made by the collection's model.
    pub same_space: bool,
    /// Pictures that are encoded and written together, 1 to 1024.
    pub batch: usize,
}

impl Default for JobInput {
    fn default() -> JobInput {
        JobInput {
            sources: Vec::new(),
            source: SourceOptions::default(),
            allow_private_addresses: false,
            skip_duplicates: false,
            same_space: false,
            batch: 32,
        }
    }
}

impl JobInput {
    fn options(&self) -> IngestOptions {
        let private = self.allow_private_addresses;
        IngestOptions {
            batch: self.batch,
            source: self.source.clone(),
            fetch: FetchOptions { allow_private_addresses: private, ..FetchOptions::default() },
            skip_duplicates: self.skip_duplicates,
            same_space: self.same_space,
            ..IngestOptions::default()
        }
    }

    /// With paths that mean the same whoever goes on with the job, wherever they stand.
    fn absolute(mut self) -> Result<JobInput> {
        let absolute =
            |path: &PathBuf| std::path::absolute(path).map_err(|source| Error::File { path: path.clone(), source });
        self.sources = self.sources.iter().map(absolute).collect::<Result<_>>()?;
        for path in [&mut self.source.image_root, &mut self.source.captions, &mut self.source.keys] {
            *path = path.as_ref().map(absolute).transpose()?;
        }
        Ok(self)
    }
}

/// Sources into a collection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IngestJob {
    /// The collection; made when it is not there.
    pub collection: String,
    /// What is read.
    pub input: JobInput,
    /// For a new collection: keep the encoder's features.
    pub features: bool,
    /// For a new collection: the thumbnails to keep.
    pub thumbnails: Thumbnails,
    /// For a new collection: how the elements of its vectors are kept.
    #[serde(with = "crate::settings::vector_type")]
    pub vector_type: VectorType,
    /// At the end, remove items that the sources do not name.
    pub sync: bool,
}

/// A new generation of what an alias names, beside the old one, verified, and swapped in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReindexJob {
    /// The alias to move; made when it is not there.
    pub alias: String,
    /// What is read. Without sources: the items that the alias names now.
    pub input: JobInput,
    /// The model. `None`: the database's.
    pub bundle: Option<PathBuf>,
    /// How sealed segments are searched.
    pub index: IndexKind,
    /// Keep the encoder's features. `None`: as the generation before.
    pub features: Option<bool>,
    /// The thumbnails to keep. `None`: as the generation before.
    pub thumbnails: Option<Thumbnails>,
    /// Records that may be left out; with more the alias does not move.
    pub failures_max: u64,
    /// Least recall@10 against exact search, over a sample.
    pub recall_min: f32,
    /// Build and verify, and leave the alias where it is.
    pub stay: bool,
}

impl Default for ReindexJob {
    fn default() -> ReindexJob {
        ReindexJob {
            alias: String::new(),
            input: JobInput::default(),
            bundle: None,
            index: IndexKind::default(),
            features: None,
            thumbnails: None,
            failures_max: 0,
            recall_min: 0.9,
            stay: false,
        }
    }
}

/// What a job is to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum JobSpec {
    /// Sources into a collection.
    Ingest(IngestJob),
    /// A new generation of an alias.
    Reindex(ReindexJob),
}

impl JobSpec {
    /// A word for the kind.
    pub fn kind(&self) -> &'static str {
        match self {
            JobSpec::Ingest(_) => "ingest",
            JobSpec::Reindex(_) => "reindex",
        }
    }
}

impl Database {
    /// Records a job, which [`Database::run_job`] then runs.
    ///
    /// # Errors
    /// An argument out of its range; a name that is none; a re-index of a collection that is no alias's.
    pub fn start_job(&self, spec: JobSpec) -> Result<Job> {
        let spec = match spec {
            JobSpec::Ingest(job) => {
                crate::name::check_name("collection", &job.collection)?;
                JobSpec::Ingest(IngestJob { input: job.input.absolute()?, ..job })
            }
            JobSpec::Reindex(job) => JobSpec::Reindex(self.checked_reindex(job)?),
        };
        self.forget_old_jobs()?;
        let record = Record::new(spec);
        files::Files::of(self, &record.id)?.begin()?;
        record.store(self)?;
        Ok(record.job(true))
    }

    /// A job that did not end and is to do just this; [`Database::run_job`] goes on with it.
    pub fn unfinished_job(&self, spec: &JobSpec) -> Result<Option<Job>> {
        let spec = match spec.clone() {
            JobSpec::Ingest(job) => JobSpec::Ingest(IngestJob { input: job.input.absolute()?, ..job }),
            JobSpec::Reindex(job) => JobSpec::Reindex(ReindexJob { input: job.input.absolute()?, ..job }),
        };
        let goes_on = |job: &Job| job.spec == spec && !job.state.is_final() && job.state != JobState::Running;
        Ok(self.jobs()?.into_iter().rev().find(goes_on))
    }

    /// Forgets the oldest of the jobs that ended, when there are many.
    fn forget_old_jobs(&self) -> Result<()> {
        let ended: Vec<Job> = self.jobs()?.into_iter().filter(|job| job.state.is_final()).collect();
        for job in ended.iter().rev().skip(ENDED_JOBS_MAX) {
            self.delete_job(&job.id)?;
        }
        Ok(())
    }

    /// Every job, oldest first.
    pub fn jobs(&self) -> Result<Vec<Job>> {
        let mut jobs = record::ids(self)?.iter().map(|id| self.job(id)).collect::<Result<Vec<_>>>()?;
        jobs.sort_by(|a, b| a.created.cmp(&b.created).then_with(|| a.id.cmp(&b.id)));
        Ok(jobs)
    }

    /// The job with this id, as it is now.
    ///
    /// # Errors
    /// [`Error::UnknownJob`].
    pub fn job(&self, id: &str) -> Result<Job> {
        if let Some(active) = self.active_jobs().lock().get(id) {
            return Ok(active.record.lock().job(true));
        }
        let record = Record::load(self, id)?;
        // Whoever only reads cannot know whether another process runs it.
        Ok(record.job(self.is_read_only()))
    }

    /// Asks a job to stop where it can be gone on with. One that does not run is marked.
    ///
    /// # Errors
    /// [`Error::UnknownJob`]; [`Error::JobEnded`] when there is nothing to pause.
    pub fn pause_job(&self, id: &str) -> Result<Job> {
        self.ask(id, Ask::Pause)
    }

    /// Asks a job to stop for good. What it wrote stays.
    ///
    /// # Errors
    /// [`Error::UnknownJob`]; [`Error::JobEnded`].
    pub fn cancel_job(&self, id: &str) -> Result<Job> {
        self.ask(id, Ask::Cancel)
    }

    /// Forgets a job that does not run, with its report.
    ///
    /// # Errors
    /// [`Error::UnknownJob`]; [`Error::JobRuns`].
    pub fn delete_job(&self, id: &str) -> Result<()> {
        if self.active_jobs().lock().contains_key(id) {
            return Err(Error::JobRuns { id: id.to_owned() });
        }
        Record::load(self, id)?;
        self.store().delete_job(id)?;
        files::Files::of(self, id)?.remove();
        Ok(())
    }

    /// Where the failures of a job are: one JSON object a line, as [`crate::failure_json`] has them.
    pub fn job_failures(&self, id: &str) -> Result<PathBuf> {
        Ok(files::Files::of(self, id)?.failures())
    }

    fn ask(&self, id: &str, ask: Ask) -> Result<Job> {
        let active = self.active_jobs().lock().get(id).cloned();
        if let Some(active) = active {
            active.ask(ask);
            return Ok(active.record.lock().job(true));
        }
        let mut record = Record::load(self, id)?;
        if record.state.is_final() {
            return Err(Error::JobEnded { id: id.to_owned(), state: record.state.name() });
        }
        record.state = ask.state();
        record.store(self)?;
        Ok(record.job(false))
    }

    /// Jobs that were under way when the process that ran them ended.
    pub fn interrupted_jobs(&self) -> Result<Vec<Job>> {
        Ok(self.jobs()?.into_iter().filter(|job| job.state == JobState::Interrupted).collect())
    }
}

/// Jobs that this process runs, by id.
pub(crate) type ActiveJobs = parking_lot::Mutex<std::collections::HashMap<String, Arc<Active>>>;
