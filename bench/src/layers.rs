//! What each layer above the index costs: the same graph searched bare, through `Collection::search`, and over gRPC, one
//! search at a time and in batches, in one run.
//!
//! `layers --base BASE.npy --queries QUERIES.npy --server target/release/fromagerie --work DIR [--rounds N] --out FILE`
#![allow(clippy::print_stdout)]

#[path = "contender/npy.rs"]
mod npy;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use fromagerie::{Collection, Database, Item, NewCollection, Options, Query};
use fromagerie_index::frozen::{Graph, Scratch};
use fromagerie_index::vamana::{VamanaParams, build};
use fromagerie_index::{DenseRows, Rows};
use fromagerie_proto::v1::{self, search_service_client::SearchServiceClient};
use npy::Matrix;
use serde_json::{Value, json};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

const K: usize = 10;
/// Searches of one batch.
const BATCH: usize = 100;
/// Calls under way at a time where many are.
const CALLS: usize = 16;

#[derive(Parser)]
struct Args {
    /// Rows, `[n, dim]` float32.
    #[arg(long)]
    base: PathBuf,
    /// Queries, `[m, dim]` float32.
    #[arg(long)]
    queries: PathBuf,
    /// The `fromagerie` binary.
    #[arg(long)]
    server: PathBuf,
    /// Where the database and the bare graph are kept between runs.
    #[arg(long)]
    work: PathBuf,
    /// Each layer is measured as often, in turn; the fastest counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Where the figures go.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// What was measured of a layer.
struct Layer {
    name: &'static str,
    threads: &'static str,
    best_qps: f64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let (base, queries) = (Matrix::read(&args.base)?, Matrix::read(&args.queries)?);
    prepare(&args.work, &base)?;
    let vectors: Vec<&[f32]> = queries.data.chunks_exact(queries.dim).collect();
    let mut layers: Vec<Layer> = Vec::new();
    let bytes = File::open(args.work.join("graph"))?;
    let bytes = map(&bytes)?;
    let ef = Graph::parse(&bytes)?.ef_for(0.95, K);
    let mut answers = Vec::new();
    for _ in 0..args.rounds {
        bare(&bytes, &base, &vectors, ef, &mut layers)?;
        let db = Database::open_with(args.work.join("cellar"), Options { recall_budget: 0.0, ..Options::default() })?;
        answers = in_process(&db.open_collection("rows")?, &vectors, ef, &mut layers)?;
        drop(db);
        over_grpc(&args, &vectors, ef, &mut layers)?;
    }
    let recall = recall(&base, &vectors, &answers)?;
    let bare = layers.iter().find(|layer| layer.name == "index").map_or(1.0, |layer| layer.best_qps);
    let rows: Vec<Value> = layers
        .iter()
        .map(|layer| {
            println!("{:<44}{:<12}{:>10.0} queries/s  {:.2}", layer.name, layer.threads, layer.best_qps, layer.best_qps / bare);
            json!({"layer": layer.name, "threads": layer.threads, "qps": layer.best_qps, "of_bare": layer.best_qps / bare})
        })
        .collect();
    println!("{} rows, ef {ef}, recall@{K} {recall:.4}", base.data.len() / base.dim);
    if let Some(out) = &args.out {
        let figures = json!({
            "rows": base.data.len() / base.dim, "dim": base.dim, "queries": vectors.len(), "k": K, "ef": ef,
            "recall": recall, "rounds": args.rounds, "batch": BATCH, "calls": CALLS, "layers": rows,
        });
        std::fs::write(out, serde_json::to_string_pretty(&figures)? + "\n")?;
    }
    Ok(())
}

/// The database and the bare graph, unless an earlier run has made them.
fn prepare(work: &Path, base: &Matrix) -> Result<()> {
    let (cellar, graph) = (work.join("cellar"), work.join("graph"));
    if graph.exists() {
        return Ok(());
    }
    let db = Database::open(&cellar)?;
    let new =
        NewCollection { dim: Some(base.dim), vectors_only: true, queries_kept: Some(0), ..NewCollection::default() };
    let rows = db.create_collection("rows", new)?;
    for (batch, vectors) in base.data.chunks(base.dim * 4096).enumerate() {
        let item = |(n, vector): (usize, &[f32])| Item::vector(format!("{:08}", batch * 4096 + n), vector.to_vec());
        rows.insert_many(vectors.chunks_exact(base.dim).enumerate().map(item).collect(), None)?;
    }
    rows.compact(&mut |_| {})?;
    ensure!(rows.sealed_segments() == 1, "{} segments; one is wanted", rows.sealed_segments());
    let rows = DenseRows::new(&base.data, base.dim).context("no whole rows")?;
    std::fs::write(graph, build(&rows, None, VamanaParams::default())?)?;
    Ok(())
}

#[allow(unsafe_code)]
fn map(file: &File) -> Result<memmap2::Mmap> {
    // SAFETY: the bench wrote the file and nobody changes it while it is mapped.
    Ok(unsafe { memmap2::Mmap::map(file) }?)
}

/// Times `count` searches and keeps the best figure of the layer.
fn timed(
    layers: &mut Vec<Layer>,
    (name, threads): (&'static str, &'static str),
    count: usize,
    work: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let start = Instant::now();
    work()?;
    let qps = count as f64 / start.elapsed().as_secs_f64();
    match layers.iter_mut().find(|layer| (layer.name, layer.threads) == (name, threads)) {
        Some(layer) => layer.best_qps = layer.best_qps.max(qps),
        None => layers.push(Layer { name, threads, best_qps: qps }),
    }
    Ok(())
}

fn bare(bytes: &[u8], base: &Matrix, vectors: &[&[f32]], ef: usize, layers: &mut Vec<Layer>) -> Result<()> {
    let (graph, rows) = (Graph::parse(bytes)?, DenseRows::new(&base.data, base.dim).context("no whole rows")?);
    let mut scratch = Scratch::new();
    let ask = |vector| fromagerie_index::Query { ef, ..fromagerie_index::Query::new(vector, K) };
    timed(layers, ("index", "1"), vectors.len(), || {
        vectors
            .iter()
            .try_for_each(|vector| graph.search(&rows, &ask(vector), &mut scratch).map(drop))
            .map_err(Into::into)
    })?;
    timed(layers, ("index, codes alone", "1"), vectors.len(), || {
        vectors
            .iter()
            .try_for_each(|vector| graph.search_codes(&ask(vector), &mut scratch).map(drop))
            .map_err(Into::into)
    })?;
    let flat: Vec<f32> = vectors.concat();
    let mut lanes = Vec::new();
    timed(layers, ("index, codes alone, interleaved", "1"), vectors.len(), || {
        Ok(graph.search_batch(&flat, (K, ef), &mut lanes, |_, _, _| {})?)
    })?;
    timed(layers, ("index", "2"), vectors.len(), || {
        let half = vectors.len() / 2;
        std::thread::scope(|scope| {
            let (graph, rows) = (&graph, &rows);
            let work = move |vectors: &[&[f32]]| -> Result<()> {
                let mut scratch = Scratch::new();
                let ask = |vector| fromagerie_index::Query { ef, ..fromagerie_index::Query::new(vector, K) };
                vectors.iter().try_for_each(|vector| graph.search(rows, &ask(vector), &mut scratch).map(drop))?;
                Ok(())
            };
            let (own, others) = vectors.split_at(half);
            let other = scope.spawn(move || work(others));
            work(own)?;
            other.join().map_err(|_| anyhow::anyhow!("a thread failed"))?
        })
    })
}

fn in_process(rows: &Collection, vectors: &[&[f32]], ef: usize, layers: &mut Vec<Layer>) -> Result<Vec<Vec<String>>> {
    let queries: Vec<(Query, usize)> =
        vectors.iter().map(|vector| (Query { ef: Some(ef), ..Query::vector(vector.to_vec()) }, K)).collect();
    // The first touch checks every byte.
    rows.search_batch(&queries, &|| false)?;
    let mut answers = Vec::with_capacity(vectors.len());
    timed(layers, ("Collection::search", "1"), vectors.len(), || {
        for (query, limit) in &queries {
            answers.push(rows.search_with(query, *limit, &|| false)?.0);
        }
        Ok(())
    })?;
    timed(layers, ("Collection::search_batch", "2"), vectors.len(), || {
        queries.chunks(BATCH).try_for_each(|batch| rows.search_batch(batch, &|| false).map(drop))?;
        Ok(())
    })?;
    Ok(answers.into_iter().map(|hits| hits.into_iter().map(|hit| hit.key).collect()).collect())
}

/// A server, stopped when dropped.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn over_grpc(args: &Args, vectors: &[&[f32]], ef: usize, layers: &mut Vec<Layer>) -> Result<()> {
    let mut command = Command::new(&args.server);
    command.args(["serve", "--listen", "127.0.0.1:0", "--db"]).arg(args.work.join("cellar")).stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("{} does not start", args.server.display()))?;
    let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
    let _served = Served(child);
    let first = lines.next().context("the server ended before it listened")??;
    let address = first.strip_prefix("listening on ").with_context(|| first.clone())?.to_owned();
    let request = |vector: &&[f32]| {
        let vector = v1::query_term::Term::Vector(v1::Vector { values: vector.to_vec() });
        let terms = vec![v1::QueryTerm { term: Some(vector), weight: 1.0 }];
        v1::SearchRequest { collection: "rows".into(), terms, limit: K as u32, ef: ef as u32, ..Default::default() }
    };
    let requests: Vec<v1::SearchRequest> = vectors.iter().map(request).collect();
    let batches: Vec<v1::BatchSearchRequest> = requests
        .chunks(BATCH)
        .map(|searches| v1::BatchSearchRequest { collection: "rows".into(), searches: searches.to_vec() })
        .collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let mut client = SearchServiceClient::connect(format!("http://{address}")).await?;
        for batch in &batches {
            client.batch_search(batch.clone()).await?;
        }
        let channel = tonic::transport::Channel::from_shared(format!("http://{address}"))?.connect().await?;
        let mut health = HealthClient::new(channel);
        let start = Instant::now();
        for _ in &requests {
            health.check(HealthCheckRequest::default()).await?;
        }
        let empty = start.elapsed();
        let start = Instant::now();
        for request in &requests {
            client.search(request.clone()).await?;
        }
        let one = start.elapsed();
        let start = Instant::now();
        let share = requests.len().div_ceil(CALLS);
        let tasks: Vec<_> = requests
            .chunks(share)
            .map(|share| {
                let (mut client, share) = (client.clone(), share.to_vec());
                tokio::spawn(async move {
                    for request in share {
                        client.search(request).await?;
                    }
                    Ok::<_, anyhow::Error>(())
                })
            })
            .collect();
        for task in tasks {
            task.await??;
        }
        let many = start.elapsed();
        let start = Instant::now();
        for batch in &batches {
            client.batch_search(batch.clone()).await?;
        }
        let batched = start.elapsed();
        for (name, took) in [
            ("gRPC, calls that do nothing, one at a time", empty),
            ("gRPC, one call at a time", one),
            ("gRPC, 16 calls at a time", many),
            ("gRPC, batches of 100", batched),
        ] {
            let qps = vectors.len() as f64 / took.as_secs_f64();
            match layers.iter_mut().find(|layer| layer.name == name) {
                Some(layer) => layer.best_qps = layer.best_qps.max(qps),
                None => layers.push(Layer { name, threads: "2 shared", best_qps: qps }),
            }
        }
        Ok(())
    })
}

/// Recall@10 of the first 200 answers.
fn recall(base: &Matrix, vectors: &[&[f32]], answers: &[Vec<String>]) -> Result<f64> {
    let rows = DenseRows::new(&base.data, base.dim).context("no whole rows")?;
    let (mut found, mut wanted) = (0, 0);
    for (vector, answer) in vectors.iter().zip(answers).take(200) {
        let truth = fromagerie_index::flat::search(&rows, &fromagerie_index::Query::new(vector, K))?;
        wanted += truth.len();
        found += truth.iter().filter(|near| answer.contains(&format!("{:08}", near.row))).count();
    }
    debug_assert_eq!(rows.dim(), base.dim);
    Ok(found as f64 / wanted.max(1) as f64)
}
