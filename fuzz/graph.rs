//! The entry point for the graph of a sealed segment: any bytes, parsed, checked, searched over rows of the size that they
//! claim, and kept in a graph over most of those. Used by libFuzzer and by the index's own test.

use fromagerie_index::frozen::{Graph, Scratch};
use fromagerie_index::vamana::{Known, Part, VamanaParams, build_watched};
use fromagerie_index::{DenseRows, Query, normalize};

/// More rows or elements than this tell nothing new.
const FLOATS_MAX: usize = 1 << 16;
/// More than this take long to be built over.
const BUILT_MAX: usize = 1 << 10;

/// Parses the bytes and walks what is accepted; every hit must be a row that is there, the best first. Whether a graph
/// was searched.
pub fn graph(bytes: &[u8]) -> bool {
    let Ok(graph) = Graph::parse(bytes) else { return false };
    let info = graph.info();
    let _ = graph.check();
    let (rows, dim) = (info.rows, info.dim);
    if dim == 0 || rows.saturating_mul(dim) > FLOATS_MAX {
        return false;
    }
    let floats: Vec<f32> = (0..rows * dim).map(|n| ((n * 37 % 101) as f32 - 50.5) / 64.0).collect();
    let Some(vectors) = DenseRows::new(&floats, dim) else { return false };
    let mut scratch = Scratch::new();
    let query = vec![0.25; dim];
    for k in [1, 50] {
        let Ok(hits) = graph.search(&vectors, &Query::new(&query, k), &mut scratch) else { return false };
        assert!(hits.len() <= k && hits.is_sorted() && hits.iter().all(|hit| (hit.row as usize) < rows));
    }
    if floats.len() <= BUILT_MAX {
        keep(&graph, floats);
    }
    rows > 0
}

/// Merges the rows of the graph, less some that are gone, with links that it has: the result must be sound.
fn keep(graph: &Graph<'_>, mut floats: Vec<f32>) {
    let dim = graph.info().dim;
    floats.chunks_exact_mut(dim).for_each(|row| assert!(normalize(row).is_some()));
    let places: Vec<u32> =
        (0..graph.info().rows as u32).map(|row| if row % 5 == 4 { Part::GONE } else { row }).collect();
    let Some(rows) = DenseRows::new(&floats, dim) else { return };
    let params = VamanaParams { degree: 4, beam: 8, ..VamanaParams::default() };
    let known = Known { part: Some(Part { graph, rows: &places }), training: None };
    let merged = build_watched(&rows, known, params, &mut |_| true).expect("nothing to refuse");
    Graph::parse(&merged).expect("a graph").check().expect("a sound graph");
}
