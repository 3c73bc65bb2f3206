//! Runs of a store on a simulated disk, the same for the same seed: batches, seals, merges, aliases that move,
//! collections that come and go, and restarts; other batches come between a merge's begin and its end. A step says what it does to a store and what it does to a map.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fromagerie_storage::backend::simulated::SimulatedDisk;
use fromagerie_storage::{Batch, Op, StorageError, Store, StoreOptions};

use super::meddler::meddled;
use super::random::Random;
use super::world::World;
use super::{DIM, options, record, spec};

/// Where the database is on a simulated disk.
pub const DATABASE: &str = "/data/cellar";

/// Names of collections.
const NAMES: [&str; 3] = ["photos", "prints", "slides"];
const ALIAS: &str = "best";

/// Options under which everything happens early: seals, merges, batches that become segments (of three puts and more), and
/// all in the calling thread.
pub fn eager(disk: &SimulatedDisk) -> StoreOptions {
    StoreOptions {
        seal_rows: 4,
        bulk_bytes: 3 * DIM as usize * 4,
        seal_rest: Duration::ZERO,
        reserve_bytes: 1024,
        backend: Arc::new(disk.clone()),
        ..options()
    }
}

pub fn open_on(disk: &SimulatedDisk) -> Result<Store, StorageError> {
    Store::open(Path::new(DATABASE), eager(disk))
}

/// Something that is done to a database.
#[derive(Clone)]
pub enum Step {
    /// Close it, when it is open, and open it.
    Open,
    Create(&'static str),
    Drop(String),
    MoveAlias(String),
    RemoveAlias,
    Seal(String),
    Write(String, Vec<Op>),
}

impl Step {
    /// A step that a database which holds `world` allows.
    pub fn any(world: &World, random: &mut Random) -> Step {
        let missing = NAMES.into_iter().find(|&name| !world.collections.contains_key(name));
        if let Some(name) = missing.filter(|_| world.collections.is_empty()) {
            return Step::Create(name);
        }
        let name = world.collections.keys().nth(random.below(world.collections.len())).unwrap().clone();
        let is_named = world.aliases.values().any(|target| *target == name);
        match (random.below(100), missing) {
            (0..5, Some(name)) => Step::Create(name),
            (5..8, _) if !is_named => Step::Drop(name),
            (8..14, _) => Step::MoveAlias(name),
            (14..16, _) if !world.aliases.is_empty() => Step::RemoveAlias,
            (16..22, _) => Step::Seal(name),
            (22..24, _) => Step::Open,
            _ => Step::Write(name, ops(random)),
        }
    }

    /// Does it; `store` is there after a first [`Step::Open`].
    pub fn perform(&self, disk: &SimulatedDisk, store: &mut Option<Store>) -> Result<(), StorageError> {
        if let Step::Open = self {
            *store = None;
            *store = Some(open_on(disk)?);
            return Ok(());
        }
        let store = store.as_ref().expect("opened first");
        match self {
            Step::Open => Ok(()),
            Step::Create(name) => store.create_collection(name, spec()).map(|_| ()),
            Step::Drop(name) => store.drop_collection(name),
            Step::MoveAlias(name) => store.set_alias(ALIAS, name),
            Step::RemoveAlias => store.remove_alias(ALIAS),
            Step::Seal(name) => {
                let collection = store.collection(name)?;
                meddled(&collection, || collection.seal())
            }
            Step::Write(name, ops) => {
                let collection = store.collection(name)?;
                meddled(&collection, || collection.write(Batch::new(ops.clone())).map(|_| ()))
            }
        }
    }

    /// What it makes of a world.
    pub fn applied_to(&self, world: &World) -> World {
        let mut world = world.clone();
        match self {
            Step::Open | Step::Seal(_) => {}
            Step::Create(name) => drop(world.collections.insert((*name).to_owned(), Default::default())),
            Step::Drop(name) => drop(world.collections.remove(name)),
            Step::MoveAlias(name) => drop(world.aliases.insert(ALIAS.to_owned(), name.clone())),
            Step::RemoveAlias => drop(world.aliases.remove(ALIAS)),
            Step::Write(name, ops) => {
                let items = world.collections.get_mut(name).expect("chosen from what is there");
                for op in ops {
                    match op {
                        Op::Put(record) => drop(items.insert(record.key.clone(), record.document.width)),
                        Op::Delete { key } => drop(items.remove(key)),
                    }
                }
            }
        }
        world
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Open => f.write_str("open"),
            Step::Create(name) => write!(f, "create {name}"),
            Step::Drop(name) => write!(f, "drop {name}"),
            Step::MoveAlias(name) => write!(f, "move the alias to {name}"),
            Step::RemoveAlias => f.write_str("remove the alias"),
            Step::Seal(name) => write!(f, "seal {name}"),
            Step::Write(name, ops) => write!(f, "write {:?} to {name}", ops.iter().map(Op::key).collect::<Vec<_>>()),
        }
    }
}

/// One to three puts and deletes, with pictures of up to some sectors.
fn ops(random: &mut Random) -> Vec<Op> {
    (0..=random.below(3)).map(|_| any_op(random)).collect()
}

fn any_op(random: &mut Random) -> Op {
    let key = format!("k{}", random.below(9));
    if random.chance(3, 10) {
        return Op::Delete { key };
    }
    let value = random.below(1 << 20) as u32;
    let mut record = record(&key, value);
    record.document.thumbnail = vec![value as u8; random.below(1500)];
    Op::Put(record)
}

/// A run without a fault, and what the database holds after each of its steps; before the first it holds nothing. Each
/// step leaves a mark in the disk's trace.
pub struct Run {
    pub disk: SimulatedDisk,
    pub worlds: Vec<World>,
}

pub fn run(seed: u64, steps: usize) -> Run {
    let (disk, mut random) = (SimulatedDisk::default(), Random::new(seed));
    let (mut store, mut worlds) = (None, vec![World::default()]);
    for _ in 0..steps {
        let world = worlds.last().expect("the first is there");
        let step = if store.is_none() { Step::Open } else { Step::any(world, &mut random) };
        step.perform(&disk, &mut store).unwrap();
        disk.mark();
        worlds.push(step.applied_to(world));
    }
    Run { disk, worlds }
}
