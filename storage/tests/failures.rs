//! Goal: an operation of the disk that fails loses nothing that was acknowledged, whichever it is and however it fails;
//! nothing panics, and the store goes on as soon as the disk does. Method: the same run on a simulated disk again and
//! again, with its n-th operation failing, for every n, once or from there on, in each of the ways there are.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::random::Random;
use common::recovery::{Allowed, recover_and_go_on};
use common::workload::{Step, open_on};
use common::world::World;
use common::{contents, options, photos, put};
use fromagerie_storage::backend::simulated::{CatalogLoss, Failure, Fault, Loss, SimulatedDisk};
use fromagerie_storage::{StorageError, Store, StoreOptions};

const STEPS: usize = 50;
/// Steps that a run goes on for after the fault, on the healed disk.
const STEPS_AFTER: usize = 6;

/// A run in which something fails.
struct Troubled {
    disk: SimulatedDisk,
    store: Option<Store>,
    world: World,
    random: Random,
    failed: bool,
}

impl Troubled {
    fn new(seed: u64) -> Troubled {
        let (disk, random) = (SimulatedDisk::default(), Random::new(seed));
        Troubled { disk, store: None, world: World::default(), random, failed: false }
    }

    fn step(&mut self) -> Result<(), String> {
        let is_closed = self.store.is_none();
        let step = if is_closed { Step::Open } else { Step::any(&self.world, &mut self.random) };
        let after = step.applied_to(&self.world);
        match step.perform(&self.disk, &mut self.store) {
            Ok(()) => self.world = after,
            Err(error) => self.meet(&step, after, error).map_err(|what| format!("{step:?}: {what}"))?,
        }
        match &self.store {
            Some(store) if store.damaged().is_empty() && World::of(store) != self.world => {
                Err(format!("after {step:?}: holds {:?}\nnot {:?}", World::of(store), self.world))
            }
            _ => Ok(()),
        }
    }

    /// A step failed. Reads go on; then the disk heals, and the step succeeds or is found done, without a restart
    /// unless the writer says that it needs one.
    fn meet(&mut self, step: &Step, after: World, error: StorageError) -> Result<(), String> {
        self.failed = true;
        let allowed = Allowed { acknowledged: &self.world, under_way: &after };
        if let Some(store) = self.store.as_ref().filter(|store| store.damaged().is_empty()) {
            let seen = World::of(store);
            if seen != self.world && seen != after {
                return Err(format!("failed ({error}), and then holds {seen:?}"));
            }
        }
        recover_and_go_on(&self.disk.power_lost(Loss::Some(7), CatalogLoss::Nothing), &allowed, CatalogLoss::Nothing)
            .map_err(|what| format!("failed ({error}), then lost the power: {what}"))?;
        self.disk.set(Fault::None);
        recover_and_go_on(&self.disk.killed(), &allowed, CatalogLoss::Nothing)
            .map_err(|what| format!("failed ({error}), then was killed: {what}"))?;
        let is_write = matches!(step, Step::Write(..) | Step::Seal(_));
        match step.perform(&self.disk, &mut self.store) {
            Ok(()) => self.world = after,
            Err(StorageError::Poisoned { .. }) => self.reopen(after)?,
            Err(again) if is_write => return Err(format!("failed ({error}), and again on a good disk: {again}")),
            // Made or dropped all the same, only not known to be durable.
            Err(_) => self.reopen(after)?,
        }
        Ok(())
    }

    /// Opens anew: the step that failed is done or not.
    fn reopen(&mut self, after: World) -> Result<(), String> {
        self.store = None;
        let store = open_on(&self.disk).map_err(|error| format!("does not open again: {error}"))?;
        let seen = World::of(&store);
        if seen != self.world && seen != after {
            return Err(format!("opened again, it holds {seen:?}\nnot {:?}\nnor {after:?}", self.world));
        }
        self.world = seen;
        self.store = Some(store);
        Ok(())
    }
}

/// Runs with a fault; returns whether it was met.
fn trouble(seed: u64, fault: Fault) -> Result<bool, String> {
    let mut run = Troubled::new(seed);
    run.disk.set(fault);
    let mut after = 0;
    for _ in 0..STEPS {
        run.step()?;
        after += usize::from(run.failed);
        if after > STEPS_AFTER {
            break;
        }
    }
    let allowed = Allowed { acknowledged: &run.world, under_way: &run.world };
    run.disk.set(Fault::None);
    drop(run.store);
    for left in [run.disk.killed(), run.disk.power_lost(Loss::Everything, CatalogLoss::Nothing)] {
        recover_and_go_on(&left, &allowed, CatalogLoss::Nothing).map_err(|what| format!("at the end: {what}"))?;
    }
    Ok(run.failed)
}

#[test]
fn every_operation_fails_in_every_way_and_nothing_is_lost() {
    let (mut runs, mut met) = (0, 0);
    for failure in Failure::ALL {
        let mut whole = Troubled::new(3);
        whole.disk.set(Fault::Once(u64::MAX, failure));
        (0..STEPS).for_each(|_| whole.step().unwrap());
        let operations = whole.disk.count();
        assert!(operations > 20, "{failure:?}: {operations}");
        for n in 1..=operations {
            for fault in [Fault::Once(n, failure), Fault::From(n, failure)] {
                let is_met = trouble(3, fault).unwrap_or_else(|error| panic!("{fault:?} of {operations}: {error}"));
                runs += 1;
                met += u32::from(is_met);
            }
        }
    }
    println!("{runs} runs, one fault each; {met} were told to the caller");
}

#[test]
fn a_failed_fsync_poisons_and_is_not_retried_into_an_ack() {
    let disk = SimulatedDisk::default();
    let open =
        || Store::open("cellar".as_ref(), StoreOptions { backend: Arc::new(disk.clone()), ..options() }).unwrap();
    let store = open();
    let collection = photos(&store);
    collection.write(put("kept", 1)).unwrap();
    disk.set(Fault::Once(1, Failure::FileSync));
    assert!(matches!(collection.write(put("lost", 2)), Err(StorageError::Poisoned { .. })));
    let again = collection.write(put("later", 3)).unwrap_err();
    assert!(matches!(again, StorageError::Poisoned { .. }));
    assert!(again.to_string().contains("close and open"), "{again}");
    assert!(collection.seal().is_err(), "nothing is published by a poisoned writer");
    assert_eq!(contents(&collection.snapshot()), BTreeMap::from([("kept".into(), 1)]), "reads go on");
    drop((collection, store));
    let reopened = photos(&open());
    assert_eq!(contents(&reopened.snapshot()).get("kept"), Some(&1));
    reopened.write(put("later", 3)).unwrap();
}

#[test]
fn an_alias_that_could_not_be_set_is_no_damage() {
    let disk = SimulatedDisk::default();
    let backend = || StoreOptions { backend: Arc::new(disk.clone()), ..options() };
    let store = Store::open("cellar".as_ref(), backend()).unwrap();
    photos(&store);
    store.set_alias("best", "photos").unwrap();
    for failure in Failure::ALL {
        disk.set(Fault::Once(1, failure));
        let _ = store.set_alias("worst", "photos");
        disk.set(Fault::None);
        let report = store.verify(&mut |_| ()).unwrap();
        assert!(report.is_clean(), "{failure:?}: {report:?}");
    }
    drop(store);
    let store = Store::open("cellar".as_ref(), backend()).unwrap();
    assert!(store.notes().is_empty(), "{:?}", store.notes());
}
