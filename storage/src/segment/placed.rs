//! Rows that are found before they are read: memory is asked for all of them together, since a hit's key and document lie
//! in four places that no cache holds, and waiting for one after the other takes longer than reading them.

use std::ops::Range;

use crate::batch::Document;
use crate::error::StorageError;

use super::layout::PartKind;
use super::memory::Row;
use super::sealed::Sealed;

/// Where the key and the document of a row are.
#[derive(Debug)]
pub(crate) enum Placed<'s> {
    Memory(&'s Row),
    Sealed { sealed: &'s Sealed, key: Range<u64>, document: Range<u64> },
}

impl Sealed {
    /// Reads a byte of what says where a row is, so that it is on its way; what it is means nothing.
    pub(super) fn touch_place(&self, row: u32) -> u8 {
        let start = u64::from(row) * 8;
        self.peek(PartKind::KeyOffsets, start) ^ self.peek(PartKind::DocumentOffsets, start)
    }

    pub(super) fn place(&self, row: u32) -> Result<Placed<'_>, StorageError> {
        Ok(Placed::Sealed { sealed: self, key: self.key_range(row)?, document: self.document_range(row)? })
    }
}

impl<'s> Placed<'s> {
    /// Reads a byte of each, so that both are on their way; what it is means nothing.
    pub(crate) fn touch(&self) -> u8 {
        match self {
            Placed::Memory(row) => row.key.as_bytes().first().copied().unwrap_or_default(),
            Placed::Sealed { sealed, key, document } => {
                sealed.peek(PartKind::Keys, key.start) ^ sealed.peek(PartKind::Documents, document.start)
            }
        }
    }

    pub(crate) fn key(&self) -> Result<&'s str, StorageError> {
        match self {
            Placed::Memory(row) => Ok(&row.key),
            Placed::Sealed { sealed, key, .. } => sealed.key_at(key.clone()),
        }
    }

    pub(crate) fn document(&self) -> Result<Document, StorageError> {
        match self {
            Placed::Memory(row) => Ok(row.document.clone()),
            Placed::Sealed { sealed, document, .. } => sealed.document_at(document.clone()),
        }
    }
}
