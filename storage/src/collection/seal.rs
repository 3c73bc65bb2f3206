//! Sealing: what is in memory becomes a segment file, and a new manifest makes it the truth.
//!
//! In order: a new journal takes over (so that the old one is complete), the segment is written, the manifest is
//! published, the snapshot is switched, the catalog is told, the old files go. Each step leaves a directory that opens
//! to the same batches: before the publish the old manifest and all journals say so, after it the new one does.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use crate::batch::VectorType;
use crate::error::StorageError;
use crate::journal::Identity;
use crate::journal::append::{AppendError, Journal};
use crate::manifest::{Manifest, SegmentEntry};
use crate::receipts::StoredReceipt;
use crate::segment::layout::{BLOCK_BYTES, Header};
use crate::segment::{Guarded, SegmentView, Task, build};
use crate::store::background::Tended;

use super::keep::Keep;
use super::{Inner, Published, State};

/// A segment may be larger than what is known of its rows, by one part of so many.
pub(super) const ROOM_SHARE: u64 = 8;

/// The collection at the moment a seal began.
struct Frozen {
    sequence: u64,
    sealed: Vec<SegmentView>,
    memory: Vec<SegmentView>,
    receipts: Vec<StoredReceipt>,
}

impl Tended for Inner {
    /// A seal that nobody waits for: its failure is logged and kept for `stats`.
    fn seal_in_turn(self: Arc<Inner>) {
        self.seal_requested.store(false, Ordering::Release);
        match self.seal_now() {
            Ok(()) => self.request_merge(),
            Err(error) => {
                tracing::warn!(collection = %self.name, %error, "could not seal, batches stay in the journal");
            }
        }
    }

    fn merge_in_turn(self: Arc<Inner>) {
        self.merge_as_requested();
    }
}

impl Inner {
    pub(super) fn seal(self: &Arc<Inner>) -> Result<(), StorageError> {
        self.seal_now()?;
        match self.merge_now(&self.lock_merging()) {
            // All is sealed; segments are merged when there is room, or a use for it.
            Err(StorageError::DiskFull { .. } | StorageError::Stopped { .. }) => Ok(()),
            merged => merged,
        }
    }

    /// Seals what is in memory, and remembers how that went.
    pub(super) fn seal_now(&self) -> Result<(), StorageError> {
        let sealed = self.seal_memory(&mut self.publishing.lock());
        self.seal_trouble.note(&sealed, self.root.options.seal_rest);
        sealed
    }

    /// Has the background seal, or does it here when there is no such thread; not while seals rest.
    pub(super) fn request_seal(self: &Arc<Inner>) {
        let this: Weak<Inner> = Arc::downgrade(self);
        if self.seal_trouble.resting().is_none()
            && !self.seal_requested.swap(true, Ordering::AcqRel)
            && !self.root.background.seal(this)
        {
            self.clone().seal_in_turn();
        }
    }

    pub(super) fn seal_memory(&self, published: &mut Published) -> Result<(), StorageError> {
        let segment = published.take_segment();
        if self.publish_memory(published, segment)? {
            self.tell_catalog(published);
            self.remove_old(published);
        }
        Ok(())
    }

    /// Seals what is in memory into a segment of that number, and leaves the files that are not needed any more where they
    /// are. False when no batch came since the last publish.
    pub(super) fn publish_memory(&self, published: &mut Published, segment: u64) -> Result<bool, StorageError> {
        let Some(frozen) = self.freeze(published)? else {
            return Ok(false);
        };
        let mut segments = frozen.sealed.clone();
        let new = self.build_segment(segment, &frozen.memory, &mut Task::waited_for())?;
        segments.extend(new.clone());
        self.publish(published, frozen.sequence, segments, frozen.receipts)?;
        self.replace(&frozen.memory, new)?;
        Ok(true)
    }

    /// Starts a new journal and sets the memory segments apart; none when no batch came since the last publish.
    fn freeze(&self, published: &mut Published) -> Result<Option<Frozen>, StorageError> {
        let mut state = self.state.lock();
        if let Some(halted) = &state.halted {
            return Err(halted.clone());
        }
        if state.sequence == published.sequence {
            return Ok(None);
        }
        self.rotate(&mut state, published)?;
        let fresh = std::mem::take(&mut state.rows.fresh);
        state.rows.frozen.extend(fresh);
        self.show(&state);
        Ok(Some(Frozen {
            sequence: state.sequence,
            sealed: state.rows.sealed.clone(),
            memory: state.rows.frozen.clone(),
            receipts: state.receipts.stored(),
        }))
    }

    pub(super) fn rotate(&self, state: &mut State, published: &mut Published) -> Result<(), StorageError> {
        let first_sequence = state.sequence + 1;
        if state.journal.identity.first_sequence == first_sequence {
            // A seal that failed after this step is being tried again, and nothing came in between.
            return Ok(());
        }
        let identity = Identity { collection: self.id, first_sequence };
        match Journal::create(&*self.root.backend, &self.dir, identity) {
            Ok(journal) => state.journal = journal,
            Err(AppendError::Undone(error)) => return Err(error),
            Err(AppendError::Poisoned(error)) => return Err(self.halt(state, &error)),
        }
        published.journals.push(first_sequence);
        Ok(())
    }

    /// Writes the live rows of `sources` into a new segment; none when there are none.
    pub(super) fn build_segment(
        &self,
        segment: u64,
        sources: &[SegmentView],
        task: &mut Task<'_>,
    ) -> Result<Option<SegmentView>, StorageError> {
        let rows = sources.iter().map(SegmentView::live_rows).sum();
        if rows == 0 {
            return Ok(None);
        }
        self.check_room(sources)?;
        let header = Header {
            collection: self.id,
            segment,
            dim: self.spec.dim,
            vector_type: self.spec.vector_type,
            feature_dim: self.spec.feature_dim,
            rows,
            block_bytes: BLOCK_BYTES as u32,
        };
        let builder = self.builder.load_full();
        let builder = builder.as_ref().map(|builder| &***builder);
        let guarded = Guarded { builder, collection: &self.name };
        build::make(&*self.root.backend, &self.dir, header, sources, guarded, task).map(Some)
    }

    /// Refuses to begin what will not fit.
    pub(super) fn check_room(&self, sources: &[SegmentView]) -> Result<(), StorageError> {
        let mut needed: u64 = sources.iter().map(SegmentView::live_bytes).sum();
        if self.spec.vector_type == VectorType::F16 {
            // Halves are widened beside the segment while its graph is made.
            let rows: u64 = sources.iter().map(|source| u64::from(source.live_rows())).sum();
            needed += rows * u64::from(self.spec.dim) * 4;
        }
        match self.root.backend.free_bytes(&self.dir) {
            Ok(free) if free < needed + needed / ROOM_SHARE => {
                Err(StorageError::DiskFull { path: self.dir.clone(), action: "write a segment in" })
            }
            _ => Ok(()),
        }
    }

    /// The manifest that says what `published` says.
    pub(super) fn manifest_of(&self, published: &Published) -> Manifest {
        Manifest {
            collection: self.id,
            generation: published.generation,
            name: self.name.clone(),
            spec: self.spec.clone(),
            sequence: published.sequence,
            next_segment: published.next_segment,
            segments: published.segments.iter().filter_map(entry_of).collect(),
            receipts: published.receipts.clone(),
        }
    }

    /// Makes `segments`, as they were at `sequence`, the newest generation.
    pub(super) fn publish(
        &self,
        published: &mut Published,
        sequence: u64,
        segments: Vec<SegmentView>,
        receipts: Vec<StoredReceipt>,
    ) -> Result<(), StorageError> {
        // A generation whose publish failed may lie there all the same: its number is not used again.
        published.generation += 1;
        let manifest = Manifest {
            collection: self.id,
            generation: published.generation,
            name: self.name.clone(),
            spec: self.spec.clone(),
            sequence,
            next_segment: published.next_segment,
            segments: segments.iter().filter_map(entry_of).collect(),
            receipts,
        };
        manifest.write(&*self.root.backend, &self.dir)?;
        if let Err(error) = self.root.backend.sync_dir(&self.dir) {
            let error = StorageError::io(&self.dir, "sync", error);
            return Err(self.halt(&mut self.state.lock(), &error));
        }
        self.generation.store(manifest.generation, Ordering::Relaxed);
        published.sequence = sequence;
        published.segments = segments;
        published.receipts = manifest.receipts;
        Ok(())
    }

    /// Shows `new` in the place of `sources`, with the rows dead that died since.
    ///
    /// # Errors
    /// Damage in the segment just written; the collection then takes no more batches, since its manifest and its
    /// memory no longer agree. Readers keep what they had.
    pub(super) fn replace(&self, sources: &[SegmentView], new: Option<SegmentView>) -> Result<(), StorageError> {
        let mut state = self.state.lock();
        let mut new = new;
        let now = state.rows.sealed.iter().chain(&state.rows.frozen);
        if let Err(error) = carry_deaths(now, sources, new.as_mut()) {
            return Err(self.halt(&mut state, &error));
        }
        let replaced = |view: &SegmentView| sources.iter().any(|source| source.id() == view.id());
        state.rows.sealed.retain(|view| !replaced(view));
        state.rows.frozen.retain(|view| !replaced(view));
        state.rows.sealed.extend(new);
        self.show(&state);
        Ok(())
    }

    pub(super) fn tell_catalog(&self, published: &Published) {
        self.tell(&self.record(published.generation));
    }

    /// Removes files that the newest generation does not need. What cannot be removed is tried again at open.
    pub(super) fn remove_old(&self, published: &mut Published) {
        published.journals.retain(|&first| first > published.sequence);
        let keep = Keep {
            generation: published.generation,
            first_journal: published.sequence + 1,
            segments: published.segments.iter().map(SegmentView::id).collect(),
            being_made: published.merging_into,
        };
        keep.remove_others(&*self.root.backend, &self.dir);
    }
}

/// Marks the rows of `new` dead that died in `sources` since those were read; `now` are the segments as they are.
pub(super) fn carry_deaths<'v>(
    now: impl Iterator<Item = &'v SegmentView> + Clone,
    sources: &[SegmentView],
    new: Option<&mut SegmentView>,
) -> Result<(), StorageError> {
    let Some(new) = new else { return Ok(()) };
    for source in sources {
        let Some(now) = now.clone().find(|view| view.id() == source.id()) else {
            continue;
        };
        if now.dead().count() == source.dead().count() {
            continue;
        }
        for row in source.live().filter(|&row| !now.is_live(row)) {
            if let Some(moved) = new.find(now.key(row)?)? {
                new.kill(moved);
            }
        }
    }
    Ok(())
}

/// What a manifest says of a segment.
pub(crate) fn entry_of(view: &SegmentView) -> Option<SegmentEntry> {
    let sealed = view.sealed_body()?;
    Some(SegmentEntry {
        id: view.id(),
        file_bytes: sealed.file_bytes(),
        rows: view.rows(),
        footer_crc: sealed.footer_crc,
        dead: view.dead().stored(view.rows()),
    })
}
