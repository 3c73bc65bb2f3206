//! Agreements with 1-bit codes: `tbl` looks up the patterns of 16 rows, and widening adds keep their sums in 16 bits.
#![allow(unsafe_code)]

use std::arch::aarch64::{
    uint8x16_t, uint16x8_t, vaddw_high_u8, vaddw_u8, vandq_u8, vdupq_n_u8, vdupq_n_u16, vget_low_u8, vld1q_u8,
    vqtbl1q_u8, vshrq_n_u8, vst1q_u16,
};

use crate::signs::{ROWS, TABLE};

/// The agreement of a query with each row of a block.
///
/// # Safety
/// The processor must have NEON, as every aarch64 processor does.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn sums(tables: &[u8], block: &[u8]) -> [u16; ROWS] {
    let mut eights = [vdupq_n_u16(0); 4];
    for (table, patterns) in tables.as_chunks::<TABLE>().0.iter().zip(block.as_chunks::<TABLE>().0) {
        let (table, patterns) = (load(table), load(patterns));
        let [a, b, c, d] = eights;
        let [a, b] = add([a, b], vqtbl1q_u8(table, vandq_u8(patterns, vdupq_n_u8(0x0f))));
        let [c, d] = add([c, d], vqtbl1q_u8(table, vshrq_n_u8::<4>(patterns)));
        eights = [a, b, c, d];
    }
    let mut sums = [0; ROWS];
    for (sum, eight) in sums.as_chunks_mut::<8>().0.iter_mut().zip(eights) {
        // SAFETY: eight sums are what the store writes.
        unsafe { vst1q_u16(sum.as_mut_ptr(), eight) };
    }
    sums
}

/// The rows of blocks whose agreement is `least` or more: a word for each block, with bit `r` for row `r`.
///
/// # Safety
/// The processor must have NEON, as every aarch64 processor does.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn at_least(tables: &[u8], blocks: &[u8], least: u16, rows: &mut [u32]) {
    for (rows, block) in rows.iter_mut().zip(blocks.chunks_exact(tables.len().max(1))) {
        // SAFETY: the caller's promise.
        let sums = unsafe { sums(tables, block) };
        *rows = sums.iter().enumerate().fold(0, |rows, (row, sum)| rows | u32::from(*sum >= least) << row);
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn add([low, high]: [uint16x8_t; 2], bytes: uint8x16_t) -> [uint16x8_t; 2] {
    [vaddw_u8(low, vget_low_u8(bytes)), vaddw_high_u8(high, bytes)]
}

#[inline]
#[target_feature(enable = "neon")]
fn load(block: &[u8; TABLE]) -> uint8x16_t {
    // SAFETY: the block has 16 bytes, and the load asks for no alignment.
    unsafe { vld1q_u8(block.as_ptr()) }
}
