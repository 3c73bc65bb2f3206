//! Making a database of a snapshot: every byte is checked first, and the new database is opened once before it gets
//! its name.

use std::path::Path;

use crate::backend::{self, Backend};
use crate::error::StorageError;
use crate::progress::Meter;
use crate::store::aliases::{self, ALIASES_FILE, AliasTable, Aliases};
use crate::store::identity::{DatabaseId, DatabaseRecord};
use crate::store::{StoreOptions, open as database};

use super::list::{List, RECORDS_FILE};
use super::{CopyReport, Making, check_outside, records};

/// Restores `snapshot` to `dest`; with `whole`, no file is shared with the snapshot.
pub(crate) fn restore(
    snapshot: &Path,
    dest: &Path,
    whole: bool,
    options: StoreOptions,
    meter: &mut Meter<'_>,
) -> Result<CopyReport, StorageError> {
    let backend = options.backend.clone();
    let list = List::read(&*backend, snapshot)?;
    check_outside(dest, snapshot, "lies in the snapshot")?;
    meter.total_bytes = list.bytes();
    let making = Making::begin(&*backend, dest)?;
    let filled = fill(&*backend, snapshot, &list, &making, whole, meter)
        .and_then(|linked_bytes| open(snapshot, &list, &making, options).map(|()| linked_bytes));
    match filled {
        Ok(linked_bytes) => {
            making.finish()?;
            Ok(CopyReport {
                files: list.files.len() as u64,
                bytes: list.bytes(),
                linked_bytes,
                collections: list.collections,
                items: list.items,
                records: list.records,
            })
        }
        Err(error) => {
            making.abandon();
            Err(error)
        }
    }
}

/// Checks and places every file; returns the bytes that are shared with the snapshot.
fn fill(
    backend: &dyn Backend,
    snapshot: &Path,
    list: &List,
    making: &Making<'_>,
    whole: bool,
    meter: &mut Meter<'_>,
) -> Result<u64, StorageError> {
    let collections = making.create_dir("collections")?;
    let mut linked_bytes = 0;
    for listed in &list.files {
        let (path, mapping) = listed.read(backend, snapshot, meter)?;
        if listed.name == RECORDS_FILE {
            continue;
        }
        if listed.name == ALIASES_FILE {
            found(backend, &making.dir, aliases::parse(mapping.bytes())?.aliases)?;
            continue;
        }
        let to = making.dir.join(&listed.name);
        if let Some(parent) = to.parent() {
            backend.create_dir(parent).map_err(|e| StorageError::io(parent, "create", e))?;
        }
        // A journal is appended to: it must not be the snapshot's own.
        if !whole && listed.is_sealed() && backend.link(&path, &to).is_ok() {
            linked_bytes += listed.bytes;
        } else {
            backend::write_file(backend, &to, mapping.bytes())?;
        }
    }
    for entry in backend.list(&collections).map_err(|e| StorageError::io(&collections, "list", e))? {
        making.sync(&collections.join(entry.name))?;
    }
    making.sync(&collections)?;
    Ok(linked_bytes)
}

/// Writes what makes the directory a database, another one than the snapshot's, with these aliases.
fn found(backend: &dyn Backend, dir: &Path, aliases: Aliases) -> Result<(), StorageError> {
    let database = DatabaseId::random();
    DatabaseRecord::now(database).write(backend, dir)?;
    AliasTable { aliases, ..AliasTable::empty(database) }.write(backend, dir)
}

/// Opens the new database where it is made, which checks how its files fit together, and gives it its sessions and jobs.
fn open(snapshot: &Path, list: &List, making: &Making<'_>, options: StoreOptions) -> Result<(), StorageError> {
    let backend = options.backend.clone();
    // It has no catalog yet, so opening makes it: nothing that an operator need be told.
    let store = database::open(&making.dir, StoreOptions { create: true, in_background: false, ..options })?;
    if let Some(damaged) = store.damaged().pop() {
        return Err(damaged.error);
    }
    let found: u64 = store.collections().iter().map(|collection| collection.live).sum();
    if found != list.items {
        let what = format!("{found} items, {} were written to the snapshot", list.items);
        return Err(StorageError::damaged(snapshot, 0, what));
    }
    let path = snapshot.join(RECORDS_FILE);
    let mapping = backend.map(&path).map_err(|e| StorageError::io(&path, "map", e))?;
    records::read(&path, mapping.bytes(), store.catalog()?)
}
