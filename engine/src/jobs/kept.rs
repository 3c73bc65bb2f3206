//! Records of jobs where they are kept: in the catalog, and as a copy for processes that only read.

use super::files::{self, Files};
use super::record::{Record, unix_seconds};
use crate::database::Database;
use crate::error::{Error, Result};

/// The record of a job.
///
/// # Errors
/// [`Error::UnknownJob`]; [`Error::BadJob`] when it does not read.
pub(super) fn load(db: &Database, id: &str) -> Result<Record> {
    let unknown = || Error::UnknownJob { id: id.to_owned() };
    let bytes = match db.is_read_only() {
        true => std::fs::read(Files::of(db.directory(), id)?.record()).map_err(|_| unknown())?,
        false => db.store().job(id)?.ok_or_else(unknown)?,
    };
    serde_json::from_slice(&bytes).map_err(|error| Error::BadJob { id: id.to_owned(), problem: error.to_string() })
}

/// Writes a record down; durable on return.
pub(super) fn store(db: &Database, record: &Record) -> Result<()> {
    let updated = Record { updated: unix_seconds(), ..record.clone() };
    let json = serde_json::to_vec(&updated)
        .map_err(|error| Error::BadJob { id: record.id.clone(), problem: error.to_string() })?;
    db.store().put_job(&record.id, &json)?;
    Files::of(db.directory(), &record.id)?.show(&json);
    Ok(())
}

/// Ids of all jobs.
pub(super) fn ids(db: &Database) -> Result<Vec<String>> {
    if db.is_read_only() { Ok(files::shown(db.directory())) } else { Ok(db.store().jobs()?) }
}
