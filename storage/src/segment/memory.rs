//! The memory segment: immutable chunks of rows, merged so that a snapshot has few of them.
//!
//! Each batch makes a chunk. A chunk that is not more than twice as large as the one after it is merged with it, so
//! sizes fall geometrically: `n` rows are at most about `log2 n` chunks, and a row is copied about as often.

use std::sync::Arc;

use crate::batch::Document;

use super::derived::Derived;
use super::vectors::{VectorBuf, Vectors};

/// A row's key and what is not its vector.
#[derive(Debug)]
pub(crate) struct Row {
    /// Grows from row to row, in this process.
    pub(crate) number: u64,
    pub(crate) key: Box<str>,
    pub(crate) features: Option<Box<[f32]>>,
    pub(crate) document: Document,
}

impl Row {
    fn heap_bytes(&self) -> usize {
        let document = &self.document;
        size_of::<Row>()
            + self.key.len()
            + self.features.as_ref().map_or(0, |f| f.len() * 4)
            + document.payload.len()
            + document.caption.len()
            + document.uri.len()
            + document.thumbnail.len()
    }
}

/// Rows that do not change; keys are unique among them.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    vectors: VectorBuf,
    rows: Vec<Arc<Row>>,
    /// Row numbers in order of their keys.
    order: Vec<u32>,
    heap_bytes: usize,
    pub(super) derived: Derived,
}

impl Chunk {
    /// `vectors`: `[rows, dim]`, in the order of `rows`.
    pub(crate) fn new(vectors: VectorBuf, rows: Vec<Arc<Row>>) -> Chunk {
        let count = u32::try_from(rows.len()).expect("a batch is far below four billion rows");
        let mut order: Vec<u32> = (0..count).collect();
        order.sort_unstable_by(|&a, &b| rows[a as usize].key.cmp(&rows[b as usize].key));
        let heap_bytes = vectors.get().bytes().len() + rows.iter().map(|row| row.heap_bytes() + 16).sum::<usize>();
        Chunk { vectors, rows, order, heap_bytes, derived: Derived::default() }
    }

    pub(crate) fn rows(&self) -> u32 {
        self.order.len() as u32
    }

    /// `[rows, dim]`.
    pub(crate) fn vectors(&self) -> Vectors<'_> {
        self.vectors.get()
    }

    pub(crate) fn row(&self, row: u32) -> Option<&Arc<Row>> {
        self.rows.get(row as usize)
    }

    /// The first row whose number is at least `number`.
    pub(super) fn row_from(&self, number: u64) -> u32 {
        self.rows.partition_point(|row| row.number < number) as u32
    }

    pub(crate) fn find(&self, key: &str) -> Option<u32> {
        let at = self.order.binary_search_by(|&row| (*self.rows[row as usize].key).cmp(key)).ok()?;
        Some(self.order[at])
    }

    pub(super) fn row_in_key_order(&self, place: u32) -> Option<u32> {
        self.order.get(place as usize).copied()
    }

    /// Bytes of heap, near enough for a budget.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.heap_bytes
    }
}
