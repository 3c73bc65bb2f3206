//! Names in a database's directory.

/// The catalog.
pub(super) const CATALOG_FILE: &str = "catalog.redb";
/// What follows the name of a catalog that was moved aside; then when, and a number.
pub(super) const DAMAGED: &str = ".damaged-";
/// One folder in it for each collection.
pub(super) const COLLECTIONS_DIR: &str = "collections";
/// Where the engine keeps what belongs to jobs; nothing here reads it.
pub(super) const JOBS_DIR: &str = "jobs";
