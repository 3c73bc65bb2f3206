//! The real disk with less room, no second names, or an end after so many operations: for what two databases of one
//! disk do, which a simulated disk with its one catalog cannot tell.

#![allow(dead_code, unreachable_pub)]

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use fromagerie_storage::backend::{Backend, BackendFile, Disk, Entry, Lock, RecordStore};
use fromagerie_storage::{Mapping, StorageError};

/// What the disk still does. Clones share the count.
#[derive(Debug, Clone)]
pub struct Limited {
    /// Changing operations that succeed before every one fails.
    left: Arc<AtomicI64>,
    free_bytes: Option<u64>,
    links: bool,
}

impl Default for Limited {
    fn default() -> Limited {
        Limited { left: Arc::new(i64::MAX.into()), free_bytes: None, links: true }
    }
}

impl Limited {
    /// A disk with so much room, as it says, and without second names for files.
    pub fn small(free_bytes: u64) -> Limited {
        Limited { free_bytes: Some(free_bytes), links: false, ..Limited::default() }
    }

    /// From now on `operations` succeed, and then none.
    pub fn end_after(&self, operations: i64) {
        self.left.store(operations, Ordering::SeqCst);
    }

    fn pass(&self) -> io::Result<()> {
        match self.left.fetch_sub(1, Ordering::SeqCst) {
            ..=0 => Err(io::Error::other("the disk has ended")),
            _ => Ok(()),
        }
    }

    fn wrap(&self, file: Box<dyn BackendFile>) -> Box<dyn BackendFile> {
        Box::new(LimitedFile { disk: self.clone(), file })
    }
}

impl Backend for Limited {
    fn create(&self, path: &Path) -> io::Result<Box<dyn BackendFile>> {
        self.pass()?;
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
        self.pass()?;
        Disk.create_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass()?;
        Disk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.pass()?;
        Disk.remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.pass()?;
        Disk.remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.pass()?;
        Disk.sync_dir(dir)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass()?;
        if self.links { Disk.link(from, to) } else { Err(io::ErrorKind::Unsupported.into()) }
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.free_bytes.map_or_else(|| Disk.free_bytes(dir), Ok)
    }

    fn lock(&self, dir: &Path) -> Result<Lock, StorageError> {
        Disk.lock(dir)
    }

    fn record_store(&self, path: &Path) -> Option<Box<dyn RecordStore>> {
        Disk.record_store(path)
    }
}

#[derive(Debug)]
struct LimitedFile {
    disk: Limited,
    file: Box<dyn BackendFile>,
}

impl BackendFile for LimitedFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.disk.pass() {
            self.file.append(&bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.file.append(bytes)
    }

    fn rewrite(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.pass()?;
        self.file.rewrite(offset, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.pass()?;
        self.file.sync()
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.disk.pass()?;
        self.file.truncate(bytes)
    }
}
