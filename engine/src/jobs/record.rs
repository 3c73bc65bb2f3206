//! What is written down of a job, and what of it is told.

use std::hash::{BuildHasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::spec::JobSpec;
use crate::ingest::{IngestReport, Position};

/// How a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Under way, or asked to be.
    Running,
    /// Under way when the process that ran it ended. Nothing is lost; run it again.
    Interrupted,
    /// Stopped where it can be gone on with.
    Paused,
    /// Stopped for good.
    Cancelled,
    /// Done.
    Succeeded,
    /// Ended by an error. It can be run again once that is mended.
    Failed,
}

impl JobState {
    /// A word for programs.
    pub fn name(self) -> &'static str {
        match self {
            JobState::Running => "running",
            JobState::Interrupted => "interrupted",
            JobState::Paused => "paused",
            JobState::Cancelled => "cancelled",
            JobState::Succeeded => "succeeded",
            JobState::Failed => "failed",
        }
    }

    /// True when it cannot be gone on with.
    pub fn is_final(self) -> bool {
        matches!(self, JobState::Cancelled | JobState::Succeeded)
    }
}

/// Where a job is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobPhase {
    /// Records are read and written.
    #[default]
    Build,
    /// What is in memory becomes files.
    Seal,
    /// The new generation is checked.
    Verify,
    /// The alias moves.
    Swap,
    /// All is done.
    Done,
}

impl JobPhase {
    /// A word for programs.
    pub fn name(self) -> &'static str {
        match self {
            JobPhase::Build => "build",
            JobPhase::Seal => "seal",
            JobPhase::Verify => "verify",
            JobPhase::Swap => "swap",
            JobPhase::Done => "done",
        }
    }
}

/// Why a job failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobError {
    /// A word for programs; see [`crate::Error::reason`].
    pub reason: String,
    /// What to tell people.
    pub message: String,
}

/// One thing that a new generation was tried on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// `counts`, `checksums`, `recall` or `encoding`; of a sync, `sync`.
    pub name: String,
    /// Whether it is good enough.
    pub passed: bool,
    /// What was found, for people.
    pub found: String,
}

impl Check {
    pub(super) fn new(name: &str, passed: bool, found: String) -> Check {
        Check { name: name.to_owned(), passed, found }
    }
}

/// How far a job is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct JobProgress {
    /// What came of the records so far.
    pub report: IngestReport,
    /// Records in all, when the sources know.
    pub items: Option<u64>,
    /// Records a second, since it was last begun or gone on with.
    pub rate: f64,
    /// Seconds to the end at that rate, when both are known.
    pub seconds_left: Option<f64>,
}

/// A job as it is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Its name.
    pub id: String,
    /// What it is to do.
    pub spec: JobSpec,
    /// How it stands.
    pub state: JobState,
    /// Where it is.
    pub phase: JobPhase,
    /// How far it is.
    pub progress: JobProgress,
    /// The collection that it writes to.
    pub collection: String,
    /// What a re-index showed before its alias moved; whether a sync knew all that its sources have.
    pub checks: Vec<Check>,
    /// Items that were removed, by a sync or a re-index.
    pub removed: u64,
    /// Why it failed.
    pub error: Option<JobError>,
    /// Seconds since 1970, UTC.
    pub created: u64,
    /// Seconds since 1970, UTC, of the last change.
    pub updated: u64,
}

/// What the catalog keeps of a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(super) id: String,
    pub(super) spec: JobSpec,
    pub(super) state: JobState,
    pub(super) phase: JobPhase,
    pub(super) collection: String,
    /// Everything before this place is durable, was there already, or was reported.
    pub(super) at: Position,
    pub(super) report: IngestReport,
    pub(super) items: Option<u64>,
    /// Bytes of the file of what was met, and of the report, that belong to `at`.
    pub(super) seen_bytes: u64,
    /// Of those bytes, in hex.
    pub(super) seen_sha256: String,
    pub(super) failures_bytes: u64,
    /// Of the list of sources that `at` is a place in.
    pub(super) fingerprint: String,
    /// Places to read again for a check.
    pub(super) samples: Vec<Position>,
    pub(super) checks: Vec<Check>,
    pub(super) removed: u64,
    pub(super) error: Option<JobError>,
    pub(super) created: u64,
    pub(super) updated: u64,
    /// Records a second, told and not kept.
    #[serde(skip)]
    pub(super) rate: f64,
}

impl Record {
    pub(super) fn new(spec: JobSpec) -> Record {
        let now = unix_seconds();
        let number = RandomState::new().hash_one(now) & 0xFF_FFFF;
        let collection = match &spec {
            JobSpec::Ingest(job) => job.collection.clone(),
            JobSpec::Reindex(_) => String::new(),
        };
        Record {
            id: format!("{}-{now}-{number:06x}", spec.kind()),
            spec,
            state: JobState::Running,
            phase: JobPhase::Build,
            collection,
            at: Position::default(),
            report: IngestReport::default(),
            items: None,
            seen_bytes: 0,
            seen_sha256: String::new(),
            failures_bytes: 0,
            fingerprint: String::new(),
            samples: Vec::new(),
            checks: Vec::new(),
            removed: 0,
            error: None,
            created: now,
            updated: now,
            rate: 0.0,
        }
    }

    /// Forgets how far it was, so that it begins at its beginning.
    pub(super) fn rewind(&mut self) {
        self.at = Position::default();
        self.report = IngestReport::default();
        (self.seen_bytes, self.failures_bytes) = (0, 0);
        self.seen_sha256.clear();
        self.samples.clear();
    }

    pub(super) fn job(&self, runs: bool) -> Job {
        let left = self.items.map(|items| items.saturating_sub(self.report.found as u64));
        let seconds_left = left.filter(|_| self.rate > 0.0).map(|left| left as f64 / self.rate);
        Job {
            id: self.id.clone(),
            spec: self.spec.clone(),
            state: if self.state == JobState::Running && !runs { JobState::Interrupted } else { self.state },
            phase: self.phase,
            progress: JobProgress { report: self.report, items: self.items, rate: self.rate, seconds_left },
            collection: self.collection.clone(),
            checks: self.checks.clone(),
            removed: self.removed,
            error: self.error.clone(),
            created: self.created,
            updated: self.updated,
        }
    }
}

pub(super) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
