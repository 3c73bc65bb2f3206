//! The journal: batches that are durable but not yet in a segment.
//!
//! A file `journal-<first sequence>.fmj` is a framed header with the collection's identity, then records. Records
//! are appended in commit groups; a group is written only after the one before it is synced, and every record
//! tells how long the synced file was when its group began. That is what lets [`scan`] tell a torn tail (the last
//! group, never acknowledged) from damage. [`append`] writes, [`record`] is the bytes of one record.

pub(crate) mod append;
pub(crate) mod record;
pub(crate) mod scan;

use std::path::Path;

use bincode::{Decode, Encode};

use crate::codec::{self, FrameKind, Unframed};
use crate::error::StorageError;

pub(crate) const HEADER: FrameKind = FrameKind { magic: *b"FROMJRNL", version: 1, name: "journal header" };
const PREFIX: &str = "journal-";
const SUFFIX: &str = ".fmj";

/// Whose journal a file is. Record checksums are seeded with it, so a record of another file is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Identity {
    pub(crate) collection: u64,
    /// Sequence of the file's first record.
    pub(crate) first_sequence: u64,
}

impl Identity {
    /// Name of the file.
    pub(crate) fn file_name(self) -> String {
        format!("{PREFIX}{:016x}{SUFFIX}", self.first_sequence)
    }

    /// Seed of the checksums of the file's records.
    pub(crate) fn seed(self) -> u32 {
        crc32c::crc32c(&codec::encode(&self))
    }
}

/// The first sequence that a file's name tells, when it is a journal's name.
pub(crate) fn first_sequence_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

/// Reads the header of a journal and checks that it is the one expected.
pub(crate) fn read_header(path: &Path, bytes: &[u8], expected: Identity) -> Result<usize, StorageError> {
    let header: Unframed<Identity> = codec::unframe(HEADER, path, bytes, 0)?;
    if header.value != expected {
        let what = format!("journal of {:?}, expected {expected:?}", header.value);
        return Err(StorageError::damaged(path, 0, what));
    }
    Ok(header.bytes)
}
