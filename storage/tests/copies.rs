//! Goal: a snapshot is the whole database at one moment, and a restored one is that database. Method: take snapshots of
//! quiet and busy databases, restore and verify them, damage them at every block and file, fail at every operation.

#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/limited.rs"]
mod limited;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use common::{contents, copy_dir, delete, files, open, options, photos, put, spec};
use fromagerie_storage::{CopyReport, StorageError, Store, StoreOptions};
use limited::Limited;

fn restore(snapshot: &Path, dest: &Path) -> Result<CopyReport, StorageError> {
    Store::restore(snapshot, dest, false, options(), &mut |_| {})
}

/// Two collections, sealed rows, dead rows, batches in journals, an alias, sessions and a job.
fn fill(store: &Store) -> BTreeMap<String, u32> {
    let collection = photos(store);
    for n in 0..40 {
        collection.write(put(&format!("k{}", n % 23), n)).unwrap();
        if n % 11 == 10 {
            collection.seal().unwrap();
        }
    }
    collection.write(delete("k3")).unwrap();
    let other = store.create_collection("other", spec()).unwrap();
    other.write(put("only", 7).with_request_id("r1")).unwrap();
    store.set_alias("best", "photos").unwrap();
    for n in 0..5 {
        store.put_session(&format!("s{n}"), format!("turns {n}").as_bytes()).unwrap();
    }
    store.put_job("j", b"half done").unwrap();
    contents(&collection.snapshot())
}

/// The database at `dir` is what [`fill`] made, to the last record, and verifies.
fn is_all_there(dir: &Path, expected: &BTreeMap<String, u32>) {
    let store = open(dir);
    assert!(store.notes().is_empty(), "{:?}", store.notes());
    let report = store.verify(&mut |_| {}).unwrap();
    assert!(report.is_clean(), "{:?}", report.damages);
    assert_eq!(&contents(&photos(&store).snapshot()), expected);
    assert_eq!(store.aliases(), [("best".to_owned(), "photos".to_owned())]);
    assert_eq!(store.session("s4").unwrap().as_deref(), Some(&b"turns 4"[..]));
    assert_eq!((store.sessions().unwrap().len(), store.jobs().unwrap()), (5, vec!["j".to_owned()]));
    let other = store.collection("other").unwrap();
    let again = other.write(put("only", 8).with_request_id("r1")).unwrap();
    assert_eq!((again.sequence, contents(&other.snapshot())["only"]), (1, 7), "its request ids came along");
}

#[test]
fn a_restored_snapshot_is_the_database_that_it_was_taken_of() {
    for whole in [false, true] {
        let dir = common::tempdir();
        let (db, snapshot, restored) = (dir.path().join("db"), dir.path().join("snap"), dir.path().join("again"));
        let store = open(&db);
        let expected = fill(&store);
        let mut told = Vec::new();
        let taken = store.snapshot_to(&snapshot, whole, &mut |step| told.push((step.bytes, step.total_bytes))).unwrap();
        assert_eq!((taken.collections, taken.items, taken.records), (2, expected.len() as u64 + 1, 6));
        assert_eq!(taken.linked_bytes == 0, whole, "{taken:?}");
        assert!(told.windows(2).all(|pair| pair[0].0 <= pair[1].0) && told.iter().all(|(done, total)| done <= total));
        // What comes after it is not in it, and what goes away stays in it.
        photos(&store).write(put("later", 1)).unwrap();
        photos(&store).compact(&mut |_| {}).unwrap();
        store.set_alias("best", "other").unwrap();
        store.delete_session("s4").unwrap();
        drop(store);
        let report = restore(&snapshot, &restored).unwrap();
        assert_eq!((report.items, report.records, report.bytes), (taken.items, taken.records, taken.bytes));
        is_all_there(&restored, &expected);
        // Writing in the restored one changes neither the snapshot nor the first.
        photos(&open(&restored)).write(put("new", 3)).unwrap();
        photos(&open(&restored)).compact(&mut |_| {}).unwrap();
        let second = dir.path().join("second");
        restore(&snapshot, &second).unwrap();
        is_all_there(&second, &expected);
        assert!(open(&db).verify(&mut |_| {}).unwrap().is_clean());
    }
}

#[test]
fn a_snapshot_is_one_moment_of_a_database_that_is_being_written() {
    let dir = common::tempdir();
    let options = StoreOptions { seal_rows: 20, in_background: true, ..StoreOptions::create() };
    let store = Store::open(&dir.path().join("db"), options).unwrap();
    for name in ["left", "right"] {
        store.create_collection(name, spec()).unwrap();
    }
    let (stop, written) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (left, right) = (store.collection("left").unwrap(), store.collection("right").unwrap());
            for n in 0.. {
                // A key is on the left before it is on the right, and goes from the right first.
                left.write(put(&format!("k{n}"), n)).unwrap();
                right.write(put(&format!("k{n}"), n)).unwrap();
                if n >= 50 {
                    right.write(delete(&format!("k{}", n - 50))).unwrap();
                    left.write(delete(&format!("k{}", n - 50))).unwrap();
                }
                written.store(n, Ordering::SeqCst);
                if stop.load(Ordering::SeqCst) {
                    return;
                }
            }
        });
        let _stop = common::OnDrop(&stop);
        for n in 0..12 {
            let begun = written.load(Ordering::SeqCst);
            while written.load(Ordering::SeqCst) < begun + 30 {
                std::thread::yield_now();
            }
            let (snapshot, restored) = (dir.path().join(format!("snap{n}")), dir.path().join(format!("db{n}")));
            let before = written.load(Ordering::SeqCst);
            let taken = store.snapshot_to(&snapshot, false, &mut |_| {}).unwrap();
            restore(&snapshot, &restored).unwrap();
            let copy = open(&restored);
            assert!(copy.verify(&mut |_| {}).unwrap().is_clean());
            let left = contents(&copy.collection("left").unwrap().snapshot());
            let right = contents(&copy.collection("right").unwrap().snapshot());
            assert!(right.keys().all(|key| left.contains_key(key)), "both collections are of one moment");
            assert!(left.len() - right.len() <= 1 && left.len() + right.len() == taken.items as usize);
            assert!(left.values().max().unwrap() >= &before, "what was acknowledged before it is in it");
        }
    });
}

#[test]
fn every_damaged_or_missing_file_of_a_snapshot_is_refused_by_name_and_offset() {
    let dir = common::tempdir();
    let (snapshot, dest) = (dir.path().join("snap"), dir.path().join("again"));
    let expected = {
        let store = open(&dir.path().join("db"));
        let expected = fill(&store);
        // Bytes of its own: the test writes into them.
        store.snapshot_to(&snapshot, true, &mut |_| {}).unwrap();
        expected
    };
    let mut tried = 0;
    for path in files(&snapshot, "") {
        let good = std::fs::read(&path).unwrap();
        let is_list = path.ends_with("snapshot.fml");
        for at in (0..good.len()).step_by(good.len() / 40 + 1) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            let error = restore(&snapshot, &dest).unwrap_err();
            let version = is_list && matches!(error, StorageError::UnsupportedVersion { .. });
            let damage = error.damage().cloned();
            assert!(version || damage.as_ref().is_some_and(|damage| damage.path == path), "{path:?} {at}: {error}");
            assert!(damage.is_none_or(|damage| damage.offset as usize <= at), "{error}");
            assert!(!dest.exists() && files(dir.path(), ".again").is_empty(), "nothing is left behind");
            tried += 1;
        }
        for cut in [good.len() - 1, 0] {
            std::fs::write(&path, &good[..cut]).unwrap();
            let error = restore(&snapshot, &dest).unwrap_err();
            assert_eq!(error.damage().map(|damage| &damage.path), Some(&path), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        match restore(&snapshot, &dest).unwrap_err() {
            StorageError::NotASnapshot { .. } => assert!(is_list),
            error => assert_eq!(error.damage().map(|damage| &damage.path), Some(&path), "{error}"),
        }
        std::fs::write(&path, &good).unwrap();
    }
    assert!(tried > 200, "{tried}");
    restore(&snapshot, &dest).unwrap();
    is_all_there(&dest, &expected);
}

#[test]
fn a_snapshot_is_whole_or_absent_wherever_the_disk_fails() {
    let dir = common::tempdir();
    let db = dir.path().join("db");
    let expected = fill(&open(&db));
    let disk = Limited::default();
    let faulty = StoreOptions { backend: Arc::new(disk.clone()), ..options() };
    let (mut n, mut failures) = (1, 0);
    loop {
        let (snapshot, restored) = (dir.path().join(format!("snap{n}")), dir.path().join(format!("db{n}")));
        let store = Store::open(&db, faulty.clone()).unwrap();
        disk.end_after(n - 1);
        let taken = store.snapshot_to(&snapshot, false, &mut |_| {});
        disk.end_after(i64::MAX);
        drop(store);
        if snapshot.exists() {
            restore(&snapshot, &restored).unwrap();
            is_all_there(&restored, &expected);
        }
        if taken.is_ok() {
            break;
        }
        failures += 1;
        n += 1;
    }
    assert!(failures > 20, "{failures}");
    // And the restore.
    let snapshot = dir.path().join(format!("snap{n}"));
    let mut m = 1;
    loop {
        let restored = dir.path().join(format!("re{m}"));
        disk.end_after(m - 1);
        let made = Store::restore(&snapshot, &restored, false, faulty.clone(), &mut |_| {});
        disk.end_after(i64::MAX);
        if restored.exists() {
            is_all_there(&restored, &expected);
        }
        if made.is_ok() {
            break;
        }
        m += 1;
    }
    assert!(m > 20, "{m}");
    is_all_there(&db, &expected);
}

#[test]
fn a_place_that_is_taken_is_refused_and_what_is_there_stays() {
    let dir = common::tempdir();
    let store = open(&dir.path().join("db"));
    fill(&store);
    let taken = dir.path().join("taken");
    std::fs::create_dir(&taken).unwrap();
    store.snapshot_to(&taken, false, &mut |_| {}).unwrap();
    let error = store.snapshot_to(&taken, false, &mut |_| {}).unwrap_err();
    assert!(matches!(error, StorageError::BadDestination { .. }), "{error}");
    assert!(matches!(restore(&taken, &taken), Err(StorageError::BadDestination { .. })));
    let error = restore(&taken, &taken.join("inside")).unwrap_err();
    assert!(error.to_string().contains("lies in the snapshot"), "{error}");
    let inside = dir.path().join("db/snap");
    assert!(matches!(store.snapshot_to(&inside, false, &mut |_| {}), Err(StorageError::BadDestination { .. })));
    assert!(matches!(restore(&dir.path().join("db"), &inside), Err(StorageError::NotASnapshot { .. })));
    assert!(matches!(Store::open(&taken, options()), Err(StorageError::IsASnapshot { .. })));
    assert!(matches!(Store::open_read_only(&taken, options()), Err(StorageError::IsASnapshot { .. })));
    restore(&taken, &dir.path().join("again")).unwrap();
}

#[test]
fn a_damaged_database_is_not_copied() {
    let dir = common::tempdir();
    let db = dir.path().join("db");
    fill(&open(&db));
    let good = common::tempdir();
    copy_dir(&db, good.path());
    for prefix in ["segment-", "manifest-", "journal-"] {
        for path in files(&db, prefix) {
            let store = open(&db);
            let mut bad = std::fs::read(&path).unwrap();
            let at = bad.len() / 3;
            bad[at] ^= 4;
            std::fs::write(&path, &bad).unwrap();
            let error = store.snapshot_to(&dir.path().join("copy"), false, &mut |_| {}).unwrap_err();
            assert_eq!(error.damage().map(|damage| &damage.path), Some(&path), "{error}");
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside the database");
            drop(store);
            std::fs::remove_dir_all(&db).unwrap();
            copy_dir(good.path(), &db);
        }
    }
}
