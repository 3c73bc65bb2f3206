//! A collection: the handle that writes, reads and seals.
//!
//! [`commit`] makes batches durable, [`rows`] is what they change, [`open`] recovers all of it after a crash,
//! [`seal`] turns memory into files and [`merge`] keeps those few; [`bulk`] makes a file of a batch that is as large as one.
//! Whoever writes passes a gate first, which is shut while the collection is handed over to what takes its place.
//! Three locks, always taken in this order: the merger's (one merge at a time, however long it takes), the publisher's (one
//! seal at a time; a merge takes it to begin and to end), the writer's (held for an append, never while a segment is
//! written). Readers take none.

mod bulk;
pub(crate) mod capture;
mod commit;
mod compact;
pub(crate) mod create;
pub(crate) mod follow;
mod hints;
mod keep;
mod known;
mod merge;
pub(crate) mod open;
pub(crate) mod rows;
pub(crate) mod seal;
mod stats;
mod trouble;

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::{Mutex, RwLock};

use crate::batch::{self, Batch, CollectionSpec, Receipt};
use crate::error::StorageError;
use crate::journal::append::Journal;
use crate::receipts::{Receipts, StoredReceipt};
use crate::segment::{SegmentBuilder, SegmentView};
use crate::snapshot::Snapshot;
use crate::store::root::Root;
use crate::version::Version;

pub use compact::CompactReport;
use rows::Rows;
pub use stats::{CollectionStats, PartBytes};
use trouble::Trouble;

/// A collection of an open database. Cheap to clone; keeps the database open.
#[derive(Clone)]
pub struct Collection {
    pub(crate) inner: Arc<Inner>,
    /// How often it had been handed over when this handle was taken.
    taken_at: u64,
}

/// What the handles of one collection share.
pub(crate) struct Inner {
    pub(crate) root: Arc<Root>,
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) spec: CollectionSpec,
    pub(crate) dir: PathBuf,
    /// Held for reading by whoever writes a batch, and for writing while it is handed over.
    gate: RwLock<()>,
    handed_over: AtomicU64,
    queue: Mutex<commit::Queue>,
    pub(crate) merging: Mutex<()>,
    pub(crate) publishing: Mutex<Published>,
    pub(crate) state: Mutex<State>,
    snapshot: ArcSwap<Snapshot>,
    builder: ArcSwapOption<Arc<dyn SegmentBuilder>>,
    pub(crate) seal_requested: AtomicBool,
    merge_requested: AtomicBool,
    /// Whether merges that an earlier process gave up were asked for.
    resumed: AtomicBool,
    /// Somebody waits for the merger's lock who has no use for the merge.
    merge_unwanted: AtomicBool,
    /// Of the newest manifest, for `stats`.
    pub(crate) generation: AtomicU64,
    /// The last batch that the catalog was told of.
    told_sequence: AtomicU64,
    sizes: Sizes,
    seal_trouble: Trouble,
    merge_trouble: Trouble,
    keeping_hints: Mutex<()>,
}

/// What the writer changes.
pub(crate) struct State {
    pub(crate) journal: Journal,
    rows: Rows,
    receipts: Receipts,
    pub(crate) sequence: u64,
    /// Why no more batches are taken.
    pub(crate) halted: Option<StorageError>,
}

/// What the newest manifest says, at its sequence.
pub(crate) struct Published {
    pub(crate) generation: u64,
    pub(crate) sequence: u64,
    pub(crate) segments: Vec<SegmentView>,
    receipts: Vec<StoredReceipt>,
    next_segment: u64,
    /// Journals on disk, by first sequence, ascending; the last takes new batches.
    pub(crate) journals: Vec<u64>,
    /// The segment that a merge is writing, whose file no manifest names yet and nobody removes.
    merging_into: Option<u64>,
    /// Segments that a merge could not read.
    unmergeable: HashSet<u64>,
}

impl Published {
    /// Takes the number of the next segment.
    fn take_segment(&mut self) -> u64 {
        let segment = self.next_segment;
        self.next_segment += 1;
        segment
    }
}

/// Sizes that decide when to seal, readable without a lock.
#[derive(Debug, Default)]
struct Sizes {
    memory_rows: AtomicU64,
    memory_bytes: AtomicU64,
    journal_bytes: AtomicU64,
}

impl Collection {
    pub(crate) fn new(inner: Arc<Inner>) -> Collection {
        let taken_at = inner.handed_over.load(Ordering::SeqCst);
        Collection { inner, taken_at }
    }

    /// The name it was created under.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Its id: it stays when names and aliases change.
    pub fn id(&self) -> u64 {
        self.inner.id
    }

    /// What it holds.
    pub fn spec(&self) -> &CollectionSpec {
        &self.inner.spec
    }

    /// Writes a batch. On return it is durable and visible to every later [`Collection::snapshot`]. Concurrent calls
    /// share an fsync. A batch of many puts (`bulk_bytes` of [`StoreOptions`](crate::StoreOptions)) becomes a segment at once.
    ///
    /// # Errors
    /// The batch's own fault (nothing is written), [`StorageError::DiskFull`] or [`StorageError::Io`] (nothing of it
    /// is kept; what only deletes is written even then, as long as the reserve lasts), [`StorageError::Poisoned`] (whether it is kept shows at the next open).
    pub fn write(&self, batch: Batch) -> Result<Receipt, StorageError> {
        self.write_held_to(batch, Vec::new())
    }

    /// The same for a batch that was made from what somebody read: it is written only if the keys of `versions` still have
    /// what they had then. One that is held to versions goes through the journal, however large it is.
    ///
    /// # Errors
    /// As [`Self::write`], and [`StorageError::Changed`] when a key has something else: nothing is written then.
    pub fn write_held_to(&self, batch: Batch, versions: Vec<Version>) -> Result<Receipt, StorageError> {
        batch::check(&batch, &self.inner.spec)?;
        let _gate = self.inner.gate.read();
        if self.inner.handed_over.load(Ordering::SeqCst) != self.taken_at {
            let known = batch.request_id.as_deref().and_then(|id| self.receipt(id));
            return known.ok_or_else(|| StorageError::HandedOver { name: self.inner.name.clone() });
        }
        let (only_deletes, is_bulk) = (batch.only_deletes(), versions.is_empty() && self.inner.is_bulk(&batch));
        let receipt = match is_bulk {
            true => self.inner.write_segment(batch)?,
            false => {
                if !only_deletes {
                    self.inner.make_room()?;
                }
                self.inner.commit_one(batch, versions)?
            }
        };
        if !only_deletes {
            self.inner.root.reserve.take(&*self.inner.root.backend);
        }
        if self.inner.wants_seal() {
            self.inner.request_seal();
        } else if is_bulk {
            self.inner.request_merge();
        }
        Ok(receipt)
    }

    /// Does `work` while nobody writes: batches wait, also those that others have begun. Once it has succeeded, every handle
    /// that was taken before is refused as [`StorageError::HandedOver`]; new ones write. So what takes the collection's place
    /// can be brought to what it has, and be named by its alias, and no batch is acknowledged that only the old one has.
    ///
    /// # Errors
    /// Those of `work`: nothing has changed then.
    pub fn hand_over<T, E>(&self, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let _gate = self.inner.gate.write();
        let done = work()?;
        self.inner.handed_over.fetch_add(1, Ordering::SeqCst);
        Ok(done)
    }

    /// The receipt of the batch that was written under this request id, as long as it is remembered.
    pub fn receipt(&self, request_id: &str) -> Option<Receipt> {
        self.inner.state.lock().receipts.get(request_id)
    }

    /// The collection as it is now. Never waits for a writer.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::clone(&self.inner.snapshot.load())
    }

    /// Writes everything that is in memory into a sealed segment, and merges segments where there are many, after whoever
    /// does so now. Batches go on meanwhile. Without anything new it only merges.
    ///
    /// # Errors
    /// An I/O error: nothing is lost, the journal still holds every batch.
    pub fn seal(&self) -> Result<(), StorageError> {
        self.inner.seal()
    }

    /// Has the background take up merges that were given up when the database was closed; nothing without a background.
    pub fn resume_merging(&self) {
        if self.inner.root.background.is_there() && !self.inner.resumed.swap(true, Ordering::SeqCst) {
            self.inner.request_merge();
        }
    }

    /// Sets who makes the graphs of segments made from now on.
    pub fn set_segment_builder(&self, builder: Arc<dyn SegmentBuilder>) {
        self.inner.builder.store(Some(Arc::new(builder)));
    }
}

impl fmt::Debug for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collection").field("name", &self.inner.name).field("id", &self.inner.id).finish()
    }
}

impl Inner {
    /// Shows the writer's rows to readers.
    fn show(&self, state: &State) {
        self.sizes.memory_rows.store(state.rows.memory_rows() as u64, Ordering::Relaxed);
        self.sizes.memory_bytes.store(state.rows.memory_bytes() as u64, Ordering::Relaxed);
        self.sizes.journal_bytes.store(state.journal.durable, Ordering::Relaxed);
        self.snapshot.store(Arc::new(Snapshot::new(state.sequence, state.rows.views())));
    }

    /// Takes no more batches, for `error`'s reason; the first reason stays.
    pub(crate) fn halt(&self, state: &mut State, error: &StorageError) -> StorageError {
        let poisoned = StorageError::Poisoned { path: self.dir.clone(), cause: error.to_string() };
        tracing::error!(collection = %self.name, %error, "the collection takes no more writes");
        state.halted.get_or_insert(poisoned).clone()
    }

    fn wants_seal(&self) -> bool {
        self.over_budget(1, 1)
    }

    /// Whether memory or journal hold `times / of` of what a segment is sealed at.
    fn over_budget(&self, times: u64, of: u64) -> bool {
        let options = &self.root.options;
        let (rows, bytes) = (options.seal_rows as u64 * times / of, options.seal_bytes as u64 * times / of);
        self.sizes.memory_rows.load(Ordering::Relaxed) >= rows
            || self.sizes.memory_bytes.load(Ordering::Relaxed) >= bytes
            || self.sizes.journal_bytes.load(Ordering::Relaxed) >= bytes.saturating_mul(2)
    }
}
