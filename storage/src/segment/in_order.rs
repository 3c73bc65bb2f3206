//! Reading a segment from end to end without the system waiting for each page.
//!
//! A segment with a graph is searched by walks, which look at a few vectors here and there: the system is told to read no more
//! than it is asked for, since a read-ahead of megabytes for a row of a kilobyte would fill the memory with what nobody wants.
//! Scans and merges are the other way round, and say so while they last.

use std::sync::Arc;

use crate::mmap::Reading;

use super::SegmentView;
use super::layout::PartKind;
use super::sealed::Sealed;

/// What a merge reads of its sources.
const ROWS: [PartKind; 7] = [
    PartKind::Vectors,
    PartKind::Keys,
    PartKind::KeyOffsets,
    PartKind::Documents,
    PartKind::DocumentOffsets,
    PartKind::FeatureRows,
    PartKind::Features,
];

/// While it lives, the system reads ahead in some parts of a segment.
#[must_use = "it ends when it is dropped"]
#[derive(Debug)]
pub struct InOrder {
    sealed: Option<Arc<Sealed>>,
    parts: &'static [PartKind],
}

impl InOrder {
    fn new(sealed: Option<&Arc<Sealed>>, parts: &'static [PartKind]) -> InOrder {
        for kind in parts {
            sealed.iter().for_each(|sealed| sealed.expect(*kind, Reading::InOrder));
        }
        InOrder { sealed: sealed.cloned(), parts }
    }
}

impl Drop for InOrder {
    fn drop(&mut self) {
        for kind in self.parts {
            self.sealed.iter().for_each(|sealed| sealed.expect(*kind, sealed.usual(*kind)));
        }
    }
}

impl SegmentView {
    /// For as long as all vectors are being read, one after the other.
    pub fn vectors_in_order(&self) -> InOrder {
        // Where nothing but scans reads them, they are read ahead anyway.
        let walked = self.sealed_body().filter(|sealed| matches!(sealed.usual(PartKind::Vectors), Reading::Scattered));
        InOrder::new(walked, &ROWS[..1])
    }

    /// For as long as all rows are being read, one after the other.
    pub(crate) fn rows_in_order(&self) -> InOrder {
        InOrder::new(self.sealed_body(), &ROWS)
    }
}
