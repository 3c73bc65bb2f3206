//! Scan against graph on one set, so that the ratio is of one run: `cargo bench -p fromagerie-index`.

#[path = "../tests/common/mod.rs"]
mod common;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fromagerie_index::frozen::{Graph, Scratch};
use fromagerie_index::hnsw::{Growing, HnswParams};
use fromagerie_index::vamana::{VamanaParams, build};
use fromagerie_index::{Query, Rows, flat};

fn search(c: &mut Criterion) {
    // As a test it runs once, on a set that builds in an instant.
    let has = |flag: &str| std::env::args().any(|arg| arg == flag);
    let rows = if has("--bench") && !has("--test") { 10_000 } else { 1_000 };
    let set = common::set(rows, 128, 100);
    let rows = set.rows();
    let growing = Growing::new(128, HnswParams::default(), rows.len()).expect("sound");
    for row in 0..rows.len() as u32 {
        growing.insert(row, rows.row(row)).expect("taken");
    }
    let bytes = build(&rows, None, VamanaParams::default()).expect("a graph");
    let (graph, mut scratch) = (Graph::parse(&bytes).expect("a graph"), Scratch::new());
    for (kind, queries, ef) in [("like rows", &set.like_rows, 32), ("like text", &set.like_text, 64)] {
        let mut group = c.benchmark_group(kind);
        group.throughput(Throughput::Elements(queries.len() as u64)).sample_size(10);
        let ask = |vector| Query { ef, ..Query::new(vector, 10) };
        group.bench_function("scan", |b| {
            b.iter(|| queries.iter().filter(|vector| flat::search(&rows, &ask(vector)).is_ok()).count());
        });
        group.bench_function(format!("growing, ef {ef}"), |b| {
            b.iter(|| queries.iter().filter(|vector| growing.search(&ask(vector)).is_ok()).count());
        });
        group.bench_function(format!("frozen, ef {ef}"), |b| {
            b.iter(|| queries.iter().filter(|v| graph.search(&rows, &ask(v), &mut scratch).is_ok()).count());
        });
        group.finish();
    }
}

criterion_group!(benches, search);
criterion_main!(benches);
