//! Goal: what a caller adds to segments and keeps beside them comes back as it was, or not at all. Method: a builder that
//! lists payloads, hints that are damaged byte by byte, and rows that are counted while memory merges.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use common::{contents, delete, open, photos, put};
use fromagerie_storage::{PayloadLister, SegmentBuilder, Source, StorageError, Store, Task};

#[derive(Default)]
struct Lists {
    panics: AtomicBool,
}

struct Lister(String, bool);

impl PayloadLister for Lister {
    fn add(&mut self, payload: &str) {
        assert!(!self.1, "on purpose");
        self.0 += payload;
    }

    fn finish(self: Box<Self>) -> Option<Vec<u8>> {
        Some(self.0.into_bytes())
    }
}

impl SegmentBuilder for Lists {
    fn build(&self, _: &[f32], _: usize, _: &[Source<'_>], _: &mut Task<'_>) -> Option<Vec<u8>> {
        None
    }

    fn payloads(&self) -> Option<Box<dyn PayloadLister>> {
        Some(Box::new(Lister(String::new(), self.panics.load(Ordering::SeqCst))))
    }
}

#[test]
fn payloads_are_listed_in_the_order_of_rows_at_every_seal_and_merge() {
    let dir = common::tempdir();
    let store = open(dir.path());
    let collection = photos(&store);
    let lists = Arc::new(Lists::default());
    collection.set_segment_builder(lists.clone());
    let listed = || {
        let snapshot = collection.snapshot();
        let list = snapshot.segments()[0].payloads().unwrap().map(|list| String::from_utf8(list.to_vec()).unwrap());
        (snapshot.segments().len(), list)
    };
    for n in 0..3 {
        collection.write(put(&format!("k{n}"), n)).unwrap();
    }
    assert!(collection.snapshot().segments().iter().all(|segment| segment.payloads().unwrap().is_none()));
    collection.seal().unwrap();
    assert_eq!(listed(), (1, Some(r#"{"v":0}{"v":1}{"v":2}"#.to_owned())));
    collection.write(delete("k1")).unwrap();
    collection.write(put("k3", 3)).unwrap();
    collection.compact(&mut |_| {}).unwrap();
    assert_eq!(listed(), (1, Some(r#"{"v":0}{"v":2}{"v":3}"#.to_owned())));
    assert!(collection.stats().parts.iter().any(|part| part.name == "payloads" && part.bytes == 21));

    lists.panics.store(true, Ordering::SeqCst);
    collection.compact(&mut |_| {}).unwrap();
    assert!(listed().1.is_some(), "nothing was dead, so nothing was made anew");
    let before = contents(&collection.snapshot());
    collection.rebuild(&mut |_| {}).unwrap();
    assert_eq!(listed(), (1, None), "a lister that panics costs the list alone");
    assert_eq!(contents(&collection.snapshot()), before);
    assert!(store.verify(&mut |_| {}).unwrap().is_clean());
}

#[test]
fn hints_come_back_whole_or_not_at_all() {
    let dir = common::tempdir();
    let store = open(dir.path());
    let collection = photos(&store);
    assert_eq!(collection.hints(), None);
    collection.keep_hints(vec![1; 10]).unwrap();
    collection.keep_hints(vec![2, 3, 4]).unwrap();
    collection.write(put("k", 1)).unwrap();
    collection.seal().unwrap();
    assert_eq!(collection.hints(), Some(vec![2, 3, 4]), "a seal leaves them");
    drop((collection, store));
    let store = open(dir.path());
    let collection = photos(&store);
    assert_eq!(collection.hints(), Some(vec![2, 3, 4]));
    let reader = Store::open_read_only(dir.path(), common::options()).unwrap();
    let read = reader.collection("photos").unwrap();
    assert_eq!(read.hints(), Some(vec![2, 3, 4]));
    assert!(matches!(read.keep_hints(vec![9]), Err(StorageError::ReadOnly { .. })));

    let path = dir.path().join(format!("collections/{:016x}/hints.fmh", collection.id()));
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut bad = whole.clone();
        bad[at] ^= 0x40;
        std::fs::write(&path, bad).unwrap();
        assert_eq!(collection.hints(), None, "byte {at}");
        std::fs::write(&path, &whole[..at]).unwrap();
        assert_eq!(collection.hints(), None, "cut at {at}");
    }
    drop((collection, store));
    assert_eq!(contents(&photos(&open(dir.path())).snapshot()).len(), 1, "nothing depends on them");
}

#[derive(Default)]
struct Counted(AtomicUsize);

#[test]
fn rows_in_memory_keep_their_numbers_and_what_is_derived_goes_with_its_segment() {
    let dir = common::tempdir();
    let collection = photos(&open(dir.path()));
    let numbers = || {
        let snapshot = collection.snapshot();
        let mut numbers = Vec::new();
        for segment in snapshot.segments() {
            for row in (0..segment.rows()).filter(|row| segment.is_live(*row)) {
                let number = segment.memory_number(row).unwrap();
                assert_eq!((segment.memory_row_from(number), segment.memory_row_from(number + 1)), (row, row + 1));
                numbers.push((segment.key(row).unwrap().to_owned(), number));
            }
        }
        assert!(numbers.is_sorted_by_key(|(_, number)| *number));
        numbers
    };
    let mut before = Vec::new();
    for n in 0..40 {
        collection.write(put(&format!("k{n}"), n)).unwrap();
        let now = numbers();
        assert_eq!(now[..before.len()], before[..], "a row keeps its number while memory merges");
        before = now;
    }
    let first = |snapshot: &fromagerie_storage::Snapshot| {
        snapshot.segments()[0].derived::<Counted>().unwrap().0.fetch_add(1, Ordering::SeqCst)
    };
    collection.seal().unwrap();
    assert_eq!((first(&collection.snapshot()), first(&collection.snapshot())), (0, 1));
    assert!(collection.snapshot().segments()[0].derived::<AtomicBool>().is_none(), "one type a segment");
    assert_eq!(collection.snapshot().segments()[0].memory_number(0), None);
    collection.write(delete("k7")).unwrap();
    assert_eq!(first(&collection.snapshot()), 2, "a delete leaves it");
    collection.rebuild(&mut |_| {}).unwrap();
    assert_eq!(first(&collection.snapshot()), 0, "another segment has none");
}
