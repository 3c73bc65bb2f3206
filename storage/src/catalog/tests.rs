//! Goal: what the catalog acknowledged outlives a loss of power. Method: a file in memory that keeps a trace of what was
//! written and synced. At each of its events the power goes: of what was not synced any sectors are there, or none, or all.
//! Then the file opens, with every page checked, and holds what was acknowledged, with or without the change under way.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use redb::{Database, ReadableDatabase, StorageBackend};

use super::on_disk::settings;
use super::{Tree, table};

const CACHE_BYTES: u64 = 1 << 20;
const CHANGES: usize = 40;
const SECTOR: usize = 512;
/// Disks that one loss of power may leave: with nothing of what was not synced, with all of it, with parts.
const LOSSES: u64 = 4;

type Held = BTreeMap<(Tree, Vec<u8>), Vec<u8>>;

#[derive(Debug, Clone)]
enum Event {
    Write(usize, Vec<u8>),
    Length(usize),
    Sync,
    Acknowledged(Held),
}

#[derive(Debug, Default)]
struct Drive {
    bytes: Vec<u8>,
    events: Vec<Event>,
}

/// Where the catalog's file is.
#[derive(Debug, Clone, Default)]
struct Traced(Arc<Mutex<Drive>>);

impl StorageBackend for Traced {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (drive, offset) = (self.0.lock(), offset as usize);
        out.copy_from_slice(drive.bytes.get(offset..offset + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.happens(Event::Length(length as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.happens(Event::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.happens(Event::Write(offset as usize, data.to_vec()));
        Ok(())
    }
}

impl Traced {
    fn happens(&self, event: Event) {
        let mut drive = self.0.lock();
        apply(&mut drive.bytes, &event, &mut |_| true);
        drive.events.push(event);
    }

    fn of(bytes: Vec<u8>) -> Traced {
        Traced(Arc::new(Mutex::new(Drive { bytes, events: Vec::new() })))
    }

    fn open(&self) -> Database {
        settings(CACHE_BYTES).create_with_backend(self.clone()).unwrap()
    }
}

/// Does what an event did to the file; of a write only the sectors that are `kept`.
fn apply(bytes: &mut Vec<u8>, event: &Event, kept: &mut dyn FnMut(usize) -> bool) {
    match event {
        Event::Length(length) if kept(0) => bytes.resize(*length, 0),
        Event::Write(offset, data) => {
            for (sector, piece) in data.chunks(SECTOR).enumerate().filter(|(sector, _)| kept(*sector)) {
                let at = offset + sector * SECTOR;
                bytes.resize(bytes.len().max(at + piece.len()), 0);
                bytes[at..at + piece.len()].copy_from_slice(piece);
            }
        }
        _ => {}
    }
}

fn held(db: &Database) -> Held {
    let (seen, mut held) = (db.begin_read().unwrap(), Held::new());
    for tree in Tree::ALL {
        let mut each = |key: &[u8], value: &[u8]| drop(held.insert((tree, key.to_vec()), value.to_vec()));
        table::walk(&seen, tree.name(), &mut each).unwrap();
    }
    held
}

/// Numbers that look random, the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Changes of every kind, with the file closed and opened now and then: the file it began with, and its events.
fn trace() -> (Vec<u8>, Vec<Event>) {
    let (drive, mut dice) = (Traced::default(), Dice(1));
    {
        let db = drive.open();
        table::make(&db).unwrap();
    }
    // A new file gets its name when it is complete and synced.
    drive.0.lock().events.clear();
    let (begin, mut expected) = (drive.0.lock().bytes.clone(), Held::new());
    let mut db = drive.open();
    for change in 0..CHANGES {
        let tree = Tree::ALL[dice.below(4) as usize];
        let key = format!("k{}", dice.below(6)).into_bytes();
        if dice.below(4) == 0 {
            let was = table::remove(&db, tree.name(), &key).unwrap();
            assert_eq!(was, expected.remove(&(tree, key)).is_some());
        } else {
            let value = vec![change as u8; dice.below(9000) as usize];
            table::put(&db, tree.name(), &key, &value).unwrap();
            expected.insert((tree, key), value);
        }
        drive.0.lock().events.push(Event::Acknowledged(expected.clone()));
        if dice.below(10) == 0 {
            drop(db);
            db = drive.open();
        }
    }
    assert_eq!(held(&db), expected);
    drop(db);
    let events = drive.0.lock().events.clone();
    (begin, events)
}

#[test]
fn what_was_acknowledged_outlives_a_loss_of_power() {
    let (mut durable, events) = trace();
    let acknowledged = |events: &[Event]| {
        let told = events.iter().filter_map(|event| match event {
            Event::Acknowledged(held) => Some(held.clone()),
            _ => None,
        });
        told.collect::<Vec<_>>()
    };
    let all = acknowledged(&events);
    let (mut synced, mut opened, mut with_the_change_under_way) = (0, 0, 0);
    for at in 0..=events.len() {
        for loss in 0..LOSSES {
            let (mut image, mut dice) = (durable.clone(), Dice(at as u64 * LOSSES + loss));
            for event in &events[synced..at] {
                apply(&mut image, event, &mut |_| loss == 1 || loss > 1 && dice.below(2) == 0);
            }
            let told = acknowledged(&events[..at]).len();
            let before = told.checked_sub(1).map_or_else(Held::new, |last| all[last].clone());
            let found = held(&Traced::of(image).open());
            let is_after = all.get(told) == Some(&found) && found != before;
            assert!(found == before || is_after, "event {at}, loss {loss}: {told} changes were acknowledged");
            with_the_change_under_way += usize::from(is_after);
            opened += 1;
        }
        if let Some(Event::Sync) = events.get(at) {
            for event in &events[synced..at] {
                apply(&mut durable, event, &mut |_| true);
            }
            synced = at;
        }
    }
    assert!(opened > 1000 && with_the_change_under_way > 10, "{opened}, {with_the_change_under_way}");
}
