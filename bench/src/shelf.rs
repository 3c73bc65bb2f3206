//! A collection served to a bench by a line protocol: `shelf build BASE.npy LABELS.npy DIR` makes one sealed segment with
//! payloads, `shelf serve DIR` answers what standard input asks for, a line of JSON each.
//!
//! `LABELS.npy` is `[rows, fields]` float32, 0 or 1, beside `LABELS.json` with the fields' names: each row's payload says
//! which it has. A question is `{"queries", "k", "recall", "field", "out"}`; with a field, only rows that have it may be
//! found. Answers go to `out` as `i32`, the rest to standard output.
#![allow(clippy::print_stdout)]

#[path = "contender/npy.rs"]
mod npy;

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use fromagerie::{Collection, Database, Item, NewCollection, Options, Query};
use npy::Matrix;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Rows of one batch of writes.
const BATCH: usize = 4096;

/// One line of standard input.
#[derive(Deserialize)]
struct Ask {
    queries: PathBuf,
    k: usize,
    recall: f32,
    field: Option<String>,
    out: PathBuf,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let args: Vec<&str> = args.iter().skip(1).map(String::as_str).collect();
    match args[..] {
        ["build", base, labels, dir] => build(Path::new(base), Path::new(labels), Path::new(dir)),
        ["serve", dir] => serve(Path::new(dir)),
        _ => bail!("shelf build BASE.npy LABELS.npy DIR | shelf serve DIR"),
    }
}

fn build(base: &Path, labels: &Path, dir: &Path) -> Result<()> {
    let names: Vec<String> = serde_json::from_slice(&std::fs::read(labels.with_extension("json"))?)?;
    let (base, labels) = (Matrix::read(base)?, Matrix::read(labels)?);
    ensure!(labels.dim == names.len(), "{} fields, and {} names", labels.dim, names.len());
    let begun = Instant::now();
    let db = Database::open(dir)?;
    let new =
        NewCollection { dim: Some(base.dim), vectors_only: true, queries_kept: Some(0), ..NewCollection::default() };
    let rows = db.create_collection("rows", new)?;
    let mut items = base.data.chunks_exact(base.dim).zip(labels.data.chunks_exact(labels.dim)).enumerate().peekable();
    while items.peek().is_some() {
        let batch = items.by_ref().take(BATCH).map(|(number, (vector, labels))| {
            let has = names.iter().zip(labels).filter(|(_, label)| **label != 0.0);
            let payload: Map<String, Value> = has.map(|(name, _)| (name.clone(), Value::Bool(true))).collect();
            Item { payload, ..Item::vector(format!("{number:08}"), vector.to_vec()) }
        });
        rows.insert_many(batch.collect(), None)?;
    }
    rows.compact(&mut |_| {})?;
    println!("{}", json!({ "build_s": begun.elapsed().as_secs_f64(), "segments": rows.sealed_segments() }));
    Ok(())
}

fn serve(dir: &Path) -> Result<()> {
    let begun = Instant::now();
    let options = Options { read_only: true, recall_budget: 0.0, ..Options::default() };
    let db = Database::open_with(dir, options)?;
    let rows = db.open_collection("rows")?;
    println!("{}", json!({ "load_s": begun.elapsed().as_secs_f64() }));
    for line in std::io::stdin().lock().lines() {
        println!("{}", answer(&rows, &serde_json::from_str(&line?)?)?);
    }
    Ok(())
}

/// One query after the other, in one thread.
fn answer(rows: &Collection, ask: &Ask) -> Result<Value> {
    let queries = Matrix::read(&ask.queries)?;
    let count = queries.data.len() / queries.dim;
    let (mut ids, mut times) = (vec![-1i32; count * ask.k], Vec::with_capacity(count));
    for (vector, ids) in queries.data.chunks_exact(queries.dim).zip(ids.chunks_exact_mut(ask.k)) {
        let payload_equals = ask.field.iter().map(|field| (field.clone(), Value::Bool(true))).collect();
        let query = Query { recall: Some(ask.recall), payload_equals, ..Query::vector(vector.to_vec()) };
        let own = Instant::now();
        let hits = rows.search(query, ask.k)?;
        times.push(own.elapsed().as_secs_f64());
        for (id, hit) in ids.iter_mut().zip(hits) {
            *id = hit.key.parse().with_context(|| format!("key {}", hit.key))?;
        }
    }
    std::fs::write(&ask.out, ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>())?;
    let wall: f64 = times.iter().sum();
    times.sort_unstable_by(f64::total_cmp);
    let at = |part: f64| times.get((count as f64 * part) as usize).copied().unwrap_or(0.0) * 1e6;
    Ok(json!({ "wall_s": wall, "p50_us": at(0.5), "p99_us": at(0.99) }))
}
