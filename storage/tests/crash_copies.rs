//! Goal: a crash leaves a snapshot, or a database that is restored from one, whole or not at all, and the database that
//! it was taken of as it was. Method: a run with snapshots, a restore and a compaction on a simulated disk; at every
//! event, disks that a loss of power may leave. What is there by its name is opened and compared.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::path::Path;

use common::random::Random;
use common::recovery::{Allowed, recover_and_go_on};
use common::workload::{Step, eager, open_on};
use common::world::World;
use fromagerie_storage::Store;
use fromagerie_storage::backend::Backend;
use fromagerie_storage::backend::simulated::{CatalogLoss, Loss, SimulatedDisk};

const LINKED: &str = "/data/copies/linked";
const WHOLE: &str = "/data/copies/whole";
const RESTORED: &str = "/data/restored";

/// A copy, the marks after which it must be there, and what it holds.
struct Copied {
    at: &'static str,
    marks: usize,
    world: World,
}

/// The worlds after each mark, and the copies that were made.
#[derive(Default)]
struct Made {
    worlds: Vec<World>,
    copies: Vec<Copied>,
}

impl Made {
    /// Notes that a step was acknowledged.
    fn mark(&mut self, disk: &SimulatedDisk, world: World) {
        disk.mark();
        self.worlds.push(world);
    }

    fn copied(&mut self, disk: &SimulatedDisk, at: &'static str) {
        let world = self.worlds.last().unwrap().clone();
        self.copies.push(Copied { at, marks: self.worlds.len(), world: world.clone() });
        self.mark(disk, world);
    }
}

fn run(disk: &SimulatedDisk) -> Made {
    let (mut made, mut random) = (Made { worlds: vec![World::default()], ..Made::default() }, Random::new(11));
    let mut store = None;
    let mut steps = |made: &mut Made, store: &mut Option<Store>, count| {
        for _ in 0..count {
            let world = made.worlds.last().unwrap().clone();
            let step = if store.is_none() { Step::Open } else { Step::any(&world, &mut random) };
            step.perform(disk, store).unwrap();
            made.mark(disk, step.applied_to(&world));
        }
    };
    steps(&mut made, &mut store, 25);
    store.as_ref().unwrap().snapshot_to(Path::new(LINKED), false, &mut |_| {}).unwrap();
    made.copied(disk, LINKED);
    steps(&mut made, &mut store, 10);
    for name in made.worlds.last().unwrap().collections.clone().into_keys() {
        store.as_ref().unwrap().collection(&name).unwrap().compact(&mut |_| {}).unwrap();
    }
    store.as_ref().unwrap().snapshot_to(Path::new(WHOLE), true, &mut |_| {}).unwrap();
    made.copied(disk, WHOLE);
    Store::restore(Path::new(LINKED), Path::new(RESTORED), false, eager(disk), &mut |_| {}).unwrap();
    let restored = made.copies[0].world.clone();
    made.copied(disk, RESTORED);
    made.copies.last_mut().unwrap().world = restored;
    made
}

/// What a copy holds; none when it is not there.
fn found_at(disk: &SimulatedDisk, at: &str) -> Option<World> {
    disk.list(Path::new(at)).ok()?;
    let open = |at: &str| World::of(&Store::open(Path::new(at), eager(disk)).unwrap());
    if at == RESTORED {
        return Some(open(at));
    }
    let checked = "/data/checked";
    Store::restore(Path::new(at), Path::new(checked), false, eager(disk), &mut |_| {}).unwrap();
    let world = open(checked);
    disk.remove_dir(Path::new(checked)).unwrap();
    Some(world)
}

#[test]
fn a_copy_is_there_whole_or_not_at_all() {
    let disk = SimulatedDisk::default();
    let made = run(&disk);
    let trace = disk.trace();
    let (mut replay, mut random, mut images, mut copies) = (trace.replay(), Random::new(5), 0, 0);
    while replay.step() {
        let marks = replay.marks() as usize;
        let under_way = made.worlds.get(marks + 1).unwrap_or(&made.worlds[marks]);
        let allowed = Allowed { acknowledged: &made.worlds[marks], under_way };
        let draws = if replay.unsynced() == 0 { 0 } else { 8 };
        for loss in [Loss::Everything, Loss::Nothing].into_iter().chain((0..draws).map(|_| Loss::Some(random.next()))) {
            let image = replay.power_lost(loss, CatalogLoss::Nothing);
            for copied in &made.copies {
                let found = found_at(&image, copied.at);
                copies += u32::from(found.is_some());
                assert!(found.is_some() || marks < copied.marks, "{} is not there, {loss:?}", copied.at);
                assert!(found.is_none_or(|found| found == copied.world), "{} is another, {loss:?}", copied.at);
            }
            recover_and_go_on(&image, &allowed, CatalogLoss::Nothing)
                .unwrap_or_else(|error| panic!("after {marks} marks, {loss:?}: {error}"));
            images += 1;
        }
    }
    assert!(open_on(&disk.killed()).is_ok());
    println!("{images} disks after a loss of power, {copies} copies on them");
    assert!(images > 1000, "{images}");
}
