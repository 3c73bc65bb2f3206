//! The catalog: the small and precious records, in `sled`, which is named nowhere else.
//!
//! It holds which collections there are and the generation each was last seen at, aliases, sessions and jobs. What
//! the files of a database know by themselves (collections, aliases) is rebuilt from them when the catalog is
//! damaged; the files win. Every value carries a version and a checksum over its tree, key and bytes, since a lost
//! or swapped value must not pass for a good one. `sled` may panic on a damaged tree: every call is fenced.

pub(crate) mod value;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bincode::{Decode, Encode};

use crate::error::StorageError;

/// Pages that sled keeps on the heap.
const CACHE_BYTES: u64 = 8 << 20;
/// Tries to open, 20 ms apart: an earlier handle of this process may still be letting go of sled's own lock.
const OPEN_TRIES: u32 = 100;

/// The trees of the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tree {
    /// Collection id (u64, big-endian) to [`CollectionRecord`].
    Collections,
    /// Alias to collection id.
    Aliases,
    /// Session id to bytes.
    Sessions,
    /// Job id to bytes.
    Jobs,
}

impl Tree {
    const ALL: [Tree; 4] = [Tree::Collections, Tree::Aliases, Tree::Sessions, Tree::Jobs];

    fn name(self) -> &'static str {
        match self {
            Tree::Collections => "collections",
            Tree::Aliases => "aliases",
            Tree::Sessions => "sessions",
            Tree::Jobs => "jobs",
        }
    }
}

/// What the catalog knows of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct CollectionRecord {
    pub(crate) name: String,
    /// The manifest that was published last; a newer one on disk wins, an older one is damage.
    pub(crate) generation: u64,
}

/// Keys in order, each with something of its value.
type Pairs<T> = Vec<(Vec<u8>, T)>;

/// Records of sessions and jobs: tree, key, value.
type Salvage = Vec<(Tree, Vec<u8>, Vec<u8>)>;

/// An open catalog.
#[derive(Debug)]
pub(crate) struct Catalog {
    path: PathBuf,
    db: sled::Db,
}

/// Why a catalog could not be opened.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// It is damaged: move it aside and rebuild it, with what only it knew and could still be read.
    Damaged { cause: String, salvage: Salvage },
    /// It may be healthy but cannot be opened now.
    Unavailable(StorageError),
}

impl Catalog {
    /// Opens the catalog in the directory `path`, making it when there is none, and reads all of it once.
    pub(crate) fn open(path: &Path) -> Result<Catalog, OpenError> {
        let db = open_sled(path)?;
        let catalog = Catalog { path: path.to_path_buf(), db };
        for tree in Tree::ALL {
            if let Err(error) = catalog.raw(tree) {
                let (cause, salvage) = (error.to_string(), catalog.salvage());
                return Err(OpenError::Damaged { cause, salvage });
            }
        }
        Ok(catalog)
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`StorageError::Catalog`] when sled fails or the value's checksum is wrong.
    pub(crate) fn get<T: Decode<()>>(&self, tree: Tree, key: &[u8]) -> Result<Option<T>, StorageError> {
        let stored = self.fenced(|db| db.open_tree(tree.name())?.get(key))?;
        let Some(stored) = stored else {
            return Ok(None);
        };
        let value = value::unwrap(tree.name(), key, &stored);
        value.map(Some).ok_or_else(|| self.failed(format!("{} {}: bad checksum", tree.name(), key.escape_ascii())))
    }

    /// Sets a value; durable on return.
    pub(crate) fn put<T: Encode>(&self, tree: Tree, key: &[u8], value: &T) -> Result<(), StorageError> {
        let stored = value::wrap(tree.name(), key, value);
        self.fenced(|db| {
            db.open_tree(tree.name())?.insert(key, stored)?;
            db.flush().map(|_| ())
        })
    }

    /// Removes a key; durable on return. Returns whether it was there.
    pub(crate) fn remove(&self, tree: Tree, key: &[u8]) -> Result<bool, StorageError> {
        self.fenced(|db| {
            let was = db.open_tree(tree.name())?.remove(key)?;
            db.flush()?;
            Ok(was.is_some())
        })
    }

    /// Every key in order, with its value, none when that is damaged.
    pub(crate) fn all<T: Decode<()>>(&self, tree: Tree) -> Result<Pairs<Option<T>>, StorageError> {
        let raw = self.raw(tree)?;
        let open = |(key, stored): (Vec<u8>, Vec<u8>)| {
            let value = value::unwrap(tree.name(), &key, &stored);
            (key, value)
        };
        Ok(raw.into_iter().map(open).collect())
    }

    /// The keys of a tree in order.
    pub(crate) fn keys(&self, tree: Tree) -> Result<Vec<Vec<u8>>, StorageError> {
        self.fenced(|db| db.open_tree(tree.name())?.iter().keys().map(|key| Ok(key?.to_vec())).collect())
    }

    /// Where the catalog is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What is wrong with the catalog, record by record.
    pub(crate) fn check(&self) -> Vec<StorageError> {
        let mut problems = Vec::new();
        for tree in Tree::ALL {
            match self.raw(tree) {
                Ok(pairs) => {
                    let bad = pairs.iter().filter(|(key, stored)| !value::is_good(tree.name(), key, stored));
                    problems.extend(
                        bad.map(|(key, _)| {
                            self.failed(format!("{} {}: bad checksum", tree.name(), key.escape_ascii()))
                        }),
                    );
                }
                Err(error) => problems.push(error),
            }
        }
        problems
    }

    /// What only the catalog knows, as far as it can be read before the first failure of each tree.
    fn salvage(&self) -> Salvage {
        let mut salvaged = Vec::new();
        for tree in [Tree::Sessions, Tree::Jobs] {
            let walked = self.fenced(|db| {
                for pair in &db.open_tree(tree.name())? {
                    let (key, stored) = pair?;
                    let value = value::unwrap::<Vec<u8>>(tree.name(), &key, &stored);
                    salvaged.extend(value.map(|value| (tree, key.to_vec(), value)));
                }
                Ok(())
            });
            if let Err(error) = walked {
                tracing::warn!(%error, tree = tree.name(), "not every record could be read");
            }
        }
        salvaged
    }

    fn raw(&self, tree: Tree) -> Result<Pairs<Vec<u8>>, StorageError> {
        self.fenced(|db| {
            let pairs = db.open_tree(tree.name())?.iter();
            pairs.map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec()))).collect()
        })
    }

    fn fenced<T>(&self, work: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, StorageError> {
        match catch_unwind(AssertUnwindSafe(|| work(&self.db))) {
            Ok(result) => result.map_err(|error| self.failed(error.to_string())),
            Err(_) => Err(self.failed("sled panicked: its tree is damaged".to_owned())),
        }
    }

    fn failed(&self, message: String) -> StorageError {
        StorageError::Catalog { path: self.path.clone(), message }
    }
}

/// Key of a collection in [`Tree::Collections`].
pub(crate) fn collection_key(id: u64) -> [u8; 8] {
    id.to_be_bytes()
}

fn open_sled(path: &Path) -> Result<sled::Db, OpenError> {
    let config =
        sled::Config::new().path(path).cache_capacity(CACHE_BYTES).mode(sled::Mode::LowSpace).flush_every_ms(None);
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
