//! Which database a file is of: 128 random bits, made with the database and kept in each of its own small files.
//!
//! A copy that `restore` makes is another database. Files of collections carry the collection's id instead, which is as
//! random.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use bincode::{Decode, Encode};

use crate::backend::{self, Backend};
use crate::codec::{self, FrameKind};
use crate::error::StorageError;

const DATABASE: FrameKind = FrameKind { magic: *b"FROMDTBS", version: 1, name: "database file" };
/// The file that makes a directory a database.
pub(crate) const DATABASE_FILE: &str = "database.fmd";

/// Which database it is.
#[derive(Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct DatabaseId([u8; 16]);

impl DatabaseId {
    /// One that no database has.
    pub(crate) fn random() -> DatabaseId {
        // The standard library's hasher is seeded by the system's random numbers: no other source is needed.
        let half = || RandomState::new().hash_one((std::process::id(), SystemTime::now())).to_le_bytes();
        let mut id = [0; 16];
        id[..8].copy_from_slice(&half());
        id[8..].copy_from_slice(&half());
        DatabaseId(id)
    }
}

impl fmt::Debug for DatabaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// What the database file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct DatabaseRecord {
    /// Seconds since 1970, UTC.
    pub(crate) created: u64,
    pub(crate) id: DatabaseId,
}

impl DatabaseRecord {
    /// The record of a database that is made now.
    pub(crate) fn now(id: DatabaseId) -> DatabaseRecord {
        DatabaseRecord {
            created: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs()),
            id,
        }
    }

    /// Writes the file and gives it its name. Not durable before the directory is synced.
    pub(crate) fn write(&self, backend: &dyn Backend, dir: &Path) -> Result<(), StorageError> {
        backend::write_whole(backend, dir, DATABASE_FILE, &self.to_bytes())
    }

    pub(crate) fn to_bytes(self) -> Vec<u8> {
        codec::frame(DATABASE, &self)
    }

    /// Reads and checks the file of the database in `dir`; none when there is none.
    pub(crate) fn read(backend: &dyn Backend, dir: &Path) -> Result<Option<DatabaseRecord>, StorageError> {
        let path = dir.join(DATABASE_FILE);
        match backend.map(&path) {
            Ok(mapping) => codec::unframe_file(DATABASE, &path, mapping.bytes()).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StorageError::io(&path, "map", error)),
        }
    }
}

/// The record that is the whole of `bytes`.
pub(crate) fn parse(bytes: &[u8]) -> Result<DatabaseRecord, StorageError> {
    codec::unframe_file(DATABASE, Path::new(DATABASE_FILE), bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_the_same() {
        let ids: Vec<DatabaseId> = (0..100).map(|_| DatabaseId::random()).collect();
        assert!((0..100).all(|a| (0..a).all(|b| ids[a] != ids[b])), "{ids:?}");
    }
}
