//! What a database's collections share: its directory, its disk, its catalog, its lock, and its threads.

use std::path::PathBuf;
use std::sync::Arc;

use crate::backend::Backend;
use crate::catalog::Catalog;
use crate::error::StorageError;
use crate::lock::Lock;

use super::background::Background;
use super::identity::DatabaseId;
use super::options::StoreOptions;
use super::reserve::Reserve;

/// Held by the store and by every collection; the lock goes with the last of them.
#[derive(Debug)]
pub(crate) struct Root {
    pub(crate) dir: PathBuf,
    /// Which database it is.
    pub(crate) database: DatabaseId,
    pub(crate) options: StoreOptions,
    pub(crate) backend: Arc<dyn Backend>,
    // Dropped before the lock, so that who takes the lock finds redb's file closed.
    catalog: Option<Catalog>,
    pub(crate) reserve: Reserve,
    pub(crate) background: Background,
    _lock: Option<Lock>,
}

impl Root {
    /// `held`: the catalog and the lock of a writer; none for who only reads.
    pub(crate) fn new(
        dir: PathBuf,
        options: StoreOptions,
        database: DatabaseId,
        held: Option<(Catalog, Lock)>,
    ) -> Root {
        let backend = options.backend.clone();
        let reserve = Reserve::new(dir.clone(), options.reserve_bytes);
        let (catalog, lock) = held.unzip();
        let background = Background::default();
        Root { dir, database, options, backend, catalog, reserve, background, _lock: lock }
    }

    /// Whether the database is another process's to write.
    pub(crate) fn is_read_only(&self) -> bool {
        self.catalog.is_none()
    }

    /// The catalog.
    ///
    /// # Errors
    /// [`StorageError::ReadOnly`]: it is the writer's alone.
    pub(crate) fn catalog(&self) -> Result<&Catalog, StorageError> {
        self.catalog.as_ref().ok_or_else(|| self.read_only())
    }

    /// What every write is told when the database is open for reading only.
    pub(crate) fn read_only(&self) -> StorageError {
        StorageError::ReadOnly { path: self.dir.clone() }
    }

    pub(crate) fn collections_dir(&self) -> PathBuf {
        self.dir.join("collections")
    }

    /// Goes on when the catalog could not be told what files say: it keeps a copy, and learns it at the next open.
    pub(crate) fn told<T>(&self, told: Result<T, StorageError>) {
        if let Err(error) = told {
            tracing::warn!(database = %self.dir.display(), %error, "the catalog is behind the files");
        }
    }
}
