//! A record that could not be read: where, at which stage, and why.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// A place in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file or address.
    pub source: String,
    /// Where in it.
    pub spot: Spot,
}

/// Where in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// The file as a whole.
    Whole,
    /// A byte, from 0.
    Offset(u64),
    /// A row, from 0.
    Row(u64),
    /// A line, from 1.
    Line(u64),
}

impl Place {
    /// A file as a whole.
    pub(crate) fn whole(path: &Path) -> Place {
        Place { source: path.to_string_lossy().into_owned(), spot: Spot::Whole }
    }

    pub(crate) fn offset(path: &Path, offset: u64) -> Place {
        Place { spot: Spot::Offset(offset), ..Place::whole(path) }
    }

    pub(crate) fn row(path: &Path, row: u64) -> Place {
        Place { spot: Spot::Row(row), ..Place::whole(path) }
    }

    pub(crate) fn line(path: &Path, line: u64) -> Place {
        Place { spot: Spot::Line(line), ..Place::whole(path) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.spot {
            Spot::Whole => write!(f, "{}", self.source),
            Spot::Offset(offset) => write!(f, "{}, offset {offset}", self.source),
            Spot::Row(row) => write!(f, "{}, row {row}", self.source),
            Spot::Line(line) => write!(f, "{}, line {line}", self.source),
        }
    }
}

/// How far a record came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its file could not be opened, so none of the file's records were seen.
    Open,
    /// It could not be read from its file.
    Read,
    /// It could not be fetched.
    Fetch,
    /// Its picture could not be decoded, or its vector not be used.
    Decode,
    /// It contradicts another record.
    Check,
}

impl Stage {
    /// A word for programs.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Open => "open",
            Stage::Read => "read",
            Stage::Fetch => "fetch",
            Stage::Decode => "decode",
            Stage::Check => "check",
        }
    }
}

/// A record that was left out.
#[derive(Debug)]
pub struct Failure {
    /// The key that it would have had, when it came so far.
    pub key: Option<String>,
    /// Where it stands.
    pub place: Place,
    /// How far it came.
    pub stage: Stage,
    /// Why.
    pub error: Box<Error>,
}

impl Failure {
    pub(crate) fn new(key: Option<String>, place: Place, stage: Stage, error: impl Into<Error>) -> Failure {
        Failure { key, place, stage, error: Box::new(error.into()) }
    }

    pub(crate) fn read(key: Option<String>, place: Place, error: impl Into<Error>) -> Failure {
        Failure::new(key, place, Stage::Read, error)
    }
}

/// What is wrong with a source or a record of it. The place is the [`Failure`]'s to tell.
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
