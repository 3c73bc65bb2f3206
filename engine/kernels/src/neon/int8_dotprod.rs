//! Inner products of `i8` by `sdot`, which adds four products to each sum of 32 bits.
//!
//! The standard library's name for the instruction is not stable in the oldest Rust that builds this, so it is
//! written out.
#![allow(unsafe_code)]

use std::arch::aarch64::{int8x16_t, int32x4_t, vaddvq_s32, vdupq_n_s32, vld1q_s8};
use std::arch::asm;

use super::{LANES, padded};

/// Inner product of two slices of one length.
///
/// # Safety
/// The processor must have `dotprod` ([`has_dotprod`](super::has_dotprod)).
#[target_feature(enable = "neon,dotprod")]
pub(crate) unsafe fn dot(query: &[i8], row: &[i8]) -> i32 {
    dot_many(query, [row])[0]
}

/// Inner products of `query` with four slices of its length.
///
/// # Safety
/// The processor must have `dotprod` ([`has_dotprod`](super::has_dotprod)).
#[target_feature(enable = "neon,dotprod")]
pub(crate) unsafe fn dot4(query: &[i8], rows: [&[i8]; 4]) -> [i32; 4] {
    dot_many(query, rows)
}

#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot_many<const N: usize>(query: &[i8], rows: [&[i8]; N]) -> [i32; N] {
    let (blocks, tail) = query.as_chunks::<LANES>();
    let parts = rows.map(|row| row.as_chunks::<LANES>());
    let mut sums = [vdupq_n_s32(0); N];
    for (at, block) in blocks.iter().enumerate() {
        let query = load(block);
        for r in 0..N {
            sums[r] = sdot(sums[r], query, load(&parts[r].0[at]));
        }
    }
    if !tail.is_empty() {
        let query = load(&padded(tail));
        for r in 0..N {
            sums[r] = sdot(sums[r], query, load(&padded(parts[r].1)));
        }
    }
    sums.map(|sum| vaddvq_s32(sum))
}

#[inline]
#[target_feature(enable = "neon,dotprod")]
pub(super) fn sdot(sum: int32x4_t, x: int8x16_t, y: int8x16_t) -> int32x4_t {
    let mut sum = sum;
    // SAFETY: the instruction reads and writes these three registers only, and the processor has it, as every
    // function of this file demands.
    unsafe {
        asm!("sdot {sum:v}.4s, {x:v}.16b, {y:v}.16b", sum = inout(vreg) sum, x = in(vreg) x, y = in(vreg) y,
            options(pure, nomem, nostack, preserves_flags));
    }
    sum
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn load(block: &[i8; LANES]) -> int8x16_t {
    // SAFETY: the block has 16 bytes, and the load asks for no alignment.
    unsafe { vld1q_s8(block.as_ptr()) }
}
