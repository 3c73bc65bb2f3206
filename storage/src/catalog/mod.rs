//! The catalog: the small and precious records, in `redb`, which is named nowhere else.
//!
//! It holds which collections there are and the generation each was last seen at, aliases, sessions and jobs. What
//! the files of a database know by themselves (collections, aliases) is rebuilt from them when the catalog is
//! damaged; the files win. Every value carries a version and a checksum over its tree, key and bytes, since a lost
//! or swapped value must not pass for a good one. [`on_disk`] is where redb stands behind [`RecordStore`].

mod on_disk;
mod table;
#[cfg(test)]
mod tests;
pub(crate) mod value;

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};

use bincode::{Decode, Encode};

use crate::batch::CollectionSpec;
use crate::error::StorageError;

use on_disk::OnDisk;

/// Told a key and its value.
pub type Each<'a> = &'a mut dyn FnMut(&[u8], &[u8]);

/// Where the catalog's records are kept: in `redb`, or by a simulated disk, which cannot have its file.
pub trait RecordStore: Send + Sync + Debug {
    /// The value of a key.
    fn get(&self, tree: &'static str, key: &[u8]) -> io::Result<Option<Vec<u8>>>;
    /// Sets a value; durable on return.
    fn put(&self, tree: &'static str, key: &[u8], value: Vec<u8>) -> io::Result<()>;
    /// Removes a key; durable on return. Returns whether it was there.
    fn remove(&self, tree: &'static str, key: &[u8]) -> io::Result<bool>;
    /// Every key of a tree in order, with its value, until one cannot be read.
    fn walk(&self, tree: &'static str, each: Each<'_>) -> io::Result<()>;
}

/// The trees of the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tree {
    /// Collection id (u64, big-endian) to [`CollectionRecord`].
    Collections,
    /// [`ALIASES_KEY`] to the aliases with the database's id.
    Database,
    /// Session id to bytes.
    Sessions,
    /// Job id to bytes.
    Jobs,
}

impl Tree {
    const ALL: [Tree; 4] = [Tree::Collections, Tree::Database, Tree::Sessions, Tree::Jobs];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Tree::Collections => "collections",
            Tree::Database => "database",
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
    /// The last batch that was known to be durable when the collection was opened, sealed or closed: a journal that ends
    /// before it was cut.
    pub(crate) sequence: u64,
    /// As in the manifest: what a repair needs when that cannot be read.
    pub(crate) spec: CollectionSpec,
}

/// Keys in order, each with something of its value.
type Pairs<T> = Vec<(Vec<u8>, T)>;

/// Told a tree, a key and its value.
type EachOf<'a> = &'a mut dyn FnMut(Tree, &[u8], &[u8]);

/// Records: tree, key, and a value.
pub(crate) type Salvage = Vec<(Tree, Vec<u8>, Vec<u8>)>;

/// Told a tree, a key and its value.
type EachPrecious<'a> = &'a mut dyn FnMut(Tree, &[u8], Vec<u8>) -> Result<(), StorageError>;

/// An open catalog.
#[derive(Debug)]
pub(crate) struct Catalog {
    path: PathBuf,
    records: Box<dyn RecordStore>,
}

/// Why a catalog could not be opened.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// It is damaged: move it aside and rebuild it, with its [`salvage`].
    Damaged { cause: String },
    /// It may be healthy but cannot be opened now.
    Unavailable(StorageError),
}

impl Catalog {
    /// Opens the catalog in the file `path`, making it when there is none; all of it is checked. `given`: the records of a
    /// disk that keeps them itself; else redb may have `cache_bytes` of its pages on the heap.
    pub(crate) fn open(
        path: &Path,
        cache_bytes: u64,
        given: Option<Box<dyn RecordStore>>,
    ) -> Result<Catalog, OpenError> {
        let path = path.to_path_buf();
        let records = match given {
            Some(records) => records,
            None => Box::new(OnDisk::open(&path, cache_bytes)?),
        };
        Ok(Catalog { path, records })
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`StorageError::Catalog`] when it cannot be read or the value's checksum is wrong.
    pub(crate) fn get<T: Decode<()>>(&self, tree: Tree, key: &[u8]) -> Result<Option<T>, StorageError> {
        let Some(stored) = self.records.get(tree.name(), key).map_err(|e| self.failed(e))? else {
            return Ok(None);
        };
        value::unwrap(tree.name(), key, &stored).map(Some).ok_or_else(|| self.bad(tree, key))
    }

    /// Sets a value; durable on return.
    pub(crate) fn put<T: Encode>(&self, tree: Tree, key: &[u8], value: &T) -> Result<(), StorageError> {
        let stored = value::wrap(tree.name(), key, value);
        self.records.put(tree.name(), key, stored).map_err(|e| self.failed(e))
    }

    /// Removes a key; durable on return. Returns whether it was there.
    pub(crate) fn remove(&self, tree: Tree, key: &[u8]) -> Result<bool, StorageError> {
        self.records.remove(tree.name(), key).map_err(|e| self.failed(e))
    }

    /// Every key in order, with its value, none when that is damaged.
    pub(crate) fn all<T: Decode<()>>(&self, tree: Tree) -> Result<Pairs<Option<T>>, StorageError> {
        let mut pairs = Vec::new();
        self.walk(tree, &mut |key, stored| pairs.push((key.to_vec(), value::unwrap(tree.name(), key, stored))))?;
        Ok(pairs)
    }

    /// The keys of a tree in order.
    pub(crate) fn keys(&self, tree: Tree) -> Result<Vec<Vec<u8>>, StorageError> {
        let mut keys = Vec::new();
        self.walk(tree, &mut |key, _| keys.push(key.to_vec()))?;
        Ok(keys)
    }

    /// Where the catalog is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How many records there are, and what is wrong with which.
    pub(crate) fn check(&self) -> (u64, Vec<StorageError>) {
        let (mut records, mut problems) = (0, Vec::new());
        for tree in Tree::ALL {
            let walked = self.walk(tree, &mut |key, stored| {
                records += 1;
                if !value::is_good(tree.name(), key, stored) {
                    problems.push(self.bad(tree, key));
                }
            });
            problems.extend(walked.err());
        }
        (records, problems)
    }

    /// Records whose checksum is wrong: tree, key and the bytes as they are stored.
    pub(crate) fn damaged_records(&self) -> Result<Salvage, StorageError> {
        let mut bad = Vec::new();
        for tree in Tree::ALL {
            self.walk(tree, &mut |key, stored| {
                if !value::is_good(tree.name(), key, stored) {
                    bad.push((tree, key.to_vec(), stored.to_vec()));
                }
            })?;
        }
        Ok(bad)
    }

    /// Every record of sessions and jobs, one after the other, until `each` fails.
    ///
    /// # Errors
    /// [`StorageError::Catalog`] names the first whose checksum is wrong.
    pub(crate) fn each_precious(&self, each: EachPrecious<'_>) -> Result<(), StorageError> {
        let mut done = Ok(());
        for tree in [Tree::Sessions, Tree::Jobs] {
            self.walk(tree, &mut |key, stored| {
                if done.is_ok() {
                    done = value::unwrap::<Vec<u8>>(tree.name(), key, stored)
                        .ok_or_else(|| self.bad(tree, key))
                        .and_then(|value| each(tree, key, value));
                }
            })?;
        }
        done
    }

    fn walk(&self, tree: Tree, each: Each<'_>) -> Result<(), StorageError> {
        self.records.walk(tree.name(), each).map_err(|e| self.failed(e))
    }

    fn bad(&self, tree: Tree, key: &[u8]) -> StorageError {
        let message = format!("{} {}: bad checksum", tree.name(), key.escape_ascii());
        StorageError::Catalog { path: self.path.clone(), message }
    }

    fn failed(&self, error: io::Error) -> StorageError {
        if is_full(&error) {
            return StorageError::io(&self.path, "write the catalog in", error);
        }
        StorageError::Catalog { path: self.path.clone(), message: error.to_string() }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What only the catalog knows, sessions and jobs, as far as it can be read of a damaged one, which stays as it lies.
pub(crate) fn salvage(path: &Path, cache_bytes: u64) -> Salvage {
    let mut salvaged = Vec::new();
    on_disk::read_damaged(path, cache_bytes, &[Tree::Sessions, Tree::Jobs], &mut |tree, key, stored| {
        let value = value::unwrap::<Vec<u8>>(tree.name(), key, stored);
        salvaged.extend(value.map(|value| (tree, key.to_vec(), value)));
    });
    salvaged
}

/// Key of the aliases in [`Tree::Database`].
pub(crate) const ALIASES_KEY: &[u8] = b"aliases";

/// Key of a collection in [`Tree::Collections`].
pub(crate) fn collection_key(id: u64) -> [u8; 8] {
    id.to_be_bytes()
}

/// What came of the catalog; none when the disk is too full for it: the files can be read without.
pub(crate) fn unless_full<T>(result: Result<T, StorageError>) -> Result<Option<T>, StorageError> {
    match result {
        Err(error @ StorageError::DiskFull { .. }) => {
            tracing::warn!(%error, "the catalog was not asked");
            Ok(None)
        }
        result => result.map(Some),
    }
}
