//! What can go wrong in storage, with the values that say why.
//!
//! The caller's faults (wrong dimension, unknown name) and ours (damage, a failed disk) are different variants, so
//! that a server can map them to a status in one place. Every variant is `Clone`: one failed fsync answers every
//! batch of its commit group.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes on disk that are not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The damaged file.
    pub path: PathBuf,
    /// Where in the file, in bytes from its start.
    pub offset: u64,
    /// What was expected there and what it means.
    pub what: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at byte {}: {}", self.path.display(), self.offset, self.what)
    }
}

/// Every error of the storage room.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// There is no database in this directory and `create` was not asked for.
    #[error("there is no database at {}: check the path; a writer that may create one (ingest, serve) makes it", path.display())]
    NoDatabase {
        /// The directory.
        path: PathBuf,
    },
    /// The directory holds something else.
    #[error("{} holds `{entry}` and is not a database: choose an empty directory", path.display())]
    NotADatabase {
        /// The directory.
        path: PathBuf,
        /// An entry that no database has.
        entry: String,
    },
    /// A file, where a directory is wanted.
    #[error("{} is a file; a database is a directory: name that", path.display())]
    IsAFile {
        /// The file.
        path: PathBuf,
    },
    /// Another process (or another handle of this one) has the database open.
    #[error("{} is open elsewhere, held by {holder}: close it there, or open it for reading only", path.display())]
    Locked {
        /// The database directory.
        path: PathBuf,
        /// Pid, command and host of the holder, and since when it has held the lock.
        holder: String,
    },
    /// An operation of the file system failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The operation.
        action: &'static str,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// No space is left. Nothing of the refused batch was kept; reads go on.
    #[error("no space left to {action} {}: free some and try again, no restart is needed", path.display())]
    DiskFull {
        /// The file or directory.
        path: PathBuf,
        /// The operation.
        action: &'static str,
    },
    /// A file is damaged.
    #[error("damaged: {0}")]
    Damaged(Damage),
    /// A file was written by another version of the format.
    #[error("{} has format version {found}, this build reads {supported}", path.display())]
    UnsupportedVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The version this build reads and writes.
        supported: u32,
    },
    /// The catalog failed.
    #[error("catalog {}: {message}", path.display())]
    Catalog {
        /// The catalog's directory.
        path: PathBuf,
        /// What it said.
        message: String,
    },
    /// A failed fsync left the durability of earlier bytes unknown; the collection takes no more writes.
    #[error("{} takes no more writes: {cause}; check the disk, then close and open the database again", path.display())]
    Poisoned {
        /// The collection's directory.
        path: PathBuf,
        /// The first failure.
        cause: String,
    },
    /// No collection and no alias has this name.
    #[error("no collection or alias named `{name}`")]
    UnknownCollection {
        /// The name asked for.
        name: String,
    },
    /// No alias has this name.
    #[error("no alias named `{alias}`")]
    UnknownAlias {
        /// The alias asked for.
        alias: String,
    },
    /// The name is in use, by a collection or by an alias.
    #[error("`{name}` is already the name of a collection or an alias")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The collection still has aliases.
    #[error("`{name}` is still reached by the aliases {aliases:?}: move or remove them first")]
    HasAliases {
        /// The collection.
        name: String,
        /// Its aliases.
        aliases: Vec<String>,
    },
    /// A name is empty, too long or holds control characters.
    #[error("`{}` is not a name: 1 to 255 bytes without control characters, {bytes} given", name.escape_debug())]
    BadName {
        /// The name.
        name: String,
        /// Its length in bytes.
        bytes: usize,
    },
    /// A collection's dimensions are out of range.
    #[error("dim {dim} or feature_dim {feature_dim} out of range: dim is 1..=65536, feature_dim 0..=65536")]
    BadSpec {
        /// The asked dimension.
        dim: u32,
        /// The asked feature dimension.
        feature_dim: u32,
    },
    /// A merge was given up.
    #[error(
        "the merge in collection `{name}` was given up, since the collection is dropped, repaired or closed: nothing is lost"
    )]
    Stopped {
        /// The collection's name.
        name: String,
    },
    /// The collection was dropped while this handle was held.
    #[error("collection `{name}` was dropped")]
    Dropped {
        /// Its name.
        name: String,
    },
    /// A key is empty or too long.
    #[error("operation {position}: a key has 1 to 512 bytes, {bytes} given")]
    KeyLength {
        /// Position in the batch.
        position: usize,
        /// The key's length in bytes.
        bytes: usize,
    },
    /// A vector (or a feature vector) has the wrong number of elements.
    #[error("`{key}`: {what} has {received} elements, the collection has {expected}")]
    WrongDim {
        /// The record's key.
        key: String,
        /// `vector` or `features`.
        what: &'static str,
        /// Elements of the collection.
        expected: u32,
        /// Elements received.
        received: usize,
    },
    /// A vector (or a feature vector) holds a NaN or an infinity.
    #[error("`{key}`: element {element} of {what} is {value}")]
    NonFinite {
        /// The record's key.
        key: String,
        /// `vector` or `features`.
        what: &'static str,
        /// The first such element.
        element: usize,
        /// Its value.
        value: f32,
    },
    /// An element is too large for the halves that the collection keeps.
    #[error(
        "item `{key}`: vector element {element} is {value}: the collection keeps f16, up to 65504; scale the vector, or keep f32"
    )]
    HalfOverflow {
        /// The item's key.
        key: String,
        /// Position of the element.
        element: usize,
        /// Its value.
        value: f32,
    },
    /// All elements round to zero in the halves that the collection keeps.
    #[error(
        "item `{key}`: every element of the vector rounds to zero in f16, which the collection keeps; scale the vector, or keep f32"
    )]
    HalfUnderflow {
        /// The item's key.
        key: String,
    },
    /// Every element of a vector is zero: it has no direction.
    #[error("`{key}`: the vector is zero")]
    ZeroVector {
        /// The record's key.
        key: String,
    },
    /// A batch does not fit one journal record.
    #[error("a batch of {bytes} bytes is over the limit of {limit}: split it")]
    BatchTooLarge {
        /// Its encoded size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A request id is empty or too long.
    #[error("a request id has 1 to 128 bytes, {bytes} given")]
    RequestIdLength {
        /// Its length in bytes.
        bytes: usize,
    },
    /// The database was opened for reading only.
    #[error("{} is open for reading only, without sessions and jobs: open it for writing", path.display())]
    ReadOnly {
        /// The database directory.
        path: PathBuf,
    },
    /// A collection's files were replaced by what a repair made of them while this handle was held.
    #[error("collection `{name}` was repaired: take it from the database again")]
    Repaired {
        /// Its name.
        name: String,
    },
    /// Another collection has taken this one's place, and this handle was taken before.
    #[error(
        "nothing was written: another generation has taken the place of `{name}`; take the collection from the database again, by its alias"
    )]
    HandedOver {
        /// Its name.
        name: String,
    },
    /// Nothing says what a damaged collection was.
    #[error("{} cannot be repaired: {why}; restore a snapshot, or drop the collection", path.display())]
    Unrepairable {
        /// The collection's directory.
        path: PathBuf,
        /// What is missing.
        why: &'static str,
    },
    /// An operation would fill the disk.
    #[error("{} has {free} bytes free and {needed} are needed: free some and try again", path.display())]
    NoRoom {
        /// Where they would be written.
        path: PathBuf,
        /// Bytes that the operation needs.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// A snapshot or a restored database goes to a directory of its own.
    #[error("{} {problem}: choose a directory that does not exist yet", path.display())]
    BadDestination {
        /// The directory asked for.
        path: PathBuf,
        /// Why it will not do.
        problem: &'static str,
    },
    /// The directory is a snapshot, which is not opened but restored.
    #[error("{} is a snapshot: restore it to a directory of its own, then open that", path.display())]
    IsASnapshot {
        /// The directory.
        path: PathBuf,
    },
    /// The directory holds no complete snapshot.
    #[error("{} is no snapshot: it holds no `{file}`", path.display())]
    NotASnapshot {
        /// The directory.
        path: PathBuf,
        /// The file that every complete snapshot has.
        file: &'static str,
    },
    /// A session's or job's id or value is out of bounds.
    #[error("session or job: id of {id_bytes} bytes (1 to 512), value of {value_bytes} bytes (at most {limit})")]
    RecordTooLarge {
        /// Length of the id in bytes.
        id_bytes: usize,
        /// Length of the value in bytes.
        value_bytes: usize,
        /// Largest value in bytes.
        limit: usize,
    },
    /// A batch was made from what a key no longer has.
    #[error("`{key}` was written by somebody else meanwhile: read it and try again")]
    Changed {
        /// The key.
        key: String,
    },
    /// A row was asked for that the segment does not have.
    #[error("segment {segment} has {rows} rows, row {row} asked for")]
    NoSuchRow {
        /// The segment's id.
        segment: u64,
        /// The row.
        row: u32,
        /// Rows of the segment.
        rows: u32,
    },
}

impl StorageError {
    /// An I/O error with its file and operation; a full disk gets its own variant.
    pub(crate) fn io(path: &Path, action: &'static str, source: io::Error) -> StorageError {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StorageError::DiskFull { path, action },
            _ => StorageError::Io { path, action, source: Arc::new(source) },
        }
    }

    /// Damage at `offset` of `path`.
    pub(crate) fn damaged(path: &Path, offset: u64, what: impl Into<String>) -> StorageError {
        StorageError::Damaged(Damage { path: path.to_path_buf(), offset, what: what.into() })
    }

    /// Whether the disk failed, which says nothing of the bytes on it: trying again may succeed.
    pub(crate) fn is_of_the_disk(&self) -> bool {
        matches!(self, StorageError::Io { .. } | StorageError::DiskFull { .. })
    }

    /// The damage, when that is what this error is.
    pub fn damage(&self) -> Option<&Damage> {
        match self {
            StorageError::Damaged(damage) => Some(damage),
            _ => None,
        }
    }
}
