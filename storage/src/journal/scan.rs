//! Reading a journal back: every record in order, and the judgement on what stands after the last good one.
//!
//! A bad record is a *torn tail*, and is cut, when no group after it was begun (a later record that knows of a
//! longer durable file proves that this one was acknowledged) and the bytes look unwritten: the file ends inside the
//! record, or a 512-byte sector of the tail reads as zeros. Anything else is damage: what was acknowledged is not
//! thrown away in silence. The one assumption is that a sector is written whole or not at all.

use std::path::Path;

use crate::batch::Batch;
use crate::error::StorageError;

use super::record::{self, HEADER_BYTES, Header};
use super::{Identity, read_header};

const SECTOR_BYTES: usize = 512;

/// Where the good part of a journal ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScanEnd {
    /// Bytes of header and good records.
    pub(crate) good_bytes: u64,
    /// Sequence that the next record must have.
    pub(crate) next_sequence: u64,
    /// Bytes of a torn tail.
    pub(crate) torn_bytes: u64,
    /// Where the last good record's group begins: what stands before it was synced before it was written.
    pub(crate) last_group: u64,
}

/// Reads the journal `bytes` of the file `path`, handing each batch to `each` with its sequence.
///
/// `is_last`: whether the file may have a torn tail. A journal that has a successor was complete when that was made.
///
/// # Errors
/// [`StorageError::Damaged`] at the first record that is bad and is no torn tail, or out of sequence.
pub(crate) fn scan(
    path: &Path,
    bytes: &[u8],
    identity: Identity,
    is_last: bool,
    each: &mut dyn FnMut(u64, Batch) -> Result<(), StorageError>,
) -> Result<ScanEnd, StorageError> {
    let mut at = read_header(path, bytes, identity)?;
    let seed = identity.seed();
    let mut sequence = identity.first_sequence;
    let mut last_group = at;
    while at < bytes.len() {
        let Some((header, payload)) = record_at(bytes, at, seed) else {
            if !is_last || !is_torn(bytes, at, seed) {
                return Err(StorageError::damaged(path, at as u64, "journal record: bad checksum"));
            }
            break;
        };
        if header.sequence != sequence {
            let what = format!("journal record: sequence {}, expected {sequence}", header.sequence);
            return Err(StorageError::damaged(path, at as u64, what));
        }
        let batch = record::decode_batch(payload)
            .ok_or_else(|| StorageError::damaged(path, at as u64, "journal record: does not decode"))?;
        each(sequence, batch)?;
        last_group = last_group.max(at.min(header.durable as usize));
        sequence += 1;
        at += HEADER_BYTES + payload.len();
    }
    let torn_bytes = (bytes.len() - at) as u64;
    Ok(ScanEnd { good_bytes: at as u64, next_sequence: sequence, torn_bytes, last_group: last_group as u64 })
}

/// Hands every batch of `bytes` that can be read to `each`, whatever stands between them: what a repair tells of.
pub(crate) fn readable(bytes: &[u8], identity: Identity, each: &mut dyn FnMut(u64, Batch)) {
    let (seed, mut at) = (identity.seed(), 0);
    while at < bytes.len() {
        let found = record_at(bytes, at, seed).and_then(|(header, payload)| {
            record::decode_batch(payload).map(|batch| (header.sequence, batch, payload.len()))
        });
        match found {
            Some((sequence, batch, payload_bytes)) => {
                each(sequence, batch);
                at += HEADER_BYTES + payload_bytes;
            }
            None => at += 1,
        }
    }
}

fn record_at(bytes: &[u8], at: usize, seed: u32) -> Option<(Header, &[u8])> {
    let header = record::header_at(bytes, at, seed)?;
    Some((header, record::payload_at(bytes, at, header)?))
}

/// Whether the bad record at `at` can be the unacknowledged end of the file.
fn is_torn(bytes: &[u8], at: usize, seed: u32) -> bool {
    !acknowledged_later(bytes, at, seed) && (ends_inside(bytes, at, seed) || has_zero_sector(bytes, at))
}

/// Whether a good record further on was written when the file was already durable beyond `at`.
fn acknowledged_later(bytes: &[u8], at: usize, seed: u32) -> bool {
    (at + 1..bytes.len())
        .filter_map(|later| record_at(bytes, later, seed))
        .any(|(header, _)| header.durable > at as u64)
}

fn ends_inside(bytes: &[u8], at: usize, seed: u32) -> bool {
    match record::header_at(bytes, at, seed) {
        Some(header) => bytes.len() - at < HEADER_BYTES + header.payload_bytes as usize,
        None => bytes.len() - at < HEADER_BYTES,
    }
}

fn has_zero_sector(bytes: &[u8], at: usize) -> bool {
    let mut start = at;
    while start < bytes.len() {
        let end = bytes.len().min((start / SECTOR_BYTES + 1) * SECTOR_BYTES);
        if bytes[start..end].iter().all(|&byte| byte == 0) {
            return true;
        }
        start = end;
    }
    false
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
