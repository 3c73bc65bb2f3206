//! Compacting: everything of a collection in as few segments as the settings allow, and no dead row.

use std::sync::Arc;

use crate::error::StorageError;
use crate::progress::{Meter, Watch};
use crate::segment::SegmentView;

use super::seal::ROOM_SHARE;
use super::{Collection, Inner, Published};

/// What a compaction did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CompactReport {
    /// Sealed segments before.
    pub segments_before: u32,
    /// Sealed segments after, those included that were sealed meanwhile.
    pub segments_after: u32,
    /// Dead rows that are gone.
    pub dropped_rows: u64,
    /// Bytes of the sealed segments before.
    pub bytes_before: u64,
    /// Bytes of the sealed segments after, those included that were sealed meanwhile.
    pub bytes_after: u64,
}

impl Collection {
    /// Seals what is in memory, then merges all segments into as few as `merge_rows_max` allows, without dead rows.
    /// Batches and searches go on meanwhile.
    ///
    /// # Errors
    /// [`StorageError::NoRoom`] before anything is merged, damage in a segment (repair it first), or an I/O error:
    /// nothing is lost, and what was merged until then stays merged.
    pub fn compact(&self, watch: Watch<'_>) -> Result<CompactReport, StorageError> {
        self.inner.compact(false, &mut Meter::new(watch))
    }

    /// The same, and makes every segment anew, also those in which nothing is dead: what the segment builder adds is
    /// made again, without a look at what it was.
    ///
    /// # Errors
    /// As [`Collection::compact`].
    pub fn rebuild(&self, watch: Watch<'_>) -> Result<CompactReport, StorageError> {
        self.inner.compact(true, &mut Meter::new(watch))
    }
}

/// Segments that become one.
struct Group {
    ids: Vec<u64>,
    /// Bytes of their files.
    bytes: u64,
    /// What the segment in their place takes, about.
    live_bytes: u64,
    dead: u64,
}

impl Inner {
    fn compact(self: &Arc<Inner>, all: bool, meter: &mut Meter<'_>) -> Result<CompactReport, StorageError> {
        let merging = self.lock_merging();
        let (before, groups) = {
            let mut published = self.publishing.lock();
            self.seal_memory(&mut published)?;
            (Sizes::of(&published.segments), self.groups(&published, all))
        };
        // The largest merge must fit beside what it replaces, which goes only after it.
        let needed = groups.iter().map(|group| group.live_bytes).max().unwrap_or(0);
        crate::backend::check_room(&*self.root.backend, &self.dir, needed + needed / ROOM_SHARE)?;
        meter.total_bytes = groups.iter().map(|group| group.bytes).sum();
        let mut dropped_rows = 0;
        for group in &groups {
            let done = meter.bytes;
            self.merge(&merging, &group.ids, all, &mut |share| {
                meter.reach(&self.dir, done + (group.bytes as f64 * f64::from(share)) as u64);
                true
            })?;
            meter.reach(&self.dir, done + group.bytes);
            dropped_rows += group.dead;
        }
        let after = Sizes::of(&self.publishing.lock().segments);
        Ok(CompactReport {
            segments_before: before.segments,
            segments_after: after.segments,
            dropped_rows,
            bytes_before: before.bytes,
            bytes_after: after.bytes,
        })
    }

    /// Segments to be merged into one each: neighbours of `merge_rows_max` live rows together. A segment that is alone
    /// and has no dead rows stays as it is, unless `all` are wanted.
    fn groups(&self, published: &Published, all: bool) -> Vec<Group> {
        let limit = self.root.options.merge_rows_max as u64;
        let mut groups: Vec<Vec<SegmentView>> = Vec::new();
        let mut rows = 0;
        for view in &published.segments {
            let live = u64::from(view.live_rows());
            match groups.last_mut() {
                Some(group) if rows + live <= limit => group.push(view.clone()),
                _ => {
                    groups.push(vec![view.clone()]);
                    rows = 0;
                }
            }
            rows += live;
        }
        groups.retain(|group| all || group.len() > 1 || group.iter().any(|view| view.live_rows() < view.rows()));
        groups.iter().map(|views| Group::of(views)).collect()
    }
}

impl Group {
    fn of(views: &[SegmentView]) -> Group {
        let Sizes { bytes, dead, .. } = Sizes::of(views);
        let live_bytes = views.iter().map(SegmentView::live_bytes).sum();
        Group { ids: views.iter().map(SegmentView::id).collect(), bytes, live_bytes, dead }
    }
}

/// Sealed segments, summed.
struct Sizes {
    segments: u32,
    bytes: u64,
    dead: u64,
}

impl Sizes {
    fn of(views: &[SegmentView]) -> Sizes {
        Sizes {
            segments: views.len() as u32,
            bytes: views.iter().filter_map(SegmentView::sealed_body).map(|sealed| sealed.file_bytes()).sum(),
            dead: views.iter().map(|view| u64::from(view.rows() - view.live_rows())).sum(),
        }
    }
}
