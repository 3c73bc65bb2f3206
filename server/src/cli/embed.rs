//! `fromagerie embed`.

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use fromagerie::{EmbedOptions, FailureLog, FetchOptions, IngestEvent, Thumbnails, embed};
use serde_json::json;

use super::input::InputArgs;
use super::output::UsageError;
use super::{ModelArgs, Outcome, Output};

/// Turn pictures into a table of vectors, without a database.
///
/// It keeps nothing between calls, so shards can be embedded on as many machines as there are; `ingest` takes the tables
/// without the model's work. Sources are those of `ingest`. The table appears when it is whole.
#[derive(Args)]
pub(super) struct Embed {
    #[command(flatten)]
    model: ModelArgs,
    /// Folders, files, and patterns with braces.
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<PathBuf>,
    /// The table: a name that ends in .parquet or .arrow.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    input: InputArgs,
    /// Write the encoder's features too.
    #[arg(long)]
    with_features: bool,
    /// The thumbnails to write: jpeg, webp or none.
    #[arg(long, default_value = "jpeg", value_name = "KIND")]
    thumbnails: Thumbnails,
    /// Only part I of N (I from 0): every N-th record, for folders that are not sharded.
    #[arg(long, default_value = "0/1", value_name = "I/N")]
    part: String,
    /// Write what was left out to this file, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

impl Embed {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let part = self.part.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        let part = part.ok_or_else(|| UsageError(format!("--part is {:?}; it must be I/N, such as 0/4", self.part)))?;
        let input = self.input.input(self.sources.clone());
        let loaded = self.model.load("embed")?;
        let private = input.allow_private_addresses;
        let options = EmbedOptions {
            source: input.source,
            fetch: FetchOptions { allow_private_addresses: private, ..FetchOptions::default() },
            batch: input.batch,
            features: self.with_features,
            thumbnails: self.thumbnails,
            part,
        };
        let mut log = match &self.report {
            Some(path) => {
                let file = File::create(path).with_context(|| format!("{} cannot be written", path.display()))?;
                Some(FailureLog::new(BufWriter::new(file)))
            }
            None => None,
        };
        let bar = super::records::bar(output);
        let mut told = Ok(());
        let report = embed(&loaded, &input.sources, &options, &self.out, &|| false, &mut |event| {
            if let (IngestEvent::Failed(failure), Some(log), Ok(())) = (&event, &mut log, &told) {
                told = log.add(failure);
            }
            if told.is_ok() && !matches!(event, IngestEvent::Written { .. }) {
                told = super::records::tell(&event, output, &bar);
            } else if let IngestEvent::Written { keys, .. } = event {
                bar.inc(keys.len() as u64);
            }
        })?;
        bar.finish_and_clear();
        told?;
        if let Some(log) = log {
            log.finish()?;
        }
        let rate = report.written as f64 / report.seconds.max(1e-9);
        output.line(
            &format!(
                "{} records into {} in {:.1} s ({rate:.1}/s), {} left out",
                report.written,
                self.out.display(),
                report.seconds,
                report.failed
            ),
            &json!({
                "event": "summary", "out": self.out.display().to_string(), "found": report.found,
                "written": report.written, "failed": report.failed, "seconds": report.seconds,
            }),
        )?;
        Ok(if report.failed > 0 { Outcome::Partly } else { Outcome::Done })
    }
}
