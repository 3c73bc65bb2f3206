//! The files that are the database's own, at open: the database file, the catalog and the aliases. Each says of which
//! database it is, so that one of another database, or an older one of aliases, is noticed; each but the catalog can be
//! restored from the others.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::backend::Backend;
use crate::catalog::{self, Catalog, OpenError, Salvage, Tree};
use crate::error::{Damage, StorageError};
use crate::repair::apply::set_aside;

use super::aliases::{ALIASES_FILE, AliasTable};
use super::folders::{CATALOG_FILE, COLLECTIONS_DIR, DAMAGED};
use super::identity::{DATABASE_FILE, DatabaseId, DatabaseRecord};
use super::note::OpenNote;

/// A database's own files, being opened.
pub(super) struct Own<'a> {
    pub(super) backend: &'a dyn Backend,
    pub(super) dir: &'a Path,
    pub(super) notes: &'a mut Vec<OpenNote>,
}

impl Own<'_> {
    /// Reads them, restores what is damaged, missing or of another database, and returns the catalog and the aliases.
    pub(super) fn settle(mut self, cache_bytes: u64) -> Result<(Catalog, AliasTable), StorageError> {
        let mut catalog = self.open_catalog(cache_bytes)?;
        let mut known = known_aliases(&catalog)?;
        let file = self.read_aliases()?;
        let database = self.database(known.as_ref(), file.as_ref().ok().and_then(Option::as_ref))?;
        if known.as_ref().is_some_and(|known| known.database != database) {
            drop(catalog);
            catalog = self.replace_catalog(cache_bytes, "it is of another database".to_owned(), Salvage::new())?;
            known = None;
        }
        let table = self.aliases(database, known.as_ref(), file)?;
        if known.as_ref() != Some(&table) {
            catalog::unless_full(catalog.put(Tree::Database, catalog::ALIASES_KEY, &table))?;
        }
        Ok((catalog, table))
    }

    /// Which database this is. When its file and the catalog disagree, the file of aliases decides, and then the file.
    fn database(
        &mut self,
        known: Option<&AliasTable>,
        aliases: Option<&AliasTable>,
    ) -> Result<DatabaseId, StorageError> {
        let others = known.map(|known| known.database).or(aliases.map(|table| table.database));
        let agreed = known.zip(aliases).map(|(known, table)| (known.database, known.database == table.database));
        let read = DatabaseRecord::read(self.backend, self.dir);
        let is_being_made = matches!(read, Ok(None)) && known.is_none() && self.is_bare()?;
        let id = match (read, agreed) {
            (Ok(Some(record)), Some((id, true))) if record.id != id => id,
            (Ok(Some(record)), _) => return Ok(record.id),
            (Ok(None) | Err(StorageError::Damaged(_)), _) => others.unwrap_or_else(DatabaseId::random),
            (Err(error), _) => return Err(error),
        };
        if !is_being_made {
            self.notes.push(OpenNote::DatabaseFileRestored { path: self.dir.join(DATABASE_FILE) });
        }
        DatabaseRecord::now(id).write(self.backend, self.dir)?;
        self.backend.sync_dir(self.dir).map_err(|e| StorageError::io(self.dir, "sync", e))?;
        Ok(id)
    }

    /// The file of aliases, or what is wrong with it.
    fn read_aliases(&self) -> Result<Result<Option<AliasTable>, Damage>, StorageError> {
        match AliasTable::read(self.backend, self.dir) {
            Ok(table) => Ok(Ok(table)),
            Err(StorageError::Damaged(damage)) => Ok(Err(damage)),
            Err(error) => Err(error),
        }
    }

    /// The newest aliases: the file's, unless it is damaged, missing, of another database or older than the catalog's.
    fn aliases(
        &mut self,
        database: DatabaseId,
        known: Option<&AliasTable>,
        file: Result<Option<AliasTable>, Damage>,
    ) -> Result<AliasTable, StorageError> {
        let (cause, is_there) = match file {
            Ok(Some(table)) => match table.stale(database, known) {
                None => return Ok(table),
                Some(cause) => (cause, true),
            },
            Ok(None) => ("the file is missing".to_owned(), false),
            Err(damage) => (damage.to_string(), true),
        };
        let table = known.cloned().unwrap_or_else(|| AliasTable::empty(database));
        if is_there {
            let path = self.dir.join(ALIASES_FILE);
            set_aside(self.backend, self.dir, &[Damage { path, offset: 0, what: String::new() }])?;
        }
        table.write(self.backend, self.dir)?;
        match known {
            Some(_) => self.notes.push(OpenNote::AliasesRestored { cause }),
            // A database that is still being made has no collections, and no aliases to lose.
            None if !is_there && self.is_bare()? => {}
            None => self.notes.push(OpenNote::AliasesLost { cause }),
        }
        Ok(table)
    }

    /// Whether there is no collection, as where a process died while it made the database.
    fn is_bare(&self) -> Result<bool, StorageError> {
        let collections = self.dir.join(COLLECTIONS_DIR);
        let entries = self.backend.list(&collections).map_err(|e| StorageError::io(&collections, "list", e))?;
        Ok(entries.is_empty())
    }

    fn open_catalog(&mut self, cache_bytes: u64) -> Result<Catalog, StorageError> {
        let path = self.dir.join(CATALOG_FILE);
        let cause = match Catalog::open(&path, cache_bytes, self.backend.record_store(&path)) {
            Ok(catalog) => return Ok(catalog),
            Err(OpenError::Unavailable(error)) => return Err(error),
            Err(OpenError::Damaged { cause }) => cause,
        };
        let salvage = catalog::salvage(&path, cache_bytes);
        self.replace_catalog(cache_bytes, cause, salvage)
    }

    /// Moves the catalog aside and makes a new one of what is `kept`.
    fn replace_catalog(&mut self, cache_bytes: u64, cause: String, kept: Salvage) -> Result<Catalog, StorageError> {
        let (backend, dir, path) = (self.backend, self.dir, self.dir.join(CATALOG_FILE));
        let entries = backend.list(dir).map_err(|e| StorageError::io(dir, "list", e))?;
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
        let aside = |n: usize| format!("{CATALOG_FILE}{DAMAGED}{seconds}-{n}");
        let is_free = |name: &String| entries.iter().all(|entry| entry.name != *name);
        // One of them is free: there are more than entries.
        let moved_to: PathBuf = dir.join((0..=entries.len()).map(aside).find(is_free).unwrap_or_else(|| aside(0)));
        match backend.rename(&path, &moved_to) {
            // A simulated disk's catalog is no file.
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StorageError::io(&path, "move aside", error));
            }
            _ => {}
        }
        backend.sync_dir(dir).map_err(|e| StorageError::io(dir, "sync", e))?;
        let opened = Catalog::open(&path, cache_bytes, backend.record_store(&path));
        let catalog = opened.map_err(|error| match error {
            OpenError::Unavailable(error) => error,
            OpenError::Damaged { cause: message } => StorageError::Catalog { path, message },
        })?;
        for (tree, id, value) in &kept {
            catalog.put(*tree, id, value)?;
        }
        let of = |tree| kept.iter().filter(|(of, ..)| *of == tree).count();
        let (sessions, jobs) = (of(Tree::Sessions), of(Tree::Jobs));
        self.notes.push(OpenNote::CatalogRebuilt { moved_to, cause, sessions, jobs });
        Ok(catalog)
    }
}

/// What the catalog knows of the aliases; none when it knows nothing, or nothing that can be read.
fn known_aliases(catalog: &Catalog) -> Result<Option<AliasTable>, StorageError> {
    let all = catalog::unless_full(catalog.all::<AliasTable>(Tree::Database))?.unwrap_or_default();
    Ok(all.into_iter().find(|(key, _)| key == catalog::ALIASES_KEY).and_then(|(_, table)| table))
}
