//! Inner products of `i8`: products of 16 bits, added in pairs to sums of 32.
#![allow(unsafe_code)]

use std::arch::aarch64::{
    int32x4_t, vaddvq_s32, vdupq_n_s32, vget_high_s8, vget_low_s8, vld1q_s8, vmull_s8, vpadalq_s16,
};

use super::{LANES, padded};

/// Inner product of two slices of one length.
///
/// # Safety
/// The processor must have NEON, as every aarch64 processor does.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn dot(query: &[i8], row: &[i8]) -> i32 {
    dot_many(query, [row])[0]
}

/// Inner products of `query` with four slices of its length.
///
/// # Safety
/// The processor must have NEON, as every aarch64 processor does.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn dot4(query: &[i8], rows: [&[i8]; 4]) -> [i32; 4] {
    dot_many(query, rows)
}

#[inline]
#[target_feature(enable = "neon")]
fn dot_many<const N: usize>(query: &[i8], rows: [&[i8]; N]) -> [i32; N] {
    let (blocks, tail) = query.as_chunks::<LANES>();
    let parts = rows.map(|row| row.as_chunks::<LANES>());
    let mut sums = [vdupq_n_s32(0); N];
    for (at, block) in blocks.iter().enumerate() {
        for r in 0..N {
            sums[r] = add_products(sums[r], block, &parts[r].0[at]);
        }
    }
    if !tail.is_empty() {
        let query = padded(tail);
        for r in 0..N {
            sums[r] = add_products(sums[r], &query, &padded(parts[r].1));
        }
    }
    sums.map(|sum| vaddvq_s32(sum))
}

#[inline]
#[target_feature(enable = "neon")]
fn add_products(sum: int32x4_t, query: &[i8; LANES], row: &[i8; LANES]) -> int32x4_t {
    // SAFETY: both blocks have 16 bytes, and the load asks for no alignment.
    let (x, y) = unsafe { (vld1q_s8(query.as_ptr()), vld1q_s8(row.as_ptr())) };
    let sum = vpadalq_s16(sum, vmull_s8(vget_low_s8(x), vget_low_s8(y)));
    vpadalq_s16(sum, vmull_s8(vget_high_s8(x), vget_high_s8(y)))
}
