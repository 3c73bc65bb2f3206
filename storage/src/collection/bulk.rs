//! Bulk: a batch as large as a segment becomes one. It is written once, and neither to the journal nor through memory.
//!
//! Its file is made beside whatever else is written. Then, alone, what others wrote meanwhile is sealed, an empty batch in
//! the journal takes the sequence, a new journal follows it, and the manifest that names the segment is the atomic step: a
//! crash before it leaves a batch that did nothing, and a file that nobody names. The batch is visible after the publish
//! and before the answer.

use std::sync::Arc;

use crate::batch::{Batch, Op, Receipt};
use crate::error::StorageError;
use crate::journal::record;
use crate::receipts::StoredReceipt;
use crate::segment::SegmentView;

use super::rows::{MEMORY_ID_BIT, Puts};
use super::{Inner, Published};

/// A batch whose segment is written and not yet part of the collection.
struct Written {
    segment: SegmentView,
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
        let segment = self.build_segment(&mut published, memory.as_slice())?;
        let segment = segment.expect("a batch that only puts leaves a row");
        let path = segment.sealed_body().map(|sealed| sealed.path.clone());
        let mut replaced = Replaced::default();
        // Most of the looking, while others write.
        let sealed = self.state.lock().rows.sealed.clone();
        let taken = replaced.look(&sealed, &segment).and_then(|()| {
            let written = Written { segment, request_id: batch.request_id, receipt };
            self.alone(|| self.take_in(&mut published, written, replaced))
        });
        match taken {
            Ok((receipt, true)) => {
                self.tell_catalog(&published);
                self.remove_old(&mut published);
                return Ok(receipt);
            }
            // Poisoned in the middle of a publish, the manifest may name the file all the same.
            Err(_) if self.state.lock().halted.is_some() => {}
            _ => drop(path.map(|path| self.root.backend.remove_file(&path))),
        }
        taken.map(|(receipt, _)| receipt)
    }

    /// Makes the segment part of the collection, while no batch is committed. Returns its receipt, and whether it is new:
    /// another call may have written the same request meanwhile.
    fn take_in(
        &self,
        published: &mut Published,
        written: Written,
        mut replaced: Replaced,
    ) -> Result<(Receipt, bool), StorageError> {
        if let Some(receipt) = self.told_before(written.request_id.as_deref())? {
            return Ok((receipt, false));
        }
        // Nothing is removed before the publish: no manifest names the new file yet.
        self.publish_memory(published)?;
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
        Ok((receipt, true))
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
