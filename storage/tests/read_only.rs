//! Goal: a reader beside the writer sees what was published, writes nothing and outlives merges. Method: one store that
//! writes, seals, merges and drops, and one of the same directory that was opened for reading only.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use common::{contents, delete, files, open, options, photos, put, spec};
use fromagerie_storage::{Batch, Op, StorageError, Store, StoreOptions};

fn reader(dir: &Path) -> Store {
    Store::open_read_only(dir, StoreOptions::default()).unwrap()
}

/// Every file below a directory with its length and time.
fn state_of(dir: &Path) -> BTreeMap<std::path::PathBuf, (u64, SystemTime)> {
    let state = |path: std::path::PathBuf| {
        let meta = std::fs::metadata(&path).unwrap();
        (path, (meta.len(), meta.modified().unwrap()))
    };
    files(dir, "").into_iter().map(state).collect()
}

#[test]
fn a_reader_follows_the_writer() {
    let dir = common::tempdir();
    let store = open(dir.path());
    let collection = photos(&store);
    collection.write(put("a", 1)).unwrap();
    let reading = reader(dir.path());
    let seen = reading.collection("photos").unwrap();
    assert_eq!(contents(&seen.snapshot()), contents(&collection.snapshot()));
    let held = seen.snapshot();

    collection.write(put("b", 2)).unwrap();
    assert_eq!(seen.snapshot().len(), 1, "until it looks again");
    reading.refresh().unwrap();
    assert_eq!(seen.snapshot().len(), 2);
    for n in 0..30 {
        collection.write(put(&format!("k{}", n % 7), n)).unwrap();
        if n % 4 == 3 {
            collection.seal().unwrap();
            collection.write(delete(&format!("k{}", n % 3))).unwrap();
        }
        assert_eq!(contents(&reading.collection("photos").unwrap().snapshot()), contents(&collection.snapshot()));
    }
    collection.compact(&mut |_| {}).unwrap();
    assert_eq!(contents(&reading.collection("photos").unwrap().snapshot()), contents(&collection.snapshot()));
    assert_eq!(contents(&held).len(), 1, "a snapshot stays as it was");

    store.set_alias("best", "photos").unwrap();
    store.create_collection("other", spec()).unwrap().write(put("x", 3)).unwrap();
    assert_eq!(reading.collection("best").unwrap().name(), "photos");
    assert_eq!(reading.collection("other").unwrap().snapshot().len(), 1);
    store.drop_collection("other").unwrap();
    assert!(matches!(reading.collection("other"), Err(StorageError::UnknownCollection { .. })));
}

#[test]
fn a_reader_writes_nothing_and_needs_no_lock() {
    let dir = common::tempdir();
    let store = open(dir.path());
    photos(&store).write(put("a", 1)).unwrap();
    photos(&store).seal().unwrap();
    photos(&store).write(put("b", 2)).unwrap();
    store.put_session("s", b"turns").unwrap();
    drop(store);
    // What a crash leaves: a torn tail, and files that nobody needs.
    let journal = files(dir.path(), "journal-").remove(0);
    let mut bytes = std::fs::read(&journal).unwrap();
    bytes.extend_from_slice(&[0; 100]);
    std::fs::write(&journal, bytes).unwrap();
    let orphan = journal.with_file_name("segment-00000000000000aa.fms.tmp");
    std::fs::write(orphan, b"half").unwrap();
    std::fs::remove_file(dir.path().join("LOCK")).unwrap();
    let before = state_of(dir.path());

    let reading = reader(dir.path());
    let seen = reading.collection("photos").unwrap();
    assert_eq!(contents(&seen.snapshot()).len(), 2);
    let refused = |error: StorageError| assert!(matches!(error, StorageError::ReadOnly { .. }), "{error}");
    refused(seen.write(put("c", 3)).unwrap_err());
    refused(seen.seal().unwrap_err());
    refused(seen.compact(&mut |_| {}).unwrap_err());
    refused(reading.create_collection("x", spec()).unwrap_err());
    refused(reading.drop_collection("photos").unwrap_err());
    refused(reading.set_alias("x", "photos").unwrap_err());
    refused(reading.remove_alias("x").unwrap_err());
    refused(reading.put_session("s", b"x").unwrap_err());
    refused(reading.session("s").unwrap_err());
    refused(reading.snapshot_to(&dir.path().with_extension("snap"), false, &mut |_| {}).unwrap_err());
    refused(reading.repair("photos", true, &|_| None, &mut |_| {}).unwrap_err());
    assert!(reading.repair("photos", false, &|_| None, &mut |_| {}).unwrap().is_clean());
    let report = reading.verify(&mut |_| {}).unwrap();
    assert!(report.is_clean() && report.records.is_none(), "{:?}", report.damages);
    let stats = seen.stats();
    assert!(stats.live == 2 && stats.sealed_segments == 1);
    assert_eq!(state_of(dir.path()), before, "not a byte, not a file");
    // A writer is not kept out.
    let store = Store::open(dir.path(), options()).unwrap();
    photos(&store).write(put("c", 3)).unwrap();
    assert_eq!(contents(&reading.collection("photos").unwrap().snapshot()).len(), 3);
}

#[test]
fn a_directory_without_a_database_is_not_made_one() {
    let dir = common::tempdir();
    let missing = dir.path().join("cellar");
    assert!(matches!(Store::open_read_only(&missing, options()), Err(StorageError::NoDatabase { .. })));
    assert!(matches!(Store::open_read_only(dir.path(), options()), Err(StorageError::NoDatabase { .. })));
    assert!(!missing.exists() && files(dir.path(), "").is_empty());
}

#[test]
fn damage_is_told_to_a_reader_too() {
    let dir = common::tempdir();
    let store = open(dir.path());
    for n in 0..9 {
        photos(&store).write(put(&format!("k{n}"), n)).unwrap();
    }
    photos(&store).seal().unwrap();
    drop(store);
    for prefix in ["segment-", "manifest-", "journal-"] {
        let path = files(dir.path(), prefix).remove(0);
        let good = std::fs::read(&path).unwrap();
        for at in (0..good.len()).step_by(good.len() / 20 + 1) {
            let mut bad = good.clone();
            bad[at] ^= 2;
            std::fs::write(&path, bad).unwrap();
            let report = reader(dir.path()).verify(&mut |_| {}).unwrap();
            assert!(report.damages.iter().any(|damage| damage.path == path), "{prefix} byte {at}");
        }
        std::fs::write(&path, &good).unwrap();
    }
    std::fs::remove_file(files(dir.path(), "segment-").remove(0)).unwrap();
    let reading = reader(dir.path());
    assert!(!reading.verify(&mut |_| {}).unwrap().is_clean(), "a file that stays missing is damage");
    assert!(matches!(reading.collection("photos"), Err(StorageError::Damaged(_))), "under the name that it has");
}

#[test]
fn a_reader_outlives_everything_that_a_busy_writer_does() {
    let dir = common::tempdir();
    let options = StoreOptions { seal_rows: 8, in_background: true, ..StoreOptions::create() };
    let store = Store::open(dir.path(), options).unwrap();
    let collection = photos(&store);
    collection.write(put("n", 0)).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1.. {
                // Both keys change in one batch: a reader never sees one without the other.
                let mut batch = put("n", n).ops;
                batch.extend(put("m", n).ops);
                batch.push(Op::Put(common::record(&format!("k{}", n % 50), n)));
                collection.write(Batch::new(batch)).unwrap();
                if stop.load(Ordering::SeqCst) {
                    return;
                }
            }
        });
        let _stop = common::OnDrop(&stop);
        let reading = reader(dir.path());
        let mut before = 0;
        for round in 0..400 {
            let seen = match round % 20 {
                0 => reader(dir.path()).collection("photos").unwrap(),
                _ => reading.collection("photos").unwrap(),
            };
            let held = contents(&seen.snapshot());
            let n = held["n"];
            assert!(n >= before, "time goes one way");
            assert!(n == 0 || held["m"] == n, "batches are whole");
            before = n;
            if round % 50 == 7 {
                let report = reading.verify(&mut |_| {}).unwrap();
                assert!(report.is_clean(), "{:?}", report.damages);
            }
        }
        assert!(before > 100, "{before}");
    });
}

#[test]
fn what_the_disk_refuses_is_told_as_it_is() {
    let dir = common::tempdir();
    let store = open(dir.path());
    photos(&store).write(put("a", 1)).unwrap();
    let reading = reader(dir.path());
    assert_eq!(reading.collection("photos").unwrap().snapshot().len(), 1);
    let journal = files(dir.path(), "journal-").remove(0);
    std::fs::remove_file(&journal).unwrap();
    std::fs::create_dir(&journal).unwrap();
    let error = reading.collection("photos").unwrap_err();
    assert!(matches!(error, StorageError::Io { .. }), "{error:?}");
}
