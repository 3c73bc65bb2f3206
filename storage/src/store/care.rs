//! Looking after a database: verify, repair, and copies of it.

use std::path::Path;
use std::sync::Arc;

use crate::batch::CollectionSpec;
use crate::catalog::{self, CollectionRecord, Tree};
use crate::collection::Collection;
use crate::copy::{self, CopyReport};
use crate::error::StorageError;
use crate::progress::{Meter, Watch};
use crate::repair::examine::examine;
use crate::repair::subject::Subject;
use crate::repair::{self, CatalogRepair, RepairReport};
use crate::segment::SegmentBuilder;
use crate::verify::{Verifier, VerifyReport, risk_of};

use super::aliases::AliasTable;
use super::registry::{Entry, id_of};
use super::{Changing, DamagedCollection, Store, StoreOptions};

/// Who makes the graphs of segments that a repair writes anew, by what the collection holds.
pub type BuilderOf<'a> = &'a dyn Fn(&CollectionSpec) -> Option<Arc<dyn SegmentBuilder>>;

impl Store {
    /// Reads every live byte of the database again and lists all damage: of its collections, its aliases, its sessions
    /// and jobs. Batches and searches go on meanwhile.
    ///
    /// # Errors
    /// An I/O error that is not damage: the report would not be complete.
    pub fn verify(&self, watch: Watch<'_>) -> Result<VerifyReport, StorageError> {
        let mut verifier = Verifier::new(watch);
        {
            let changing = self.inner.changing.lock();
            verifier.database(&self.inner.root, &self.alias_table(&changing))?;
        }
        let entries = self.inner.registry.read().collections.values().cloned().collect();
        self.verify_entries(entries, verifier)
    }

    /// The same for one collection.
    ///
    /// # Errors
    /// [`StorageError::UnknownCollection`], and as [`Store::verify`].
    pub fn verify_collection(&self, name: &str, watch: Watch<'_>) -> Result<VerifyReport, StorageError> {
        self.verify_entries(vec![self.entry(name)?], Verifier::new(watch))
    }

    fn verify_entries(&self, entries: Vec<Entry>, mut verifier: Verifier<'_>) -> Result<VerifyReport, StorageError> {
        let open: Vec<&Collection> = entries.iter().flatten().collect();
        let captured: Vec<_> = open.iter().map(|collection| collection.inner.capture_now()).collect();
        verifier.meter.total_bytes += captured.iter().map(|files| files.total_bytes()).sum::<u64>();
        verifier.report.collections = entries.len() as u64;
        for (collection, files) in open.into_iter().zip(captured) {
            let before = verifier.report.damages.len();
            verifier.report.rows += collection.snapshot().len() as u64;
            verifier.collection(files)?;
            if verifier.report.damages.len() > before {
                verifier.report.risks.extend(risk_of(&collection.inner));
            }
        }
        for damaged in entries.into_iter().filter_map(Result::err) {
            self.verify_damaged(damaged, &mut verifier)?;
        }
        Ok(verifier.report)
    }

    fn verify_damaged(&self, damaged: DamagedCollection, verifier: &mut Verifier<'_>) -> Result<(), StorageError> {
        let subject = Subject::new(&self.inner.root, damaged.id, self.record_of(damaged.id));
        match examine(&subject, &mut verifier.meter) {
            Ok(examined) => {
                for damage in &examined.report.damages {
                    verifier.found(StorageError::Damaged(damage.clone()))?;
                }
                verifier.report.risks.push(examined.report);
                Ok(())
            }
            Err(_) => verifier.found(damaged.error),
        }
    }

    /// Examines a collection and says what is damaged and what that costs; with `write`, makes it whole again by
    /// dropping what is damaged and nothing else. Other collections serve meanwhile; handles of this one write no more
    /// ([`StorageError::Repaired`]) and read on.
    ///
    /// # Errors
    /// [`StorageError::UnknownCollection`], [`StorageError::Unrepairable`], [`StorageError::ReadOnly`] with `write`,
    /// [`StorageError::NoRoom`], or an I/O error: the collection is then as it was.
    pub fn repair(
        &self,
        name: &str,
        write: bool,
        builder_of: BuilderOf<'_>,
        watch: Watch<'_>,
    ) -> Result<RepairReport, StorageError> {
        let root = &self.inner.root;
        if write {
            root.catalog()?;
        }
        let _changing = self.inner.changing.lock();
        let mut meter = Meter::new(watch);
        let entry = self.entry(name)?;
        let open = entry.as_ref().ok().map(|collection| collection.inner.clone());
        let _merging = open.as_ref().filter(|_| write).map(|inner| inner.stop_merging());
        let _published = open.as_ref().map(|inner| inner.publishing.lock());
        let subject = match (&open, &entry) {
            (Some(inner), _) => Subject::open(inner),
            (None, entry) => Subject::new(root, id_of(entry), self.record_of(id_of(entry))),
        };
        let halted = open.as_ref().filter(|_| write).map(|inner| {
            let repaired = StorageError::Repaired { name: inner.name.clone() };
            inner.state.lock().halted.replace(repaired)
        });
        let repaired = self.examine_and_apply(&subject, write, builder_of, &mut meter);
        let was_written = repaired.as_ref().is_ok_and(|report| report.moved_to.is_some());
        if let (Some(inner), Some(halted), false) = (&open, halted, was_written) {
            inner.state.lock().halted = halted;
        }
        let report = repaired?;
        if was_written {
            self.replace(&report)?;
        }
        Ok(report)
    }

    /// Names sessions and jobs whose records are damaged; with `write`, moves them aside.
    ///
    /// # Errors
    /// [`StorageError::Catalog`], or [`StorageError::ReadOnly`].
    pub fn repair_catalog(&self, write: bool) -> Result<CatalogRepair, StorageError> {
        repair::catalog::repair(&self.inner.root, write)
    }

    /// Copies the database as it is at one moment to `dest`, which is made by it, while writing goes on. Sealed files
    /// are hard links where the file system has them, unless `whole` asks for bytes of their own.
    ///
    /// # Errors
    /// [`StorageError::BadDestination`], damage (a damaged database is not copied: repair it first), or an I/O error:
    /// nothing is then at `dest`.
    pub fn snapshot_to(&self, dest: &Path, whole: bool, watch: Watch<'_>) -> Result<CopyReport, StorageError> {
        let root = &self.inner.root;
        let catalog = root.catalog()?;
        copy::check_outside(dest, &root.dir, "lies in the database")?;
        if let Some(damaged) = self.damaged().pop() {
            return Err(damaged.error);
        }
        let (captured, aliases) = {
            let changing = self.inner.changing.lock();
            let aliases = self.alias_table(&changing);
            let registry = self.inner.registry.read();
            let collections: Vec<Collection> = registry.collections.values().flatten().cloned().collect();
            drop(registry);
            (copy::take::capture(&collections), aliases)
        };
        copy::take::write(&*root.backend, catalog, captured, &aliases, dest, whole, &mut Meter::new(watch))
    }

    /// Makes a database of a snapshot in `dest`, which is made by it, after every byte of the snapshot was checked.
    ///
    /// # Errors
    /// [`StorageError::NotASnapshot`], [`StorageError::BadDestination`], [`StorageError::Damaged`] with the file and
    /// the offset, or an I/O error: nothing is then at `dest`.
    pub fn restore(
        snapshot: &Path,
        dest: &Path,
        whole: bool,
        options: StoreOptions,
        watch: Watch<'_>,
    ) -> Result<CopyReport, StorageError> {
        copy::restore::restore(snapshot, dest, whole, options, &mut Meter::new(watch))
    }

    fn examine_and_apply(
        &self,
        subject: &Subject<'_>,
        write: bool,
        builder_of: BuilderOf<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<RepairReport, StorageError> {
        let examined = examine(subject, meter)?;
        let mut report = examined.report.clone();
        if !write || report.is_clean() {
            return Ok(report);
        }
        let root = &self.inner.root;
        let spec = examined.spec().clone();
        let builder = builder_of(&spec);
        let applied = repair::apply::apply(subject, examined, root.options.request_ids_max, builder.as_deref())?;
        let (generation, sequence) = (applied.generation, applied.sequence);
        let record = CollectionRecord { name: report.collection.clone(), generation, sequence, spec };
        root.catalog()?.put(Tree::Collections, &catalog::collection_key(subject.id), &record)?;
        report.moved_to = Some(applied.moved_to);
        Ok(report)
    }

    /// Opens what a repair published in the place of what was there.
    fn replace(&self, report: &RepairReport) -> Result<(), StorageError> {
        let inner = crate::collection::open::open(&self.inner.root, report.id, None, &mut Vec::new())?;
        let collection = Collection::new(Arc::new(inner));
        let mut registry = self.inner.registry.write();
        registry.remove(report.id);
        registry.add(Ok(collection));
        Ok(())
    }

    /// The collection of a name or an alias, open or damaged.
    fn entry(&self, name_or_alias: &str) -> Result<Entry, StorageError> {
        let registry = self.inner.registry.read();
        registry
            .find(name_or_alias)
            .cloned()
            .ok_or_else(|| StorageError::UnknownCollection { name: name_or_alias.to_owned() })
    }

    /// The aliases as they are now.
    fn alias_table(&self, changing: &Changing) -> AliasTable {
        let aliases = self.inner.registry.read().aliases.clone();
        AliasTable { database: self.inner.root.database, change: changing.aliases, aliases }
    }

    /// What the catalog knows of a collection.
    fn record_of(&self, id: u64) -> Option<CollectionRecord> {
        let catalog = self.inner.root.catalog().ok()?;
        catalog.get(Tree::Collections, &catalog::collection_key(id)).ok().flatten()
    }
}
