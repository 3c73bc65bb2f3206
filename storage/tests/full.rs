//! Goal: a full disk costs nothing but the writes that do not fit, and no restart. Method: a simulated disk whose
//! capacity ends and comes back.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{contents, delete, options, photos, put};
use fromagerie_storage::backend::simulated::{CatalogLoss, Loss, SimulatedDisk};
use fromagerie_storage::{StorageError, Store, StoreOptions};

fn open(disk: &SimulatedDisk) -> Store {
    Store::open(Path::new("cellar"), StoreOptions { backend: Arc::new(disk.clone()), ..options() }).unwrap()
}

#[test]
fn a_full_disk_refuses_writes_and_needs_no_restart() {
    let disk = SimulatedDisk::default();
    let store = open(&disk);
    let collection = photos(&store);
    collection.write(put("before", 1)).unwrap();
    disk.set_capacity(Some(disk.used()));
    for n in 0..3 {
        assert!(matches!(collection.write(put("refused", n)), Err(StorageError::DiskFull { .. })));
    }
    assert!(matches!(collection.seal(), Err(StorageError::DiskFull { .. })));
    assert_eq!(contents(&collection.snapshot()).len(), 1, "reads go on");
    disk.set_capacity(None);
    collection.write(put("after", 2)).unwrap();
    let copy = disk.power_lost(Loss::Everything, CatalogLoss::Nothing);
    assert_eq!(contents(&photos(&open(&copy)).snapshot()).len(), 2, "no half batch lies in between");
    collection.seal().unwrap();
    collection.write(put("last", 3)).unwrap();
    let expected = BTreeMap::from([("before".into(), 1), ("after".into(), 2), ("last".into(), 3)]);
    assert_eq!(contents(&collection.snapshot()), expected);
    drop((collection, store));
    let store = open(&disk);
    assert!(store.notes().is_empty(), "{:?}", store.notes());
    assert_eq!(contents(&photos(&store).snapshot()), expected);
}

#[test]
fn deletes_work_on_a_full_disk_as_long_as_the_reserve_lasts() {
    let disk = SimulatedDisk::default();
    let options = StoreOptions { reserve_bytes: 4096, backend: Arc::new(disk.clone()), ..options() };
    let store = Store::open(Path::new("cellar"), options).unwrap();
    let collection = photos(&store);
    for n in 0..100 {
        collection.write(put(&format!("k{n}"), n)).unwrap();
    }
    disk.set_capacity(Some(disk.used()));
    assert!(matches!(collection.write(put("refused", 1)), Err(StorageError::DiskFull { .. })));
    let mut mixed = put("refused", 1);
    mixed.ops.extend(delete("k1").ops);
    assert!(matches!(collection.write(mixed), Err(StorageError::DiskFull { .. })), "a batch is whole");
    let deleted = (0..100).take_while(|n| collection.write(delete(&format!("k{n}"))).is_ok()).count();
    assert!(deleted > 50, "{deleted}");
    let left = contents(&collection.snapshot());
    assert_eq!(left.len(), 100 - deleted);
    let copy = disk.power_lost(Loss::Everything, CatalogLoss::Nothing);
    assert_eq!(contents(&photos(&open(&copy)).snapshot()), left, "and they are durable");

    let before = disk.files().len();
    disk.set_capacity(Some(disk.used() + 100_000));
    collection.write(put("after", 1)).unwrap();
    assert_eq!(disk.files().len(), before + 1, "the reserve is made again");
    disk.set_capacity(Some(disk.used()));
    assert!(collection.write(put("refused", 1)).is_err());
    collection.write(delete("after")).unwrap();
}

#[test]
fn a_seal_that_does_not_fit_is_not_begun_and_rests() {
    let disk = SimulatedDisk::default();
    let seal_rest = Duration::from_secs(3600);
    let options = StoreOptions { seal_rows: 10, seal_rest, backend: Arc::new(disk.clone()), ..options() };
    let store = Store::open(Path::new("cellar"), options).unwrap();
    let collection = photos(&store);
    for n in 0..9 {
        collection.write(put(&format!("k{n}"), n)).unwrap();
    }
    disk.set_capacity(Some(disk.used() + 600));
    let segments = || disk.files().iter().filter(|(path, _)| path.contains("segment")).count();
    collection.write(put("k9", 9)).unwrap();
    assert!(matches!(collection.stats().last_seal_error, Some(StorageError::DiskFull { .. })));
    assert_eq!(segments(), 0);
    disk.set_capacity(None);
    for n in 10..40 {
        collection.write(put(&format!("k{n}"), n)).unwrap();
    }
    assert_eq!(segments(), 0, "it rests");
    assert!(matches!(collection.write(put("over", 1)), Err(StorageError::DiskFull { .. })), "memory stays bounded");
    collection.seal().unwrap();
    assert_eq!((segments(), collection.stats().memory_rows), (1, 0), "unless it is asked for");
    assert!(collection.stats().last_seal_error.is_none());
    collection.write(put("over", 1)).unwrap();
}
