//! Fromagerie: an embedded image-retrieval database that understands dialogue.
//!
//! A [`Database`] is a directory. A [`Collection`] in it holds items: a key, a picture or a vector, and what is
//! known of it. [`Collection::search`] answers words, pictures, vectors or whole conversations;
//! [`Database::chat`] holds a conversation in which the model itself decides where a picture belongs.
//!
//! ```no_run
//! use fromagerie::{Database, Item};
//!
//! let db = Database::open("./cellar")?;
//! let photos = db.collection("photos")?;
//! photos.insert(Item::file("cat.jpg").caption("our cat"))?;
//! for hit in photos.search("a cat asleep", 10)? {
//!     println!("{:.3}  {}", hit.score, hit.key);
//! }
//! # Ok::<(), fromagerie::Error>(())
//! ```
//!
//! Where to read on: a query enters at [`Collection::search`], passes `retrieve`, and ends in the mapped bytes of
//! `fromagerie-storage`; a write enters at [`Collection::insert`] or [`Collection::ingest`]; a conversation at
//! [`Database::chat`], whose loop is `dialogue::reply`.

mod bounds;
mod care;
mod collection;
mod database;
pub mod dialogue;
#[cfg(feature = "parquet")]
mod embed;
mod encoder;
mod error;
mod error_kind;
pub mod fuzzing;
mod graph;
mod ingest;
mod item;
mod jobs;
mod list;
mod model;
mod model_slot;
mod name;
mod patience;
mod prepare;
mod query;
mod retrieve;
mod settings;
mod update;
mod usage;
mod vector;
mod verify;

pub use collection::{Collection, Upserted};
pub use database::{Database, NewCollection};
#[cfg(feature = "parquet")]
pub use embed::{EmbedOptions, embed};
pub use error::{Error, ErrorKind, Result};
pub use fromagerie_index::{InstructionSet, KernelChoice, kernel_choice};
pub use fromagerie_models::{BatchOptions, BatchStats, Device, Manifest, Model, Runtime, RuntimeOptions};
pub use fromagerie_storage::{
    CatalogRepair, CollectionStats, CompactReport, CopyReport, Damage, LostBatches, LostRows, Progress, Receipt,
    RepairReport, StoreOptions, VectorType, VerifyReport as ReadReport, Watch,
};
pub use ingest::{
    Columns, Failure, FailureLog, FetchError, FetchOptions, Format, IngestEvent, IngestOptions, IngestReport, Place,
    Position, SourceError, SourceOptions, Spot, Stage, Vectors, failure_json, folder_pictures, source_vectors,
};
pub use item::{Content, Document, Item, StoredItem};
pub use jobs::{
    Ask, Check, Generation, IngestJob, Job, JobError, JobInput, JobPhase, JobProgress, JobRun, JobSpec, JobState,
    ReindexJob, ask_job,
};
pub use model::LoadedModel;
pub use model_slot::{BUNDLE_VARIABLE, Options, load_bundle};
pub use query::{Hit, LIMIT_MAX, Query, Spread, Term};
pub use retrieve::SearchStats;
pub use settings::{IndexKind, Thumbnails};
pub use update::Change;
pub use usage::{RecallEstimate, UsageStats};
pub use verify::{UnfitPart, VerifyReport};
