//! From what a caller names to records: files listed, recognised, and read one after another.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

#[cfg(feature = "parquet")]
use super::arrow;
use super::expand::expand;
use super::folder::Folder;
use super::format::Format;
use super::jsonl::Jsonl;
use super::npy::Npy;
use super::peeked::Peeked;
use super::pickle::Pickle;
use super::table::Table;
use super::tar::Tar;
use super::{Body, Failure, Found, Place, Records, Source, SourceError, SourceOptions, Stage, Vectors};
use crate::error::{Error, Result};

/// Kinds that a folder may be full of, the likeliest first: beside img2dataset's tars lie Parquet files of what the
/// tars hold, so only files of one kind are taken.
const IN_FOLDERS: [Format; 5] = [Format::Tar, Format::Parquet, Format::Arrow, Format::Npy, Format::Pickle];

/// Where a reader stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// How many files are done.
    pub shard: usize,
    /// Where in the next one; what it counts is the file's own affair.
    pub at: u64,
}

/// A file to be read, or a folder of pictures.
struct Shard {
    path: PathBuf,
    format: Format,
    /// Opened already: folders are walked before anything is read, so that an empty one is told at once.
    opened: Option<Box<dyn Source>>,
    /// What tells whether it is still the same: a digest of the names of a folder's pictures, a file's length and time.
    listed: String,
}

/// Says whether a file's vectors are welcome.
pub(crate) type Accept = Box<dyn Fn(&Vectors) -> Result<()> + Send>;

/// Every record of many files, file by file.
pub(crate) struct Shards {
    list: Vec<Shard>,
    options: SourceOptions,
    accept: Accept,
    shard: usize,
    current: Option<Box<dyn Source>>,
    /// Why the present file could not be opened, until it is told.
    failed: Option<Failure>,
}

impl Shards {
    /// The records of `sources` from `from` on. The first file is opened now.
    ///
    /// # Errors
    /// A source that is not there, or of no known kind, or without anything to read; what ends a run ([`ends_run`]).
    pub(crate) fn open(sources: &[PathBuf], options: &SourceOptions, from: Position, accept: Accept) -> Result<Shards> {
        let mut list = Vec::new();
        for source in sources {
            for path in named(source)? {
                list_source(&path, options, &mut list)?;
            }
        }
        let mut shards =
            Shards { list, options: options.clone(), accept, shard: from.shard, current: None, failed: None };
        shards.open_shard(from.at);
        match shards.failed.take() {
            Some(failure) if ends_run(&failure) => Err(failure.into_error()),
            failed => Ok(Shards { failed, ..shards }),
        }
    }

    /// A digest of what is to be read: the names of files with their lengths and times of change, and the names of the
    /// pictures of folders. A position means the same place only while this stays.
    pub(crate) fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for shard in &self.list {
            hash.update(shard.path.to_string_lossy().as_bytes());
            hash.update([0]);
            hash.update(shard.listed.as_bytes());
        }
        hex::encode(&hash.finalize()[..16])
    }

    /// True when the present file could be opened and holds no vectors.
    pub(crate) fn holds_pictures(&self) -> bool {
        self.current.as_ref().is_some_and(|source| source.vectors().is_none())
    }

    /// What vectors the first file that can be opened holds; `None` for pictures.
    ///
    /// # Errors
    /// None can be opened: what is wrong with the first.
    pub(crate) fn first_vectors(mut self) -> Result<Option<Vectors>> {
        let first = self.failed.take();
        while self.current.is_none() && self.shard < self.list.len() {
            self.shard += 1;
            self.open_shard(0);
        }
        match (self.current, first) {
            (None, Some(failure)) => Err(failure.into_error()),
            (current, _) => Ok(current.and_then(|source| source.vectors())),
        }
    }

    /// `found`, unless it is a vector in a source of pictures, and not welcome.
    fn accepted(&self, found: Found) -> Result<Found, Failure> {
        let Body::Vector(vector) = &found.body else { return Ok(found) };
        match (self.accept)(&Vectors { dim: vector.len(), space: None }) {
            Ok(()) => Ok(found),
            Err(error) => Err(Failure::new(Some(found.key), found.place, Stage::Check, error)),
        }
    }

    fn open_shard(&mut self, from: u64) {
        self.current = None;
        let Some(shard) = self.list.get_mut(self.shard) else { return };
        let opened = match shard.opened.take().filter(|_| from == 0) {
            Some(source) => Ok(source),
            None => open(&shard.path, shard.format, &self.options, from),
        };
        let accepted = opened.and_then(|source| {
            source.vectors().as_ref().map_or(Ok(()), &self.accept)?;
            Ok(source)
        });
        match accepted {
            Ok(source) => self.current = Some(source),
            Err(error) => {
                self.failed = Some(Failure::new(None, Place::whole(&shard.path), Stage::Open, error));
            }
        }
    }
}

impl Records for Shards {
    /// The next record, or why it could not be read; `None` after the last file's last.
    fn next(&mut self) -> Option<Result<Found, Failure>> {
        loop {
            if let Some(failure) = self.failed.take() {
                return Some(Err(failure));
            }
            if let Some(source) = &mut self.current
                && let Some(found) = source.next()
            {
                let announced = source.vectors().is_some();
                return Some(found.and_then(|found| if announced { Ok(found) } else { self.accepted(found) }));
            }
            if self.shard >= self.list.len() {
                return None;
            }
            self.shard += 1;
            self.open_shard(0);
        }
    }

    /// Where the next record is: `open` goes on there.
    fn position(&self) -> Position {
        Position { shard: self.shard, at: self.current.as_ref().map_or(0, |source| source.position()) }
    }

    /// Records still to come, where all files know.
    fn remaining(&self) -> Option<u64> {
        let here = self.current.as_ref().map_or(Some(0), |source| source.remaining())?;
        let later = self.list.iter().skip(self.shard + 1);
        later.map(|shard| shard.opened.as_ref()?.remaining()).sum::<Option<u64>>().map(|later| here + later)
    }
}

/// True for what no later file can mend: the command asks for what cannot be.
pub(crate) fn ends_run(failure: &Failure) -> bool {
    let error = &*failure.error;
    failure.stage == Stage::Open
        && matches!(
            error,
            Error::Source(SourceError::NoColumn { .. }) | Error::WrongDim { .. } | Error::ForeignVectors { .. }
        )
}

fn open(path: &Path, format: Format, options: &SourceOptions, from: u64) -> Result<Box<dyn Source>> {
    Ok(match format {
        Format::Pictures => Box::new(Folder::open(path, options, from)?),
        Format::Tar => Box::new(Tar::open(path, options, from)?),
        Format::Csv => Box::new(Peeked::new(Table::open(path, false, options, from)?)),
        Format::Tsv => Box::new(Peeked::new(Table::open(path, true, options, from)?)),
        Format::Jsonl => Box::new(Peeked::new(Jsonl::open(path, options, from)?)),
        #[cfg(feature = "parquet")]
        Format::Parquet => Box::new(Peeked::new(arrow::Table::parquet(path, options, from)?)),
        #[cfg(feature = "parquet")]
        Format::Arrow => Box::new(Peeked::new(arrow::Table::ipc(path, options, from)?)),
        #[cfg(not(feature = "parquet"))]
        Format::Parquet | Format::Arrow => {
            let what = "Parquet and Arrow files, by this build; build it with the feature \"parquet\"";
            return Err(SourceError::unsupported(what).into());
        }
        Format::Npy => Box::new(Npy::open(path, options, from)?),
        Format::Pickle => Box::new(Pickle::open(path, from)?),
    })
}

/// The paths that `source` names: itself, or what its braces stand for.
fn named(source: &Path) -> Result<Vec<PathBuf>> {
    match source.to_str() {
        Some(text) if text.contains('{') && !source.exists() => {
            Ok(expand(text)?.into_iter().map(PathBuf::from).collect())
        }
        _ => Ok(vec![source.to_owned()]),
    }
}

fn list_source(path: &Path, options: &SourceOptions, list: &mut Vec<Shard>) -> Result<()> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_dir() && !metadata.is_file() {
        // A pipe or a device: there is no end to wait for, and no place to go back to.
        let problem = "it is neither a file nor a folder; write what comes out of it to a file";
        return Err(failed(std::io::Error::new(std::io::ErrorKind::InvalidInput, problem)));
    }
    if metadata.is_dir() && options.format != Some(Format::Pictures) {
        let before = list.len();
        list.extend(shards_in(path, options.format)?);
        if list.len() > before {
            return Ok(());
        }
    }
    let format = match options.format {
        _ if metadata.is_dir() => Format::Pictures,
        Some(format) => format,
        None => Format::of(path)?,
    };
    list.push(match format {
        Format::Pictures => {
            let folder = Folder::open(path, options, 0)?;
            let listed = folder.listed();
            Shard { path: path.to_owned(), format, opened: Some(Box::new(folder)), listed }
        }
        _ => Shard { path: path.to_owned(), format, opened: None, listed: state_of(path) },
    });
    Ok(())
}

/// The files of one kind that lie in `folder`, in the order of their names; none when pictures lie there.
fn shards_in(folder: &Path, format: Option<Format>) -> Result<Vec<Shard>> {
    let failed = |source| Error::File { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_keys = path.to_string_lossy().ends_with(".keys.npy");
        match Format::by_name(&path) {
            Some(found) if !is_keys && path.is_file() => files.push((path, found)),
            _ => {}
        }
    }
    files.sort_by(|(a, _), (b, _)| a.cmp(b));
    let has = |format: &Format| files.iter().any(|(_, found)| found == format);
    let wanted = match format {
        None if has(&Format::Pictures) => None,
        None => IN_FOLDERS.into_iter().find(has),
        given => given,
    };
    let of_wanted = files.into_iter().filter(|(_, found)| Some(*found) == wanted);
    let shard = |(path, format): (PathBuf, _)| Shard { listed: state_of(&path), path, format, opened: None };
    Ok(of_wanted.map(shard).collect())
}

/// A file's length and time of change.
fn state_of(path: &Path) -> String {
    let Ok(metadata) = std::fs::metadata(path) else { return String::new() };
    let changed = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    format!("{} {}", metadata.len(), changed.unwrap_or_default().as_nanos())
}
