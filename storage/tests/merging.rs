//! A merge may take long. Goal: nobody waits for it: not batches, however many, nor large ones, nor seals, snapshots and
//! repairs; what they change meanwhile is in the merged segment, and stays; and a merge that is of no use any more ends.
//! Method: a builder that does not end before it is let go, or before it is told that its work is not wanted.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use common::{DIM, OnDrop, contents, delete, open, photos, put, record};
use fromagerie_storage::{Batch, Collection, Op, SegmentBuilder, Source, StorageError, Store, StoreOptions, Task};

/// Rows that are sealed; eight such segments are merged.
const SEALED: u32 = 4;
const MERGED: u32 = 8 * SEALED;
/// Puts that become a segment at once.
const LARGE: u32 = 1000;

/// Holds merges up.
#[derive(Default)]
struct Holds {
    /// Rows of each merge that has begun.
    begun: Mutex<Vec<u32>>,
    let_go: AtomicBool,
    /// Merges that may end before all are let go.
    may_end: AtomicUsize,
    /// Ends also when the merge is not wanted any more.
    gives_up: bool,
}

impl SegmentBuilder for Holds {
    fn build(&self, vectors: &[f32], dim: usize, _: &[Source<'_>], task: &mut Task<'_>) -> Option<Vec<u8>> {
        if !task.is_waited_for() {
            let mut begun = self.begun.lock().unwrap();
            begun.push((vectors.len() / dim) as u32);
            let number = begun.len();
            drop(begun);
            let may_end = || self.let_go.load(Ordering::SeqCst) || self.may_end.load(Ordering::SeqCst) >= number;
            while !may_end() && (task.goes_on(0.5) || !self.gives_up) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        None
    }
}

fn in_background() -> StoreOptions {
    StoreOptions {
        seal_rows: SEALED as usize,
        bulk_bytes: (LARGE * DIM) as usize * 4,
        in_background: true,
        ..StoreOptions::create()
    }
}

/// A collection of `MERGED` rows, the merge of which has begun.
fn merging(store: &Store, gives_up: bool) -> (Collection, Arc<Holds>) {
    let photos = photos(store);
    let holds = Arc::new(Holds { gives_up, ..Holds::default() });
    photos.set_segment_builder(holds.clone());
    for first in (0..MERGED).step_by(SEALED as usize) {
        photos.write(large(first, SEALED, 1)).unwrap();
        // One segment each, however fast the thread is that seals.
        wait("a seal", || photos.stats().memory_rows == 0);
    }
    wait("a merge", || *holds.begun.lock().unwrap() == [MERGED]);
    (photos, holds)
}

fn large(first: u32, rows: u32, value: u32) -> Batch {
    Batch::new((first..first + rows).map(|n| Op::Put(record(&format!("k{n}"), value))).collect())
}

fn wait(what: &str, mut until: impl FnMut() -> bool) {
    for _ in 0..20_000 {
        if until() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("waited too long for {what}");
}

/// Fails when `work` does not end.
fn soon(what: &str, work: impl FnOnce() + Send + 'static) {
    let (told, ended) = mpsc::channel();
    let worker = std::thread::spawn(move || {
        work();
        told.send(()).unwrap();
    });
    match ended.recv_timeout(Duration::from_secs(20)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{what} waits for a merge"),
        _ => worker.join().unwrap(),
    }
}

#[test]
fn nobody_waits_for_a_merge_and_it_misses_nothing() {
    let dir = common::tempdir();
    let store = Store::open(dir.path(), in_background()).unwrap();
    let (photos, holds) = merging(&store, false);
    let _let_go = OnDrop(&holds.let_go);
    soon("a batch", {
        let photos = photos.clone();
        move || {
            photos.write(delete("k3")).unwrap();
            photos.write(put("k4", 400)).unwrap();
            // More than memory may hold without a seal, and than one seal takes.
            for n in 0..40 * SEALED {
                photos.write(put(&format!("m{n}"), n)).unwrap();
            }
        }
    });
    soon("a large batch", {
        let photos = photos.clone();
        move || {
            assert_eq!(photos.write(large(30, LARGE, 7)).unwrap().replaced, 2);
            photos.write(delete("k40")).unwrap();
        }
    });
    soon("a snapshot", {
        let (store, copy) = (store.clone(), dir.path().with_extension("copy"));
        move || {
            store.snapshot_to(&copy, true, &mut |_| {}).unwrap();
            assert!(store.verify(&mut |_| {}).unwrap().is_clean());
            assert!(store.repair("photos", false, &|_| None, &mut |_| {}).unwrap().is_clean());
            std::fs::remove_dir_all(copy).unwrap();
        }
    });
    photos.write(delete("k5")).unwrap();
    let expected = contents(&photos.snapshot());
    let live = MERGED - 2 + 40 * SEALED + LARGE - 2 - 1;
    assert_eq!((expected.len() as u32, expected.get("k3"), expected["k4"], expected["k30"]), (live, None, 400, 7));
    let sealed_before = photos.stats().sealed_segments;
    // The next merge may take what this one makes: it waits.
    holds.may_end.store(1, Ordering::SeqCst);
    wait("the merge's end", || photos.stats().sealed_segments < sealed_before);
    let merged = |rows: u32| photos.snapshot().segments().iter().any(|segment| segment.rows() == rows);
    assert!(merged(MERGED) && photos.stats().last_seal_error.is_none(), "the first try did it");
    assert_eq!(contents(&photos.snapshot()), expected, "what died during the merge stays dead");
    holds.let_go.store(true, Ordering::SeqCst);
    drop((photos, store));
    let store = open(dir.path());
    assert_eq!(contents(&common::photos(&store).snapshot()), expected, "also for the next process");
    assert!(store.verify(&mut |_| {}).unwrap().is_clean());
}

#[test]
fn a_killed_process_leaves_what_was_published_beside_a_merge() {
    let (dir, copy) = (common::tempdir(), common::tempdir());
    let store = Store::open(dir.path(), in_background()).unwrap();
    let (photos, holds) = merging(&store, false);
    let _let_go = OnDrop(&holds.let_go);
    photos.write(large(10, LARGE, 7)).unwrap();
    photos.write(delete("k0")).unwrap();
    let expected = contents(&photos.snapshot());
    common::copy_dir(dir.path(), &copy.path().join("cellar"));
    let left = open(&copy.path().join("cellar"));
    assert_eq!(contents(&common::photos(&left).snapshot()), expected);
    assert!(common::files(copy.path(), "segment").iter().all(|file| file.extension().is_none_or(|kind| kind != "tmp")));
}

#[test]
fn a_merge_of_no_use_is_given_up() {
    let dir = common::tempdir();
    let store = Store::open(dir.path(), in_background()).unwrap();
    let (photos, holds) = merging(&store, true);
    let expected = contents(&photos.snapshot());
    drop(photos);
    soon("closing", move || drop(store));
    let store = Store::open(dir.path(), in_background()).unwrap();
    let again = common::photos(&store);
    assert_eq!(contents(&again.snapshot()), expected, "its sources stay");
    again.set_segment_builder(holds.clone());
    again.resume_merging();
    wait("the merge's next begin", || holds.begun.lock().unwrap().len() == 2);
    soon("dropping", move || store.drop_collection("photos").unwrap());
    assert!(matches!(again.write(put("k", 1)), Err(StorageError::Dropped { .. })));
}

#[test]
fn a_compaction_tells_how_far_a_merge_is() {
    struct Tells;
    impl SegmentBuilder for Tells {
        fn build(&self, _: &[f32], _: usize, _: &[Source<'_>], task: &mut Task<'_>) -> Option<Vec<u8>> {
            assert!((1..=9).all(|tenths| task.goes_on(tenths as f32 / 10.0)));
            None
        }
    }
    let dir = common::tempdir();
    let store = open(dir.path());
    let photos = photos(&store);
    for n in 0..3 {
        photos.write(put(&format!("k{n}"), n)).unwrap();
        photos.seal().unwrap();
    }
    photos.set_segment_builder(Arc::new(Tells));
    let mut told = Vec::new();
    let report = photos.compact(&mut |progress| told.push((progress.bytes, progress.total_bytes))).unwrap();
    assert_eq!((report.segments_before, report.segments_after, report.dropped_rows), (3, 1, 0));
    let total = told[0].1;
    assert!(told.len() >= 10 && told.is_sorted() && told.iter().all(|&(_, of)| of == total), "{told:?}");
    assert_eq!(told.last(), Some(&(total, total)));
}

#[test]
fn who_held_the_lock_asks_for_what_was_asked_for_meanwhile() {
    let dir = common::tempdir();
    let store = Store::open(dir.path(), in_background()).unwrap();
    let (photos, holds) = merging(&store, true);
    let _let_go = OnDrop(&holds.let_go);
    // Gives up the merge, finds nothing to repair, and leaves.
    assert!(store.repair("photos", true, &|_| None, &mut |_| {}).unwrap().is_clean());
    wait("the merge to begin again", || holds.begun.lock().unwrap().len() == 2);
    holds.let_go.store(true, Ordering::SeqCst);
    wait("its end", || photos.stats().sealed_segments == 1);
    assert!(photos.stats().last_seal_error.is_none());
}

#[test]
fn a_collection_that_outlives_its_store_merges() {
    let dir = common::tempdir();
    let store = Store::open(dir.path(), in_background()).unwrap();
    let photos = photos(&store);
    drop(store);
    for first in (0..2 * MERGED).step_by(SEALED as usize) {
        photos.write(large(first, SEALED, 1)).unwrap();
    }
    assert!(photos.stats().sealed_segments < MERGED / SEALED, "{}", photos.stats().sealed_segments);
}
