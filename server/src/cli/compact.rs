//! `fromagerie compact`.

use clap::Args;
use fromagerie::CompactReport;
use serde_json::json;

use super::progress::{ByteProgress, human};
use super::{FilesArgs, Outcome, Output};

/// Brings each collection into as few segments as possible, without the rows that were deleted or replaced.
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
}

impl Compact {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let db = self.files.open(false)?;
        let collections = match &self.collection {
            Some(name) => vec![db.open_collection(name)?],
            None => db.collections()?,
        };
        let (mut before, mut after) = (0, 0);
        for collection in &collections {
            let mut progress = ByteProgress::new(output);
            let report = collection.compact(&mut |step| progress.step(step));
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
