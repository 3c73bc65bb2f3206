//! Goal: what opens is a prefix of the batches, on real files too. Method: cut the journal at every byte; copy the
//! files of a database in use. `crash_images.rs` is the same by far more ways on a simulated disk.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use common::{contents, copy_dir, files, open, options, photos, put, record};
use fromagerie_storage::{Batch, Op, OpenNote, Store, StoreOptions};

#[test]
fn a_journal_cut_at_any_byte_opens_to_a_prefix() {
    let (dir, crashed) = (common::tempdir(), common::tempdir());
    let mut prefixes = vec![BTreeMap::new()];
    {
        let photos = photos(&open(dir.path()));
        for n in 0..4 {
            let batch = Batch::new(vec![Op::Put(record(&format!("k{n}"), n)), Op::Delete { key: "k1".into() }]);
            photos.write(batch).unwrap();
            prefixes.push(contents(&photos.snapshot()));
        }
        // As a crash leaves it: a clean close would tell the catalog how far the journal goes, and a cut be damage.
        copy_dir(dir.path(), crashed.path());
    }
    let whole = std::fs::read(files(crashed.path(), "journal-").remove(0)).unwrap();
    let header = 20 + 16;
    let mut last = 0;
    for cut in header..whole.len() {
        let cut_short = common::tempdir();
        copy_dir(crashed.path(), cut_short.path());
        let journal = files(cut_short.path(), "journal-").remove(0);
        std::fs::write(&journal, &whole[..cut]).unwrap();
        let store = open(cut_short.path());
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
