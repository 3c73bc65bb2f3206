//! Goal: whatever the moment at which writing stops, what opens is a prefix of the batches that has every
//! acknowledged one. Method: cut the journal at every byte; fail every single operation of the disk, once or from
//! there on; fail every fsync; fill the disk. Then reopen on a good disk and compare.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use common::{contents, copy_dir, delete, files, open, options, photos, put, record, spec};
use fromagerie_storage::backend::{Fault, FaultyDisk};
use fromagerie_storage::{Batch, Op, OpenNote, StorageError, Store, StoreOptions};

#[test]
fn a_journal_cut_at_any_byte_opens_to_a_prefix() {
    let dir = common::tempdir();
    let mut prefixes = vec![BTreeMap::new()];
    {
        let photos = photos(&open(dir.path()));
        for n in 0..4 {
            let batch = Batch::new(vec![Op::Put(record(&format!("k{n}"), n)), Op::Delete { key: "k1".into() }]);
            photos.write(batch).unwrap();
            prefixes.push(contents(&photos.snapshot()));
        }
    }
    let journal = files(dir.path(), "journal-").remove(0);
    let whole = std::fs::read(&journal).unwrap();
    let header = 20 + 16;
    let mut last = 0;
    for cut in header..whole.len() {
        std::fs::write(&journal, &whole[..cut]).unwrap();
        let store = open(dir.path());
        let snapshot = photos(&store).snapshot();
        assert_eq!(contents(&snapshot), prefixes[snapshot.sequence() as usize], "cut at {cut}");
        assert!(snapshot.sequence() >= last, "cut at {cut}");
        last = snapshot.sequence();
        let on_disk = std::fs::metadata(&journal).unwrap().len() as usize;
        let torn = matches!(store.notes(), [OpenNote::JournalTailCut { .. }]);
        assert_eq!(torn, on_disk < cut, "a cut is told");
    }
    assert_eq!(last, 3);
}

/// What a run acknowledged: the map after the last acknowledged batch, and the one after the batch that failed.
struct Run {
    acknowledged: Vec<BTreeMap<String, u32>>,
    attempted: BTreeMap<String, u32>,
    created: bool,
}

/// Writes, seals, merges and deletes until the first error, or to the end.
fn run(dir: &Path, disk: &FaultyDisk, stop_at_error: bool) -> Run {
    let mut run = Run { acknowledged: vec![BTreeMap::new()], attempted: BTreeMap::new(), created: false };
    let options = StoreOptions { seal_rows: 3, backend: Arc::new(disk.clone()), ..options() };
    let Ok(store) = Store::open(dir, options) else {
        return run;
    };
    let Ok(photos) = store.create_collection("photos", spec()) else {
        return run;
    };
    run.created = true;
    let mut map = BTreeMap::new();
    for n in 0..32_u32 {
        let mut next = map.clone();
        let key = format!("k{}", n % 11);
        let batch = if n % 5 == 4 {
            next.remove(&key);
            delete(&key)
        } else {
            next.insert(key.clone(), n);
            put(&key, n)
        };
        match photos.write(batch) {
            Ok(_) => {
                map = next;
                run.acknowledged.push(map.clone());
                run.attempted = map.clone();
                assert_eq!(contents(&photos.snapshot()), map);
            }
            Err(_) if stop_at_error => {
                run.attempted = next;
                return run;
            }
            Err(_) => assert_eq!(contents(&photos.snapshot()), map, "a refused batch is not seen"),
        }
    }
    run
}

fn reopens(dir: &Path, run: &Run, what: &str) {
    let store = open(dir);
    assert!(store.damaged().is_empty(), "{what}: {:?}", store.damaged());
    if !run.created {
        return;
    }
    let found = contents(&store.collection("photos").unwrap_or_else(|e| panic!("{what}: {e}")).snapshot());
    let acknowledged = run.acknowledged.last().unwrap();
    assert!(found == *acknowledged || found == run.attempted, "{what}: {found:?}, acknowledged {acknowledged:?}");
    let report = store.verify(&mut |_| {}).unwrap();
    assert!(report.is_clean(), "{what}: {:?}", report.damages);
}

#[test]
fn power_lost_at_any_operation_loses_nothing_acknowledged() {
    let disk = FaultyDisk::default();
    let dir = common::tempdir();
    assert_eq!(run(dir.path(), &disk, true).acknowledged.len(), 33);
    let operations = disk.count();
    assert!(operations > 150, "{operations}");
    for n in 1..=operations {
        let dir = common::tempdir();
        disk.set(Fault::Crash(n));
        let run = run(dir.path(), &disk, true);
        reopens(dir.path(), &run, &format!("crash at operation {n}"));
    }
}

#[test]
fn a_single_failure_anywhere_loses_nothing_acknowledged() {
    let disk = FaultyDisk::default();
    let dir = common::tempdir();
    run(dir.path(), &disk, true);
    for n in 1..=disk.count() {
        let dir = common::tempdir();
        disk.set(Fault::Once(n));
        let run = run(dir.path(), &disk, false);
        let store = open(dir.path());
        assert!(store.damaged().is_empty(), "operation {n}: {:?}", store.damaged());
        if run.created {
            // After a failed fsync the refused batch may or may not be there; a poisoned writer took no later ones.
            let found = contents(&store.collection("photos").unwrap().snapshot());
            let acknowledged = run.acknowledged.last().unwrap();
            let differing = found.iter().filter(|(key, value)| acknowledged.get(*key) != Some(value)).count()
                + acknowledged.keys().filter(|key| !found.contains_key(*key)).count();
            assert!(differing <= 1, "operation {n}: {found:?}, acknowledged {acknowledged:?}");
        }
    }
}

#[test]
fn a_failed_fsync_poisons_and_is_not_retried_into_an_ack() {
    let dir = common::tempdir();
    let disk = FaultyDisk::default();
    let options = StoreOptions { backend: Arc::new(disk.clone()), ..options() };
    let store = Store::open(dir.path(), options).unwrap();
    let collection = photos(&store);
    collection.write(put("kept", 1)).unwrap();
    disk.set(Fault::FileSync);
    assert!(matches!(collection.write(put("lost", 2)), Err(StorageError::Poisoned { .. })));
    disk.set(Fault::None);
    let again = collection.write(put("later", 3)).unwrap_err();
    assert!(matches!(again, StorageError::Poisoned { .. }));
    assert!(again.to_string().contains("close and open"), "{again}");
    assert!(collection.seal().is_err(), "nothing is published by a poisoned writer");
    assert_eq!(contents(&collection.snapshot()), BTreeMap::from([("kept".into(), 1)]), "reads go on");
    drop((collection, store));
    let reopened = photos(&open(dir.path()));
    assert_eq!(contents(&reopened.snapshot()).get("kept"), Some(&1));
    reopened.write(put("later", 3)).unwrap();
}

#[test]
fn a_full_disk_refuses_writes_and_needs_no_restart() {
    let dir = common::tempdir();
    let disk = FaultyDisk::default();
    let options = StoreOptions { backend: Arc::new(disk.clone()), ..options() };
    let store = Store::open(dir.path(), options).unwrap();
    let collection = photos(&store);
    collection.write(put("before", 1)).unwrap();
    disk.set(Fault::Full);
    for n in 0..3 {
        assert!(matches!(collection.write(put("refused", n)), Err(StorageError::DiskFull { .. })));
    }
    assert!(matches!(collection.seal(), Err(StorageError::DiskFull { .. })));
    assert_eq!(contents(&collection.snapshot()).len(), 1, "reads go on");
    disk.set(Fault::None);
    collection.write(put("after", 2)).unwrap();
    let copy = common::tempdir();
    copy_dir(dir.path(), copy.path());
    assert_eq!(contents(&photos(&open(copy.path())).snapshot()).len(), 2, "no half batch lies in between");
    collection.seal().unwrap();
    collection.write(put("last", 3)).unwrap();
    let expected = BTreeMap::from([("before".into(), 1), ("after".into(), 2), ("last".into(), 3)]);
    assert_eq!(contents(&collection.snapshot()), expected);
    drop((collection, store));
    let store = open(dir.path());
    assert!(store.notes().is_empty(), "{:?}", store.notes());
    assert_eq!(contents(&photos(&store).snapshot()), expected);
}

#[test]
fn a_copy_taken_between_batches_opens() {
    let dir = common::tempdir();
    let store = Store::open(dir.path(), StoreOptions { seal_rows: 2, ..options() }).unwrap();
    let collection = photos(&store);
    for n in 0..9 {
        collection.write(put(&format!("k{n}"), n)).unwrap();
        let copy = common::tempdir();
        copy_dir(dir.path(), copy.path());
        assert_eq!(contents(&photos(&open(copy.path())).snapshot()).len() as u32, n + 1);
    }
}
