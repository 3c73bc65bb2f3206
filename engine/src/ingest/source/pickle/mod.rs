//! FROMAGe's `cc3m_embeddings*.pkl`: a pickled dictionary of `paths` and `embeddings`.
//!
//! A pickle is a program, so this one is not run. [`machine`] knows the opcodes that build lists, tuples, dictionaries,
//! texts and numbers; a name may be called only when [`numpy`] knows what data the call stands for; everything else is
//! refused by its name. Texts and arrays stay in the file, as places ([`value`]), so that a file of gigabytes costs a
//! few dozen bytes a record. Protocols 2 to 5 are read.
//!
//! Source: CPython's `pickletools`, and `load_fromage` of the FROMAGe repository for what the dictionary holds.

mod machine;
mod name;
mod numpy;
mod reader;
mod value;

use std::path::{Path, PathBuf};

use serde_json::Map;

use super::floats::{Float, matrix};
use super::{Body, Failure, Found, Place, Source, SourceError, Vectors};
use crate::error::Result;
use machine::Machine;
use reader::Reader;
use value::{Array, Data, Id, Text, Value, Values};

/// Paths and their embeddings. Its position is a number of rows.
pub(super) struct Pickle {
    path: PathBuf,
    texts: Reader,
    numbers: Reader,
    paths: Vec<Text>,
    rows: Rows,
    dim: u64,
    next: u64,
}

/// Where the embeddings are.
enum Rows {
    /// One array for all.
    Matrix(Float, Data),
    /// One array each.
    Each(Vec<(Float, Data)>),
}

impl Pickle {
    pub(super) fn open(path: &Path, from: u64) -> Result<Pickle> {
        let (values, top, mut texts) = Machine::run(Reader::open(path)?)?;
        let (paths, embeddings) = paths_and_embeddings(&mut texts, &values, top)?;
        let (rows, count, dim) = rows(&values, embeddings)?;
        if count != paths.len() as u64 {
            let problem = format!("it has {} paths and {count} embeddings", paths.len());
            return Err(SourceError::damaged(problem).into());
        }
        let numbers = Reader::open(path)?;
        Ok(Pickle { path: path.to_owned(), texts, numbers, next: from.min(count), paths, rows, dim })
    }

    fn record(&mut self, row: u64) -> Result<(String, Vec<f32>), SourceError> {
        let path = self.texts.text(self.paths[row as usize])?;
        let (float, data, skip) = match &self.rows {
            Rows::Matrix(float, data) => (*float, data, row * self.dim * float.bytes()),
            Rows::Each(rows) => (rows[row as usize].0, &rows[row as usize].1, 0),
        };
        let bytes = self.numbers.data(data, skip, self.dim * float.bytes())?;
        Ok((path, float.read(&bytes)))
    }
}

impl Source for Pickle {
    fn next(&mut self) -> Option<Result<Found, Failure>> {
        if self.next == self.paths.len() as u64 {
            return None;
        }
        let row = self.next;
        self.next += 1;
        let place = Place::row(&self.path, row);
        Some(match self.record(row) {
            Err(error) => Err(Failure::read(None, place, error)),
            Ok((key, vector)) => Ok(Found {
                content_hash: None,
                uri: key.clone(),
                key,
                body: Body::Vector(vector),
                caption: String::new(),
                payload: Map::new(),
                place,
            }),
        })
    }

    fn position(&self) -> u64 {
        self.next
    }

    fn remaining(&self) -> Option<u64> {
        Some(self.paths.len() as u64 - self.next)
    }

    fn vectors(&self) -> Option<Vectors> {
        Some(Vectors { dim: self.dim as usize, space: None })
    }
}

fn paths_and_embeddings(texts: &mut Reader, values: &Values, top: Id) -> Result<(Vec<Text>, Id), SourceError> {
    let wanted = || {
        SourceError::unsupported("a pickle of this content; wanted is a dict of \"paths\" (texts) and \"embeddings\"")
    };
    let Value::Dict(entries) = values.get(top) else { return Err(wanted()) };
    let mut entry = |name: &str| {
        let mut is = |key: Id| texts.word(values.text(key)).is_ok_and(|word| word == name);
        entries.iter().find(|(key, _)| is(*key)).map(|(_, value)| *value).ok_or_else(wanted)
    };
    let paths = values.items(entry("paths")?).ok_or_else(wanted)?;
    let paths = paths.iter().map(|id| values.text(*id).ok_or_else(wanted)).collect::<Result<_, _>>()?;
    Ok((paths, entry("embeddings")?))
}

/// The rows of the embeddings, how many there are, and their length.
fn rows(values: &Values, embeddings: Id) -> Result<(Rows, u64, u64), SourceError> {
    if let Value::Array(array) = values.get(embeddings) {
        let (rows, dim) = matrix(&array.shape)?;
        let (float, data) = whole(array, rows * dim)?;
        return Ok((Rows::Matrix(float, data), rows, dim));
    }
    let wanted = || SourceError::unsupported("embeddings that are neither a NumPy array nor a list of NumPy arrays");
    let items = values.items(embeddings).ok_or_else(wanted)?;
    let (mut rows, mut dim) = (Vec::with_capacity(items.len()), 0);
    for id in items {
        let Value::Array(array) = values.get(*id) else { return Err(wanted()) };
        let width = matrix(&[1, array.shape.iter().product()])?.1;
        if rows.is_empty() {
            dim = width;
        } else if width != dim {
            let problem = format!("embedding {} has {width} dimensions, and the first has {dim}", rows.len());
            return Err(SourceError::damaged(problem));
        }
        rows.push(whole(array, dim)?);
    }
    let count = rows.len() as u64;
    if count == 0 {
        return Err(SourceError::unsupported("a pickle without embeddings"));
    }
    Ok((Rows::Each(rows), count, dim))
}

/// The type and place of an array that has all of its `count` numbers.
fn whole(array: &Array, count: u64) -> Result<(Float, Data), SourceError> {
    let float = Float::of(&array.dtype)?;
    if array.fortran_order && array.shape.iter().filter(|side| **side > 1).count() > 1 {
        return Err(SourceError::unsupported("an array in Fortran order; write it with numpy.ascontiguousarray"));
    }
    let data = array.data.clone().ok_or_else(|| SourceError::damaged("an array without data"))?;
    if Some(data.len()) != count.checked_mul(float.bytes()) {
        let problem = format!("an array of shape {:?} has {} bytes of data", array.shape, data.len());
        return Err(SourceError::damaged(problem));
    }
    Ok((float, data))
}
