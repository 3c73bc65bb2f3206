//! Opening a database: lock, its own small files ([`super::own`]), then every collection on its own.
//!
//! The files are the truth. The catalog is asked only for what files cannot know: which generation was the newest, so
//! that a manifest that vanished is noticed, and which collections there were.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::backend::{self, Backend, TEMPORARY};
use crate::catalog::{self, CollectionRecord, Tree};
use crate::collection::open::name_on_disk;
use crate::collection::{Collection, create};
use crate::copy;
use crate::error::StorageError;
use crate::lock::LOCK_FILE;
use crate::repair;

use super::aliases::{ALIASES_FILE, AliasTable};
use super::background;
use super::folders::{CATALOG_FILE, COLLECTIONS_DIR, DAMAGED, JOBS_DIR};
use super::identity::{DATABASE_FILE, DatabaseId, DatabaseRecord};
use super::note::OpenNote;
use super::own::Own;
use super::registry::{Entry, Registry};
use super::reserve::RESERVE_FILE;
use super::root::Root;
use super::{Changing, DamagedCollection, Inner, Store, StoreOptions};

/// Opens the database in `dir`; see [`Store::open`]. Nothing is logged: what it had to do is in the store's notes.
pub(crate) fn open(dir: &Path, options: StoreOptions) -> Result<Store, StorageError> {
    let backend = options.backend.clone();
    let is_new = prepare_dir(&*backend, dir, options.create)?;
    let lock = backend.lock(dir)?;
    let mut notes = Vec::new();
    let collections_dir = dir.join(COLLECTIONS_DIR);
    backend.create_dir(&collections_dir).map_err(|e| StorageError::io(&collections_dir, "create", e))?;
    if is_new {
        let record = DatabaseRecord::now(DatabaseId::random());
        backend::write_whole(&*backend, dir, ALIASES_FILE, &AliasTable::empty(record.id).to_bytes())?;
        record.write(&*backend, dir)?;
    }
    // Also names that an earlier process gave and did not live to sync: what is built upon must not go.
    backend.sync_dir(dir).map_err(|e| StorageError::io(dir, "sync", e))?;

    let own = Own { backend: &*backend, dir, notes: &mut notes };
    let (catalog, table) = own.settle(options.catalog_cache_bytes)?;
    let root = Arc::new(Root::new(dir.to_path_buf(), options, table.database, Some((catalog, lock))));
    let changing = Changing { aliases: table.change, ..Changing::default() };
    let mut registry = Registry { aliases: table.aliases, ..Registry::default() };
    open_collections(&root, &mut registry, &mut notes)?;
    root.reserve.take(&*root.backend);
    let threads = match root.options.in_background {
        true => background::start(&root).map_err(|e| StorageError::io(dir, "start a thread for", e))?,
        false => Vec::new(),
    };
    let inner = Inner { root, registry: registry.into(), changing: changing.into(), notes, threads };
    Ok(Store { inner: Arc::new(inner) })
}

/// Checks that `dir` is a database or can become one; returns whether it is to become one.
fn prepare_dir(backend: &dyn Backend, dir: &Path, create: bool) -> Result<bool, StorageError> {
    let no_database = || StorageError::NoDatabase { path: dir.to_path_buf() };
    let entries = match backend.list(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && create => Vec::new(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(no_database()),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            return Err(StorageError::IsAFile { path: dir.to_path_buf() });
        }
        Err(error) => return Err(StorageError::io(dir, "list", error)),
    };
    let has = |name: &str| entries.iter().any(|entry| entry.name == name);
    if has(DATABASE_FILE) {
        return Ok(false);
    }
    if is_snapshot(&entries) {
        return Err(StorageError::IsASnapshot { path: dir.to_path_buf() });
    }
    let ours = [LOCK_FILE, CATALOG_FILE, COLLECTIONS_DIR, ALIASES_FILE, RESERVE_FILE, JOBS_DIR];
    let is_aside = |name: &str| {
        name.starts_with(repair::ASIDE) || name.strip_prefix(CATALOG_FILE).is_some_and(|end| end.starts_with(DAMAGED))
    };
    let foreign = |name: &str| !ours.contains(&name) && !is_aside(name) && !name.ends_with(TEMPORARY);
    if let Some(entry) = entries.iter().find(|entry| foreign(&entry.name)) {
        return Err(StorageError::NotADatabase { path: dir.to_path_buf(), entry: entry.name.clone() });
    }
    if !create && !has(COLLECTIONS_DIR) {
        return Err(no_database());
    }
    backend.create_dir(dir).map_err(|e| StorageError::io(dir, "create", e))?;
    backend::sync_parents(backend, dir)?;
    Ok(!has(COLLECTIONS_DIR))
}

/// Whether a directory with these entries is a snapshot, which must stay as it is.
pub(super) fn is_snapshot(entries: &[backend::Entry]) -> bool {
    entries.iter().any(|entry| entry.name == copy::LIST_FILE)
}

fn open_collections(root: &Arc<Root>, registry: &mut Registry, notes: &mut Vec<OpenNote>) -> Result<(), StorageError> {
    let ids = collections_on_disk(root)?;
    let mut known = BTreeMap::new();
    for (key, record) in
        catalog::unless_full(root.catalog()?.all::<CollectionRecord>(Tree::Collections))?.unwrap_or_default()
    {
        if let Ok(key) = <[u8; 8]>::try_from(key) {
            known.insert(u64::from_be_bytes(key), record);
        }
    }
    for &id in &ids {
        let record = known.remove(&id).flatten();
        registry.add(open_one(root, id, record.as_ref(), notes));
    }
    for (id, record) in known {
        // The catalog is the only one that remembers it: a directory does not go away by itself.
        let Some(record) = record else { continue };
        let path = create::dir_of(&root.collections_dir(), id);
        let error = StorageError::damaged(&path, 0, "the collection's directory is missing");
        let name = record.name.clone();
        registry.collections.entry(name.clone()).or_insert(Err(DamagedCollection { name, id, error }));
    }
    Ok(())
}

/// Tries again to open a collection that the disk kept from opening.
pub(super) fn open_again(root: &Arc<Root>, id: u64) -> Result<Entry, StorageError> {
    let record = root.catalog()?.get::<CollectionRecord>(Tree::Collections, &catalog::collection_key(id))?;
    Ok(open_one(root, id, record.as_ref(), &mut Vec::new()))
}

fn open_one(root: &Arc<Root>, id: u64, record: Option<&CollectionRecord>, notes: &mut Vec<OpenNote>) -> Entry {
    let inner = crate::collection::open::open(root, id, record, notes).map_err(|error| {
        let name = record.map_or_else(|| name_on_disk(root, id), |record| record.name.clone());
        DamagedCollection { name, id, error }
    })?;
    let generation = inner.publishing.lock().generation;
    let now = inner.record(generation);
    if record != Some(&now) {
        if record.is_none() {
            notes.push(OpenNote::CatalogRecordRestored { name: now.name.clone() });
        }
        // A catalog that cannot be written keeps nobody from reading: the files are the truth.
        let told = root.catalog().and_then(|known| known.put(Tree::Collections, &catalog::collection_key(id), &now));
        match told {
            Ok(()) => inner.note_told(&now),
            Err(error) => {
                tracing::warn!(collection = %now.name, %error, "the catalog could not be brought up to date");
            }
        }
    } else {
        inner.note_told(&now);
    }
    Ok(Collection::new(Arc::new(inner)))
}

/// Ids of the collections' directories. What a crash left half made or half dropped is removed.
fn collections_on_disk(root: &Root) -> Result<Vec<u64>, StorageError> {
    let dir = root.collections_dir();
    // Renames of an earlier process may be in the page cache only: nothing is built upon them before they are durable.
    root.backend.sync_dir(&dir).map_err(|e| StorageError::io(&dir, "sync", e))?;
    let entries = root.backend.list(&dir).map_err(|e| StorageError::io(&dir, "list", e))?;
    let mut ids = Vec::new();
    for entry in entries.into_iter().filter(|entry| entry.is_dir) {
        let path = dir.join(&entry.name);
        if let Some(id) = parse_id(&entry.name) {
            ids.push(id);
        } else if let Some(id) = entry.name.strip_suffix(create::DROPPED).and_then(parse_id) {
            if catalog::unless_full(root.catalog()?.remove(Tree::Collections, &catalog::collection_key(id)))?.is_some()
            {
                remove(&*root.backend, &path);
            }
        } else if entry.name.strip_suffix(create::BEING_MADE).and_then(parse_id).is_some() {
            remove(&*root.backend, &path);
        }
    }
    Ok(ids)
}

fn remove(backend: &dyn Backend, dir: &Path) {
    if let Err(error) = backend.remove_dir(dir) {
        tracing::warn!(dir = %dir.display(), %error, "a leftover directory could not be removed");
    }
}

pub(super) fn parse_id(name: &str) -> Option<u64> {
    (name.len() == 16).then(|| u64::from_str_radix(name, 16).ok()).flatten()
}
