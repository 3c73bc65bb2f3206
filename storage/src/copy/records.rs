//! Sessions and jobs as a file: one checked frame a record, so that neither side holds all of them.

use std::path::Path;

use bincode::{Decode, Encode};

use crate::backend::Backend;
use crate::catalog::{Catalog, Tree};
use crate::codec::{self, FrameKind, Unframed};
use crate::error::StorageError;

const RECORD: FrameKind = FrameKind { magic: *b"FROMRECD", version: 1, name: "record of a snapshot" };

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct Record {
    /// 0: a session; 1: a job.
    kind: u8,
    id: Vec<u8>,
    value: Vec<u8>,
}

/// Writes every session and job of `catalog`, synced; returns how many there are.
pub(super) fn write(backend: &dyn Backend, path: &Path, catalog: &Catalog) -> Result<u64, StorageError> {
    let mut file = backend.create(path).map_err(|e| StorageError::io(path, "create", e))?;
    let mut count = 0;
    catalog.each_precious(&mut |tree, id, value| {
        count += 1;
        let record = Record { kind: u8::from(tree == Tree::Jobs), id: id.to_vec(), value };
        file.append(&codec::frame(RECORD, &record)).map_err(|e| StorageError::io(path, "write", e))
    })?;
    file.sync().map_err(|e| StorageError::io(path, "sync", e))?;
    Ok(count)
}

/// Puts every record of the file `path`, whose content is `file`, into `catalog`.
pub(super) fn read(path: &Path, file: &[u8], catalog: &Catalog) -> Result<(), StorageError> {
    each(path, file, &mut |tree, id, value| catalog.put(tree, &id, &value))
}

/// Hands every record of a file to `each`: tree, id, value.
pub(crate) fn each(
    path: &Path,
    file: &[u8],
    each: &mut dyn FnMut(Tree, Vec<u8>, Vec<u8>) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    let mut at = 0;
    while at < file.len() {
        let Unframed { value: record, bytes, .. } = codec::unframe::<Record>(RECORD, path, file, at)?;
        let tree = match record.kind {
            0 => Tree::Sessions,
            1 => Tree::Jobs,
            kind => {
                let what = format!("record of a snapshot: of kind {kind}, which is neither a session nor a job");
                return Err(StorageError::damaged(path, at as u64, what));
            }
        };
        each(tree, record.id, record.value)?;
        at += bytes;
    }
    Ok(())
}
