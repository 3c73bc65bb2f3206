//! Aliases: names that can be moved from one collection to another at once.
//!
//! The truth is one small file, replaced atomically, so that moving an alias is one rename; the catalog keeps a copy,
//! and each can restore the other. Both say of which database they are and how many changes they have seen: the file is
//! always written first, so one that has seen fewer than the catalog is an older one that was put in its place.

use std::collections::BTreeMap;
use std::path::Path;

use bincode::{Decode, Encode};

use crate::backend::{self, Backend};
use crate::catalog::{self, Tree};
use crate::codec::{self, FrameKind};
use crate::error::StorageError;

use super::identity::DatabaseId;
use super::{Changing, Store, names, registry};

const ALIASES: FrameKind = FrameKind { magic: *b"FROMALIA", version: 1, name: "aliases" };
/// Name of the file in the database directory.
pub(crate) const ALIASES_FILE: &str = "aliases.fma";

/// Alias to collection id.
pub(crate) type Aliases = BTreeMap<String, u64>;

/// The aliases of a database, as its file and its catalog have them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct AliasTable {
    pub(crate) database: DatabaseId,
    /// Counts the changes: of two tables of one database, the higher is the newer.
    pub(crate) change: u64,
    pub(crate) aliases: Aliases,
}

impl Store {
    /// Makes `alias` name the collection, in place of the one that it named before, at once; durable on return.
    ///
    /// # Errors
    /// [`StorageError::BadName`], [`StorageError::NameTaken`] when a collection has that name,
    /// [`StorageError::UnknownCollection`], or an I/O error.
    pub fn set_alias(&self, alias: &str, collection: &str) -> Result<(), StorageError> {
        self.inner.root.catalog()?;
        names::check(alias)?;
        let id = self.collection(collection)?.id();
        let mut changing = self.inner.changing.lock();
        let mut aliases = {
            let registry = self.inner.registry.read();
            if registry.collections.contains_key(alias) {
                return Err(StorageError::NameTaken { name: alias.to_owned() });
            }
            if registry.entry(id).is_none() {
                return Err(StorageError::UnknownCollection { name: collection.to_owned() });
            }
            registry.aliases.clone()
        };
        aliases.insert(alias.to_owned(), id);
        self.replace_aliases(&mut changing, aliases)
    }

    /// Removes an alias; durable on return.
    ///
    /// # Errors
    /// [`StorageError::UnknownAlias`] or an I/O error.
    pub fn remove_alias(&self, alias: &str) -> Result<(), StorageError> {
        self.inner.root.catalog()?;
        let mut changing = self.inner.changing.lock();
        let mut aliases = self.inner.registry.read().aliases.clone();
        if aliases.remove(alias).is_none() {
            return Err(StorageError::UnknownAlias { alias: alias.to_owned() });
        }
        self.replace_aliases(&mut changing, aliases)
    }

    /// Every alias with the name of its collection.
    pub fn aliases(&self) -> Vec<(String, String)> {
        let registry = self.inner.registry.read();
        let name_of = |id: u64| {
            let entry = registry.collections.iter().find(|(_, entry)| registry::id_of(entry) == id);
            entry.map_or_else(|| format!("{id:016x}"), |(name, _)| name.clone())
        };
        registry.aliases.iter().map(|(alias, &id)| (alias.clone(), name_of(id))).collect()
    }

    fn replace_aliases(&self, changing: &mut Changing, aliases: Aliases) -> Result<(), StorageError> {
        let root = &self.inner.root;
        // A table whose write failed may lie there all the same: its number is not used again.
        changing.aliases_failed += 1;
        let change = changing.aliases + changing.aliases_failed;
        let table = AliasTable { database: root.database, change, aliases };
        table.write(&*root.backend, &root.dir)?;
        (changing.aliases, changing.aliases_failed) = (change, 0);
        root.told(root.catalog().and_then(|known| known.put(Tree::Database, catalog::ALIASES_KEY, &table)));
        self.inner.registry.write().aliases = table.aliases;
        Ok(())
    }
}

impl AliasTable {
    /// The table of a new database.
    pub(crate) fn empty(database: DatabaseId) -> AliasTable {
        AliasTable { database, ..AliasTable::default() }
    }

    /// Writes the file; durable on return.
    pub(crate) fn write(&self, backend: &dyn Backend, dir: &Path) -> Result<(), StorageError> {
        backend::write_whole(backend, dir, ALIASES_FILE, &self.to_bytes())?;
        backend.sync_dir(dir).map_err(|e| StorageError::io(dir, "sync", e))
    }

    /// Reads the file; none when there is none.
    pub(crate) fn read(backend: &dyn Backend, dir: &Path) -> Result<Option<AliasTable>, StorageError> {
        let path = dir.join(ALIASES_FILE);
        match backend.map(&path) {
            Ok(mapping) => codec::unframe_file(ALIASES, &path, mapping.bytes()).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StorageError::io(&path, "map", error)),
        }
    }

    /// The whole of the file.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        codec::frame(ALIASES, self)
    }

    /// Why this cannot be the newest table of a database of which `known` was the last to be told; none when it can.
    pub(crate) fn stale(&self, database: DatabaseId, known: Option<&AliasTable>) -> Option<String> {
        if self.database != database {
            return Some(format!("aliases: of the database {:?}, not of {database:?}", self.database));
        }
        let known = known.filter(|known| known.change >= self.change && *known != self)?;
        Some(format!("aliases: an older file: change {}, {} was the last", self.change, known.change))
    }
}

/// The aliases that are the whole of `bytes`.
pub(crate) fn parse(bytes: &[u8]) -> Result<AliasTable, StorageError> {
    codec::unframe_file(ALIASES, Path::new(ALIASES_FILE), bytes)
}
