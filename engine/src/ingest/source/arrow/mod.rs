//! Parquet and Arrow files: tables in columns, whose pictures are bytes, paths or addresses, or which hold vectors.
//!
//! The formats are Apache's crates' to read; what is here bounds what they may be made to do. A few bytes of either
//! can ask for gigabytes, or for a stack without end, so footers, page and buffer headers are looked at before anything
//! is unpacked ([`footer`], [`pages`], [`ipc`]),
//! rows are read few at a time where one may be large ([`parquet`]), and a panic in a reader is a failure of the file,
//! not of the process.
//!
//! `fromagerie.space` in a schema's metadata is the fingerprint (hex) of the retrieval space its vectors were made in.

mod cells;
mod footer;
mod ipc;
mod made;
mod pages;
mod parquet;
mod thrift;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Schema};

use super::columns::{Context, Roles};
use super::table_marks as marks;
use super::{Failure, Found, Place, Source, SourceError, SourceOptions, Vectors};
use crate::error::Result;

/// Most rows for each byte of a file. Pictures and vectors have many bytes a row.
const ROWS_A_BYTE_MAX: u64 = 1024;

/// Rows that a file gives together, or what came in their place.
pub(super) type Rows = Result<RecordBatch, Lost>;

/// Rows that could not be read.
pub(super) struct Lost {
    /// How many; never none, since a failure stands in the place of the first.
    pub(super) rows: u64,
    pub(super) error: SourceError,
}

/// A file that gives its rows batch by batch.
pub(super) trait Batches: Send {
    /// The next rows; `None` after the last.
    fn next(&mut self) -> Option<Rows>;
}

/// A table in columns. Its position is a number of rows.
pub(super) struct Table {
    batches: Box<dyn Batches>,
    names: Vec<String>,
    roles: Roles,
    context: Context,
    vectors: Option<Vectors>,
    /// Written by `fromagerie embed`: its columns are known.
    is_embedded: bool,
    /// Rows that were read, and how many of them are given out.
    open: Option<(RecordBatch, usize)>,
    next: u64,
    rows: u64,
}

impl Table {
    pub(super) fn parquet(path: &Path, options: &SourceOptions, from: u64) -> Result<Table> {
        let file = parquet::Parquet::open(path, from)?;
        let (schema, rows) = (file.schema(), file.rows());
        Table::new(path, options, from, &schema, rows, Box::new(file))
    }

    pub(super) fn ipc(path: &Path, options: &SourceOptions, from: u64) -> Result<Table> {
        let file = ipc::Ipc::open(path, from)?;
        let (schema, rows) = (file.schema(), file.rows());
        Table::new(path, options, from, &schema, rows, Box::new(file))
    }

    fn new(
        path: &Path,
        options: &SourceOptions,
        from: u64,
        schema: &Schema,
        rows: u64,
        batches: Box<dyn Batches>,
    ) -> Result<Table> {
        let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let roles = Roles::of(&names, &options.columns, path)?;
        let vectors = roles.vector.and_then(|at| match schema.field(at).data_type() {
            DataType::FixedSizeList(_, dim) => {
                Some(Vectors { dim: usize::try_from(*dim).ok()?, space: space_of(schema) })
            }
            _ => None,
        });
        let context = Context::new(path, options);
        let next = from.min(rows);
        let is_embedded = match schema.metadata().get(marks::EMBEDDED).map(String::as_str) {
            None => false,
            Some("1") => true,
            Some(other) => {
                let what = format!("tables of `fromagerie embed` of version {other:?}; this version reads \"1\"");
                return Err(SourceError::unsupported(what).into());
            }
        };
        Ok(Table { batches, names, roles, context, vectors, is_embedded, open: None, next, rows })
    }

    /// The record in row `at` of `batch`, whose number in the file is the next one.
    fn record(&self, batch: &RecordBatch, at: usize) -> Result<Found, Failure> {
        let place = Place::row(&self.context.path, self.next);
        if self.is_embedded {
            return made::record(batch, at, place);
        }
        let cells = batch.columns().iter().map(|column| cells::cell(column, at)).collect();
        self.roles.record(&self.names, cells, place, self.next, &self.context)
    }
}

impl Source for Table {
    // One by one: rows of nothing but nulls take no room in a file, and records do.
    fn next(&mut self) -> Option<Result<Found, Failure>> {
        loop {
            if let Some((batch, at)) = self.open.take()
                && at < batch.num_rows()
            {
                let record = self.record(&batch, at);
                self.open = Some((batch, at + 1));
                self.next += 1;
                return Some(record);
            }
            match self.batches.next()? {
                Ok(batch) => self.open = Some((batch, 0)),
                Err(lost) => {
                    let place = Place::row(&self.context.path, self.next);
                    self.next += lost.rows;
                    return Some(Err(Failure::read(None, place, lost.error)));
                }
            }
        }
    }

    fn position(&self) -> u64 {
        self.next
    }

    fn remaining(&self) -> Option<u64> {
        Some(self.rows.saturating_sub(self.next))
    }

    fn vectors(&self) -> Option<Vectors> {
        self.vectors
    }
}

fn space_of(schema: &Schema) -> Option<[u8; 32]> {
    let mut space = [0; 32];
    hex::decode_to_slice(schema.metadata().get(marks::SPACE)?, &mut space).ok()?;
    Some(space)
}

/// # Errors
/// More rows than a file of `len` bytes has any use for: nulls, and runs of one value, can claim any number in a few bytes.
fn check_rows(parts: impl Iterator<Item = u64>, len: u64) -> Result<(), SourceError> {
    let (rows, limit) = (parts.fold(0, u64::saturating_add), len.saturating_mul(ROWS_A_BYTE_MAX));
    if rows > limit {
        return Err(SourceError::damaged(format!("{rows} rows in a file of {len} bytes; {limit} are read at most")));
    }
    Ok(())
}

/// What other people's code makes of a stranger's bytes, with a panic as an error.
fn guarded<T, E: std::fmt::Display>(read: impl FnOnce() -> Result<T, E>) -> Result<T, SourceError> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(SourceError::damaged(error.to_string())),
        Err(_) => Err(SourceError::damaged("its reader gave up")),
    }
}
