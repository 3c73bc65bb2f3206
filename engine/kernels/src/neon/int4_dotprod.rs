//! Inner products of `i8` with 4-bit codes by `sdot`: each half of a byte is a small number of its own.
#![allow(unsafe_code)]

use std::arch::aarch64::{
    int8x16_t, int32x4_t, vaddvq_s32, vandq_u8, vdupq_n_s32, vdupq_n_u8, vld1q_u8, vreinterpretq_s8_u8, vshrq_n_u8,
};

use super::int8_dotprod::{load, sdot};
use super::{LANES, padded};

/// Inner product of a prepared query with a row of half its length.
///
/// # Safety
/// The processor must have `dotprod` ([`has_dotprod`](super::has_dotprod)).
#[target_feature(enable = "neon,dotprod")]
pub(crate) unsafe fn dot(query: &[i8], row: &[u8]) -> i32 {
    dot_many(query, [row])[0]
}

/// Inner products of a prepared query with four rows of half its length.
///
/// # Safety
/// The processor must have `dotprod` ([`has_dotprod`](super::has_dotprod)).
#[target_feature(enable = "neon,dotprod")]
pub(crate) unsafe fn dot4(query: &[i8], rows: [&[u8]; 4]) -> [i32; 4] {
    dot_many(query, rows)
}

#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot_many<const N: usize>(query: &[i8], rows: [&[u8]; N]) -> [i32; N] {
    let (even, odd) = query.split_at(query.len() / 2);
    let ((even, even_tail), (odd, odd_tail)) = (even.as_chunks::<LANES>(), odd.as_chunks::<LANES>());
    let parts = rows.map(|row| row.as_chunks::<LANES>());
    let mut sums = [vdupq_n_s32(0); N];
    for (at, (even, odd)) in even.iter().zip(odd).enumerate() {
        let (even, odd) = (load(even), load(odd));
        for r in 0..N {
            sums[r] = add_products(sums[r], even, odd, &parts[r].0[at]);
        }
    }
    if !even_tail.is_empty() {
        let (even, odd) = (load(&padded(even_tail)), load(&padded(odd_tail)));
        for r in 0..N {
            sums[r] = add_products(sums[r], even, odd, &padded(parts[r].1));
        }
    }
    sums.map(|sum| vaddvq_s32(sum))
}

#[inline]
#[target_feature(enable = "neon,dotprod")]
fn add_products(sum: int32x4_t, even: int8x16_t, odd: int8x16_t, row: &[u8; LANES]) -> int32x4_t {
    // SAFETY: the block has 16 bytes, and the load asks for no alignment.
    let row = unsafe { vld1q_u8(row.as_ptr()) };
    let low = vreinterpretq_s8_u8(vandq_u8(row, vdupq_n_u8(0x0f)));
    let high = vreinterpretq_s8_u8(vshrq_n_u8::<4>(row));
    sdot(sdot(sum, low, even), high, odd)
}
