//! Goal: a graph that keeps the links of a part is as good as one built anew, whatever became of the part's rows, and
//! whatever its bytes say.
//!
//! Method: 6,000 rows of 32 dimensions; graphs grow from parts of several sizes, and through generations in which rows come
//! and go; recall and distances are compared with a graph built anew over the same rows.

#![allow(clippy::print_stdout)]

mod common;

use common::{recall, set, truth};
use fromagerie_index::frozen::{Graph, Scratch};
use fromagerie_index::vamana::{Known, Part, VamanaParams, build, build_watched};
use fromagerie_index::{DenseRows, Query, Rows};

const DIM: usize = 32;

/// A graph over `rows` that keeps the links of `graph`, whose rows are now where `places` says.
fn grown(rows: &DenseRows<'_>, graph: &[u8], places: &[u32]) -> Vec<u8> {
    let graph = Graph::parse(graph).expect("a graph");
    let known = Known { part: Some(Part { graph: &graph, rows: places }), training: None };
    let mut shares = Vec::new();
    let bytes = build_watched(rows, known, VamanaParams::default(), &mut |share| {
        shares.push(share);
        true
    });
    assert!(shares.is_sorted());
    let bytes = bytes.expect("a graph");
    Graph::parse(&bytes).expect("a graph").check().expect("a sound graph");
    bytes
}

fn anew(rows: &DenseRows<'_>) -> Vec<u8> {
    build(rows, None, VamanaParams::default()).expect("a graph")
}

/// Recall@10 and distances of a query, with a beam of 32.
fn measure(rows: &DenseRows<'_>, graph: &[u8], queries: &[Vec<f32>]) -> (f64, f64) {
    let (graph, mut scratch) = (Graph::parse(graph).expect("a graph"), Scratch::new());
    let (mut found, mut distances) = (0.0, 0);
    for vector in queries {
        let query = Query { ef: 32, ..Query::new(vector, 10) };
        found += recall(graph.search(rows, &query, &mut scratch).expect("an answer"), &truth(rows, &query));
        distances += scratch.distances();
    }
    (found / queries.len() as f64, distances as f64 / queries.len() as f64)
}

/// That `one` is about as good as `other` over the same rows.
fn assert_as_good(rows: &DenseRows<'_>, one: &[u8], other: &[u8], queries: &[Vec<f32>], what: &str) {
    let [(found, distances), (found_anew, distances_anew)] = [one, other].map(|graph| measure(rows, graph, queries));
    println!("{what}: recall@10 {found:.4} for {distances:.0} distances, anew {found_anew:.4} for {distances_anew:.0}");
    assert!(found >= found_anew - 0.015 && distances <= 1.15 * distances_anew, "{what}");
}

#[test]
fn what_grows_from_a_part_is_as_good_as_built_anew() {
    let set = set(6_000, DIM, 150);
    let (rows, whole) = (set.rows(), anew(&set.rows()));
    for count in [600_usize, 3_000, 5_900, 6_000] {
        let part = DenseRows::new(&set.data[..count * DIM], DIM).expect("whole rows");
        let graph = grown(&rows, &anew(&part), &(0..count as u32).collect::<Vec<_>>());
        for (kind, queries) in [("like rows", &set.like_rows), ("like text", &set.like_text)] {
            assert_as_good(&rows, &graph, &whole, queries, &format!("from {count}, {kind}"));
        }
    }
}

#[test]
fn rows_come_and_go_through_generations() {
    let set = set(6_000, DIM, 150);
    let all = |numbers: &[usize]| numbers.iter().flat_map(|n| &set.data[n * DIM..][..DIM]).copied().collect::<Vec<_>>();
    let mut here: Vec<usize> = (0..3_000).collect();
    let mut graph = anew(&DenseRows::new(&all(&here), DIM).expect("whole rows"));
    for generation in 0..6 {
        // A fifth goes, in every place, and as much comes, before what stays and behind it.
        let goes = |at: usize| at % 5 == generation % 5;
        let new = 3_000 + generation * 500..3_500 + generation * 500;
        let mut now: Vec<usize> = new.clone().take(200).collect();
        let mut places = vec![Part::GONE; here.len()];
        for (at, number) in here.iter().enumerate().filter(|(at, _)| !goes(*at)) {
            places[at] = now.len() as u32;
            now.push(*number);
        }
        now.extend(new.skip(200));
        let vectors = all(&now);
        let rows = DenseRows::new(&vectors, DIM).expect("whole rows");
        graph = grown(&rows, &graph, &places);
        let what = format!("generation {generation}, {} rows", rows.len());
        for queries in [&set.like_rows, &set.like_text] {
            assert_as_good(&rows, &graph, &anew(&rows), queries, &what);
        }
        here = now;
    }
}

#[test]
fn equal_rows_of_the_part_and_of_the_others_stand_together() {
    let set = set(400, 8, 20);
    let mut data = set.data[..300 * 8].to_vec();
    data.copy_within(0..40 * 8, 100 * 8);
    let part = anew(&DenseRows::new(&data, 8).expect("whole rows"));
    // The first rows are gone, and their twins are not; new rows are twins of those.
    let places: Vec<u32> = (0..300).map(|row| if row < 20 { Part::GONE } else { row - 20 }).collect();
    let mut now = data[20 * 8..].to_vec();
    now.extend_from_slice(&data[..30 * 8]);
    let rows = DenseRows::new(&now, 8).expect("whole rows");
    let graph = grown(&rows, &part, &places);
    assert_eq!(Graph::parse(&graph).expect("a graph").info().rows, rows.len());
    let mut scratch = Scratch::new();
    for vector in data.chunks_exact(8).take(40) {
        let query = Query { ef: 400, ..Query::new(vector, 400) };
        let found =
            Graph::parse(&graph).expect("a graph").search(&rows, &query, &mut scratch).expect("an answer").to_vec();
        assert_eq!(found, truth(&rows, &query));
    }
}

#[test]
fn any_number_of_threads_grows_the_same_bytes() {
    let set = set(3_000, 16, 1);
    let part = anew(&DenseRows::new(&set.data[..1_500 * 16], 16).expect("whole rows"));
    let places: Vec<u32> = (0..1_500).map(|row| if row % 7 == 0 { Part::GONE } else { row }).collect();
    let [one, three] = [1, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| grown(&set.rows(), &part, &places))
    });
    assert!(one == three);
}

#[test]
fn a_part_that_serves_for_nothing_is_passed_over() {
    let set = set(1_000, 16, 20);
    let whole = anew(&set.rows());
    let part = anew(&DenseRows::new(&set.data[..500 * 16], 16).expect("whole rows"));
    let other_dim = anew(&common::set(500, 8, 0).rows());
    let here: Vec<u32> = (0..500).collect();
    let mostly_gone: Vec<u32> = (0..500).map(|row| if row < 250 { Part::GONE } else { row }).collect();
    for (graph, places) in [(&part, &[][..]), (&part, &[5_000; 500]), (&part, &mostly_gone), (&other_dim, &here)] {
        assert!(grown(&set.rows(), graph, places) == whole);
    }
}

#[test]
fn damage_in_a_part_leaves_a_sound_graph() {
    let set = set(800, 8, 20);
    let part = anew(&DenseRows::new(&set.data[..600 * 8], 8).expect("whole rows"));
    let places: Vec<u32> = (0..600).map(|row| if row % 9 == 0 { Part::GONE } else { row }).collect();
    let mut state = 7_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for _ in 0..60 {
        let mut bytes = part.clone();
        for _ in 0..40 {
            // Past the header, which parsing checks: lists, rows and twins that lead anywhere.
            let at = 256 + 4 * random((bytes.len() - 256) / 4);
            let word = [0, 599, 600, u32::MAX, random(1 << 20) as u32][random(5)];
            bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        if Graph::parse(&bytes).is_err() {
            continue;
        }
        let graph = grown(&set.rows(), &bytes, &places);
        let (found, _) = measure(&set.rows(), &graph, &set.like_rows);
        assert!(found >= 0.9, "{found}");
    }
}
