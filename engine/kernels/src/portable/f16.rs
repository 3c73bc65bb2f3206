//! Inner products of `f32` with `f16`.

use half::f16;

const LANES: usize = 16;

/// Inner product of two slices of one length (`product` has checked it).
pub(crate) fn dot(query: &[f32], row: &[[u8; 2]]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (query_blocks, query_tail) = query.as_chunks::<LANES>();
    let (row_blocks, row_tail) = row.as_chunks::<LANES>();
    for (x, y) in query_blocks.iter().zip(row_blocks) {
        for lane in 0..LANES {
            lanes[lane] += x[lane] * f16::from_le_bytes(y[lane]).to_f32();
        }
    }
    let tail: f32 = query_tail.iter().zip(row_tail).map(|(x, y)| x * f16::from_le_bytes(*y).to_f32()).sum();
    lanes.iter().sum::<f32>() + tail
}

/// Inner products of `query` with four slices of its length.
pub(crate) fn dot4(query: &[f32], rows: [&[[u8; 2]]; 4]) -> [f32; 4] {
    rows.map(|row| dot(query, row))
}
