//! Looking after a database: repair, snapshots, and reading beside a writer.

use std::path::Path;
use std::sync::Arc;

use fromagerie_storage::{
    CatalogRepair, CollectionSpec, CopyReport, RepairReport, SegmentBuilder, Store, StoreOptions, Watch,
};

use crate::database::Database;
use crate::error::Result;
use crate::graph::GraphBuilder;
use crate::model_slot::Options;
use crate::settings::Settings;

impl Database {
    /// Opens the database at `path` for reading only, whoever has it open for writing, with the default [`Options`].
    ///
    /// # Errors
    /// There is no database at `path`.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Database> {
        Database::open_with(path, Options { read_only: true, ..Options::default() })
    }

    /// Takes what the writer has published since, when the database was opened for reading only; opening a collection by
    /// name does the same.
    pub fn refresh(&self) -> Result<()> {
        Ok(self.store().refresh()?)
    }

    /// Names of collections that are damaged so that they could not be opened, and why.
    pub fn damaged(&self) -> Vec<(String, crate::Error)> {
        self.store().damaged().into_iter().map(|damaged| (damaged.name, damaged.error.into())).collect()
    }

    /// What opening did beyond reading: tails cut, a catalog rebuilt.
    pub fn notes(&self) -> Vec<String> {
        self.store().notes().iter().map(ToString::to_string).collect()
    }

    /// Says what is damaged in a collection and what a repair would lose; with `write`, makes it whole again by dropping
    /// what is damaged and nothing else. Damaged files are moved aside, not deleted; other collections serve meanwhile.
    pub fn repair(&self, name: &str, write: bool, watch: Watch<'_>) -> Result<RepairReport> {
        self.named(name, self.store().repair(name, write, &builder_of, watch))
    }

    /// Names sessions and jobs whose records are damaged; with `write`, moves those aside.
    pub fn repair_catalog(&self, write: bool) -> Result<CatalogRepair> {
        Ok(self.store().repair_catalog(write)?)
    }

    /// Copies the database as it is at one moment to `dest`, while writing goes on. Sealed files are hard links where
    /// the file system has them, unless `whole` asks for bytes of their own.
    pub fn snapshot(&self, dest: impl AsRef<Path>, whole: bool, watch: Watch<'_>) -> Result<CopyReport> {
        Ok(self.store().snapshot_to(dest.as_ref(), whole, watch)?)
    }

    /// Makes a database of a snapshot in `dest`, after every byte of the snapshot was checked.
    pub fn restore(
        snapshot: impl AsRef<Path>,
        dest: impl AsRef<Path>,
        whole: bool,
        watch: Watch<'_>,
    ) -> Result<CopyReport> {
        Ok(Store::restore(snapshot.as_ref(), dest.as_ref(), whole, StoreOptions::default(), watch)?)
    }
}

/// Who makes the graphs of segments that a repair writes anew; nobody where the settings are not understood.
fn builder_of(spec: &CollectionSpec) -> Option<Arc<dyn SegmentBuilder>> {
    let settings: Settings = serde_json::from_str(&spec.settings).ok()?;
    Some(Arc::new(GraphBuilder { kind: settings.index, usage: None }))
}
