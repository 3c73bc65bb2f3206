//! Goal: what queries teach a graph costs nothing and, for queries like text, is of use; what is deleted does not spoil it.
//!
//! Method: generated rows and queries from a fixed seed, the flat scan as oracle; distances are counted, not timed, at the
//! first beam that reaches a recall of .95. `--nocapture` prints what was measured.

mod common;

use common::{Set, recall, set, truth};
use fromagerie_index::frozen::{Graph, Scratch};
use fromagerie_index::vamana::{VamanaParams, build};
use fromagerie_index::{DenseRows, Neighbor, Query, Rows};

/// Recall@10 and distances a query.
fn measure(
    (bytes, rows): (&[u8], &DenseRows<'_>),
    queries: &[Vec<f32>],
    truths: &[Vec<Neighbor>],
    ef: usize,
    allow: Option<&dyn Fn(u32) -> bool>,
) -> (f64, f64) {
    let (graph, mut scratch) = (Graph::parse(bytes).expect("a graph"), Scratch::new());
    let (mut found, mut distances) = (0.0, 0);
    for (vector, truth) in queries.iter().zip(truths) {
        let hits = graph.search(rows, &Query { ef, allow, ..Query::new(vector, 10) }, &mut scratch).expect("an answer");
        found += recall(hits, truth);
        distances += scratch.distances();
    }
    (found / queries.len() as f64, distances as f64 / queries.len() as f64)
}

/// Distances a query at a recall of .95, between the two beams around it evenly in recall.
fn cost(graph: (&[u8], &DenseRows<'_>), queries: &[Vec<f32>], truths: &[Vec<Neighbor>]) -> f64 {
    let mut before = (0.0, 0.0);
    for ef in [6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 256] {
        let now = measure(graph, queries, truths, ef, None);
        if now.0 >= 0.95 {
            return before.1 + (now.1 - before.1) * (0.95 - before.0) / (now.0 - before.0);
        }
        before = now;
    }
    panic!("no beam reaches .95: {before:?}");
}

fn truths(set: &Set, queries: &[Vec<f32>]) -> Vec<Vec<Neighbor>> {
    queries.iter().map(|vector| truth(&set.rows(), &Query::new(vector, 10))).collect()
}

#[test]
fn training_queries_make_queries_like_them_no_dearer_and_others_hardly() {
    let mut set = set(10_000, 64, 10_300);
    let asked = set.like_text.split_off(10_000);
    set.like_rows.truncate(300);
    let (of_text, of_rows) = (truths(&set, &asked), truths(&set, &set.like_rows));
    let mut plain = None;
    for count in [0, 1_000, 4_096, 10_000] {
        let training = set.like_text[..count].concat();
        let training = DenseRows::new(&training, 64).expect("whole rows");
        let bytes = build(&set.rows(), Some(&training), VamanaParams::default()).expect("a graph");
        let graph = (&bytes[..], &set.rows());
        let (text, rows) = (cost(graph, &asked, &of_text), cost(graph, &set.like_rows, &of_rows));
        println!("{count} training queries: {text:.0} distances like text at .95, {rows:.0} like rows");
        let (text_plain, rows_plain) = *plain.get_or_insert((text, rows));
        assert!(text <= text_plain * 1.05, "like text: {text}, without training {text_plain}");
        assert!(rows <= rows_plain * 1.15, "like rows: {rows}, without training {rows_plain}");
    }
}

#[test]
fn in_a_large_graph_walks_start_where_queries_like_theirs_led() {
    let mut set = set(50_000, 32, 6_300);
    let asked = set.like_text.split_off(6_000);
    let training = set.like_text.concat();
    let training = DenseRows::new(&training, 32).expect("whole rows");
    let plain = build(&set.rows(), None, VamanaParams::default()).expect("a graph");
    let learned = build(&set.rows(), Some(&training), VamanaParams::default()).expect("a graph");
    let posts = |bytes: &[u8]| Graph::parse(bytes).expect("a graph").info().posts;
    assert_eq!((posts(&plain), posts(&learned)), (1_041, 1_041 + 960), "every sixth of 5,760 queries is one");
    let truth = truths(&set, &asked);
    for ef in [4, 8, 16] {
        let of = |bytes| measure((bytes, &set.rows()), &asked, &truth, ef, None).0;
        let (without, with) = (of(&plain), of(&learned));
        println!("beam of {ef}: recall {without:.3}, with training queries {with:.3}");
        assert!(with > without, "beam of {ef}: {with}, without training {without}");
    }
}

#[test]
fn deletes_cost_no_recall_before_or_after_they_are_merged_away() {
    let set = set(10_000, 64, 300);
    let bytes = build(&set.rows(), None, VamanaParams::default()).expect("a graph");
    // SplitMix's first step as a coin: about three in ten die.
    let is_live =
        |row: u32| (u64::from(row) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 > (u64::from(u32::MAX) * 3) / 10;
    let live: Vec<u32> = (0..10_000).filter(|row| is_live(*row)).collect();
    let kept: Vec<f32> = live.iter().flat_map(|row| set.rows().row(*row).to_vec()).collect();
    let kept = DenseRows::new(&kept, 64).expect("whole rows");
    let merged = build(&kept, None, VamanaParams::default()).expect("a graph");
    for (kind, queries) in [("like rows", &set.like_rows), ("like text", &set.like_text)] {
        let all = truths(&set, queries);
        let ask = |vector| Query { allow: Some(&is_live), ..Query::new(vector, 10) };
        let left: Vec<_> = queries.iter().map(|vector| truth(&set.rows(), &ask(vector))).collect();
        let after: Vec<_> = queries.iter().map(|vector| truth(&kept, &Query::new(vector, 10))).collect();
        let whole = measure((&bytes, &set.rows()), queries, &all, 32, None);
        let deleted = measure((&bytes, &set.rows()), queries, &left, 32, Some(&is_live));
        let merged = measure((&merged, &kept), queries, &after, 32, None);
        println!(
            "{kind}, beam 32, {} of 10,000 deleted: recall and distances before {whole:.3?}, with the dead {deleted:.3?}, merged {merged:.3?}",
            10_000 - live.len()
        );
        assert!((2_800..3_200).contains(&(10_000 - live.len())));
        assert!(deleted.0 >= whole.0 - 0.01 && merged.0 >= whole.0 - 0.02, "{whole:?} {deleted:?} {merged:?}");
        assert!(deleted.1 <= whole.1 * 2.0, "{whole:?} {deleted:?}");
    }
}
