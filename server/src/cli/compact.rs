//! `fromagerie compact`.

use std::path::PathBuf;

use clap::Args;
use fromagerie::{CompactReport, Progress};
use serde_json::json;

use super::npy;
use super::progress::{ByteProgress, human};
use super::{FilesArgs, Outcome, Output};

/// Bring collections into few segments, without dead rows.
///
/// Looks first whether the disk has room for the largest merge beside what it replaces. A damaged collection is not
/// touched: `fromagerie repair` comes first.
#[derive(Args)]
pub(super) struct Compact {
    #[command(flatten)]
    files: FilesArgs,
    /// Only this collection; every one when not given.
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
    /// Make all graphs anew, also where nothing is dead, so that they learn from the queries received since.
    #[arg(long)]
    rebuild: bool,
    /// More queries for the graphs to learn from, as NumPy wrote them: [n, dim], float32. Implies --rebuild.
    #[arg(long, value_name = "FILE.npy", requires = "collection")]
    queries: Option<PathBuf>,
}

impl Compact {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let db = self.files.open(false)?;
        let collections = match &self.collection {
            Some(name) => vec![db.open_collection(name)?],
            None => db.collections()?,
        };
        let queries = match &self.queries {
            Some(path) => Some(npy::read_vectors(path)?),
            None => self.rebuild.then(Vec::new),
        };
        let (mut before, mut after) = (0, 0);
        for collection in &collections {
            let mut progress = ByteProgress::new(output);
            let mut watch = |step: &Progress<'_>| progress.step(step);
            let report = match &queries {
                Some(queries) => collection.learn(queries.clone(), &mut watch),
                None => collection.compact(&mut watch),
            };
            progress.done();
            let CompactReport { segments_before, segments_after, dropped_rows, bytes_before, bytes_after } = report?;
            let name = collection.name();
            output.line(
                &format!(
                    "{name}: {segments_before} segments of {} became {segments_after} of {}, {dropped_rows} dead rows went",
                    human(bytes_before),
                    human(bytes_after)
                ),
                &json!({
                    "event": "collection", "name": name, "segments_before": segments_before,
                    "segments_after": segments_after, "dropped_rows": dropped_rows, "bytes_before": bytes_before,
                    "bytes_after": bytes_after,
                }),
            )?;
            (before, after) = (before + bytes_before, after + bytes_after);
        }
        output.value(&json!({
            "event": "summary", "collections": collections.len(), "bytes_before": before, "bytes_after": after,
        }))?;
        Ok(Outcome::Done)
    }
}
