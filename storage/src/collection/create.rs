//! A new collection's directory: complete under a temporary name, then renamed. The rename is the creation.

use std::path::{Path, PathBuf};

use crate::backend::Backend;
use crate::batch::CollectionSpec;
use crate::error::StorageError;
use crate::journal::Identity;
use crate::journal::append::{AppendError, Journal};
use crate::manifest::Manifest;

/// Suffix of a directory that is being made; found at open, it is removed.
pub(crate) const BEING_MADE: &str = ".new";
/// Suffix of a directory that was dropped; found at open, it is removed.
pub(crate) const DROPPED: &str = ".dropped";

/// Where the collection `id` lives.
pub(crate) fn dir_of(collections: &Path, id: u64) -> PathBuf {
    collections.join(format!("{id:016x}"))
}

/// Where it is while it is being removed.
pub(crate) fn dropped_dir_of(collections: &Path, id: u64) -> PathBuf {
    collections.join(format!("{id:016x}{DROPPED}"))
}

/// Removes the files of a directory.
pub(crate) fn empty(backend: &dyn Backend, dir: &Path) -> std::io::Result<()> {
    backend.list(dir)?.iter().try_for_each(|entry| backend.remove_file(&dir.join(&entry.name)))
}

/// Makes the directory of an empty collection; durable on return.
pub(crate) fn create(
    backend: &dyn Backend,
    collections: &Path,
    id: u64,
    name: &str,
    spec: &CollectionSpec,
) -> Result<(), StorageError> {
    let target = dir_of(collections, id);
    let making = collections.join(format!("{id:016x}{BEING_MADE}"));
    let made = fill(backend, &making, id, name, spec)
        .and_then(|()| backend.rename(&making, &target).map_err(|e| StorageError::io(&target, "rename to", e)));
    if let Err(error) = made {
        let _ = backend.remove_dir(&making);
        return Err(error);
    }
    backend.sync_dir(collections).map_err(|e| StorageError::io(collections, "sync", e))
}

/// Takes its name from a collection whose making failed, if it has one. What is left is removed here or at open.
///
/// # Errors
/// An I/O error: it may come back at the next open, so none may be made in its place.
pub(crate) fn set_aside(backend: &dyn Backend, collections: &Path, id: u64) -> Result<(), StorageError> {
    let (target, aside) = (dir_of(collections, id), dropped_dir_of(collections, id));
    match backend.rename(&target, &aside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(StorageError::io(&target, "rename", error)),
        _ => {
            let _ = backend.remove_dir(&aside);
            Ok(())
        }
    }
}

fn fill(backend: &dyn Backend, dir: &Path, id: u64, name: &str, spec: &CollectionSpec) -> Result<(), StorageError> {
    backend.create_dir(dir).map_err(|e| StorageError::io(dir, "create", e))?;
    let identity = Identity { collection: id, first_sequence: 1 };
    Journal::create(backend, dir, identity).map_err(|error| match error {
        AppendError::Undone(error) | AppendError::Poisoned(error) => error,
    })?;
    let manifest = Manifest {
        collection: id,
        generation: 1,
        name: name.to_owned(),
        spec: spec.clone(),
        sequence: 0,
        next_segment: 1,
        segments: Vec::new(),
        receipts: Vec::new(),
    };
    manifest.write(backend, dir)?;
    backend.sync_dir(dir).map_err(|e| StorageError::io(dir, "sync", e))
}
