//! A new generation: built while searches run, and built from features where only the map is new.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, ensure};
use clap::Args;
use fromagerie::{
    Collection, Database, IngestOptions, JobInput, JobSpec, JobState, NewCollection, Options, Query, ReindexJob,
};
use serde_json::{Value, json};

use crate::searching::{Filled, Searches, queries};
use crate::{disk_bytes, memory};

const ALIAS: &str = "items";

/// Builds a new generation while searches run.
#[derive(Args)]
pub(crate) struct Reindex {
    #[command(flatten)]
    filled: Filled,
}

impl Reindex {
    pub(crate) fn run(self) -> anyhow::Result<Value> {
        let (folder, (db, first, items)) = (&self.filled.db, self.filled.make("items.g1")?);
        db.set_alias(ALIAS, first.name())?;
        let before = disk_bytes(folder);
        let queries = queries(&first)?;
        let searches = Searches { db: &db, folder, name: ALIAS, queries: &queries };
        let (mut told, job) = searches.beside(self.filled.idle_seconds, || reindex(&db, ReindexJob::default()));
        let built = job?;
        let named = db.open_collection(ALIAS)?.name().to_owned();
        ensure!(named == built, "the alias names {named}, not {built}");
        let back = db.rollback(ALIAS, None)?;
        ensure!(back == "items.g1" && db.open_collection(ALIAS)?.name() == back, "rolled back to {back}");
        let answers = db.open_collection(ALIAS)?.search(Query::vector(queries[0].clone()), 10)?.len();
        ensure!(answers == 10, "{answers} hits after going back");
        told["items"] = items.into();
        told["segments"] = first.sealed_segments().into();
        told["disk_before"] = before.into();
        told["disk_after"] = disk_bytes(folder).into();
        told["rolled_back_to"] = back.into();
        told["memory"] = memory()?;
        Ok(told)
    }
}

/// Runs a re-index of the alias to its end; the collection that it made.
fn reindex(db: &Database, job: ReindexJob) -> anyhow::Result<String> {
    let job = db.start_job(JobSpec::Reindex(ReindexJob { alias: ALIAS.to_owned(), ..job }))?;
    let job = db.run_job(&job.id, &mut |_| {})?;
    ensure!(job.state == JobState::Succeeded, "the re-index ended as {:?}: {:?}", job.state, job.error);
    Ok(job.collection)
}

/// Re-indexes pictures for a bundle with another map.
#[derive(Args)]
pub(crate) struct Maps {
    /// The pictures.
    #[arg(long)]
    pictures: PathBuf,
    /// The bundle of the first generation.
    #[arg(long)]
    bundle: PathBuf,
    /// A bundle with the same encoder and another map.
    #[arg(long)]
    new_bundle: PathBuf,
    /// Where the new database is made.
    #[arg(long)]
    db: PathBuf,
}

impl Maps {
    pub(crate) fn run(self) -> anyhow::Result<Value> {
        let db = Database::open_with(&self.db, Options { bundle: Some(self.bundle), ..Options::default() })?;
        let first = db.create_collection("items.g1", NewCollection { features: true, ..NewCollection::default() })?;
        let items =
            first.ingest(std::slice::from_ref(&self.pictures), &IngestOptions::default(), &|| false, &mut |_| {})?;
        first.seal()?;
        db.set_alias(ALIAS, first.name())?;
        let timed = |input: JobInput| -> anyhow::Result<(Collection, f64)> {
            let begun = Instant::now();
            let bundle = Some(self.new_bundle.clone());
            let made = reindex(&db, ReindexJob { bundle, input, ..ReindexJob::default() })?;
            Ok((db.open_collection(&made)?, begun.elapsed().as_secs_f64()))
        };
        let (mapped, map_seconds) = timed(JobInput::default())?;
        // From the beginning again, so that the second way cannot take over what the first has made.
        db.rollback(ALIAS, Some(first.name()))?;
        let (encoded, full_seconds) = timed(JobInput { sources: vec![self.pictures.clone()], ..JobInput::default() })?;
        let (compared, apart) = compare(&mapped, &encoded, &self.pictures)?;
        Ok(json!({
            "pictures": items.written, "map_seconds": map_seconds, "full_seconds": full_seconds,
            "compared": compared, "apart_max": apart, "same_space": mapped.space() == encoded.space(),
            "another_space": mapped.space() != first.space(),
        }))
    }
}

/// The largest difference between any two elements of the vectors of one key.
fn compare(a: &Collection, b: &Collection, pictures: &Path) -> anyhow::Result<(usize, f32)> {
    ensure!(a.len() == b.len(), "{} and {} items", a.len(), b.len());
    let (mut compared, mut apart) = (0, 0_f32);
    for path in crate::files(&pictures.to_owned())? {
        let key = path.file_name().context("no name")?.to_string_lossy().into_owned();
        let (a, b) = (a.require(&key)?.vector, b.require(&key)?.vector);
        apart = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(apart, f32::max);
        compared += 1;
    }
    Ok((compared, apart))
}
