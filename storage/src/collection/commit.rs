//! Group commit: concurrent batches share one append and one fsync.
//!
//! Every writer queues its batch and asks for the writer's lock. Whoever gets it commits all that is queued; the
//! others find their answer when they get the lock. Batches become visible after the fsync and before the answer.

use std::collections::HashSet;
use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::batch::{Batch, Receipt};
use crate::error::StorageError;
use crate::journal::append::AppendError;
use crate::journal::record;

use super::rows::Plan;
use super::{Inner, State};

/// Bytes of one append, unless a single batch is larger.
const GROUP_BYTES_MAX: usize = 64 << 20;
/// How many times the seal budget memory may hold before writers wait for a seal.
const BUDGETS_MAX: u64 = 4;

type Answer = Result<Receipt, StorageError>;
type Slot = Arc<Mutex<Option<Answer>>>;

/// A batch that waits to be committed.
struct Pending {
    batch: Batch,
    payload: Vec<u8>,
    slot: Slot,
}

/// Batches in order of arrival.
#[derive(Default)]
pub(super) struct Queue {
    pending: VecDeque<Pending>,
}

impl Queue {
    fn take_group(&mut self) -> Vec<Pending> {
        let mut group = Vec::new();
        let mut bytes = 0;
        while let Some(next) = self.pending.front() {
            bytes += next.payload.len();
            if bytes > GROUP_BYTES_MAX && !group.is_empty() {
                break;
            }
            group.extend(self.pending.pop_front());
        }
        group
    }
}

impl Inner {
    /// Waits for a seal when memory holds several times its budget: heap stays bounded when writers are faster.
    pub(super) fn make_room(&self) -> Result<(), StorageError> {
        if self.over_budget(BUDGETS_MAX) {
            self.seal()
        } else {
            Ok(())
        }
    }

    /// Commits a checked batch, together with whatever else is queued.
    pub(super) fn commit_one(&self, batch: Batch) -> Answer {
        let payload = record::encode_batch(&batch)?;
        let slot = Slot::default();
        self.queue.lock().pending.push_back(Pending {
            batch,
            payload,
            slot: slot.clone(),
        });
        loop {
            let mut state = self.state.lock();
            if let Some(answer) = slot.lock().take() {
                return answer;
            }
            let group = self.queue.lock().take_group();
            if group.is_empty() {
                // The leader that took this batch ended without an answer: it panicked.
                let cause = StorageError::Poisoned {
                    path: self.dir.clone(),
                    cause: "a commit ended without an answer".to_owned(),
                };
                return Err(self.halt(&mut state, &cause));
            }
            self.commit(&mut state, group);
        }
    }

    fn commit(&self, state: &mut State, group: Vec<Pending>) {
        let (planned, repeats, bytes) = prepare(state, group);
        if let Err(error) = self.append(state, &bytes) {
            for pending in planned.iter().map(|(pending, _)| pending).chain(&repeats) {
                *pending.slot.lock() = Some(Err(error.clone()));
            }
            return;
        }
        let mut answers = Vec::with_capacity(planned.len());
        for (pending, plan) in planned {
            state.sequence += 1;
            let request_id = pending.batch.request_id.clone();
            let receipt = state.rows.apply(state.sequence, pending.batch, &plan);
            if let Some(request_id) = request_id {
                state.receipts.remember(request_id, receipt);
            }
            answers.push((pending.slot, receipt));
        }
        for pending in repeats {
            let receipt = pending
                .batch
                .request_id
                .as_deref()
                .and_then(|id| state.receipts.get(id));
            answers.push((
                pending.slot,
                receipt.expect("its first batch is in this group"),
            ));
        }
        if !bytes.is_empty() {
            self.show(state);
        }
        for (slot, receipt) in answers {
            *slot.lock() = Some(Ok(receipt));
        }
    }

    fn append(&self, state: &mut State, bytes: &[u8]) -> Result<(), StorageError> {
        if let Some(halted) = &state.halted {
            return Err(halted.clone());
        }
        if bytes.is_empty() {
            return Ok(());
        }
        match state.journal.append(bytes) {
            Ok(()) => Ok(()),
            Err(AppendError::Undone(error)) => Err(error),
            Err(AppendError::Poisoned(error)) => Err(self.halt(state, &error)),
        }
    }
}

/// Splits a group into batches to apply, repeats of those or of earlier ones, and the bytes to append. Batches that
/// cannot be planned are answered at once.
fn prepare(state: &State, group: Vec<Pending>) -> (Vec<(Pending, Plan)>, Vec<Pending>, Vec<u8>) {
    let (mut planned, mut repeats, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    let mut ids = HashSet::new();
    let seed = state.journal.identity.seed();
    for pending in group {
        if let Some(id) = &pending.batch.request_id
            && (ids.contains(id) || state.receipts.get(id).is_some())
        {
            repeats.push(pending);
            continue;
        }
        match state.rows.plan(&pending.batch) {
            Ok(plan) => {
                ids.extend(pending.batch.request_id.clone());
                let sequence = state.sequence + 1 + planned.len() as u64;
                record::push(
                    &mut bytes,
                    seed,
                    sequence,
                    state.journal.durable,
                    &pending.payload,
                );
                planned.push((pending, plan));
            }
            Err(error) => *pending.slot.lock() = Some(Err(error)),
        }
    }
    (planned, repeats, bytes)
}
