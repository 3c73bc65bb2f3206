//! Copies of a database: a snapshot is taken while writing goes on ([`take`]), and a database is made of it again
//! ([`restore`]).
//!
//! A snapshot is a directory of the same files as a database, with a list of all of them and the checksums of their blocks
//! ([`list`]); sessions and jobs, which a database keeps in its catalog, are a file of records ([`records`]). Both a
//! snapshot and a restored database are made under another name and renamed when they are complete and durable: they
//! are there whole or not at all.

pub(crate) mod list;
pub(crate) mod records;
pub(crate) mod restore;
pub(crate) mod take;

use std::path::{Path, PathBuf};

use crate::backend::{self, Backend};
use crate::error::StorageError;

pub(crate) use list::LIST_FILE;

/// What a snapshot or a restored database holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CopyReport {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes among them that are shared with the original, by hard links.
    pub linked_bytes: u64,
    /// Collections.
    pub collections: u64,
    /// Live items.
    pub items: u64,
    /// Sessions and jobs.
    pub records: u64,
}

/// A directory that is being made beside the place where it will be.
struct Making<'a> {
    backend: &'a dyn Backend,
    dest: &'a Path,
    /// Where it is made.
    dir: PathBuf,
}

impl<'a> Making<'a> {
    /// Begins: `dest` is not there, or is an empty directory. What an earlier try left behind goes.
    fn begin(backend: &'a dyn Backend, dest: &'a Path) -> Result<Making<'a>, StorageError> {
        let bad = |problem| StorageError::BadDestination { path: dest.to_path_buf(), problem };
        match backend.list(dest) {
            Ok(entries) if entries.is_empty() => {}
            Ok(_) => return Err(bad("is not empty")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => return Err(bad("is a file")),
            Err(error) => return Err(StorageError::io(dest, "list", error)),
        }
        let name = dest.file_name().and_then(|name| name.to_str()).ok_or_else(|| bad("has no name"))?;
        let dir = dest.with_file_name(format!(".{name}.fromagerie-part"));
        match backend.remove_dir(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StorageError::io(&dir, "remove", error));
            }
            _ => {}
        }
        backend.create_dir(&dir).map_err(|e| StorageError::io(&dir, "create", e))?;
        Ok(Making { backend, dest, dir })
    }

    /// Gives what was made its name; durable on return.
    fn finish(self) -> Result<(), StorageError> {
        self.sync(&self.dir)?;
        self.backend.rename(&self.dir, self.dest).map_err(|e| StorageError::io(self.dest, "rename to", e))?;
        backend::sync_parents(self.backend, self.dest)
    }

    /// Removes what was made so far.
    fn abandon(self) {
        let _ = self.backend.remove_dir(&self.dir);
    }

    fn sync(&self, dir: &Path) -> Result<(), StorageError> {
        self.backend.sync_dir(dir).map_err(|e| StorageError::io(dir, "sync", e))
    }

    fn create_dir(&self, relative: &str) -> Result<PathBuf, StorageError> {
        let dir = self.dir.join(relative);
        self.backend.create_dir(&dir).map_err(|e| StorageError::io(&dir, "create", e))?;
        Ok(dir)
    }
}

/// Refuses a copy that would lie in what it is made of, and go with it.
pub(crate) fn check_outside(dest: &Path, of: &Path, problem: &'static str) -> Result<(), StorageError> {
    let absolute = |path: &Path| std::path::absolute(path).map_err(|e| StorageError::io(path, "find", e));
    if absolute(dest)?.starts_with(absolute(of)?) {
        return Err(StorageError::BadDestination { path: dest.to_path_buf(), problem });
    }
    Ok(())
}
