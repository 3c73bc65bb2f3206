//! The catalog of a simulated disk: records in memory, safe when they were put.
//!
//! In production `sled` keeps the catalog in files of its own, past the seam. What is simulated here is therefore not
//! sled, but what the store may expect of it: after a crash its records are those that were flushed, or older ones when
//! sled did not keep its word, or none.

use std::io;

use super::SimulatedDisk;
use super::faults::Operation;
use super::platter::{CatalogChange, Event};
use crate::catalog::RecordStore;

impl RecordStore for SimulatedDisk {
    fn get(&self, tree: &'static str, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let mut machine = self.machine.lock();
        machine.plan.pass(Operation::Read).map_err(|(_, error)| error)?;
        Ok(machine.records.get(&(tree, key.to_vec())).cloned())
    }

    fn put(&self, tree: &'static str, key: &[u8], value: Vec<u8>) -> io::Result<()> {
        self.change(CatalogChange { tree, key: key.to_vec(), value: Some(value) })
    }

    fn remove(&self, tree: &'static str, key: &[u8]) -> io::Result<bool> {
        let was = self.machine.lock().records.contains_key(&(tree, key.to_vec()));
        self.change(CatalogChange { tree, key: key.to_vec(), value: None })?;
        Ok(was)
    }

    fn walk(&self, tree: &'static str, each: &mut dyn FnMut(&[u8], &[u8])) -> io::Result<()> {
        let mut machine = self.machine.lock();
        machine.plan.pass(Operation::Read).map_err(|(_, error)| error)?;
        for ((_, key), value) in machine.records.range((tree, Vec::new())..).take_while(|((of, _), _)| *of == tree) {
            each(key, value);
        }
        Ok(())
    }
}

impl SimulatedDisk {
    fn change(&self, change: CatalogChange) -> io::Result<()> {
        let mut machine = self.machine.lock();
        machine.plan.pass(Operation::Other).map_err(|(_, error)| error)?;
        let key = (change.tree, change.key.clone());
        match &change.value {
            Some(value) => drop(machine.records.insert(key, value.clone())),
            None => drop(machine.records.remove(&key)),
        }
        machine.record(Event::Catalog(change));
        Ok(())
    }
}
