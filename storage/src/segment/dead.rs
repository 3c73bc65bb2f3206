//! Which rows of a segment are deleted or replaced: a bitmap that is cheap to copy before it is changed.
//!
//! Pages are shared between versions, so a delete in a segment of millions of rows copies 4 KiB.

use std::sync::Arc;

use bincode::{Decode, Encode};

const WORDS: usize = 512;
const ROWS_PER_PAGE: u32 = (WORDS * 64) as u32;

/// Dead rows of one segment. A clone shares its pages.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeadRows {
    pages: Vec<Option<Arc<[u64; WORDS]>>>,
    count: u32,
}

/// The same on disk, in the smaller of two ways.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum StoredDead {
    /// Row numbers, ascending.
    List(Vec<u32>),
    /// Bit `row % 64` of word `row / 64`.
    Bitmap(Vec<u64>),
}

impl DeadRows {
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    #[inline]
    pub(crate) fn contains(&self, row: u32) -> bool {
        if self.count == 0 {
            return false;
        }
        let Some(Some(page)) = self.pages.get((row / ROWS_PER_PAGE) as usize) else {
            return false;
        };
        let bit = row % ROWS_PER_PAGE;
        page[(bit / 64) as usize] >> (bit % 64) & 1 == 1
    }

    /// Marks a row; false when it already was.
    pub(crate) fn insert(&mut self, row: u32) -> bool {
        let index = (row / ROWS_PER_PAGE) as usize;
        if self.pages.len() <= index {
            self.pages.resize(index + 1, None);
        }
        let page = Arc::make_mut(self.pages[index].get_or_insert_with(|| Arc::new([0; WORDS])));
        let bit = row % ROWS_PER_PAGE;
        let word = &mut page[(bit / 64) as usize];
        let fresh = *word >> (bit % 64) & 1 == 0;
        *word |= 1 << (bit % 64);
        self.count += u32::from(fresh);
        fresh
    }

    pub(crate) fn stored(&self, rows: u32) -> StoredDead {
        let dead = (0..rows).filter(|&row| self.contains(row));
        if u64::from(self.count) * 32 <= u64::from(rows) {
            return StoredDead::List(dead.collect());
        }
        let mut words = vec![0_u64; (rows as usize).div_ceil(64)];
        for row in dead {
            words[(row / 64) as usize] |= 1 << (row % 64);
        }
        StoredDead::Bitmap(words)
    }

    /// The rows of a manifest; none when they do not fit a segment of `rows` rows.
    pub(crate) fn from_stored(stored: &StoredDead, rows: u32) -> Option<DeadRows> {
        let mut dead = DeadRows::default();
        let mut insert = |row: u32| (row < rows && dead.insert(row)).then_some(());
        match stored {
            StoredDead::List(list) => {
                for &row in list {
                    insert(row)?;
                }
            }
            StoredDead::Bitmap(words) => {
                if words.len() != (rows as usize).div_ceil(64) {
                    return None;
                }
                for (index, &word) in words.iter().enumerate() {
                    for bit in (0..64).filter(|bit| word >> bit & 1 == 1) {
                        insert((index * 64 + bit) as u32)?;
                    }
                }
            }
        }
        Some(dead)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn equals_a_set_and_survives_the_manifest(rows in prop::collection::btree_set(0_u32..70_000, 0..200), more in 0_u32..70_000) {
            let mut dead = DeadRows::default();
            for &row in &rows {
                prop_assert!(dead.insert(row));
            }
            let before = dead.clone();
            prop_assert_eq!(dead.insert(more), !rows.contains(&more));
            prop_assert_eq!(before.contains(more), rows.contains(&more), "a clone does not change");
            let back = DeadRows::from_stored(&before.stored(70_000), 70_000).unwrap();
            prop_assert_eq!(back.count() as usize, rows.len());
            prop_assert!((0..70_000).all(|row| back.contains(row) == rows.contains(&row)));
        }
    }

    #[test]
    fn a_dense_map_is_a_bitmap_and_rows_out_of_range_are_refused() {
        let mut dead = DeadRows::default();
        (0..100).for_each(|row| assert!(dead.insert(row)));
        let stored = dead.stored(100);
        assert!(matches!(stored, StoredDead::Bitmap(_)));
        assert_eq!(DeadRows::from_stored(&stored, 100).map(|d| d.count()), Some(100));
        assert!(DeadRows::from_stored(&stored, 99).is_none());
        assert!(DeadRows::from_stored(&StoredDead::List(vec![5]), 5).is_none());
    }
}
