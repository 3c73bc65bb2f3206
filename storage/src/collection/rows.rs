//! The writer's view of a collection's rows, and what a batch does to them.
//!
//! A batch is planned before it is written: looking a key up in a sealed segment can meet damage, and then the batch
//! must be refused, not half applied. Applying a planned batch cannot fail.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::batch::{Batch, CollectionSpec, Op, Receipt, Record, VectorType};
use crate::error::StorageError;
use crate::segment::SegmentView;
use crate::segment::memory::{Chunk, Row};
use crate::segment::vectors::VectorBuf;
use crate::version::Version;

/// Set in the ids of memory segments, so that they never equal a sealed one's.
pub(super) const MEMORY_ID_BIT: u64 = 1 << 63;

/// Rows that have come into memory in this process.
static ROWS_EVER: AtomicU64 = AtomicU64::new(0);

/// All rows of a collection, the writer's alone.
#[derive(Debug)]
pub(crate) struct Rows {
    dim: u32,
    vector_type: VectorType,
    pub(crate) sealed: Vec<SegmentView>,
    /// Chunks that a seal is writing out, or tried to.
    pub(crate) frozen: Vec<SegmentView>,
    /// Chunks that still merge.
    pub(crate) fresh: Vec<SegmentView>,
    next_chunk: u64,
}

/// Where the keys of a batch's operations are in sealed segments, in order.
#[derive(Debug)]
pub(crate) struct Plan {
    in_sealed: Vec<Option<(usize, u32)>>,
}

/// The records of a batch that are still put when it ends.
#[derive(Default)]
pub(super) struct Puts {
    /// The last record of each key, by place in `records`.
    place_of: HashMap<String, usize>,
    records: Vec<Option<(Arc<Row>, Vec<f32>)>>,
}

impl Puts {
    /// Takes back what was put under this key; false when there was nothing.
    pub(super) fn forget(&mut self, key: &str) -> bool {
        let place = self.place_of.remove(key);
        place.is_some_and(|place| self.records[place].take().is_some())
    }

    /// Puts a record, of whose key nothing is put.
    pub(super) fn push(&mut self, record: Record) {
        self.place_of.insert(record.key.clone(), self.records.len());
        let row = Row {
            number: ROWS_EVER.fetch_add(1, Ordering::Relaxed),
            key: record.key.into_boxed_str(),
            features: record.features.map(Vec::into_boxed_slice),
            document: record.document,
        };
        self.records.push(Some((Arc::new(row), record.vector)));
    }

    /// All that is put, in order; none when nothing is.
    pub(super) fn into_chunk(self, vector_type: VectorType, dim: u32) -> Option<Chunk> {
        let (rows, vectors): (Vec<_>, Vec<_>) = self.records.into_iter().flatten().unzip();
        if rows.is_empty() {
            return None;
        }
        let mut all = VectorBuf::with_capacity(vector_type, vectors.len() * dim as usize);
        vectors.iter().for_each(|vector| all.push(vector));
        Some(Chunk::new(all, rows))
    }
}

impl Rows {
    pub(crate) fn new(spec: &CollectionSpec, sealed: Vec<SegmentView>) -> Rows {
        Rows {
            dim: spec.dim,
            vector_type: spec.vector_type,
            sealed,
            frozen: Vec::new(),
            fresh: Vec::new(),
            next_chunk: 0,
        }
    }

    /// Every segment, oldest rows first.
    pub(crate) fn views(&self) -> Vec<SegmentView> {
        self.sealed.iter().chain(&self.frozen).chain(&self.fresh).cloned().collect()
    }

    fn chunks(&self) -> impl Iterator<Item = &Arc<Chunk>> {
        self.frozen.iter().chain(&self.fresh).filter_map(SegmentView::chunk)
    }

    /// Rows in memory, dead ones counted.
    pub(crate) fn memory_rows(&self) -> usize {
        self.chunks().map(|chunk| chunk.rows() as usize).sum()
    }

    /// Bytes of heap that those rows take.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.chunks().map(|chunk| chunk.heap_bytes()).sum()
    }

    /// Which record a key has.
    pub(crate) fn version(&self, key: &str) -> Result<Version, StorageError> {
        Version::of(key, self.sealed.iter().chain(&self.frozen).chain(&self.fresh))
    }

    /// Looks up the keys of `batch` where that can fail.
    pub(crate) fn plan(&self, batch: &Batch) -> Result<Plan, StorageError> {
        let locate = |op: &Op| {
            for (index, segment) in self.sealed.iter().enumerate().rev() {
                if let Some(row) = segment.find(op.key())? {
                    return Ok(Some((index, row)));
                }
            }
            Ok(None)
        };
        Ok(Plan { in_sealed: batch.ops.iter().map(locate).collect::<Result<_, StorageError>>()? })
    }

    /// Applies a batch in the order of its operations.
    pub(crate) fn apply(&mut self, sequence: u64, batch: Batch, plan: &Plan) -> Receipt {
        let mut receipt = Receipt { sequence, ..Receipt::default() };
        let mut puts = Puts::default();
        for (op, &in_sealed) in batch.ops.into_iter().zip(&plan.in_sealed) {
            let was_live = puts.forget(op.key()) || self.kill(op.key(), in_sealed);
            match op {
                Op::Put(record) => {
                    receipt.put += 1;
                    receipt.replaced += u32::from(was_live);
                    puts.push(record);
                }
                Op::Delete { .. } => receipt.deleted += u32::from(was_live),
            }
        }
        if let Some(chunk) = puts.into_chunk(self.vector_type, self.dim) {
            self.push_chunk(chunk);
        }
        receipt
    }

    fn kill(&mut self, key: &str, in_sealed: Option<(usize, u32)>) -> bool {
        for segment in self.fresh.iter_mut().rev().chain(self.frozen.iter_mut().rev()) {
            if let Some(row) = segment.chunk().and_then(|chunk| chunk.find(key))
                && segment.kill(row)
            {
                return true;
            }
        }
        in_sealed.is_some_and(|(index, row)| self.sealed[index].kill(row))
    }

    fn push_chunk(&mut self, chunk: Chunk) {
        self.push_fresh(chunk);
        while let [.., before, last] = self.fresh.as_slice()
            && u64::from(before.rows()) < 2 * u64::from(last.rows())
        {
            let merged = self.merge(before, last);
            self.fresh.truncate(self.fresh.len() - 2);
            if merged.rows() > 0 {
                self.push_fresh(merged);
            }
        }
    }

    fn push_fresh(&mut self, chunk: Chunk) {
        let id = MEMORY_ID_BIT | self.next_chunk;
        self.next_chunk += 1;
        self.fresh.push(SegmentView::memory(id, self.dim, Arc::new(chunk)));
    }

    /// The live rows of both as one chunk.
    fn merge(&self, before: &SegmentView, last: &SegmentView) -> Chunk {
        let dim = self.dim as usize;
        let count = before.live_rows() as usize + last.live_rows() as usize;
        let mut vectors = VectorBuf::with_capacity(self.vector_type, count * dim);
        let mut rows = Vec::with_capacity(count);
        for view in [before, last] {
            let Some(chunk) = view.chunk() else { continue };
            for row in view.live() {
                let start = row as usize * dim;
                vectors.extend(chunk.vectors().slice(start..start + dim));
                rows.extend(chunk.row(row).cloned());
            }
        }
        Chunk::new(vectors, rows)
    }
}
