//! A database that another process writes, opened for reading only.
//!
//! The reader takes no lock, writes no byte and touches no catalog. It sees the newest published generation and every whole
//! record of the journal behind it: a batch can be seen a moment before its writer is answered. It follows when it is
//! asked to ([`Store::refresh`]), and whenever a collection is taken by name. Sessions and jobs are the writer's alone.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::collection::open::name_on_disk;
use crate::collection::{Collection, follow};
use crate::error::StorageError;

use super::aliases::{AliasTable, Aliases};
use super::folders::COLLECTIONS_DIR;
use super::identity::{DATABASE_FILE, DatabaseId, DatabaseRecord};
use super::open::{is_snapshot, parse_id};
use super::registry::{Entry, Registry, id_of};
use super::root::Root;
use super::{DamagedCollection, Inner, Store, StoreOptions};

impl Store {
    /// Opens the database in `dir` for reading only, whoever has it open for writing.
    ///
    /// # Errors
    /// [`StorageError::NoDatabase`], [`StorageError::IsAFile`], [`StorageError::IsASnapshot`], or an I/O error.
    pub fn open_read_only(dir: &Path, options: StoreOptions) -> Result<Store, StorageError> {
        let entries = match options.backend.list(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
                return Err(StorageError::IsAFile { path: dir.to_path_buf() });
            }
            Err(error) => return Err(StorageError::io(dir, "list", error)),
        };
        if is_snapshot(&entries) {
            return Err(StorageError::IsASnapshot { path: dir.to_path_buf() });
        }
        if !entries.iter().any(|entry| entry.name == DATABASE_FILE || entry.name == COLLECTIONS_DIR) {
            return Err(StorageError::NoDatabase { path: dir.to_path_buf() });
        }
        let record = DatabaseRecord::read(&*options.backend, dir).unwrap_or_default();
        let database = record.map_or_else(DatabaseId::default, |record| record.id);
        let root = Arc::new(Root::new(dir.to_path_buf(), options, database, None));
        let registry = Registry { collections: open_all(&root, BTreeMap::new())?, aliases: read_aliases(&root) };
        let inner = Inner {
            root,
            registry: registry.into(),
            changing: Default::default(),
            notes: Vec::new(),
            threads: Vec::new(),
        };
        Ok(Store { inner: Arc::new(inner) })
    }

    /// Whether the database was opened for reading only.
    pub fn is_read_only(&self) -> bool {
        self.inner.root.is_read_only()
    }

    /// Takes what the writer has published since, for every collection; without effect in the writer itself.
    ///
    /// # Errors
    /// An I/O error. What was readable before stays so.
    pub fn refresh(&self) -> Result<(), StorageError> {
        let root = &self.inner.root;
        if !root.is_read_only() {
            return Ok(());
        }
        let _changing = self.inner.changing.lock();
        let known = self.inner.registry.read().collections.clone();
        let collections = open_all(root, known)?;
        let aliases = read_aliases(root);
        *self.inner.registry.write() = Registry { collections, aliases };
        Ok(())
    }
}

/// Opens every collection of the directory, or has those of `known` follow.
fn open_all(root: &Arc<Root>, known: BTreeMap<String, Entry>) -> Result<BTreeMap<String, Entry>, StorageError> {
    let mut known: BTreeMap<u64, _> = known.into_values().map(|entry| (id_of(&entry), entry)).collect();
    let mut registry = Registry::default();
    for id in ids(root)? {
        let (name, opened) = match known.remove(&id) {
            Some(Ok(collection)) => {
                (Some(collection.name().to_owned()), collection.inner.follow().map(|()| collection))
            }
            _ => (None, follow::open(root, id).map(|inner| Collection::new(Arc::new(inner)))),
        };
        let name = || name.unwrap_or_else(|| name_on_disk(root, id));
        registry.add(opened.map_err(|error| DamagedCollection { name: name(), id, error }));
    }
    Ok(registry.collections)
}

fn ids(root: &Root) -> Result<Vec<u64>, StorageError> {
    let dir = root.collections_dir();
    match root.backend.list(&dir) {
        Ok(entries) => {
            Ok(entries.iter().filter(|entry| entry.is_dir).filter_map(|entry| parse_id(&entry.name)).collect())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(StorageError::io(&dir, "list", error)),
    }
}

/// A reader cannot mend the file of aliases: when that is damaged, collections go by their own names.
fn read_aliases(root: &Root) -> Aliases {
    let table = AliasTable::read(&*root.backend, &root.dir).map(Option::unwrap_or_default);
    let own = table.map_err(|error| error.to_string()).and_then(|table| match table.stale(root.database, None) {
        Some(foreign) if root.database != DatabaseId::default() => Err(foreign),
        _ => Ok(table.aliases),
    });
    own.unwrap_or_else(|error| {
        tracing::warn!(database = %root.dir.display(), error, "aliases are not known until the database is opened for writing");
        Aliases::new()
    })
}
