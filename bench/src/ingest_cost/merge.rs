//! Segments merged into one while searches run: the largest merge that there can be, with the graph over all rows.

use std::path::PathBuf;

use clap::Args;
use fromagerie::{Database, IngestOptions, NewCollection, Options, source_vectors};
use serde_json::Value;

use crate::searching::{Searches, queries};
use crate::{disk_bytes, memory};

const NAME: &str = "items";

/// Merges all segments of a collection while searches run.
#[derive(Args)]
pub(crate) struct Merge {
    /// A `.npy` file: the items.
    #[arg(long)]
    file: PathBuf,
    /// Where the new database is made.
    #[arg(long)]
    db: PathBuf,
    /// Seconds of searches before the merge begins.
    #[arg(long, default_value_t = 10)]
    idle_seconds: u64,
}

impl Merge {
    pub(crate) fn run(self) -> anyhow::Result<Value> {
        let db = Database::open_with(&self.db, Options { recall_budget: 0.0, ..Options::default() })?;
        let (sources, options) = ([self.file], IngestOptions::default());
        let dim = source_vectors(&sources, &options.source)?.map(|vectors| vectors.dim);
        let items =
            db.create_collection(NAME, NewCollection { dim, vectors_only: true, ..NewCollection::default() })?;
        let written = items.ingest(&sources, &options, &|| false, &mut |_| {})?.written;
        items.seal()?;
        let (segments, before) = (items.sealed_segments(), disk_bytes(&self.db));
        let queries = queries(&items)?;
        let searches = Searches { db: &db, folder: &self.db, name: NAME, queries: &queries };
        let (mut told, merged) = searches.beside(self.idle_seconds, || items.compact(&mut |_| {}));
        merged?;
        told["items"] = written.into();
        told["segments"] = serde_json::json!([segments, items.sealed_segments()]);
        told["disk_before"] = before.into();
        told["disk_after"] = disk_bytes(&self.db).into();
        told["memory"] = memory()?;
        Ok(told)
    }
}
