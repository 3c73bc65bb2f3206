//! What a database's collections share: its directory, its disk, its catalog, its lock, and who seals.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use parking_lot::Mutex;

use crate::backend::Backend;
use crate::catalog::Catalog;
use crate::error::StorageError;
use crate::lock::Lock;

use super::identity::DatabaseId;
use super::options::StoreOptions;
use super::reserve::Reserve;

/// What can be sealed in the background: a collection.
pub(crate) trait Seal: Send + Sync {
    /// Seals what is in memory, if that is still due.
    fn seal_in_turn(&self);
}

/// Held by the store and by every collection; the lock goes with the last of them.
#[derive(Debug)]
pub(crate) struct Root {
    pub(crate) dir: PathBuf,
    /// Which database it is.
    pub(crate) database: DatabaseId,
    pub(crate) options: StoreOptions,
    pub(crate) backend: Arc<dyn Backend>,
    // Dropped before the lock, so that who takes the lock finds sled closed.
    catalog: Option<Catalog>,
    pub(crate) reserve: Reserve,
    seals: Mutex<Option<Sender<Weak<dyn Seal>>>>,
    closing: AtomicBool,
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
        let (seals, closing) = (Mutex::default(), false.into());
        Root { dir, database, options, backend, catalog, reserve, seals, closing, _lock: lock }
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

    /// Has the background thread seal a collection; false when there is none.
    pub(crate) fn request_seal(&self, collection: Weak<dyn Seal>) -> bool {
        self.seals.lock().as_ref().is_some_and(|seals| seals.send(collection).is_ok())
    }

    /// Starts the thread that seals in the background.
    pub(crate) fn start_sealer(self: &Arc<Root>) -> std::io::Result<JoinHandle<()>> {
        let (sender, receiver) = channel();
        let root = Arc::downgrade(self);
        let thread =
            std::thread::Builder::new().name("fromagerie-seal".into()).spawn(move || serve(receiver, &root))?;
        *self.seals.lock() = Some(sender);
        Ok(thread)
    }

    /// Lets the sealing thread end after what it is doing.
    pub(crate) fn stop_sealer(&self) {
        self.closing.store(true, Ordering::Release);
        self.seals.lock().take();
    }
}

fn serve(requests: Receiver<Weak<dyn Seal>>, root: &Weak<Root>) {
    for collection in requests {
        let closing = root.upgrade().is_none_or(|root| root.closing.load(Ordering::Acquire));
        if closing {
            return;
        }
        if let Some(collection) = collection.upgrade() {
            collection.seal_in_turn();
        }
    }
}
