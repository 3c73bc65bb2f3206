//! Goal: a batch as large as a segment becomes one, with the promises of any other batch. Method: its receipts, its files and
//! its items are looked at, before and after a restart; and it is written beside batches of the same keys, where the sequence
//! decides who wins. What a crash leaves of it is in `crash_images` and `crash_groups`, which have such batches too.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use common::{DIM, OnDrop, contents, delete, files, options, photos, put, record};
use fromagerie_storage::{Batch, Collection, Op, Receipt, SegmentBuilder, Source, Store, StoreOptions, Task};

const ROWS: u32 = 500;

fn open(dir: &Path) -> Store {
    open_with(dir, options())
}

fn open_with(dir: &Path, options: StoreOptions) -> Store {
    let bulk_bytes = (ROWS * DIM * 4) as usize;
    Store::open(dir, StoreOptions { bulk_bytes, ..options }).unwrap()
}

/// Puts of `ROWS` keys from `first` on.
fn large(first: u32, value: u32) -> Batch {
    Batch::new((first..first + ROWS).map(|n| Op::Put(record(&format!("k{n}"), value))).collect())
}

fn all(first: u32, value: u32) -> BTreeMap<String, u32> {
    (first..first + ROWS).map(|n| (format!("k{n}"), value)).collect()
}

fn bytes_of(files: &[std::path::PathBuf]) -> u64 {
    files.iter().map(|path| path.metadata().unwrap().len()).sum()
}

#[test]
fn it_is_written_once() {
    let dir = common::tempdir();
    let store = open(dir.path());
    let photos = photos(&store);
    let receipt = photos.write(large(0, 1)).unwrap();
    assert_eq!(receipt, Receipt { sequence: 1, put: ROWS, replaced: 0, deleted: 0 });
    assert_eq!(photos.snapshot().segments().len(), 1);
    assert!(photos.snapshot().segments()[0].is_sealed());
    let (segments, journals) = (files(dir.path(), "segment-"), files(dir.path(), "journal-"));
    assert_eq!((segments.len(), journals.len()), (1, 1));
    assert!(bytes_of(&journals) < 100, "the journal holds none of it");
    assert_eq!(contents(&photos.snapshot()), all(0, 1));
}

#[test]
fn a_smaller_batch_or_one_that_deletes_goes_to_the_journal() {
    let dir = common::tempdir();
    let store = open(dir.path());
    let photos = photos(&store);
    let mut smaller = large(0, 1);
    smaller.ops.pop();
    photos.write(smaller).unwrap();
    let mut mixed = large(0, 2);
    mixed.ops.push(Op::Delete { key: "k3".to_owned() });
    photos.write(mixed).unwrap();
    assert_eq!(files(dir.path(), "segment-").len(), 0);
}

#[test]
fn receipts_count_what_it_replaces_and_know_its_request() {
    let dir = common::tempdir();
    let store = open(dir.path());
    let now = photos(&store);
    now.write(large(0, 1)).unwrap();
    now.write(put("k3", 2)).unwrap();
    now.write(delete("k4")).unwrap();
    // One key of the 500 is gone, another is in memory, and one is put twice.
    let mut again = large(0, 3).with_request_id("again");
    again.ops.push(Op::Put(record("k7", 4)));
    let receipt = now.write(again).unwrap();
    assert_eq!(receipt, Receipt { sequence: 4, put: ROWS + 1, replaced: ROWS, deleted: 0 });
    let mut expected = all(0, 3);
    expected.insert("k7".to_owned(), 4);
    assert_eq!(contents(&now.snapshot()), expected);
    assert_eq!(now.write(large(9_000, 9).with_request_id("again")).unwrap(), receipt);
    assert_eq!(contents(&now.snapshot()), expected);
    assert_eq!(files(dir.path(), "segment-").len(), now.snapshot().segments().len(), "no file of the repeat is left");
    now.write(delete("k8")).unwrap();
    expected.remove("k8");
    drop((now, store));
    let store = open(dir.path());
    let now = photos(&store);
    assert_eq!(contents(&now.snapshot()), expected);
    assert_eq!(now.write(large(9_000, 9).with_request_id("again")).unwrap(), receipt);
    assert!(store.verify(&mut |_| ()).unwrap().is_clean());
}

/// Writes a row of its own while it builds, and notes whether that was answered.
struct Writes {
    to: Collection,
    answered: Mutex<Vec<bool>>,
}

impl SegmentBuilder for Writes {
    fn build(&self, _: &[f32], _: usize, _: &[Source<'_>], _: &mut Task<'_>) -> Option<Vec<u8>> {
        let (told, answer) = mpsc::channel();
        let (to, key) = (self.to.clone(), format!("during {}", self.answered.lock().unwrap().len()));
        std::thread::spawn(move || told.send(to.write(put(&key, 7)).is_ok()));
        let answered = answer.recv_timeout(Duration::from_secs(20)).unwrap_or(false);
        self.answered.lock().unwrap().push(answered);
        None
    }

    fn wants(&self, rows: usize) -> bool {
        rows >= 10
    }
}

#[test]
fn others_write_while_it_and_what_is_in_memory_are_made_segments() {
    let dir = common::tempdir();
    let store = open_with(dir.path(), StoreOptions { seal_rows: 100, ..options() });
    let photos = photos(&store);
    for n in 0..20 {
        photos.write(put(&format!("before {n}"), n)).unwrap();
    }
    let builder = Arc::new(Writes { to: photos.clone(), answered: Mutex::default() });
    photos.set_segment_builder(builder.clone());
    photos.write(large(0, 1)).unwrap();
    assert_eq!(*builder.answered.lock().unwrap(), [true, true], "of the batch, and of the rows in memory");
    assert_eq!(contents(&photos.snapshot()).len() as u32, ROWS + 20 + 2);
}

#[test]
fn what_it_replaces_stays_replaced_when_the_manifest_is_lost() {
    let dir = common::tempdir();
    let store = open(dir.path());
    let now = photos(&store);
    now.write(put("k7", 400)).unwrap();
    now.write(large(0, 1)).unwrap();
    drop((now, store));
    for manifest in files(dir.path(), "manifest-") {
        std::fs::remove_file(manifest).unwrap();
    }
    let store = open(dir.path());
    store.repair("photos", true, &|_| None, &mut |_| {}).unwrap();
    assert_eq!(contents(&photos(&store).snapshot()), all(0, 1));
}

#[test]
fn beside_other_writers_the_sequence_decides() {
    const KEYS: u32 = 40;
    let dir = common::tempdir();
    let store = open(dir.path());
    let photos = photos(&store);
    // Sequence, first key, keys, value.
    let written: Mutex<Vec<(u64, u32, u32, u32)>> = Mutex::default();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..3_u32 {
            let (photos, written, over) = (&photos, &written, &over);
            scope.spawn(move || {
                for n in (0..).take_while(|_| !over.load(Ordering::SeqCst)) {
                    let (key, value) = (n * 7 % KEYS, 1_000_000 * (writer + 1) + n);
                    let receipt = photos.write(put(&format!("k{key}"), value)).unwrap();
                    written.lock().unwrap().push((receipt.sequence, key, 1, value));
                }
            });
        }
        let _over = OnDrop(&over);
        for value in 0..12 {
            // Half of the keys are the others'.
            let first = value % 2 * KEYS / 2;
            let receipt = photos.write(large(first, value)).unwrap();
            written.lock().unwrap().push((receipt.sequence, first, ROWS, value));
        }
    });
    let mut written = written.into_inner().unwrap();
    written.sort_unstable();
    assert!(written.iter().map(|batch| batch.0).eq(1..=written.len() as u64), "every sequence once");
    let mut expected = BTreeMap::new();
    for &(_, first, keys, value) in &written {
        expected.extend((first..first + keys).map(|key| (format!("k{key}"), value)));
    }
    assert_eq!(contents(&photos.snapshot()), expected);
    drop((photos, store));
    assert_eq!(contents(&common::photos(&open(dir.path())).snapshot()), expected);
}
