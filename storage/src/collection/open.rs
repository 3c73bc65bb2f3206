//! Opening a collection: the newest manifest, its segments, then every batch that the journals hold beyond it.
//!
//! Nothing is removed or cut before all of it was read and found good; a damaged collection is left as it lies.

use std::path::Path;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::{Mutex, RwLock};

use crate::backend::{Backend, Entry};
use crate::batch::{Batch, check};
use crate::catalog::CollectionRecord;
use crate::error::StorageError;
use crate::journal::append::Journal;
use crate::journal::scan::{self, ScanEnd};
use crate::journal::{self, Identity};
use crate::manifest::{self, Manifest, SegmentEntry};
use crate::mmap::Mapping;
use crate::receipts::Receipts;
use crate::segment::SegmentView;
use crate::segment::dead::DeadRows;
use crate::segment::sealed::Sealed;
use crate::snapshot::Snapshot;
use crate::store::note::OpenNote;
use crate::store::root::Root;

use super::create::dir_of;
use super::keep::Keep;
use super::rows::Rows;
use super::trouble::Trouble;

use super::{Inner, Published, State};

/// Opens the collection `id`. `expected`: what the catalog knows of it.
pub(crate) fn open(
    root: &Arc<Root>,
    id: u64,
    expected: Option<&CollectionRecord>,
    notes: &mut Vec<OpenNote>,
) -> Result<Inner, StorageError> {
    open_again(root, id, expected, &[], notes)
}

/// The same; a segment that `known` has mapped already is not mapped, and not checked, again.
pub(super) fn open_again(
    root: &Arc<Root>,
    id: u64,
    expected: Option<&CollectionRecord>,
    known: &[SegmentView],
    notes: &mut Vec<OpenNote>,
) -> Result<Inner, StorageError> {
    let dir = dir_of(&root.collections_dir(), id);
    let backend = &*root.backend;
    if !root.is_read_only() {
        // A manifest or a journal that an earlier process did not live to sync is as good as published from here on.
        backend.sync_dir(&dir).map_err(|e| StorageError::io(&dir, "sync", e))?;
    }
    let entries = backend.list(&dir).map_err(|e| StorageError::io(&dir, "list", e))?;
    let manifest = newest_manifest(backend, &dir, id, &entries, expected.map(|record| record.generation))?;
    let segments = open_segments(backend, &dir, &manifest, known)?;
    let mut replay = Replay {
        rows: Rows::new(&manifest.spec, segments.clone()),
        receipts: Receipts::from_stored(manifest.receipts.clone(), root.options.request_ids_max),
        sequence: manifest.sequence,
    };
    let journals = journals_after(&entries, manifest.sequence);
    let durable = expected.map_or(0, |record| record.sequence);
    let (journal, cut) = replay_journals(root, &dir, &manifest, &journals, durable, &mut replay)?;
    notes.extend(cut);

    if !root.is_read_only() {
        let keep = Keep {
            generation: manifest.generation,
            first_journal: manifest.sequence + 1,
            segments: segments.iter().map(SegmentView::id).collect(),
            being_made: None,
        };
        keep.remove_others(backend, &dir);
    }
    let state = State {
        journal,
        rows: replay.rows,
        receipts: replay.receipts,
        sequence: replay.sequence,
        halted: root.is_read_only().then(|| root.read_only()),
    };
    let generation = manifest.generation.into();
    let published = Published {
        generation: manifest.generation,
        sequence: manifest.sequence,
        segments,
        receipts: manifest.receipts,
        next_segment: manifest.next_segment,
        journals,
        merging_into: None,
        unmergeable: Default::default(),
    };
    let inner = Inner {
        root: root.clone(),
        id,
        name: manifest.name,
        spec: manifest.spec,
        dir,
        gate: RwLock::default(),
        handed_over: 0.into(),
        queue: Mutex::default(),
        merging: Mutex::default(),
        publishing: Mutex::new(published),
        snapshot: ArcSwap::from_pointee(Snapshot::new(0, Vec::new())),
        builder: ArcSwapOption::empty(),
        seal_requested: Default::default(),
        merge_requested: Default::default(),
        resumed: Default::default(),
        merge_unwanted: Default::default(),
        generation,
        told_sequence: durable.into(),
        sizes: Default::default(),
        seal_trouble: Trouble::default(),
        merge_trouble: Trouble::default(),
        keeping_hints: Mutex::default(),
        state: Mutex::new(state),
    };
    inner.show(&inner.state.lock());
    Ok(inner)
}

fn newest_manifest(
    backend: &dyn Backend,
    dir: &Path,
    id: u64,
    entries: &[Entry],
    expected: Option<u64>,
) -> Result<Manifest, StorageError> {
    let newest = entries.iter().filter_map(|entry| manifest::generation_of(&entry.name)).max().unwrap_or(0);
    let expected = expected.unwrap_or(1);
    if newest < expected {
        let what = format!("the manifest is missing; the newest that is there is {newest}");
        return Err(StorageError::damaged(&dir.join(manifest::file_name(expected)), 0, what));
    }
    let manifest = Manifest::read(backend, dir, newest)?;
    if manifest.collection != id {
        let what = format!("manifest of collection {:016x} in the directory of {id:016x}", manifest.collection);
        return Err(StorageError::damaged(&dir.join(manifest::file_name(newest)), 0, what));
    }
    Ok(manifest)
}

/// What the newest manifest that can be read calls the collection `id`, which does not open; its number when none can be.
pub(crate) fn name_on_disk(root: &Root, id: u64) -> String {
    let dir = dir_of(&root.collections_dir(), id);
    let entries = root.backend.list(&dir).unwrap_or_default();
    let mut generations: Vec<u64> = entries.iter().filter_map(|entry| manifest::generation_of(&entry.name)).collect();
    generations.sort_unstable_by(|a, b| b.cmp(a));
    let manifests =
        generations.into_iter().filter_map(|generation| Manifest::read(&*root.backend, &dir, generation).ok());
    let name = manifests.filter(|manifest| manifest.collection == id).map(|manifest| manifest.name).next();
    name.unwrap_or_else(|| format!("{id:016x}"))
}

fn open_segments(
    backend: &dyn Backend,
    dir: &Path,
    manifest: &Manifest,
    known: &[SegmentView],
) -> Result<Vec<SegmentView>, StorageError> {
    let open = |entry: &SegmentEntry| {
        let mut bodies = known.iter().filter_map(SegmentView::sealed_body);
        match bodies.find(|body| body.header.segment == entry.id && body.footer_crc == entry.footer_crc) {
            Some(body) => Ok(SegmentView::sealed(body.clone(), dead_of(dir, manifest, entry)?)),
            None => open_segment(backend, dir, manifest, entry),
        }
    };
    manifest.segments.iter().map(open).collect()
}

/// Maps a segment and checks that it is the one that the manifest names.
pub(crate) fn open_segment(
    backend: &dyn Backend,
    dir: &Path,
    manifest: &Manifest,
    entry: &SegmentEntry,
) -> Result<SegmentView, StorageError> {
    let sealed = Sealed::open(backend, dir, entry.id)?;
    let (header, spec) = (&sealed.header, &manifest.spec);
    let same = sealed.file_bytes() == entry.file_bytes
        && sealed.footer_crc == entry.footer_crc
        && header.rows == entry.rows
        && header.collection == manifest.collection
        && (header.dim, header.vector_type, header.feature_dim) == (spec.dim, spec.vector_type, spec.feature_dim);
    if !same {
        return Err(StorageError::damaged(&sealed.path, 0, "segment: not the one that the manifest names"));
    }
    Ok(SegmentView::sealed(Arc::new(sealed), dead_of(dir, manifest, entry)?))
}

fn dead_of(dir: &Path, manifest: &Manifest, entry: &SegmentEntry) -> Result<DeadRows, StorageError> {
    DeadRows::from_stored(&entry.dead, entry.rows).ok_or_else(|| {
        let path = dir.join(manifest::file_name(manifest.generation));
        StorageError::damaged(&path, 0, format!("manifest: dead rows do not fit segment {}", entry.id))
    })
}

/// First sequences of the journals that hold batches after `sequence`, ascending.
fn journals_after(entries: &[Entry], sequence: u64) -> Vec<u64> {
    let mut journals: Vec<u64> = entries
        .iter()
        .filter_map(|entry| journal::first_sequence_of(&entry.name))
        .filter(|&first| first > sequence)
        .collect();
    journals.sort_unstable();
    journals
}

/// What journals are replayed into.
pub(crate) struct Replay {
    pub(crate) rows: Rows,
    pub(crate) receipts: Receipts,
    pub(crate) sequence: u64,
}

impl Replay {
    /// Applies a batch that a journal holds.
    pub(crate) fn apply(&mut self, sequence: u64, batch: Batch) -> Result<(), StorageError> {
        let plan = self.rows.plan(&batch)?;
        let request_id = batch.request_id.clone();
        let receipt = self.rows.apply(sequence, batch, &plan);
        if let Some(request_id) = request_id {
            self.receipts.remember(request_id, receipt);
        }
        self.sequence = sequence;
        Ok(())
    }
}

/// What damage says of a journal that ends before a batch that is known to have been durable.
pub(crate) fn cut_journal(last: u64, durable: u64) -> String {
    format!("journal: it was cut: it ends with batch {last}, and batch {durable} was durable")
}

/// `durable`: the last batch that must be there.
fn replay_journals(
    root: &Root,
    dir: &Path,
    manifest: &Manifest,
    journals: &[u64],
    durable: u64,
    replay: &mut Replay,
) -> Result<(Journal, Option<OpenNote>), StorageError> {
    let backend = &*root.backend;
    let mut last: Option<(Identity, Mapping, ScanEnd)> = None;
    let mut next_sequence = manifest.sequence + 1;
    let identity = |first_sequence| Identity { collection: manifest.collection, first_sequence };
    for (place, &first) in journals.iter().enumerate() {
        if first != next_sequence {
            break;
        }
        let path = dir.join(identity(first).file_name());
        let mapping = if root.is_read_only() { backend.read(&path) } else { backend.map(&path) };
        let mapping = mapping.map_err(|e| StorageError::io(&path, "map", e))?;
        let is_last = place + 1 == journals.len();
        let end = scan::scan(&path, mapping.bytes(), identity(first), is_last, &mut |sequence, batch| {
            check(&batch, &manifest.spec)
                .map_err(|error| StorageError::damaged(&path, 0, format!("journal record {sequence}: {error}")))?;
            replay.apply(sequence, batch)
        })?;
        next_sequence = end.next_sequence;
        last = Some((identity(first), mapping, end));
    }
    let complete = last.filter(|(identity, ..)| Some(&identity.first_sequence) == journals.last());
    let Some((identity, mapping, end)) = complete else {
        let path = dir.join(identity(next_sequence).file_name());
        let what = format!("the journal that begins with batch {next_sequence} is missing");
        return Err(StorageError::damaged(&path, 0, what));
    };
    if replay.sequence < durable {
        let path = dir.join(identity.file_name());
        return Err(StorageError::damaged(&path, end.good_bytes, cut_journal(replay.sequence, durable)));
    }
    if root.is_read_only() {
        return Ok((Journal::closed(dir, identity, end.good_bytes), None));
    }
    let journal = Journal::reopen(backend, dir, identity, mapping.bytes(), end)?;
    let cut = (end.torn_bytes > 0).then(|| OpenNote::JournalTailCut {
        path: journal.path.clone(),
        offset: end.good_bytes,
        bytes: end.torn_bytes,
    });
    Ok((journal, cut))
}
