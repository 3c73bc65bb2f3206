//! 1-bit codes in blocks of 32 rows, and queries that are met as tables.
//!
//! A code is the sign of an element, 1 where it is not below 0. Four signs of a row are one of sixteen patterns, and what a
//! query has to say to each pattern is looked up, for 32 rows with one shuffle (the way of fast scans over product
//! quantisers: André, Kermarrec and Le Scouarnec 2015, PVLDB 9(4)).
//!
//! A block has 16 bytes for every four elements. Byte `j` of them holds the pattern of row `j` in its low half and that of row
//! `j + 16` in its high half; bit `i` of pattern `g` is the sign of element `4g + i`. The tables of a query lie in the same
//! order, 16 bytes each.
//!
//! What comes out is the *agreement* of the query with a row: the sizes of those of its elements, added, whose sign the row
//! has too. Twice that, less the sizes of all, is the inner product of the query with signs of one.
#![allow(unsafe_code)]

use std::fmt;

/// Rows of a block.
pub const ROWS: usize = 32;
/// Largest size of a query's element: what four patterns say together fits a byte.
pub const LARGEST: i8 = 15;
/// Bytes of a table, and of the patterns of a block that it is for.
pub(crate) const TABLE: usize = 16;

/// Bytes of a block of rows of `dim` elements, and of a query's tables for them.
#[must_use]
pub const fn block_bytes(dim: usize) -> usize {
    ROWS * dim.div_ceil(8)
}

/// The byte and the bit where a sign lies.
const fn place(row: usize, at: usize) -> (usize, u8) {
    (at / 4 * TABLE + row % TABLE, 1 << (at % 4 + 4 * (row / TABLE)))
}

/// Says of one element of one row that it is not below 0, in a block that says nothing of it yet.
///
/// # Panics
/// When the block ends before it.
#[inline]
pub fn set(block: &mut [u8], row: usize, at: usize) {
    let (byte, bit) = place(row, at);
    block[byte] |= bit;
}

/// Whether an element is not below 0.
///
/// # Panics
/// When the block ends before it.
#[must_use]
#[inline]
pub fn get(block: &[u8], row: usize, at: usize) -> bool {
    let (byte, bit) = place(row, at);
    block[byte] & bit != 0
}

/// Writes the tables of `query`, whose elements are in -15..=15 and their sizes at most 65,535 in all; what pads a block counts
/// for nothing.
///
/// # Panics
/// When they are not, or `tables` are too short.
pub fn prepare(query: &[i8], tables: &mut [u8]) {
    let sizes = |query: &[i8]| query.iter().map(|x| u32::from(x.unsigned_abs())).sum::<u32>();
    assert!(query.iter().all(|x| x.unsigned_abs() <= LARGEST as u8), "signs: an element of the query is too large");
    assert!(sizes(query) <= u16::MAX.into(), "signs: the elements of the query are too large together");
    assert!(tables.len() * 4 >= query.len() * TABLE, "signs: no room for the query");
    tables.fill(0);
    for (query, table) in query.chunks(4).zip(tables.as_chunks_mut::<TABLE>().0) {
        let below = |x: &i8| (*x).min(0).unsigned_abs();
        // The pattern without a sign agrees with what is below 0; each sign more agrees with its element or no longer does.
        table[0] = query.iter().map(below).sum();
        for (at, x) in query.iter().enumerate() {
            let (known, next) = table.split_at_mut(1 << at);
            known.iter().zip(next).for_each(|(known, next)| *next = known.wrapping_add_signed(*x));
        }
        // Patterns with signs that no element has.
        let known = 1 << query.len();
        (known..TABLE).for_each(|pattern| table[pattern] = table[pattern % known]);
    }
}

type Sums = unsafe fn(&[u8], &[u8]) -> [u16; ROWS];
type AtLeast = unsafe fn(&[u8], &[u8], u16, &mut [u32]);

/// The kernels for signs of one instruction set.
#[derive(Clone, Copy)]
pub struct Signs {
    sums: Sums,
    at_least: AtLeast,
}

impl Signs {
    /// # Safety
    /// This processor must have whatever the functions need, and both must be sound for tables of a length that is a multiple
    /// of 32, one or so many blocks of that length, and a word for each.
    pub(crate) const unsafe fn new(sums: Sums, at_least: AtLeast) -> Self {
        Self { sums, at_least }
    }

    /// The agreement of a query, as its tables, with each row of a block.
    ///
    /// # Panics
    /// When the tables are for rows of another length.
    #[must_use]
    #[inline]
    pub fn agreements(&self, tables: &[u8], block: &[u8]) -> [u16; ROWS] {
        check(tables, block, 1);
        // SAFETY: the lengths fit; `new` was promised that the processor has what the function needs.
        unsafe { (self.sums)(tables, block) }
    }

    /// The rows of blocks, one after another, whose agreement is `least` or more: a word of `rows` for each block, with bit `r`
    /// for row `r`.
    ///
    /// # Panics
    /// When the tables are for rows of another length, or there are more or fewer words than blocks.
    #[inline]
    pub fn at_least(&self, tables: &[u8], blocks: &[u8], least: u16, rows: &mut [u32]) {
        check(tables, blocks, rows.len());
        // SAFETY: the lengths fit; `new` was promised that the processor has what the function needs.
        unsafe { (self.at_least)(tables, blocks, least, rows) }
    }
}

#[inline]
fn check(tables: &[u8], blocks: &[u8], count: usize) {
    assert!(
        Some(blocks.len()) == tables.len().checked_mul(count) && tables.len().is_multiple_of(2 * TABLE),
        "signs: {count} blocks of {} bytes together want tables for one, in whole pairs, not {}",
        blocks.len(),
        tables.len()
    );
}

impl fmt::Debug for Signs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("signs")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_comes_out() {
        let dim = 77;
        let sign = |row: usize, at: usize| (row * 31 + at * at) % 7 < 3;
        let mut block = vec![0; block_bytes(dim)];
        for row in 0..ROWS {
            (0..dim).filter(|at| sign(row, *at)).for_each(|at| set(&mut block, row, at));
        }
        assert!((0..ROWS).all(|row| (0..dim).all(|at| get(&block, row, at) == sign(row, at))));
        assert!((0..ROWS).all(|row| (dim..80).all(|at| !get(&block, row, at))));
    }

    #[test]
    fn a_table_says_what_agrees_with_each_pattern() {
        let mut tables = [0xff; 48];
        prepare(&[1, -2, 4, 8, -15], &mut tables);
        assert_eq!(tables[..16], [2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13]);
        assert_eq!(tables[16..32], [15, 0].repeat(8));
        assert_eq!(tables[32..], [0; 16]);
    }

    #[test]
    #[should_panic(expected = "too large together")]
    fn sums_that_overflow_are_a_broken_invariant() {
        prepare(&[15; 4370], &mut vec![0; block_bytes(4370)]);
    }
}
