//! The store: one directory, opened by one process, with its collections, aliases and sessions.
//!
//! `open` recovers it, `own` its own small files, `aliases` and `records` (sessions, jobs) are the small ones, `root` is what collections share.

pub(crate) mod aliases;
pub(crate) mod background;
mod care;
mod folders;
pub(crate) mod identity;
mod names;
pub(crate) mod note;
pub(crate) mod open;
mod options;
mod own;
mod read_only;
mod records;
mod registry;
pub(crate) mod reserve;
pub(crate) mod root;

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Mutex, RwLock};

use crate::batch::{CollectionSpec, check_spec};
use crate::catalog::{self, CollectionRecord, Tree};
use crate::collection::{Collection, create};
use crate::error::StorageError;

pub use care::BuilderOf;
pub use note::OpenNote;
pub use options::StoreOptions;
use registry::Registry;
use root::Root;

/// A healthy collection of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionInfo {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: u64,
    /// What it holds.
    pub spec: CollectionSpec,
    /// Live items.
    pub live: u64,
    /// Aliases that name it.
    pub aliases: Vec<String>,
}

/// A collection that could not be opened. Its files are left as they lie.
#[derive(Debug, Clone)]
pub struct DamagedCollection {
    /// Its name as the catalog knows it, else its id in hexadecimal.
    pub name: String,
    /// Its id.
    pub id: u64,
    /// Why it could not be opened.
    pub error: StorageError,
}

/// An open database. Cheap to clone. Closed when the last clone and the last [`Collection`] are gone.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: Arc<Root>,
    registry: RwLock<Registry>,
    /// Held while collections or aliases change.
    changing: Mutex<Changing>,
    notes: Vec<OpenNote>,
    threads: Vec<JoinHandle<()>>,
}

/// What a change of collections must know of those before it.
#[derive(Debug, Default)]
struct Changing {
    /// A collection whose making failed after it had its name: it must be gone before another gets that name.
    half_made: Option<u64>,
    /// How often aliases were changed.
    aliases: u64,
    /// How often they could not be since.
    aliases_failed: u64,
}

impl Store {
    /// Opens the database in `dir`, recovering whatever a crash left. Damaged collections do not keep the others from
    /// opening: see [`Store::damaged`].
    ///
    /// # Errors
    /// [`StorageError::NoDatabase`], [`StorageError::NotADatabase`], [`StorageError::IsAFile`],
    /// [`StorageError::Locked`], or an I/O error.
    pub fn open(dir: &Path, options: StoreOptions) -> Result<Store, StorageError> {
        let store = open::open(dir, options)?;
        for note in store.notes() {
            tracing::warn!(database = %dir.display(), "{note}");
        }
        Ok(store)
    }

    /// The database's directory.
    pub fn dir(&self) -> &Path {
        &self.inner.root.dir
    }

    /// What opening had to do beyond reading: cut tails, a rebuilt catalog.
    pub fn notes(&self) -> &[OpenNote] {
        &self.inner.notes
    }

    /// Collections that are open, by name.
    pub fn collections(&self) -> Vec<CollectionInfo> {
        let registry = self.inner.registry.read();
        let info = |collection: &Collection| CollectionInfo {
            name: collection.name().to_owned(),
            id: collection.id(),
            spec: collection.spec().clone(),
            live: collection.snapshot().len() as u64,
            aliases: registry.aliases_of(collection.id()),
        };
        registry.collections.values().flatten().map(info).collect()
    }

    /// Collections that could not be opened, by name.
    pub fn damaged(&self) -> Vec<DamagedCollection> {
        let registry = self.inner.registry.read();
        registry.collections.values().filter_map(|entry| entry.as_ref().err().cloned()).collect()
    }

    /// The collection of a name or an alias. A reader first takes what the writer has published. One that the disk kept
    /// from opening is tried again.
    ///
    /// # Errors
    /// [`StorageError::UnknownCollection`], or why it could not be opened.
    pub fn collection(&self, name_or_alias: &str) -> Result<Collection, StorageError> {
        self.refresh()?;
        let found = self.inner.registry.read().find(name_or_alias).cloned();
        match found {
            // A reader has just tried again.
            Some(Err(damaged)) if damaged.error.is_of_the_disk() && !self.is_read_only() => self.open_again(damaged.id),
            Some(Ok(collection)) => Ok(Collection::new(collection.inner)),
            Some(Err(damaged)) => Err(damaged.error),
            None => Err(StorageError::UnknownCollection { name: name_or_alias.to_owned() }),
        }
    }

    /// Makes an empty collection; durable on return.
    ///
    /// # Errors
    /// [`StorageError::BadName`], [`StorageError::NameTaken`], [`StorageError::BadSpec`] or an I/O error.
    pub fn create_collection(&self, name: &str, spec: CollectionSpec) -> Result<Collection, StorageError> {
        self.inner.root.catalog()?;
        names::check(name)?;
        check_spec(&spec)?;
        let mut changing = self.inner.changing.lock();
        if self.inner.registry.read().is_taken(name) {
            return Err(StorageError::NameTaken { name: name.to_owned() });
        }
        let root = &self.inner.root;
        let collections = root.collections_dir();
        if let Some(half_made) = changing.half_made {
            create::set_aside(&*root.backend, &collections, half_made)?;
        }
        let id = self.unused_id();
        changing.half_made = Some(id);
        create::create(&*root.backend, &collections, id, name, &spec)?;
        let inner = crate::collection::open::open(root, id, None, &mut Vec::new())?;
        changing.half_made = None;
        let collection = Collection::new(Arc::new(inner));
        self.inner.registry.write().collections.insert(name.to_owned(), Ok(collection.clone()));
        let record = CollectionRecord { name: name.to_owned(), generation: 1, sequence: 0, spec };
        root.told(root.catalog().and_then(|known| known.put(Tree::Collections, &catalog::collection_key(id), &record)));
        Ok(collection)
    }

    /// Removes a collection and its files, a damaged one too. Handles that are still held read on and write no more.
    ///
    /// # Errors
    /// [`StorageError::UnknownCollection`], [`StorageError::HasAliases`] or an I/O error.
    pub fn drop_collection(&self, name: &str) -> Result<(), StorageError> {
        self.inner.root.catalog()?;
        let _changing = self.inner.changing.lock();
        let (id, collection) = self.droppable(name)?;
        let root = &self.inner.root;
        let dir = create::dir_of(&root.collections_dir(), id);
        let dropped = create::dropped_dir_of(&root.collections_dir(), id);
        if let Some(collection) = &collection {
            // No merge or seal may be writing there, and no batch may be acknowledged into a directory that is going.
            let inner = &collection.inner;
            let _merging = inner.stop_merging();
            let _publishing = inner.publishing.lock();
            let mut state = inner.state.lock();
            root.backend.rename(&dir, &dropped).map_err(|e| StorageError::io(&dir, "rename", e))?;
            state.halted = Some(StorageError::Dropped { name: name.to_owned() });
        } else if let Err(error) = root.backend.rename(&dir, &dropped)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(StorageError::io(&dir, "rename", error));
        }
        self.inner.registry.write().collections.remove(name);
        let collections = root.collections_dir();
        root.backend.sync_dir(&collections).map_err(|e| StorageError::io(&collections, "sync", e))?;
        let forgotten = root.catalog()?.remove(Tree::Collections, &catalog::collection_key(id));
        let removed = match &forgotten {
            Ok(_) => root.backend.remove_dir(&dropped),
            // Its name stays until the next open, which has the catalog forget it.
            Err(_) => create::empty(&*root.backend, &dropped),
        };
        root.told(forgotten);
        if let Err(error) = removed {
            tracing::warn!(dir = %dropped.display(), %error, "a dropped collection is removed at the next open");
        }
        Ok(())
    }

    pub(crate) fn catalog(&self) -> Result<&catalog::Catalog, StorageError> {
        self.inner.root.catalog()
    }

    fn open_again(&self, id: u64) -> Result<Collection, StorageError> {
        let _changing = self.inner.changing.lock();
        if let Some(Ok(opened)) = self.inner.registry.read().entry(id) {
            return Ok(opened.clone());
        }
        let opened = open::open_again(&self.inner.root, id)?;
        let mut registry = self.inner.registry.write();
        registry.remove(id);
        registry.add(opened.clone());
        opened.map_err(|damaged| damaged.error)
    }

    fn droppable(&self, name: &str) -> Result<(u64, Option<Collection>), StorageError> {
        let registry = self.inner.registry.read();
        let (id, collection) = match registry.collections.get(name) {
            Some(Ok(collection)) => (collection.id(), Some(collection.clone())),
            Some(Err(damaged)) => (damaged.id, None),
            None => {
                return Err(StorageError::UnknownCollection { name: name.to_owned() });
            }
        };
        match registry.aliases_of(id) {
            aliases if aliases.is_empty() => Ok((id, collection)),
            aliases => Err(StorageError::HasAliases { name: name.to_owned(), aliases }),
        }
    }

    fn unused_id(&self) -> u64 {
        let registry = self.inner.registry.read();
        loop {
            // The standard library's hasher is seeded by the system's random numbers: no other source is needed.
            let id = RandomState::new().hash_one(std::process::id());
            if id != 0 && registry.entry(id).is_none() {
                return id;
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.root.background.close();
        for thread in self.threads.drain(..) {
            // The next open must find the lock free: wait for the seal that is under way.
            let _ = thread.join();
        }
        self.root.background.closed();
    }
}
