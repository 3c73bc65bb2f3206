//! The list of a snapshot's files: written last, it makes a directory a snapshot.

use std::path::{Path, PathBuf};

use bincode::{Decode, Encode};

use crate::backend::{self, Backend};
use crate::codec::{self, FrameKind};
use crate::error::StorageError;
use crate::mmap::Mapping;
use crate::progress::Meter;
use crate::segment::layout::BLOCK_BYTES;
use crate::store::aliases::ALIASES_FILE;

const LIST: FrameKind = FrameKind { magic: *b"FROMSNAP", version: 1, name: "list of a snapshot" };
/// Name of the file in the snapshot's directory.
pub(crate) const LIST_FILE: &str = "snapshot.fml";
/// Name of the file of sessions and jobs.
pub(super) const RECORDS_FILE: &str = "records.fmr";
/// How often a long check says how far it is, in blocks.
const TELL_BLOCKS: usize = 128;

/// What a snapshot holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct List {
    /// Seconds since 1970, UTC.
    pub(super) created: u64,
    pub(super) collections: u64,
    pub(super) items: u64,
    pub(super) records: u64,
    pub(super) files: Vec<Listed>,
}

/// A file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Listed {
    /// Relative to the snapshot, with `/` between names.
    pub(super) name: String,
    pub(super) bytes: u64,
    /// CRC-32C of each 64 KiB.
    pub(super) sums: Vec<u32>,
}

impl Listed {
    /// The entry of a file with this content.
    pub(super) fn of(name: String, content: &[u8]) -> Listed {
        let sums = content.chunks(BLOCK_BYTES as usize).map(crc32c::crc32c).collect();
        Listed { name, bytes: content.len() as u64, sums }
    }

    /// Whether the file does not change once it is there, so that it may have two names.
    pub(super) fn is_sealed(&self) -> bool {
        self.name.ends_with(".fms") || self.name.ends_with(".fmm")
    }

    /// The file in the snapshot at `dir`, with every byte of it checked.
    pub(super) fn read(
        &self,
        backend: &dyn Backend,
        dir: &Path,
        meter: &mut Meter<'_>,
    ) -> Result<(PathBuf, Mapping), StorageError> {
        let path = dir.join(&self.name);
        let mapping = backend.map(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                StorageError::damaged(&path, 0, "the file is missing: the snapshot is not complete")
            }
            _ => StorageError::io(&path, "map", error),
        })?;
        let bytes = mapping.bytes();
        if bytes.len() as u64 != self.bytes {
            let what = format!("{} bytes, {} were written to the snapshot", bytes.len(), self.bytes);
            return Err(StorageError::damaged(&path, self.bytes.min(bytes.len() as u64), what));
        }
        let mut told = 0;
        for (block, (content, &recorded)) in bytes.chunks(BLOCK_BYTES as usize).zip(&self.sums).enumerate() {
            let found = crc32c::crc32c(content);
            if found != recorded {
                let what = format!("block {block}: checksum {found:08x}, {recorded:08x} recorded in the snapshot");
                return Err(StorageError::damaged(&path, block as u64 * BLOCK_BYTES, what));
            }
            if block % TELL_BLOCKS == TELL_BLOCKS - 1 {
                meter.add(&path, BLOCK_BYTES * TELL_BLOCKS as u64);
                told += BLOCK_BYTES * TELL_BLOCKS as u64;
            }
        }
        meter.add(&path, self.bytes - told);
        Ok((path, mapping))
    }
}

impl List {
    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Writes the list, synced.
    pub(super) fn write(&self, backend: &dyn Backend, dir: &Path) -> Result<(), StorageError> {
        backend::write_file(backend, &dir.join(LIST_FILE), &self.to_bytes())
    }

    /// Reads and checks the list of the snapshot at `dir`.
    pub(super) fn read(backend: &dyn Backend, dir: &Path) -> Result<List, StorageError> {
        let path = dir.join(LIST_FILE);
        let mapping = match backend.map(&path) {
            Ok(mapping) => mapping,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(StorageError::NotASnapshot { path: dir.to_path_buf(), file: LIST_FILE });
            }
            Err(error) => return Err(StorageError::io(&path, "map", error)),
        };
        parse(&path, mapping.bytes())
    }

    /// The whole of the file.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        codec::frame(LIST, self)
    }
}

/// The list that is the whole of `bytes`, checked.
pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<List, StorageError> {
    let list: List = codec::unframe_file(LIST, path, bytes)?;
    for file in &list.files {
        if !is_ours(&file.name) || file.sums.len() as u64 != file.bytes.div_ceil(BLOCK_BYTES) {
            let what = format!("list of a snapshot: {:?} is no file of a snapshot", file.name);
            return Err(StorageError::damaged(path, 0, what));
        }
    }
    Ok(list)
}

/// Whether a name can be a file's of a snapshot: it must not lead out of it.
fn is_ours(name: &str) -> bool {
    let plain =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    match name.split('/').collect::<Vec<_>>().as_slice() {
        [file] => [ALIASES_FILE, RECORDS_FILE].contains(file),
        ["collections", id, file] => id.len() == 16 && plain(id) && plain(file) && !file.starts_with('.'),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        assert!(is_ours("aliases.fma") && is_ours("collections/0123456789abcdef/segment-1.fms"));
        for name in ["", "/etc/passwd", "../x", "collections/0123456789abcdef/..", "collections/../aliases.fma", "LOCK"]
        {
            assert!(!is_ours(name), "{name}");
        }
        assert!(!is_ours("collections/0123456789abcdef/a/b") && !is_ours("collections/..............ab/x\\y"));
    }
}
