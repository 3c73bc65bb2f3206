//! The seam to whoever owns the vectors: a mapped segment, a memory segment, or a slice in a test.

use std::ops::Range;

use fromagerie_kernels::Kernel;

/// Unit vectors of one dimension, numbered from 0.
///
/// Implementations may panic on a row past `len`; the index never asks for one.
pub trait Rows {
    /// Elements in a row.
    fn dim(&self) -> usize;

    /// Number of rows, at most `u32::MAX`.
    fn len(&self) -> usize;

    /// One row, `[dim]`.
    fn row(&self, row: u32) -> &[f32];

    /// Consecutive rows, `[range.len(), dim]`, row-major.
    fn block(&self, range: Range<u32>) -> &[f32];

    /// Whether there are no rows.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Rows that can be scored, however they are stored.
///
/// Implementations may panic on a row past `len`, and on a vector of another length than `dim`.
pub trait Scored {
    /// Elements in a row.
    fn dim(&self) -> usize;

    /// Number of rows, at most `u32::MAX`.
    fn len(&self) -> usize;

    /// Asks memory for a row that is scored soon. It changes nothing but the time that takes.
    fn ask(&self, row: u32);

    /// Inner product of `vector` with one row.
    fn score(&self, vector: &[f32], row: u32) -> f32;

    /// Inner products of `vector` with consecutive rows.
    fn score_block(&self, vector: &[f32], range: Range<u32>, scores: &mut [f32]);

    /// Inner products of `vector` with `rows`, handed to `each` in their order.
    fn score_scattered(&self, vector: &[f32], rows: &[u32], each: &mut dyn FnMut(u32, f32));

    /// Whether there are no rows.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<R: Rows + ?Sized> Scored for R {
    fn dim(&self) -> usize {
        Rows::dim(self)
    }

    fn len(&self) -> usize {
        Rows::len(self)
    }

    #[inline]
    fn ask(&self, row: u32) {
        fromagerie_kernels::prefetch(self.row(row));
    }

    #[inline]
    fn score(&self, vector: &[f32], row: u32) -> f32 {
        fromagerie_kernels::dot(vector, self.row(row))
    }

    #[inline]
    fn score_block(&self, vector: &[f32], range: Range<u32>, scores: &mut [f32]) {
        Kernel::best().dot_rows(vector, self.block(range), scores);
    }

    #[inline]
    fn score_scattered(&self, vector: &[f32], rows: &[u32], each: &mut dyn FnMut(u32, f32)) {
        Kernel::best().dot_scattered(vector, rows, |row| self.row(row), each);
    }
}

/// Rows of half floats, little-endian, that lie one after another in a borrowed slice.
///
/// A row of unit length whose elements were rounded scores within `2^-11 + 2^-25 * sqrt(dim)` of what it scored before,
/// for a query of unit length (Cauchy and Schwarz), and the rounding of the sum in f32.
#[derive(Clone, Copy, Debug)]
pub struct HalfRows<'a> {
    data: &'a [[u8; 2]],
    dim: usize,
}

impl<'a> HalfRows<'a> {
    /// `data`: `[n, dim]`, row-major. `None` when `dim` is 0, does not divide `data`, or rows exceed `u32::MAX`.
    #[must_use]
    pub fn new(data: &'a [[u8; 2]], dim: usize) -> Option<Self> {
        let whole = dim > 0 && data.len().is_multiple_of(dim);
        (whole && u32::try_from(data.len() / dim).is_ok()).then_some(Self { data, dim })
    }

    #[inline]
    fn row(&self, row: u32) -> &'a [[u8; 2]] {
        let start = row as usize * self.dim;
        &self.data[start..start + self.dim]
    }
}

impl Scored for HalfRows<'_> {
    fn dim(&self) -> usize {
        self.dim
    }

    fn len(&self) -> usize {
        self.data.len() / self.dim
    }

    #[inline]
    fn ask(&self, row: u32) {
        fromagerie_kernels::prefetch(self.row(row));
    }

    #[inline]
    fn score(&self, vector: &[f32], row: u32) -> f32 {
        Kernel::best().float16.dot(vector, self.row(row))
    }

    fn score_block(&self, vector: &[f32], range: Range<u32>, scores: &mut [f32]) {
        for (score, row) in scores.iter_mut().zip(range) {
            *score = self.score(vector, row);
        }
    }

    fn score_scattered(&self, vector: &[f32], rows: &[u32], each: &mut dyn FnMut(u32, f32)) {
        Kernel::best().float16.dot_scattered(vector, rows, |row| self.row(row), each);
    }
}

/// Rows that lie one after another in a borrowed slice.
#[derive(Clone, Copy, Debug)]
pub struct DenseRows<'a> {
    data: &'a [f32],
    dim: usize,
}

impl<'a> DenseRows<'a> {
    /// `data`: `[n, dim]`, row-major. `None` when `dim` is 0, does not divide `data`, or rows exceed `u32::MAX`.
    #[must_use]
    pub fn new(data: &'a [f32], dim: usize) -> Option<Self> {
        let whole = dim > 0 && data.len().is_multiple_of(dim);
        (whole && u32::try_from(data.len() / dim).is_ok()).then_some(Self { data, dim })
    }
}

impl Rows for DenseRows<'_> {
    fn dim(&self) -> usize {
        self.dim
    }

    fn len(&self) -> usize {
        self.data.len() / self.dim
    }

    #[inline]
    fn row(&self, row: u32) -> &[f32] {
        let start = row as usize * self.dim;
        &self.data[start..start + self.dim]
    }

    fn block(&self, range: Range<u32>) -> &[f32] {
        &self.data[range.start as usize * self.dim..range.end as usize * self.dim]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_score_as_the_floats_that_they_are() {
        let (dim, count) = (37, 300_usize);
        let floats: Vec<f32> =
            (0..dim * count).map(|n| half::f16::from_f32(((n * 7919) as f32).sin()).to_f32()).collect();
        let halves: Vec<[u8; 2]> = floats.iter().map(|x| half::f16::from_f32(*x).to_le_bytes()).collect();
        let vector: Vec<f32> = (0..dim).map(|n| (n as f32).cos()).collect();
        let (rows, half) = (DenseRows::new(&floats, dim).expect("whole"), HalfRows::new(&halves, dim).expect("whole"));
        assert!(HalfRows::new(&halves[1..], dim).is_none() && HalfRows::new(&[], 0).is_none());
        assert_eq!((Scored::len(&half), Scored::dim(&half)), (count, dim));
        let near = |a: f32, b: f32| (a - b).abs() < 1e-4;
        let mut block = vec![0.0; count];
        half.score_block(&vector, 0..count as u32, &mut block);
        for row in 0..count as u32 {
            assert!(near(half.score(&vector, row), rows.score(&vector, row)), "row {row}");
            assert!(near(block[row as usize], half.score(&vector, row)));
        }
        let mut scattered = Vec::new();
        half.score_scattered(&vector, &[5, 299, 0, 17, 5], &mut |row, score| scattered.push((row, score)));
        assert_eq!(scattered.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [5, 299, 0, 17, 5]);
        assert!(scattered.iter().all(|(row, score)| near(*score, block[*row as usize])));
    }

    #[test]
    fn a_slice_must_hold_whole_rows() {
        assert!(DenseRows::new(&[0.0; 6], 4).is_none());
        assert!(DenseRows::new(&[], 0).is_none());
        assert!(DenseRows::new(&[], 4).is_some_and(|rows| Rows::is_empty(&rows)));
        let data = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
        let rows = DenseRows::new(&data, 2).expect("three rows");
        assert_eq!((Rows::len(&rows), rows.row(1), rows.block(1..3)), (3, &data[2..4], &data[2..]));
    }
}
