//! Vectors alone: a matrix in a `.npy` file, and their keys beside it.

mod header;
mod keys;

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::Map;

use super::floats::{Float, matrix};
use super::{Body, Failure, Found, Place, Source, SourceError, SourceOptions, Vectors, numbered};
use crate::error::{Error, Result};
use header::Header;
use keys::Keys;

/// A matrix of vectors. Its position is a number of rows.
pub(super) struct Npy {
    path: PathBuf,
    file: BufReader<File>,
    len: u64,
    float: Float,
    rows: u64,
    dim: u64,
    /// Where the first row begins.
    begin: u64,
    keys: Keys,
    next: u64,
    ended: bool,
}

impl Npy {
    pub(super) fn open(path: &Path, options: &SourceOptions, from: u64) -> Result<Npy> {
        let failed = |source| Error::File { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        let header = Header::read(&mut file)?;
        let float = Float::of(&header.descr)?;
        let (rows, dim) = matrix(&header.shape)?;
        if header.fortran_order && rows > 1 && dim > 1 {
            let what = "an array in Fortran order; write it with numpy.ascontiguousarray";
            return Err(SourceError::unsupported(what).into());
        }
        let next = from.min(rows);
        let keys = Keys::open(path, options.keys.as_deref(), rows, next)?;
        let begin = header.len;
        let row_bytes = dim * float.bytes();
        let start = next.checked_mul(row_bytes).and_then(|at| at.checked_add(begin)).unwrap_or(u64::MAX);
        file.seek(SeekFrom::Start(start.min(len))).map_err(failed)?;
        let file = BufReader::with_capacity(1 << 20, file);
        Ok(Npy { path: path.to_owned(), file, len, float, rows, dim, begin, keys, next, ended: false })
    }

    fn vector(&mut self) -> Result<Vec<f32>, SourceError> {
        let row_bytes = self.dim * self.float.bytes();
        let whole = (self.len - self.begin.min(self.len)) / row_bytes;
        if self.next >= whole {
            self.ended = true;
            let lost = "the rows after this one are lost; fetch the file again";
            return Err(SourceError::Truncated { len: self.len, what: format!("row {whole} of {}", self.rows), lost });
        }
        let mut bytes = vec![0; row_bytes as usize];
        self.file.read_exact(&mut bytes).map_err(|error| {
            self.ended = true;
            SourceError::damaged(format!("it cannot be read on: {error}"))
        })?;
        Ok(self.float.read(&bytes))
    }
}

impl Source for Npy {
    fn next(&mut self) -> Option<Result<Found, Failure>> {
        if self.ended || self.next == self.rows {
            return None;
        }
        let (row, vector) = (self.next, self.vector());
        self.next += 1;
        let place = Place::row(&self.path, row);
        let key = match self.keys.next() {
            None => Ok(numbered(&self.path, row)),
            Some(key) => key,
        };
        let found = vector.and_then(|vector| Ok((key?, vector)));
        Some(found.map_err(|error| Failure::read(None, place.clone(), error)).map(|(key, vector)| Found {
            content_hash: None,
            key,
            body: Body::Vector(vector),
            caption: String::new(),
            uri: String::new(),
            payload: Map::new(),
            place,
        }))
    }

    fn position(&self) -> u64 {
        self.next
    }

    fn remaining(&self) -> Option<u64> {
        Some(self.rows - self.next)
    }

    fn vectors(&self) -> Option<Vectors> {
        Some(Vectors { dim: self.dim as usize, space: None })
    }
}
