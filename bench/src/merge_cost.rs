//! What a graph costs that keeps the links of a part of its rows, as a merge makes it, beside one built anew; and what each is
//! good for.
//!
//! `merge_cost BASE.npy QUERIES.npy... [--shares 0.125,0.5,0.9] [--threads 1] [--out FILE]`. Prints a line of JSON for each
//! graph, kind of queries and recall asked for: seconds of processor time to build, the recall that was reached, and
//! distances and queries a second on one thread, the median of rounds in which the graphs take turns.
#![allow(clippy::print_stdout)]

#[path = "contender/npy.rs"]
mod npy;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use fromagerie_index::frozen::{Graph, Scratch};
use fromagerie_index::vamana::{Known, Part, VamanaParams, build_watched};
use fromagerie_index::{DenseRows, Query, Rows, flat};
use npy::Matrix;
use rayon::prelude::*;
use serde_json::{Value, json};

/// Rounds in which the graphs answer by turns.
const ROUNDS: usize = 5;
/// Neighbours asked for.
const K: usize = 10;

#[derive(Parser)]
#[command(about = "What a graph costs that keeps the links of a part of its rows")]
struct Args {
    /// The rows, `.npy` of `f32`, of unit length
    base: PathBuf,
    /// Queries of some kinds, `.npy` of `f32`
    #[arg(required = true)]
    queries: Vec<PathBuf>,
    /// Shares of the rows that have a graph
    #[arg(long, value_delimiter = ',', default_values_t = [0.125, 0.5, 0.9])]
    shares: Vec<f64>,
    /// Threads that build
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Queries of each kind, at most
    #[arg(long, default_value_t = 1000)]
    limit: usize,
    /// A file for all that is printed
    #[arg(long)]
    out: Option<PathBuf>,
}

/// A graph, and what it took.
struct Built {
    kept: f64,
    cpu_s: f64,
    bytes: Vec<u8>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    rayon::ThreadPoolBuilder::new().num_threads(args.threads).build_global()?;
    let base = Matrix::read(&args.base)?;
    let rows = DenseRows::new(&base.data, base.dim).context("no whole rows")?;
    let mut built = vec![made(&rows, 0.0)?];
    for share in &args.shares {
        built.push(made(&rows, *share)?);
    }
    let mut lines = Vec::new();
    for path in &args.queries {
        lines.extend(asked(&rows, &built, path, args.limit)?);
    }
    for line in &lines {
        println!("{line}");
    }
    if let Some(out) = args.out {
        let all = json!({ "rows": rows.len(), "dim": base.dim, "threads": args.threads, "graphs": lines });
        std::fs::write(out, serde_json::to_string_pretty(&all)? + "\n")?;
    }
    Ok(())
}

/// A graph over all rows that keeps the links of the first of them.
fn made(rows: &DenseRows<'_>, kept: f64) -> Result<Built> {
    let count = (rows.len() as f64 * kept) as u32;
    let build = |rows: &DenseRows<'_>, part| {
        build_watched(rows, Known { part, training: None }, VamanaParams::default(), &mut |_| true)
    };
    if count == 0 {
        let (bytes, cpu_s) = timed(|| build(rows, None));
        return Ok(Built { kept, cpu_s, bytes: bytes? });
    }
    let first = build(&DenseRows::new(rows.block(0..count), rows.dim()).context("no whole rows")?, None)?;
    let (graph, places) = (Graph::parse(&first)?, (0..count).collect::<Vec<_>>());
    let (bytes, cpu_s) = timed(|| build(rows, Some(Part { graph: &graph, rows: &places })));
    Ok(Built { kept, cpu_s, bytes: bytes? })
}

/// What each graph answers to queries of one kind.
fn asked(rows: &DenseRows<'_>, built: &[Built], path: &Path, limit: usize) -> Result<Vec<Value>> {
    let queries = Matrix::read(path)?;
    let queries: Vec<&[f32]> = queries.data.chunks_exact(queries.dim).take(limit).collect();
    let truth = |vector: &&[f32]| flat::search(rows, &Query::new(vector, K));
    let truth: Vec<_> = queries.par_iter().map(truth).collect::<Result<_, _>>()?;
    let mut lines = Vec::new();
    for recall in [0.9, 0.95, 0.99] {
        let mut rates = vec![Vec::new(); built.len()];
        let mut told = vec![(0, 0); built.len()];
        for _ in 0..ROUNDS {
            for ((built, rates), told) in built.iter().zip(&mut rates).zip(&mut told) {
                let (graph, mut scratch) = (Graph::parse(&built.bytes)?, Scratch::new());
                *told = (0, 0);
                let start = Instant::now();
                for (vector, truth) in queries.iter().zip(&truth) {
                    let query = Query { recall: Some(recall), ..Query::new(vector, K) };
                    let hits = graph.search_codes(&query, &mut scratch)?;
                    told.0 += hits.iter().filter(|hit| truth.iter().any(|right| right.row == hit.row)).count();
                    told.1 += scratch.distances();
                }
                rates.push(queries.len() as f64 / start.elapsed().as_secs_f64());
            }
        }
        for ((built, rates), (right, distances)) in built.iter().zip(&mut rates).zip(told) {
            rates.sort_by(f64::total_cmp);
            lines.push(json!({
                "kept": built.kept,
                "cpu_s": built.cpu_s,
                "queries": path.file_stem().map(|stem| stem.to_string_lossy()),
                "recall_asked": f64::from((recall * 1000.0_f32).round()) / 1000.0,
                "recall": right as f64 / (queries.len() * K) as f64,
                "distances": distances / queries.len() as u64,
                "queries_per_s": rates[ROUNDS / 2].round(),
            }));
        }
    }
    Ok(lines)
}

/// What `work` gives, and the seconds of processor time that it took.
fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let before = processor_s();
    let result = work();
    (result, processor_s() - before)
}

/// Seconds of processor time of this process, of all threads, in steps of a hundredth.
fn processor_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) / 100.0
}
