//! Goal: a graph finds what an exact search finds, for queries like the rows and for queries like text.
//!
//! Method: 5,000 rows of 64 dimensions from a fixed seed, 200 queries of each kind, the flat scan as oracle. The
//! targets below are what a change must not lose; `--nocapture` prints what was measured.

mod common;

use common::{Set, recall, set, truth};
use fromagerie_index::frozen::{Graph, Scratch};
use fromagerie_index::hnsw::{Growing, HnswParams, build};
use fromagerie_index::{Neighbor, Query, Rows};

fn truths(set: &Set, queries: &[Vec<f32>]) -> Vec<Vec<Neighbor>> {
    queries.iter().map(|vector| truth(&set.rows(), &Query::new(vector, 10))).collect()
}

/// Recall@10 and distances a query.
fn measure(set: &Set, bytes: &[u8], queries: &[Vec<f32>], truths: &[Vec<Neighbor>], ef: usize) -> (f64, f64) {
    let graph = Graph::parse(bytes).expect("a graph");
    let (rows, mut scratch) = (set.rows(), Scratch::new());
    let (mut found, mut distances) = (0.0, 0);
    for (vector, truth) in queries.iter().zip(truths) {
        let query = Query { ef, ..Query::new(vector, 10) };
        let hits = graph.search(&rows, &query, &mut scratch).expect("an answer").to_vec();
        assert!(hits.is_sorted() && !scratch.scanned());
        found += recall(&hits, truth);
        distances += scratch.distances();
    }
    (found / queries.len() as f64, distances as f64 / queries.len() as f64)
}

#[test]
fn recall_at_10_in_and_out_of_distribution() {
    let set = set(5_000, 64, 200);
    let (near_rows, near_text) = (truths(&set, &set.like_rows), truths(&set, &set.like_text));
    for parallel in [false, true] {
        let bytes = build(&set.rows(), HnswParams { parallel, ..HnswParams::default() }).expect("a graph");
        Graph::parse(&bytes).expect("a graph").check().expect("a sound graph");
        for (kind, queries, truths, ef, distances_max) in
            [("like rows", &set.like_rows, &near_rows, 32, 600.0), ("like text", &set.like_text, &near_text, 48, 800.0)]
        {
            for ef in [10, 16, 32, 64] {
                let (recall, distances) = measure(&set, &bytes, queries, truths, ef);
                println!("parallel {parallel}, {kind}, ef {ef}: recall@10 {recall:.4}, {distances:.0} distances");
            }
            let (recall, distances) = measure(&set, &bytes, queries, truths, ef);
            assert!(recall >= 0.95, "{kind}: {recall}");
            assert!(distances <= distances_max, "{kind}: {distances} distances");
        }
    }
}

#[test]
fn frozen_is_as_good_as_growing() {
    let set = set(5_000, 64, 200);
    let growing = Growing::new(set.dim, HnswParams { parallel: false, ..HnswParams::default() }, 0).expect("sound");
    let rows = set.rows();
    for row in 0..rows.len() as u32 {
        growing.insert(row, rows.row(row)).expect("taken");
    }
    let bytes = growing.freeze().expect("a graph");
    for (queries, ef) in [(&set.like_rows, 32), (&set.like_text, 48)] {
        let grown: f64 = queries
            .iter()
            .map(|vector| {
                let query = Query { ef, ..Query::new(vector, 10) };
                recall(&growing.search(&query).expect("an answer"), &truth(&rows, &query))
            })
            .sum::<f64>()
            / queries.len() as f64;
        let truths = truths(&set, queries);
        let (frozen, _) = measure(&set, &bytes, queries, &truths, ef);
        println!("ef {ef}: growing {grown:.4}, frozen {frozen:.4}");
        assert!(frozen >= grown - 0.005, "frozen {frozen}, growing {grown}");
        assert!(grown >= 0.9, "growing {grown}");
    }
}

#[test]
fn filtered_recall() {
    let set = set(5_000, 64, 200);
    let bytes = build(&set.rows(), HnswParams::default()).expect("a graph");
    let (graph, rows, mut scratch) = (Graph::parse(&bytes).expect("a graph"), set.rows(), Scratch::new());
    for one_in in [2, 5, 20] {
        let allow = |row: u32| row.is_multiple_of(one_in);
        let mut found = 0.0;
        for vector in &set.like_text {
            let query = Query { ef: 48, allow: Some(&allow), ..Query::new(vector, 10) };
            let hits = graph.search(&rows, &query, &mut scratch).expect("an answer");
            assert!(hits.iter().all(|hit| allow(hit.row)) && hits.len() == 10);
            found += recall(hits, &truth(&rows, &query));
        }
        let recall = found / set.like_text.len() as f64;
        println!("one in {one_in} allowed: recall@10 {recall:.4}");
        assert!(recall >= 0.95, "one in {one_in}: {recall}");
    }
}
