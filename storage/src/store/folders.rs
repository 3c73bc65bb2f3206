//! Folders in a database's directory.

/// The catalog's.
pub(super) const CATALOG_DIR: &str = "catalog";
/// One folder in it for each collection.
pub(super) const COLLECTIONS_DIR: &str = "collections";
/// Where the engine keeps what belongs to jobs; nothing here reads it.
pub(super) const JOBS_DIR: &str = "jobs";
