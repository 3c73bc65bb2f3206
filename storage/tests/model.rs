//! Goal: a database equals a map of maps, whatever is done to it in whatever order. Method: 50,000 random operations
//! (1,000,000 under `FROMAGERIE_TORTURE`) in runs of 5,000, each compared with a `BTreeMap` by receipts, by the keys
//! that were touched, and often whole; snapshots that are held must stay as they were. A failure prints the run's
//! seed and its last operations: `FROMAGERIE_SEED=<seed>` repeats that run alone.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::ops::Bound;

use common::random::{self, Log, Random};
use common::{DIM, contents, open, options, photos, record, spec};
use fromagerie_storage::{Batch, Collection, Op, OpenNote, Receipt, Snapshot, StorageError, Store, StoreOptions};

const OPERATIONS: u64 = 5_000;
const KEYS: usize = 60;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const ALIASES: [&str; 3] = ["best", "new", "old"];

/// What a collection must be.
#[derive(Default)]
struct Expected {
    map: BTreeMap<String, u32>,
    sequence: u64,
    /// Request ids with the receipts that they must go on to give.
    receipts: Vec<(String, Receipt)>,
}

/// The database and the maps that it must equal.
struct World {
    dir: tempfile::TempDir,
    options: StoreOptions,
    store: Option<Store>,
    collections: BTreeMap<String, Expected>,
    aliases: BTreeMap<String, String>,
    sessions: BTreeMap<String, Vec<u8>>,
    held: Vec<(BTreeMap<String, u32>, u64, Snapshot)>,
    values: u32,
    log: Log,
}

impl World {
    fn new(seed: u64, random: &mut Random) -> World {
        // Small budgets, so that seals and merges happen all the time; a third of the runs seal in the background. Batches
        // of so many puts become segments.
        let bulk_puts = 2 + random.below(10);
        let options = StoreOptions {
            seal_rows: 3 + random.below(40),
            bulk_bytes: bulk_puts * DIM as usize * 4,
            in_background: random.chance(1, 3),
            ..options()
        };
        let dir = common::tempdir();
        let store = Some(Store::open(dir.path(), options.clone()).unwrap());
        World {
            dir,
            options,
            store,
            collections: BTreeMap::new(),
            aliases: BTreeMap::new(),
            sessions: BTreeMap::new(),
            held: Vec::new(),
            values: 0,
            log: Log::new(seed),
        }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    /// A collection that is there; made when there is none.
    fn pick(&mut self, random: &mut Random) -> (String, Collection) {
        if self.collections.is_empty() {
            self.create("a");
        }
        let name = self.collections.keys().nth(random.below(self.collections.len())).unwrap().clone();
        // Through an alias when it has one: that must be the same.
        let alias = self.aliases.iter().find(|(_, target)| **target == name).map(|(alias, _)| alias.clone());
        let collection = self.store().collection(alias.as_deref().unwrap_or(&name)).unwrap();
        assert_eq!(collection.name(), name);
        (name, collection)
    }

    fn create(&mut self, name: &str) {
        self.log.note(format!("create {name}"));
        self.store().create_collection(name, spec()).unwrap();
        self.collections.insert(name.to_owned(), Expected::default());
    }

    fn step(&mut self, random: &mut Random) {
        match random.below(1000) {
            0..380 => self.write(random, 1),
            380..560 => {
                let operations = 2 + random.below(12);
                self.write(random, operations);
            }
            560..640 => self.repeat(random),
            640..700 => self.seal(random),
            700..780 => self.hold(random),
            780..860 => self.release(random),
            860..900 => self.move_alias(random),
            900..915 => self.remove_alias(random),
            915..930 => self.create_or_refuse(random),
            930..938 => self.drop_collection(random),
            938..970 => self.session(random),
            970..984 => self.compare_all(),
            984..986 => self.verify(),
            986..996 => self.reopen(false),
            _ => self.reopen(true),
        }
    }

    /// A batch of puts and deletes; sometimes with a request id, sometimes empty.
    fn write(&mut self, random: &mut Random, operations: usize) {
        let (name, collection) = self.pick(random);
        let operations = if random.chance(1, 200) { 0 } else { operations };
        let request_id = random.chance(1, 4).then(|| format!("request {}", random.next()));
        let expected = self.collections.get_mut(&name).unwrap();
        let mut receipt = Receipt { sequence: expected.sequence + 1, ..Receipt::default() };
        let mut batch = Batch { ops: Vec::new(), request_id: request_id.clone() };
        let mut told = format!("write {name} {request_id:?}");
        let only_puts = random.chance(1, 4);
        for _ in 0..operations {
            let key = format!("key {}", random.below(KEYS));
            if only_puts || random.chance(7, 10) {
                self.values += 1;
                told += &format!(" {key}={}", self.values);
                receipt.put += 1;
                receipt.replaced += u32::from(expected.map.insert(key.clone(), self.values).is_some());
                batch.ops.push(Op::Put(record(&key, self.values)));
            } else {
                told += &format!(" -{key}");
                receipt.deleted += u32::from(expected.map.remove(&key).is_some());
                batch.ops.push(Op::Delete { key });
            }
        }
        self.log.note(told);
        let keys: Vec<String> = batch.ops.iter().map(|op| op.key().to_owned()).collect();
        assert_eq!(collection.write(batch).unwrap(), receipt);
        let expected = self.collections.get_mut(&name).unwrap();
        expected.sequence = receipt.sequence;
        expected.receipts.extend(request_id.map(|id| (id, receipt)));
        self.compare_keys(&name, &collection, &keys);
    }

    /// An old request id under another batch: the first receipt, and nothing changes.
    fn repeat(&mut self, random: &mut Random) {
        let (name, collection) = self.pick(random);
        let receipts = &self.collections[&name].receipts;
        if receipts.is_empty() {
            return;
        }
        let (id, receipt) = receipts[random.below(receipts.len())].clone();
        self.log.note(format!("repeat {name} {id}"));
        let key = format!("key {}", random.below(KEYS));
        let batch = common::put(&key, u32::MAX).with_request_id(id);
        assert_eq!(collection.write(batch).unwrap(), receipt);
        self.compare_keys(&name, &collection, &[key]);
    }

    fn seal(&mut self, random: &mut Random) {
        let (name, collection) = self.pick(random);
        self.log.note(format!("seal {name}"));
        collection.seal().unwrap();
        self.compare(&name, &collection);
    }

    fn hold(&mut self, random: &mut Random) {
        let (name, collection) = self.pick(random);
        self.log.note(format!("hold {name}"));
        let expected = &self.collections[&name];
        self.held.push((expected.map.clone(), expected.sequence, collection.snapshot()));
    }

    /// A snapshot that was held across changes is as it was.
    fn release(&mut self, random: &mut Random) {
        if self.held.is_empty() {
            return;
        }
        let (map, sequence, snapshot) = self.held.swap_remove(random.below(self.held.len()));
        self.log.note(format!("release a snapshot of sequence {sequence}"));
        assert_eq!(snapshot.sequence(), sequence);
        assert_eq!(contents(&snapshot), map, "a held snapshot changed");
    }

    fn move_alias(&mut self, random: &mut Random) {
        let (name, _) = self.pick(random);
        let alias = ALIASES[random.below(ALIASES.len())];
        self.log.note(format!("alias {alias} to {name}"));
        self.store().set_alias(alias, &name).unwrap();
        self.aliases.insert(alias.to_owned(), name);
        self.compare_names();
    }

    fn remove_alias(&mut self, random: &mut Random) {
        let alias = ALIASES[random.below(ALIASES.len())];
        self.log.note(format!("remove alias {alias}"));
        let removed = self.store().remove_alias(alias);
        match self.aliases.remove(alias) {
            Some(_) => removed.unwrap(),
            None => assert!(matches!(removed, Err(StorageError::UnknownAlias { .. }))),
        }
        self.compare_names();
    }

    fn create_or_refuse(&mut self, random: &mut Random) {
        let name = NAMES[random.below(NAMES.len())];
        if self.collections.contains_key(name) {
            self.log.note(format!("create {name} again"));
            assert!(matches!(self.store().create_collection(name, spec()), Err(StorageError::NameTaken { .. })));
        } else {
            self.create(name);
        }
        self.compare_names();
    }

    fn drop_collection(&mut self, random: &mut Random) {
        let (name, collection) = self.pick(random);
        self.log.note(format!("drop {name}"));
        let dropped = self.store().drop_collection(&name);
        if self.aliases.values().any(|target| *target == name) {
            assert!(matches!(dropped, Err(StorageError::HasAliases { .. })));
        } else {
            dropped.unwrap();
            self.collections.remove(&name);
            assert!(matches!(collection.write(common::put("k", 1)), Err(StorageError::Dropped { .. })));
        }
        self.compare_names();
    }

    fn session(&mut self, random: &mut Random) {
        let id = format!("session {}", random.below(5));
        self.log.note(format!("change {id}"));
        if random.chance(2, 3) {
            let value = random.next().to_le_bytes()[..random.below(9)].to_vec();
            self.store().put_session(&id, &value).unwrap();
            self.sessions.insert(id.clone(), value);
        } else {
            assert_eq!(self.store().delete_session(&id).unwrap(), self.sessions.remove(&id).is_some());
        }
        assert_eq!(self.store().session(&id).unwrap().as_ref(), self.sessions.get(&id));
    }

    fn verify(&mut self) {
        self.log.note("verify".to_owned());
        let report = self.store().verify(&mut |_| ()).unwrap();
        assert!(report.is_clean(), "{:?}", report.damages);
        assert_eq!(report.rows, self.collections.values().map(|expected| expected.map.len() as u64).sum::<u64>());
    }

    /// Closes and opens again; with the catalog gone, all but the sessions is known from the files.
    fn reopen(&mut self, without_catalog: bool) {
        self.log.note(format!("reopen, without the catalog: {without_catalog}"));
        self.store = None;
        if without_catalog {
            std::fs::remove_file(self.dir.path().join("catalog.redb")).unwrap();
            self.sessions.clear();
        }
        let store = Store::open(self.dir.path(), self.options.clone()).unwrap();
        assert!(store.damaged().is_empty(), "{:?}", store.damaged());
        let restored = |note: &&OpenNote| matches!(note, OpenNote::CatalogRecordRestored { .. });
        assert_eq!(store.notes().iter().filter(restored).count(), store.notes().len(), "{:?}", store.notes());
        assert_eq!(store.notes().len(), if without_catalog { self.collections.len() } else { 0 });
        self.store = Some(store);
        self.compare_all();
    }

    fn compare_keys(&self, name: &str, collection: &Collection, keys: &[String]) {
        let (expected, snapshot) = (&self.collections[name], collection.snapshot());
        assert_eq!((snapshot.sequence(), snapshot.len()), (expected.sequence, expected.map.len()));
        for key in keys.iter().take(1) {
            let listed = snapshot.in_key_order(key).unwrap().take(20).map(|found| found.unwrap().0);
            let behind = (Bound::Excluded(key.clone()), Bound::Unbounded);
            assert!(listed.eq(expected.map.range(behind).take(20).map(|(key, _)| key)), "{name}: behind {key}");
        }
        for key in keys {
            let found = snapshot.find(key).unwrap();
            let value = found.map(|at| snapshot.segments()[at.segment].document(at.row).unwrap().width);
            assert_eq!(value.as_ref(), expected.map.get(key), "{name}: {key}");
        }
    }

    fn compare(&self, name: &str, collection: &Collection) {
        let (expected, snapshot) = (&self.collections[name], collection.snapshot());
        assert_eq!(snapshot.sequence(), expected.sequence, "{name}");
        assert_eq!(contents(&snapshot), expected.map, "{name}");
    }

    fn compare_names(&self) {
        let names: Vec<String> = self.store().collections().into_iter().map(|info| info.name).collect();
        assert!(names.iter().eq(self.collections.keys()), "{names:?}");
        assert!(self.store().aliases().into_iter().eq(self.aliases.clone()));
    }

    fn compare_all(&mut self) {
        self.log.note("compare all".to_owned());
        self.compare_names();
        for name in self.collections.keys() {
            self.compare(name, &self.store().collection(name).unwrap());
        }
        assert!(self.store().sessions().unwrap().iter().eq(self.sessions.keys()));
        for (id, value) in &self.sessions {
            assert_eq!(self.store().session(id).unwrap().as_ref(), Some(value));
        }
    }
}

fn run(seed: u64) {
    let mut random = Random::new(seed);
    let mut world = World::new(seed, &mut random);
    while world.log.done < OPERATIONS {
        world.step(&mut random);
    }
    world.reopen(false);
    world.verify();
    while !world.held.is_empty() {
        world.release(&mut random);
    }
}

#[test]
fn a_database_equals_a_map_of_maps() {
    let runs = if random::torture() { 200 } else { 10 };
    match random::seed() {
        Some(seed) => run(seed),
        None => (0..runs).for_each(run),
    }
}

#[test]
fn many_seals_are_merged_into_few_segments() {
    let dir = common::tempdir();
    let store = Store::open(dir.path(), StoreOptions { seal_rows: 5, ..options() }).unwrap();
    let photos_now = photos(&store);
    for n in 0..400 {
        photos_now.write(common::put(&format!("k{}", n % 150), n)).unwrap();
    }
    let stats = photos_now.stats();
    assert!(stats.sealed_segments <= 20, "{stats:?}");
    assert!(stats.memory_segments <= 4, "{stats:?}");
    assert!(stats.last_seal_error.is_none());
    let expected: BTreeMap<String, u32> = (250..400).map(|n| (format!("k{}", n % 150), n)).collect();
    assert_eq!(contents(&photos_now.snapshot()), expected);
    drop((photos_now, store));
    assert_eq!(contents(&photos(&open(dir.path())).snapshot()), expected);
}
