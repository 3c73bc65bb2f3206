//! Lends a segment's mapped vectors to the index.

use std::ops::Range;

use fromagerie_index::Rows;
use fromagerie_storage::SegmentView;

use crate::error::Result;

/// The vectors of one segment.
pub(super) struct SegmentRows<'a> {
    vectors: &'a [f32],
    dim: usize,
}

impl<'a> SegmentRows<'a> {
    /// The first touch of a sealed segment checks its bytes.
    pub(super) fn new(segment: &'a SegmentView) -> Result<SegmentRows<'a>> {
        Ok(SegmentRows { vectors: segment.vectors()?, dim: segment.dim() as usize })
    }
}

impl Rows for SegmentRows<'_> {
    fn dim(&self) -> usize {
        self.dim
    }

    fn len(&self) -> usize {
        self.vectors.len() / self.dim
    }

    fn row(&self, row: u32) -> &[f32] {
        let start = row as usize * self.dim;
        &self.vectors[start..start + self.dim]
    }

    fn block(&self, range: Range<u32>) -> &[f32] {
        &self.vectors[range.start as usize * self.dim..range.end as usize * self.dim]
    }
}
