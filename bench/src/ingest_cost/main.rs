//! What ingest costs: pictures decoded and encoded, the whole job, vectors loaded, and a merge and a re-index beside searches. One
//! step a call, told as one line of JSON; `bench/ingest` puts the steps together, beside what others do with the same.

#![allow(clippy::print_stdout)]

mod growth;
mod load;
mod merge;
mod pictures;
mod reindex;
mod searching;

use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, Subcommand};
use serde_json::Value;

/// One step of the measurement.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    step: Step,
}

#[derive(Subcommand)]
enum Step {
    /// Decodes and resizes every picture of a folder to what the bundle's encoder reads.
    Decode(pictures::Decode),
    /// Encodes ready tensors: the floor of the whole job.
    Encode(pictures::Encode),
    /// Ingests a folder of pictures into a new collection.
    Job(pictures::Job),
    /// Loads a file of vectors into a new collection.
    Load(load::Load),
    /// Merges all segments of a collection while searches run.
    Merge(merge::Merge),
    /// Builds a new generation while searches run.
    Reindex(reindex::Reindex),
    /// Re-indexes pictures for a bundle with another map: from stored features, and from the pictures.
    Maps(reindex::Maps),
}

fn main() -> anyhow::Result<()> {
    let told = match Arguments::parse().step {
        Step::Decode(step) => step.run()?,
        Step::Encode(step) => step.run()?,
        Step::Job(step) => step.run()?,
        Step::Load(step) => step.run()?,
        Step::Merge(step) => step.run()?,
        Step::Reindex(step) => step.run()?,
        Step::Maps(step) => step.run()?,
    };
    println!("{told}");
    Ok(())
}

/// The files of a folder, by name.
fn files(folder: &PathBuf) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    let mut found = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    found.sort();
    Ok(found)
}

/// What the process holds, in bytes: anonymous, mapped from files, and the most of both so far.
fn memory() -> anyhow::Result<Value> {
    let text = std::fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
    let bytes = |name: &str| field(&text, name).map(|kib| kib * 1024);
    Ok(serde_json::json!({
        "anonymous": bytes("RssAnon:")?, "mapped": bytes("RssFile:")?, "peak": bytes("VmHWM:")?,
    }))
}

fn field(text: &str, name: &str) -> anyhow::Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
    Ok(line.split_whitespace().next().context("no value")?.parse()?)
}

/// Bytes that the process had the system write to a disk.
fn written_bytes() -> anyhow::Result<u64> {
    field(&std::fs::read_to_string("/proc/self/io").context("/proc/self/io")?, "write_bytes:")
}

/// Bytes that the files below a folder take on the disk.
fn disk_bytes(folder: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => disk_bytes(&entry.path()),
            Ok(data) => data.blocks() * 512,
            // Removed since it was listed.
            Err(_) => 0,
        })
        .sum()
}
