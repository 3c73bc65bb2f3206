//! Opening a database: lock, catalog, aliases, then every collection on its own.
//!
//! The files are the truth. The catalog is asked only for what files cannot know: which generation was the newest, so
//! that a manifest that vanished is noticed, and which collections there were.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bincode::{Decode, Encode};

use crate::backend::{self, Backend, TEMPORARY};
use crate::catalog::{self, Catalog, CollectionRecord, OpenError, Tree};
use crate::codec::{self, FrameKind};
use crate::collection::{Collection, create};
use crate::copy;
use crate::error::StorageError;
use crate::lock::LOCK_FILE;
use crate::repair;

use super::aliases::{self, ALIASES_FILE};
use super::note::OpenNote;
use super::registry::{Entry, Registry};
use super::reserve::RESERVE_FILE;
use super::root::Root;
use super::{DamagedCollection, Inner, Store, StoreOptions};

const DATABASE: FrameKind = FrameKind { magic: *b"FROMDTBS", version: 1, name: "database file" };
/// The file that makes a directory a database.
pub(crate) const DATABASE_FILE: &str = "database.fmd";
const CATALOG_DIR: &str = "catalog";
pub(super) const COLLECTIONS_DIR: &str = "collections";

/// What the database file holds.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct DatabaseRecord {
    /// Seconds since 1970, UTC.
    created: u64,
}

/// Opens the database in `dir`; see [`Store::open`]. Nothing is logged: what it had to do is in the store's notes.
pub(crate) fn open(dir: &Path, options: StoreOptions) -> Result<Store, StorageError> {
    let backend = options.backend.clone();
    let is_new = prepare_dir(&*backend, dir, options.create)?;
    let lock = backend.lock(dir)?;
    let mut notes = Vec::new();
    let collections_dir = dir.join(COLLECTIONS_DIR);
    backend.create_dir(&collections_dir).map_err(|e| StorageError::io(&collections_dir, "create", e))?;
    check_database_file(&*backend, dir, is_new, &mut notes)?;
    // Also names that an earlier process gave and did not live to sync: what is built upon must not go.
    backend.sync_dir(dir).map_err(|e| StorageError::io(dir, "sync", e))?;

    let catalog = open_catalog(&*backend, dir, options.catalog_cache_bytes, &mut notes)?;
    let aliases = open_aliases(&*backend, dir, &catalog, &mut notes)?;
    let root = Arc::new(Root::new(dir.to_path_buf(), options, Some((catalog, lock))));
    let mut registry = Registry { aliases, ..Registry::default() };
    open_collections(&root, &mut registry, &mut notes)?;
    root.reserve.take(&*root.backend);
    let sealer = match root.options.background_seal {
        true => Some(root.start_sealer().map_err(|e| StorageError::io(dir, "start a thread for", e))?),
        false => None,
    };
    let inner = Inner { root, registry: registry.into(), changing: Default::default(), notes, sealer };
    Ok(Store { inner: Arc::new(inner) })
}

/// Checks that `dir` is a database or can become one; returns whether it is to become one.
fn prepare_dir(backend: &dyn Backend, dir: &Path, create: bool) -> Result<bool, StorageError> {
    let no_database = || StorageError::NoDatabase { path: dir.to_path_buf() };
    let entries = match backend.list(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && create => Vec::new(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(no_database()),
        Err(error) => return Err(StorageError::io(dir, "list", error)),
    };
    let has = |name: &str| entries.iter().any(|entry| entry.name == name);
    if has(DATABASE_FILE) {
        return Ok(false);
    }
    if is_snapshot(&entries) {
        return Err(StorageError::IsASnapshot { path: dir.to_path_buf() });
    }
    let ours = [LOCK_FILE, CATALOG_DIR, COLLECTIONS_DIR, ALIASES_FILE, RESERVE_FILE];
    let aside = ["catalog.damaged", repair::ASIDE];
    let foreign = |name: &str| {
        !ours.contains(&name) && !aside.iter().any(|aside| name.starts_with(aside)) && !name.ends_with(TEMPORARY)
    };
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

fn check_database_file(
    backend: &dyn Backend,
    dir: &Path,
    is_new: bool,
    notes: &mut Vec<OpenNote>,
) -> Result<(), StorageError> {
    let path = dir.join(DATABASE_FILE);
    match read_database_file(backend, dir) {
        Ok(true) => return Ok(()),
        Ok(false) if is_new => {}
        Ok(false) | Err(StorageError::Damaged(_)) => {
            notes.push(OpenNote::DatabaseFileRestored { path });
        }
        Err(error) => return Err(error),
    }
    let record = DatabaseRecord { created: unix_seconds() };
    backend::write_whole(backend, dir, DATABASE_FILE, &codec::frame(DATABASE, &record))
}

/// Reads and checks the database file; returns whether there is one.
pub(crate) fn read_database_file(backend: &dyn Backend, dir: &Path) -> Result<bool, StorageError> {
    let path = dir.join(DATABASE_FILE);
    match backend.map(&path) {
        Ok(mapping) => codec::unframe_file::<DatabaseRecord>(DATABASE, &path, mapping.bytes()).map(|_| true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StorageError::io(&path, "map", error)),
    }
}

/// When the database was made (Unix seconds), as `bytes`, the whole of its file, say.
pub(crate) fn parse_database_file(bytes: &[u8]) -> Result<u64, StorageError> {
    codec::unframe_file::<DatabaseRecord>(DATABASE, Path::new(DATABASE_FILE), bytes).map(|record| record.created)
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

fn open_catalog(
    backend: &dyn Backend,
    dir: &Path,
    cache_bytes: u64,
    notes: &mut Vec<OpenNote>,
) -> Result<Catalog, StorageError> {
    let path = dir.join(CATALOG_DIR);
    let (cause, salvage) = match Catalog::open(&path, cache_bytes, backend.record_store(&path)) {
        Ok(catalog) => return Ok(catalog),
        Err(OpenError::Unavailable(error)) => return Err(error),
        Err(OpenError::Damaged { cause, salvage }) => (cause, salvage),
    };
    let entries = backend.list(dir).map_err(|e| StorageError::io(dir, "list", e))?;
    let aside = |n: usize| format!("catalog.damaged-{}-{n}", unix_seconds());
    let is_free = |name: &String| entries.iter().all(|entry| entry.name != *name);
    // One of them is free: there are more than entries.
    let moved_to = dir.join((0..=entries.len()).map(aside).find(is_free).unwrap_or_else(|| aside(0)));
    backend.rename(&path, &moved_to).map_err(|e| StorageError::io(&path, "move aside", e))?;
    backend.sync_dir(dir).map_err(|e| StorageError::io(dir, "sync", e))?;
    notes.push(OpenNote::CatalogRebuilt { moved_to, cause });
    let catalog = Catalog::open(&path, cache_bytes, backend.record_store(&path)).map_err(|error| match error {
        OpenError::Unavailable(error) => error,
        OpenError::Damaged { cause: message, .. } => StorageError::Catalog { path, message },
    })?;
    for (tree, id, value) in &salvage {
        catalog.put(*tree, id, value)?;
    }
    Ok(catalog)
}

fn open_aliases(
    backend: &dyn Backend,
    dir: &Path,
    catalog: &Catalog,
    notes: &mut Vec<OpenNote>,
) -> Result<BTreeMap<String, u64>, StorageError> {
    let cause = match aliases::read(backend, dir) {
        Ok(Some(known)) => {
            unless_full(aliases::copy_to_catalog(catalog, &known))?;
            return Ok(known);
        }
        Ok(None) => "the file is missing".to_owned(),
        Err(StorageError::Damaged(damage)) => damage.to_string(),
        Err(error) => return Err(error),
    };
    let copy = |(key, id): (Vec<u8>, Option<u64>)| Some((String::from_utf8(key).ok()?, id?));
    let all = unless_full(catalog.all::<u64>(Tree::Aliases))?.unwrap_or_default();
    let known: BTreeMap<String, u64> = all.into_iter().filter_map(copy).collect();
    if known.is_empty() && cause == "the file is missing" {
        return Ok(known);
    }
    aliases::write(backend, dir, &known)?;
    notes.push(OpenNote::AliasesRestored { cause });
    Ok(known)
}

fn open_collections(root: &Arc<Root>, registry: &mut Registry, notes: &mut Vec<OpenNote>) -> Result<(), StorageError> {
    let ids = collections_on_disk(root)?;
    let mut known = BTreeMap::new();
    for (key, record) in unless_full(root.catalog()?.all::<CollectionRecord>(Tree::Collections))?.unwrap_or_default() {
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

/// What came of the catalog; none when the disk is too full for it: the files can be read without.
fn unless_full<T>(result: Result<T, StorageError>) -> Result<Option<T>, StorageError> {
    match result {
        Err(error @ StorageError::DiskFull { .. }) => {
            tracing::warn!(%error, "the catalog was not asked");
            Ok(None)
        }
        result => result.map(Some),
    }
}

fn open_one(root: &Arc<Root>, id: u64, record: Option<&CollectionRecord>, notes: &mut Vec<OpenNote>) -> Entry {
    let name = record.map_or_else(|| format!("{id:016x}"), |record| record.name.clone());
    let expected = record.map(|record| record.generation);
    let inner = crate::collection::open::open(root, id, expected, notes).map_err(|error| DamagedCollection {
        name,
        id,
        error,
    })?;
    let generation = inner.publishing.lock().generation;
    let now = CollectionRecord { name: inner.name.clone(), generation, spec: inner.spec.clone() };
    if record != Some(&now) {
        if record.is_none() {
            notes.push(OpenNote::CatalogRecordRestored { name: now.name.clone() });
        }
        // A catalog that cannot be written keeps nobody from reading: the files are the truth.
        let told = root.catalog().and_then(|known| known.put(Tree::Collections, &catalog::collection_key(id), &now));
        if let Err(error) = told {
            tracing::warn!(collection = %now.name, %error, "the catalog could not be brought up to date");
        }
    }
    Ok(Collection { inner: Arc::new(inner) })
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
            if unless_full(root.catalog()?.remove(Tree::Collections, &catalog::collection_key(id)))?.is_some() {
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
