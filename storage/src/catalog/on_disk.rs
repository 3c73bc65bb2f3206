//! The catalog's records in `sled`, which is named nowhere else.
//!
//! `sled` may panic on a damaged tree: every call is fenced. After an I/O error (a full disk) it refuses everything: it is
//! closed, and opened again when it is asked next.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::StorageError;

use super::{OpenError, RecordStore};

/// Tries to open, 20 ms apart: an earlier handle of this process may still be letting go of sled's own lock.
const OPEN_TRIES: u32 = 100;

/// Records in a directory of `sled`'s.
#[derive(Debug)]
pub(super) struct OnDisk {
    path: PathBuf,
    cache_bytes: u64,
    /// None after an I/O error, and while the disk is too full to open it.
    db: Mutex<Option<sled::Db>>,
}

impl OnDisk {
    /// `cache_bytes`: heap for sled's pages.
    pub(super) fn open(path: &Path, cache_bytes: u64) -> Result<OnDisk, OpenError> {
        let db = match open_sled(path, cache_bytes) {
            // Not even room to open: the files are read without it, and it is tried again when it is asked.
            Err(OpenError::Unavailable(StorageError::DiskFull { .. })) => None,
            opened => Some(opened?),
        };
        Ok(OnDisk { path: path.to_path_buf(), cache_bytes, db: Mutex::new(db) })
    }

    fn fenced<T>(&self, work: impl FnOnce(&sled::Db) -> sled::Result<T>) -> io::Result<T> {
        let db = self.db()?;
        match catch_unwind(AssertUnwindSafe(|| work(&db))) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(sled::Error::Io(error))) => {
                self.db.lock().take();
                Err(error)
            }
            Ok(Err(error)) => Err(io::Error::other(error.to_string())),
            Err(_) => Err(io::Error::other("sled panicked: its tree is damaged")),
        }
    }

    fn db(&self) -> io::Result<sled::Db> {
        let mut db = self.db.lock();
        if let Some(db) = &*db {
            return Ok(db.clone());
        }
        let opened = open_sled(&self.path, self.cache_bytes).map_err(|error| match error {
            OpenError::Damaged { cause, .. } => io::Error::other(cause),
            OpenError::Unavailable(StorageError::DiskFull { .. }) => io::ErrorKind::StorageFull.into(),
            OpenError::Unavailable(error) => io::Error::other(error.to_string()),
        })?;
        Ok(db.insert(opened).clone())
    }
}

impl RecordStore for OnDisk {
    fn get(&self, tree: &'static str, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.fenced(|db| Ok(db.open_tree(tree)?.get(key)?.map(|value| value.to_vec())))
    }

    fn put(&self, tree: &'static str, key: &[u8], value: Vec<u8>) -> io::Result<()> {
        self.fenced(|db| {
            db.open_tree(tree)?.insert(key, value)?;
            db.flush().map(|_| ())
        })
    }

    fn remove(&self, tree: &'static str, key: &[u8]) -> io::Result<bool> {
        self.fenced(|db| {
            let was = db.open_tree(tree)?.remove(key)?;
            db.flush()?;
            Ok(was.is_some())
        })
    }

    fn walk(&self, tree: &'static str, each: &mut dyn FnMut(&[u8], &[u8])) -> io::Result<()> {
        self.fenced(|db| {
            for pair in &db.open_tree(tree)? {
                let (key, value) = pair?;
                each(&key, &value);
            }
            Ok(())
        })
    }
}

fn open_sled(path: &Path, cache_bytes: u64) -> Result<sled::Db, OpenError> {
    let config =
        sled::Config::new().path(path).cache_capacity(cache_bytes).mode(sled::Mode::LowSpace).flush_every_ms(None);
    let damaged = |cause: String| OpenError::Damaged { cause, salvage: Vec::new() };
    let mut tries = 0;
    loop {
        tries += 1;
        match catch_unwind(AssertUnwindSafe(|| config.open())) {
            Err(_) => return Err(damaged("sled panicked when opening it".to_owned())),
            Ok(Ok(db)) => return Ok(db),
            Ok(Err(error)) if is_busy(&error) && tries < OPEN_TRIES => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(Err(sled::Error::Io(error))) if is_outside(&error) => {
                return Err(OpenError::Unavailable(StorageError::io(path, "open the catalog in", error)));
            }
            Ok(Err(error)) => return Err(damaged(error.to_string())),
        }
    }
}

/// Whether sled's own lock is held: our database lock is, so it can only be an earlier handle of this process.
fn is_busy(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(io) if io.to_string().contains("could not acquire lock"))
}

/// Whether an I/O error says nothing about the bytes on disk.
fn is_outside(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    /// Too many open files, in the system or in this process.
    const OPEN_FILES: [i32; 2] = [23, 24];
    let kinds = [
        ErrorKind::PermissionDenied,
        ErrorKind::ReadOnlyFilesystem,
        ErrorKind::StorageFull,
        ErrorKind::QuotaExceeded,
        ErrorKind::OutOfMemory,
        ErrorKind::WouldBlock,
    ];
    kinds.contains(&error.kind())
        || error.raw_os_error().is_some_and(|code| OPEN_FILES.contains(&code))
        || error.to_string().contains("could not acquire lock")
}
