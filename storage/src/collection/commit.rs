//! Group commit: concurrent batches share one append and one fsync.
//!
//! A writer queues its batch. If nobody leads, it leads: it commits all that is queued, answers, and makes the owner of
//! the first batch that came meanwhile the next leader. The others sleep until they are answered or made to lead.
//! Batches become visible after the fsync and before the answer. Who has something to do that no batch may come between
//! ([`Inner::alone`]) queues too, and leads a group of nobody.

use std::collections::VecDeque;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::batch::{Batch, Receipt};
use crate::error::StorageError;
use crate::journal::append::AppendError;
use crate::journal::record;
use crate::version::Version;

use super::rows::{Plan, Rows};
use super::{Inner, State};

type Answer = Result<Receipt, StorageError>;

/// What a sleeping writer is woken for.
enum Turn {
    Lead,
    Done(Answer),
}

/// Where a writer waits for its turn.
#[derive(Default)]
struct Slot {
    turn: Mutex<Option<Turn>>,
    woken: Condvar,
}

impl Slot {
    fn give(&self, turn: Turn) {
        *self.turn.lock() = Some(turn);
        self.woken.notify_one();
    }

    fn wait(&self) -> Turn {
        let mut turn = self.turn.lock();
        loop {
            match turn.take() {
                Some(turn) => return turn,
                None => self.woken.wait(&mut turn),
            }
        }
    }

    fn answer(&self, answer: Answer) {
        self.give(Turn::Done(answer));
    }
}

/// A batch that waits to be committed.
struct Pending {
    batch: Batch,
    /// What it was made from.
    versions: Vec<Version>,
    payload: Vec<u8>,
    slot: Arc<Slot>,
}

/// Who queues.
enum Waiting {
    Batch(Pending),
    /// Wants a turn of its own.
    Alone(Arc<Slot>),
}

impl Waiting {
    fn slot(&self) -> &Arc<Slot> {
        match self {
            Waiting::Batch(pending) => &pending.slot,
            Waiting::Alone(slot) => slot,
        }
    }
}

/// Who waits, in order of arrival.
#[derive(Default)]
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
    is_led: bool,
}

impl Queue {
    /// Queues; whether it leads at once.
    fn join(&mut self, waiting: Waiting) -> bool {
        self.waiting.push_back(waiting);
        !std::mem::replace(&mut self.is_led, true)
    }

    /// The batches at the front, up to the first who wants to be alone.
    fn take_group(&mut self, bytes_max: usize) -> Vec<Pending> {
        let (mut group, mut bytes) = (Vec::new(), 0);
        while let Some(Waiting::Batch(next)) = self.waiting.front() {
            bytes += next.payload.len();
            if bytes > bytes_max && !group.is_empty() {
                break;
            }
            if let Some(Waiting::Batch(next)) = self.waiting.pop_front() {
                group.push(next);
            }
        }
        group
    }
}

impl Inner {
    /// Waits for a seal when memory holds several times its budget: heap stays bounded when writers are faster.
    ///
    /// # Errors
    /// Why there is no room: the seal's error, or that of the last one while seals rest.
    pub(super) fn make_room(&self) -> Result<(), StorageError> {
        let budgets_max = self.root.options.memory_budgets_max;
        if !self.over_budget(budgets_max, 1) {
            return Ok(());
        }
        let sealed = self.seal_trouble.resting().map_or_else(|| self.seal_now(), Err);
        // Another's seal may have made room meanwhile.
        if self.over_budget(budgets_max, 1) { sealed } else { Ok(()) }
    }

    /// Commits a checked batch, together with whatever else is queued.
    pub(super) fn commit_one(&self, batch: Batch, versions: Vec<Version>) -> Answer {
        let payload = record::encode_batch(&batch, self.spec.vector_type)?;
        let slot = Arc::new(Slot::default());
        let pending = Pending { batch, versions, payload, slot: slot.clone() };
        let leads = self.queue.lock().join(Waiting::Batch(pending));
        if !leads && let Turn::Done(answer) = slot.wait() {
            return answer;
        }
        self.lead();
        match slot.wait() {
            Turn::Done(answer) => answer,
            Turn::Lead => unreachable!("a leader's batch is the first of its group"),
        }
    }

    /// Does `work` while no batch is committed: those that come wait until it is done.
    pub(super) fn alone<T>(&self, work: impl FnOnce() -> T) -> T {
        let slot = Arc::new(Slot::default());
        let leads = self.queue.lock().join(Waiting::Alone(slot.clone()));
        if !leads {
            slot.wait();
        }
        let _lead = Lead { inner: self, group: Vec::new() };
        self.queue.lock().waiting.pop_front();
        work()
    }

    fn lead(&self) {
        let mut lead = Lead { inner: self, group: Vec::new() };
        let mut state = self.state.lock();
        let group = self.queue.lock().take_group(self.root.options.group_bytes_max);
        lead.group = group.iter().map(|pending| pending.slot.clone()).collect();
        self.commit(&mut state, group);
    }

    fn commit(&self, state: &mut State, group: Vec<Pending>) {
        if let Some(halted) = &state.halted {
            group.iter().for_each(|pending| pending.slot.answer(Err(halted.clone())));
            return;
        }
        let (planned, repeats, bytes) = prepare(state, group);
        if let Err(error) = self.append(state, &bytes) {
            let group = planned.into_iter().map(|(pending, _)| pending).chain(repeats).collect();
            return self.refuse(state, group, &error);
        }
        let mut answers = Vec::with_capacity(planned.len());
        // Not to be looked up in the memory of receipts: of a large group it has forgotten the first ones at the end.
        let mut of_group = HashMap::new();
        for (pending, plan) in planned {
            state.sequence += 1;
            let request_id = pending.batch.request_id.clone();
            let receipt = state.rows.apply(state.sequence, pending.batch, &plan);
            if let Some(request_id) = request_id {
                of_group.insert(request_id.clone(), receipt);
                state.receipts.remember(request_id, receipt);
            }
            answers.push((pending.slot, receipt));
        }
        for pending in repeats {
            let receipt = pending.batch.request_id.as_ref().and_then(|id| of_group.get(id));
            answers.push((pending.slot, *receipt.expect("its first batch is in this group")));
        }
        if !bytes.is_empty() {
            self.show(state);
        }
        for (slot, receipt) in answers {
            slot.answer(Ok(receipt));
        }
    }

    /// Answers a group that could not be appended. On a full disk, what only deletes is tried again: alone first, then
    /// in the room that was kept for it.
    fn refuse(&self, state: &mut State, group: Vec<Pending>, error: &StorageError) {
        let is_full = matches!(error, StorageError::DiskFull { .. });
        let (deletes, others): (Vec<_>, Vec<_>) =
            group.into_iter().partition(|pending| is_full && pending.batch.only_deletes());
        for pending in &others {
            pending.slot.answer(Err(error.clone()));
        }
        if !deletes.is_empty() && (!others.is_empty() || self.root.reserve.give_up(&*self.root.backend)) {
            return self.commit(state, deletes);
        }
        for pending in deletes {
            pending.slot.answer(Err(error.clone()));
        }
    }

    pub(super) fn append(&self, state: &mut State, bytes: &[u8]) -> Result<(), StorageError> {
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

/// The leader's duty at the end, also when it panics: everyone of its group is answered, and someone leads next.
struct Lead<'a> {
    inner: &'a Inner,
    group: Vec<Arc<Slot>>,
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let path = self.inner.dir.clone();
            let cause = StorageError::Poisoned { path, cause: "a commit panicked".to_owned() };
            let halted = self.inner.halt(&mut self.inner.state.lock(), &cause);
            for slot in &self.group {
                if slot.turn.lock().is_none() {
                    slot.answer(Err(halted.clone()));
                }
            }
        }
        let mut queue = self.inner.queue.lock();
        match queue.waiting.front() {
            Some(next) => next.slot().give(Turn::Lead),
            None => queue.is_led = false,
        }
    }
}

/// Splits a group into batches to apply, repeats of those, and the bytes to append. Batches that cannot be planned, and
/// repeats of earlier ones, are answered at once.
fn prepare(state: &State, group: Vec<Pending>) -> (Vec<(Pending, Plan)>, Vec<Pending>, Vec<u8>) {
    let (mut planned, mut repeats, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    let mut ids = HashSet::new();
    let mut touched = Touched::of(&group);
    let seed = state.journal.identity.seed();
    for pending in group {
        if let Some(id) = &pending.batch.request_id {
            if let Some(receipt) = state.receipts.get(id) {
                pending.slot.answer(Ok(receipt));
                continue;
            }
            if ids.contains(id) {
                repeats.push(pending);
                continue;
            }
        }
        let unchanged = touched.check(&state.rows, &pending.versions);
        match unchanged.and_then(|()| state.rows.plan(&pending.batch)) {
            Ok(plan) => {
                touched.add(&pending.batch);
                ids.extend(pending.batch.request_id.clone());
                let sequence = state.sequence + 1 + planned.len() as u64;
                record::push(&mut bytes, seed, sequence, state.journal.durable, &pending.payload);
                planned.push((pending, plan));
            }
            Err(error) => pending.slot.answer(Err(error)),
        }
    }
    (planned, repeats, bytes)
}

/// The keys that batches of a group write, where one of them is held to what keys had before.
struct Touched(Option<HashSet<String>>);

impl Touched {
    fn of(group: &[Pending]) -> Touched {
        Touched(group.iter().any(|pending| !pending.versions.is_empty()).then(HashSet::new))
    }

    fn add(&mut self, batch: &Batch) {
        if let Touched(Some(keys)) = self {
            keys.extend(batch.ops.iter().map(|op| op.key().to_owned()));
        }
    }

    /// Whether keys have what they had, and none is written by a batch that comes first.
    fn check(&self, rows: &Rows, versions: &[Version]) -> Result<(), StorageError> {
        for version in versions {
            let is_touched = self.0.as_ref().is_some_and(|keys| keys.contains(version.key()));
            if is_touched || rows.version(version.key())? != *version {
                return Err(StorageError::Changed { key: version.key().to_owned() });
            }
        }
        Ok(())
    }
}
