//! The past of one sequence: a [`Cache`](crate::Cache) in the decoder's terms.

use std::sync::Arc;

use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};

use super::batch::Batch;
use super::error::GraphError;
use super::kept::{HeadShape, Kept, Slot, lost};
use crate::cache::CacheState;
use crate::error::ModelError;
use crate::schedule::Member;

/// The past of one sequence.
pub(super) struct Past {
    shape: HeadShape,
    len: usize,
    slot: Arc<Slot>,
    batch: Arc<Batch>,
    member: Member,
}

impl Past {
    /// The past of a sequence that has not begun; `batch` is where its steps may meet others.
    pub(super) fn empty(shape: HeadShape, batch: Arc<Batch>) -> Self {
        Self { shape, len: 0, slot: Arc::new(Mutex::new(Some(Kept::nothing()))), member: batch.new_member(), batch }
    }

    /// Whether it is the past of a decoder of this shape.
    pub(super) fn fits(&self, shape: HeadShape) -> bool {
        self.shape == shape
    }

    pub(super) fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    pub(super) fn member(&self) -> Member {
        self.member
    }

    /// Counts positions that a pass has added.
    pub(super) fn grow(&mut self, added: usize) {
        self.len += added;
    }

    /// Its keys and values in memory of their own, taken out of the batch if they are there.
    pub(super) fn own(&self) -> Result<MappedMutexGuard<'_, Kept>, GraphError> {
        let mut slot = self.slot.lock();
        if slot.is_none() {
            // The batch is locked before any slot.
            drop(slot);
            self.batch.release(&self.slot)?;
            slot = self.slot.lock();
        }
        MutexGuard::try_map(slot, Option::as_mut)
            .map_err(|_| lost(self.len, 0))
            .and_then(|kept| if kept.len == self.len { Ok(kept) } else { Err(lost(self.len, kept.len)) })
    }

    /// Gives up the row in the batch, if there is one.
    fn forget(&self) {
        if self.slot.lock().is_none() {
            self.batch.vacate(&self.slot);
        }
    }

    fn first(&self, len: usize) -> Result<Kept, GraphError> {
        self.own()?.first(self.shape, len)
    }
}

impl CacheState for Past {
    fn len(&self) -> usize {
        self.len
    }

    fn truncate(&mut self, len: usize) -> Result<(), ModelError> {
        // Of nothing, nothing can be lost: so a sequence is begun anew.
        let first = if len == 0 { Kept::nothing() } else { self.first(len)? };
        self.forget();
        *self.slot.lock() = Some(first);
        self.len = len;
        Ok(())
    }

    fn try_clone(&self) -> Result<Box<dyn CacheState>, ModelError> {
        let mut clone = Past::empty(self.shape, self.batch.clone());
        *clone.slot.lock() = Some(self.first(self.len)?);
        clone.len = self.len;
        Ok(Box::new(clone))
    }

    fn bytes(&self) -> usize {
        self.len * self.shape.bytes()
    }

    fn rest(&mut self) -> Result<(), ModelError> {
        self.batch.leave(self.member);
        drop(self.own()?);
        Ok(())
    }
}

impl Drop for Past {
    fn drop(&mut self) {
        self.batch.leave(self.member);
        self.forget();
    }
}
