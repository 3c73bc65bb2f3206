//! Merging: several segments of one size become one, and dead rows go.
//!
//! Segments are sorted into tiers by live rows, each tier eight times the one below. A tier that is full is merged, all
//! that have gathered in it at once, with the tiers above that this fills; so is a segment of which more than half is
//! dead. A merge may take long: it holds the publisher's lock only to begin and to end. It reads the segments as the
//! manifest had them when it began; rows that died since are carried over: into the manifest those whose deaths are
//! published, into memory all (the journal still knows why they died).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::MutexGuard;

use crate::error::StorageError;
use crate::segment::{SegmentView, Task, layout};

use super::seal::carry_deaths;
use super::{Inner, Published};

/// Segments of a tier that make it full.
const FAN_IN: usize = 8;

/// The merger's lock. Who lets go of it asks for the merges that were asked for meanwhile.
pub(crate) struct Merging<'a> {
    inner: &'a Arc<Inner>,
    lock: Option<MutexGuard<'a, ()>>,
}

impl Drop for Merging<'_> {
    fn drop(&mut self) {
        self.lock.take();
        if self.inner.merge_requested.swap(false, Ordering::SeqCst) {
            self.inner.request_merge();
        }
    }
}

impl Inner {
    /// Has the background merge, or does it here when there is no such thread; not while merges rest.
    pub(super) fn request_merge(self: &Arc<Inner>) {
        if self.merge_trouble.resting().is_some() || self.merge_requested.swap(true, Ordering::SeqCst) {
            return;
        }
        let background = &self.root.background;
        if background.merge(Arc::downgrade(self) as _) {
            return;
        }
        if background.is_closing() {
            // Nobody waits for a merge to close a database: it is taken up when that is opened again.
            self.merge_requested.store(false, Ordering::SeqCst);
        } else {
            self.merge_as_requested();
        }
    }

    /// Merges, unless somebody does, who then asks for it again.
    pub(super) fn merge_as_requested(self: &Arc<Inner>) {
        let Some(lock) = self.merging.try_lock() else { return };
        let merging = Merging { inner: self, lock: Some(lock) };
        self.merge_requested.store(false, Ordering::SeqCst);
        match self.merge_now(&merging) {
            Ok(()) => {}
            Err(StorageError::Stopped { .. }) => self.merge_requested.store(true, Ordering::SeqCst),
            // Dropped, or repaired: that is no trouble.
            Err(_) if self.state.lock().halted.is_some() => {}
            Err(error) => tracing::warn!(collection = %self.name, %error, "segments are not merged for now"),
        }
    }

    /// Keeps others from merging while the guard lives.
    pub(super) fn lock_merging(self: &Arc<Inner>) -> Merging<'_> {
        Merging { inner: self, lock: Some(self.merging.lock()) }
    }

    /// The same, and has a merge that is under way given up.
    pub(crate) fn stop_merging(self: &Arc<Inner>) -> Merging<'_> {
        self.merge_unwanted.store(true, Ordering::SeqCst);
        let merging = self.lock_merging();
        self.merge_unwanted.store(false, Ordering::SeqCst);
        merging
    }

    /// Merges until no tier is full, and remembers how that went.
    pub(super) fn merge_now(&self, merging: &Merging<'_>) -> Result<(), StorageError> {
        let merged = self.merge_tiers(merging);
        if !matches!(merged, Err(StorageError::Stopped { .. })) {
            self.merge_trouble.note(&merged, self.root.options.seal_rest);
        }
        merged
    }

    fn merge_tiers(&self, merging: &Merging<'_>) -> Result<(), StorageError> {
        // As many merges as the segments that there are may need: what comes meanwhile does not keep this caller for ever, and
        // is asked for when the lock is let go.
        let merges_max = self.publishing.lock().segments.len();
        for _ in 0..merges_max {
            let chosen = self.choose(&self.publishing.lock());
            let Some(sources) = chosen else { return Ok(()) };
            self.check_room(&sources)?;
            let ids: Vec<u64> = sources.iter().map(SegmentView::id).collect();
            drop(sources);
            let merged = self.merge(merging, &ids, false, &mut |_| !self.root.background.is_closing());
            if let Err(error) = merged {
                if let Some(damage) = error.damage() {
                    // Left as it is: what can be read still is, and `verify` names what cannot. The others go on without it.
                    let mut damaged = ids.clone();
                    damaged.retain(|id| damage.path.ends_with(layout::file_name(*id)));
                    self.publishing.lock().unmergeable.extend(if damaged.is_empty() { ids } else { damaged });
                }
                return Err(error);
            }
        }
        if self.choose(&self.publishing.lock()).is_some() {
            self.merge_requested.store(true, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Makes one segment of the live rows of others, and publishes it in their place; `anew` without a look at what the
    /// builder made of those. `goes_on` is told what share is done, and says whether it is still wanted. Nobody else takes
    /// segments away meanwhile: that is what the lock is for.
    pub(super) fn merge(
        &self,
        _: &Merging<'_>,
        ids: &[u64],
        anew: bool,
        goes_on: &mut (dyn FnMut(f32) -> bool + Send),
    ) -> Result<(), StorageError> {
        let mut goes_on = |share| !self.merge_unwanted.load(Ordering::SeqCst) && goes_on(share);
        let mut task = Task::in_background(&mut goes_on).anew(anew);
        task.check(&self.name)?;
        let (segment, sources) = self.begin_merge(ids)?;
        let new = self.build_segment(segment, &sources, &mut task);
        let mut published = self.publishing.lock();
        published.merging_into = None;
        self.end_merge(&mut published, &sources, new?)
    }

    fn begin_merge(&self, ids: &[u64]) -> Result<(u64, Vec<SegmentView>), StorageError> {
        let mut published = self.publishing.lock();
        if let Some(halted) = &self.state.lock().halted {
            return Err(halted.clone());
        }
        let sources = published.segments.iter().filter(|view| ids.contains(&view.id())).cloned().collect();
        let segment = published.take_segment();
        published.merging_into = Some(segment);
        Ok((segment, sources))
    }

    fn end_merge(
        &self,
        published: &mut Published,
        sources: &[SegmentView],
        mut new: Option<SegmentView>,
    ) -> Result<(), StorageError> {
        if let Some(halted) = &self.state.lock().halted {
            return Err(halted.clone());
        }
        // With the deaths that are published; those that came later are carried over into what readers get.
        let now: Vec<SegmentView> =
            published.segments.iter().filter(|view| is_one_of(view, sources)).cloned().collect();
        carry_deaths(now.iter(), sources, new.as_mut())?;
        let mut segments = published.segments.clone();
        segments.retain(|view| !is_one_of(view, sources));
        segments.extend(new.clone());
        let (sequence, receipts) = (published.sequence, published.receipts.clone());
        if let Err(error) = self.publish(published, sequence, segments, receipts) {
            if let (StorageError::DiskFull { .. }, Some(new), None) = (&error, &new, &self.state.lock().halted) {
                // The manifest got no name, so nobody names the file, and its room is needed.
                let _ = self.root.backend.remove_file(&self.dir.join(layout::file_name(new.id())));
            }
            return Err(error);
        }
        self.replace(&now, new)?;
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
        let tier_of = |rows: u64| tier(rows, self.root.options.seal_rows as u64);
        let rows_of = |view: &&SegmentView| u64::from(view.live_rows());
        let mut tiers: Vec<u32> = candidates.iter().map(|view| tier_of(rows_of(view))).collect();
        tiers.sort_unstable();
        tiers.dedup();
        for &lowest in &tiers {
            let (mut chosen, mut rows) = (Vec::new(), 0);
            for &tier in tiers.iter().filter(|&&tier| tier >= lowest) {
                // What the lower ones become counts in its tier.
                let fills = usize::from(!chosen.is_empty() && tier_of(rows) == tier);
                let own = candidates.iter().filter(|view| tier_of(rows_of(view)) == tier);
                let own = own.scan(rows, |rows, view| {
                    *rows += rows_of(view);
                    (*rows <= limit).then_some(*view)
                });
                let own: Vec<&SegmentView> = own.collect();
                if own.len() + fills < FAN_IN {
                    break;
                }
                rows += own.iter().map(rows_of).sum::<u64>();
                chosen.extend(own);
            }
            if !chosen.is_empty() {
                return Some(chosen.into_iter().cloned().collect());
            }
        }
        None
    }
}

fn is_one_of(view: &SegmentView, sources: &[SegmentView]) -> bool {
    sources.iter().any(|source| source.id() == view.id())
}

/// 0 for up to twice the rows that memory is sealed at, then one more for every factor of eight.
fn tier(live_rows: u64, seal_rows: u64) -> u32 {
    let times = live_rows / seal_rows.max(1) / 2;
    times.checked_ilog(FAN_IN as u64).map_or(0, |log| log + 1)
}
