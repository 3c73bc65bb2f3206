//! What may be a name of a collection or an alias.

use crate::error::StorageError;

const NAME_BYTES_MAX: usize = 255;

/// Refuses a name that is empty, too long or holds control characters. Names are never part of a path.
pub(crate) fn check(name: &str) -> Result<(), StorageError> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(StorageError::BadName { name: name.to_owned(), bytes: name.len() });
    }
    Ok(())
}
