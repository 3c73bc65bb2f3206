//! Merging: several segments of one size become one, and dead rows go.
//!
//! Segments are sorted into tiers by live rows, each tier eight times the one below. A tier that is full is merged;
//! so is a segment of which more than half is dead. The merge reads the segments as the manifest has them, and rows
//! that died since are carried over in memory (the journal still knows why they died).

use crate::error::StorageError;
use crate::segment::SegmentView;

use super::{Inner, Published};

/// Segments of a tier that are merged into one of the next.
const FAN_IN: usize = 8;

impl Inner {
    /// Merges until no tier is full.
    pub(super) fn merge_tiers(&self, published: &mut Published) -> Result<(), StorageError> {
        while let Some(sources) = self.choose(published) {
            if let Err(error) = self.check_room(&sources) {
                tracing::warn!(collection = %self.name, %error, "segments are not merged for now");
                return Ok(());
            }
            if let Err(error) = self.merge(published, &sources) {
                if error.damage().is_some() {
                    // Left as they are: what can be read still is, and `verify` names what cannot.
                    published.unmergeable.extend(sources.iter().map(SegmentView::id));
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Makes one segment of the live rows of `sources`, and publishes it in their place.
    pub(super) fn merge(&self, published: &mut Published, sources: &[SegmentView]) -> Result<(), StorageError> {
        let new = self.build_segment(published, sources)?;
        let mut segments = published.segments.clone();
        segments.retain(|view| sources.iter().all(|source| source.id() != view.id()));
        segments.extend(new.clone());
        let (sequence, receipts) = (published.sequence, published.receipts.clone());
        self.publish(published, sequence, segments, receipts)?;
        self.replace(sources, new)?;
        self.tell_catalog(published);
        self.remove_old(published);
        Ok(())
    }

    fn choose(&self, published: &Published) -> Option<Vec<SegmentView>> {
        let limit = self.root.options.merge_rows_max as u64;
        let candidates: Vec<&SegmentView> =
            published.segments.iter().filter(|view| !published.unmergeable.contains(&view.id())).collect();
        if let Some(mostly_dead) =
            candidates.iter().find(|view| u64::from(view.live_rows()) * 2 < u64::from(view.rows()))
        {
            return Some(vec![SegmentView::clone(mostly_dead)]);
        }
        let tier_of = |view: &SegmentView| tier(u64::from(view.live_rows()), self.root.options.seal_rows as u64);
        let mut tiers: Vec<u32> = candidates.iter().map(|view| tier_of(view)).collect();
        tiers.sort_unstable();
        tiers.dedup();
        for tier in tiers {
            let full: Vec<SegmentView> =
                candidates.iter().filter(|view| tier_of(view) == tier).take(FAN_IN).map(|&view| view.clone()).collect();
            let rows: u64 = full.iter().map(|view| u64::from(view.live_rows())).sum();
            if full.len() == FAN_IN && rows <= limit {
                return Some(full);
            }
        }
        None
    }
}

/// 0 for up to twice the rows that memory is sealed at, then one more for every factor of eight.
fn tier(live_rows: u64, seal_rows: u64) -> u32 {
    let times = live_rows / seal_rows.max(1) / 2;
    times.checked_ilog(FAN_IN as u64).map_or(0, |log| log + 1)
}
