//! Pictures of plain colours in folders, and jobs over them.

#![allow(dead_code, clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use fromagerie::{Collection, Database, IngestJob, Job, JobInput, JobSpec};

use crate::common::png;

/// A folder of `count` pictures, no two alike.
pub fn pictures(folder: &Path, count: u32) -> PathBuf {
    let pictures = folder.join("pictures");
    std::fs::create_dir_all(&pictures).unwrap();
    for n in 0..count {
        let [a, b, c, _] = (n * 7919).to_le_bytes();
        std::fs::write(pictures.join(format!("{n:04}.png")), png([a, b, c])).unwrap();
    }
    pictures
}

pub fn ingest_of(collection: &str, sources: &[&Path]) -> IngestJob {
    let sources = sources.iter().map(|path| path.to_path_buf()).collect();
    let input = JobInput { sources, batch: 4, ..JobInput::default() };
    IngestJob { collection: collection.into(), input, ..IngestJob::default() }
}

pub fn run(db: &Database, spec: JobSpec) -> fromagerie::Result<Job> {
    let job = db.start_job(spec)?;
    db.run_job(&job.id, &mut |_| {})
}

pub fn keys(collection: &Collection, count: u32) -> Vec<String> {
    (0..count).map(|n| format!("{n:04}.png")).filter(|key| collection.get(key).unwrap().is_some()).collect()
}
