//! Small makers of batches and stores for the tests of this crate.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod meddler;
pub mod random;
pub mod recovery;
pub mod workload;
pub mod world;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fromagerie_storage::{
    Batch, Collection, CollectionSpec, Document, Location, Op, Record, Snapshot, Store, StoreOptions,
};

pub const DIM: u32 = 2;

/// A directory of its own, in memory where the system offers that: tests of order need no real disk.
pub fn tempdir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Options for a test: made when missing, sealed in the thread that writes, so that runs repeat.
pub fn options() -> StoreOptions {
    StoreOptions { in_background: false, ..StoreOptions::create() }
}

pub fn spec() -> CollectionSpec {
    CollectionSpec { dim: DIM, feature_dim: 1, ..CollectionSpec::default() }
}

pub fn open(dir: &Path) -> Store {
    Store::open(dir, options()).unwrap()
}

pub fn photos(store: &Store) -> Collection {
    store.collection("photos").or_else(|_| store.create_collection("photos", spec())).unwrap()
}

pub fn record(key: &str, value: u32) -> Record {
    let document = Document { payload: format!("{{\"v\":{value}}}"), width: value, ..Document::default() };
    let features = value.is_multiple_of(2).then(|| vec![value as f32]);
    Record { key: key.to_owned(), vector: vec![1.0, value as f32], features, document }
}

pub fn put(key: &str, value: u32) -> Batch {
    Batch::new(vec![Op::Put(record(key, value))])
}

pub fn delete(key: &str) -> Batch {
    Batch::new(vec![Op::Delete { key: key.to_owned() }])
}

/// Every live item as key to value, read through all parts of a snapshot, which must agree.
pub fn contents(snapshot: &Snapshot) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    for (index, segment) in snapshot.segments().iter().enumerate() {
        let vectors = segment.vectors().unwrap().to_f32();
        assert_eq!(vectors.len(), segment.rows() as usize * segment.dim());
        for row in (0..segment.rows()).filter(|&row| segment.is_live(row)) {
            let key = segment.key(row).unwrap();
            let value = segment.document(row).unwrap().width;
            assert_eq!(vectors[row as usize * 2 + 1], value as f32);
            assert_eq!(segment.features(row).unwrap(), value.is_multiple_of(2).then(|| vec![value as f32]));
            let location = snapshot.find(key).unwrap().unwrap();
            assert_eq!((location.segment, location.row), (index, row));
            assert_eq!(found.insert(key.to_owned(), value), None, "{key} is live twice");
        }
    }
    assert_eq!(found.len(), snapshot.len());
    let places: Vec<Location> = found.keys().map(|key| snapshot.find(key).unwrap().unwrap()).collect();
    let together = snapshot.read(&places).unwrap();
    assert!(
        together
            .iter()
            .map(|(key, document)| (*key, document.width))
            .eq(found.iter().map(|(key, value)| (&**key, *value)))
    );
    found
}

/// Files below `dir` whose name begins with `prefix`.
pub fn files(dir: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, prefix));
        } else if path.file_name().unwrap().to_str().unwrap().starts_with(prefix) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Copies a directory with all that is in it.
pub fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_dir(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

/// Turns true when it goes, so that a thread that waits for it ends even when a test fails.
pub struct OnDrop<'a>(pub &'a std::sync::atomic::AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}
