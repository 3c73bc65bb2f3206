//! Writing a journal: create, append a group, sync.

use std::io;
use std::path::{Path, PathBuf};

use crate::backend::{self, Backend, BackendFile};
use crate::codec;
use crate::error::StorageError;

use super::scan::ScanEnd;
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
    /// [`AppendError::Undone`] when there is no such file. [`AppendError::Poisoned`] when there may be one: who went on in the
    /// journal before it would write batches that the next open looks for in this one.
    pub(crate) fn create(backend: &dyn Backend, dir: &Path, identity: Identity) -> Result<Journal, AppendError> {
        let header = codec::frame(HEADER, &identity);
        let path = dir.join(identity.file_name());
        backend::write_whole(backend, dir, &identity.file_name(), &header).map_err(AppendError::Undone)?;
        backend.sync_dir(dir).map_err(|e| AppendError::Poisoned(StorageError::io(dir, "sync", e)))?;
        let file = backend.open(&path).map_err(|e| {
            let error = StorageError::io(&path, "open", e);
            match backend.remove_file(&path).and_then(|()| backend.sync_dir(dir)) {
                Ok(()) => AppendError::Undone(error),
                Err(source) => AppendError::Poisoned(StorageError::io(&path, "remove", source)),
            }
        })?;
        Ok(Journal { identity, path, durable: header.len() as u64, file })
    }

    /// An existing journal, whose bytes and their end according to a scan are given; a torn tail is cut off.
    ///
    /// The last group is written again before it is built upon. An earlier process may have failed to sync it: the
    /// kernel then shows it, calls it clean, and would call the next sync a success without writing it.
    pub(crate) fn reopen(
        backend: &dyn Backend,
        dir: &Path,
        identity: Identity,
        bytes: &[u8],
        end: ScanEnd,
    ) -> Result<Journal, StorageError> {
        let path = dir.join(identity.file_name());
        let failed = |action, source| StorageError::io(&path, action, source);
        let mut file = backend.open(&path).map_err(|e| failed("open", e))?;
        if end.torn_bytes > 0 {
            file.truncate(end.good_bytes).map_err(|e| failed("truncate", e))?;
        }
        let last_group = &bytes[end.last_group as usize..end.good_bytes as usize];
        file.rewrite(end.last_group, last_group).map_err(|e| failed("rewrite", e))?;
        file.sync().map_err(|e| failed("sync", e))?;
        Ok(Journal { identity, path, durable: end.good_bytes, file })
    }

    /// A journal that another process appends to, `durable` bytes of which were read.
    pub(crate) fn closed(dir: &Path, identity: Identity, durable: u64) -> Journal {
        Journal { identity, path: dir.join(identity.file_name()), durable, file: Box::new(Closed) }
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

/// What a reader holds in the place of a file that is its writer's: it takes nothing.
#[derive(Debug)]
struct Closed;

impl BackendFile for Closed {
    fn append(&mut self, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn rewrite(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn truncate(&mut self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}
