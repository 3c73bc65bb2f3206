//! Goal: no changed byte is believed. Method: change bytes of every file of a database, one at a time, and open,
//! read and verify it: each change must show as damage that names the file, and never as other contents.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use common::{contents, files, open, options, photos, put, spec};
use fromagerie_storage::{Collection, OpenNote, SegmentBuilder, Source, StorageError, Store, Task};

/// A graph that is recognised again.
struct Graph;

impl SegmentBuilder for Graph {
    fn build(&self, vectors: &[f32], dim: usize, _: &[Source<'_>], _: &mut Task<'_>) -> Option<Vec<u8>> {
        Some(vec![7; vectors.len() / dim * 4])
    }
}

/// Two sealed segments with dead rows, and batches in the journal.
fn fill(collection: &Collection) -> BTreeMap<String, u32> {
    collection.set_segment_builder(Arc::new(Graph));
    for n in 0..12 {
        collection.write(put(&format!("k{}", n % 7), n)).unwrap();
        if n % 5 == 4 {
            collection.seal().unwrap();
        }
    }
    contents(&collection.snapshot())
}

/// Opens, reads all and verifies; the first damage, if any. Contents that are read must be as expected.
fn first_damage(dir: &Path, expected: &BTreeMap<String, u32>) -> Option<StorageError> {
    let store = match Store::open(dir, options()) {
        Ok(store) => store,
        Err(error) => return Some(error),
    };
    if let Some(damaged) = store.damaged().pop() {
        return Some(damaged.error);
    }
    let snapshot = store.collection("photos").unwrap().snapshot();
    for (key, value) in expected {
        match snapshot.find(key) {
            Ok(location) => {
                let location = location.unwrap_or_else(|| panic!("{key} is gone in silence"));
                match snapshot.segments()[location.segment].document(location.row) {
                    Ok(document) => assert_eq!(document.width, *value),
                    Err(error) => return Some(error),
                }
            }
            Err(error) => return Some(error),
        }
    }
    for segment in snapshot.segments() {
        if let Err(error) = segment.vectors().map(|_| ()).and_then(|()| segment.graph().map(|_| ())) {
            return Some(error);
        }
    }
    let report = store.verify(&mut |_| {}).unwrap();
    report.damages.into_iter().next().map(StorageError::Damaged)
}

#[test]
fn every_changed_byte_of_every_file_is_noticed() {
    let dir = common::tempdir();
    let expected = fill(&photos(&open(dir.path())));
    assert!(first_damage(dir.path(), &expected).is_none(), "the fixture is good");
    let mut tried = 0;
    for (prefix, step) in [("journal-", 3), ("manifest-", 2), ("segment-", 7)] {
        for path in files(dir.path(), prefix) {
            let good = std::fs::read(&path).unwrap();
            for at in (0..good.len()).step_by(step) {
                let mut bad = good.clone();
                bad[at] ^= 0x40;
                std::fs::write(&path, &bad).unwrap();
                let error = first_damage(dir.path(), &expected)
                    .unwrap_or_else(|| panic!("{} byte {at}: not noticed", path.display()));
                let damage = error.damage().unwrap_or_else(|| panic!("{error}"));
                assert_eq!(damage.path, path, "{damage}");
                assert!(damage.offset as usize <= at.max(bad.len() - 16), "{damage}, byte {at}");
                tried += 1;
            }
            std::fs::write(&path, &good).unwrap();
        }
    }
    assert!(tried > 300, "{tried}");
    assert!(first_damage(dir.path(), &expected).is_none(), "and good again");
}

#[test]
fn a_missing_or_short_file_is_damage() {
    let dir = common::tempdir();
    let expected = fill(&photos(&open(dir.path())));
    for prefix in ["journal-", "manifest-", "segment-"] {
        for path in files(dir.path(), prefix) {
            let good = std::fs::read(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            assert!(first_damage(dir.path(), &expected).unwrap().damage().is_some(), "{} gone", path.display());
            if prefix != "journal-" {
                std::fs::write(&path, &good[..good.len() - 1]).unwrap();
                assert!(first_damage(dir.path(), &expected).unwrap().damage().is_some(), "{} short", path.display());
            }
            std::fs::write(&path, &good).unwrap();
        }
    }
}

#[test]
fn an_older_generation_does_not_pass_for_the_newest() {
    let dir = common::tempdir();
    let collections = dir.path().join("collections");
    fill(&photos(&open(dir.path())));
    let old = common::tempdir();
    common::copy_dir(&collections, old.path());
    photos(&open(dir.path())).seal().unwrap();
    std::fs::remove_dir_all(&collections).unwrap();
    common::copy_dir(old.path(), &collections);
    let error = open(dir.path()).collection("photos").unwrap_err();
    let damage = error.damage().unwrap();
    assert!(damage.what.contains("the manifest is missing"), "{damage}");
}

#[test]
fn a_damaged_graph_is_an_error_and_the_vectors_are_still_good() {
    let dir = common::tempdir();
    fill(&photos(&open(dir.path())));
    let path = files(dir.path(), "segment-").remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(8).position(|window| window == [7; 8]).unwrap();
    bytes[at] = 8;
    std::fs::write(&path, &bytes).unwrap();
    let snapshot = photos(&open(dir.path())).snapshot();
    let segment = &snapshot.segments()[0];
    let error = segment.graph().unwrap_err();
    assert_eq!(error.damage().map(|damage| damage.path.clone()), Some(path));
    assert!(segment.vectors().is_ok());
    assert!(snapshot.segments()[1].graph().unwrap().is_some());
}

#[test]
fn one_damaged_collection_does_not_block_another() {
    let dir = common::tempdir();
    let store = open(dir.path());
    let expected = fill(&photos(&store));
    let sick = store.create_collection("sick", spec()).unwrap();
    sick.write(put("a", 1)).unwrap();
    sick.write(put("b", 2)).unwrap();
    let journal = dir.path().join(format!("collections/{:016x}/journal-0000000000000001.fmj", sick.id()));
    drop((sick, store));
    let mut bytes = std::fs::read(&journal).unwrap();
    bytes[60] ^= 1;
    std::fs::write(&journal, &bytes).unwrap();

    let store = open(dir.path());
    let healthy = photos(&store);
    assert_eq!(contents(&healthy.snapshot()), expected);
    healthy.write(put("more", 1)).unwrap();
    let error = store.collection("sick").unwrap_err();
    assert_eq!(error.damage().map(|damage| (damage.path.clone(), damage.offset)), Some((journal.clone(), 36)));
    assert_eq!(store.damaged().len(), 1);
    assert_eq!(store.damaged()[0].name, "sick");
    assert_eq!(store.verify(&mut |_| {}).unwrap().damages.len(), 1);
    assert!(matches!(store.create_collection("sick", spec()), Err(StorageError::NameTaken { .. })));
    assert_eq!(std::fs::read(&journal).unwrap(), bytes, "what is damaged is left as it lies");
    store.drop_collection("sick").unwrap();
    store.create_collection("sick", spec()).unwrap();
}

/// A database with two collections, an alias and a session.
fn precious(dir: &Path) -> BTreeMap<String, u32> {
    let store = open(dir);
    let expected = fill(&photos(&store));
    store.create_collection("other", spec()).unwrap().write(put("x", 1)).unwrap();
    store.set_alias("best", "photos").unwrap();
    store.put_session("s", b"turns").unwrap();
    expected
}

fn is_all_there(dir: &Path, expected: &BTreeMap<String, u32>) -> Store {
    let store = open(dir);
    assert!(store.damaged().is_empty(), "{:?}", store.damaged());
    assert_eq!(contents(&store.collection("best").unwrap().snapshot()), *expected);
    assert_eq!(store.collection("other").unwrap().snapshot().len(), 1);
    assert_eq!(store.aliases(), [("best".to_owned(), "photos".to_owned())]);
    store
}

#[test]
fn a_lost_catalog_is_rebuilt_from_files() {
    let dir = common::tempdir();
    let expected = precious(dir.path());
    std::fs::remove_file(dir.path().join("catalog.redb")).unwrap();
    let store = is_all_there(dir.path(), &expected);
    assert_eq!(store.notes().iter().filter(|n| matches!(n, OpenNote::CatalogRecordRestored { .. })).count(), 2);
    drop(store);
    assert!(is_all_there(dir.path(), &expected).notes().is_empty(), "once is enough");
}

#[test]
fn a_damaged_catalog_is_moved_aside() {
    let good = common::tempdir();
    let expected = precious(good.path());
    for (what, spoil) in [("garbage", 0xFF_u8), ("zeros", 0)] {
        let dir = common::tempdir();
        common::copy_dir(good.path(), dir.path());
        let path = dir.path().join("catalog.redb");
        let length = std::fs::metadata(&path).unwrap().len() as usize;
        std::fs::write(&path, vec![spoil; length]).unwrap();
        let store = is_all_there(dir.path(), &expected);
        let [OpenNote::CatalogRebuilt { moved_to, .. }, ..] = store.notes() else {
            panic!("{what}: {:?}", store.notes())
        };
        assert_eq!(std::fs::read(moved_to).unwrap(), vec![spoil; length], "{what}: it stays as it was found");
        store.put_session("again", b"x").unwrap_or_else(|e| panic!("{what}: {e}"));
        drop(store);
        is_all_there(dir.path(), &expected);
    }
}

/// Of the sessions that lie on one page with a changed byte the others are kept, whether the catalog was closed or not.
#[test]
fn a_damaged_page_of_the_catalog_costs_one_session() {
    for was_closed in [true, false] {
        let (dir, copy) = (common::tempdir(), common::tempdir());
        let expected = precious(dir.path());
        let store = common::open(dir.path());
        for n in 0..20 {
            store.put_session(&format!("s{n:02}"), format!("dialogue {n:02}").as_bytes()).unwrap();
        }
        let store = Some(store).filter(|_| !was_closed);
        common::copy_dir(dir.path(), copy.path());
        let path = copy.path().join("catalog.redb");
        let mut bytes = std::fs::read(&path).unwrap();
        let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(b"dialogue 07")).collect();
        places.iter().for_each(|at| bytes[*at] ^= 1);
        assert!(!places.is_empty());
        std::fs::write(&path, bytes).unwrap();
        drop(store);
        let store = is_all_there(copy.path(), &expected);
        let kept = |note: &OpenNote| matches!(note, OpenNote::CatalogRebuilt { sessions: 20, jobs: 0, .. });
        assert!(kept(&store.notes()[0]), "nineteen of the twenty and the first: {:?}", store.notes());
        for n in 0..20 {
            let kept = (n != 7).then(|| format!("dialogue {n:02}").into_bytes());
            assert_eq!(store.session(&format!("s{n:02}")).unwrap(), kept, "session {n}, closed: {was_closed}");
        }
    }
}

#[test]
fn a_changed_byte_in_the_catalog_loses_nothing() {
    let good = common::tempdir();
    let expected = precious(good.path());
    let db = std::fs::read(good.path().join("catalog.redb")).unwrap();
    let used: Vec<usize> = (0..db.len()).filter(|&at| db[at] != 0).collect();
    for &at in used.iter().step_by(used.len() / 40 + 1) {
        let dir = common::tempdir();
        common::copy_dir(good.path(), dir.path());
        let mut bad = db.clone();
        bad[at] ^= 0x20;
        std::fs::write(dir.path().join("catalog.redb"), bad).unwrap();
        let store = is_all_there(dir.path(), &expected);
        if let Ok(Some(session)) = store.session("s") {
            assert_eq!(session, b"turns", "byte {at}");
        }
    }
}

#[test]
fn a_damaged_alias_file_is_restored_from_the_catalog() {
    let dir = common::tempdir();
    let expected = precious(dir.path());
    let path = dir.path().join("aliases.fma");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[30] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let store = is_all_there(dir.path(), &expected);
    assert!(matches!(store.notes(), [OpenNote::AliasesRestored { .. }]));
}
