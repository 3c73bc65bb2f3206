//! Jobs are recorded, told, stopped and forgotten here; [`super::runner`] runs them.

use std::path::PathBuf;

use super::ask::Ask;
use super::files::Files;
use super::kept;
use super::record::{Job, JobState, Record};
use super::spec::{IngestJob, JobSpec, ReindexJob};
use crate::database::Database;
use crate::error::{Error, Result};

/// Jobs that ended and are remembered, at most.
const ENDED_JOBS_MAX: usize = 100;

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
        Files::of(self.directory(), &record.id)?.begin()?;
        kept::store(self, &record)?;
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

    /// Every job, oldest first, but for those whose record cannot be read: [`Database::unreadable_jobs`] has these.
    pub fn jobs(&self) -> Result<Vec<Job>> {
        let mut jobs = self.readable_jobs(&mut Vec::new())?;
        jobs.sort_by(|a, b| a.created.cmp(&b.created).then_with(|| a.id.cmp(&b.id)));
        Ok(jobs)
    }

    /// Ids of jobs whose record another version wrote or something damaged, and why they cannot be read. They stand in nobody's
    /// way, and [`Database::delete_job`] forgets them.
    pub fn unreadable_jobs(&self) -> Result<Vec<(String, Error)>> {
        let mut unreadable = Vec::new();
        self.readable_jobs(&mut unreadable)?;
        Ok(unreadable)
    }

    fn readable_jobs(&self, unreadable: &mut Vec<(String, Error)>) -> Result<Vec<Job>> {
        let mut jobs = Vec::new();
        for id in kept::ids(self)? {
            match self.job(&id) {
                Ok(job) => jobs.push(job),
                // Forgotten meanwhile.
                Err(Error::UnknownJob { .. }) => {}
                Err(error @ Error::BadJob { .. }) => unreadable.push((id, error)),
                Err(error) => return Err(error),
            }
        }
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
        let record = kept::load(self, id)?;
        let runs_elsewhere = self.is_read_only() && Files::of(self.directory(), id)?.is_held();
        Ok(record.job(runs_elsewhere))
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
        // One that cannot be read can be forgotten.
        match kept::load(self, id) {
            Ok(_) | Err(Error::BadJob { .. }) => self.store().delete_job(id)?,
            Err(error) => return Err(error),
        };
        Files::of(self.directory(), id)?.remove();
        Ok(())
    }

    /// Where the failures of a job are: one JSON object a line, as [`crate::failure_json`] has them.
    pub fn job_failures(&self, id: &str) -> Result<PathBuf> {
        Ok(Files::of(self.directory(), id)?.failures())
    }

    fn ask(&self, id: &str, ask: Ask) -> Result<Job> {
        let active = self.active_jobs().lock().get(id).cloned();
        if let Some(active) = active {
            active.ask(ask);
            return Ok(active.record.lock().job(true));
        }
        let mut record = kept::load(self, id)?;
        if record.state.is_final() {
            return Err(Error::JobEnded { id: id.to_owned(), state: record.state.name() });
        }
        record.state = ask.state();
        kept::store(self, &record)?;
        Ok(record.job(false))
    }

    /// Jobs that were under way when the process that ran them ended.
    pub fn interrupted_jobs(&self) -> Result<Vec<Job>> {
        Ok(self.jobs()?.into_iter().filter(|job| job.state == JobState::Interrupted).collect())
    }
}
