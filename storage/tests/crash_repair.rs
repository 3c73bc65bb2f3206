//! Goal: a crash during a repair leaves a database that opens, and that a repair can finish, to the same items that an
//! undisturbed one keeps. Method: a collection with segments, deletes and a journal on a simulated disk, one file of which is
//! damaged; it is repaired, and at every event of that the power is lost in several ways.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::random::Random;
use common::workload::{DATABASE, open_on};
use common::{contents, delete, photos, put, record};
use fromagerie_storage::backend::Backend;
use fromagerie_storage::backend::simulated::{CatalogLoss, Loss, SimulatedDisk};
use fromagerie_storage::{Batch, Op, RepairReport, Store};

/// What is done to a file: a byte of it is changed, counted from its end in parts of a hundred, or it is gone.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Changed { at_percent: usize },
    Removed,
}

fn repair(store: &Store) -> RepairReport {
    store.repair("photos", true, &|_| None, &mut |_| {}).unwrap()
}

/// Two segments with dead rows, and batches in the journal that put, replace and delete.
fn filled() -> SimulatedDisk {
    let disk = SimulatedDisk::default();
    let store = open_on(&disk).unwrap();
    let collection = photos(&store);
    for round in 0..2_u32 {
        let ops =
            (0..60).map(|n| Op::Put(record(&format!("k{}", (n * 7 + round * 30) % 90), n + 100 * round))).collect();
        collection.write(Batch::new(ops)).unwrap();
        collection.write(delete(&format!("k{}", round * 3))).unwrap();
        collection.seal().unwrap();
    }
    collection.write(put("k5", 1000)).unwrap();
    collection.write(delete("k8")).unwrap();
    collection.write(put("new", 1001)).unwrap();
    disk
}

/// The file of `photos` whose name begins so, the newest by name.
fn newest(disk: &SimulatedDisk, prefix: &str) -> PathBuf {
    let collections = Path::new(DATABASE).join("collections");
    let dir = collections.join(&disk.list(&collections).unwrap()[0].name);
    let mut names: Vec<String> = disk.list(&dir).unwrap().into_iter().map(|entry| entry.name).collect();
    names.retain(|name| name.starts_with(prefix));
    names.sort();
    dir.join(names.last().unwrap())
}

/// Does the damage so that no loss of power can undo it.
fn damage(disk: &SimulatedDisk, path: &Path, how: Damage) {
    match how {
        Damage::Removed => disk.remove_file(path).unwrap(),
        Damage::Changed { at_percent } => {
            let byte = {
                let mapping = disk.map(path).unwrap();
                let at = mapping.bytes().len() * at_percent / 100;
                (at as u64, mapping.bytes()[at] ^ 0x40)
            };
            let mut file = disk.open(path).unwrap();
            file.rewrite(byte.0, &[byte.1]).unwrap();
            file.sync().unwrap();
        }
    }
    disk.sync_dir(path.parent().unwrap()).unwrap();
}

/// Opens, finishes the repair, opens again: what is there, whole.
fn finished(disk: &SimulatedDisk) -> BTreeMap<String, u32> {
    let store = open_on(disk).unwrap();
    repair(&store);
    drop(store);
    let store = open_on(disk).unwrap();
    assert!(store.damaged().is_empty(), "{:?}", store.damaged());
    let verified = store.verify(&mut |_| {}).unwrap();
    assert!(verified.is_clean(), "{:?}", verified.damages);
    contents(&photos(&store).snapshot())
}

/// What may go with the power: not the catalog where a manifest is damaged, which leaves nobody who knows the name.
fn catalogs(prefix: &str) -> &'static [CatalogLoss] {
    match prefix {
        "manifest-" => &[CatalogLoss::Nothing],
        _ => &[CatalogLoss::Nothing, CatalogLoss::Everything],
    }
}

#[test]
fn a_repair_that_loses_power_at_any_moment_can_be_finished() {
    let changed = |at_percent| Damage::Changed { at_percent };
    let cases = [
        ("segment-", changed(10)),
        ("segment-", changed(55)),
        ("segment-", changed(99)),
        ("segment-", Damage::Removed),
        ("journal-", changed(40)),
        ("journal-", changed(90)),
        ("manifest-", changed(50)),
    ];
    let (mut random, mut images) = (Random::new(23), 0);
    for (prefix, how) in cases {
        let disk = filled();
        damage(&disk, &newest(&disk, prefix), how);
        let expected = finished(&disk.killed());
        let store = open_on(&disk).unwrap();
        disk.mark();
        let report = repair(&store);
        assert!(!report.is_clean(), "{prefix} {how:?} is damage");
        drop(store);

        let trace = disk.trace();
        let mut replay = trace.replay();
        while replay.step() {
            if replay.marks() == 0 {
                continue;
            }
            assert_eq!(finished(&replay.killed()), expected, "killed while {prefix} {how:?} was repaired");
            let draws = if replay.unsynced() == 0 { 0 } else { 8 };
            let some = (0..draws).map(|_| Loss::Some(random.next()));
            for loss in [Loss::Everything, Loss::Nothing].into_iter().chain(some) {
                for catalog in catalogs(prefix) {
                    let found = finished(&replay.power_lost(loss, *catalog));
                    assert_eq!(found, expected, "{loss:?}, {catalog:?} while {prefix} {how:?} was repaired");
                    images += 1;
                }
            }
        }
    }
    println!("{images} disks after a loss of power during repairs");
    assert!(images > 500, "{images}");
}
