//! The catalog's records in a file of `redb`'s.
//!
//! Opening verifies the checksum of every page. What is damaged after that may make `redb` panic: every call is fenced. After
//! an I/O error (a full disk) it refuses everything: it is closed, and opened again when it is asked next.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parking_lot::{MappedRwLockReadGuard, RwLock, RwLockReadGuard};
use redb::backends::InMemoryBackend;
use redb::{Builder, Database, Error, ReadableDatabase, StorageBackend};

use crate::backend::TEMPORARY;
use crate::error::StorageError;

use super::table;
use super::{Each, EachOf, OpenError, RecordStore, Tree};

/// Records in a file of `redb`'s.
#[derive(Debug)]
pub(super) struct OnDisk {
    path: PathBuf,
    cache_bytes: u64,
    /// None after an I/O error, and while the disk is too full to open it.
    db: RwLock<Option<Database>>,
}

impl OnDisk {
    /// Opens the file at `path`, making it when there is none. `cache_bytes`: heap for its pages.
    pub(super) fn open(path: &Path, cache_bytes: u64) -> Result<OnDisk, OpenError> {
        let db = match open(path, cache_bytes) {
            // Not even room to open: the files are read without it, and it is tried again when it is asked.
            Err(OpenError::Unavailable(StorageError::DiskFull { .. })) => None,
            opened => Some(opened?),
        };
        Ok(OnDisk { path: path.to_path_buf(), cache_bytes, db: RwLock::new(db) })
    }

    fn db(&self) -> io::Result<MappedRwLockReadGuard<'_, Database>> {
        loop {
            if let Ok(db) = RwLockReadGuard::try_map(self.db.read(), Option::as_ref) {
                return Ok(db);
            }
            let mut db = self.db.write();
            if db.is_none() {
                *db = Some(open(&self.path, self.cache_bytes).map_err(|error| match error {
                    OpenError::Damaged { cause } => io::Error::other(cause),
                    OpenError::Unavailable(StorageError::DiskFull { .. }) => io::ErrorKind::StorageFull.into(),
                    OpenError::Unavailable(error) => io::Error::other(error.to_string()),
                })?);
            }
        }
    }

    fn fenced<T>(&self, work: impl FnOnce(&Database) -> Result<T, Error>) -> io::Result<T> {
        let done = {
            let db = self.db()?;
            fenced(|| work(&db))
        };
        match done {
            Ok(value) => Ok(value),
            Err(Error::Io(error)) => {
                self.close();
                Err(error)
            }
            Err(error) => {
                if matches!(error, Error::PreviousIo) {
                    self.close();
                }
                Err(io::Error::other(error.to_string()))
            }
        }
    }

    /// Until it is asked next.
    fn close(&self) {
        let db = self.db.write().take();
        // Errors mean that it is mended when it is opened again.
        let _ = fenced(|| {
            drop(db);
            Ok(())
        });
    }
}

impl RecordStore for OnDisk {
    fn get(&self, tree: &'static str, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.fenced(|db| table::get(&db.begin_read()?, tree, key))
    }

    fn put(&self, tree: &'static str, key: &[u8], value: Vec<u8>) -> io::Result<()> {
        self.fenced(|db| table::put(db, tree, key, &value))
    }

    fn remove(&self, tree: &'static str, key: &[u8]) -> io::Result<bool> {
        self.fenced(|db| table::remove(db, tree, key))
    }

    fn walk(&self, tree: &'static str, each: Each<'_>) -> io::Result<()> {
        self.fenced(|db| table::walk(&db.begin_read()?, tree, each))
    }
}

impl Drop for OnDisk {
    fn drop(&mut self) {
        self.close();
    }
}

/// What can still be read of a damaged file, which stays as it lies.
pub(super) fn read_damaged(path: &Path, cache_bytes: u64, trees: &[Tree], each: EachOf<'_>) {
    let read = fenced(|| {
        let copy = InMemoryBackend::new();
        let bytes = fs::read(path)?;
        copy.set_len(bytes.len() as u64)?;
        copy.write(0, &bytes)?;
        let db = settings(cache_bytes).set_check_integrity_on_open(false).create_with_backend(copy)?;
        for &tree in trees {
            let walk = || table::walk(&db.begin_read()?, tree.name(), &mut |key, value| each(tree, key, value));
            if let Err(error) = fenced(walk) {
                tracing::warn!(%error, tree = tree.name(), "not every record could be read");
            }
        }
        Ok(())
    });
    if let Err(error) = read {
        tracing::warn!(%error, "not every record could be read");
    }
}

pub(super) fn settings(cache_bytes: u64) -> Builder {
    let mut settings = Builder::new();
    settings.set_cache_size(usize::try_from(cache_bytes).unwrap_or(usize::MAX));
    settings.set_check_integrity_on_open(true);
    settings
}

fn open(path: &Path, cache_bytes: u64) -> Result<Database, OpenError> {
    let settings = settings(cache_bytes);
    let opened = fenced(|| {
        if !path.try_exists()? {
            make(path, &settings)?;
        }
        Ok(settings.open(path)?)
    });
    opened.map_err(|error| match error {
        Error::Io(error) if is_outside(&error) => {
            OpenError::Unavailable(StorageError::io(path, "open the catalog in", error))
        }
        Error::DatabaseAlreadyOpen => {
            OpenError::Unavailable(StorageError::Catalog { path: path.to_path_buf(), message: error.to_string() })
        }
        error => OpenError::Damaged { cause: error.to_string() },
    })
}

/// Makes an empty catalog, all of it or nothing.
fn make(path: &Path, settings: &Builder) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(TEMPORARY);
    // What a process that died left of one.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let db = settings.create(&temporary)?;
    table::make(&db)?;
    db.close()?;
    fs::rename(&temporary, path)?;
    Ok(File::open(folder)?.sync_all()?)
}

fn fenced<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(Error::Corrupted("redb panicked".to_owned())))
}

/// Whether an I/O error says nothing about the bytes on disk.
fn is_outside(error: &io::Error) -> bool {
    use io::ErrorKind;
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
    kinds.contains(&error.kind()) || error.raw_os_error().is_some_and(|code| OPEN_FILES.contains(&code))
}
