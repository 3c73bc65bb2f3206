//! Goal: every answer of a database is the answer of a map, scores included. Method: 50,000 random operations
//! (1,000,000 under `FROMAGERIE_TORTURE`) in runs of 5,000: items put, replaced and deleted alone and in batches,
//! repeated requests, seals and merges, aliases, restarts with and without the catalog; and searches, each compared
//! with a scan of a `BTreeMap`. Vectors have four elements of one half, so that every sum is exact in any order.
//! A failure prints the run's seed and its last operations: `FROMAGERIE_SEED=<seed>` repeats that run alone.

#![allow(clippy::unwrap_used)]

#[path = "../../storage/tests/common/random.rs"]
mod random;

use std::collections::BTreeMap;

use fromagerie::{Collection, Database, ErrorKind, IndexKind, Item, NewCollection, Options, Query, Receipt};
use random::{Log, Random};

const OPERATIONS: u64 = 5_000;
const DIM: usize = 16;
const KEYS: usize = 150;
const NAMES: [&str; 3] = ["a", "b", "c"];

/// What an item must be.
#[derive(Clone, PartialEq, Debug)]
struct Known {
    vector: Vec<f32>,
    shelf: u64,
}

/// What a collection must be.
#[derive(Default)]
struct Expected {
    items: BTreeMap<String, Known>,
    sequence: u64,
    receipts: Vec<(String, Receipt)>,
}

struct World {
    folder: tempfile::TempDir,
    db: Option<Database>,
    collections: BTreeMap<String, Expected>,
    aliases: BTreeMap<String, String>,
    searches: u64,
    log: Log,
}

/// Unit length: four of its elements are one half or minus one half.
fn vector(random: &mut Random) -> Vec<f32> {
    let mut vector = vec![0.0; DIM];
    let mut left = 4;
    while left > 0 {
        let at = random.below(DIM);
        if vector[at] == 0.0 {
            vector[at] = if random.chance(1, 2) { 0.5 } else { -0.5 };
            left -= 1;
        }
    }
    vector
}

impl World {
    fn new(seed: u64) -> World {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let db = Some(Database::open(folder.path()).unwrap());
        World { folder, db, collections: BTreeMap::new(), aliases: BTreeMap::new(), searches: 0, log: Log::new(seed) }
    }

    fn db(&self) -> &Database {
        self.db.as_ref().unwrap()
    }

    fn pick(&mut self, random: &mut Random) -> (String, Collection) {
        let name = NAMES[random.below(NAMES.len())].to_owned();
        if !self.collections.contains_key(&name) {
            self.log.note(format!("create {name}"));
            let index = if name == "a" { IndexKind::Flat } else { IndexKind::default() };
            let new = NewCollection { dim: Some(DIM), vectors_only: true, index, ..NewCollection::default() };
            self.db().create_collection(&name, new).unwrap();
            self.collections.insert(name.clone(), Expected::default());
        }
        let alias = self.aliases.iter().find(|(_, target)| **target == name).map(|(alias, _)| alias.clone());
        let collection = self.db().open_collection(alias.as_deref().unwrap_or(&name)).unwrap();
        (name, collection)
    }

    fn step(&mut self, random: &mut Random) {
        match random.below(1000) {
            0..300 => self.insert(random, 1),
            300..400 => {
                let items = 2 + random.below(20);
                self.insert(random, items);
            }
            400..500 => self.delete(random),
            500..540 => self.repeat(random),
            540..590 => self.seal(random),
            590..960 => self.search(random),
            960..975 => self.move_alias(random),
            975..980 => self.drop_collection(random),
            980..985 => self.verify(),
            985..996 => self.reopen(false),
            _ => self.reopen(true),
        }
    }

    fn insert(&mut self, random: &mut Random, count: usize) {
        let (name, collection) = self.pick(random);
        let expected = self.collections.get_mut(&name).unwrap();
        let mut receipt = Receipt { sequence: expected.sequence + 1, put: count as u32, ..Receipt::default() };
        let request_id = random.chance(1, 4).then(|| format!("request {}", random.next()));
        let (mut items, mut told) = (Vec::new(), format!("insert {name} {request_id:?}"));
        for _ in 0..count {
            let key = format!("key {}", random.below(KEYS));
            let known = Known { vector: vector(random), shelf: random.below(4) as u64 };
            told += &format!(" {key}");
            items.push(Item::vector(key.clone(), known.vector.clone()).payload("shelf", known.shelf));
            receipt.replaced += u32::from(expected.items.insert(key, known).is_some());
        }
        expected.sequence = receipt.sequence;
        expected.receipts.extend(request_id.clone().map(|id| (id, receipt)));
        self.log.note(told);
        if random.chance(1, 10) {
            // A bad item among the good ones is named and left out; all or none is refused whole.
            let bad = vec![Item::vector("bad", vec![f32::NAN; DIM]), items[0].clone()];
            assert_eq!(collection.insert_many(bad, None).unwrap_err().kind(), ErrorKind::InvalidArgument);
            items.push(Item::vector("bad", vec![0.0; DIM]));
            let upserted = collection.upsert(items, request_id).unwrap();
            assert_eq!((upserted.receipt, upserted.failures.len()), (Some(receipt), 1));
        } else {
            assert_eq!(collection.insert_many(items, request_id).unwrap(), receipt);
        }
    }

    fn delete(&mut self, random: &mut Random) {
        let (name, collection) = self.pick(random);
        let keys: Vec<String> = (0..1 + random.below(4)).map(|_| format!("key {}", random.below(KEYS))).collect();
        self.log.note(format!("delete {name} {keys:?}"));
        let expected = self.collections.get_mut(&name).unwrap();
        expected.sequence += 1;
        let deleted = keys.iter().filter(|key| expected.items.remove(*key).is_some()).count() as u32;
        let receipt = Receipt { sequence: expected.sequence, deleted, ..Receipt::default() };
        assert_eq!(collection.delete(keys, None).unwrap(), receipt);
    }

    /// An old request id: the first receipt, and nothing changes.
    fn repeat(&mut self, random: &mut Random) {
        let (name, collection) = self.pick(random);
        let receipts = &self.collections[&name].receipts;
        if receipts.is_empty() {
            return;
        }
        let (id, receipt) = receipts[random.below(receipts.len())].clone();
        self.log.note(format!("repeat {name} {id}"));
        let item = Item::vector(format!("key {}", random.below(KEYS)), vector(random));
        assert_eq!(collection.insert_many(vec![item], Some(id)).unwrap(), receipt);
        self.compare(&name, &collection);
    }

    fn seal(&mut self, random: &mut Random) {
        let (name, collection) = self.pick(random);
        self.log.note(format!("seal {name}"));
        collection.seal().unwrap();
        self.compare(&name, &collection);
    }

    /// Scores of a search, whole; and every key among those that may have its score.
    fn search(&mut self, random: &mut Random) {
        let (name, collection) = self.pick(random);
        let (wanted, limit) = (vector(random), 1 + random.below(40));
        let mut query = Query { exact: true, ..Query::vector(wanted.clone()) };
        if random.chance(1, 3) {
            query.exclude = (0..10).map(|_| format!("key {}", random.below(KEYS))).collect();
        }
        if random.chance(1, 4) {
            query.score_min = Some(0.25);
        }
        if random.chance(1, 4) {
            query.payload_equals.insert("shelf".to_owned(), random.below(4).into());
        }
        self.log.note(format!("search {name} {limit} {query:?}"));
        self.searches += 1;
        let score = |known: &Known| known.vector.iter().zip(&wanted).map(|(a, b)| a * b).sum::<f32>();
        let allowed = |key: &String, known: &Known| {
            !query.exclude.contains(key)
                && query.score_min.is_none_or(|least| score(known) >= least)
                && query.payload_equals.get("shelf").is_none_or(|shelf| *shelf == known.shelf)
        };
        let items = &self.collections[&name].items;
        let mut scores: Vec<f32> =
            items.iter().filter(|(key, known)| allowed(key, known)).map(|(_, known)| score(known)).collect();
        scores.sort_unstable_by(|a, b| b.total_cmp(a));
        scores.truncate(limit);
        let hits = collection.search(query.clone(), limit).unwrap();
        assert_eq!(hits.iter().map(|hit| hit.score).collect::<Vec<_>>(), scores);
        let mut keys: Vec<&String> = hits.iter().map(|hit| &hit.key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), hits.len(), "a key twice");
        for hit in &hits {
            let known = &items[&hit.key];
            assert!(allowed(&hit.key, known), "{}", hit.key);
            assert_eq!((hit.score, &hit.document.payload["shelf"]), (score(known), &known.shelf.into()), "{}", hit.key);
        }
    }

    fn move_alias(&mut self, random: &mut Random) {
        let (name, _) = self.pick(random);
        self.log.note(format!("alias best to {name}"));
        self.db().set_alias("best", &name).unwrap();
        self.aliases.insert("best".to_owned(), name);
        assert!(self.db().aliases().into_iter().eq(self.aliases.clone()));
    }

    fn drop_collection(&mut self, random: &mut Random) {
        let (name, _) = self.pick(random);
        self.log.note(format!("drop {name}"));
        if self.aliases.values().any(|target| *target == name) {
            assert!(self.db().drop_collection(&name).is_err());
        } else {
            self.db().drop_collection(&name).unwrap();
            self.collections.remove(&name);
        }
    }

    fn verify(&mut self) {
        self.log.note("verify".to_owned());
        let report = self.db().verify(&mut |_| ()).unwrap();
        assert!(report.is_clean(), "{report:?}");
    }

    fn reopen(&mut self, without_catalog: bool) {
        self.log.note(format!("reopen, without the catalog: {without_catalog}"));
        self.db = None;
        if without_catalog {
            std::fs::remove_file(self.folder.path().join("catalog.redb")).unwrap();
        }
        self.db =
            Some(Database::open_with(self.folder.path(), Options { create: false, ..Options::default() }).unwrap());
        let names: Vec<String> = self.db().collections().unwrap().iter().map(|c| c.name().to_owned()).collect();
        assert!(names.iter().eq(self.collections.keys()), "{names:?}");
        assert!(self.db().aliases().into_iter().eq(self.aliases.clone()));
        for name in self.collections.keys() {
            self.compare(name, &self.db().open_collection(name).unwrap());
        }
    }

    fn compare(&self, name: &str, collection: &Collection) {
        let items = &self.collections[name].items;
        assert_eq!(collection.len(), items.len(), "{name}");
        for number in 0..KEYS {
            let key = format!("key {number}");
            let found = collection.get(&key).unwrap().map(|item| {
                let shelf = item.document.payload["shelf"].as_u64().unwrap();
                Known { vector: item.vector, shelf }
            });
            assert_eq!(found.as_ref(), items.get(&key), "{name}: {key}");
        }
    }
}

fn run(seed: u64) -> u64 {
    let mut random = Random::new(seed);
    let mut world = World::new(seed);
    while world.log.done < OPERATIONS {
        world.step(&mut random);
    }
    world.reopen(false);
    world.verify();
    world.searches
}

#[test]
fn every_answer_is_the_answer_of_a_map() {
    let runs = if random::torture() { 200 } else { 10 };
    let searches = match random::seed() {
        Some(seed) => run(seed),
        None => (0..runs).map(run).sum(),
    };
    println!("{searches} searches agreed");
    assert!(searches > OPERATIONS / 4, "{searches}");
}
