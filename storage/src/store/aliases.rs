//! Aliases: names that can be moved from one collection to another at once.
//!
//! The truth is one small file, replaced atomically, so that moving an alias is one rename; the catalog keeps a copy,
//! and each can restore the other.

use std::collections::BTreeMap;
use std::path::Path;

use crate::backend::{self, Backend};
use crate::catalog::{Catalog, Tree};
use crate::codec::{self, FrameKind};
use crate::error::StorageError;

use super::{Store, names, registry};

const ALIASES: FrameKind = FrameKind { magic: *b"FROMALIA", version: 1, name: "aliases" };
/// Name of the file in the database directory.
pub(crate) const ALIASES_FILE: &str = "aliases.fma";

/// Alias to collection id.
pub(crate) type Aliases = BTreeMap<String, u64>;

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
        let _changing = self.inner.changing.lock();
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
        self.replace_aliases(aliases)?;
        let root = &self.inner.root;
        root.told(root.catalog().and_then(|known| known.put(Tree::Aliases, alias.as_bytes(), &id)));
        Ok(())
    }

    /// Removes an alias; durable on return.
    ///
    /// # Errors
    /// [`StorageError::UnknownAlias`] or an I/O error.
    pub fn remove_alias(&self, alias: &str) -> Result<(), StorageError> {
        self.inner.root.catalog()?;
        let _changing = self.inner.changing.lock();
        let mut aliases = self.inner.registry.read().aliases.clone();
        if aliases.remove(alias).is_none() {
            return Err(StorageError::UnknownAlias { alias: alias.to_owned() });
        }
        self.replace_aliases(aliases)?;
        let root = &self.inner.root;
        root.told(root.catalog().and_then(|known| known.remove(Tree::Aliases, alias.as_bytes())));
        Ok(())
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

    fn replace_aliases(&self, aliases: Aliases) -> Result<(), StorageError> {
        let root = &self.inner.root;
        write(&*root.backend, &root.dir, &aliases)?;
        self.inner.registry.write().aliases = aliases;
        Ok(())
    }
}

/// Writes the file; durable on return.
pub(super) fn write(backend: &dyn Backend, dir: &Path, aliases: &Aliases) -> Result<(), StorageError> {
    backend::write_whole(backend, dir, ALIASES_FILE, &to_bytes(aliases))?;
    backend.sync_dir(dir).map_err(|e| StorageError::io(dir, "sync", e))
}

/// Reads the file; none when there is none.
pub(crate) fn read(backend: &dyn Backend, dir: &Path) -> Result<Option<Aliases>, StorageError> {
    let path = dir.join(ALIASES_FILE);
    match backend.map(&path) {
        Ok(mapping) => codec::unframe_file(ALIASES, &path, mapping.bytes()).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StorageError::io(&path, "map", error)),
    }
}

/// The whole of the file.
pub(crate) fn to_bytes(aliases: &Aliases) -> Vec<u8> {
    codec::frame(ALIASES, aliases)
}

/// The aliases that are the whole of `bytes`.
pub(crate) fn parse(bytes: &[u8]) -> Result<Aliases, StorageError> {
    codec::unframe_file(ALIASES, Path::new(ALIASES_FILE), bytes)
}

/// Makes the catalog's copy equal to `aliases`.
pub(super) fn copy_to_catalog(catalog: &Catalog, aliases: &Aliases) -> Result<(), StorageError> {
    for (key, id) in catalog.all::<u64>(Tree::Aliases)? {
        let known = std::str::from_utf8(&key).ok().and_then(|alias| aliases.get(alias));
        if known.is_none() || known != id.as_ref() {
            catalog.remove(Tree::Aliases, &key)?;
        }
    }
    for (alias, id) in aliases {
        if catalog.get::<u64>(Tree::Aliases, alias.as_bytes())? != Some(*id) {
            catalog.put(Tree::Aliases, alias.as_bytes(), id)?;
        }
    }
    Ok(())
}
