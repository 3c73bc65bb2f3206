//! A file of vectors, loaded durably into a new collection, with what the process holds while it grows.

use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, ValueEnum};
use fromagerie::{Database, IndexKind, IngestOptions, NewCollection, Options, source_vectors};
use serde_json::{Value, json};

use crate::growth::Growth;
use crate::{disk_bytes, written_bytes};

/// How sealed segments are searched.
#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Flat,
    Graph,
}

/// Loads a file of vectors.
#[derive(Args)]
pub(crate) struct Load {
    /// A `.npy`, Parquet or Arrow file.
    #[arg(long)]
    file: PathBuf,
    /// Where the new database is made.
    #[arg(long)]
    db: PathBuf,
    /// Whether segments get a graph.
    #[arg(long, value_enum, default_value = "flat")]
    index: Kind,
    /// Items between two looks at memory.
    #[arg(long, default_value_t = 5000)]
    look_every: usize,
}

impl Load {
    pub(crate) fn run(self) -> anyhow::Result<Value> {
        let db = Database::open_with(&self.db, Options::default())?;
        let options = IngestOptions::default();
        let sources = [self.file];
        let dim = source_vectors(&sources, &options.source)?.map(|vectors| vectors.dim);
        let index = match self.index {
            Kind::Flat => IndexKind::Flat,
            Kind::Graph => IndexKind::default(),
        };
        let new = NewCollection { dim, vectors_only: true, index, ..NewCollection::default() };
        let items = db.create_collection("items", new)?;
        let mut growth = Growth::every(self.look_every);
        let (begun, before) = (Instant::now(), written_bytes()?);
        let report = items.ingest(&sources, &options, &|| false, &mut |event| growth.see(&event))?;
        let durable = begun.elapsed().as_secs_f64();
        items.seal()?;
        let seconds = begun.elapsed().as_secs_f64();
        Ok(json!({
            "rows": report.written, "dim": dim, "seconds_durable": durable, "seconds": seconds,
            "written_bytes": written_bytes()? - before, "disk_bytes": disk_bytes(&self.db),
            "segments": items.sealed_segments(), "memory": growth.samples(),
        }))
    }
}
