//! What a collection learns from being used: which queries it receives, and how many of the true answers it finds.
//!
//! [`reservoir`] keeps a bounded sample of queries, from which the next graph learns; [`recall`] compares a few answers
//! with exact ones. Both happen beside searches, in one thread of a database ([`aside`]); what they know lies in the
//! collection's hints, which may be lost without harm ([`record`]).

pub(crate) mod aside;
mod recall;
pub(crate) mod record;
mod reservoir;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use fromagerie_storage::{Collection, Snapshot};
use parking_lot::Mutex;

use crate::retrieve::memory::{MemoryGraph, Step};
use crate::retrieve::{self, Ask, Found};
use aside::Aside;
pub use recall::RecallEstimate;
use recall::Samples;
use reservoir::Reservoir;

/// Queries that a collection keeps when it is not told otherwise.
pub(crate) const QUERIES_KEPT: u32 = 4096;
/// Most queries that a collection can be told to keep.
pub(crate) const QUERIES_KEPT_MAX: u32 = 65_536;
/// Changes at least between two writings.
const UNSAVED_MIN: u32 = 64;

/// What is known of how a collection is used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct UsageStats {
    /// Queries received, as far as that was kept.
    pub queries_received: u64,
    /// Query vectors kept, from which the next graph learns.
    pub queries_kept: u64,
    /// Recall of sampled searches; none before the first.
    pub recall: Option<RecallEstimate>,
}

/// Those of a database, as long as any handle of it is there; the last one writes what is known.
pub(crate) struct Usages {
    aside: Arc<Aside>,
    memory_rows_min: usize,
    by_collection: Mutex<HashMap<u64, (Arc<Usage>, Collection)>>,
}

impl Usages {
    /// `budget`: share of one core that exact searches may have; 0 for none. `memory_rows_min`: rows in memory from which
    /// they have a graph; 0 for never.
    pub(crate) fn new(budget: f32, memory_rows_min: usize) -> Usages {
        Usages { aside: Arc::new(Aside::new(budget)), memory_rows_min, by_collection: Mutex::default() }
    }

    /// A collection's; the first time, its hints are read.
    pub(crate) fn of(&self, stored: &Collection, kept_max: u32) -> Arc<Usage> {
        let mut all = self.by_collection.lock();
        let (usage, newest) = all.entry(stored.id()).or_insert_with(|| {
            (Arc::new(Usage::new(stored, kept_max, self.memory_rows_min, self.aside.clone())), stored.clone())
        });
        // After a repair it is another handle's.
        newest.clone_from(stored);
        usage.clone()
    }

    /// Forgets a collection that is dropped.
    pub(crate) fn forget(&self, collection: u64) {
        self.by_collection.lock().remove(&collection);
    }
}

impl Drop for Usages {
    fn drop(&mut self) {
        self.aside.close();
        self.by_collection.lock().values().for_each(|(usage, stored)| usage.save(stored));
    }
}

/// One collection's, shared by its handles.
pub(crate) struct Usage {
    aside: Arc<Aside>,
    kept_max: u32,
    known: Mutex<Known>,
    /// More queries, for the graphs that are being made now: `[n, dim]`, unit length.
    training: Mutex<Vec<f32>>,
    is_saving: AtomicBool,
    memory: MemoryGraph,
}

/// What is written to hints.
#[derive(Debug, PartialEq)]
struct Known {
    reservoir: Reservoir,
    samples: Samples,
    /// Changes to what is kept since it was last written.
    unsaved: u32,
    /// Whether anything is other than it was last written, if only the number of queries received.
    is_new: bool,
}

impl Usage {
    fn new(stored: &Collection, kept_max: u32, memory_rows_min: usize, aside: Arc<Aside>) -> Usage {
        let dim = stored.spec().dim as usize;
        let hints = stored.hints().and_then(|bytes| record::decode(&bytes, dim, kept_max));
        let nothing = || Known {
            reservoir: Reservoir::new(dim, kept_max),
            samples: Samples::default(),
            unsaved: 0,
            is_new: false,
        };
        let known = Mutex::new(hints.unwrap_or_else(nothing));
        let memory = MemoryGraph::new(memory_rows_min);
        Usage { aside, kept_max, known, training: Mutex::default(), is_saving: AtomicBool::new(false), memory }
    }

    /// The graph of the rows in memory.
    pub(crate) fn memory(&self) -> &MemoryGraph {
        &self.memory
    }

    /// Notes a query and its answer. Costs a lock and, for a query that is kept, a copy; now and then an exact search
    /// follows, elsewhere.
    pub(crate) fn note(
        self: &Arc<Self>,
        stored: &Collection,
        snapshot: &Snapshot,
        (ask, found): (&Ask<'_>, &[Found]),
        is_approximate: bool,
    ) {
        let (is_sampled, unsaved) = {
            let mut known = self.known.lock();
            known.unsaved += u32::from(known.reservoir.offer(ask.vector));
            known.is_new |= self.kept_max > 0;
            let is_sampled = is_approximate && self.aside.budget() > 0.0 && known.samples.is_due();
            (is_sampled, known.unsaved)
        };
        if is_sampled {
            self.sample(snapshot, ask, found);
        }
        if self.memory.wants_to_grow(snapshot) {
            self.clone().grow(stored.clone());
        }
        if unsaved > (self.kept_max / 4).max(UNSAVED_MIN) {
            self.save_aside(stored);
        }
    }

    /// The queries that graphs should learn from: `[n, dim]`, unit length.
    pub(crate) fn queries(&self) -> Vec<f32> {
        let mut queries = self.training.lock().clone();
        queries.extend(self.known.lock().reservoir.vectors());
        queries
    }

    /// Has graphs learn from `queries` (`[n, dim]`, unit length) too, while `work` goes on.
    pub(crate) fn with_training<T>(&self, queries: Vec<f32>, work: impl FnOnce() -> T) -> T {
        *self.training.lock() = queries;
        let done = work();
        *self.training.lock() = Vec::new();
        done
    }

    pub(crate) fn stats(&self) -> UsageStats {
        let known = self.known.lock();
        UsageStats {
            queries_received: known.reservoir.received(),
            queries_kept: known.reservoir.len() as u64,
            recall: known.samples.estimate(),
        }
    }

    /// Writes what is known, if there is anything new. What cannot be written is tried again later.
    fn save(&self, stored: &Collection) {
        let bytes = {
            let mut known = self.known.lock();
            if !std::mem::take(&mut known.is_new) {
                return;
            }
            known.unsaved = 0;
            record::encode(&known)
        };
        if let Err(error) = stored.keep_hints(bytes) {
            tracing::debug!(collection = stored.name(), %error, "received queries were not written");
        }
    }

    /// Has the graph of the rows in memory grow, a step at a time, so that other work comes in between.
    fn grow(self: Arc<Self>, stored: Collection) {
        let this = self.clone();
        let offered = self.aside.offer(Box::new(move || match this.memory.grow(&stored.snapshot()) {
            Step::More => this.grow(stored),
            Step::Done => this.memory.rests(),
        }));
        if !offered {
            self.memory.rests();
        }
    }

    fn save_aside(self: &Arc<Self>, stored: &Collection) {
        if self.is_saving.swap(true, Ordering::AcqRel) {
            return;
        }
        let (this, stored) = (self.clone(), stored.clone());
        let offered = self.aside.offer(Box::new(move || {
            this.save(&stored);
            this.is_saving.store(false, Ordering::Release);
        }));
        if !offered {
            self.is_saving.store(false, Ordering::Release);
        }
    }

    /// Has the search repeated exactly, and compared.
    fn sample(self: &Arc<Self>, snapshot: &Snapshot, ask: &Ask<'_>, found: &[Found]) {
        let (this, snapshot, found) = (self.clone(), snapshot.clone(), found.to_vec());
        let (vector, limit, query) = (ask.vector.to_vec(), ask.limit, ask.query.clone());
        self.aside.offer(Box::new(move || {
            let start = Instant::now();
            let is_closing = || this.aside.is_closing();
            let (vector, query, cancelled) = (vector.as_slice(), &query, &is_closing);
            let ask = Ask { vector, unlike: &[], limit, query, exact: true, cancelled, memory: None };
            // What cannot be searched exactly is no sample; the next search that meets the damage says so.
            let Ok((truth, _)) = retrieve::nearest(&snapshot, &ask) else { return };
            let mut known = this.known.lock();
            known.samples.add(&found, &truth, start.elapsed(), this.aside.budget());
            known.unsaved += 1;
            known.is_new = true;
        }));
    }
}
