//! Inner products of `f32`: sixteen independent sums, whatever registers the target has.

const LANES: usize = 16;

/// Inner product of two slices of one length (`dispatch` has checked it).
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (a_blocks, a_tail) = a.as_chunks::<LANES>();
    let (b_blocks, b_tail) = b.as_chunks::<LANES>();
    for (x, y) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..LANES {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    let tail: f32 = a_tail.iter().zip(b_tail).map(|(x, y)| x * y).sum();
    lanes.iter().sum::<f32>() + tail
}

/// Inner products of `query` with four slices of its length.
pub(crate) fn dot4(query: &[f32], rows: [&[f32]; 4]) -> [f32; 4] {
    rows.map(|row| dot(query, row))
}
