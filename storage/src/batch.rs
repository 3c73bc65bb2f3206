//! What a caller writes: records, operations, batches; and the receipt that comes back.
//!
//! These types are also the journal's and the segments' bincode records, so a change of a field is a change of
//! `docs/FORMAT.md`. [`check`] refuses a batch before a byte of it is written.

use bincode::{Decode, Encode};
use half::f16;

use crate::error::StorageError;

/// Longest key in bytes.
pub const KEY_BYTES_MAX: usize = 512;
/// Longest request id in bytes.
const REQUEST_ID_BYTES_MAX: usize = 128;
/// Largest dimension of a vector or a feature vector.
const DIM_MAX: u32 = 65_536;

/// How the elements of vectors are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub enum VectorType {
    /// Single floats.
    #[default]
    F32,
    /// Half floats: half the bytes, each element rounded to 11 significant bits.
    F16,
}

impl VectorType {
    /// Bytes of an element.
    pub fn bytes(self) -> usize {
        match self {
            VectorType::F32 => 4,
            VectorType::F16 => 2,
        }
    }
}

/// What a collection holds, fixed when it is created.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct CollectionSpec {
    /// Elements of every vector, 1..=65536.
    pub dim: u32,
    /// How their elements are kept.
    pub vector_type: VectorType,
    /// Fingerprint of the retrieval space; none for a collection free of any model.
    pub space: Option<[u8; 32]>,
    /// Elements of the encoder's own features; 0 keeps none.
    pub feature_dim: u32,
    /// The engine's settings as JSON; opaque to storage.
    pub settings: String,
}

/// What is kept beside a vector and given back as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Document {
    /// A JSON object, or empty.
    pub payload: String,
    /// Caption, or empty.
    pub caption: String,
    /// Source URI, or empty.
    pub uri: String,
    /// Width of the picture in pixels, 0 when unknown.
    pub width: u32,
    /// Height of the picture in pixels, 0 when unknown.
    pub height: u32,
    /// Hash of the picture's content.
    pub content_hash: Option<[u8; 32]>,
    /// Encoded thumbnail, or empty.
    pub thumbnail: Vec<u8>,
}

/// One item: a key, its vector and what belongs to it.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
pub struct Record {
    /// The caller's key, 1..=512 bytes of UTF-8. A put of a present key replaces its record.
    pub key: String,
    /// `[dim]`, finite and not zero, also when rounded to what the collection keeps. The engine normalises.
    pub vector: Vec<f32>,
    /// `[feature_dim]`, finite.
    pub features: Option<Vec<f32>>,
    /// Payload, caption, source and thumbnail.
    pub document: Document,
}

/// One operation of a batch.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum Op {
    /// Insert the record, or replace the one of the same key.
    Put(Record),
    /// Remove the record of this key, if there is one.
    Delete {
        /// The key.
        key: String,
    },
}

impl Op {
    /// The key that the operation is about.
    pub fn key(&self) -> &str {
        match self {
            Op::Put(record) => &record.key,
            Op::Delete { key } => key,
        }
    }
}

/// Operations that become durable and visible together or not at all, applied in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// The operations. Of several about one key, the last wins.
    pub ops: Vec<Op>,
    /// A repeated id returns the first receipt and applies nothing. Remembered for the last 10,000 ids.
    pub request_id: Option<String>,
}

impl Batch {
    /// A batch without a request id.
    pub fn new(ops: Vec<Op>) -> Batch {
        Batch { ops, request_id: None }
    }

    /// Whether it only removes.
    pub(crate) fn only_deletes(&self) -> bool {
        self.ops.iter().all(|op| matches!(op, Op::Delete { .. }))
    }

    /// The same batch under a request id.
    pub fn with_request_id(mut self, request_id: impl Into<String>) -> Batch {
        self.request_id = Some(request_id.into());
        self
    }
}

/// Proof of a durable batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct Receipt {
    /// The batch's place in the collection's history, from 1.
    pub sequence: u64,
    /// Put operations.
    pub put: u32,
    /// Puts that replaced a live record.
    pub replaced: u32,
    /// Deletes that found a live record.
    pub deleted: u32,
}

/// Refuses a specification that no file could hold.
pub(crate) fn check_spec(spec: &CollectionSpec) -> Result<(), StorageError> {
    if spec.dim == 0 || spec.dim > DIM_MAX || spec.feature_dim > DIM_MAX {
        return Err(StorageError::BadSpec { dim: spec.dim, feature_dim: spec.feature_dim });
    }
    Ok(())
}

/// Refuses a batch that any of whose operations the collection cannot hold.
pub(crate) fn check(batch: &Batch, spec: &CollectionSpec) -> Result<(), StorageError> {
    if let Some(id) = &batch.request_id
        && (id.is_empty() || id.len() > REQUEST_ID_BYTES_MAX)
    {
        return Err(StorageError::RequestIdLength { bytes: id.len() });
    }
    for (position, op) in batch.ops.iter().enumerate() {
        let bytes = op.key().len();
        if bytes == 0 || bytes > KEY_BYTES_MAX {
            return Err(StorageError::KeyLength { position, bytes });
        }
        if let Op::Put(record) = op {
            check_record(record, spec)?;
        }
    }
    Ok(())
}

fn check_record(record: &Record, spec: &CollectionSpec) -> Result<(), StorageError> {
    check_floats(&record.key, "vector", &record.vector, spec.dim)?;
    if record.vector.iter().all(|&x| x == 0.0) {
        return Err(StorageError::ZeroVector { key: record.key.clone() });
    }
    if spec.vector_type == VectorType::F16 {
        check_halves(&record.key, &record.vector)?;
    }
    match &record.features {
        Some(features) => check_floats(&record.key, "features", features, spec.feature_dim),
        None => Ok(()),
    }
}

/// Refuses a finite vector that is none any more once it is rounded to halves.
fn check_halves(key: &str, vector: &[f32]) -> Result<(), StorageError> {
    let key = || key.to_owned();
    match vector.iter().position(|&x| f16::from_f32(x).is_infinite()) {
        Some(element) => Err(StorageError::HalfOverflow { key: key(), element, value: vector[element] }),
        None if vector.iter().all(|&x| f16::from_f32(x).to_f32() == 0.0) => {
            Err(StorageError::HalfUnderflow { key: key() })
        }
        None => Ok(()),
    }
}

fn check_floats(key: &str, what: &'static str, floats: &[f32], expected: u32) -> Result<(), StorageError> {
    if floats.len() != expected as usize {
        return Err(StorageError::WrongDim { key: key.to_owned(), what, expected, received: floats.len() });
    }
    match floats.iter().position(|x| !x.is_finite()) {
        Some(element) => Err(StorageError::NonFinite { key: key.to_owned(), what, element, value: floats[element] }),
        None => Ok(()),
    }
}
