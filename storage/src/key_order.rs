//! A snapshot's items in the order of their keys, wherever their rows are: each segment has its keys in order, and here
//! these orders are merged as far as somebody reads.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::error::StorageError;
use crate::snapshot::{Location, Snapshot};

/// Live items in the order of their keys: see [`Snapshot::in_key_order`].
#[derive(Debug)]
pub struct KeyOrder<'s> {
    snapshot: &'s Snapshot,
    /// The next live key of each segment, the least on top, and the place behind it.
    next: BinaryHeap<Reverse<(&'s str, Location, u32)>>,
}

impl Snapshot {
    /// Live items whose key is greater than `after`, in the order of their keys (as bytes), with where they are. Costs a search
    /// in each segment, and then as much as is read.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when a key table that had to be read is damaged; an item of the iterator may be the same.
    pub fn in_key_order(&self, after: &str) -> Result<KeyOrder<'_>, StorageError> {
        let mut order = KeyOrder { snapshot: self, next: BinaryHeap::new() };
        for (number, segment) in self.segments().iter().enumerate() {
            let place = if after.is_empty() { 0 } else { segment.place_behind(after)? };
            order.advance(number, place)?;
        }
        Ok(order)
    }
}

impl KeyOrder<'_> {
    /// Has the next live key of a segment wait, from `place` in its order on.
    fn advance(&mut self, number: usize, place: u32) -> Result<(), StorageError> {
        let segment = &self.snapshot.segments()[number];
        for place in place..segment.rows() {
            let row = segment.row_in_key_order(place)?;
            if segment.is_live(row) {
                let at = Location { segment: number, row };
                self.next.push(Reverse((segment.key(row)?, at, place + 1)));
                return Ok(());
            }
        }
        Ok(())
    }
}

impl<'s> Iterator for KeyOrder<'s> {
    type Item = Result<(&'s str, Location), StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse((key, at, behind)) = self.next.pop()?;
        match self.advance(at.segment, behind) {
            Ok(()) => Some(Ok((key, at))),
            Err(error) => {
                self.next.clear();
                Some(Err(error))
            }
        }
    }
}
