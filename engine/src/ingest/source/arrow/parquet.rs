//! A Parquet file, one row group after another.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow_schema::SchemaRef;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};

use super::super::SourceError;
use super::{Batches, Lost, Rows, check_rows, footer, guarded, pages};
use crate::error::{Error, Result};

/// Largest footer, in bytes.
const FOOTER_BYTES_MAX: u64 = 64 << 20;
/// Bytes that the rows of a batch may take, were each value as large as its page.
const BATCH_BYTES_MAX: u64 = 128 << 20;
/// Most rows of a batch.
const BATCH_ROWS_MAX: u64 = 1024;

/// A Parquet file that is being read.
pub(super) struct Parquet {
    path: PathBuf,
    file: File,
    metadata: ArrowReaderMetadata,
    /// The row group to open next.
    group: usize,
    /// Rows of that group to pass over.
    skip: u64,
    /// The open group, and its rows that are not given yet.
    open: Option<(ParquetRecordBatchReader, u64)>,
}

impl Parquet {
    pub(super) fn open(path: &Path, from: u64) -> Result<Parquet> {
        let failed = |source| Error::File { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        footer::check(&file, FOOTER_BYTES_MAX)?;
        let metadata = guarded(|| ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()))?;
        let mut parquet = Parquet { path: path.to_owned(), file, metadata, group: 0, skip: from, open: None };
        let rows = (0..parquet.groups()).map(|group| parquet.rows_of(group));
        check_rows(rows, len)?;
        while parquet.group < parquet.groups() && parquet.skip >= parquet.rows_of(parquet.group) {
            parquet.skip -= parquet.rows_of(parquet.group);
            parquet.group += 1;
        }
        Ok(parquet)
    }

    pub(super) fn schema(&self) -> SchemaRef {
        self.metadata.schema().clone()
    }

    /// Rows of the whole file.
    pub(super) fn rows(&self) -> u64 {
        (0..self.groups()).map(|group| self.rows_of(group)).sum()
    }

    fn groups(&self) -> usize {
        self.metadata.metadata().num_row_groups()
    }

    fn rows_of(&self, group: usize) -> u64 {
        u64::try_from(self.metadata.metadata().row_group(group).num_rows()).unwrap_or(0)
    }

    fn open_group(&self, group: usize, skip: u64) -> Result<ParquetRecordBatchReader, SourceError> {
        let failed = |error: std::io::Error| SourceError::damaged(error.to_string());
        let largest = pages::check_group(&self.file, self.metadata.metadata().row_group(group))?;
        let rows = (BATCH_BYTES_MAX / largest.max(1)).clamp(1, BATCH_ROWS_MAX) as usize;
        // A handle of its own: two that are cloned share one place in the file.
        let file = File::open(&self.path).map_err(failed)?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone());
        guarded(|| builder.with_row_groups(vec![group]).with_offset(skip as usize).with_batch_size(rows).build())
    }
}

impl Batches for Parquet {
    fn next(&mut self) -> Option<Rows> {
        while self.open.is_none() {
            if self.group == self.groups() {
                return None;
            }
            let (group, skip) = (self.group, std::mem::take(&mut self.skip));
            self.group += 1;
            match self.rows_of(group) - skip {
                0 => {}
                left => match self.open_group(group, skip) {
                    Ok(reader) => self.open = Some((reader, left)),
                    Err(error) => return Some(Err(Lost { rows: left, error })),
                },
            }
        }
        let (mut reader, left) = self.open.take()?;
        Some(match guarded(|| reader.next().transpose()) {
            Ok(Some(batch)) if batch.num_rows() > 0 => {
                // A row that the footer does not count would move the places of all that come after it.
                let batch = batch.slice(0, batch.num_rows().min(left as usize));
                let left = left - batch.num_rows() as u64;
                self.open = (left > 0).then_some((reader, left));
                Ok(batch)
            }
            Ok(_) => {
                let problem = format!("{left} rows of row group {} are missing", self.group - 1);
                Err(Lost { rows: left, error: SourceError::damaged(problem) })
            }
            Err(error) => Err(Lost { rows: left, error }),
        })
    }
}
