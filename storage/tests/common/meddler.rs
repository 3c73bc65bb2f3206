//! Writes while a merge is under way, in the thread that merges: what a run does between a merge's begin and its end repeats.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fromagerie_storage::{Batch, Collection, Op, SegmentBuilder, Source, StorageError, Task};

use super::record;

thread_local! {
    static AT_WORK: RefCell<Option<Collection>> = const { RefCell::new(None) };
}

/// Merges that were meddled with.
pub static MEDDLED: AtomicU64 = AtomicU64::new(0);

/// Puts items of the collection again, as they are: those that a merge has read die, memory is sealed, a batch becomes a
/// segment, and what the collection holds stays the same.
struct Meddler;

impl SegmentBuilder for Meddler {
    fn build(&self, _: &[f32], _: usize, _: &[Source<'_>], task: &mut Task<'_>) -> Option<Vec<u8>> {
        if task.is_waited_for() {
            return None;
        }
        // Once in a while: who replaces at every merge all that it merges never comes to an end.
        if let Some(collection) = AT_WORK.take() {
            // On a disk that fails, the run goes on without.
            let _ = meddle(&collection);
            MEDDLED.fetch_add(1, Ordering::Relaxed);
        }
        None
    }
}

/// Does `work` to a collection whose merges are meddled with.
pub fn meddled<T>(collection: &Collection, work: impl FnOnce() -> T) -> T {
    collection.set_segment_builder(Arc::new(Meddler));
    AT_WORK.set(Some(collection.clone()));
    let done = work();
    AT_WORK.set(None);
    done
}

fn meddle(collection: &Collection) -> Result<(), StorageError> {
    let snapshot = collection.snapshot();
    let mut again = Vec::new();
    for segment in snapshot.segments() {
        for row in (0..segment.rows()).filter(|&row| segment.is_live(row)) {
            again.push(Op::Put(record(segment.key(row)?, segment.document(row)?.width)));
        }
    }
    for op in again.iter().take(5) {
        collection.write(Batch::new(vec![op.clone()]))?;
    }
    again.truncate(3);
    collection.write(Batch::new(again)).map(|_| ())
}
