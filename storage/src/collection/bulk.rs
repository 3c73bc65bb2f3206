//! Bulk: a batch as large as a segment becomes one. It is written once, and neither to the journal nor through memory.
//!
//! Its file is made, and most of what is in memory is sealed, beside whatever else is written. Then, alone, the little that is
//! still in memory is sealed, an empty batch in the journal takes the sequence, a new journal follows it, and the manifest
//! that names the segment is the atomic step: a crash before it leaves a batch that did nothing, and a file that nobody names.
//! The batch is visible after the publish and before the answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::batch::{Batch, Op, Receipt};
use crate::error::StorageError;
use crate::journal::record;
use crate::receipts::StoredReceipt;
use crate::segment::{SegmentView, Task};

use super::rows::{MEMORY_ID_BIT, Puts};
use super::{Inner, Published};

/// Writers wait for the seal of one part of so many of what is sealed without a large batch, and for no more.
const WAITED_FOR: u64 = 16;

/// A batch whose segment is written and not yet part of the collection.
struct Written {
    segment: SegmentView,
    /// Numbers for what is sealed before it.
    before: [u64; 2],
    request_id: Option<String>,
    /// What its receipt will say, without the rows that it replaces in other segments, and without the sequence.
    receipt: Receipt,
}

/// Rows of sealed segments whose keys a batch puts.
#[derive(Default)]
struct Replaced {
    /// Segments that were looked through.
    seen: Vec<u64>,
    /// Segment and row.
    rows: Vec<(u64, u32)>,
}

impl Replaced {
    /// Looks for the keys of `new` in those of `views` that were not looked through yet.
    fn look(&mut self, views: &[SegmentView], new: &SegmentView) -> Result<(), StorageError> {
        for view in views {
            if self.seen.contains(&view.id()) {
                continue;
            }
            for row in new.live() {
                if let Some(found) = view.find(new.key(row)?)? {
                    self.rows.push((view.id(), found));
                }
            }
            self.seen.push(view.id());
        }
        Ok(())
    }

    /// Marks the rows dead; returns how many were alive.
    fn kill(&self, views: &mut [SegmentView]) -> u32 {
        let mut killed = 0;
        for view in views {
            let id = view.id();
            let rows = self.rows.iter().filter(|(segment, _)| *segment == id);
            killed += rows.map(|&(_, row)| u32::from(view.kill(row))).sum::<u32>();
        }
        killed
    }
}

impl Inner {
    /// Whether a batch is to become a segment at once.
    pub(super) fn is_bulk(&self, batch: &Batch) -> bool {
        let bytes = batch.ops.len() * self.spec.dim as usize * self.spec.vector_type.bytes();
        !batch.ops.is_empty()
            && bytes >= self.root.options.bulk_bytes
            && batch.ops.iter().all(|op| matches!(op, Op::Put(_)))
    }

    /// Writes a checked batch that only puts as a segment; durable and visible on return.
    pub(super) fn write_segment(&self, batch: Batch) -> Result<Receipt, StorageError> {
        let mut published = self.publishing.lock();
        if let Some(receipt) = self.told_before(batch.request_id.as_deref())? {
            return Ok(receipt);
        }
        let (mut puts, mut receipt) = (Puts::default(), Receipt::default());
        for op in batch.ops {
            if let Op::Put(record) = op {
                receipt.put += 1;
                receipt.replaced += u32::from(puts.forget(&record.key));
                puts.push(record);
            }
        }
        let chunk = puts.into_chunk(self.spec.vector_type, self.spec.dim).map(Arc::new);
        let memory = chunk.map(|chunk| SegmentView::memory(MEMORY_ID_BIT, self.spec.dim, chunk));
        // Those of what is sealed before it come first: a greater number always holds what is newer.
        let before = [published.take_segment(), published.take_segment()];
        let segment = published.take_segment();
        let segment = self.build_segment(segment, memory.as_slice(), &mut Task::waited_for())?;
        let segment = segment.expect("a batch that only puts leaves a row");
        let written = Written { segment, before, request_id: batch.request_id, receipt };
        let taken = self.take_in(&mut published, written);
        // A manifest whose publish failed may name the file all the same: then it stays until the next one.
        if self.generation.load(Ordering::Relaxed) == published.generation {
            self.tell_catalog(&published);
            self.remove_old(&mut published);
        }
        taken
    }

    /// Makes the segment part of the collection. Nothing is removed meanwhile: no manifest names its file yet.
    fn take_in(&self, published: &mut Published, written: Written) -> Result<Receipt, StorageError> {
        if self.over_budget(1, WAITED_FOR) {
            self.publish_memory(published, written.before[0])?;
        }
        let mut replaced = Replaced::default();
        let sealed = self.state.lock().rows.sealed.clone();
        replaced.look(&sealed, &written.segment)?;
        self.alone(|| self.take_in_alone(published, written, replaced))
    }

    /// The rest of it, while no batch is committed.
    fn take_in_alone(
        &self,
        published: &mut Published,
        written: Written,
        mut replaced: Replaced,
    ) -> Result<Receipt, StorageError> {
        // Another call may have written the same request meanwhile.
        if let Some(receipt) = self.told_before(written.request_id.as_deref())? {
            return Ok(receipt);
        }
        self.publish_memory(published, written.before[1])?;
        let mut segments = self.state.lock().rows.sealed.clone();
        replaced.look(&segments, &written.segment)?;
        let sequence = self.take_sequence(published)?;
        let mut receipt = Receipt { sequence, ..written.receipt };
        receipt.replaced += replaced.kill(&mut segments);
        segments.push(written.segment);
        let mut receipts = self.state.lock().receipts.stored();
        receipts.extend(written.request_id.clone().map(|request_id| StoredReceipt { request_id, receipt }));
        self.publish(published, sequence, segments.clone(), receipts)?;
        let mut state = self.state.lock();
        state.rows.sealed = segments;
        if let Some(request_id) = written.request_id {
            state.receipts.remember(request_id, receipt);
        }
        self.show(&state);
        Ok(receipt)
    }

    /// The receipt of a request that was written before.
    ///
    /// # Errors
    /// Why the collection takes no more batches.
    fn told_before(&self, request_id: Option<&str>) -> Result<Option<Receipt>, StorageError> {
        let state = self.state.lock();
        match &state.halted {
            Some(halted) => Err(halted.clone()),
            None => Ok(request_id.and_then(|id| state.receipts.get(id))),
        }
    }

    /// Takes the next sequence with a batch that does nothing, and begins a journal after it.
    fn take_sequence(&self, published: &mut Published) -> Result<u64, StorageError> {
        let payload = record::encode_batch(&Batch::default(), self.spec.vector_type)?;
        let mut state = self.state.lock();
        let (sequence, mut bytes) = (state.sequence + 1, Vec::new());
        record::push(&mut bytes, state.journal.identity.seed(), sequence, state.journal.durable, &payload);
        self.append(&mut state, &bytes)?;
        state.sequence = sequence;
        self.rotate(&mut state, published)?;
        Ok(sequence)
    }
}
