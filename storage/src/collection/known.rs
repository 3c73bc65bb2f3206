//! What the catalog is told of a collection: the newest generation, and the last batch that is known to be durable.
//!
//! It is told when the collection is opened, sealed and closed, never while a batch waits: what it knows is a bound from
//! below. It shows when a manifest vanishes or a journal is cut where nothing in the files tells.

use std::sync::atomic::Ordering;

use crate::catalog::{self, CollectionRecord, Tree};

use super::Inner;

impl Inner {
    /// What there is to know now, with the manifest of `generation` the newest.
    pub(crate) fn record(&self, generation: u64) -> CollectionRecord {
        let sequence = self.state.lock().sequence;
        CollectionRecord { name: self.name.clone(), generation, sequence, spec: self.spec.clone() }
    }

    /// Tells the catalog.
    pub(super) fn tell(&self, record: &CollectionRecord) {
        let key = catalog::collection_key(self.id);
        let told = self.root.catalog().and_then(|known| known.put(Tree::Collections, &key, record));
        if told.is_ok() {
            self.note_told(record);
        }
        self.root.told(told);
    }

    /// Remembers that the catalog knows `record`.
    pub(crate) fn note_told(&self, record: &CollectionRecord) {
        self.told_sequence.store(record.sequence, Ordering::Relaxed);
    }
}

impl Drop for Inner {
    /// Tells of the batches since. A collection that takes no more (dropped, repaired, poisoned) says nothing.
    fn drop(&mut self) {
        let state = self.state.get_mut();
        if state.halted.is_none() && state.sequence > self.told_sequence.load(Ordering::Relaxed) {
            // Not the publisher's number: a publish that failed has used one up.
            self.tell(&self.record(self.generation.load(Ordering::Relaxed)));
        }
    }
}
