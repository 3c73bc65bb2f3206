//! Everything that can go wrong in the engine, with values rather than sentences.
//!
//! [`Error::kind`] says whose fault it is, and becomes a gRPC status or an exit code in exactly one place each;
//! [`Error::reason`] is the stable word that programs match on.

use std::path::PathBuf;

use fromagerie_index::SearchError;
use fromagerie_index::frozen::GraphError;
use fromagerie_models::{BundleError, ImageError, LibraryError, ModelError};
use fromagerie_storage::StorageError;

use crate::ingest::fetch::error::FetchError;
use crate::ingest::source::error::SourceError;

/// What the engine's operations return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An operation that did not happen. Nothing is half done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A search of a batch, counted from 0; none of the batch is answered.
    #[error("search {number} of the batch: {error}")]
    InBatch {
        /// Which one.
        number: usize,
        /// What is wrong with it.
        error: Box<Error>,
    },
    /// A file that a run cannot go on with, or cannot begin with.
    #[error("{place}: {error}")]
    InSource {
        /// The file.
        place: String,
        /// What is wrong with it.
        error: Box<Error>,
    },
    /// The bytes below: a lock, a damaged file, a full disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The model: a bundle, the runtime, a picture that cannot be read.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Bytes that are not a picture that can be used.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The index refused a search that the engine had checked.
    #[error(transparent)]
    Search(SearchError),
    /// A damaged graph. Searches scan instead; only verification reports it.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// No collection or alias has this name.
    #[error("there is no collection {name:?}; {}", known_names(.known))]
    UnknownCollection {
        /// The name asked for.
        name: String,
        /// The names that exist.
        known: Vec<String>,
    },
    /// The collection has no item under this key.
    #[error("collection {collection:?} has no item with key {key:?}")]
    UnknownKey {
        /// The collection that was searched.
        collection: String,
        /// The key asked for.
        key: String,
    },
    /// No session has this name.
    #[error("there is no session {name:?}; create it first")]
    UnknownSession {
        /// The name asked for.
        name: String,
    },
    /// The session's name is taken.
    #[error("session {name:?} exists already")]
    SessionExists {
        /// The name.
        name: String,
    },
    /// Another turn of the same session is under way.
    #[error("session {name:?} is answering another turn; send one turn at a time")]
    SessionBusy {
        /// The session.
        name: String,
    },
    /// A name that could not be told from a path or an option.
    #[error(
        "{what} {name:?} is not a valid name: use 1 to 64 of a-z, A-Z, 0-9, '_', '-' and '.', the first a letter or digit"
    )]
    BadName {
        /// "collection", "alias" or "session".
        what: &'static str,
        /// The name given.
        name: String,
    },
    /// The operation needs a model and none was given.
    #[error("{operation} needs a model: name a bundle with --bundle, FROMAGERIE_BUNDLE or Options::bundle, or put one at {}", .tried.display())]
    NoModel {
        /// What was asked for.
        operation: &'static str,
        /// Where a bundle was looked for last.
        tried: PathBuf,
    },
    /// The loaded model embeds words and pictures, and neither reads nor writes a dialogue.
    #[error(
        "{operation} needs a model that speaks; the loaded bundle {name:?} is a {architecture}, which only searches by words and pictures"
    )]
    OnlySearches {
        /// What was asked for.
        operation: &'static str,
        /// The bundle's name.
        name: String,
        /// Its architecture.
        architecture: String,
    },
    /// The collection's vectors were made by another model than the one that is loaded.
    #[error(
        "collection {collection:?} holds vectors of retrieval space {expected}, and the loaded bundle makes {found}; re-index it with this bundle, or load the bundle that made it"
    )]
    OtherSpace {
        /// The collection.
        collection: String,
        /// Hex fingerprint the collection is bound to.
        expected: String,
        /// Hex fingerprint of the loaded bundle.
        found: String,
    },
    /// The collection is free of any model, so words and pictures mean nothing in it.
    #[error(
        "collection {collection:?} holds vectors of no known model: search and fill it with vectors, not with {what}"
    )]
    VectorsOnly {
        /// The collection.
        collection: String,
        /// "text", "an image", "a dialogue".
        what: &'static str,
    },
    /// A vector of another length than the collection's.
    #[error("a vector has {found} dimensions, and collection {collection:?} has {expected}")]
    WrongDim {
        /// The collection.
        collection: String,
        /// Its dimension.
        expected: usize,
        /// The vector's.
        found: usize,
    },
    /// A vector whose direction is undefined.
    #[error("a vector cannot be used: {problem}")]
    BadVector {
        /// Which value is at fault, and where.
        problem: String,
    },
    /// A query with nothing in it, or whose terms cancel out.
    #[error("the query is empty: {problem}")]
    EmptyQuery {
        /// Why.
        problem: &'static str,
    },
    /// An argument out of its range.
    #[error("{name} is {value}; it must be {allowed}")]
    OutOfRange {
        /// The argument.
        name: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// An item without a key, or that says more than is kept: see `docs/API.md`.
    #[error("item {key:?} cannot be stored: {problem}")]
    BadItem {
        /// The item's key.
        key: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The turn alone is longer than the model's context.
    #[error(
        "the prompt has {tokens} tokens, and the model's context leaves room for {limit}; shorten it, or lower max_tokens"
    )]
    PromptTooLong {
        /// Tokens of the prompt, pictures included.
        tokens: usize,
        /// How many there may be.
        limit: usize,
    },
    /// The caller gave up, or its deadline passed.
    #[error("cancelled")]
    Cancelled,
    /// A file of the caller's could not be read.
    #[error("{}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A source of pictures in which nothing promises to be one.
    #[error("{} holds no pictures: no file in it ends in one of {extensions}", .folder.display())]
    NoPictures {
        /// The folder.
        folder: PathBuf,
        /// The endings looked for.
        extensions: String,
    },
    /// A file of captions that cannot be understood.
    #[error("{}, line {line}: {problem}", .path.display())]
    BadCaptions {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A source of records, or one of them, that cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A picture that could not be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Vectors that are not known to be of the collection's retrieval space.
    #[error(
        "collection {collection:?} holds vectors of retrieval space {expected}, and these are of space {found}; give --same-space if you know that its model made them, or fill another collection"
    )]
    ForeignVectors {
        /// The collection.
        collection: String,
        /// Hex fingerprint the collection is bound to.
        expected: String,
        /// Hex fingerprint that the source states, or "unknown".
        found: String,
    },
    /// What was stored by a version that this one does not know.
    #[error("collection {collection:?} was made by another version: {problem}")]
    OtherVersion {
        /// The collection.
        collection: String,
        /// What is not understood.
        problem: String,
    },
    /// No job has this id.
    #[error("there is no job {id:?}; list them with `fromagerie jobs list`")]
    UnknownJob {
        /// The id asked for.
        id: String,
    },
    /// This process runs the job already.
    #[error("job {id:?} is under way")]
    JobRuns {
        /// The job.
        id: String,
    },
    /// The job ended, so there is nothing to pause, to cancel or to go on with.
    #[error("job {id:?} is over ({state}): there is nothing to pause, to cancel or to go on with; start another")]
    JobEnded {
        /// The job.
        id: String,
        /// How it ended.
        state: &'static str,
    },
    /// A job's record that this version cannot read.
    #[error("job {id:?} cannot be read: {problem}; `fromagerie jobs delete` forgets it")]
    BadJob {
        /// The job.
        id: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A collection where an alias is wanted.
    #[error(
        "{name:?} is a collection, and only what an alias names can be replaced; choose another name for the alias"
    )]
    NotAnAlias {
        /// The name.
        name: String,
    },
    /// Nothing was ever built for an alias of this name.
    #[error("there is no alias {name:?}; {}", known_aliases(.known))]
    UnknownAlias {
        /// The name asked for.
        name: String,
        /// The aliases that exist.
        known: Vec<String>,
    },
    /// An alias without the generation that was asked for.
    #[error("{}; it has {}", no_generation(.alias, .asked.as_deref()), .known.join(", "))]
    NoGeneration {
        /// The alias.
        alias: String,
        /// What was asked for by name; else it is what came before.
        asked: Option<String>,
        /// The generations there are.
        known: Vec<String>,
    },
    /// A new generation that did not pass a check. The alias stays where it is.
    #[error(
        "the new generation {collection:?} did not pass the check of its {check}: {found}; the alias stays where it was"
    )]
    GenerationRefused {
        /// The new generation, which is kept to be looked at.
        collection: String,
        /// The check.
        check: String,
        /// What it found.
        found: String,
    },
    /// Session records that this version cannot read.
    #[error("session {name:?} cannot be read: {problem}; delete it and start another")]
    BadSession {
        /// The session.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// What was named does not exist.
    NotFound,
    /// What was to be made exists.
    AlreadyExists,
    /// The request can never succeed as it is.
    InvalidArgument,
    /// The request does not fit the present state.
    FailedPrecondition,
    /// Somebody else holds what is needed; trying again helps.
    Busy,
    /// A disk, memory or quota is full.
    Exhausted,
    /// The caller cancelled.
    Cancelled,
    /// Stored bytes are damaged.
    DataLoss,
    /// Ours.
    Internal,
}

impl ErrorKind {
    /// True when the caller can mend it.
    pub fn is_users_fault(self) -> bool {
        !matches!(self, ErrorKind::DataLoss | ErrorKind::Internal | ErrorKind::Exhausted)
    }
}

impl From<BundleError> for Error {
    fn from(error: BundleError) -> Error {
        Error::Model(error.into())
    }
}

impl From<LibraryError> for Error {
    fn from(error: LibraryError) -> Error {
        Error::Model(error.into())
    }
}

impl From<SearchError> for Error {
    fn from(error: SearchError) -> Error {
        match error {
            SearchError::Cancelled => Error::Cancelled,
            other => Error::Search(other),
        }
    }
}

fn known_aliases(known: &[String]) -> String {
    if known.is_empty() {
        "there are none yet: a re-index makes one".to_owned()
    } else {
        format!("known: {}", known.join(", "))
    }
}

fn no_generation(alias: &str, asked: Option<&str>) -> String {
    match asked {
        Some(asked) => format!("alias {alias:?} has no generation {asked:?}"),
        None => {
            format!("what came before the generation that alias {alias:?} names is not there: name one to go back to")
        }
    }
}

fn known_names(known: &[String]) -> String {
    if known.is_empty() {
        "there are none yet: create one, or ingest into it".to_owned()
    } else {
        format!("known: {}", known.join(", "))
    }
}
