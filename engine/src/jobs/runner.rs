//! A job that runs: what it was asked, how far it is, and when that is written down.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::active::Active;
use super::files::{Files, Opened};
use super::record::{Job, JobError, JobPhase, JobState, Record};
use super::spec::JobSpec;
use super::{ask, kept};
use crate::database::Database;
use crate::error::{Error, Result};
use crate::ingest::run::{Ended, OnEvent, OnReached, Reached};
use crate::ingest::seen::Seen;
use crate::ingest::{Failure, IngestEvent, failure_json};

/// How often a job writes down how far it is. What comes after is known again by its request ids.
const WRITE_EVERY: Duration = Duration::from_millis(500);
/// Places that are kept to be read again, at most.
const SAMPLES_MAX: usize = 8;

/// What a running job works with.
pub(super) struct Running<'a> {
    pub(super) db: &'a Database,
    pub(super) active: Arc<Active>,
    pub(super) files: &'a Files,
}

impl Running<'_> {
    /// Whether to stop.
    pub(super) fn is_asked_to_stop(&self) -> bool {
        self.active.is_asked_to_stop(self.db.directory())
    }

    /// Changes the record, and writes it down.
    pub(super) fn change(&self, change: impl FnOnce(&mut Record)) -> Result<()> {
        let mut record = self.active.record.lock();
        change(&mut record);
        kept::store(self.db, &record)
    }

    pub(super) fn enter(&self, phase: JobPhase) -> Result<()> {
        self.change(|record| record.phase = phase)
    }

    pub(super) fn phase(&self) -> JobPhase {
        self.active.record.lock().phase
    }

    /// Does `run`, and writes down what it tells and how far it gets, now and then and at its end.
    pub(super) fn recorded(
        &self,
        keeps_samples: bool,
        on_event: &mut dyn FnMut(IngestEvent<'_>),
        run: impl FnOnce(&mut OnEvent<'_>, &mut OnReached<'_>) -> Result<Ended>,
    ) -> Result<Ended> {
        let ledger = RefCell::new(Ledger::new(self, keeps_samples)?);
        let ended = run(
            &mut |event| {
                ledger.borrow_mut().event(&event);
                on_event(event);
            },
            &mut |reached| ledger.borrow_mut().reached(reached),
        );
        ledger.into_inner().write()?;
        ended
    }
}

/// Writes down how far a run is, now and then.
struct Ledger<'a> {
    running: &'a Running<'a>,
    opened: Opened,
    seen: Vec<u8>,
    failures: Vec<u8>,
    written: Instant,
    begun: Instant,
    found_before: usize,
    /// For the places that are kept: batches so far.
    batches: u64,
    keeps_samples: bool,
}

impl<'a> Ledger<'a> {
    fn new(running: &'a Running<'a>, keeps_samples: bool) -> Result<Ledger<'a>> {
        let (id, failures_bytes, found_before) = {
            let record = running.active.record.lock();
            (record.id.clone(), record.failures_bytes, record.report.found)
        };
        // It was whole when the job began.
        let changed = || format!("{} was changed while the job began; run it again", running.files.seen().display());
        let met = met_before(running).ok_or_else(|| Error::BadJob { id, problem: changed() })?;
        let opened = running.files.open(&met, failures_bytes)?;
        let now = Instant::now();
        Ok(Ledger {
            running,
            opened,
            seen: Vec::new(),
            failures: Vec::new(),
            written: now,
            begun: now,
            found_before,
            batches: 0,
            keeps_samples,
        })
    }

    /// Takes note of what the run tells.
    fn event(&mut self, event: &IngestEvent<'_>) {
        match event {
            IngestEvent::Found { items } => {
                let mut record = self.running.active.record.lock();
                record.items = items.map(|items| items + record.report.found as u64);
            }
            IngestEvent::Failed(failure) => self.add_failure(failure),
            _ => {}
        }
    }

    fn add_failure(&mut self, failure: &Failure) {
        self.failures.extend(failure_json(failure).to_string().bytes());
        self.failures.push(b'\n');
    }

    /// Takes note of where the run is, and writes it down when that was not done lately.
    fn reached(&mut self, reached: Reached<'_>) -> Result<()> {
        self.seen.extend(reached.seen.take_new());
        self.batches += 1;
        {
            let mut record = self.running.active.record.lock();
            if self.keeps_samples {
                let begin = record.at;
                keep_sample(&mut record.samples, begin, self.batches);
            }
            record.at = reached.at;
            record.report = *reached.report;
            let done = (reached.report.found - self.found_before) as f64;
            record.rate = done / self.begun.elapsed().as_secs_f64().max(1e-9);
        }
        if self.written.elapsed() >= WRITE_EVERY { self.write() } else { Ok(()) }
    }

    /// Writes it down: the files first, so that the record never speaks of more than there is.
    pub(super) fn write(&mut self) -> Result<()> {
        let failed = |source: io::Error| Error::File { path: self.running.files.seen(), source };
        let seen_sha256 = self.opened.add(&self.seen, &self.failures).map_err(failed)?;
        let (seen, failures) = (self.seen.len() as u64, self.failures.len() as u64);
        self.seen.clear();
        self.failures.clear();
        self.written = Instant::now();
        self.running.change(|record| {
            record.seen_bytes += seen;
            record.seen_sha256 = seen_sha256;
            record.failures_bytes += failures;
        })
    }
}

/// Keeps places that lie apart: as they become many, every second one goes.
fn keep_sample(samples: &mut Vec<crate::ingest::Position>, at: crate::ingest::Position, batches: u64) {
    if samples.len() == SAMPLES_MAX {
        let mut keep = false;
        samples.retain(|_| {
            keep = !keep;
            keep
        });
    }
    let apart = 1u64 << (batches.ilog2().saturating_sub(2));
    if batches.is_multiple_of(apart) {
        samples.push(at);
    }
}

/// What a job met before it stopped; `None` when that is lost, and the job must begin at its beginning.
pub(super) fn seen_before(running: &Running<'_>) -> Option<Seen> {
    met_before(running).map(|entries| Seen::from_entries(&entries))
}

fn met_before(running: &Running<'_>) -> Option<Vec<u8>> {
    let (bytes, sha256) = {
        let record = running.active.record.lock();
        (record.seen_bytes, record.seen_sha256.clone())
    };
    running.files.read_seen(bytes, &sha256)
}

/// A job that is this process's to run; until it is dropped, nobody else can.
pub struct JobRun {
    db: Database,
    active: Arc<Active>,
    files: Files,
    id: String,
    spec: JobSpec,
}

impl Database {
    /// Takes a job to run it. One that was paused, interrupted or failed goes on where it was.
    ///
    /// # Errors
    /// [`Error::UnknownJob`]; [`Error::JobRuns`] when this process runs it already; [`Error::JobEnded`].
    pub fn claim_job(&self, id: &str) -> Result<JobRun> {
        let mut jobs = self.active_jobs().lock();
        if jobs.contains_key(id) {
            return Err(Error::JobRuns { id: id.to_owned() });
        }
        let mut record = kept::load(self, id)?;
        if record.state.is_final() {
            return Err(Error::JobEnded { id: id.to_owned(), state: record.state.name() });
        }
        record.state = JobState::Running;
        record.error = None;
        // A wish of yesterday is not one of today.
        let _ = ask::take(self.directory(), id);
        let files = Files::of(self.directory(), id)?;
        let held = files.hold();
        kept::store(self, &record)?;
        let spec = record.spec.clone();
        let active = Arc::new(Active::new(record, held));
        jobs.insert(id.to_owned(), active.clone());
        Ok(JobRun { db: self.clone(), active, files, id: id.to_owned(), spec })
    }

    /// [`Database::claim_job`], and [`JobRun::run`].
    pub fn run_job(&self, id: &str, on_event: &mut dyn FnMut(IngestEvent<'_>)) -> Result<Job> {
        self.claim_job(id)?.run(on_event)
    }
}

impl JobRun {
    /// Runs the job to its end, or until it is asked to pause or to cancel.
    ///
    /// # Errors
    /// What ended the job, which is then recorded as failed.
    pub fn run(self, on_event: &mut dyn FnMut(IngestEvent<'_>)) -> Result<Job> {
        let running = Running { db: &self.db, active: self.active.clone(), files: &self.files };
        let done = match &self.spec {
            JobSpec::Ingest(job) => running.ingest(job, on_event),
            JobSpec::Reindex(job) => running.reindex(job, on_event),
        };
        running.end(done)
    }
}

impl Drop for JobRun {
    fn drop(&mut self) {
        self.db.active_jobs().lock().remove(&self.id);
    }
}

impl Running<'_> {
    /// Writes down how it ended.
    fn end(&self, done: Result<()>) -> Result<Job> {
        let asked = self.active.asked();
        let state = match (&done, asked) {
            (Ok(()), _) => JobState::Succeeded,
            (Err(Error::Cancelled), Some(ask)) => ask.state(),
            (Err(_), _) => JobState::Failed,
        };
        let error = match &done {
            Err(error) if state == JobState::Failed => {
                Some(JobError { reason: error.reason().to_owned(), message: error.to_string() })
            }
            _ => None,
        };
        self.change(|record| {
            record.state = state;
            record.error = error;
            if state == JobState::Succeeded {
                record.phase = JobPhase::Done;
            }
        })?;
        if state.is_final() {
            self.files.finish();
        }
        match done {
            Err(error) if state == JobState::Failed => Err(error),
            _ => Ok(self.active.record.lock().job(true)),
        }
    }
}
