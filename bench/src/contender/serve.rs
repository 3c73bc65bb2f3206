//! Answering: the index is mapped, queries come as files, answers go to files.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use fromagerie_index::Query;
use fromagerie_index::frozen::{Graph, Scratch};
use serde::Deserialize;
use serde_json::json;

use crate::npy::Matrix;

/// Queries that a thread takes at a time.
const SHARE: usize = 50;

/// One line of standard input.
#[derive(Deserialize)]
struct Ask {
    queries: PathBuf,
    n: usize,
    k: usize,
    param: f64,
    threads: usize,
    mode: String,
    out: PathBuf,
}

/// Maps the graph and answers until standard input ends.
pub(crate) fn serve(path: &Path) -> Result<()> {
    let start = Instant::now();
    let file = File::open(path).with_context(|| format!("{} cannot be opened", path.display()))?;
    let map = map(&file)?;
    let graph = Graph::parse(&map)?;
    println!("{}", json!({ "load_s": start.elapsed().as_secs_f64() }));
    let (mut queries, mut lanes) = (HashMap::<PathBuf, Matrix>::new(), Vec::new());
    for line in std::io::stdin().lock().lines() {
        let ask: Ask = serde_json::from_str(&line?)?;
        if !queries.contains_key(&ask.queries) {
            queries.insert(ask.queries.clone(), Matrix::read(&ask.queries)?);
        }
        let matrix = &queries[&ask.queries];
        let vectors = &matrix.data[..matrix.data.len().min(ask.n * matrix.dim)];
        let (ids, report) = match ask.mode.as_str() {
            "batch" => batch(&graph, vectors, &ask, &mut lanes)?,
            "latency" => latency(&graph, vectors, &ask)?,
            other => bail!("mode is {other}; it must be batch or latency"),
        };
        std::fs::write(&ask.out, ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>())?;
        println!("{report}");
    }
    Ok(())
}

#[allow(unsafe_code)]
fn map(file: &File) -> Result<memmap2::Mmap> {
    // SAFETY: the bench wrote the file and nobody changes it while it is served.
    Ok(unsafe { memmap2::Mmap::map(file) }?)
}

/// All queries, on as many threads as asked for.
fn batch(
    graph: &Graph<'_>,
    vectors: &[f32],
    ask: &Ask,
    lanes: &mut Vec<Vec<Scratch>>,
) -> Result<(Vec<i32>, serde_json::Value)> {
    let dim = graph.info().dim;
    let count = vectors.len() / dim;
    let ids = Mutex::new(vec![-1; count * ask.k]);
    let (taken, distances) = (AtomicUsize::new(0), AtomicUsize::new(0));
    lanes.resize_with(lanes.len().max(ask.threads), Vec::new);
    let work = |lanes: &mut Vec<Scratch>| -> Result<()> {
        loop {
            let from = taken.fetch_add(SHARE, Ordering::Relaxed);
            if from >= count {
                return Ok(());
            }
            let until = count.min(from + SHARE);
            let mut found = vec![-1; (until - from) * ask.k];
            graph.search_batch(
                &vectors[from * dim..until * dim],
                (ask.k, ask.param as usize),
                lanes,
                |query, hits, scratch| {
                    distances.fetch_add(scratch.distances() as usize, Ordering::Relaxed);
                    for (id, hit) in found[query * ask.k..].iter_mut().zip(hits) {
                        *id = hit.row as i32;
                    }
                },
            )?;
            let mut ids = ids.lock().map_err(|_| anyhow::anyhow!("another thread failed"))?;
            ids[from * ask.k..until * ask.k].copy_from_slice(&found);
        }
    };
    let start = Instant::now();
    std::thread::scope(|scope| {
        let (own, others) = lanes.split_at_mut(1);
        let others = others[..ask.threads.max(1) - 1].iter_mut();
        let others: Vec<_> = others.map(|lanes| scope.spawn(|| work(lanes))).collect();
        work(&mut own[0])?;
        others.into_iter().try_for_each(|other| other.join().map_err(|_| anyhow::anyhow!("a thread failed"))?)
    })?;
    let wall = start.elapsed().as_secs_f64();
    let ids = ids.into_inner().map_err(|_| anyhow::anyhow!("a thread failed"))?;
    Ok((ids, json!({ "wall_s": wall, "ndis": distances.into_inner() as f64 / count.max(1) as f64 })))
}

/// One query after the other, in one thread.
fn latency(graph: &Graph<'_>, vectors: &[f32], ask: &Ask) -> Result<(Vec<i32>, serde_json::Value)> {
    let dim = graph.info().dim;
    let mut ids = vec![-1; vectors.len() / dim * ask.k];
    let (mut scratch, mut distances) = (Scratch::new(), 0);
    let mut times = Vec::with_capacity(vectors.len() / dim);
    let start = Instant::now();
    for (vector, ids) in vectors.chunks_exact(dim).zip(ids.chunks_exact_mut(ask.k)) {
        let own = Instant::now();
        let query = Query { ef: ask.param as usize, ..Query::new(vector, ask.k) };
        for (id, hit) in ids.iter_mut().zip(graph.search_codes(&query, &mut scratch)?) {
            *id = hit.row as i32;
        }
        times.push(own.elapsed().as_secs_f64() * 1e6);
        distances += scratch.distances();
    }
    let wall = start.elapsed().as_secs_f64();
    times.sort_unstable_by(f64::total_cmp);
    let at = |part: f64| times.get((times.len() as f64 * part) as usize).copied().unwrap_or(0.0);
    let ndis = distances as f64 / times.len().max(1) as f64;
    Ok((ids, json!({ "wall_s": wall, "p50_us": at(0.5), "p99_us": at(0.99), "ndis": ndis })))
}
