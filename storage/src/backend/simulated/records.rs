//! The catalog of a simulated disk: records in memory, safe when they were put.
//!
//! In production `redb` keeps the catalog in its own file, past the seam. What is simulated here is therefore not redb, whose
//! file has crash tests of its own, but what the store may expect of it: after a crash its records are those that were
//! committed, or older ones when a backup brought them back, or none.

use std::io;
use std::path::{Path, PathBuf};

use super::faults::Operation;
use super::platter::{CatalogChange, Event, RecordKey};
use super::{Machine, SimulatedDisk};
use crate::catalog::RecordStore;

/// The records of one catalog. They stay where they were put when a directory above gets another name.
#[derive(Debug)]
pub(super) struct SimulatedRecords {
    pub(super) disk: SimulatedDisk,
    pub(super) catalog: PathBuf,
}

impl RecordStore for SimulatedRecords {
    fn get(&self, tree: &'static str, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let mut machine = self.disk.machine.lock();
        machine.pass(Operation::Read)?;
        Ok(machine.records.get(&self.key(tree, key)).cloned())
    }

    fn put(&self, tree: &'static str, key: &[u8], value: Vec<u8>) -> io::Result<()> {
        self.change(CatalogChange { key: self.key(tree, key), value: Some(value) })
    }

    fn remove(&self, tree: &'static str, key: &[u8]) -> io::Result<bool> {
        let key = self.key(tree, key);
        let was = self.disk.machine.lock().records.contains_key(&key);
        self.change(CatalogChange { key, value: None })?;
        Ok(was)
    }

    fn walk(&self, tree: &'static str, each: &mut dyn FnMut(&[u8], &[u8])) -> io::Result<()> {
        let mut machine = self.disk.machine.lock();
        machine.pass(Operation::Read)?;
        let is_ours = |(catalog, of, _): &RecordKey| *catalog == self.catalog && *of == tree;
        for (key, value) in machine.records.range(self.key(tree, &[])..).take_while(|(key, _)| is_ours(key)) {
            each(&key.2, value);
        }
        Ok(())
    }
}

impl Machine {
    /// A directory that was just made has no catalog in it, whatever was there under its name before.
    pub(super) fn forget_records(&mut self, dir: &Path) {
        let inside: Vec<RecordKey> =
            self.records.keys().filter(|(catalog, ..)| catalog.starts_with(dir)).cloned().collect();
        for key in inside {
            self.records.remove(&key);
            self.record(Event::Catalog(CatalogChange { key, value: None }));
        }
    }
}

impl SimulatedRecords {
    fn key(&self, tree: &'static str, key: &[u8]) -> RecordKey {
        (self.catalog.clone(), tree, key.to_vec())
    }

    fn change(&self, change: CatalogChange) -> io::Result<()> {
        let mut machine = self.disk.machine.lock();
        machine.pass(Operation::Other)?;
        match &change.value {
            Some(value) => drop(machine.records.insert(change.key.clone(), value.clone())),
            None => drop(machine.records.remove(&change.key)),
        }
        machine.record(Event::Catalog(change));
        Ok(())
    }
}
