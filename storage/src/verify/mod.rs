//! `verify`: reads every live byte again, whatever was found good before, and lists what is damaged and what that
//! means for whoever owns the items.
//!
//! It goes on after damage, so that one report names all of it. Batches, searches and seals go on meanwhile: what is
//! read is what the collection's files were when its turn came. [`segment`] checks one file, and what damage costs is
//! found out by the same survey that `repair` makes before it drops anything.

pub(crate) mod segment;

use std::path::{Path, PathBuf};

use crate::collection::Inner;
use crate::collection::capture::{Captured, CapturedJournal, MISSING};
use crate::error::{Damage, StorageError};
use crate::journal::scan;
use crate::progress::{Meter, Watch};
use crate::repair::RepairReport;
use crate::store::aliases::{ALIASES_FILE, AliasTable};
use crate::store::identity::{DATABASE_FILE, DatabaseRecord};
use crate::store::root::Root;

/// What `verify` found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Files read.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Collections read, damaged ones counted.
    pub collections: u64,
    /// Live rows of the collections that are open.
    pub rows: u64,
    /// Sessions and jobs read; none when the database is open for reading only, where they cannot be.
    pub records: Option<u64>,
    /// All damage, in the order in which it was met.
    pub damages: Vec<Damage>,
    /// What the damage of each collection means: what `repair` would say.
    pub risks: Vec<RepairReport>,
}

impl VerifyReport {
    /// Whether nothing is damaged.
    pub fn is_clean(&self) -> bool {
        self.damages.is_empty()
    }
}

/// Collects what is found and tells who watches.
pub(crate) struct Verifier<'a> {
    pub(crate) report: VerifyReport,
    pub(crate) meter: Meter<'a>,
}

impl<'a> Verifier<'a> {
    pub(crate) fn new(watch: Watch<'a>) -> Verifier<'a> {
        Verifier { report: VerifyReport::default(), meter: Meter::new(watch) }
    }

    /// Notes a file that was read, `bytes` of which were not told of yet.
    fn read(&mut self, path: &Path, bytes: u64) {
        self.report.files += 1;
        self.meter.add(path, bytes);
        self.report.bytes = self.meter.bytes;
    }

    /// Notes damage; any other error ends the verification.
    pub(crate) fn found(&mut self, error: StorageError) -> Result<(), StorageError> {
        let damage = match error {
            StorageError::Damaged(damage) => damage,
            StorageError::Catalog { path, message } => Damage { path, offset: 0, what: message },
            error @ StorageError::UnsupportedVersion { .. } => {
                let StorageError::UnsupportedVersion { path, .. } = &error else { return Ok(()) };
                Damage { path: path.clone(), offset: 0, what: error.to_string() }
            }
            error => return Err(error),
        };
        if !self.report.damages.contains(&damage) {
            self.report.damages.push(damage);
        }
        Ok(())
    }

    /// Reads the database's own files and every record of the catalog. `aliases`: what they are.
    pub(crate) fn database(&mut self, root: &Root, aliases: &AliasTable) -> Result<(), StorageError> {
        let backend = &*root.backend;
        let path = root.dir.join(DATABASE_FILE);
        match DatabaseRecord::read(backend, &root.dir) {
            Ok(Some(record)) if record.id == root.database => {}
            Ok(Some(record)) => {
                let what = format!("database file: of the database {:?}, not of {:?}", record.id, root.database);
                self.found(StorageError::damaged(&path, 0, what))?;
            }
            Ok(None) => self.found(StorageError::damaged(&path, 0, MISSING))?,
            Err(error) => self.found(error)?,
        }
        self.read(&path, 0);
        self.aliases(root, aliases)?;
        let Ok(catalog) = root.catalog() else {
            return Ok(());
        };
        let (records, problems) = catalog.check();
        for problem in problems {
            self.found(problem)?;
        }
        self.report.records = Some(records);
        self.read(&PathBuf::from(catalog.path()), 0);
        Ok(())
    }

    fn aliases(&mut self, root: &Root, now: &AliasTable) -> Result<(), StorageError> {
        let path = root.dir.join(ALIASES_FILE);
        // A reader may be behind the writer: it knows only whose file it must be.
        let known = (!root.is_read_only()).then_some(now);
        match AliasTable::read(&*root.backend, &root.dir) {
            Ok(Some(table)) => match table.stale(root.database, known) {
                Some(what) => self.found(StorageError::damaged(&path, 0, what)),
                None => Ok(()),
            },
            Ok(None) => self.found(StorageError::damaged(&path, 0, MISSING)),
            Err(error) => self.found(error),
        }
    }

    /// Reads every file of a collection.
    pub(crate) fn collection(&mut self, captured: Captured) -> Result<(), StorageError> {
        for problem in captured.problems {
            self.found(problem)?;
        }
        self.read(&captured.manifest_path, captured.manifest.to_bytes().len() as u64);
        for view in &captured.segments {
            let mut errors = Vec::new();
            segment::check(view, &mut self.meter, &mut |error| errors.push(error));
            self.report.files += 1;
            for error in errors {
                self.found(error)?;
            }
        }
        for journal in &captured.journals {
            self.read(&journal.path, journal.bytes().len() as u64);
            if let Err(error) = check_journal(journal) {
                self.found(error)?;
            }
        }
        self.report.bytes = self.meter.bytes;
        Ok(())
    }
}

/// Reads the records of a journal's durable part.
pub(crate) fn check_journal(journal: &CapturedJournal) -> Result<(), StorageError> {
    scan::scan(&journal.path, journal.bytes(), journal.identity, false, &mut |_, _| Ok(())).map(|_| ())
}

/// What the damage of an open collection means: its files examined as a repair would, while no generation comes or goes.
pub(crate) fn risk_of(inner: &Inner) -> Option<RepairReport> {
    let _published = inner.publishing.lock();
    crate::repair::examine::of_open(inner).map(|examined| examined.report).ok()
}
