//! The manifest: one small file that says what a collection is and which files hold it.
//!
//! A publish writes `manifest-<generation>.fmm` under a temporary name, syncs it, renames it and syncs the directory:
//! that rename is the atomic step. The newest manifest is the truth; the catalog only points at it. It describes
//! itself (name, specification), so that a lost catalog is rebuilt from manifests alone.

use std::path::Path;

use bincode::{Decode, Encode};

use crate::backend::{self, Backend};
use crate::batch::CollectionSpec;
use crate::codec::{self, FrameKind};
use crate::error::StorageError;
use crate::receipts::StoredReceipt;
use crate::segment::dead::StoredDead;

const MANIFEST: FrameKind = FrameKind { magic: *b"FROMMNFT", version: 1, name: "manifest" };
const PREFIX: &str = "manifest-";
const SUFFIX: &str = ".fmm";

/// One generation of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Manifest {
    pub(crate) collection: u64,
    pub(crate) generation: u64,
    pub(crate) name: String,
    pub(crate) spec: CollectionSpec,
    /// Every batch up to this one is in the segments and their deletes; later ones are in journals,
    /// the first of which begins with `sequence + 1`.
    pub(crate) sequence: u64,
    /// Id of the next segment; ids are never used twice.
    pub(crate) next_segment: u64,
    pub(crate) segments: Vec<SegmentEntry>,
    /// Request ids of batches up to `sequence`, oldest first.
    pub(crate) receipts: Vec<StoredReceipt>,
}

/// A segment of a generation.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct SegmentEntry {
    pub(crate) id: u64,
    pub(crate) file_bytes: u64,
    pub(crate) rows: u32,
    /// Checksum of the segment's footer, which holds the checksums of everything else in it.
    pub(crate) footer_crc: u32,
    /// Rows that were deleted or replaced by batches up to the manifest's sequence.
    pub(crate) dead: StoredDead,
}

/// Name of the manifest of a generation.
pub(crate) fn file_name(generation: u64) -> String {
    format!("{PREFIX}{generation:016x}{SUFFIX}")
}

/// The generation that a file's name tells, when it is a manifest's name.
pub(crate) fn generation_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

impl Manifest {
    /// Reads the manifest of `generation` in the collection's directory.
    pub(crate) fn read(backend: &dyn Backend, dir: &Path, generation: u64) -> Result<Manifest, StorageError> {
        let path = dir.join(file_name(generation));
        let mapping = backend.map(&path).map_err(|e| StorageError::io(&path, "map", e))?;
        let manifest: Manifest = codec::unframe_file(MANIFEST, &path, mapping.bytes())?;
        if manifest.generation != generation {
            let what = format!("manifest of generation {}, expected {generation}", manifest.generation);
            return Err(StorageError::damaged(&path, 0, what));
        }
        Ok(manifest)
    }

    /// Writes the file and gives it its name. Not durable before the directory is synced.
    pub(crate) fn write(&self, backend: &dyn Backend, dir: &Path) -> Result<(), StorageError> {
        backend::write_whole(backend, dir, &file_name(self.generation), &self.to_bytes())
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        codec::frame(MANIFEST, self)
    }
}

/// The manifest that is the whole of `bytes`.
pub(crate) fn parse(bytes: &[u8]) -> Result<Manifest, StorageError> {
    codec::unframe_file(MANIFEST, Path::new("manifest"), bytes)
}
