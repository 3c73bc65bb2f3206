//! The seam between storage and the disk: everything that is written or mapped goes through [`Backend`].
//!
//! [`Disk`] is the real one. A [`SimulatedDisk`](simulated::SimulatedDisk) is in memory: it fails on command and loses
//! what was not synced, for tests. Only the catalog goes past the seam: `redb` does its own I/O, and a disk that cannot
//! have that keeps the catalog's records itself ([`Backend::record_store`]).

mod disk;
pub mod simulated;

use std::fmt::Debug;
use std::io;
use std::path::Path;

pub use disk::Disk;

pub use crate::catalog::RecordStore;
use crate::error::StorageError;
pub use crate::lock::Lock;
use crate::mmap::Mapping;

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name; entries that are not UTF-8 are not ours and not listed.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// The operations of a file system that storage relies on, with their durability.
pub trait Backend: Send + Sync + Debug {
    /// An empty file for appending; a file of that name is emptied. Durable only after both syncs.
    fn create(&self, path: &Path) -> io::Result<Box<dyn BackendFile>>;
    /// An existing file for appending at its end.
    fn open(&self, path: &Path) -> io::Result<Box<dyn BackendFile>>;
    /// The file's bytes as they are now.
    fn map(&self, path: &Path) -> io::Result<Mapping>;
    /// The same, copied: for a file that its writer may cut while it is read.
    fn read(&self, path: &Path) -> io::Result<Mapping> {
        self.map(path).map(|mapping| Mapping::of_bytes(mapping.bytes()))
    }
    /// Entries of a directory, sorted by name.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;
    /// A new directory; no error when it exists.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Gives a file or directory another name at once, replacing a file of that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory and all that is in it.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Gives a file that will not change any more a second name; an error where there cannot be two, and then the
    /// caller copies. Durable after a sync of the second name's directory.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Bytes that can still be written below a directory.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
    /// Takes the lock of the database in `dir`, which exists.
    fn lock(&self, dir: &Path) -> Result<Lock, StorageError>;
    /// Where this disk keeps the records of the catalog at `path`; none when `redb` keeps them, in its file.
    fn record_store(&self, path: &Path) -> Option<Box<dyn RecordStore>>;
}

/// A file being appended to.
pub trait BackendFile: Send + Debug {
    /// Appends all of `bytes`; after an error any part of them may be there.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Writes the bytes that are at `offset` once more, so that the next sync cannot take them for written.
    fn rewrite(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes the file's content and length durable.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file to `bytes`.
    fn truncate(&mut self, bytes: u64) -> io::Result<()>;
}

/// Writes a whole file and syncs it; for directories that are not in use yet.
pub(crate) fn write_file(backend: &dyn Backend, path: &Path, content: &[u8]) -> Result<(), StorageError> {
    let mut file = backend.create(path).map_err(|e| StorageError::io(path, "create", e))?;
    for piece in content.chunks(PIECE_BYTES) {
        file.append(piece).map_err(|e| StorageError::io(path, "write", e))?;
    }
    file.sync().map_err(|e| StorageError::io(path, "sync", e))
}

/// Gives a file that does not change a second name, or copies it where it cannot have two. Returns whether both are
/// one file.
pub(crate) fn link_or_copy(backend: &dyn Backend, from: &Path, to: &Path) -> Result<bool, StorageError> {
    match backend.link(from, to) {
        Ok(()) => return Ok(true),
        // A copy would empty the file that is there, which may be this very one under its second name.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(StorageError::io(to, "link", error)),
        Err(_) => {}
    }
    let mapping = backend.map(from).map_err(|e| StorageError::io(from, "map", e))?;
    write_file(backend, to, mapping.bytes()).map(|()| false)
}

/// Refuses what needs more bytes than there are free below `dir`. Where the system cannot say, nothing is refused.
pub(crate) fn check_room(backend: &dyn Backend, dir: &Path, needed: u64) -> Result<(), StorageError> {
    match backend.free_bytes(dir) {
        Ok(free) if free < needed => Err(StorageError::NoRoom { path: dir.to_path_buf(), needed, free }),
        _ => Ok(()),
    }
}

/// Bytes of one append when a whole file is copied.
const PIECE_BYTES: usize = 4 << 20;

/// Makes the names of a new directory and of the parents that were made with it durable.
pub(crate) fn sync_parents(backend: &dyn Backend, dir: &Path) -> Result<(), StorageError> {
    for parent in dir.ancestors().skip(1) {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        match backend.sync_dir(parent) {
            // Not ours to read, so not made by us.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
            synced => synced.map_err(|e| StorageError::io(parent, "sync", e))?,
        }
    }
    Ok(())
}

/// Suffix of files that are not complete yet; found at open, they are removed.
pub(crate) const TEMPORARY: &str = ".tmp";

/// Writes a whole file under a temporary name, syncs it and gives it its name. The caller then syncs the directory.
pub(crate) fn write_whole(backend: &dyn Backend, dir: &Path, name: &str, content: &[u8]) -> Result<(), StorageError> {
    let temporary = dir.join(format!("{name}{TEMPORARY}"));
    let target = dir.join(name);
    let written = (|| {
        let mut file = backend.create(&temporary).map_err(|e| StorageError::io(&temporary, "create", e))?;
        file.append(content).map_err(|e| StorageError::io(&temporary, "write", e))?;
        file.sync().map_err(|e| StorageError::io(&temporary, "sync", e))?;
        drop(file);
        backend.rename(&temporary, &target).map_err(|e| StorageError::io(&target, "rename to", e))
    })();
    if written.is_err() {
        // Best effort: what stays behind is removed at the next open.
        let _ = backend.remove_file(&temporary);
    }
    written
}
