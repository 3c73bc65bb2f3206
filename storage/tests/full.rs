//! Goal: a full disk costs nothing but the writes that do not fit, and no restart. Method: a simulated disk whose
//! capacity ends and comes back.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use common::{contents, options, photos, put};
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
