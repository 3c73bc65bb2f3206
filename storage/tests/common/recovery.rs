//! What must hold of every disk that a crash may leave: it opens, it holds what was acknowledged and no half of
//! anything, nothing on it is damaged, and it goes on from there.

use fromagerie_storage::backend::simulated::{CatalogLoss, Failure, Fault, Loss, SimulatedDisk};
use fromagerie_storage::{OpenNote, StorageError, Store};

use super::workload::open_on;
use super::world::{World, is_of_old, really_damaged};
use super::{put, spec};

/// The worlds that a crash may leave: after the last step that was acknowledged, and after the one under way.
pub struct Allowed<'a> {
    pub acknowledged: &'a World,
    pub under_way: &'a World,
}

impl Allowed<'_> {
    fn has(&self, world: &World) -> bool {
        world == self.acknowledged || world == self.under_way
    }
}

/// Opens, compares and verifies; returns the open store with what it holds.
pub fn recover(disk: &SimulatedDisk, allowed: &Allowed<'_>) -> Result<(Store, World), String> {
    let store = open_on(disk).map_err(|error| format!("does not open: {error}"))?;
    match really_damaged(&store) {
        damaged if damaged.is_empty() => {}
        damaged => return Err(format!("damaged: {damaged:?}")),
    }
    let alarm = |note: &&OpenNote| matches!(note, OpenNote::AliasesRestored { .. } | OpenNote::AliasesLost { .. });
    if let Some(note) = store.notes().iter().find(alarm) {
        return Err(format!("a crash is told as damage: {note}"));
    }
    let world = World::of(&store);
    if !allowed.has(&world) {
        return Err(format!(
            "holds {world:?}\nacknowledged {:?}\nunder way {:?}",
            allowed.acknowledged, allowed.under_way
        ));
    }
    let report = store.verify(&mut |_| {}).map_err(|error| format!("cannot be verified: {error}"))?;
    if let Some(damage) = report.damages.iter().find(|damage| !is_of_old(&damage.what)) {
        return Err(format!("verify: {damage}"));
    }
    Ok((store, world))
}

/// Recovers, writes, loses the power with all that is not synced, and recovers again with what was written.
pub fn recover_and_go_on(disk: &SimulatedDisk, allowed: &Allowed<'_>, catalog: CatalogLoss) -> Result<(), String> {
    let (store, mut world) = recover(disk, allowed)?;
    go_on(&store, &mut world).map_err(|error| format!("takes no write: {error}"))?;
    drop(store);
    let after = disk.power_lost(Loss::Everything, catalog);
    let only = Allowed { acknowledged: &world, under_way: &world };
    recover(&after, &only).map(|_| ()).map_err(|error| format!("after a write and a loss of power: {error}"))
}

/// One more item in every collection; a collection when there is none.
fn go_on(store: &Store, world: &mut World) -> Result<(), StorageError> {
    if world.collections.is_empty() && store.damaged().is_empty() {
        store.create_collection("photos", spec())?;
        world.collections.insert("photos".to_owned(), Default::default());
    }
    for (name, items) in &mut world.collections {
        store.collection(name)?.write(put("after", 77))?;
        items.insert("after".to_owned(), 77);
    }
    Ok(())
}

/// A second loss of power at any event of the recovery, chosen by `seed`; none when recovery changed nothing.
pub fn lose_power_again(disk: &SimulatedDisk, allowed: &Allowed<'_>, seed: u64) -> Option<Result<(), String>> {
    let first = disk.killed();
    drop(open_on(&first));
    let trace = first.trace();
    let events = trace.len() as u64;
    if events == 0 {
        return None;
    }
    let mut replay = trace.replay();
    for _ in 0..=seed % events {
        replay.step();
    }
    let again = replay.power_lost(Loss::Some(seed), CatalogLoss::Since(seed));
    let recovered = recover_and_go_on(&again, allowed, CatalogLoss::Nothing);
    Some(recovered.map_err(|error| format!("power lost again at event {}: {error}", seed % events)))
}

/// An operation of the recovery fails, chosen by `seed`; then the next process tries, on the same page cache.
pub fn fail_once(disk: &SimulatedDisk, allowed: &Allowed<'_>, seed: u64) -> Result<(), String> {
    let failure = Failure::ALL[seed as usize % Failure::ALL.len()];
    let first = disk.killed();
    first.set(Fault::Once(u64::MAX, failure));
    drop(open_on(&first));
    let n = seed / 8 % first.count().max(1) + 1;
    let first = disk.killed();
    first.set(Fault::Once(n, failure));
    // It may open in part or not at all: what matters is that nothing is worse afterwards.
    drop(open_on(&first));
    recover_and_go_on(&first.killed(), allowed, CatalogLoss::Nothing)
        .map_err(|error| format!("operation {n} of the recovery failed by {failure:?}: {error}"))
}
