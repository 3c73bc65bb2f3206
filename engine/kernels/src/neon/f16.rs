//! Inner products of `f32` with `f16`: `fcvtl` widens four halves, on every aarch64 processor.
//!
//! The standard library's name for the instruction is not stable in the oldest Rust that builds this, so it is
//! written out.
#![allow(unsafe_code)]

use std::arch::aarch64::{float32x4_t, vaddq_f32, vaddvq_f32, vdupq_n_f32, vfmaq_f32, vld1_u8, vld1q_f32};
use std::arch::asm;

const LANES: usize = 4;
const SUMS: usize = 4;

/// Inner product of two slices of one length.
///
/// # Safety
/// The processor must have NEON, as every aarch64 processor does.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn dot(query: &[f32], row: &[[u8; 2]]) -> f32 {
    let (blocks, tail) = query.as_chunks::<LANES>();
    let (of_row, tail_of_row) = row.as_chunks::<LANES>();
    let mut sums = [vdupq_n_f32(0.0); SUMS];
    for (at, (x, y)) in blocks.iter().zip(of_row).enumerate() {
        sums[at % SUMS] = vfmaq_f32(sums[at % SUMS], load(x), widen(y));
    }
    if !tail.is_empty() {
        let (mut x, mut y) = ([0.0; LANES], [[0; 2]; LANES]);
        x[..tail.len()].copy_from_slice(tail);
        y[..tail.len()].copy_from_slice(tail_of_row);
        sums[0] = vfmaq_f32(sums[0], load(&x), widen(&y));
    }
    vaddvq_f32(vaddq_f32(vaddq_f32(sums[0], sums[1]), vaddq_f32(sums[2], sums[3])))
}

/// Inner products of `query` with four slices of its length.
///
/// # Safety
/// The processor must have NEON, as every aarch64 processor does.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn dot4(query: &[f32], rows: [&[[u8; 2]]; 4]) -> [f32; 4] {
    // SAFETY: the caller's promise is the same.
    rows.map(|row| unsafe { dot(query, row) })
}

#[inline]
#[target_feature(enable = "neon")]
fn load(block: &[f32; LANES]) -> float32x4_t {
    // SAFETY: the block has 4 floats.
    unsafe { vld1q_f32(block.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
fn widen(block: &[[u8; 2]; LANES]) -> float32x4_t {
    let wide: float32x4_t;
    // SAFETY: the block has 8 bytes, and the load asks for no alignment; the instruction reads and writes these two
    // registers only, and is part of NEON.
    unsafe {
        let halves = vld1_u8(block.as_ptr().cast());
        asm!("fcvtl {wide:v}.4s, {halves:v}.4h", wide = lateout(vreg) wide, halves = in(vreg) halves,
            options(pure, nomem, nostack, preserves_flags));
    }
    wide
}
