//! Taking a snapshot: all collections at one moment, every byte checked, sealed files linked.
//!
//! The moment is chosen under the locks of all publishers and, for an instant, all writers; then writing, sealing and merging
//! go on, since what was captured is mapped. Sessions and jobs are each as they are when they are read, shortly after.
//! A snapshot of damaged files would only be noticed when it is needed: every byte is checked, and damage refuses it.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::backend::{self, Backend};
use crate::catalog::Catalog;
use crate::collection::Collection;
use crate::collection::capture::Captured;
use crate::error::StorageError;
use crate::progress::Meter;
use crate::segment::layout;
use crate::store::aliases::{ALIASES_FILE, AliasTable};
use crate::verify::{check_journal, segment};

use super::list::{List, Listed, RECORDS_FILE};
use super::{CopyReport, Making, records};

/// All collections as they are at one moment.
pub(crate) fn capture(collections: &[Collection]) -> Vec<(Captured, u64)> {
    let published: Vec<_> = collections.iter().map(|collection| collection.inner.publishing.lock()).collect();
    let ends: Vec<_> = {
        let states: Vec<_> = collections.iter().map(|collection| collection.inner.state.lock()).collect();
        let items = collections.iter().map(|collection| collection.snapshot().len() as u64);
        states.iter().map(|state| state.journal_end()).zip(items).collect()
    };
    let captured = collections.iter().zip(&published).zip(ends);
    captured.map(|((collection, published), (end, items))| (collection.inner.capture(published, end), items)).collect()
}

/// Writes what was captured to `dest`.
pub(crate) fn write(
    backend: &dyn Backend,
    catalog: &Catalog,
    captured: Vec<(Captured, u64)>,
    aliases: &AliasTable,
    dest: &Path,
    whole: bool,
    meter: &mut Meter<'_>,
) -> Result<CopyReport, StorageError> {
    let making = Making::begin(backend, dest)?;
    meter.total_bytes = captured.iter().map(|(files, _)| files.total_bytes()).sum();
    let mut taking = Taking { making: &making, list: List::default(), linked_bytes: 0, whole, meter };
    match taking.all(catalog, captured, aliases) {
        Ok(()) => {
            let List { collections, items, records, .. } = taking.list;
            let (files, bytes) = (taking.list.files.len() as u64, taking.list.bytes());
            let linked_bytes = taking.linked_bytes;
            making.finish()?;
            Ok(CopyReport { files, bytes, linked_bytes, collections, items, records })
        }
        Err(error) => {
            making.abandon();
            Err(error)
        }
    }
}

struct Taking<'a, 'b> {
    making: &'a Making<'a>,
    list: List,
    linked_bytes: u64,
    whole: bool,
    meter: &'a mut Meter<'b>,
}

impl Taking<'_, '_> {
    fn all(
        &mut self,
        catalog: &Catalog,
        captured: Vec<(Captured, u64)>,
        aliases: &AliasTable,
    ) -> Result<(), StorageError> {
        let collections = self.making.create_dir("collections")?;
        for (files, items) in captured {
            self.list.collections += 1;
            self.list.items += items;
            self.collection(files)?;
        }
        self.making.sync(&collections)?;
        self.file(ALIASES_FILE.to_owned(), &aliases.to_bytes())?;
        let path = self.making.dir.join(RECORDS_FILE);
        self.list.records = records::write(self.making.backend, &path, catalog)?;
        let written = self.making.backend.map(&path).map_err(|e| StorageError::io(&path, "map", e))?;
        self.list.files.push(Listed::of(RECORDS_FILE.to_owned(), written.bytes()));
        self.list.created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
        self.list.write(self.making.backend, &self.making.dir)
    }

    fn collection(&mut self, files: Captured) -> Result<(), StorageError> {
        if let Some(problem) = files.problems.into_iter().next() {
            return Err(problem);
        }
        let relative = format!("collections/{:016x}", files.id);
        let dir = self.making.create_dir(&relative)?;
        let name = |file: &str| format!("{relative}/{file}");
        let generation = crate::manifest::file_name(files.manifest.generation);
        self.file(name(&generation), &files.manifest.to_bytes())?;
        for view in &files.segments {
            let mut damage = None;
            segment::check(view, self.meter, &mut |error| damage = damage.take().or(Some(error)));
            if let Some(error) = damage {
                return Err(error);
            }
            let Some(sealed) = view.sealed_body() else { continue };
            self.sealed(name(&layout::file_name(view.id())), &sealed.path, sealed.file())?;
        }
        for journal in &files.journals {
            check_journal(journal)?;
            self.file(name(&journal.identity.file_name()), journal.bytes())?;
        }
        self.making.sync(&dir)
    }

    /// A file that does not change: a second name, or its bytes where it cannot have one or was removed meanwhile.
    fn sealed(&mut self, name: String, from: &Path, content: &[u8]) -> Result<(), StorageError> {
        let to = self.making.dir.join(&name);
        if self.whole || self.making.backend.link(from, &to).is_err() {
            backend::write_file(self.making.backend, &to, content)?;
        } else {
            self.linked_bytes += content.len() as u64;
        }
        self.list.files.push(Listed::of(name, content));
        Ok(())
    }

    fn file(&mut self, name: String, content: &[u8]) -> Result<(), StorageError> {
        let to = self.making.dir.join(&name);
        backend::write_file(self.making.backend, &to, content)?;
        self.meter.add(&to, content.len() as u64);
        self.list.files.push(Listed::of(name, content));
        Ok(())
    }
}
