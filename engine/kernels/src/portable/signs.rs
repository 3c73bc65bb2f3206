//! Agreements with 1-bit codes: one lookup a pattern.

use crate::signs::{ROWS, TABLE};

/// The agreement of a query with each row of a block (`signs` has checked the lengths).
pub(crate) fn sums(tables: &[u8], block: &[u8]) -> [u16; ROWS] {
    let mut sums = [0_u16; ROWS];
    let (low, high) = sums.split_at_mut(ROWS / 2);
    for (table, patterns) in tables.as_chunks::<TABLE>().0.iter().zip(block.as_chunks::<TABLE>().0) {
        for ((low, high), pattern) in low.iter_mut().zip(high.iter_mut()).zip(patterns) {
            *low = low.wrapping_add(table[usize::from(pattern & 15)].into());
            *high = high.wrapping_add(table[usize::from(pattern >> 4)].into());
        }
    }
    sums
}

/// The rows of blocks whose agreement is `least` or more: a word for each block, with bit `r` for row `r`.
pub(crate) fn at_least(tables: &[u8], blocks: &[u8], least: u16, rows: &mut [u32]) {
    for (rows, block) in rows.iter_mut().zip(blocks.chunks_exact(tables.len().max(1))) {
        let sums = sums(tables, block);
        *rows = sums.iter().enumerate().fold(0, |rows, (row, sum)| rows | u32::from(*sum >= least) << row);
    }
}
