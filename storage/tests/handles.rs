//! Goal: what the handles promise to their users. Method: one scenario a promise: one writer, idempotent requests,
//! steady snapshots, shared fsyncs, refused input, aliases, sessions, dropped collections.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{contents, delete, files, open, options, photos, put, record, spec};
use fromagerie_storage::backend::simulated::SimulatedDisk;
use fromagerie_storage::{
    Batch, CollectionSpec, Op, Record, SegmentBuilder, Source, StorageError, Store, StoreOptions, Task,
};

#[test]
fn a_second_opener_is_told_who_holds_the_database() {
    let dir = common::tempdir();
    let store = open(dir.path());
    let error = Store::open(dir.path(), options()).unwrap_err();
    assert!(matches!(&error, StorageError::Locked { path, .. } if path == dir.path()));
    assert!(error.to_string().contains(&format!("pid {}", std::process::id())), "{error}");
    let collection = photos(&store);
    drop(store);
    assert!(Store::open(dir.path(), options()).is_err(), "a collection keeps the database open");
    drop(collection);
    open(dir.path());
}

#[test]
fn a_missing_database_is_not_made_unasked_and_a_foreign_directory_never() {
    let dir = common::tempdir();
    let missing = dir.path().join("cellar");
    let plain = StoreOptions::default();
    assert!(matches!(Store::open(&missing, plain.clone()), Err(StorageError::NoDatabase { .. })));
    assert!(!missing.exists());
    std::fs::write(dir.path().join("thesis.tex"), "x").unwrap();
    assert!(matches!(Store::open(dir.path(), options()), Err(StorageError::NotADatabase { .. })));
    let file = dir.path().join("thesis.tex");
    for refused in [Store::open(&file, options()), Store::open_read_only(&file, plain.clone())] {
        assert!(matches!(refused, Err(StorageError::IsAFile { .. })));
    }
    open(&missing);
    Store::open(&missing, plain).unwrap();
}

#[test]
fn a_request_id_is_applied_once_across_seals_and_reopens() {
    let dir = common::tempdir();
    let batch = |value| put("k", value).with_request_id("r1");
    let first = {
        let collection = photos(&open(dir.path()));
        let first = collection.write(batch(1)).unwrap();
        assert_eq!(collection.write(batch(1)).unwrap(), first);
        collection.write(put("k", 2)).unwrap();
        assert_eq!(collection.write(batch(1)).unwrap(), first, "not applied over the later value");
        first
    };
    for seal in [true, false] {
        let collection = photos(&open(dir.path()));
        assert_eq!(collection.write(batch(3)).unwrap(), first);
        assert_eq!(contents(&collection.snapshot())["k"], 2);
        if seal {
            collection.seal().unwrap();
            assert_eq!(collection.write(batch(3)).unwrap(), first);
        }
    }
    assert_eq!(photos(&open(dir.path())).write(batch(4)).unwrap(), first);
}

#[test]
fn a_snapshot_stays_as_it_was() {
    let dir = common::tempdir();
    let store = Store::open(dir.path(), StoreOptions { seal_rows: 4, ..options() }).unwrap();
    let collection = photos(&store);
    let mut held = Vec::new();
    for n in 0..120 {
        collection.write(put(&format!("k{}", n % 13), n)).unwrap();
        if n % 3 == 0 {
            collection.write(delete(&format!("k{}", n % 5))).unwrap();
        }
        let snapshot = collection.snapshot();
        held.push((contents(&snapshot), snapshot));
    }
    for (expected, snapshot) in &held {
        assert_eq!(&contents(snapshot), expected, "files that are removed stay readable");
    }
}

#[test]
fn a_repeat_is_answered_also_while_its_id_is_being_forgotten() {
    let disk = SimulatedDisk::default();
    let backend = Arc::new(disk.clone());
    let options = StoreOptions { request_ids_max: 2, backend, ..options() };
    let collection = photos(&Store::open("cellar".as_ref(), options).unwrap());
    let batch = |id: &str| put(id, 1).with_request_id(id);
    let first = collection.write(batch("oldest")).unwrap();
    collection.write(batch("old")).unwrap();
    // While one batch waits for its fsync, the next group forms: new ids, of which it remembers two, and repeats of
    // the oldest one and of its own first.
    disk.set_sync_time(Duration::from_millis(300));
    let receipts: Vec<_> = std::thread::scope(|scope| {
        let write = |batch: Batch| {
            std::thread::sleep(Duration::from_millis(5));
            let collection = &collection;
            scope.spawn(move || collection.write(batch))
        };
        let writers = [put("first", 1), batch("a"), batch("oldest"), batch("b"), batch("c"), batch("a")].map(write);
        writers.map(|writer| writer.join().unwrap().unwrap()).into()
    });
    assert_eq!(receipts[2], first);
    assert_eq!(receipts[5], receipts[1]);
    assert_eq!(collection.write(batch("d")).unwrap().put, 1, "the collection takes no more writes");
    assert_eq!(contents(&collection.snapshot()).len(), 7);
}

#[test]
fn a_collection_that_was_handed_over_takes_writes_of_new_handles_only() {
    let dir = common::tempdir();
    let store = open(dir.path());
    let collection = photos(&store);
    collection.write(put("k", 1).with_request_id("r")).unwrap();
    let failed = collection.hand_over(|| Err::<(), _>("not this time"));
    assert_eq!(failed, Err("not this time"));
    collection.write(put("k", 2)).unwrap();
    let (is_over, waiting) = (AtomicBool::new(false), std::sync::Barrier::new(2));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            waiting.wait();
            let written = collection.write(put("k", 3));
            assert!(is_over.load(Ordering::SeqCst), "it did not wait");
            written
        });
        let seen = collection.hand_over(|| {
            waiting.wait();
            std::thread::sleep(Duration::from_millis(50));
            is_over.store(true, Ordering::SeqCst);
            Ok::<_, StorageError>(contents(&collection.snapshot())["k"])
        });
        assert_eq!(seen.unwrap(), 2);
        let refused = writer.join().unwrap().unwrap_err();
        assert!(matches!(&refused, StorageError::HandedOver { name } if name == "photos"), "{refused}");
    });
    let stale = collection.clone();
    assert!(stale.write(delete("k")).is_err(), "a copy of a handle is as old as the handle");
    assert_eq!(stale.write(put("k", 4).with_request_id("r")).unwrap().sequence, 1, "what was written is answered");
    assert_eq!(contents(&stale.snapshot())["k"], 2);
    photos(&store).write(put("k", 5)).unwrap();
    assert_eq!(contents(&stale.snapshot())["k"], 5);
}

/// Waits in the build until told, so that a test can act during a seal.
struct Slow {
    started: AtomicBool,
    go: AtomicBool,
}

impl SegmentBuilder for Slow {
    fn build(&self, _: &[f32], _: usize, _: &[Source<'_>], _: &mut Task<'_>) -> Option<Vec<u8>> {
        self.started.store(true, Ordering::SeqCst);
        while !self.go.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        None
    }
}

#[test]
fn writers_and_readers_go_on_during_a_seal() {
    let dir = common::tempdir();
    let store = open(dir.path());
    let collection = photos(&store);
    let slow = Arc::new(Slow { started: false.into(), go: false.into() });
    collection.set_segment_builder(slow.clone());
    for n in 0..10 {
        collection.write(put(&format!("k{n}"), n)).unwrap();
    }
    let sealing = std::thread::spawn({
        let collection = collection.clone();
        move || collection.seal()
    });
    while !slow.started.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
    assert_eq!(collection.write(delete("k3")).unwrap().deleted, 1);
    assert_eq!(collection.write(put("k4", 400)).unwrap().replaced, 1);
    let during = contents(&collection.snapshot());
    assert_eq!((during.len(), during.get("k3"), during["k4"]), (9, None, 400));
    assert!(collection.snapshot().segments().iter().all(|segment| !segment.is_sealed()));
    slow.go.store(true, Ordering::SeqCst);
    sealing.join().unwrap().unwrap();
    let snapshot = collection.snapshot();
    assert!(snapshot.segments()[0].is_sealed());
    assert_eq!(contents(&snapshot), during, "what died during the seal stays dead");
    drop((snapshot, collection, store));
    assert_eq!(contents(&photos(&open(dir.path())).snapshot()), during);
}

#[test]
fn a_panicking_builder_costs_the_graph_only() {
    struct Panics;
    impl SegmentBuilder for Panics {
        fn build(&self, _: &[f32], _: usize, _: &[Source<'_>], _: &mut Task<'_>) -> Option<Vec<u8>> {
            panic!("on purpose")
        }
    }
    let dir = common::tempdir();
    let collection = photos(&open(dir.path()));
    collection.set_segment_builder(Arc::new(Panics));
    collection.write(put("k", 1)).unwrap();
    collection.seal().unwrap();
    let snapshot = collection.snapshot();
    assert!(snapshot.segments()[0].graph().unwrap().is_none());
    assert_eq!(contents(&snapshot).len(), 1);
}

#[test]
fn concurrent_writers_share_fsyncs_and_lose_nothing() {
    let disk = SimulatedDisk::default();
    disk.set_sync_time(Duration::from_millis(1));
    let options =
        StoreOptions { seal_rows: 100, in_background: true, backend: Arc::new(disk.clone()), ..StoreOptions::create() };
    let store = Store::open("cellar".as_ref(), options.clone()).unwrap();
    let collection = photos(&store);
    let (writers, batches) = (8, 40);
    std::thread::scope(|scope| {
        for writer in 0..writers {
            let collection = &collection;
            scope.spawn(move || {
                for n in 0..batches {
                    collection.write(put(&format!("w{writer} {n}"), n)).unwrap();
                    assert!(
                        collection.snapshot().find(&format!("w{writer} {n}")).unwrap().is_some(),
                        "reads its write"
                    );
                }
            });
        }
    });
    let total = writers * batches as usize;
    assert_eq!(collection.snapshot().len(), total);
    assert_eq!(collection.snapshot().sequence(), total as u64);
    assert!(disk.file_syncs() < total as u64 / 2, "{} syncs for {total} batches", disk.file_syncs());
    drop((collection, store));
    assert_eq!(contents(&photos(&Store::open("cellar".as_ref(), options).unwrap()).snapshot()).len(), total);
}

#[test]
fn what_cannot_be_kept_is_refused_whole_with_values() {
    let dir = common::tempdir();
    let store = open(dir.path());
    let collection = photos(&store);
    let with = |vector: Vec<f32>, key: &str| {
        let bad = Record { vector, ..record(key, 1) };
        collection.write(Batch::new(vec![Op::Put(record("good", 2)), Op::Put(bad)])).unwrap_err()
    };
    assert!(matches!(with(vec![1.0], "k"), StorageError::WrongDim { expected: 2, received: 1, .. }));
    assert!(matches!(with(vec![1.0, f32::NAN], "k"), StorageError::NonFinite { element: 1, .. }));
    assert!(matches!(with(vec![f32::INFINITY, 0.0], "k"), StorageError::NonFinite { element: 0, .. }));
    assert!(matches!(with(vec![0.0, -0.0], "k"), StorageError::ZeroVector { .. }));
    assert!(matches!(with(vec![1.0, 0.0], ""), StorageError::KeyLength { position: 1, bytes: 0 }));
    assert!(matches!(with(vec![1.0, 0.0], &"k".repeat(513)), StorageError::KeyLength { bytes: 513, .. }));
    let mut features = record("k", 2);
    features.features = Some(vec![1.0, 2.0]);
    let error = collection.write(Batch::new(vec![Op::Put(features)])).unwrap_err();
    assert!(matches!(error, StorageError::WrongDim { what: "features", expected: 1, received: 2, .. }));
    assert!(collection.snapshot().is_empty() && collection.snapshot().sequence() == 0);
    collection.write(put(&"é".repeat(256), 1)).unwrap();
    let bad = CollectionSpec { dim: 0, ..spec() };
    assert!(matches!(store.create_collection("bad", bad), Err(StorageError::BadSpec { dim: 0, .. })));
    assert!(matches!(store.create_collection("a\nb", spec()), Err(StorageError::BadName { .. })));
}

#[test]
fn an_alias_moves_at_once_and_back() {
    let dir = common::tempdir();
    {
        let store = open(dir.path());
        for name in ["one", "two"] {
            store.create_collection(name, spec()).unwrap();
        }
        store.set_alias("best", "one").unwrap();
        store.set_alias("best", "two").unwrap();
        assert_eq!(store.collection("best").unwrap().name(), "two");
        assert!(matches!(store.set_alias("one", "two"), Err(StorageError::NameTaken { .. })));
        assert!(matches!(store.create_collection("best", spec()), Err(StorageError::NameTaken { .. })));
        assert!(matches!(store.drop_collection("two"), Err(StorageError::HasAliases { .. })));
    }
    let store = open(dir.path());
    assert_eq!(store.aliases(), [("best".to_owned(), "two".to_owned())]);
    store.set_alias("best", "one").unwrap();
    store.drop_collection("two").unwrap();
    store.remove_alias("best").unwrap();
    assert!(matches!(store.remove_alias("best"), Err(StorageError::UnknownAlias { .. })));
    drop(store);
    let store = open(dir.path());
    assert!(store.aliases().is_empty());
    assert_eq!(store.collections().len(), 1);
}

#[test]
fn a_dropped_collection_is_gone_and_its_readers_are_not_disturbed() {
    let dir = common::tempdir();
    let store = open(dir.path());
    let collection = photos(&store);
    collection.write(put("k", 1)).unwrap();
    collection.seal().unwrap();
    let snapshot = collection.snapshot();
    store.drop_collection("photos").unwrap();
    assert_eq!(contents(&snapshot).len(), 1);
    assert!(matches!(collection.write(put("k", 2)), Err(StorageError::Dropped { .. })));
    assert!(matches!(store.collection("photos"), Err(StorageError::UnknownCollection { .. })));
    assert!(files(dir.path(), "segment-").is_empty());
    photos(&store).write(put("new", 1)).unwrap();
    drop((snapshot, collection, store));
    assert_eq!(contents(&photos(&open(dir.path())).snapshot()).len(), 1);
}

#[test]
fn sessions_and_jobs_are_kept_apart() {
    let dir = common::tempdir();
    {
        let store = open(dir.path());
        store.put_session("a", b"one").unwrap();
        store.put_session("b", b"two").unwrap();
        store.put_session("a", b"three").unwrap();
        assert!(store.delete_session("b").unwrap());
        assert!(!store.delete_session("b").unwrap());
        assert!(matches!(store.put_session("", b""), Err(StorageError::RecordTooLarge { .. })));
    }
    let store = open(dir.path());
    assert_eq!(store.session("a").unwrap().as_deref(), Some(&b"three"[..]));
    assert_eq!(store.session("b").unwrap(), None);
    assert_eq!(store.sessions().unwrap(), ["a"]);
    store.put_job("a", b"half done").unwrap();
    assert_eq!(store.job("a").unwrap().as_deref(), Some(&b"half done"[..]));
    assert_eq!(store.session("a").unwrap().as_deref(), Some(&b"three"[..]));
    assert!(store.delete_job("a").unwrap() && store.jobs().unwrap().is_empty());
}

#[test]
fn old_files_go_when_a_generation_is_published() {
    let dir = common::tempdir();
    let collection = photos(&open(dir.path()));
    for n in 0..3 {
        collection.write(put(&format!("k{n}"), n)).unwrap();
        collection.seal().unwrap();
    }
    assert_eq!(files(dir.path(), "journal-").len(), 1);
    assert_eq!(files(dir.path(), "manifest-").len(), 1);
    assert_eq!(files(dir.path(), "segment-").len(), 3);
}
