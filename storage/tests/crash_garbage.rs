//! Goal: where a file system shows garbage in sectors that were never written (ext4 with `data=writeback`), nothing is
//! lost in silence. Method: losses of power at every event of runs, with garbage in the place of zeros. A journal's end
//! then cannot be told from damage, and may be called that; whatever opens is as it was acknowledged.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use common::random::Random;
use common::workload::{self, open_on};
use common::world::World;
use fromagerie_storage::backend::simulated::{CatalogLoss, Loss, SimulatedDisk};

/// Opens and compares; returns how many collections were called damaged.
fn look(disk: &SimulatedDisk, acknowledged: &World, under_way: &World) -> usize {
    let store = open_on(disk).unwrap();
    let (found, damaged) = (World::of(&store), store.damaged());
    for damaged in &damaged {
        let damage = damaged.error.damage().unwrap_or_else(|| panic!("{}", damaged.error));
        let name = damage.path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("journal-"), "{damage}");
    }
    let mut allowed = [acknowledged.clone(), under_way.clone()];
    for world in &mut allowed {
        world.collections.retain(|name, _| damaged.iter().all(|damaged| damaged.name != *name));
    }
    assert!(allowed.contains(&found), "{found:?}\nis none of {allowed:?}");
    damaged.len()
}

#[test]
fn garbage_is_never_believed_and_loses_nothing_in_silence() {
    let (mut images, mut damaged) = (0, 0);
    for seed in 0..3 {
        let run = workload::run(seed, 60);
        let trace = run.disk.trace();
        let (mut replay, mut random) = (trace.replay(), Random::new(seed));
        while replay.step() {
            let marks = replay.marks() as usize;
            let under_way = run.worlds.get(marks + 1).unwrap_or(&run.worlds[marks]);
            let draws = if replay.unsynced() == 0 { 0 } else { 6 };
            for _ in 0..draws {
                let image = replay.power_lost(Loss::Garbage(random.next()), CatalogLoss::Nothing);
                damaged += look(&image, &run.worlds[marks], under_way);
                images += 1;
            }
        }
    }
    println!("{images} disks with garbage: {damaged} journals called damaged, nothing lost in silence");
    assert!(images > 1000 && damaged > 0 && damaged < images / 10, "{images}, {damaged}");
}
