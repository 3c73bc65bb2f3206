//! Goal: a graph finds what an exact search finds, for queries like the rows and for queries like text.
//!
//! Method: 5,000 rows of 64 dimensions from a fixed seed, 200 queries of each kind, the flat scan as oracle. The
//! targets below are what a change must not lose; `--nocapture` prints what was measured.

mod common;

use common::{Set, recall, set, truth};
use fromagerie_index::frozen::{Graph, Scratch};
use fromagerie_index::hnsw::{self, Growing, HnswParams};
use fromagerie_index::vamana::{VamanaParams, build};
use fromagerie_index::{Neighbor, Query, Rows};

fn truths(set: &Set, queries: &[Vec<f32>]) -> Vec<Vec<Neighbor>> {
    queries.iter().map(|vector| truth(&set.rows(), &Query::new(vector, 10))).collect()
}

/// Recall@10 and distances a query, of those that walk. A walk that would compare a sixteenth of so few codes sweeps instead,
/// and finds nearly all: it says nothing of the graph.
fn measure(set: &Set, bytes: &[u8], queries: &[Vec<f32>], truths: &[Vec<Neighbor>], ef: usize) -> (f64, f64) {
    let graph = Graph::parse(bytes).expect("a graph");
    let (rows, mut scratch) = (set.rows(), Scratch::new());
    let (mut found, mut distances, mut walked, mut swept, mut swept_found) = (0.0, 0, 0, 0, 0.0);
    for (vector, truth) in queries.iter().zip(truths) {
        let query = Query { ef, ..Query::new(vector, 10) };
        let hits = graph.search(&rows, &query, &mut scratch).expect("an answer").to_vec();
        assert!(hits.is_sorted());
        if scratch.swept() {
            assert_eq!(scratch.signs(), rows.len() as u64);
            (swept, swept_found) = (swept + 1, swept_found + recall(&hits, truth));
            continue;
        }
        found += recall(&hits, truth);
        distances += scratch.distances();
        walked += 1;
    }
    assert!(swept_found >= 0.9 * f64::from(swept), "{swept} sweeps found {swept_found}");
    (found / f64::from(walked), distances as f64 / f64::from(walked))
}

#[test]
fn recall_at_10_in_and_out_of_distribution() {
    let set = set(5_000, 64, 200);
    let (near_rows, near_text) = (truths(&set, &set.like_rows), truths(&set, &set.like_text));
    let hnsw = hnsw::build(&set.rows(), HnswParams::default()).expect("a graph");
    let vamana = build(&set.rows(), None, VamanaParams::default()).expect("a graph");
    for (built, bytes) in [("hnsw", hnsw), ("vamana", vamana)] {
        Graph::parse(&bytes).expect("a graph").check().expect("a sound graph");
        for (kind, queries, truths, ef, distances_max) in
            [("like rows", &set.like_rows, &near_rows, 32, 700.0), ("like text", &set.like_text, &near_text, 48, 900.0)]
        {
            for ef in [10, 16, 32, 64] {
                let (recall, distances) = measure(&set, &bytes, queries, truths, ef);
                println!("{built}, {kind}, ef {ef}: recall@10 {recall:.4}, {distances:.0} distances");
            }
            let (recall, distances) = measure(&set, &bytes, queries, truths, ef);
            assert!(recall >= 0.95, "{built}, {kind}: {recall}");
            assert!(distances <= distances_max, "{built}, {kind}: {distances} distances");
        }
    }
}

#[test]
fn a_walk_that_would_cost_more_than_all_codes_reads_them_all() {
    let set = set(3_000, 64, 100);
    let bytes = build(&set.rows(), None, VamanaParams::default()).expect("a graph");
    let (graph, rows, mut scratch) = (Graph::parse(&bytes).expect("a graph"), set.rows(), Scratch::new());
    let mut found = 0.0;
    for (vector, truth) in set.like_text.iter().zip(truths(&set, &set.like_text)) {
        let query = Query { ef: 512, ..Query::new(vector, 10) };
        found += recall(graph.search(&rows, &query, &mut scratch).expect("an answer"), &truth) / 100.0;
        assert!(scratch.swept());
        let all = rows.len() as u64;
        assert_eq!(scratch.signs(), all);
        assert!(scratch.distances() < all * 2 / 3, "{} codes of {all}, walking and sweeping", scratch.distances());
    }
    println!("recall@10 {found:.4} by sweeping");
    assert!(found >= 0.99, "{found}");
}

#[test]
fn a_sweep_reaches_the_recall_asked_for_at_any_k() {
    let set = set(3_000, 32, 400);
    let bytes = build(&set.rows(), None, VamanaParams::default()).expect("a graph");
    let (graph, rows, mut scratch) = (Graph::parse(&bytes).expect("a graph"), set.rows(), Scratch::new());
    for k in [1, 2, 5, 10, 50, 200] {
        for wanted in [0.9, 0.95, 0.99] {
            let (mut found, mut swept) = (0.0, 0);
            for vector in set.like_text.iter().chain(&set.like_rows) {
                let query = Query { recall: Some(wanted), ..Query::new(vector, k) };
                let hits = graph.search(&rows, &query, &mut scratch).expect("an answer").to_vec();
                if scratch.swept() {
                    (found, swept) = (found + recall(&hits, &truth(&rows, &query)), swept + 1);
                }
            }
            let found = found / f64::from(swept);
            println!("recall@{k} wanted {wanted}: {found:.4} in {swept} sweeps");
            assert!(swept < 200 || found >= f64::from(wanted) - 0.01, "recall@{k} wanted {wanted}: {found}");
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
    for (queries, ef) in [(&set.like_rows, 32), (&set.like_text, 64)] {
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
    let bytes = build(&set.rows(), None, VamanaParams::default()).expect("a graph");
    let (graph, rows, mut scratch) = (Graph::parse(&bytes).expect("a graph"), set.rows(), Scratch::new());
    for one_in in [2, 5, 20] {
        let allow = |row: u32| row.is_multiple_of(one_in);
        let mut found = 0.0;
        for vector in &set.like_text {
            let query = Query { ef: 64, allow: Some(&allow), ..Query::new(vector, 10) };
            let hits = graph.search(&rows, &query, &mut scratch).expect("an answer");
            assert!(hits.iter().all(|hit| allow(hit.row)) && hits.len() == 10);
            found += recall(hits, &truth(&rows, &query));
        }
        let recall = found / set.like_text.len() as f64;
        println!("one in {one_in} allowed: recall@10 {recall:.4}");
        assert!(recall >= 0.95, "one in {one_in}: {recall}");
    }
}

/// A filter that keeps the rows on one side of the set, for the queries that look to the other.
#[test]
fn a_filter_that_keeps_what_is_far_is_searched_as_well() {
    let set = set(10_000, 64, 300);
    let bytes = build(&set.rows(), None, VamanaParams::default()).expect("a graph");
    let (graph, rows, mut scratch) = (Graph::parse(&bytes).expect("a graph"), set.rows(), Scratch::new());
    let centre = rows.row(17);
    let mut scores: Vec<f32> =
        (0..rows.len() as u32).map(|row| fromagerie_kernels::dot(centre, rows.row(row))).collect();
    let place = scores.clone();
    scores.sort_unstable_by(|a, b| b.total_cmp(a));
    let mut queries = set.like_rows.clone();
    queries.sort_by(|a, b| fromagerie_kernels::dot(centre, a).total_cmp(&fromagerie_kernels::dot(centre, b)));
    for one_in in [2, 5, 10] {
        let least = scores[scores.len() / one_in];
        let allow = |row: u32| place[row as usize] > least;
        let (mut found, mut walked) = (0.0, 0);
        for vector in &queries[..100] {
            let query = Query { recall: Some(0.95), allow: Some(&allow), ..Query::new(vector, 10) };
            let hits = graph.search(&rows, &query, &mut scratch).expect("an answer").to_vec();
            walked += usize::from(!scratch.swept());
            found += recall(&hits, &truth(&rows, &query)) / 100.0;
        }
        println!("the farther one in {one_in} allowed: recall@10 {found:.4}, {walked} of 100 by walking");
        // A walk that ends as it does without a filter finds .986 to .990.
        assert!(found >= 0.994, "one in {one_in}: {found}");
    }
}

#[test]
fn codes_alone_find_nearly_the_same() {
    let set = set(5_000, 64, 200);
    let rows = set.rows();
    let bytes = build(&rows, None, VamanaParams::default()).expect("a graph");
    let graph = Graph::parse(&bytes).expect("a graph");
    let vectors: Vec<f32> = set.like_text.iter().flatten().copied().collect();
    let (mut lanes, mut batch) = (Vec::new(), vec![Vec::new(); 200]);
    let keep = |number: usize, hits: &[Neighbor], _: &Scratch| batch[number] = hits.to_vec();
    graph.search_batch(&vectors, (10, 64), &mut lanes, keep).expect("answers");
    let (mut scratch, mut shared) = (Scratch::new(), 0.0);
    for (vector, of_batch) in set.like_text.iter().zip(&batch) {
        let query = Query { ef: 64, ..Query::new(vector, 10) };
        let exact = graph.search(&rows, &query, &mut scratch).expect("an answer").to_vec();
        let by_codes = graph.search_codes(&query, &mut scratch).expect("an answer");
        assert_eq!(by_codes, of_batch, "one at a time or many, the answer is one");
        for hit in by_codes {
            let truth = fromagerie_kernels::dot(vector, rows.row(hit.row));
            assert!((hit.score - truth).abs() <= 4.0 * graph.fine_error(), "{} {truth}", hit.score);
        }
        shared += recall(by_codes, &exact) / 200.0;
    }
    assert!(shared >= 0.98, "{shared}");
}

/// Recall@10 and distances a query, for each recall that is asked for.
fn asked_for(set: &Set, bytes: &[u8], queries: &[Vec<f32>]) -> Vec<(f32, f64, f64)> {
    let (graph, rows, mut scratch) = (Graph::parse(bytes).expect("a graph"), set.rows(), Scratch::new());
    let truths = truths(set, queries);
    let measured = [0.9, 0.95, 0.99].map(|wanted| {
        let (mut found, mut distances) = (0.0, 0);
        for (vector, truth) in queries.iter().zip(&truths) {
            let query = Query { recall: Some(wanted), ..Query::new(vector, 10) };
            found += recall(graph.search(&rows, &query, &mut scratch).expect("an answer"), truth);
            distances += scratch.distances();
        }
        (wanted, found / queries.len() as f64, distances as f64 / queries.len() as f64)
    });
    measured.to_vec()
}

#[test]
fn the_recall_asked_for_is_reached_with_training_queries() {
    let mut set = set(6_000, 64, 1_200);
    let asked = set.like_text.split_off(1_000);
    let training: Vec<f32> = set.like_text.iter().flatten().copied().collect();
    let training = fromagerie_index::DenseRows::new(&training, 64).expect("whole rows");
    let bytes = build(&set.rows(), Some(&training), VamanaParams::default()).expect("a graph");
    assert_eq!(Graph::parse(&bytes).expect("a graph").info().learned, 900);
    for queries in [&asked, &set.like_rows[..200].to_vec()] {
        for (wanted, got, distances) in asked_for(&set, &bytes, queries) {
            println!("recall wanted {wanted}: {got:.4}, {distances:.0} distances");
            assert!(got >= f64::from(wanted) - 0.02, "wanted {wanted}, got {got}");
        }
    }
}

#[test]
fn the_recall_asked_for_is_reached_without_a_query_to_learn_from() {
    let set = set(10_000, 64, 300);
    let bytes = build(&set.rows(), None, VamanaParams::default()).expect("a graph");
    let graph = Graph::parse(&bytes).expect("a graph");
    for (kind, queries) in [("like rows", &set.like_rows), ("like text", &set.like_text)] {
        for (wanted, got, distances) in asked_for(&set, &bytes, queries) {
            let narrow = graph.ef_for(wanted, 10);
            let (plain, fewer) = measure(&set, &bytes, queries, &truths(&set, queries), narrow);
            println!(
                "{kind}, recall wanted {wanted}: {got:.4}, {distances:.0} distances; {plain:.4}, {fewer:.0} by the rows' beam"
            );
            assert!(got >= f64::from(wanted) - 0.01, "{kind}: wanted {wanted}, got {got}");
            if kind == "like rows" {
                assert!(distances <= 1.1 * fewer, "{distances} distances, {fewer} without looking how far a query is");
            }
        }
    }
}
