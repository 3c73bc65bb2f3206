//! What a reader sees of a segment: its rows, and which of them are alive.

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;

use crate::batch::Document;
use crate::error::StorageError;
use crate::version::RecordName;

use super::dead::DeadRows;
use super::memory::Chunk;
use super::placed::Placed;
use super::sealed::Sealed;
use super::vectors::Vectors;

#[derive(Debug, Clone)]
enum Body {
    Memory(Arc<Chunk>),
    Sealed(Arc<Sealed>),
}

/// One segment of a snapshot. Rows are numbered from 0 and do not move; deletes and replacements only mark them
/// dead, in later views.
#[derive(Debug, Clone)]
pub struct SegmentView {
    id: u64,
    dim: u32,
    body: Body,
    dead: Arc<DeadRows>,
}

impl SegmentView {
    pub(crate) fn memory(id: u64, dim: u32, chunk: Arc<Chunk>) -> SegmentView {
        SegmentView { id, dim, body: Body::Memory(chunk), dead: Arc::default() }
    }

    pub(crate) fn sealed(sealed: Arc<Sealed>, dead: DeadRows) -> SegmentView {
        let (id, dim) = (sealed.header.segment, sealed.header.dim);
        SegmentView { id, dim, body: Body::Sealed(sealed), dead: Arc::new(dead) }
    }

    /// Unique in the collection: an id never names other rows. Memory segments have the highest bit set.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether the segment is a file; else it is in memory and has no graph.
    pub fn is_sealed(&self) -> bool {
        matches!(self.body, Body::Sealed(_))
    }

    /// Rows, dead ones counted.
    pub fn rows(&self) -> u32 {
        match &self.body {
            Body::Memory(chunk) => chunk.rows(),
            Body::Sealed(sealed) => sealed.header.rows,
        }
    }

    /// Rows that are neither deleted nor replaced.
    pub fn live_rows(&self) -> u32 {
        self.rows() - self.dead.count()
    }

    /// About the bytes that its live rows take in a file.
    pub(crate) fn live_bytes(&self) -> u64 {
        let bytes = match &self.body {
            Body::Memory(chunk) => chunk.heap_bytes() as u64,
            Body::Sealed(sealed) => sealed.file_bytes(),
        };
        (u128::from(bytes) * u128::from(self.live_rows()) / u128::from(self.rows().max(1))) as u64
    }

    /// Elements of a vector.
    pub fn dim(&self) -> usize {
        self.dim as usize
    }

    /// Whether the row is there and neither deleted nor replaced.
    #[inline]
    pub fn is_live(&self, row: u32) -> bool {
        row < self.rows() && !self.dead.contains(row)
    }

    /// All vectors, `[rows, dim]`, dead rows too. A sealed segment's are checked on first touch.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when a checksum is wrong.
    pub fn vectors(&self) -> Result<Vectors<'_>, StorageError> {
        match &self.body {
            Body::Memory(chunk) => Ok(chunk.vectors()),
            Body::Sealed(sealed) => sealed.vectors(),
        }
    }

    /// The vector of a row, `[dim]`. Of a sealed segment, only what holds it is checked.
    ///
    /// # Errors
    /// [`StorageError::NoSuchRow`], or [`StorageError::Damaged`] when a checksum is wrong.
    pub fn vector(&self, row: u32) -> Result<Vectors<'_>, StorageError> {
        self.check_row(row)?;
        match &self.body {
            Body::Memory(chunk) => {
                let start = row as usize * self.dim();
                Ok(chunk.vectors().slice(start..start + self.dim()))
            }
            Body::Sealed(sealed) => sealed.vector(row),
        }
    }

    /// The key of a row.
    ///
    /// # Errors
    /// [`StorageError::NoSuchRow`], or [`StorageError::Damaged`] when a checksum is wrong.
    pub fn key(&self, row: u32) -> Result<&str, StorageError> {
        match &self.body {
            Body::Memory(chunk) => Ok(&chunk.row(row).ok_or_else(|| self.no_row(row))?.key),
            Body::Sealed(sealed) => {
                self.check_row(row)?;
                sealed.key(row)
            }
        }
    }

    /// The document of a row.
    ///
    /// # Errors
    /// As [`SegmentView::key`].
    pub fn document(&self, row: u32) -> Result<Document, StorageError> {
        match &self.body {
            Body::Memory(chunk) => Ok(chunk.row(row).ok_or_else(|| self.no_row(row))?.document.clone()),
            Body::Sealed(sealed) => {
                self.check_row(row)?;
                sealed.document(row)
            }
        }
    }

    /// Where the key and the document of a row are.
    ///
    /// # Errors
    /// As [`SegmentView::key`].
    pub(crate) fn place(&self, row: u32) -> Result<Placed<'_>, StorageError> {
        match &self.body {
            Body::Memory(chunk) => Ok(Placed::Memory(chunk.row(row).ok_or_else(|| self.no_row(row))?)),
            Body::Sealed(sealed) => {
                self.check_row(row)?;
                sealed.place(row)
            }
        }
    }

    /// Has memory send what says where a row is; what is returned means nothing.
    pub(crate) fn touch_place(&self, row: u32) -> u8 {
        match &self.body {
            Body::Memory(_) => 0,
            Body::Sealed(sealed) => sealed.touch_place(row),
        }
    }

    /// The features of a row, `[feature_dim]`, when it was put with them.
    ///
    /// # Errors
    /// As [`SegmentView::key`].
    pub fn features(&self, row: u32) -> Result<Option<Vec<f32>>, StorageError> {
        match &self.body {
            Body::Memory(chunk) => {
                let row = chunk.row(row).ok_or_else(|| self.no_row(row))?;
                Ok(row.features.as_ref().map(|features| features.to_vec()))
            }
            Body::Sealed(sealed) => {
                self.check_row(row)?;
                sealed.features(row)
            }
        }
    }

    /// The graph of a sealed segment, when it has one.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when a checksum is wrong: the vectors are still good, so scan them exactly.
    pub fn graph(&self) -> Result<Option<&[u8]>, StorageError> {
        match &self.body {
            Body::Memory(_) => Ok(None),
            Body::Sealed(sealed) => sealed.graph(),
        }
    }

    /// The caller's list of its payloads, when a sealed segment has one.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when a checksum is wrong: the documents are still good, so read those.
    pub fn payloads(&self) -> Result<Option<&[u8]>, StorageError> {
        match &self.body {
            Body::Memory(_) => Ok(None),
            Body::Sealed(sealed) => sealed.payloads(),
        }
    }

    /// What the caller has derived from the segment's rows, dead ones too; it goes when the segment goes. None when a
    /// value of another type is there.
    pub fn derived<T: Any + Send + Sync + Default>(&self) -> Option<&T> {
        match &self.body {
            Body::Memory(chunk) => chunk.derived.get(),
            Body::Sealed(sealed) => sealed.derived.get(),
        }
    }

    /// The number of a row in memory: higher for each row that came later, the same as long as it is in memory, and
    /// no other row's in this process. None for sealed rows.
    pub fn memory_number(&self, row: u32) -> Option<u64> {
        Some(self.chunk()?.row(row)?.number)
    }

    /// The first row in memory whose [number](Self::memory_number) is at least `number`; the segment's rows where there is
    /// none, or where the segment is sealed.
    pub fn memory_row_from(&self, number: u64) -> u32 {
        self.chunk().map_or(self.rows(), |chunk| chunk.row_from(number))
    }

    /// The live row of a key.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when a checksum of the key table is wrong.
    pub fn find(&self, key: &str) -> Result<Option<u32>, StorageError> {
        let row = match &self.body {
            Body::Memory(chunk) => chunk.find(key),
            Body::Sealed(sealed) => sealed.find(key)?,
        };
        Ok(row.filter(|&row| self.is_live(row)))
    }

    /// What tells the record of a row that is there from all others of its key.
    pub(crate) fn record_name(&self, row: u32) -> Option<RecordName> {
        match &self.body {
            Body::Memory(chunk) => chunk.row(row).map(|row| RecordName::InMemory(row.number)),
            Body::Sealed(_) => Some(RecordName::Sealed { segment: self.id, row }),
        }
    }

    /// The row at a place in the order of keys, dead ones counted.
    pub(crate) fn row_in_key_order(&self, place: u32) -> Result<u32, StorageError> {
        match &self.body {
            Body::Memory(chunk) => chunk.row_in_key_order(place).ok_or_else(|| self.no_row(place)),
            Body::Sealed(sealed) => sealed.key_order(place),
        }
    }

    /// The place of the first key that is greater than `key`.
    pub(crate) fn place_behind(&self, key: &str) -> Result<u32, StorageError> {
        let (mut low, mut high) = (0, self.rows());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.key(self.row_in_key_order(middle)?)? <= key {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        Ok(low)
    }

    /// The features of a row without a copy where there need be none.
    pub(crate) fn features_ref(&self, row: u32) -> Result<Option<Cow<'_, [f32]>>, StorageError> {
        match &self.body {
            Body::Memory(chunk) => Ok(chunk.row(row).and_then(|row| row.features.as_deref()).map(Cow::Borrowed)),
            Body::Sealed(sealed) => Ok(sealed.features(row)?.map(Cow::Owned)),
        }
    }

    /// The rows that are alive, ascending.
    pub(crate) fn live(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.rows()).filter(|&row| !self.dead.contains(row))
    }

    /// Whether every part of a row can be read, and its vector has a direction.
    pub(crate) fn is_row_whole(&self, row: u32) -> bool {
        self.vector(row).is_ok_and(Vectors::has_direction)
            && self.key(row).is_ok()
            && self.document(row).is_ok()
            && self.features_ref(row).is_ok()
    }

    /// Marks a row dead in this view alone; false when it already was.
    pub(crate) fn kill(&mut self, row: u32) -> bool {
        Arc::make_mut(&mut self.dead).insert(row)
    }

    pub(crate) fn dead(&self) -> &DeadRows {
        &self.dead
    }

    pub(crate) fn chunk(&self) -> Option<&Arc<Chunk>> {
        match &self.body {
            Body::Memory(chunk) => Some(chunk),
            Body::Sealed(_) => None,
        }
    }

    pub(crate) fn sealed_body(&self) -> Option<&Arc<Sealed>> {
        match &self.body {
            Body::Memory(_) => None,
            Body::Sealed(sealed) => Some(sealed),
        }
    }

    fn check_row(&self, row: u32) -> Result<(), StorageError> {
        if row < self.rows() { Ok(()) } else { Err(self.no_row(row)) }
    }

    fn no_row(&self, row: u32) -> StorageError {
        StorageError::NoSuchRow { segment: self.id, row, rows: self.rows() }
    }
}
