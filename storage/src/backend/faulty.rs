//! A disk that fails on command, so that tests can stand at every point where a real one might.
//!
//! Operations that change something are counted from 1; the chosen one fails, and with [`Fault::Crash`] every later
//! one too, as if the process were gone. Syncs are counted and can fail, but are not asked of the disk: they are slow,
//! and what they change shows only when the power goes. An append that fails leaves half of its bytes behind, as a full disk does.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::{Backend, BackendFile, Disk, Entry};
use crate::mmap::Mapping;

/// What goes wrong, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing; operations are only counted.
    None,
    /// The n-th changing operation from now fails; later ones succeed.
    Once(u64),
    /// The n-th changing operation from now and all after it fail.
    Crash(u64),
    /// Every sync of a file fails.
    FileSync,
    /// Every sync of a directory fails.
    DirSync,
    /// Every append fails with "no space left".
    Full,
}

#[derive(Debug)]
struct Plan {
    fault: Fault,
    count: u64,
    file_syncs: u64,
    sync_time: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Append,
    FileSync,
    DirSync,
    Other,
}

/// The real disk behind a [`Fault`] that can be changed at any time. Clones share it.
#[derive(Debug, Clone)]
pub struct FaultyDisk {
    plan: Arc<Mutex<Plan>>,
}

impl Default for FaultyDisk {
    fn default() -> FaultyDisk {
        FaultyDisk {
            plan: Arc::new(Mutex::new(Plan { fault: Fault::None, count: 0, file_syncs: 0, sync_time: Duration::ZERO })),
        }
    }
}

impl FaultyDisk {
    /// Sets what goes wrong from now on, and counts operations from 0 again.
    pub fn set(&self, fault: Fault) {
        let mut plan = self.plan.lock();
        plan.fault = fault;
        plan.count = 0;
    }

    /// Changing operations since the last [`FaultyDisk::set`].
    pub fn count(&self) -> u64 {
        self.plan.lock().count
    }

    /// Syncs of files that succeeded, ever.
    pub fn file_syncs(&self) -> u64 {
        self.plan.lock().file_syncs
    }

    /// Makes every sync of a file take this long.
    pub fn set_sync_time(&self, sync_time: Duration) {
        self.plan.lock().sync_time = sync_time;
    }

    fn pass(&self, kind: Kind) -> io::Result<()> {
        let mut plan = self.plan.lock();
        plan.count += 1;
        let fails = match plan.fault {
            Fault::None => false,
            Fault::Once(n) => plan.count == n,
            Fault::Crash(n) => plan.count >= n,
            Fault::FileSync => kind == Kind::FileSync,
            Fault::DirSync => kind == Kind::DirSync,
            Fault::Full if kind == Kind::Append => return Err(io::ErrorKind::StorageFull.into()),
            Fault::Full => false,
        };
        if fails {
            return Err(io::Error::other("injected fault"));
        }
        plan.file_syncs += u64::from(kind == Kind::FileSync);
        Ok(())
    }

    fn wrap(&self, file: Box<dyn BackendFile>) -> Box<dyn BackendFile> {
        Box::new(FaultyFile { disk: self.clone(), file })
    }
}

impl Backend for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn BackendFile>> {
        self.pass(Kind::Other)?;
        Ok(self.wrap(Disk.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn BackendFile>> {
        Ok(self.wrap(Disk.open(path)?))
    }

    fn map(&self, path: &Path) -> io::Result<Mapping> {
        Disk.map(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        Disk.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.pass(Kind::Other)?;
        Disk.create_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass(Kind::Other)?;
        Disk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.pass(Kind::Other)?;
        Disk.remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.pass(Kind::Other)?;
        Disk.remove_dir(dir)
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        self.pass(Kind::DirSync)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass(Kind::Other)?;
        Disk.link(from, to)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        Disk.free_bytes(dir)
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: FaultyDisk,
    file: Box<dyn BackendFile>,
}

impl BackendFile for FaultyFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.disk.pass(Kind::Append) {
            Ok(()) => self.file.append(bytes),
            Err(error) => {
                self.file.append(&bytes[..bytes.len() / 2])?;
                Err(error)
            }
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        let sync_time = self.disk.plan.lock().sync_time;
        std::thread::sleep(sync_time);
        self.disk.pass(Kind::FileSync)
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.disk.pass(Kind::Other)?;
        self.file.truncate(bytes)
    }
}
