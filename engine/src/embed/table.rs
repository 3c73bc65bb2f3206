//! The file that `embed` writes: one row a record, in Parquet or Arrow.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, FixedSizeBinaryBuilder};
use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array, RecordBatch, StringArray, UInt32Array};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use fromagerie_models::ImageEncoding;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde_json::Value;

use super::{EmbedOptions, Row};
use crate::error::{Error, Result};
use crate::ingest::SourceError;
use crate::ingest::source::table_marks as marks;
use crate::model::LoadedModel;
use crate::settings::Thumbnails;

/// Rows of a row group, or of a record batch.
const GROUP_ROWS: usize = 1024;

/// A file that is being written beside its place.
pub(super) struct TableWriter {
    out: PathBuf,
    beside: PathBuf,
    schema: SchemaRef,
    file: Writer,
    waiting: Vec<(Row, ImageEncoding)>,
}

enum Writer {
    Parquet(Box<ArrowWriter<File>>),
    Arrow(Box<FileWriter<BufWriter<File>>>),
}

impl TableWriter {
    pub(super) fn create(out: &Path, loaded: &LoadedModel, options: &EmbedOptions) -> Result<TableWriter> {
        let schema = Arc::new(schema(loaded, options));
        let mut name = out.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.partial", std::process::id()));
        let beside = out.with_file_name(name);
        let file = File::create(&beside).map_err(|source| Error::File { path: beside.clone(), source })?;
        let ending = out.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let file = match ending.as_str() {
            "parquet" => {
                let level = ZstdLevel::try_new(1).map_err(|error| failed(out, error))?;
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(level))
                    .set_max_row_group_row_count(Some(16 * GROUP_ROWS))
                    .build();
                let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties));
                Writer::Parquet(Box::new(writer.map_err(|error| failed(out, error))?))
            }
            "arrow" | "feather" => {
                let writer = FileWriter::try_new_buffered(file, &schema).map_err(|error| failed(out, error))?;
                Writer::Arrow(Box::new(writer))
            }
            _ => {
                let _ = std::fs::remove_file(&beside);
                let value = out.display().to_string();
                return Err(Error::OutOfRange {
                    name: "out",
                    value,
                    allowed: "a name that ends in .parquet or .arrow",
                });
            }
        };
        Ok(TableWriter { out: out.to_owned(), beside, schema, file, waiting: Vec::new() })
    }

    pub(super) fn write(&mut self, rows: Vec<Row>, encoded: Vec<ImageEncoding>) -> Result<()> {
        self.waiting.extend(rows.into_iter().zip(encoded));
        if self.waiting.len() >= GROUP_ROWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.waiting);
        if rows.is_empty() {
            return Ok(());
        }
        let batch = self.batch(&rows).map_err(|error| failed(&self.out, error))?;
        match &mut self.file {
            Writer::Parquet(writer) => writer.write(&batch).map_err(|error| failed(&self.out, error)),
            Writer::Arrow(writer) => writer.write(&batch).map_err(|error| failed(&self.out, error)),
        }
    }

    fn batch(&self, rows: &[(Row, ImageEncoding)]) -> Result<RecordBatch, ArrowError> {
        let text = |of: &dyn Fn(&Row) -> String| {
            Arc::new(StringArray::from_iter_values(rows.iter().map(|(row, _)| of(row)))) as ArrayRef
        };
        let number = |of: &dyn Fn(&Row) -> u32| {
            Arc::new(UInt32Array::from_iter_values(rows.iter().map(|(row, _)| of(row)))) as ArrayRef
        };
        let floats = |field: &Field, of: &dyn Fn(&ImageEncoding) -> &[f32]| -> Result<ArrayRef, ArrowError> {
            let DataType::FixedSizeList(item, size) = field.data_type() else {
                return Err(ArrowError::SchemaError(format!("{} is no list", field.name())));
            };
            let values: Vec<f32> = rows.iter().flat_map(|(_, encoding)| of(encoding).iter().copied()).collect();
            let list = FixedSizeListArray::try_new(item.clone(), *size, Arc::new(Float32Array::from(values)), None)?;
            Ok(Arc::new(list))
        };
        let columns = self.schema.fields().iter().map(|field| {
            Ok(match field.name().as_str() {
                marks::KEY => text(&|row| row.found.key.clone()),
                marks::VECTOR => floats(field, &|encoding| &encoding.retrieval)?,
                marks::FEATURES => floats(field, &|encoding| &encoding.features)?,
                marks::CAPTION => text(&|row| row.found.caption.clone()),
                marks::URI => text(&|row| row.found.uri.clone()),
                marks::WIDTH => number(&|row| row.picture.width),
                marks::HEIGHT => number(&|row| row.picture.height),
                marks::CONTENT_HASH => {
                    let mut hashes = FixedSizeBinaryBuilder::with_capacity(rows.len(), 32);
                    rows.iter().try_for_each(|(row, _)| hashes.append_value(row.picture.hash))?;
                    Arc::new(hashes.finish()) as ArrayRef
                }
                marks::THUMBNAIL => {
                    let mut files = BinaryBuilder::new();
                    rows.iter().for_each(|(row, _)| files.append_value(&row.picture.thumbnail));
                    Arc::new(files.finish()) as ArrayRef
                }
                _ => text(&|row| match row.found.payload.is_empty() {
                    true => String::new(),
                    false => Value::Object(row.found.payload.clone()).to_string(),
                }),
            })
        });
        RecordBatch::try_new(self.schema.clone(), columns.collect::<Result<_, ArrowError>>()?)
    }

    /// Writes what waits and the file's end, and gives the file its name.
    pub(super) fn finish(mut self) -> Result<()> {
        self.flush()?;
        let unsynced = match self.file {
            Writer::Parquet(writer) => writer.into_inner().map_err(|error| failed(&self.out, error))?,
            Writer::Arrow(mut writer) => {
                writer.finish().map_err(|error| failed(&self.out, error))?;
                let buffer = writer.into_inner().map_err(|error| failed(&self.out, error))?;
                buffer.into_inner().map_err(|error| failed(&self.out, error))?
            }
        };
        let synced = unsynced.sync_all().and_then(|()| std::fs::rename(&self.beside, &self.out));
        synced.map_err(|source| Error::File { path: self.out.clone(), source })
    }
}

fn schema(loaded: &LoadedModel, options: &EmbedOptions) -> Schema {
    let manifest = loaded.model.manifest();
    let list = |name: &str, size: usize| {
        let item = Arc::new(Field::new("item", DataType::Float32, false));
        Field::new(name, DataType::FixedSizeList(item, size as i32), false)
    };
    let mut fields = vec![Field::new(marks::KEY, DataType::Utf8, false), list(marks::VECTOR, manifest.dim())];
    if options.features {
        fields.push(list(marks::FEATURES, manifest.vision.feature_dim as usize));
    }
    fields.extend([marks::CAPTION, marks::URI].map(|name| Field::new(name, DataType::Utf8, false)));
    fields.extend([marks::WIDTH, marks::HEIGHT].map(|name| Field::new(name, DataType::UInt32, false)));
    fields.push(Field::new(marks::CONTENT_HASH, DataType::FixedSizeBinary(32), false));
    if options.thumbnails != Thumbnails::None {
        fields.push(Field::new(marks::THUMBNAIL, DataType::Binary, false));
    }
    fields.push(Field::new(marks::PAYLOAD, DataType::Utf8, false));
    let mut metadata = vec![
        (marks::EMBEDDED.to_owned(), "1".to_owned()),
        (marks::SPACE.to_owned(), hex::encode(loaded.model.fingerprint())),
    ];
    let encoder = loaded.model.encoder_fingerprint();
    metadata.extend(encoder.map(|encoder| (marks::ENCODER.to_owned(), hex::encode(encoder))));
    Schema::new_with_metadata(fields, metadata.into_iter().collect::<HashMap<String, String>>())
}

fn failed(out: &Path, error: impl std::fmt::Display) -> Error {
    SourceError::damaged(format!("{} cannot be written: {error}", out.display())).into()
}
