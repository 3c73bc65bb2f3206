//! `fromagerie ingest`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use fromagerie::{IngestEvent, IngestOptions, IngestReport};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::{DatabaseArgs, Outcome, Output};

/// Reads every picture below the sources (JPEG, PNG, GIF, WebP, BMP, TIFF), embeds it, and writes it durably.
///
/// Keys are paths relative to their source. Captions come from a TSV (file, tab, caption; `captions.tsv` at the top
/// of a source is found by itself) or from a .txt file beside the picture. A picture that is in the collection
/// already, byte for byte, is skipped: run the same command again to go on after an interruption.
#[derive(Args)]
pub(super) struct Ingest {
    #[command(flatten)]
    database: DatabaseArgs,
    /// The collection, made when it is not there.
    #[arg(long)]
    collection: String,
    /// Folders and files.
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<PathBuf>,
    /// A TSV of file names and captions.
    #[arg(long, value_name = "FILE")]
    captions: Option<PathBuf>,
    /// Pictures that are encoded and made durable together.
    #[arg(long, default_value_t = 32)]
    batch: usize,
}

impl Ingest {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let db = self.database.open(true)?;
        let collection = db.collection(&self.collection)?;
        let bar = bar(output);
        let options = IngestOptions { batch: self.batch, captions: self.captions };
        let mut written_error = Ok(());
        let report = collection.ingest(&self.sources, &options, &|| false, &mut |event| {
            let told = tell(&event, output, &bar);
            if written_error.is_ok() {
                written_error = told;
            }
        })?;
        bar.finish_and_clear();
        written_error?;
        collection.seal()?;
        output.line(
            &summary(&report, &self.collection),
            &json!({
                "event": "summary", "collection": self.collection, "found": report.found, "written": report.written,
                "unchanged": report.unchanged, "failed": report.failed, "seconds": report.seconds,
            }),
        )?;
        Ok(if report.failed > 0 { Outcome::Partly } else { Outcome::Done })
    }
}

fn tell(event: &IngestEvent<'_>, output: &Output, bar: &ProgressBar) -> std::io::Result<()> {
    match event {
        IngestEvent::Found { items } => {
            bar.set_length(*items as u64);
            output.value(&json!({"event": "found", "items": items}))
        }
        IngestEvent::Written { keys, sequence } => {
            bar.inc(keys.len() as u64);
            output.value(&json!({"event": "written", "keys": keys, "sequence": sequence}))
        }
        IngestEvent::Unchanged { items } => {
            bar.inc(*items as u64);
            output.value(&json!({"event": "unchanged", "items": items}))
        }
        IngestEvent::Failed(failure) => {
            bar.inc(1);
            let message = format!("skipped {}: {}", failure.key, failure.error);
            bar.suspend(|| output.text(&format!("{message}\n")))?;
            output.value(&json!({
                "event": "failed", "key": failure.key, "path": failure.path,
                "reason": failure.error.reason(), "message": failure.error.to_string(),
            }))
        }
    }
}

fn summary(report: &IngestReport, collection: &str) -> String {
    let rate = report.written as f64 / report.seconds.max(1e-9);
    let mut text = format!("{} pictures into {collection:?} in {:.1} s ({rate:.1}/s)", report.written, report.seconds);
    if report.unchanged > 0 {
        text += &format!(", {} there already", report.unchanged);
    }
    if report.failed > 0 {
        text += &format!(", {} skipped", report.failed);
    }
    text
}

fn bar(output: &Output) -> ProgressBar {
    let target = if output.is_json() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(0), target);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len}  {per_sec}  {eta} left  {wide_msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// For work whose length is not known.
pub(super) fn spinner(output: &Output) -> ProgressBar {
    let target = if output.is_json() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(None, target);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
