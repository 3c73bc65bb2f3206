//! An open file of a simulated disk.

use std::io;

use super::SimulatedDisk;
use super::faults::Operation;
use super::platter::Event;
use super::tree::{Change, NodeId};
use crate::backend::BackendFile;

/// A file that is appended to.
#[derive(Debug)]
pub(super) struct SimulatedFile {
    pub(super) disk: SimulatedDisk,
    pub(super) file: NodeId,
}

impl SimulatedFile {
    fn write(&mut self, offset: Option<u64>, bytes: &[u8]) -> io::Result<()> {
        let mut machine = self.disk.machine.lock();
        let length = machine.platter.live.content(self.file)?.len() as u64;
        let offset = offset.unwrap_or(length);
        let (mut kept, mut result) = (bytes.len(), Ok(()));
        if let Err((failure, error)) = machine.plan.pass(Operation::Append) {
            kept = if failure.leaves_half() { bytes.len() / 2 } else { 0 };
            result = Err(error);
        }
        let grows = (offset + kept as u64).saturating_sub(length);
        let room = machine.room();
        if grows > room {
            kept -= (grows - room) as usize;
            result = Err(io::ErrorKind::StorageFull.into());
        }
        if kept > 0 {
            machine.record(Event::Change(Change::Write { file: self.file, offset, bytes: bytes[..kept].into() }));
        }
        result
    }
}

impl BackendFile for SimulatedFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(None, bytes)
    }

    fn rewrite(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write(Some(offset), bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        let sync_time = self.disk.machine.lock().plan.sync_time;
        std::thread::sleep(sync_time);
        let mut machine = self.disk.machine.lock();
        match machine.plan.pass(Operation::FileSync) {
            Ok(()) => {
                machine.record(Event::SyncFile(self.file));
                Ok(())
            }
            Err((_, error)) => {
                machine.record(Event::SyncFileFailed(self.file));
                Err(error)
            }
        }
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        let mut machine = self.disk.machine.lock();
        machine.plan.pass(Operation::Other).map_err(|(_, error)| error)?;
        machine.record(Event::Change(Change::Resize { file: self.file, bytes }));
        Ok(())
    }
}
