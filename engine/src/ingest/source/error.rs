//! What can be wrong with a source, in values.

use std::path::PathBuf;

/// What is wrong with a source or a record of it. The place is the [`Failure`](super::Failure)'s to tell.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The file ends before it should.
    #[error("the file ends at byte {len}, inside {what}; {lost}")]
    Truncated {
        /// Bytes there are.
        len: u64,
        /// What was being read.
        what: String,
        /// What that means.
        lost: &'static str,
    },
    /// The file contradicts its format.
    #[error("damaged: {problem}")]
    Damaged {
        /// How.
        problem: String,
    },
    /// A file, or a feature of one, that is not read.
    #[error("not supported: {what}")]
    Unsupported {
        /// What, and what to do.
        what: String,
    },
    /// More than is read.
    #[error("{what} has {bytes} bytes, and at most {limit} are read")]
    TooLarge {
        /// What.
        what: String,
        /// Bytes it says it has.
        bytes: u64,
        /// Bytes it may have.
        limit: u64,
    },
    /// A column that is needed is not there.
    #[error("{} has no {wanted}; its columns are {columns}", .path.display())]
    NoColumn {
        /// The file.
        path: PathBuf,
        /// What was looked for, and the option that names it.
        wanted: String,
        /// Names there are.
        columns: String,
    },
    /// A pickle that would run code.
    #[error(
        "refused: loading this pickle would call {name}, and only lists, texts, numbers and NumPy arrays are read; {remedy}"
    )]
    Refused {
        /// What it would call.
        name: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A record without a picture.
    #[error("there is no picture: {problem}")]
    NoPicture {
        /// Why.
        problem: String,
    },
    /// A path that leads out of the folder that pictures are read from.
    #[error(
        "{path:?} leads out of {}; name a folder that holds all the pictures with --image-root",
        .root.display()
    )]
    OutsideRoot {
        /// The path, as the table has it.
        path: String,
        /// The folder.
        root: PathBuf,
    },
    /// A key that another record of the same run had.
    #[error(
        "another record of this run has the key {key:?}, and the first one is kept; name a column of unique keys with --key-column"
    )]
    RepeatedKey {
        /// The key.
        key: String,
    },
    /// Keys and vectors that do not belong together.
    #[error("there are {keys} keys in {}, and {rows} vectors", .path.display())]
    WrongCount {
        /// Keys there are.
        keys: u64,
        /// Vectors there are.
        rows: u64,
        /// The file of keys.
        path: PathBuf,
    },
    /// A file of no kind that is known.
    #[error("{} is of no kind that is known; say what it is with --format", .path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
}

impl SourceError {
    /// A word for programs.
    pub fn reason(&self) -> &'static str {
        match self {
            SourceError::Truncated { .. } => "TRUNCATED_SOURCE",
            SourceError::Damaged { .. } => "DAMAGED_SOURCE",
            SourceError::Unsupported { .. } => "UNSUPPORTED_SOURCE",
            SourceError::TooLarge { .. } => "SOURCE_TOO_LARGE",
            SourceError::NoColumn { .. } => "NO_COLUMN",
            SourceError::Refused { .. } => "REFUSED_PICKLE",
            SourceError::NoPicture { .. } => "NO_PICTURE",
            SourceError::OutsideRoot { .. } => "OUTSIDE_ROOT",
            SourceError::RepeatedKey { .. } => "REPEATED_KEY",
            SourceError::WrongCount { .. } => "WRONG_COUNT",
            SourceError::UnknownFormat { .. } => "UNKNOWN_FORMAT",
        }
    }

    pub(crate) fn damaged(problem: impl Into<String>) -> SourceError {
        SourceError::Damaged { problem: problem.into() }
    }

    pub(crate) fn unsupported(what: impl Into<String>) -> SourceError {
        SourceError::Unsupported { what: what.into() }
    }

    pub(crate) fn cut_off(len: u64, what: impl Into<String>) -> SourceError {
        SourceError::Truncated { len, what: what.into(), lost: "what comes after is lost; fetch the file again" }
    }
}
