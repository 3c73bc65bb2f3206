//! Bytes that the caller keeps beside a collection, and that nothing depends on: the file may be missing, old, or, after a
//! crash, damaged. Then it counts as not there, so that writing it costs no sync.

use crate::codec::{self, FrameKind};
use crate::error::StorageError;

use super::Collection;

const HINTS: FrameKind = FrameKind { magic: *b"FROMHINT", version: 1, name: "hints" };
/// Name of the file in the collection's directory.
const FILE: &str = "hints.fmh";
/// Its name until it is complete; what a crash leaves of it is written over.
const NEXT: &str = "hints-next.fmh";
/// What a frame and a catalog on a small machine stand.
const BYTES_MAX: usize = 256 << 20;

impl Collection {
    /// Keeps `bytes` in the place of those that were kept before. They are not synced and not part of a snapshot.
    ///
    /// # Errors
    /// [`StorageError::RecordTooLarge`] above 256 MiB, [`StorageError::ReadOnly`], or an I/O error: the ones before are
    /// still there then.
    pub fn keep_hints(&self, bytes: Vec<u8>) -> Result<(), StorageError> {
        let inner = &self.inner;
        if inner.root.is_read_only() {
            return Err(inner.root.read_only());
        }
        if bytes.len() > BYTES_MAX {
            return Err(StorageError::RecordTooLarge { id_bytes: 0, value_bytes: bytes.len(), limit: BYTES_MAX });
        }
        let (temporary, target) = (inner.dir.join(NEXT), inner.dir.join(FILE));
        let backend = &*inner.root.backend;
        let _one_at_a_time = inner.keeping_hints.lock();
        let mut file = backend.create(&temporary).map_err(|e| StorageError::io(&temporary, "create", e))?;
        file.append(&codec::frame(HINTS, &bytes)).map_err(|e| StorageError::io(&temporary, "write", e))?;
        drop(file);
        backend.rename(&temporary, &target).map_err(|e| StorageError::io(&target, "rename to", e))
    }

    /// What was kept last; none where it is not there, or not whole.
    pub fn hints(&self) -> Option<Vec<u8>> {
        let path = self.inner.dir.join(FILE);
        let mapping = self.inner.root.backend.read(&path).ok()?;
        codec::unframe_file(HINTS, &path, mapping.bytes())
            .map_err(|error| tracing::warn!(%error, "hints are not read, and will be written anew"))
            .ok()
    }
}
