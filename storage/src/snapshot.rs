//! What readers hold: the segments of a collection at one moment.

use std::hint::black_box;
use std::sync::Arc;

use crate::batch::Document;
use crate::error::StorageError;
use crate::segment::SegmentView;
use crate::version::Version;

/// Where an item is in a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// Index into [`Snapshot::segments`].
    pub segment: usize,
    /// Row of that segment.
    pub row: u32,
}

/// A collection after some batch, unchanged by all that follows. Cheap to clone; its files stay readable as long as
/// it is held, even when a merge has removed them.
#[derive(Debug, Clone)]
pub struct Snapshot {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    sequence: u64,
    live: usize,
    segments: Vec<SegmentView>,
}

impl Snapshot {
    pub(crate) fn new(sequence: u64, segments: Vec<SegmentView>) -> Snapshot {
        let live = segments.iter().map(|segment| segment.live_rows() as usize).sum();
        Snapshot { inner: Arc::new(Inner { sequence, live, segments }) }
    }

    /// The segments, oldest rows first: sealed ones, then those in memory.
    pub fn segments(&self) -> &[SegmentView] {
        &self.inner.segments
    }

    /// Live items.
    pub fn len(&self) -> usize {
        self.inner.live
    }

    /// Whether there are no live items.
    pub fn is_empty(&self) -> bool {
        self.inner.live == 0
    }

    /// Sequence of the last batch that the snapshot holds.
    pub fn sequence(&self) -> u64 {
        self.inner.sequence
    }

    /// Where the item of a key is.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when a key table that had to be read is damaged.
    pub fn find(&self, key: &str) -> Result<Option<Location>, StorageError> {
        for (index, segment) in self.segments().iter().enumerate().rev() {
            if let Some(row) = segment.find(key)? {
                return Ok(Some(Location { segment: index, row }));
            }
        }
        Ok(None)
    }

    /// Which record a key has, for [`Collection::write_held_to`](crate::Collection::write_held_to).
    ///
    /// # Errors
    /// As [`Self::find`].
    pub fn version(&self, key: &str) -> Result<Version, StorageError> {
        Version::of(key, self.segments().iter())
    }

    /// The keys and documents of some rows, in their order. Faster than one after the other: memory is asked for all of them
    /// before the first is read.
    ///
    /// # Errors
    /// As [`SegmentView::key`].
    ///
    /// # Panics
    /// On a segment that the snapshot does not have.
    pub fn read(&self, rows: &[Location]) -> Result<Vec<(&str, Document)>, StorageError> {
        let segment = |at: &Location| &self.segments()[at.segment];
        black_box(rows.iter().fold(0, |all, at| all ^ segment(at).touch_place(at.row)));
        let placed = rows.iter().map(|at| segment(at).place(at.row)).collect::<Result<Vec<_>, _>>()?;
        black_box(placed.iter().fold(0, |all, row| all ^ row.touch()));
        placed.iter().map(|row| Ok((row.key()?, row.document()?))).collect()
    }
}
