//! `fromagerie reindex`, `generations` and `rollback`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use fromagerie::{IndexKind, JobSpec, ReindexJob, Thumbnails};
use serde_json::json;

use super::input::InputArgs;
use super::progress::human;
use super::{DatabaseArgs, FilesArgs, Outcome, Output};
use crate::grpc::job_message;

/// Build, verify and swap in a new generation of what an alias names.
///
/// Without a SOURCE the items that the alias names now are taken over: vectors as they are into the same space; where
/// features are kept and the new bundle has the same encoder, its map is applied to those; else pictures are read from
/// where they came and encoded again. The old generation is kept: see `rollback` and `generations drop`.
#[derive(Args)]
pub(super) struct Reindex {
    #[command(flatten)]
    database: DatabaseArgs,
    /// The alias; made when it is not there and sources are given.
    #[arg(long)]
    alias: String,
    /// What to read instead of what is there: folders, files, and patterns with braces.
    #[arg(value_name = "SOURCE")]
    sources: Vec<PathBuf>,
    #[command(flatten)]
    input: InputArgs,
    /// The bundle that makes the new vectors, when it is not the database's own (--bundle).
    #[arg(long, value_name = "DIR")]
    new_bundle: Option<PathBuf>,
    /// How sealed segments are searched: vamana, hnsw or flat.
    #[arg(long, default_value = "vamana", value_name = "KIND")]
    index: IndexKind,
    /// Keep the encoder's features, or do not; as before when not given.
    #[arg(long, value_name = "true|false")]
    features: Option<bool>,
    /// The thumbnails to keep: jpeg, webp or none; as before when not given.
    #[arg(long, value_name = "KIND")]
    thumbnails: Option<Thumbnails>,
    /// Records that may be left out; with more the alias stays where it is.
    #[arg(long, default_value_t = 0, value_name = "N")]
    failures_max: u64,
    /// Least recall@10 against exact search, over a sample.
    #[arg(long, default_value_t = 0.9, value_name = "RECALL")]
    recall_min: f32,
    /// Build and verify, and leave the alias where it is.
    #[arg(long)]
    stay: bool,
}

impl Reindex {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let db = self.database.open(true)?;
        let spec = JobSpec::Reindex(ReindexJob {
            alias: self.alias,
            input: self.input.input(self.sources),
            bundle: self.new_bundle,
            index: self.index,
            features: self.features,
            thumbnails: self.thumbnails,
            failures_max: self.failures_max,
            recall_min: self.recall_min,
            stay: self.stay,
        });
        let job = match db.unfinished_job(&spec)? {
            Some(job) => job,
            None => db.start_job(spec)?,
        };
        let job = super::jobs::run(&db, &job.id, output)?;
        let failed = job.progress.report.failed;
        super::jobs::tell(&job_message(job), output)?;
        Ok(if failed > 0 { Outcome::Partly } else { Outcome::Done })
    }
}

/// List or delete generations.
#[derive(Args)]
pub(super) struct Generations {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Every generation of an alias, oldest first.
    List(List),
    /// Delete one that the alias does not name.
    Drop(DropOne),
}

#[derive(Args)]
struct List {
    #[command(flatten)]
    files: FilesArgs,
    /// The alias.
    #[arg(long)]
    alias: String,
    /// Read beside the process that has the database open.
    #[arg(long)]
    read_only: bool,
}

#[derive(Args)]
struct DropOne {
    #[command(flatten)]
    files: FilesArgs,
    /// The alias.
    #[arg(long)]
    alias: String,
    /// The generation's collection.
    #[arg(value_name = "COLLECTION")]
    collection: String,
}

impl Generations {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        match self.what {
            What::List(list) => {
                let generations = list.files.open(list.read_only)?.generations(&list.alias)?;
                for one in &generations {
                    let mark = if one.is_current { "*" } else { " " };
                    output.line(
                        &format!("{mark} {}  {} items  {}", one.collection, one.items, human(one.sealed_bytes)),
                        &json!({
                            "event": "generation", "collection": one.collection, "number": one.number,
                            "current": one.is_current, "items": one.items, "sealed_bytes": one.sealed_bytes,
                            "space": one.space.map(hex::encode), "replaces": one.replaces,
                        }),
                    )?;
                }
                output.value(&json!({"event": "summary", "generations": generations.len()}))?;
            }
            What::Drop(drop) => {
                drop.files.open(false)?.drop_generation(&drop.alias, &drop.collection)?;
                let name = &drop.collection;
                output.line(&format!("{name} is deleted"), &json!({"event": "dropped", "collection": name}))?;
            }
        }
        Ok(Outcome::Done)
    }
}

/// Move an alias back to what it named before, or to another generation.
#[derive(Args)]
pub(super) struct Rollback {
    #[command(flatten)]
    files: FilesArgs,
    /// The alias.
    #[arg(long)]
    alias: String,
    /// The generation's collection; what the present one replaced when not given.
    #[arg(long, value_name = "COLLECTION")]
    to: Option<String>,
}

impl Rollback {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let to = self.files.open(false)?.rollback(&self.alias, self.to.as_deref())?;
        let alias = &self.alias;
        output.line(&format!("{alias} -> {to}"), &json!({"event": "alias", "name": alias, "collection": to}))?;
        Ok(Outcome::Done)
    }
}
