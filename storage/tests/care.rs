//! Goal: what looks after a collection tells the truth and costs what it says. Method: fill collections so that the
//! answer is known, and compare; fill the disk.

#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/limited.rs"]
mod limited;

use std::sync::Arc;

use common::{contents, delete, files, open, options, photos, put};
use fromagerie_storage::{Batch, Op, StorageError, Store, StoreOptions};
use limited::Limited;

fn fill(store: &Store, batches: u32, keys: u32) {
    let collection = photos(store);
    for n in 0..batches {
        collection.write(put(&format!("k{}", n % keys), n)).unwrap();
        if n % 20 == 19 {
            collection.seal().unwrap();
        }
    }
    collection.write(delete("k1")).unwrap();
}

#[test]
fn compact_leaves_one_segment_without_a_dead_row() {
    let dir = common::tempdir();
    let store = open(dir.path());
    fill(&store, 130, 60);
    let collection = photos(&store);
    let expected = contents(&collection.snapshot());
    let before = collection.stats();
    assert!(before.dead > 5 && before.sealed_segments > 2, "{before:?}");
    let mut last = (0, 0);
    let report = collection.compact(&mut |step| last = (step.bytes, step.total_bytes)).unwrap();
    assert!(last.0 == last.1 && last.0 > 0, "{last:?}");
    assert_eq!((report.segments_after, collection.stats().dead), (1, 0));
    assert!(report.dropped_rows > 0 && report.bytes_after < report.bytes_before, "{report:?}");
    assert_eq!(contents(&collection.snapshot()), expected);
    assert_eq!((files(dir.path(), "segment-").len(), files(dir.path(), "journal-").len()), (1, 1));
    let again = collection.compact(&mut |_| {}).unwrap();
    assert_eq!((again.segments_before, again.dropped_rows, again.bytes_after), (1, 0, report.bytes_after));
    drop((collection, store));
    assert_eq!(contents(&photos(&open(dir.path())).snapshot()), expected);
}

#[test]
fn compact_keeps_segments_below_the_largest_merge() {
    let dir = common::tempdir();
    let store = Store::open(dir.path(), StoreOptions { merge_rows_max: 25, ..options() }).unwrap();
    fill(&store, 130, 60);
    let collection = photos(&store);
    let expected = contents(&collection.snapshot());
    collection.compact(&mut |_| {}).unwrap();
    let snapshot = collection.snapshot();
    assert!(snapshot.segments().len() >= 3 && snapshot.segments().iter().all(|segment| segment.rows() <= 25));
    assert_eq!(contents(&snapshot), expected);
}

#[test]
fn nothing_is_merged_that_does_not_fit() {
    let dir = common::tempdir();
    let small = |bytes| StoreOptions { backend: Arc::new(Limited::small(bytes)), ..options() };
    let store = Store::open(dir.path(), small(20_000)).unwrap();
    fill(&store, 400, 1000);
    let collection = photos(&store);
    let before = (contents(&collection.snapshot()), collection.stats().sealed_segments);
    assert!(before.1 > 16, "the background does not begin it either: {}", before.1);
    assert!(matches!(collection.stats().last_seal_error, Some(StorageError::DiskFull { .. })), "and says why");
    let error = collection.compact(&mut |_| {}).unwrap_err();
    assert!(matches!(error, StorageError::NoRoom { free: 20_000, needed, .. } if needed > 20_000), "{error}");
    assert_eq!((contents(&collection.snapshot()), collection.stats().sealed_segments), before);
    drop((collection, store));
    let store = Store::open(dir.path(), small(1 << 30)).unwrap();
    photos(&store).compact(&mut |_| {}).unwrap();
    assert_eq!(contents(&photos(&store).snapshot()), before.0);
    // Without hard links a snapshot is a copy.
    let copied = store.snapshot_to(&dir.path().with_extension("copy"), false, &mut |_| {}).unwrap();
    assert_eq!(copied.linked_bytes, 0);
    std::fs::remove_dir_all(dir.path().with_extension("copy")).unwrap();
}

#[test]
fn stats_add_up_to_the_files() {
    let dir = common::tempdir();
    let store = open(dir.path());
    fill(&store, 130, 60);
    let stats = photos(&store).stats();
    let on_disk = |prefix| files(dir.path(), prefix).iter().map(|path| std::fs::metadata(path).unwrap().len()).sum();
    let (segments, journals): (u64, u64) = (on_disk("segment-"), on_disk("journal-"));
    assert_eq!((stats.sealed_bytes, stats.mapped_bytes, stats.journals_bytes), (segments, segments, journals));
    assert_eq!(stats.parts.iter().map(|part| part.bytes).sum::<u64>(), segments);
    let part = |name| stats.parts.iter().find(|part| part.name == name).unwrap().bytes;
    let sealed_rows = stats.live + stats.dead - stats.memory_rows;
    assert_eq!(part("vectors"), sealed_rows * 8);
    assert!(part("keys") > sealed_rows * 14 && part("documents") > 0 && part("features") > 0 && part("graph") == 0);
    assert_eq!(stats.live, contents(&photos(&store).snapshot()).len() as u64);
    assert!(stats.dead_bytes > 0 && stats.dead_bytes < segments);
    assert!(stats.resident_bytes.is_some_and(|bytes| bytes <= segments));
    assert!(stats.memory_rows > 0 && stats.memory_bytes > 0);
}

#[test]
fn the_memory_of_request_ids_is_as_long_as_it_is_set() {
    let dir = common::tempdir();
    for sealed in [false, true] {
        let store = Store::open(dir.path(), StoreOptions { request_ids_max: 3, ..options() }).unwrap();
        let collection = photos(&store);
        for n in 0..5 {
            collection.write(put("k", n).with_request_id(format!("{sealed} {n}"))).unwrap();
        }
        if sealed {
            collection.seal().unwrap();
        }
        assert_eq!(collection.stats().request_ids, 3);
        let sequence = collection.snapshot().sequence();
        drop((collection, store));
        let store = Store::open(dir.path(), StoreOptions { request_ids_max: 3, ..options() }).unwrap();
        let collection = photos(&store);
        assert_eq!(collection.stats().request_ids, 3);
        assert!(collection.write(put("k", 9).with_request_id(format!("{sealed} 2"))).unwrap().sequence <= sequence);
        assert!(collection.write(put("k", 9).with_request_id(format!("{sealed} 1"))).unwrap().sequence > sequence);
    }
}

#[test]
fn writers_wait_for_a_seal_when_memory_is_full() {
    let dir = common::tempdir();
    for (budgets, most) in [(1, 10), (3, 30)] {
        let options = StoreOptions { seal_rows: 10, memory_budgets_max: budgets, ..StoreOptions::create() };
        let store = Store::open(&dir.path().join(budgets.to_string()), options).unwrap();
        let collection = photos(&store);
        for n in 0..200 {
            collection.write(put(&format!("k{n}"), n)).unwrap();
            assert!(collection.stats().memory_rows <= most, "{:?}", collection.stats());
        }
    }
}

#[test]
fn verify_says_what_the_damage_costs_and_how_far_it_is() {
    let dir = common::tempdir();
    let store = open(dir.path());
    fill(&store, 130, 60);
    let other = store.create_collection("other", common::spec()).unwrap();
    other.write(Batch::new(vec![Op::Put(common::record("x", 1))])).unwrap();
    store.put_session("s", b"turns").unwrap();
    let mut told = Vec::new();
    let clean = store.verify(&mut |step| told.push((step.bytes, step.total_bytes))).unwrap();
    assert!(clean.is_clean() && clean.records == Some(4), "{clean:?}");
    assert_eq!(told.last().map(|last| last.0), Some(clean.bytes));
    assert!(told.iter().all(|(done, total)| done <= total) && told.iter().any(|(_, total)| *total == clean.bytes));
    let path = files(dir.path(), "segment-").remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[80] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let report = store.verify(&mut |_| {}).unwrap();
    let at_risk = &report.risks[0];
    assert_eq!((report.risks.len(), at_risk.collection.as_str()), (1, "photos"));
    assert!(at_risk.lost() > 0 && at_risk.lost() == at_risk.lost_keys.len() as u64, "{at_risk:?}");
    assert!(store.verify_collection("other", &mut |_| {}).unwrap().is_clean());
    assert_eq!(store.verify_collection("photos", &mut |_| {}).unwrap().damages, report.damages);
}
