//! The entry point for the graph of a sealed segment: any bytes, parsed, checked and searched over rows of the size that
//! they claim. Used by libFuzzer and by the index's own test.

use fromagerie_index::frozen::{Graph, Scratch};
use fromagerie_index::{DenseRows, Query};

/// More rows or elements than this tell nothing new.
const FLOATS_MAX: usize = 1 << 16;

/// Parses the bytes and walks what is accepted; every hit must be a row that is there, the best first.
pub fn graph(bytes: &[u8]) {
    let Ok(graph) = Graph::parse(bytes) else { return };
    let info = graph.info();
    let _ = graph.check();
    let (rows, dim) = (info.rows, info.dim);
    if dim == 0 || rows.saturating_mul(dim) > FLOATS_MAX {
        return;
    }
    let floats: Vec<f32> = (0..rows * dim).map(|n| ((n * 37 % 101) as f32 - 50.5) / 64.0).collect();
    let Some(vectors) = DenseRows::new(&floats, dim) else { return };
    let mut scratch = Scratch::new();
    let query = vec![0.25; dim];
    for k in [1, 50] {
        let Ok(hits) = graph.search(&vectors, &Query::new(&query, k), &mut scratch) else { return };
        assert!(hits.len() <= k && hits.is_sorted() && hits.iter().all(|hit| (hit.row as usize) < rows));
    }
}
