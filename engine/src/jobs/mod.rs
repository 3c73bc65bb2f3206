//! Work that outlives a process: ingests and re-indexes that are recorded, watched, paused, and gone on with.
//!
//! A job is what it is to do ([`spec`]) and how far it is ([`record`]), in the catalog ([`kept`]) and, where it needs
//! more than fits one record, in two files beside it ([`files`]). It runs on the thread that calls
//! [`Database::run_job`](crate::Database::run_job); after each batch it writes down how far it is ([`runner`]), and
//! looks whether it is to stop ([`active`], [`ask`]). Killed at any instant, it goes on from what is written down: what
//! was durable by then is known again by its request id, so nothing is done twice or left out. [`ingest`] and
//! [`reindex`] are the two kinds; [`generations`] is what a re-index leaves; [`verify`] what it must show before an
//! alias moves. What others do with jobs is in [`manage`].

pub(crate) mod active;
mod ask;
mod files;
mod generations;
mod ingest;
mod kept;
mod manage;
mod record;
mod reindex;
mod runner;
mod spec;
mod verify;

pub use ask::{Ask, ask_job};
pub use generations::Generation;
pub use record::{Check, Job, JobError, JobPhase, JobProgress, JobState};
pub use runner::JobRun;
pub use spec::{IngestJob, JobInput, JobSpec, ReindexJob};
