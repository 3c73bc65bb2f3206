//! The seam to whoever owns the vectors: a mapped segment, a memory segment, or a slice in a test.

use std::ops::Range;

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
    fn a_slice_must_hold_whole_rows() {
        assert!(DenseRows::new(&[0.0; 6], 4).is_none());
        assert!(DenseRows::new(&[], 0).is_none());
        assert!(DenseRows::new(&[], 4).is_some_and(|rows| rows.is_empty()));
        let data = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
        let rows = DenseRows::new(&data, 2).expect("three rows");
        assert_eq!((rows.len(), rows.row(1), rows.block(1..3)), (3, &data[2..4], &data[2..]));
    }
}
