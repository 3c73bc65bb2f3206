//! `fromagerie ingest`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};
use fromagerie::{IngestJob, IngestReport, Job, JobSpec, Thumbnails, VectorType};
use serde_json::json;

use super::input::InputArgs;
use super::output::{UsageError, is_users_fault};
use super::{DatabaseArgs, Outcome, Output};

/// Put pictures or vectors from any source into a collection.
///
/// What a SOURCE is is told by its name and first bytes: a folder or file of pictures (JPEG, PNG, GIF, WebP, BMP,
/// TIFF); a tar shard as webdataset and img2dataset write it, or a folder of them; a CSV, TSV or JSON Lines file with a
/// column of pictures (paths or addresses) or vectors; a .npy matrix of vectors; a FROMAGe pickle of paths and
/// embeddings. Braces name many: 'shards/{00000..00012}.tar'.
///
/// A record that cannot be used is reported and left out; it stops nothing. What is in the collection already, byte for
/// byte, is skipped: run the same command again to go on after an interruption.
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Ingest {
    #[command(flatten)]
    database: DatabaseArgs,
    /// The collection, made when it is not there.
    #[arg(long)]
    collection: String,
    /// Folders, files, and patterns with braces.
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<PathBuf>,
    #[command(flatten)]
    input: InputArgs,
    /// A new collection keeps the encoder's features, from which another map makes vectors without the pictures.
    #[arg(long)]
    with_features: bool,
    /// How a new collection keeps the elements of its vectors; f16 takes half the bytes.
    #[arg(long, value_enum, default_value = "f32", value_name = "TYPE")]
    vector_type: VectorTypeArg,
    /// What a new collection keeps of pictures to be looked at: jpeg, webp (without loss: for drawings) or none.
    #[arg(long, default_value = "jpeg", value_name = "KIND")]
    thumbnails: Thumbnails,
    /// At the end, remove items that the sources do not name: the collection is then what they are.
    #[arg(long)]
    sync: bool,
    /// After that, keep looking for changes and follow them, until stopped. One folder of pictures.
    #[arg(long, requires = "sync")]
    watch: bool,
    /// How often --watch looks, in seconds.
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS")]
    watch_every: f64,
    /// Report groups of items whose vectors have this cosine or more, such as 0.98.
    #[arg(long, value_name = "SCORE")]
    near_duplicates: Option<f32>,
    /// Write what was left out to this file: one JSON object a line, with key, source, place, stage, reason, message;
    /// and groups of near duplicates.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum VectorTypeArg {
    /// Single floats.
    F32,
    /// Half floats.
    F16,
}

impl From<VectorTypeArg> for VectorType {
    fn from(arg: VectorTypeArg) -> VectorType {
        match arg {
            VectorTypeArg::F32 => VectorType::F32,
            VectorTypeArg::F16 => VectorType::F16,
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  Pictures, with captions.tsv or a .txt beside each:
    fromagerie ingest --db cellar --collection photos ~/Pictures
  Shards of webdataset or img2dataset, and what went wrong:
    fromagerie ingest --db cellar --collection web 'shards/{00000..00012}.tar' --report failed.jsonl
  A table of paths; every further column becomes payload:
    fromagerie ingest --db cellar --collection cc3m cc3m_train.tsv --image-root cc3m/training
    fromagerie ingest --db cellar --collection shop goods.csv --image-column photo --key-column sku
  Vectors that were made elsewhere, into a collection of vectors alone:
    fromagerie ingest --db cellar --collection rows vectors.npy --keys names.txt
  FROMAGe's embeddings, into a collection of the model that made them:
    fromagerie ingest --db cellar --bundle BUNDLE --collection cc3m cc3m_embeddings.pkl --same-space

Exit codes: 0 all in, 1 some records left out, 2 the user's fault, 3 ours.";

impl Ingest {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        self.check()?;
        let db = self.database.open(true)?;
        let spec = JobSpec::Ingest(IngestJob {
            collection: self.collection.clone(),
            input: self.input.input(self.sources.clone()),
            features: self.with_features,
            thumbnails: self.thumbnails,
            vector_type: self.vector_type.into(),
            sync: self.sync,
        });
        let job = match db.unfinished_job(&spec)? {
            Some(job) => job,
            None => db.start_job(spec)?,
        };
        let ended = super::jobs::run(&db, &job.id, output);
        if let Err(error) = &ended
            && is_users_fault(error)
            && db.job(&job.id)?.progress.report.found == 0
        {
            // It never began: what is wrong is with the command, and there is nothing to go on with.
            db.delete_job(&job.id)?;
        }
        let job = ended?;
        let collection = db.open_collection(&self.collection)?;
        let groups = match self.near_duplicates {
            Some(score_min) => collection.near_duplicates(score_min, &|| false)?,
            None => Vec::new(),
        };
        if let Some(path) = &self.report {
            write_report(path, &db.job_failures(&job.id)?, &groups)
                .with_context(|| format!("{} cannot be written", path.display()))?;
        }
        for keys in &groups {
            output.value(&json!({"event": "near_duplicates", "keys": keys}))?;
        }
        let report = job.progress.report;
        output.line(
            &summary(&report, &job, groups.len()),
            &json!({
                "event": "summary", "collection": self.collection, "job": job.id, "found": report.found,
                "written": report.written, "unchanged": report.unchanged, "duplicates": report.duplicates,
                "skipped": report.skipped, "failed": report.failed, "unknown": report.unknown,
                "removed": job.removed,
                "near_duplicate_groups": groups.len(), "seconds": report.seconds,
            }),
        )?;
        if self.watch {
            let every = Duration::from_secs_f64(self.watch_every.clamp(0.05, 86_400.0));
            return super::watch::follow(&collection, &self.input.input(self.sources.clone()), every, output);
        }
        let partly = report.failed > 0 || job.state != fromagerie::JobState::Succeeded;
        Ok(if partly { Outcome::Partly } else { Outcome::Done })
    }
}

impl Ingest {
    /// Looks at what would otherwise be found wrong only after all was read.
    fn check(&self) -> anyhow::Result<()> {
        if let Some(score) = self.near_duplicates.filter(|score| !(*score > 0.0 && *score <= 1.0)) {
            let problem = format!("--near-duplicates is {score}; it must be above 0 and at most 1");
            return Err(UsageError(problem).into());
        }
        if self.watch {
            super::watch::folder(&self.sources)?;
        }
        if let Some(path) = &self.report {
            // What is there stays until there is something to write.
            let opened = File::options().create(true).append(true).open(path);
            opened.map_err(|error| UsageError(format!("--report {}: {error}", path.display())))?;
        }
        Ok(())
    }
}

/// What a job left out, over all of its runs, and what looks alike.
fn write_report(path: &Path, failures: &Path, groups: &[Vec<String>]) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    if let Ok(mut failures) = File::open(failures) {
        std::io::copy(&mut failures, &mut file)?;
    }
    for keys in groups {
        writeln!(file, "{}", json!({"near_duplicates": keys}))?;
    }
    file.flush()
}

fn summary(report: &IngestReport, job: &Job, groups: usize) -> String {
    let collection = &job.collection;
    let rate = report.written as f64 / report.seconds.max(1e-9);
    let mut text = format!("{} records into {collection:?} in {:.1} s ({rate:.1}/s)", report.written, report.seconds);
    let mut add = |count: usize, what: &str| {
        if count > 0 {
            text += &format!(", {count} {what}");
        }
    };
    add(report.unchanged, "there already");
    add(report.duplicates, "with the same bytes as another");
    add(report.failed, "left out");
    add(report.skipped, "duplicates left out");
    add(job.removed as usize, "removed");
    add(groups, "groups that look alike");
    for check in job.checks.iter().filter(|check| !check.passed) {
        text += &format!("; {}", check.found);
    }
    if job.state == fromagerie::JobState::Cancelled {
        text += "; it was cancelled, and what was written stays";
    } else if job.state != fromagerie::JobState::Succeeded {
        text += &format!("; it is {}: go on with `fromagerie jobs resume {}`", job.state.name(), job.id);
    }
    text
}
