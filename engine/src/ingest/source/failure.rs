//! A record that could not be read: where, at which stage, and why.

use std::fmt;
use std::path::Path;

use super::SourceError;
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

    /// The error alone, which names its place.
    pub(crate) fn into_error(self) -> Error {
        match *self.error {
            // These do already.
            error @ (Error::File { .. }
            | Error::Source(SourceError::NoColumn { .. } | SourceError::UnknownFormat { .. })) => error,
            error => Error::InSource { place: self.place.to_string(), error: Box::new(error) },
        }
    }

    /// Whether nobody can say now which records there are: the file could not be opened or ends early, or this record's own
    /// key could not be read.
    pub fn hides_records(&self) -> bool {
        let ends_early = matches!(*self.error, Error::Source(SourceError::Truncated { .. }));
        self.key.is_none() || self.stage == Stage::Open || ends_early
    }
}
