//! Searches beside other work: how long they take before it and during it, and what the process takes meanwhile.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use fromagerie::{Collection, Database, IngestOptions, NewCollection, Options, Query, source_vectors};
use serde_json::{Value, json};

use crate::{disk_bytes, memory};

/// Between two searches of one client.
const PAUSE: Duration = Duration::from_millis(2);
/// Between two looks at the disk and the memory.
const LOOK: Duration = Duration::from_millis(200);

/// A collection to be searched beside other work.
#[derive(Args)]
pub(crate) struct Filled {
    /// A `.npy` file: the items.
    #[arg(long)]
    file: PathBuf,
    /// Where the new database is made.
    #[arg(long)]
    pub(crate) db: PathBuf,
    /// Seconds of searches before the work begins.
    #[arg(long, default_value_t = 10)]
    pub(crate) idle_seconds: u64,
}

impl Filled {
    /// A new database with the items in a collection of this name; how many they are.
    pub(crate) fn make(&self, name: &str) -> anyhow::Result<(Database, Collection, usize)> {
        let db = Database::open_with(&self.db, Options { recall_budget: 0.0, ..Options::default() })?;
        let (sources, options) = ([self.file.clone()], IngestOptions::default());
        let dim = source_vectors(&sources, &options.source)?.map(|vectors| vectors.dim);
        let items =
            db.create_collection(name, NewCollection { dim, vectors_only: true, ..NewCollection::default() })?;
        let written = items.ingest(&sources, &options, &|| false, &mut |_| {})?.written;
        items.seal()?;
        Ok((db, items, written))
    }
}

/// A client that searches.
pub(crate) struct Searches<'a> {
    pub(crate) db: &'a Database,
    /// Where the database lies.
    pub(crate) folder: &'a Path,
    /// A collection or an alias.
    pub(crate) name: &'a str,
    pub(crate) queries: &'a [Vec<f32>],
}

/// What searches met.
#[derive(Default)]
struct Met {
    idle: Vec<f64>,
    during: Vec<f64>,
    failed: Vec<String>,
}

/// The most that was seen, in bytes.
#[derive(Default)]
struct Peak {
    disk: u64,
    anonymous: u64,
    mapped: u64,
}

impl Searches<'_> {
    /// Searches for some seconds, then while `work` is done; what they met, and what came of the work.
    pub(crate) fn beside<T>(&self, idle_seconds: u64, work: impl FnOnce() -> T) -> (Value, T) {
        let (runs, ends) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let searcher = scope.spawn(|| self.run(&runs, &ends));
            let watcher = scope.spawn(|| self.watch(&runs, &ends));
            std::thread::sleep(Duration::from_secs(idle_seconds));
            runs.store(true, Ordering::Relaxed);
            let begun = Instant::now();
            let done = work();
            let seconds = begun.elapsed().as_secs_f64();
            ends.store(true, Ordering::Relaxed);
            let peak = watcher.join().expect("the watcher panicked");
            let met = searcher.join().expect("the searcher panicked");
            let told = json!({
                "seconds": seconds, "idle_ms": spread(met.idle), "during_ms": spread(met.during),
                "failed": met.failed.len(), "first_failure": met.failed.first(), "disk_peak": peak.disk,
                "anonymous_peak": peak.anonymous, "mapped_peak": peak.mapped,
            });
            (told, done)
        })
    }

    /// Searches one after the other until the end, each as a client's request would be.
    fn run(&self, runs: &AtomicBool, ends: &AtomicBool) -> Met {
        let mut met = Met::default();
        for query in self.queries.iter().cycle() {
            if ends.load(Ordering::Relaxed) {
                break;
            }
            let during = runs.load(Ordering::Relaxed);
            let begun = Instant::now();
            let found =
                self.db.open_collection(self.name).and_then(|items| items.search(Query::vector(query.clone()), 10));
            let took = begun.elapsed().as_secs_f64() * 1000.0;
            match found {
                Ok(hits) if hits.len() == 10 => if during { &mut met.during } else { &mut met.idle }.push(took),
                Ok(hits) => met.failed.push(format!("{} hits", hits.len())),
                Err(error) => met.failed.push(error.to_string()),
            }
            std::thread::sleep(PAUSE);
        }
        met
    }

    fn watch(&self, runs: &AtomicBool, ends: &AtomicBool) -> Peak {
        let mut peak = Peak { disk: disk_bytes(self.folder), ..Peak::default() };
        while !ends.load(Ordering::Relaxed) {
            if runs.load(Ordering::Relaxed)
                && let Ok(now) = memory()
            {
                let bytes = |name: &str| now[name].as_u64().unwrap_or_default();
                peak.disk = peak.disk.max(disk_bytes(self.folder));
                peak.anonymous = peak.anonymous.max(bytes("anonymous"));
                peak.mapped = peak.mapped.max(bytes("mapped"));
            }
            std::thread::sleep(LOOK);
        }
        peak
    }
}

/// Vectors near to stored ones, and not equal to any.
pub(crate) fn queries(items: &Collection) -> anyhow::Result<Vec<Vec<f32>>> {
    let mut found = Vec::new();
    let file = "items";
    for number in 0..500 {
        let key = |row: usize| format!("{file}/{row:08}");
        let (a, b) = (items.get(&key(number * 150))?, items.get(&key(number * 150 + 75))?);
        let (a, b) = a.zip(b).context("an item is missing: the file must be named items.npy and have 75,000 rows")?;
        found.push(a.vector.iter().zip(&b.vector).map(|(a, b)| a + 0.5 * b).collect());
    }
    Ok(found)
}

fn spread(mut ms: Vec<f64>) -> Value {
    ms.sort_by(f64::total_cmp);
    let at = |share: f64| ms.get(((ms.len() as f64 * share) as usize).min(ms.len().saturating_sub(1))).copied();
    json!({ "searches": ms.len(), "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p999": at(0.999), "max": ms.last() })
}
