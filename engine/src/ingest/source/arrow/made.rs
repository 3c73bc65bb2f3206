//! A row of a file that `fromagerie embed` wrote: everything that an ingest would have made of the picture.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, UInt32Type};
use arrow_array::{Array, RecordBatch};
use serde_json::Map;

use super::super::table_marks as marks;
use super::super::{Body, Failure, Found, Made, Place, SourceError};
use crate::encoder::DecodedImage;

/// The record in row `at` of `batch`.
pub(super) fn record(batch: &RecordBatch, at: usize, place: Place) -> Result<Found, Failure> {
    let key = match text(batch, marks::KEY, at) {
        Ok(key) => key,
        Err(error) => return Err(Failure::read(None, place, error)),
    };
    let read = || -> Result<Found, SourceError> {
        let picture = DecodedImage {
            hash: hash(batch, at)?,
            width: number(batch, marks::WIDTH, at)?,
            height: number(batch, marks::HEIGHT, at)?,
            thumbnail: bytes(batch, marks::THUMBNAIL, at),
        };
        let vector = Some(floats(batch, marks::VECTOR, at)?);
        let features = match batch.column_by_name(marks::FEATURES) {
            Some(_) => Some(floats(batch, marks::FEATURES, at)?),
            None => None,
        };
        let payload = match text(batch, marks::PAYLOAD, at)?.as_str() {
            "" => Map::new(),
            json => serde_json::from_str(json)
                .map_err(|error| SourceError::damaged(format!("its payload is no JSON object: {error}")))?,
        };
        Ok(Found {
            content_hash: None,
            key: key.clone(),
            body: Body::Made(Box::new(Made { vector, features, picture: Some(picture) })),
            caption: text(batch, marks::CAPTION, at)?,
            uri: text(batch, marks::URI, at)?,
            payload,
            place: place.clone(),
        })
    };
    read().map_err(|error| Failure::read(Some(key.clone()), place.clone(), error))
}

fn wrong(column: &str) -> SourceError {
    SourceError::damaged(format!("column {column:?} is missing, or not what `fromagerie embed` writes"))
}

fn text(batch: &RecordBatch, name: &str, at: usize) -> Result<String, SourceError> {
    let column = batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
    let value = column.filter(|column| column.is_valid(at)).ok_or_else(|| wrong(name))?.value(at);
    Ok(value.to_owned())
}

fn number(batch: &RecordBatch, name: &str, at: usize) -> Result<u32, SourceError> {
    let column = batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<UInt32Type>());
    Ok(column.filter(|column| column.is_valid(at)).ok_or_else(|| wrong(name))?.value(at))
}

fn floats(batch: &RecordBatch, name: &str, at: usize) -> Result<Vec<f32>, SourceError> {
    let column = batch.column_by_name(name).and_then(|column| column.as_fixed_size_list_opt());
    let list = column.filter(|column| column.is_valid(at)).ok_or_else(|| wrong(name))?.value(at);
    let values = list.as_primitive_opt::<Float32Type>().filter(|values| values.null_count() == 0);
    Ok(values.ok_or_else(|| wrong(name))?.values().to_vec())
}

fn bytes(batch: &RecordBatch, name: &str, at: usize) -> Vec<u8> {
    let column = batch.column_by_name(name).and_then(|column| column.as_binary_opt::<i32>());
    column.filter(|column| column.is_valid(at)).map(|column| column.value(at).to_vec()).unwrap_or_default()
}

fn hash(batch: &RecordBatch, at: usize) -> Result<[u8; 32], SourceError> {
    let column = batch.column_by_name(marks::CONTENT_HASH).and_then(|column| column.as_fixed_size_binary_opt());
    let value = column.filter(|column| column.is_valid(at)).ok_or_else(|| wrong(marks::CONTENT_HASH))?.value(at);
    value.try_into().map_err(|_| wrong(marks::CONTENT_HASH))
}
