//! The threads of an open database: one seals, so that memory stays small, and one merges, which may take long.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;

use super::root::Root;

/// What is sealed and merged in the background: a collection.
pub(crate) trait Tended: Send + Sync {
    /// Seals what is in memory.
    fn seal_in_turn(self: Arc<Self>);

    /// Merges what is to be merged, unless somebody does.
    fn merge_in_turn(self: Arc<Self>);
}

/// Who asks for what.
type Requests = Sender<Weak<dyn Tended>>;

/// Does what is asked for, one collection after the other.
type Work = fn(Arc<dyn Tended>);

#[derive(Debug)]
struct Queues {
    seals: Requests,
    merges: Requests,
}

/// Where work for the threads is left.
#[derive(Debug, Default)]
pub(crate) struct Background {
    queues: Mutex<Option<Queues>>,
    is_closing: AtomicBool,
}

impl Background {
    /// Whether there are threads.
    pub(crate) fn is_there(&self) -> bool {
        self.queues.lock().is_some()
    }

    /// Has a collection sealed; false when there is no thread for it.
    pub(crate) fn seal(&self, collection: Weak<dyn Tended>) -> bool {
        self.queues.lock().as_ref().is_some_and(|queues| queues.seals.send(collection).is_ok())
    }

    /// Has a collection merged; false when there is no thread for it.
    pub(crate) fn merge(&self, collection: Weak<dyn Tended>) -> bool {
        self.queues.lock().as_ref().is_some_and(|queues| queues.merges.send(collection).is_ok())
    }

    /// Whether the threads are to end: a merge in one of them is given up.
    pub(crate) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Acquire)
    }

    /// The threads have ended: who still holds a collection merges it where that becomes due.
    pub(super) fn closed(&self) {
        self.is_closing.store(false, Ordering::Release);
    }

    /// Has the threads end after the seal that is under way.
    pub(crate) fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
        self.queues.lock().take();
    }
}

/// Starts the threads of a database, which end with it.
pub(super) fn start(root: &Arc<Root>) -> io::Result<Vec<JoinHandle<()>>> {
    let mut threads = Vec::new();
    let mut start = |name: &str, work: Work| {
        let (requests, receiver) = channel();
        let root = Arc::downgrade(root);
        let serve = move || serve(&receiver, work, || root.upgrade().is_none_or(|root| root.background.is_closing()));
        threads.push(thread::Builder::new().name(name.into()).spawn(serve)?);
        io::Result::Ok(requests)
    };
    let seals = start("fromagerie-seal", |collection| collection.seal_in_turn())?;
    let merges = start("fromagerie-merge", |collection| collection.merge_in_turn())?;
    *root.background.queues.lock() = Some(Queues { seals, merges });
    Ok(threads)
}

fn serve(requests: &Receiver<Weak<dyn Tended>>, work: Work, is_closing: impl Fn() -> bool) {
    for collection in requests {
        if is_closing() {
            return;
        }
        if let Some(collection) = collection.upgrade()
            && catch_unwind(AssertUnwindSafe(|| work(collection))).is_err()
        {
            let thread = thread::current();
            tracing::error!(
                thread = thread.name(),
                "panicked over a collection, and goes on with what is asked for next"
            );
        }
    }
}
