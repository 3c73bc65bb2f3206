//! Sessions and jobs: the engine's small records by id, opaque here, durable on return.
//!
//! They live in the catalog alone: of a catalog that had to be rebuilt, those that could still be read are kept.

use crate::catalog::Tree;
use crate::error::StorageError;

use super::Store;

const ID_BYTES_MAX: usize = 512;
const VALUE_BYTES_MAX: usize = 4 << 20;

impl Store {
    /// Sets the value of a session (a dialogue's state); durable on return.
    ///
    /// # Errors
    /// [`StorageError::RecordTooLarge`] or [`StorageError::Catalog`].
    pub fn put_session(&self, id: &str, value: &[u8]) -> Result<(), StorageError> {
        self.put_record(Tree::Sessions, id, value)
    }

    /// The value of a session.
    ///
    /// # Errors
    /// [`StorageError::Catalog`], also when its checksum is wrong.
    pub fn session(&self, id: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.inner.root.catalog()?.get(Tree::Sessions, id.as_bytes())
    }

    /// Removes a session; returns whether it was there.
    ///
    /// # Errors
    /// [`StorageError::Catalog`].
    pub fn delete_session(&self, id: &str) -> Result<bool, StorageError> {
        self.inner.root.catalog()?.remove(Tree::Sessions, id.as_bytes())
    }

    /// Ids of all sessions, in order.
    ///
    /// # Errors
    /// [`StorageError::Catalog`].
    pub fn sessions(&self) -> Result<Vec<String>, StorageError> {
        self.record_ids(Tree::Sessions)
    }

    /// Sets the value of a job (a long-running operation's state); durable on return.
    ///
    /// # Errors
    /// [`StorageError::RecordTooLarge`] or [`StorageError::Catalog`].
    pub fn put_job(&self, id: &str, value: &[u8]) -> Result<(), StorageError> {
        self.put_record(Tree::Jobs, id, value)
    }

    /// The value of a job.
    ///
    /// # Errors
    /// [`StorageError::Catalog`], also when its checksum is wrong.
    pub fn job(&self, id: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.inner.root.catalog()?.get(Tree::Jobs, id.as_bytes())
    }

    /// Removes a job; returns whether it was there.
    ///
    /// # Errors
    /// [`StorageError::Catalog`].
    pub fn delete_job(&self, id: &str) -> Result<bool, StorageError> {
        self.inner.root.catalog()?.remove(Tree::Jobs, id.as_bytes())
    }

    /// Ids of all jobs, in order.
    ///
    /// # Errors
    /// [`StorageError::Catalog`].
    pub fn jobs(&self) -> Result<Vec<String>, StorageError> {
        self.record_ids(Tree::Jobs)
    }

    fn put_record(&self, tree: Tree, id: &str, value: &[u8]) -> Result<(), StorageError> {
        if id.is_empty() || id.len() > ID_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
            let (id_bytes, value_bytes) = (id.len(), value.len());
            return Err(StorageError::RecordTooLarge { id_bytes, value_bytes, limit: VALUE_BYTES_MAX });
        }
        self.inner.root.catalog()?.put(tree, id.as_bytes(), &value.to_vec())
    }

    fn record_ids(&self, tree: Tree) -> Result<Vec<String>, StorageError> {
        let keys = self.inner.root.catalog()?.keys(tree)?;
        Ok(keys.into_iter().filter_map(|key| String::from_utf8(key).ok()).collect())
    }
}
