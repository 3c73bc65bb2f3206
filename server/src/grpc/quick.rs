//! Searches done where their call was read, while that takes less time than the way to a blocking thread and back.
//!
//! A collection earns it: only after a search of it that was quick is the next one done so, and a slow one (a scan, pages that
//! come from the disk) sends those after it to a blocking thread again. One of the network's threads always stays free for the
//! network, so that a search which is slow in spite of that delays nobody else's bytes; it goes on when its client leaves.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fromagerie::Result;
use tokio::runtime::Handle;
use tonic::Status;

use super::blocking::{blocking, failed};
use super::status::status;

/// What a quick search takes at most. The way to a blocking thread and back takes some 0.15 ms.
const QUICK: Duration = Duration::from_micros(500);

/// What is known of collections, and how many searches are under way on the network's threads.
#[derive(Default)]
pub(super) struct Quick {
    known: Mutex<HashSet<String>>,
    under_way: AtomicUsize,
}

impl Quick {
    /// Searches `collection` by `work`, whose argument tells whether the client has gone away; never on the network's threads
    /// unless `may_be_quick`.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        collection: String,
        may_be_quick: bool,
        work: impl FnOnce(&str, &(dyn Fn() -> bool + Sync)) -> Result<T> + Send + 'static,
    ) -> std::result::Result<T, Status> {
        if !may_be_quick {
            return blocking(move |gone| work(&collection, gone)).await;
        }
        match self.take(&collection) {
            Some(_place) => catch_unwind(AssertUnwindSafe(|| self.timed(&collection, &|| false, work)))
                .map_or_else(|_| Err(failed()), |done| done.map_err(|error| status(&error))),
            None => {
                let quick = Arc::clone(self);
                blocking(move |gone| quick.timed(&collection, gone, work)).await
            }
        }
    }

    fn timed<T>(
        &self,
        collection: &str,
        gone: &(dyn Fn() -> bool + Sync),
        work: impl FnOnce(&str, &(dyn Fn() -> bool + Sync)) -> Result<T>,
    ) -> Result<T> {
        let start = Instant::now();
        let done = work(collection, gone);
        let quick = done.is_ok() && start.elapsed() < QUICK;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match quick {
            true if !known.contains(collection) => drop(known.insert(collection.to_owned())),
            true => {}
            false => drop(known.remove(collection)),
        }
        done
    }

    /// A place on this thread, if the collection has earned it and a thread is left for the network.
    fn take(&self, collection: &str) -> Option<Place<'_>> {
        if !self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(collection) {
            return None;
        }
        let places = Handle::current().metrics().num_workers() - 1;
        let place = Place(&self.under_way);
        (self.under_way.fetch_add(1, Ordering::Relaxed) < places).then_some(place)
    }
}

/// One search under way; given back when dropped.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::thread::{self, ThreadId};

    use super::*;

    const SLOW: Duration = Duration::from_millis(5);

    /// The threads on which the call and its search were.
    async fn search(quick: &Arc<Quick>, may_be_quick: bool, takes: Duration) -> (ThreadId, ThreadId) {
        let quick = Arc::clone(quick);
        let call = tokio::spawn(async move {
            let here = thread::current().id();
            let work = move |_: &str, _: &(dyn Fn() -> bool + Sync)| {
                thread::sleep(takes);
                Ok(thread::current().id())
            };
            (here, quick.run("photos".into(), may_be_quick, work).await.expect("searched"))
        });
        call.await.expect("no panic")
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_collection_earns_the_short_way_and_loses_it() {
        let quick = Arc::new(Quick::default());
        let mut on_the_spot = Vec::new();
        // How long the machine takes for nothing is not ours to say: a search counts once it was quick.
        for _ in 0..100 {
            search(&quick, true, Duration::ZERO).await;
            if quick.known.lock().expect("whole").contains("photos") {
                break;
            }
        }
        for (may_be_quick, takes) in [(false, Duration::ZERO), (true, SLOW), (true, SLOW)] {
            let (call, searched) = search(&quick, may_be_quick, takes).await;
            on_the_spot.push(call == searched);
        }
        assert_eq!(on_the_spot, [false, true, false]);
        assert_eq!(quick.under_way.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn one_thread_is_left_to_the_network() {
        let quick = Arc::new(Quick { known: Mutex::new(HashSet::from(["photos".into()])), ..Quick::default() });
        let (call, searched) = search(&quick, true, Duration::ZERO).await;
        assert_ne!(call, searched);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_panic_is_an_error_and_gives_its_place_back() {
        let quick = Arc::new(Quick { known: Mutex::new(HashSet::from(["photos".into()])), ..Quick::default() });
        let failed = quick.run::<()>("photos".into(), true, |_, _| panic!("on purpose")).await;
        assert_eq!(failed.expect_err("an error").code(), tonic::Code::Internal);
        assert_eq!(quick.under_way.load(Ordering::Relaxed), 0);
    }
}
