//! Goal: of batches that share an fsync, a crash leaves the first so many, each whole, with all that were acknowledged.
//! Method: several writers on a simulated disk whose syncs take time, so that groups form; at every event of the run,
//! disks that a loss of power may leave. Which batches meet in a group differs from run to run.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use common::workload::{DATABASE, eager, open_on};
use common::{DIM, contents, record, spec};
use fromagerie_storage::backend::simulated::{CatalogLoss, Loss, SimulatedDisk};
use fromagerie_storage::{Batch, Op, Store, StoreOptions};

const WRITERS: u32 = 6;
const BATCHES: u32 = 60;
/// Keys of a writer: each of its batches sets all of them to the batch's number.
const KEYS: u32 = 3;

/// Writes from several threads; returns who was acknowledged, in the order of the marks after the first, which is the
/// collection's. Of every `bulk_of`th writer, every batch that is divisible by ten puts its keys twice, which makes it so
/// large that it becomes a segment.
fn write(disk: &SimulatedDisk, bulk_of: u32) -> Vec<u32> {
    let bulk_bytes = (2 * KEYS * DIM * 4) as usize;
    let options = StoreOptions { seal_rows: 90, bulk_bytes, ..eager(disk) };
    let store = Store::open(Path::new(DATABASE), options).unwrap();
    let collection = store.create_collection("photos", spec()).unwrap();
    disk.mark();
    disk.set_sync_time(Duration::from_micros(300));
    let acknowledged = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (collection, acknowledged) = (&collection, &acknowledged);
            scope.spawn(move || {
                for number in 1..=BATCHES {
                    let put = |key| Op::Put(record(&format!("{writer} {}", key % KEYS), number));
                    let is_bulk = writer % bulk_of == bulk_of - 1 && number % 10 == 0;
                    let puts = KEYS * if is_bulk { 2 } else { 1 };
                    collection.write(Batch::new((0..puts).map(put).collect())).unwrap();
                    let mut acknowledged = acknowledged.lock().unwrap();
                    disk.mark();
                    acknowledged.push(writer);
                }
            });
        }
    });
    acknowledged.into_inner().unwrap()
}

/// The number of each writer's last batch, and the collection's sequence.
fn found_on(disk: &SimulatedDisk) -> (Vec<u32>, u64) {
    let store = open_on(disk).unwrap();
    let snapshot = store.collection("photos").unwrap().snapshot();
    let items: BTreeMap<String, u32> = contents(&snapshot);
    let number = |writer| {
        let of = |key| items.get(&format!("{writer} {key}")).copied().unwrap_or(0);
        assert!((1..KEYS).all(|key| of(key) == of(0)), "half a batch of writer {writer}: {items:?}");
        of(0)
    };
    ((0..WRITERS).map(number).collect(), snapshot.sequence())
}

#[test]
fn of_a_group_a_crash_leaves_the_first_batches_whole() {
    crash_everywhere(WRITERS + 1);
}

#[test]
fn batches_that_become_segments_keep_their_place_among_the_others() {
    crash_everywhere(2);
}

fn crash_everywhere(bulk_of: u32) {
    let disk = SimulatedDisk::default();
    let acknowledged = write(&disk, bulk_of);
    let total = u64::from(WRITERS * BATCHES);
    assert_eq!(acknowledged.len() as u64, total);
    let trace = disk.trace();
    let (mut replay, mut images) = (trace.replay(), 0);
    while replay.step() {
        let Some(marks) = (replay.marks() as usize).checked_sub(1) else { continue };
        let mut least = vec![0; WRITERS as usize];
        acknowledged[..marks].iter().for_each(|&writer| least[writer as usize] += 1);
        let draws = if replay.unsynced() == 0 { 0 } else { 16 };
        for loss in [Loss::Everything, Loss::Nothing].into_iter().chain((0..draws).map(Loss::Some)) {
            let (found, sequence) = found_on(&replay.power_lost(loss, CatalogLoss::Nothing));
            assert!(
                found.iter().zip(&least).all(|(found, least)| found >= least),
                "{found:?}, not {least:?}: {loss:?}"
            );
            let missing = sequence - u64::from(found.iter().sum::<u32>());
            // A batch that was to become a segment, and did not, has taken its sequence.
            let may_miss = u64::from(bulk_of <= WRITERS);
            assert!(missing <= may_miss, "{missing} batches are missing among the first: {loss:?}");
            images += 1;
        }
    }
    let syncs = disk.file_syncs();
    println!("{total} batches of {WRITERS} writers, {syncs} syncs of files, {images} disks after a loss of power");
    // A batch that becomes a segment syncs files of its own.
    assert!(images > 1000 && (syncs < total || bulk_of <= WRITERS), "{images} disks, {syncs} syncs");
}
