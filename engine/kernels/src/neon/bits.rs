//! Inner products of four planes of bits with 1-bit codes: `cnt` counts the bits of each byte, at most 8, and the
//! weighed sum of four planes, at most 120, still fits a byte.
#![allow(unsafe_code)]

use std::arch::aarch64::{uint8x16_t, vaddlvq_u8, vaddq_u8, vandq_u8, vcntq_u8, vld1q_u8};

use super::{LANES, padded};
use crate::bits::{PLANES, planes};

/// Inner product of a prepared query with a row of a quarter of its length.
///
/// # Safety
/// The processor must have NEON, as every aarch64 processor does.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn dot(query: &[u8], row: &[u8]) -> i32 {
    dot_many(query, [row])[0]
}

/// Inner products of a prepared query with four rows of a quarter of its length.
///
/// # Safety
/// The processor must have NEON, as every aarch64 processor does.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn dot4(query: &[u8], rows: [&[u8]; 4]) -> [i32; 4] {
    dot_many(query, rows)
}

#[inline]
#[target_feature(enable = "neon")]
fn dot_many<const N: usize>(query: &[u8], rows: [&[u8]; N]) -> [i32; N] {
    let planes = planes(query).map(|plane| plane.as_chunks::<LANES>());
    let parts = rows.map(|row| row.as_chunks::<LANES>());
    let mut sums = [0; N];
    for at in 0..planes[0].0.len() {
        let query = planes.map(|plane| load(&plane.0[at]));
        for r in 0..N {
            sums[r] += common(query, load(&parts[r].0[at]));
        }
    }
    if !planes[0].1.is_empty() {
        let query = planes.map(|plane| load(&padded(plane.1)));
        for r in 0..N {
            sums[r] += common(query, load(&padded(parts[r].1)));
        }
    }
    sums
}

/// Weighed number of bits in common.
#[inline]
#[target_feature(enable = "neon")]
fn common(query: [uint8x16_t; PLANES], row: uint8x16_t) -> i32 {
    let [one, two, four, eight] = query.map(|plane| vcntq_u8(vandq_u8(plane, row)));
    let twice = |sum: uint8x16_t| vaddq_u8(sum, sum);
    let weighed = vaddq_u8(four, twice(eight));
    let weighed = vaddq_u8(two, twice(weighed));
    i32::from(vaddlvq_u8(vaddq_u8(one, twice(weighed))))
}

#[inline]
#[target_feature(enable = "neon")]
fn load(block: &[u8; LANES]) -> uint8x16_t {
    // SAFETY: the block has 16 bytes, and the load asks for no alignment.
    unsafe { vld1q_u8(block.as_ptr()) }
}
