//! Goal: a batch that was made from what somebody read is written only while that still holds. Method: each way in which a
//! key can change between the two; and counters that many threads raise at once, by reading and writing, beside seals,
//! merges and large batches: not one step may be lost.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::{contents, delete, open, photos, put};
use fromagerie_storage::backend::simulated::SimulatedDisk;
use fromagerie_storage::{Batch, Collection, Op, StorageError, Store, StoreOptions, Version};

fn version(collection: &Collection, key: &str) -> Version {
    collection.snapshot().version(key).unwrap()
}

fn is_changed(collection: &Collection, batch: Batch, versions: Vec<Version>) -> bool {
    let before = (contents(&collection.snapshot()), collection.snapshot().sequence());
    match collection.write_held_to(batch, versions) {
        Ok(_) => false,
        Err(StorageError::Changed { key }) => {
            assert_eq!(key, "k");
            assert_eq!((contents(&collection.snapshot()), collection.snapshot().sequence()), before);
            true
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_batch_is_written_only_over_what_it_was_made_from() {
    let dir = common::tempdir();
    let collection = photos(&open(dir.path()));
    let absent = version(&collection, "k");
    assert!(!is_changed(&collection, put("k", 1), vec![absent.clone()]));
    assert!(is_changed(&collection, put("k", 2), vec![absent]), "something is there now");
    let first = version(&collection, "k");
    assert!(!is_changed(&collection, put("other", 9), vec![first.clone()]), "other keys do not matter");
    assert_eq!(version(&collection, "k"), first, "nor do chunks that were merged");
    collection.write(put("k", 1)).unwrap();
    assert!(is_changed(&collection, put("k", 2), vec![first]), "the same again is another record");
    for change in [delete("k"), put("k", 3)] {
        let read = version(&collection, "k");
        collection.write(change).unwrap();
        assert!(is_changed(&collection, put("x", 2), vec![read, version(&collection, "other")]));
    }
    collection.seal().unwrap();
    let sealed = version(&collection, "k");
    assert!(!is_changed(&collection, put("k", 4), vec![sealed.clone()]));
    assert!(is_changed(&collection, delete("k"), vec![sealed]));
    let latest = version(&collection, "k");
    assert!(!is_changed(&collection, delete("k"), vec![latest]));
    assert_eq!(contents(&collection.snapshot()).keys().collect::<Vec<_>>(), ["other"]);
}

#[test]
fn a_request_that_was_written_is_answered_whatever_came_after_it() {
    let dir = common::tempdir();
    let collection = photos(&open(dir.path()));
    let (absent, batch) = (version(&collection, "k"), put("k", 1).with_request_id("r"));
    let first = collection.write_held_to(batch.clone(), vec![absent.clone()]).unwrap();
    collection.write(put("k", 2)).unwrap();
    assert_eq!(collection.write_held_to(batch, vec![absent]).unwrap(), first);
    assert_eq!(contents(&collection.snapshot())["k"], 2);
}

/// Adds one to a counter; how often somebody else came first.
fn raise(collection: &Collection, key: &str) -> u32 {
    for tries in 0.. {
        let snapshot = collection.snapshot();
        let version = snapshot.version(key).unwrap();
        let at = snapshot.find(key).unwrap();
        let value = at.map_or(0, |at| snapshot.segments()[at.segment].document(at.row).unwrap().width);
        match collection.write_held_to(put(key, value + 1), vec![version]) {
            Ok(_) => return tries,
            Err(StorageError::Changed { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("it is tried again for as long as it takes")
}

#[test]
fn counters_that_many_raise_at_once_lose_no_step() {
    const THREADS: usize = 6;
    const STEPS: u32 = 60;
    // While one group waits for its fsync, the next one forms, with several of one key.
    let disk = SimulatedDisk::default();
    disk.set_sync_time(Duration::from_millis(1));
    let backend = Arc::new(disk);
    let options = StoreOptions { seal_rows: 40, bulk_bytes: 1, backend, ..StoreOptions::create() };
    let store = Store::open("cellar".as_ref(), options.clone()).unwrap();
    let collection = photos(&store);
    let conflicts: u32 = std::thread::scope(|scope| {
        let raisers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let collection = collection.clone();
                scope.spawn(move || {
                    (0..STEPS).map(|step| raise(&collection, ["a", "b"][(thread + step as usize) % 2])).sum::<u32>()
                })
            })
            .collect();
        // Meanwhile batches that become segments at once push the counters down into merges.
        for round in 0..12 {
            let ops = (0..20).map(|n| Op::Put(common::record(&format!("filler{}", (round + n) % 30), n)));
            collection.write(Batch::new(ops.collect())).unwrap();
            std::thread::sleep(Duration::from_millis(3));
        }
        raisers.into_iter().map(|raiser| raiser.join().unwrap()).sum()
    });
    let counted = |of: &BTreeMap<String, u32>| of["a"] + of["b"];
    let found = contents(&collection.snapshot());
    assert_eq!(counted(&found), THREADS as u32 * STEPS);
    assert!(conflicts > 0, "the threads never met: the test shows nothing");
    drop((collection, store));
    let store = Store::open("cellar".as_ref(), options).unwrap();
    assert_eq!(contents(&photos(&store).snapshot()), found);
}
