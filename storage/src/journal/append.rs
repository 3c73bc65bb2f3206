//! Writing a journal: create, append a group, sync.

use std::path::{Path, PathBuf};

use crate::backend::{self, Backend, BackendFile};
use crate::codec;
use crate::error::StorageError;

use super::{HEADER, Identity};

/// The journal that takes new batches.
#[derive(Debug)]
pub(crate) struct Journal {
    pub(crate) identity: Identity,
    pub(crate) path: PathBuf,
    /// Length in bytes, all of it durable.
    pub(crate) durable: u64,
    file: Box<dyn BackendFile>,
}

/// Why an append failed, and what that means for the next one.
#[derive(Debug)]
pub(crate) enum AppendError {
    /// The file is as it was before; the next append may try again.
    Undone(StorageError),
    /// What the disk holds is no longer known: no more appends.
    Poisoned(StorageError),
}

impl Journal {
    /// A new, empty journal; durable with its name when this returns.
    ///
    /// # Errors
    /// [`AppendError::Poisoned`] when the directory could not be synced: the name may or may not survive.
    pub(crate) fn create(backend: &dyn Backend, dir: &Path, identity: Identity) -> Result<Journal, AppendError> {
        let header = codec::frame(HEADER, &identity);
        let path = dir.join(identity.file_name());
        backend::write_whole(backend, dir, &identity.file_name(), &header).map_err(AppendError::Undone)?;
        backend.sync_dir(dir).map_err(|e| AppendError::Poisoned(StorageError::io(dir, "sync", e)))?;
        let file = backend.open(&path).map_err(|e| AppendError::Undone(StorageError::io(&path, "open", e)))?;
        Ok(Journal { identity, path, durable: header.len() as u64, file })
    }

    /// An existing journal whose first `durable` bytes are good; the rest, if any, is cut off.
    pub(crate) fn reopen(
        backend: &dyn Backend,
        dir: &Path,
        identity: Identity,
        durable: u64,
        torn: bool,
    ) -> Result<Journal, StorageError> {
        let path = dir.join(identity.file_name());
        let mut file = backend.open(&path).map_err(|e| StorageError::io(&path, "open", e))?;
        if torn {
            file.truncate(durable).map_err(|e| StorageError::io(&path, "truncate", e))?;
        }
        // What was replayed will be built upon: it must be on the disk, not only in the page cache.
        file.sync().map_err(|e| StorageError::io(&path, "sync", e))?;
        Ok(Journal { identity, path, durable, file })
    }

    /// Appends whole records and syncs them.
    pub(crate) fn append(&mut self, group: &[u8]) -> Result<(), AppendError> {
        if let Err(error) = self.file.append(group) {
            return Err(self.undo(StorageError::io(&self.path, "append to", error)));
        }
        // After a failed fsync the kernel may drop the pages and call the next one a success: never ask again.
        self.file.sync().map_err(|e| AppendError::Poisoned(StorageError::io(&self.path, "sync", e)))?;
        self.durable += group.len() as u64;
        Ok(())
    }

    fn undo(&mut self, error: StorageError) -> AppendError {
        match self.file.truncate(self.durable).and_then(|()| self.file.sync()) {
            Ok(()) => AppendError::Undone(error),
            Err(source) => {
                tracing::error!(path = %self.path.display(), %error, "a failed append could not be undone");
                AppendError::Poisoned(StorageError::io(&self.path, "undo a failed append to", source))
            }
        }
    }
}
