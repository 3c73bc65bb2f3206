//! `fromagerie stats`.

use clap::Args;
use fromagerie::{CollectionStats, RecallEstimate, UsageStats};
use serde_json::{Value, json};

use super::progress::human;
use super::{FilesArgs, Outcome, Output};

/// Say what collections cost on disk and in memory, and how well they are searched.
///
/// Bytes per item by part, dead space, journal, what is mapped and what is resident; and what share of the true hits
/// searches found.
///
/// Reads heads of files alone. Beside a process that has the database open, use --read-only; what that process holds on
/// its heap is then not seen, and queries and recall as it last wrote them.
#[derive(Args)]
pub(super) struct Stats {
    #[command(flatten)]
    files: FilesArgs,
    /// Only this collection; every one when not given.
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
    /// Read beside the process that has the database open.
    #[arg(long)]
    read_only: bool,
}

impl Stats {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let db = self.files.open(self.read_only)?;
        let collections = match &self.collection {
            Some(name) => vec![db.open_collection(name)?],
            None => db.collections()?,
        };
        let mut values = Vec::new();
        for collection in &collections {
            let (stats, usage) = (collection.stats(), collection.usage());
            output.text(&(table(collection.name(), &stats) + &use_of(&usage)))?;
            values.push(value(collection.name(), &stats, &usage));
        }
        let damaged = db.damaged();
        for (name, error) in &damaged {
            output.text(&format!("{name}: {error}\n"))?;
        }
        let names: Vec<_> = damaged.iter().map(|(name, _)| name).collect();
        output.value(&json!({"event": "summary", "collections": values, "damaged": names}))?;
        Ok(if damaged.is_empty() { Outcome::Done } else { Outcome::Bad })
    }
}

fn table(name: &str, stats: &CollectionStats) -> String {
    let (live, dead) = (stats.live, stats.dead);
    let mut text = format!(
        "{name}\n  {live} items, {dead} dead rows, {} sealed segments, {} rows in memory\n",
        stats.sealed_segments, stats.memory_rows
    );
    text += &format!("  {:<12}{:>14}{:>18}\n", "part", "bytes", "bytes per row");
    let mut row = |part: &str, bytes: u64| {
        text += &format!("  {part:<12}{bytes:>14}{:>18.1}\n", per_row(stats, bytes));
    };
    for part in stats.parts.iter().filter(|part| part.bytes > 0) {
        row(part.name, part.bytes);
    }
    row("sealed", stats.sealed_bytes);
    text += &format!("  dead space   about {}\n", human(stats.dead_bytes));
    text += &format!("  journals     {}\n", human(stats.journals_bytes));
    let resident = stats.resident_bytes.map_or("unknown".to_owned(), human);
    text += &format!("  mapped       {}, of which resident {resident}\n", human(stats.mapped_bytes));
    text += &format!("  heap         {}, and {} request ids\n", human(stats.memory_bytes), stats.request_ids);
    if let Some(error) = &stats.last_seal_error {
        text += &format!("  the last seal or merge failed: {error}\n");
    }
    text
}

fn use_of(usage: &UsageStats) -> String {
    let UsageStats { queries_received, queries_kept, recall } = usage;
    let recall = recall.map_or("not measured yet".to_owned(), |recall| {
        let RecallEstimate { mean, low, high, samples } = recall;
        format!("{mean:.3} ({low:.3} to {high:.3}, {samples} searches repeated exactly)")
    });
    format!("  queries      {queries_received} received, {queries_kept} kept\n  recall       {recall}\n")
}

/// Bytes of a part for each sealed row, dead ones counted: what an item costs when nothing is dead.
fn per_row(stats: &CollectionStats, bytes: u64) -> f64 {
    let rows = (stats.live + stats.dead).saturating_sub(stats.memory_rows);
    if rows == 0 { 0.0 } else { bytes as f64 / rows as f64 }
}

fn value(name: &str, stats: &CollectionStats, usage: &UsageStats) -> Value {
    let parts = stats.parts.iter().map(|part| (part.name.to_owned(), part.bytes.into()));
    let per_row = stats.parts.iter().map(|part| (part.name.to_owned(), per_row(stats, part.bytes).into()));
    json!({
        "name": name, "items": stats.live, "dead_rows": stats.dead, "sealed_segments": stats.sealed_segments,
        "memory_rows": stats.memory_rows, "memory_bytes": stats.memory_bytes, "sealed_bytes": stats.sealed_bytes,
        "part_bytes": parts.collect::<serde_json::Map<_, _>>(),
        "part_bytes_per_row": per_row.collect::<serde_json::Map<_, _>>(),
        "dead_bytes": stats.dead_bytes, "journals_bytes": stats.journals_bytes, "mapped_bytes": stats.mapped_bytes,
        "resident_bytes": stats.resident_bytes, "request_ids": stats.request_ids, "sequence": stats.sequence,
        "queries_received": usage.queries_received, "queries_kept": usage.queries_kept,
        "recall": usage.recall.map(|recall| {
            json!({"mean": recall.mean, "low": recall.low, "high": recall.high, "samples": recall.samples})
        }),
        "generation": stats.generation, "last_seal_error": stats.last_seal_error.as_ref().map(ToString::to_string),
    })
}
