//! Inner products of `f32`: four a register, four sums a row.
#![allow(unsafe_code)]

use std::arch::aarch64::{vaddq_f32, vaddvq_f32, vdupq_n_f32, vfmaq_f32, vld1q_f32};

const LANES: usize = 4;
const SUMS: usize = 4;

/// Inner product of two slices of one length.
///
/// # Safety
/// The processor must have NEON, as every aarch64 processor does.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn dot(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "dot: the vectors have different lengths");
    let dim = a.len();
    let mut sums = [vdupq_n_f32(0.0); SUMS];
    let mut at = 0;
    while at + SUMS * LANES <= dim {
        for (s, sum) in sums.iter_mut().enumerate() {
            let from = at + s * LANES;
            // SAFETY: from + 4 <= at + 16 <= dim, which is the length of both slices.
            let (x, y) = unsafe { (vld1q_f32(a.as_ptr().add(from)), vld1q_f32(b.as_ptr().add(from))) };
            *sum = vfmaq_f32(*sum, x, y);
        }
        at += SUMS * LANES;
    }
    let tail = a[at..].iter().zip(&b[at..]).fold(0.0f32, |sum, (x, y)| x.mul_add(*y, sum));
    let halves = (vaddq_f32(sums[0], sums[1]), vaddq_f32(sums[2], sums[3]));
    vaddvq_f32(vaddq_f32(halves.0, halves.1)) + tail
}

/// Inner products of `query` with four slices of its length.
///
/// # Safety
/// The processor must have NEON, as every aarch64 processor does.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn dot4(query: &[f32], rows: [&[f32]; 4]) -> [f32; 4] {
    // SAFETY: the caller's promise is the same.
    rows.map(|row| unsafe { dot(query, row) })
}
