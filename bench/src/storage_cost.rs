//! What storage costs: loading rows, single durable writes from several threads, and opening and serving a large
//! collection in little memory. One step a call, told as one line of JSON; `bench/storage_cost` puts the steps together,
//! beside other embedded engines.

#![allow(clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::Context;
use clap::{Parser, Subcommand};
use fromagerie::{Collection, Database, IndexKind, Item, NewCollection, Options, Query};
use serde_json::{Value, json};

/// One step of the measurement.
#[derive(Parser)]
struct Arguments {
    /// The database's directory.
    #[arg(long)]
    db: PathBuf,
    /// Elements of a vector.
    #[arg(long, default_value_t = 256)]
    dim: usize,
    #[command(subcommand)]
    step: Step,
}

#[derive(Subcommand)]
enum Step {
    /// Loads rows in batches, each durable when the next begins, and seals them.
    Bulk {
        #[arg(long)]
        rows: usize,
        #[arg(long, default_value_t = 1000)]
        batch: usize,
    },
    /// Puts rows one by one, each durable on return, from several threads.
    Single {
        #[arg(long)]
        rows: usize,
        #[arg(long)]
        writers: usize,
    },
    /// Opens, and answers exact searches.
    Serve {
        #[arg(long)]
        queries: usize,
    },
}

fn main() -> anyhow::Result<()> {
    let Arguments { db, dim, step } = Arguments::parse();
    let told = match step {
        Step::Bulk { rows, batch } => bulk(&db, dim, rows, batch)?,
        Step::Single { rows, writers } => single(&db, dim, rows, writers)?,
        Step::Serve { queries } => serve(&db, dim, queries)?,
    };
    println!("{told}");
    Ok(())
}

fn items(db: &Path, dim: usize) -> anyhow::Result<Collection> {
    let db = Database::open(db)?;
    match db.open_collection("items") {
        Ok(items) => Ok(items),
        Err(_) => {
            let new = NewCollection {
                dim: Some(dim),
                vectors_only: true,
                index: IndexKind::Flat,
                ..NewCollection::default()
            };
            Ok(db.create_collection("items", new)?)
        }
    }
}

/// Numbers that repeat, from the row's number.
fn vector(row: usize, dim: usize) -> Vec<f32> {
    let mut state = row as u64 + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..dim).map(|_| next()).collect()
}

fn item(row: usize, dim: usize) -> Item {
    Item::vector(format!("item-{row:08}"), vector(row, dim)).payload("number", row)
}

fn bulk(db: &Path, dim: usize, rows: usize, batch: usize) -> anyhow::Result<Value> {
    let items = items(db, dim)?;
    let (mut writing, begun) = (0.0, Instant::now());
    for first in (0..rows).step_by(batch) {
        let made = (first..rows.min(first + batch)).map(|row| item(row, dim)).collect();
        let begun = Instant::now();
        items.insert_many(made, None)?;
        writing += begun.elapsed().as_secs_f64();
    }
    let sealing = Instant::now();
    items.seal()?;
    let (sealing, seconds) = (sealing.elapsed().as_secs_f64(), begun.elapsed().as_secs_f64());
    Ok(json!({
        "rows": rows, "seconds_writing": writing, "seconds_last_seal": sealing, "seconds": seconds,
        "written_bytes": written_bytes()?, "memory": memory()?,
    }))
}

fn single(db: &Path, dim: usize, rows: usize, writers: usize) -> anyhow::Result<Value> {
    let items = items(db, dim)?;
    let made: Vec<Item> = (0..rows).map(|row| item(row, dim)).collect();
    let (next, before, begun) = (AtomicUsize::new(0), written_bytes()?, Instant::now());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..writers)
            .map(|_| {
                scope.spawn(|| {
                    while let Some(item) = made.get(next.fetch_add(1, Ordering::Relaxed)) {
                        items.insert(item.clone())?;
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a writer panicked"))
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    Ok(json!({
        "rows": rows, "writers": writers, "seconds": seconds, "written_bytes": written_bytes()? - before,
    }))
}

fn serve(db: &Path, dim: usize, queries: usize) -> anyhow::Result<Value> {
    let begun = Instant::now();
    let opened = Database::open_with(db, Options { create: false, ..Options::default() })?;
    let items = opened.open_collection("items")?;
    let (rows, segments) = (items.len(), items.sealed_segments());
    let open_ms = begun.elapsed().as_secs_f64() * 1000.0;
    let mut query_ms = Vec::new();
    for query in 0..queries {
        let wanted = query * 7919 % rows;
        let begun = Instant::now();
        let hits = items.search(Query { exact: true, ..Query::vector(vector(wanted, dim)) }, 10)?;
        query_ms.push(begun.elapsed().as_secs_f64() * 1000.0);
        anyhow::ensure!(hits[0].key == format!("item-{wanted:08}"), "a wrong answer: {}", hits[0].key);
    }
    Ok(json!({ "rows": rows, "segments": segments, "open_ms": open_ms, "query_ms": query_ms, "memory": memory()? }))
}

/// Bytes that this process had the system write to a disk, dirtied pages counted.
fn written_bytes() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/io").context("/proc/self/io")?;
    field(&text, "write_bytes:")
}

/// What the process holds, in bytes: anonymous, file-mapped, and all that counts against a limit on data.
fn memory() -> anyhow::Result<Value> {
    let text = std::fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
    let bytes = |name: &str| field(&text, name).map(|kib| kib * 1024);
    Ok(json!({
        "anonymous": bytes("RssAnon:")?, "mapped": bytes("RssFile:")?, "data": bytes("VmData:")?,
        "peak_resident": bytes("VmHWM:")?,
    }))
}

fn field(text: &str, name: &str) -> anyhow::Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
    Ok(line.split_whitespace().next().context("no value")?.parse()?)
}
