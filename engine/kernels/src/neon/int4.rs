//! Inner products of `i8` with 4-bit codes: four products are at most 4 × 15 × 128 = 7,680 and are added in 16 bits.
#![allow(unsafe_code)]

use std::arch::aarch64::{
    int32x4_t, vaddvq_s32, vandq_u8, vdupq_n_s32, vdupq_n_u8, vget_high_s8, vget_low_s8, vld1q_s8, vld1q_u8, vmlal_s8,
    vmull_s8, vpadalq_s16, vreinterpretq_s8_u8, vshrq_n_u8,
};

use super::{LANES, padded};

/// Inner product of a prepared query with a row of half its length.
///
/// # Safety
/// The processor must have NEON, as every aarch64 processor does.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn dot(query: &[i8], row: &[u8]) -> i32 {
    dot_many(query, [row])[0]
}

/// Inner products of a prepared query with four rows of half its length.
///
/// # Safety
/// The processor must have NEON, as every aarch64 processor does.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn dot4(query: &[i8], rows: [&[u8]; 4]) -> [i32; 4] {
    dot_many(query, rows)
}

#[inline]
#[target_feature(enable = "neon")]
fn dot_many<const N: usize>(query: &[i8], rows: [&[u8]; N]) -> [i32; N] {
    let (even, odd) = query.split_at(query.len() / 2);
    let ((even, even_tail), (odd, odd_tail)) = (even.as_chunks::<LANES>(), odd.as_chunks::<LANES>());
    let parts = rows.map(|row| row.as_chunks::<LANES>());
    let mut sums = [vdupq_n_s32(0); N];
    for (at, (even, odd)) in even.iter().zip(odd).enumerate() {
        for r in 0..N {
            sums[r] = add_products(sums[r], even, odd, &parts[r].0[at]);
        }
    }
    if !even_tail.is_empty() {
        let (even, odd) = (padded(even_tail), padded(odd_tail));
        for r in 0..N {
            sums[r] = add_products(sums[r], &even, &odd, &padded(parts[r].1));
        }
    }
    sums.map(|sum| vaddvq_s32(sum))
}

#[inline]
#[target_feature(enable = "neon")]
fn add_products(sum: int32x4_t, even: &[i8; LANES], odd: &[i8; LANES], row: &[u8; LANES]) -> int32x4_t {
    // SAFETY: the three blocks have 16 bytes each, and the load asks for no alignment.
    let (even, odd, row) = unsafe { (vld1q_s8(even.as_ptr()), vld1q_s8(odd.as_ptr()), vld1q_u8(row.as_ptr())) };
    let low = vreinterpretq_s8_u8(vandq_u8(row, vdupq_n_u8(0x0f)));
    let high = vreinterpretq_s8_u8(vshrq_n_u8::<4>(row));
    let short = vmull_s8(vget_low_s8(low), vget_low_s8(even));
    let short = vmlal_s8(short, vget_high_s8(low), vget_high_s8(even));
    let short = vmlal_s8(short, vget_low_s8(high), vget_low_s8(odd));
    vpadalq_s16(sum, vmlal_s8(short, vget_high_s8(high), vget_high_s8(odd)))
}
