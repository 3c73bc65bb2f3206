//! A disk in memory that knows what was synced, so that a test can take the power away at any operation.
//!
//! It records everything that is done to it ([`SimulatedDisk::trace`]); a [`Replay`] of that goes from event to event
//! and gives, at each, the disks that a loss of power may leave ([`Loss`]) and the one that the next process sees when
//! this one was killed. Operations also fail on command ([`Fault`]), and the disk can be full. `loss` is the model of
//! what may be lost, `platter` of what is safe. Everything repeats: chance comes from seeds.

mod dice;
mod faults;
mod file;
mod loss;
mod platter;
mod records;
mod trace;
mod tree;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

pub use faults::{Failure, Fault};
pub use loss::{CatalogLoss, Loss};
pub use trace::{Replay, Trace};

use super::{Backend, BackendFile, Entry};
use crate::catalog::RecordStore;
use crate::error::StorageError;
use crate::lock::Lock;
use crate::mmap::Mapping;

use faults::{Operation, Plan};
use file::SimulatedFile;
use platter::{Event, Platter};
use records::SimulatedRecords;
use tree::{Change, NodeId, Place};

/// A disk in memory. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct SimulatedDisk {
    machine: Arc<Mutex<Machine>>,
}

/// The disk and the computer that it is in.
#[derive(Debug, Default)]
struct Machine {
    platter: Platter,
    /// The catalog as it is now.
    records: platter::Records,
    start: Platter,
    events: Vec<Event>,
    plan: Plan,
    capacity: Option<u64>,
    /// Directories whose lock is held.
    locked: BTreeSet<PathBuf>,
}

impl Machine {
    fn record(&mut self, event: Event) {
        self.platter.step(&event);
        self.events.push(event);
    }

    fn change(&mut self, change: Change) {
        self.record(Event::Change(change));
    }

    /// Counts an operation, and fails it when it is due.
    fn pass(&mut self, operation: Operation) -> io::Result<()> {
        self.plan.pass(operation).map_err(|(_, error)| error)
    }

    /// Bytes that still fit.
    fn room(&self) -> u64 {
        self.capacity.map_or(1 << 40, |capacity| capacity.saturating_sub(self.platter.live.bytes()))
    }

    fn make(&mut self, place: Place, make: fn(NodeId) -> Event) -> NodeId {
        let node = self.platter.next();
        self.record(make(node));
        self.change(Change::Link { place, node });
        node
    }

    fn remove_below(&mut self, dir: NodeId) -> io::Result<()> {
        let names = self.platter.live.names(dir)?.clone();
        for (name, node) in names {
            if self.platter.live.is_dir(node) {
                self.remove_below(node)?;
            }
            self.pass(Operation::Other)?;
            self.change(Change::Unlink { place: (dir, name), node });
        }
        Ok(())
    }
}

impl SimulatedDisk {
    fn on(platter: Platter) -> SimulatedDisk {
        let records = platter.catalog_after(platter.catalog_changes.len());
        let machine = Machine { start: platter.clone(), platter, records, ..Machine::default() };
        SimulatedDisk { machine: Arc::new(Mutex::new(machine)) }
    }

    /// Sets what goes wrong from now on, and counts operations from 0 again.
    pub fn set(&self, fault: Fault) {
        let mut machine = self.machine.lock();
        machine.plan.fault = fault;
        machine.plan.count = 0;
    }

    /// Operations since the last [`SimulatedDisk::set`] that its fault could have hit; all when it was [`Fault::None`].
    pub fn count(&self) -> u64 {
        self.machine.lock().plan.count
    }

    /// Syncs of files that succeeded, ever.
    pub fn file_syncs(&self) -> u64 {
        self.machine.lock().plan.file_syncs
    }

    /// Makes every sync of a file take this long.
    pub fn set_sync_time(&self, sync_time: Duration) {
        self.machine.lock().plan.sync_time = sync_time;
    }

    /// Bytes that all files together may have; none for no limit.
    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.machine.lock().capacity = capacity;
    }

    /// Bytes that all files together have.
    pub fn used(&self) -> u64 {
        self.machine.lock().platter.live.bytes()
    }

    /// Notes in the trace that somebody was told that all before this is done.
    pub fn mark(&self) {
        self.machine.lock().record(Event::Mark);
    }

    /// Everything that happened so far.
    pub fn trace(&self) -> Trace {
        let machine = self.machine.lock();
        Trace { start: machine.start.clone(), events: machine.events.clone() }
    }

    /// The disk as it is found when the power goes now.
    pub fn power_lost(&self, loss: Loss, catalog: CatalogLoss) -> SimulatedDisk {
        SimulatedDisk::on(loss::lose_power(&self.machine.lock().platter, loss, catalog))
    }

    /// The disk as the next process finds it when this one is killed now.
    pub fn killed(&self) -> SimulatedDisk {
        SimulatedDisk::on(self.machine.lock().platter.clone())
    }

    /// A number for what is seen on the disk: equal disks have equal ones.
    pub fn fingerprint(&self) -> u64 {
        trace::fingerprint(&self.machine.lock().platter)
    }

    /// Every path with its length, in order; none for directories. For whoever looks at a disk that was found wrong.
    pub fn files(&self) -> Vec<(String, Option<usize>)> {
        let mut files = Vec::new();
        let each = &mut |path: &str, content: Option<&[u8]>| files.push((path.to_owned(), content.map(<[u8]>::len)));
        self.machine.lock().platter.live.walk(tree::ROOT, "", each);
        files
    }

    fn open_file(&self, file: NodeId) -> Box<dyn BackendFile> {
        Box::new(SimulatedFile { disk: self.clone(), file })
    }
}

impl Backend for SimulatedDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn BackendFile>> {
        let mut machine = self.machine.lock();
        machine.pass(Operation::Other)?;
        let file = match machine.platter.live.find(path) {
            Ok(file) => {
                machine.platter.live.content(file)?;
                machine.change(Change::Resize { file, bytes: 0 });
                file
            }
            Err(_) => {
                let place = machine.platter.live.place(path)?;
                machine.make(place, Event::MakeFile)
            }
        };
        Ok(self.open_file(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn BackendFile>> {
        let mut machine = self.machine.lock();
        machine.pass(Operation::Read)?;
        let file = machine.platter.live.find(path)?;
        machine.platter.live.content(file)?;
        Ok(self.open_file(file))
    }

    fn map(&self, path: &Path) -> io::Result<Mapping> {
        let mut machine = self.machine.lock();
        machine.pass(Operation::Read)?;
        let file = machine.platter.live.find(path)?;
        Ok(Mapping::of_bytes(machine.platter.live.content(file)?))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut machine = self.machine.lock();
        machine.pass(Operation::Read)?;
        let live = &machine.platter.live;
        let entry = |(name, &node): (&String, &NodeId)| Entry { name: name.clone(), is_dir: live.is_dir(node) };
        Ok(live.names(live.find(dir)?)?.iter().map(entry).collect())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut machine = self.machine.lock();
        machine.pass(Operation::Other)?;
        let parents: Vec<&Path> = dir.ancestors().filter(|path| path.file_name().is_some()).collect();
        for path in parents.into_iter().rev() {
            if machine.platter.live.find(path).is_err() {
                let place = machine.platter.live.place(path)?;
                machine.make(place, Event::MakeDir);
                machine.forget_records(path);
            }
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut machine = self.machine.lock();
        machine.pass(Operation::Other)?;
        let live = &machine.platter.live;
        let (node, from, to) = (live.find(from)?, live.place(from)?, live.place(to)?);
        machine.change(Change::Rename { from, to, node });
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut machine = self.machine.lock();
        machine.pass(Operation::Other)?;
        let live = &machine.platter.live;
        let (node, place) = (live.find(path)?, live.place(path)?);
        live.content(node)?;
        machine.change(Change::Unlink { place, node });
        Ok(())
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let mut machine = self.machine.lock();
        let node = machine.platter.live.find(dir)?;
        machine.remove_below(node)?;
        machine.pass(Operation::Other)?;
        let place = machine.platter.live.place(dir)?;
        machine.change(Change::Unlink { place, node });
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut machine = self.machine.lock();
        machine.pass(Operation::DirSync)?;
        let node = machine.platter.live.find(dir)?;
        machine.record(Event::SyncDir(node));
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut machine = self.machine.lock();
        machine.pass(Operation::Other)?;
        let live = &machine.platter.live;
        let (node, place) = (live.find(from)?, live.place(to)?);
        live.content(node)?;
        if live.find(to).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        machine.change(Change::Link { place, node });
        Ok(())
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        Ok(self.machine.lock().room())
    }

    fn lock(&self, dir: &Path) -> Result<Lock, StorageError> {
        let fresh = self.machine.lock().locked.insert(dir.to_path_buf());
        if !fresh {
            let holder = "this process, on a simulated disk".to_owned();
            return Err(StorageError::Locked { path: dir.to_path_buf(), holder });
        }
        Ok(Lock::holding(Held { disk: self.clone(), dir: dir.to_path_buf() }))
    }

    fn record_store(&self, path: &Path) -> Option<Box<dyn RecordStore>> {
        Some(Box::new(SimulatedRecords { disk: self.clone(), catalog: path.to_path_buf() }))
    }
}

/// A held lock.
#[derive(Debug)]
struct Held {
    disk: SimulatedDisk,
    dir: PathBuf,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.disk.machine.lock().locked.remove(&self.dir);
    }
}

#[cfg(test)]
mod tests;
