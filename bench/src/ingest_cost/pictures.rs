//! Pictures: decoded and resized, encoded from ready tensors, and all of it as the job that users run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use fromagerie::{Database, IngestOptions, Model, NewCollection, Options, Thumbnails, load_bundle};
use fromagerie_models::{ImageLimits, Pixels, Preprocessor, decode_image};
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::growth::Growth;
use crate::{disk_bytes, files};

/// Decodes and resizes every picture of a folder.
#[derive(Args)]
pub(crate) struct Decode {
    /// The pictures.
    #[arg(long)]
    pictures: PathBuf,
    /// Whose `preprocessor_config.json` says what the encoder reads.
    #[arg(long)]
    bundle: PathBuf,
    /// Threads of the one process.
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

impl Decode {
    pub(crate) fn run(self) -> anyhow::Result<Value> {
        let preprocessor = preprocessor(&self.bundle)?;
        let pictures = files(&self.pictures)?;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(self.threads).build()?;
        let begun = Instant::now();
        let sum = pool.install(|| {
            let sums = pictures.par_iter().map(|path| {
                let pixels = pixels(path, &preprocessor)?;
                anyhow::Ok(f64::from(pixels.data()[0]))
            });
            sums.try_reduce(|| 0.0, |a, b| Ok(a + b))
        })?;
        Ok(json!({ "pictures": pictures.len(), "seconds": begun.elapsed().as_secs_f64(), "sum": sum }))
    }
}

fn preprocessor(bundle: &std::path::Path) -> anyhow::Result<Preprocessor> {
    let path = bundle.join("preprocessor_config.json");
    let json = std::fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(Preprocessor::parse(&json)?)
}

fn pixels(path: &PathBuf, preprocessor: &Preprocessor) -> anyhow::Result<Pixels> {
    let bytes = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(preprocessor.pixels(&decode_image(&bytes, &ImageLimits::default())?))
}

/// Encodes ready tensors.
#[derive(Args)]
pub(crate) struct Encode {
    /// The pictures that the tensors are made of, before the clock starts.
    #[arg(long)]
    pictures: PathBuf,
    /// The model.
    #[arg(long)]
    bundle: PathBuf,
    /// How many tensors are encoded.
    #[arg(long)]
    rows: usize,
    /// How many at once.
    #[arg(long, default_value_t = 32)]
    batch: usize,
}

impl Encode {
    pub(crate) fn run(self) -> anyhow::Result<Value> {
        let loaded = load_bundle(&self.bundle, &Options::default())?;
        let model: Arc<dyn Model> = loaded.model.clone();
        let paths = files(&self.pictures)?;
        let made = paths.par_iter().take(256).map(|path| pixels(path, model.preprocessor()));
        let tensors = made.collect::<anyhow::Result<Vec<_>>>()?;
        model.encode_images(&tensors[..tensors.len().min(self.batch)])?;
        let (mut done, begun) = (0, Instant::now());
        while done < self.rows {
            for batch in tensors.chunks(self.batch) {
                done += model.encode_images(batch)?.len();
            }
        }
        Ok(json!({ "pictures": done, "seconds": begun.elapsed().as_secs_f64() }))
    }
}

/// The thumbnails of a job.
#[derive(Clone, Copy, ValueEnum)]
enum Kept {
    None,
    Jpeg,
}

/// Ingests a folder of pictures into a new collection.
#[derive(Args)]
pub(crate) struct Job {
    /// The pictures.
    #[arg(long)]
    pictures: PathBuf,
    /// The model.
    #[arg(long)]
    bundle: PathBuf,
    /// Where the new database is made.
    #[arg(long)]
    db: PathBuf,
    /// Thumbnails to keep.
    #[arg(long, value_enum, default_value = "none")]
    thumbnails: Kept,
    /// Items between two looks at memory.
    #[arg(long, default_value_t = 500)]
    look_every: usize,
}

impl Job {
    pub(crate) fn run(self) -> anyhow::Result<Value> {
        let db = Database::open_with(&self.db, Options { bundle: Some(self.bundle), ..Options::default() })?;
        let thumbnails = match self.thumbnails {
            Kept::None => Thumbnails::None,
            Kept::Jpeg => Thumbnails::Jpeg,
        };
        let items = db.create_collection("items", NewCollection { thumbnails, ..NewCollection::default() })?;
        // Loading the model is no part of the job's rate.
        db.model()?.warm_up()?;
        let mut growth = Growth::every(self.look_every);
        let begun = Instant::now();
        let report =
            items.ingest(&[self.pictures], &IngestOptions::default(), &|| false, &mut |event| growth.see(&event))?;
        let seconds = begun.elapsed().as_secs_f64();
        ensure!(report.failed == 0, "{} pictures failed", report.failed);
        let sealing = Instant::now();
        items.seal()?;
        let (sealing, first) = (sealing.elapsed().as_secs_f64(), first_vectors(&items)?);
        Ok(json!({
            "pictures": report.written, "seconds": seconds, "seconds_seal": sealing,
            "disk_bytes": disk_bytes(&self.db), "memory": growth.samples(), "first": first,
        }))
    }
}

/// The vectors of a few items, by key, for comparing with what others make of the same pictures.
fn first_vectors(items: &fromagerie::Collection) -> anyhow::Result<Value> {
    let mut found = serde_json::Map::new();
    for number in 0..8 {
        let key = format!("{number:05}.jpg");
        if let Some(item) = items.get(&key)? {
            found.insert(key, json!(item.vector));
        }
    }
    Ok(Value::Object(found))
}
