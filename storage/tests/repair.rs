//! Goal: a repair drops what is damaged and nothing else, and says exactly what that was. Method: damage every kind of
//! file at many bytes, look without writing, repair, and compare what is left with the history of what was written.

#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/limited.rs"]
mod limited;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{contents, copy_dir, delete, files, open, options, photos, put, spec};
use fromagerie_storage::{
    Batch, CollectionSpec, Document, Op, Record, RepairReport, SegmentBuilder, Source, StorageError, Store,
    StoreOptions, Task,
};
use limited::Limited;

/// A graph that is recognised again.
struct Graph;

impl SegmentBuilder for Graph {
    fn build(&self, vectors: &[f32], dim: usize, _: &[Source<'_>], _: &mut Task<'_>) -> Option<Vec<u8>> {
        Some(vec![7; vectors.len() / dim * 4])
    }
}

fn graphs(_: &CollectionSpec) -> Option<Arc<dyn SegmentBuilder>> {
    Some(Arc::new(Graph))
}

fn repair(store: &Store, write: bool) -> RepairReport {
    store.repair("photos", write, &graphs, &mut |_| {}).unwrap()
}

/// Writes batches; returns what the collection held after each, by sequence.
fn fill(store: &Store) -> Vec<BTreeMap<String, u32>> {
    let collection = photos(store);
    collection.set_segment_builder(Arc::new(Graph));
    let mut history = vec![BTreeMap::new()];
    for n in 0..40_u32 {
        let batch = match n % 7 {
            6 => delete(&format!("k{}", n % 5)),
            _ => put(&format!("k{}", n % 17), n),
        };
        collection.write(batch).unwrap();
        history.push(contents(&collection.snapshot()));
        if n == 12 || n == 25 {
            collection.seal().unwrap();
        }
    }
    history
}

/// After a repair: the database opens by itself, is clean, and takes batches. Returns what it holds.
fn settled(dir: &Path) -> BTreeMap<String, u32> {
    let store = open(dir);
    assert!(store.damaged().is_empty() && store.notes().is_empty(), "{:?} {:?}", store.damaged(), store.notes());
    let report = store.verify(&mut |_| {}).unwrap();
    assert!(report.is_clean(), "{:?}", report.damages);
    let held = contents(&photos(&store).snapshot());
    photos(&store).write(put("after", 2)).unwrap();
    assert_eq!(contents(&photos(&store).snapshot()).len(), held.len() + 1);
    held
}

/// What a repaired collection holds is what its history and the report say.
fn check(report: &RepairReport, held: &BTreeMap<String, u32>, history: &[BTreeMap<String, u32>], what: &str) {
    let last = match &report.lost_batches {
        Some(lost) => &history[lost.first as usize - 1],
        None => history.last().unwrap(),
    };
    assert_eq!(report.kept, held.len() as u64, "{what}");
    let missing: BTreeSet<&String> = last.keys().filter(|key| !held.contains_key(*key)).collect();
    let named: BTreeSet<&String> = report.lost_keys.iter().collect();
    let unnamed: u64 = report.lost_rows.iter().map(|rows| rows.count().unwrap_or(u64::MAX / 8)).sum();
    assert!(named.is_subset(&missing), "{what}: {named:?} were not lost");
    assert!(missing.len() as u64 <= named.len() as u64 + unnamed, "{what}: {missing:?} are gone in silence");
    for (key, value) in held {
        match last.get(key) {
            Some(expected) => assert_eq!(value, expected, "{what}: {key}"),
            None => assert!(report.deletes_unknown.is_some(), "{what}: {key} is back in silence"),
        }
    }
}

#[test]
fn whatever_byte_is_damaged_the_rest_is_kept_and_the_loss_is_told() {
    let good = common::tempdir();
    let history = fill(&open(good.path()));
    let (mut tried, mut lossless) = (0, 0);
    for (prefix, step) in [("journal-", 5), ("manifest-", 11), ("segment-", 13)] {
        for path in files(good.path(), prefix) {
            let bytes = std::fs::read(&path).unwrap();
            for at in (0..bytes.len()).step_by(step) {
                let dir = common::tempdir();
                copy_dir(good.path(), dir.path());
                let mut bad = bytes.clone();
                bad[at] ^= 0x40;
                std::fs::write(dir.path().join(path.strip_prefix(good.path()).unwrap()), bad).unwrap();
                let what = format!("{} byte {at}", path.file_name().unwrap().to_str().unwrap());
                let store = open(dir.path());
                let seen = repair(&store, false);
                assert!(!seen.is_clean() && seen.moved_to.is_none(), "{what}: not noticed");
                let report = repair(&store, true);
                assert_eq!(RepairReport { moved_to: None, ..report.clone() }, seen, "{what}: looking is not doing");
                let aside = report.moved_to.clone().unwrap();
                let moved = aside.join(path.file_name().unwrap());
                assert_eq!(std::fs::metadata(moved).unwrap().len(), bytes.len() as u64, "{what}");
                assert!(repair(&store, false).is_clean(), "{what}");
                check(&report, &contents(&photos(&store).snapshot()), &history, &what);
                drop(store);
                check(&report, &settled(dir.path()), &history, &what);
                tried += 1;
                lossless += u32::from(report.is_lossless());
            }
        }
    }
    assert!(tried > 300 && lossless > tried / 10, "{lossless} of {tried} without loss");
}

#[test]
fn whatever_file_is_missing_the_rest_is_kept_and_the_loss_is_told() {
    let good = common::tempdir();
    let history = fill(&open(good.path()));
    for prefix in ["journal-", "manifest-", "segment-"] {
        for path in files(good.path(), prefix) {
            let dir = common::tempdir();
            copy_dir(good.path(), dir.path());
            std::fs::remove_file(dir.path().join(path.strip_prefix(good.path()).unwrap())).unwrap();
            let store = open(dir.path());
            let report = repair(&store, true);
            assert!(!report.is_lossless() && !report.is_clean(), "{}", path.display());
            drop(store);
            check(&report, &settled(dir.path()), &history, path.to_str().unwrap());
        }
    }
}

/// A collection of 1,000 items in one segment whose parts are several blocks each.
fn large(store: &Store) -> Vec<String> {
    let spec = CollectionSpec { dim: 64, ..CollectionSpec::default() };
    let collection = store.create_collection("photos", spec).unwrap();
    collection.set_segment_builder(Arc::new(Graph));
    let keys: Vec<String> = (0..1000).map(|n| format!("{n:0>200}")).collect();
    let op = |key: &String| {
        let document = Document { caption: format!("{key} is its caption"), ..Document::default() };
        Op::Put(Record { key: key.clone(), vector: vec![1.0; 64], features: None, document })
    };
    collection.write(Batch::new(keys.iter().map(op).collect())).unwrap();
    collection.seal().unwrap();
    collection.write(delete(&keys[300])).unwrap();
    collection.seal().unwrap();
    keys
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn find(path: &Path, bytes: &[u8]) -> usize {
    std::fs::read(path).unwrap().windows(bytes.len()).position(|window| window == bytes).unwrap()
}

#[test]
fn of_a_segment_only_the_damaged_block_is_lost() {
    let good = common::tempdir();
    let keys = large(&open(good.path()));
    let original = files(good.path(), "segment-").remove(0);
    let vectors = find(&original, &1.0_f32.to_le_bytes().repeat(64));
    let key_bytes = find(&original, keys[0].as_bytes());
    let captions = find(&original, format!("{} is its caption", keys[0]).as_bytes());
    let graph = find(&original, &[7; 64]);
    let length = std::fs::metadata(&original).unwrap().len() as usize;
    const BLOCK: usize = 65_536;
    // Where the damage is, and how many items it costs: named, and by row only.
    let cases = [
        ("vectors", vectors + BLOCK + 9, 255, 0),
        ("keys", key_bytes + BLOCK + 9, 0, 329),
        ("captions", captions + 2 * BLOCK + 9, 256, 0),
        ("graph", graph + 9, 0, 0),
        ("header", 30, 0, 0),
        ("tail", length - 3, 0, 0),
        ("footer", length - 60, 0, 999),
    ];
    for (what, at, named, unnamed) in cases {
        let dir = common::tempdir();
        copy_dir(good.path(), dir.path());
        let segment = files(dir.path(), "segment-").remove(0);
        flip(&segment, at);
        let store = open(dir.path());
        let report = repair(&store, true);
        assert_eq!(report.lost_keys.len(), named, "{what}");
        assert_eq!(report.lost() - report.lost_keys.len() as u64, unnamed, "{what}: {:?}", report.lost_rows);
        assert_eq!(report.kept, 999 - report.lost(), "{what}");
        assert!(report.damages.iter().all(|damage| damage.path == segment), "{what}");
        assert!(report.damages.iter().any(|damage| damage.offset as usize <= at), "{what}");
        let snapshot = store.collection("photos").unwrap().snapshot();
        assert_eq!(snapshot.len() as u64, report.kept, "{what}");
        for key in &keys {
            let alive = snapshot.find(key).unwrap().is_some();
            assert!(!(alive && report.lost_keys.contains(key)), "{what}");
            assert!(!alive || *key != keys[300], "{what}: a deleted item stays deleted");
        }
        if report.kept > 0 {
            let graph = snapshot.segments()[0].graph().unwrap().unwrap();
            assert_eq!(graph.len() as u64, report.kept * 4, "{what}: the graph is of what is left");
        }
        assert!(store.verify(&mut |_| {}).unwrap().is_clean(), "{what}");
    }
}

#[test]
fn segments_whose_names_were_swapped_are_known_by_what_they_say() {
    let dir = common::tempdir();
    let history = fill(&open(dir.path()));
    let segments = files(dir.path(), "segment-");
    assert_eq!(segments.len(), 2);
    let (a, b) = (std::fs::read(&segments[0]).unwrap(), std::fs::read(&segments[1]).unwrap());
    std::fs::write(&segments[0], b).unwrap();
    std::fs::write(&segments[1], a).unwrap();
    let store = open(dir.path());
    assert!(store.collection("photos").is_err(), "it does not open");
    let report = repair(&store, true);
    assert!(report.is_lossless() && report.rebuilt == 2, "{report:?}");
    assert_eq!(&contents(&photos(&store).snapshot()), history.last().unwrap());
    drop(store);
    settled(dir.path());
}

#[test]
fn a_segment_of_another_collection_is_not_taken_for_ones_own() {
    let dir = common::tempdir();
    let store = open(dir.path());
    let history = fill(&store);
    let other = store.create_collection("other", spec()).unwrap();
    other.write(put("stranger", 1)).unwrap();
    other.seal().unwrap();
    let folder = |id: u64| dir.path().join(format!("collections/{id:016x}"));
    let (of_photos, of_other) = (folder(photos(&store).id()), folder(other.id()));
    drop((other, store));
    std::fs::copy(files(&of_other, "segment-").remove(0), files(&of_photos, "segment-").remove(0)).unwrap();
    let store = open(dir.path());
    let report = repair(&store, true);
    assert!(report.lost_rows.len() == 1 && report.lost() > 0);
    let held = contents(&photos(&store).snapshot());
    assert!(!held.contains_key("stranger"));
    check(&report, &held, &history, "a stranger");
    assert_eq!(contents(&store.collection("other").unwrap().snapshot()).len(), 1, "the other one served meanwhile");
}

#[test]
fn without_a_manifest_the_catalog_and_the_segments_are_enough() {
    let dir = common::tempdir();
    let history = fill(&open(dir.path()));
    std::fs::remove_file(files(dir.path(), "manifest-").remove(0)).unwrap();
    let store = open(dir.path());
    let report = repair(&store, true);
    assert!(report.deletes_unknown.is_some() && report.lost() == 0 && report.lost_batches.is_none(), "{report:?}");
    let held = contents(&photos(&store).snapshot());
    for (key, value) in history.last().unwrap() {
        assert_eq!(held.get(key), Some(value), "of two rows with one key, the newer");
    }
    drop(store);
    settled(dir.path());
}

#[test]
fn without_manifest_and_catalog_nothing_is_guessed() {
    let dir = common::tempdir();
    fill(&open(dir.path()));
    std::fs::remove_file(files(dir.path(), "manifest-").remove(0)).unwrap();
    std::fs::remove_file(dir.path().join("catalog.redb")).unwrap();
    let before = files(&dir.path().join("collections"), "");
    let store = open(dir.path());
    let name = store.damaged()[0].name.clone();
    let error = store.repair(&name, true, &graphs, &mut |_| {}).unwrap_err();
    assert!(matches!(error, StorageError::Unrepairable { .. }), "{error}");
    assert_eq!(files(&dir.path().join("collections"), ""), before);
}

#[test]
fn what_follows_a_damaged_batch_is_lost_and_named() {
    let dir = common::tempdir();
    let history = {
        let store = open(dir.path());
        fill(&store)
    };
    let journal = files(dir.path(), "journal-").remove(0);
    let length = std::fs::metadata(&journal).unwrap().len() as usize;
    flip(&journal, length / 2);
    let store = open(dir.path());
    let report = repair(&store, true);
    let lost = report.lost_batches.clone().unwrap();
    assert!(lost.readable > 0 && !lost.keys.is_empty(), "{lost:?}");
    assert_eq!(lost.first + lost.readable, 40, "all but the damaged one can be read: {lost:?}");
    assert_eq!(&contents(&photos(&store).snapshot()), &history[lost.first as usize - 1]);
    let receipt = photos(&store).write(put("new", 1)).unwrap();
    assert!(receipt.sequence > 40, "a sequence that was acknowledged is not given out twice: {}", receipt.sequence);
    let aside: PathBuf = report.moved_to.unwrap();
    assert_eq!(files(&aside, "").len(), 1);
}

#[test]
fn handles_of_before_read_on_and_write_no_more() {
    let dir = common::tempdir();
    let store = open(dir.path());
    fill(&store);
    let collection = photos(&store);
    flip(&files(dir.path(), "segment-").remove(0), 200);
    let held = collection.snapshot().len();
    assert!(!repair(&store, false).is_clean());
    collection.write(put("still", 1)).unwrap();
    repair(&store, true);
    assert!(matches!(collection.write(put("k", 1)), Err(StorageError::Repaired { .. })));
    assert!(collection.seal().is_err());
    assert_eq!(collection.snapshot().len(), held + 1);
    photos(&store).write(put("k", 1)).unwrap();
}

#[test]
fn a_repair_that_fails_leaves_what_it_found() {
    let good = common::tempdir();
    let history = fill(&open(good.path()));
    flip(&files(good.path(), "segment-").remove(0), 100);
    let journal = files(good.path(), "journal-").remove(0);
    let length = std::fs::metadata(&journal).unwrap().len() as usize;
    flip(&journal, length / 2);
    let disk = Limited::default();
    let faulty = StoreOptions { backend: Arc::new(disk.clone()), ..options() };
    let mut n = 1;
    loop {
        let dir = common::tempdir();
        copy_dir(good.path(), dir.path());
        let store = Store::open(dir.path(), faulty.clone()).unwrap();
        disk.end_after(n - 1);
        let repaired = store.repair("photos", true, &graphs, &mut |_| {});
        disk.end_after(i64::MAX);
        drop(store);
        let store = open(dir.path());
        let report = repair(&store, true);
        drop(store);
        if !report.is_clean() {
            check(&report, &settled(dir.path()), &history, &format!("failed at {n}"));
        }
        if repaired.is_ok() {
            assert!(report.is_clean());
            break;
        }
        n += 1;
    }
    assert!(n > 15, "{n}");
}
