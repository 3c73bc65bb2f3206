//! Whose fault an error is, its stable word, and the values that it speaks of.

use fromagerie_models::{ImageError, ModelError};
use fromagerie_storage::StorageError;

use crate::error::{Error, ErrorKind};

impl Error {
    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        use Error as E;
        match self {
            E::InBatch { error, .. } | E::InSource { error, .. } => error.kind(),
            E::Storage(error) => storage_kind(error),
            E::Model(error) => model_kind(error),
            E::Image(_) => ErrorKind::InvalidArgument,
            E::Search(_) => ErrorKind::Internal,
            E::Graph(_) | E::BadSession { .. } | E::BadJob { .. } => ErrorKind::DataLoss,
            E::UnknownCollection { .. }
            | E::UnknownKey { .. }
            | E::UnknownSession { .. }
            | E::UnknownJob { .. }
            | E::UnknownAlias { .. }
            | E::NoGeneration { .. } => ErrorKind::NotFound,
            E::SessionExists { .. } => ErrorKind::AlreadyExists,
            E::SessionBusy { .. } | E::JobRuns { .. } => ErrorKind::Busy,
            E::NoModel { .. }
            | E::OnlySearches { .. }
            | E::OtherSpace { .. }
            | E::ForeignVectors { .. }
            | E::VectorsOnly { .. }
            | E::JobEnded { .. }
            | E::NotAnAlias { .. }
            | E::GenerationRefused { .. }
            | E::OtherVersion { .. } => ErrorKind::FailedPrecondition,
            E::BadName { .. }
            | E::WrongDim { .. }
            | E::BadVector { .. }
            | E::EmptyQuery { .. }
            | E::OutOfRange { .. }
            | E::BadItem { .. }
            | E::PromptTooLong { .. }
            | E::File { .. }
            | E::NoPictures { .. }
            | E::BadCaptions { .. }
            | E::Source(_)
            | E::Fetch(_) => ErrorKind::InvalidArgument,
            E::Cancelled => ErrorKind::Cancelled,
        }
    }

    /// A word for programs: stable, and the same everywhere.
    pub fn reason(&self) -> &'static str {
        use Error as E;
        match self {
            E::InBatch { error, .. } | E::InSource { error, .. } => error.reason(),
            E::Storage(error) => storage_reason(error),
            E::Model(error) => model_reason(error),
            E::Image(error) => image_reason(error),
            E::Search(_) => "SEARCH_FAILED",
            E::Graph(_) => "DAMAGED",
            E::UnknownCollection { .. } => "UNKNOWN_COLLECTION",
            E::UnknownKey { .. } => "UNKNOWN_KEY",
            E::UnknownSession { .. } => "UNKNOWN_SESSION",
            E::SessionExists { .. } => "SESSION_EXISTS",
            E::SessionBusy { .. } => "SESSION_BUSY",
            E::BadName { .. } => "BAD_NAME",
            E::NoModel { .. } => "NO_MODEL",
            E::OnlySearches { .. } => "ONLY_SEARCHES",
            E::OtherSpace { .. } | E::ForeignVectors { .. } => "OTHER_SPACE",
            E::VectorsOnly { .. } => "VECTORS_ONLY",
            E::OtherVersion { .. } => "OTHER_VERSION",
            E::WrongDim { .. } => "WRONG_DIMENSION",
            E::BadVector { .. } => "BAD_VECTOR",
            E::EmptyQuery { .. } => "EMPTY_QUERY",
            E::OutOfRange { .. } => "OUT_OF_RANGE",
            E::BadItem { .. } => "BAD_ITEM",
            E::PromptTooLong { .. } => "PROMPT_TOO_LONG",
            E::File { .. } => "UNREADABLE_FILE",
            E::NoPictures { .. } => "NO_PICTURES",
            E::BadCaptions { .. } => "BAD_CAPTIONS",
            E::Source(error) => error.reason(),
            E::Fetch(error) => error.reason(),
            E::BadSession { .. } => "BAD_SESSION",
            E::UnknownJob { .. } => "UNKNOWN_JOB",
            E::JobRuns { .. } => "JOB_RUNS",
            E::JobEnded { .. } => "JOB_ENDED",
            E::BadJob { .. } => "BAD_JOB",
            E::NotAnAlias { .. } => "NOT_AN_ALIAS",
            E::UnknownAlias { .. } => "UNKNOWN_ALIAS",
            E::NoGeneration { .. } => "NO_GENERATION",
            E::GenerationRefused { .. } => "GENERATION_REFUSED",
            E::Cancelled => "CANCELLED",
        }
    }

    /// The values that the message speaks of, by name.
    pub fn metadata(&self) -> Vec<(String, String)> {
        use Error as E;
        let and = |error: &E, name: &str, value: String| {
            let mut pairs = error.metadata();
            pairs.push((name.to_owned(), value));
            pairs
        };
        match self {
            E::InBatch { number, error } => return and(error, "search", number.to_string()),
            E::InSource { place, error } => return and(error, "source", place.clone()),
            _ => {}
        }
        let pairs: Vec<(&str, String)> = match self {
            E::UnknownCollection { name, known } => vec![("collection", name.clone()), ("known", known.join(","))],
            E::UnknownAlias { name, known } => vec![("alias", name.clone()), ("known", known.join(","))],
            E::UnknownKey { collection, key } => vec![("collection", collection.clone()), ("key", key.clone())],
            E::UnknownSession { name } | E::SessionExists { name } | E::SessionBusy { name } => {
                vec![("session", name.clone())]
            }
            E::BadName { name, .. } | E::NotAnAlias { name } => vec![("name", name.clone())],
            E::UnknownJob { id } | E::JobRuns { id } | E::JobEnded { id, .. } | E::BadJob { id, .. } => {
                vec![("job", id.clone())]
            }
            E::GenerationRefused { collection, check, .. } => {
                vec![("collection", collection.clone()), ("check", check.clone())]
            }
            E::OtherSpace { expected, found, .. } | E::ForeignVectors { expected, found, .. } => {
                vec![("expected", expected.clone()), ("found", found.clone())]
            }
            E::WrongDim { expected, found, .. } => {
                vec![("expected", expected.to_string()), ("found", found.to_string())]
            }
            E::OutOfRange { name, value, allowed } => {
                vec![("name", (*name).to_owned()), ("value", value.clone()), ("allowed", (*allowed).to_owned())]
            }
            E::PromptTooLong { tokens, limit } => vec![("tokens", tokens.to_string()), ("limit", limit.to_string())],
            E::Storage(StorageError::Damaged(damage)) => {
                vec![("path", damage.path.display().to_string()), ("offset", damage.offset.to_string())]
            }
            _ => Vec::new(),
        };
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

fn storage_kind(error: &StorageError) -> ErrorKind {
    use StorageError as S;
    match error {
        S::NotASnapshot { .. } | S::NoDatabase { .. } | S::UnknownCollection { .. } | S::UnknownAlias { .. } => {
            ErrorKind::NotFound
        }
        S::NameTaken { .. } => ErrorKind::AlreadyExists,
        S::Locked { .. } | S::Repaired { .. } | S::HandedOver { .. } | S::Changed { .. } => ErrorKind::Busy,
        S::DiskFull { .. } | S::NoRoom { .. } => ErrorKind::Exhausted,
        S::Damaged(_) | S::Catalog { .. } | S::Unrepairable { .. } => ErrorKind::DataLoss,
        S::NotADatabase { .. }
        | S::IsAFile { .. }
        | S::ReadOnly { .. }
        | S::IsASnapshot { .. }
        | S::UnsupportedVersion { .. }
        | S::HasAliases { .. }
        | S::Dropped { .. }
        | S::Stopped { .. } => ErrorKind::FailedPrecondition,
        S::BadName { .. }
        | S::BadDestination { .. }
        | S::BadSpec { .. }
        | S::KeyLength { .. }
        | S::WrongDim { .. }
        | S::NonFinite { .. }
        | S::ZeroVector { .. }
        | S::HalfOverflow { .. }
        | S::HalfUnderflow { .. }
        | S::BatchTooLarge { .. }
        | S::RequestIdLength { .. }
        | S::RecordTooLarge { .. } => ErrorKind::InvalidArgument,
        _ => ErrorKind::Internal,
    }
}

fn storage_reason(error: &StorageError) -> &'static str {
    use StorageError as S;
    match error {
        S::NoDatabase { .. } => "NO_DATABASE",
        S::NotADatabase { .. } | S::IsAFile { .. } => "NOT_A_DATABASE",
        S::Locked { .. } => "LOCKED",
        S::ReadOnly { .. } => "READ_ONLY",
        S::Repaired { .. } => "REPAIRED",
        S::Changed { .. } => "CHANGED",
        S::HandedOver { .. } => "HANDED_OVER",
        S::Unrepairable { .. } => "UNREPAIRABLE",
        S::NoRoom { .. } => "NO_ROOM",
        S::BadDestination { .. } => "BAD_DESTINATION",
        S::IsASnapshot { .. } => "IS_A_SNAPSHOT",
        S::NotASnapshot { .. } => "NOT_A_SNAPSHOT",
        S::DiskFull { .. } => "DISK_FULL",
        S::Damaged(_) => "DAMAGED",
        S::UnsupportedVersion { .. } => "OTHER_VERSION",
        S::Catalog { .. } => "DAMAGED_CATALOG",
        S::Poisoned { .. } => "WRITER_POISONED",
        S::UnknownCollection { .. } => "UNKNOWN_COLLECTION",
        S::UnknownAlias { .. } => "UNKNOWN_ALIAS",
        S::NameTaken { .. } => "NAME_TAKEN",
        S::HasAliases { .. } => "HAS_ALIASES",
        S::BadName { .. } => "BAD_NAME",
        S::BadSpec { .. } => "BAD_DIMENSION",
        S::Dropped { .. } => "DROPPED",
        S::Stopped { .. } => "STOPPED",
        S::KeyLength { .. } => "BAD_KEY",
        S::WrongDim { .. } => "WRONG_DIMENSION",
        S::NonFinite { .. } | S::ZeroVector { .. } | S::HalfOverflow { .. } | S::HalfUnderflow { .. } => "BAD_VECTOR",
        S::BatchTooLarge { .. } => "BATCH_TOO_LARGE",
        S::RequestIdLength { .. } => "BAD_REQUEST_ID",
        S::RecordTooLarge { .. } => "RECORD_TOO_LARGE",
        S::Io { .. } => "IO",
        _ => "STORAGE",
    }
}

fn model_kind(error: &ModelError) -> ErrorKind {
    match error {
        // A bundle or a library that is missing or wrong is for whoever started this to mend.
        ModelError::Bundle(_)
        | ModelError::Library(_)
        | ModelError::Tokenizer(_)
        | ModelError::NoRetrievalMap { .. }
        | ModelError::OtherMap => ErrorKind::FailedPrecondition,
        ModelError::ContextFull { .. } => ErrorKind::InvalidArgument,
        _ => ErrorKind::Internal,
    }
}

fn model_reason(error: &ModelError) -> &'static str {
    match error {
        ModelError::Bundle(_) | ModelError::OtherMap => "BAD_BUNDLE",
        ModelError::NoRetrievalMap { .. } => "NO_RETRIEVAL_MAP",
        ModelError::Library(_) => "NO_ONNX_RUNTIME",
        ModelError::Tokenizer(_) => "BAD_TOKENIZER",
        ModelError::ContextFull { .. } => "PROMPT_TOO_LONG",
        ModelError::Degenerate { .. } => "DEGENERATE_EMBEDDING",
        _ => "MODEL_FAILED",
    }
}

fn image_reason(error: &ImageError) -> &'static str {
    match error {
        ImageError::NotAnImage { .. } => "NOT_AN_IMAGE",
        ImageError::Unsupported { .. } => "UNSUPPORTED_IMAGE",
        ImageError::Truncated { .. } => "TRUNCATED_IMAGE",
        ImageError::Damaged { .. } => "DAMAGED_IMAGE",
        ImageError::TooLarge { .. } | ImageError::TooManyBytes { .. } | ImageError::TooMuchMemory { .. } => {
            "IMAGE_TOO_LARGE"
        }
        _ => "BAD_IMAGE",
    }
}
