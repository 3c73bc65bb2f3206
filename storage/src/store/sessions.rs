//! Sessions: the engine's dialogue states, small records by id, durable on return.
//!
//! They live in the catalog alone: of a catalog that had to be rebuilt, those that could still be read are kept.

use crate::catalog::Tree;
use crate::error::StorageError;

use super::Store;

const ID_BYTES_MAX: usize = 512;
const VALUE_BYTES_MAX: usize = 4 << 20;

impl Store {
    /// Sets the value of a session; durable on return.
    ///
    /// # Errors
    /// [`StorageError::SessionTooLarge`] or [`StorageError::Catalog`].
    pub fn put_session(&self, id: &str, value: &[u8]) -> Result<(), StorageError> {
        if id.is_empty() || id.len() > ID_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
            let (id_bytes, value_bytes) = (id.len(), value.len());
            return Err(StorageError::SessionTooLarge {
                id_bytes,
                value_bytes,
                limit: VALUE_BYTES_MAX,
            });
        }
        self.inner
            .root
            .catalog
            .put(Tree::Sessions, id.as_bytes(), &value.to_vec())
    }

    /// The value of a session.
    ///
    /// # Errors
    /// [`StorageError::Catalog`], also when its checksum is wrong.
    pub fn session(&self, id: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.inner.root.catalog.get(Tree::Sessions, id.as_bytes())
    }

    /// Removes a session; returns whether it was there.
    ///
    /// # Errors
    /// [`StorageError::Catalog`].
    pub fn delete_session(&self, id: &str) -> Result<bool, StorageError> {
        self.inner
            .root
            .catalog
            .remove(Tree::Sessions, id.as_bytes())
    }

    /// Ids of all sessions, in order.
    ///
    /// # Errors
    /// [`StorageError::Catalog`].
    pub fn sessions(&self) -> Result<Vec<String>, StorageError> {
        let keys = self.inner.root.catalog.keys(Tree::Sessions)?;
        Ok(keys
            .into_iter()
            .filter_map(|key| String::from_utf8(key).ok())
            .collect())
    }
}
