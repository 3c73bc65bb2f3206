//! Writing what an examination found worth keeping as a new generation.
//!
//! In order: damaged files get a second name in a folder of their own, segments that are not whole are written anew,
//! the journals' batches become a segment, a new journal is made, and the manifest of a new generation is published: that
//! is the atomic step. Only an open after it removes what the new generation does not name. The new journal begins
//! beyond every sequence that was ever heard of, so that no receipt of a lost batch is given out twice.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::backend::{self, Backend};
use crate::collection::open::Replay;
use crate::collection::rows::Rows;
use crate::collection::seal::entry_of;
use crate::error::{Damage, StorageError};
use crate::journal::Identity;
use crate::journal::append::{AppendError, Journal};
use crate::journal::scan;
use crate::manifest::Manifest;
use crate::receipts::Receipts;
use crate::segment::build;
use crate::segment::layout::{self, BLOCK_BYTES, Header};
use crate::segment::{Guarded, SegmentBuilder, SegmentView, Task};

use super::ASIDE;
use super::examine::Examined;
use super::subject::Subject;

/// What a repair wrote.
pub(crate) struct Applied {
    pub(crate) generation: u64,
    pub(crate) sequence: u64,
    pub(crate) moved_to: PathBuf,
}

/// Publishes a generation of what is whole; durable on return.
pub(crate) fn apply(
    subject: &Subject<'_>,
    examined: Examined,
    receipts_max: usize,
    builder: Option<&dyn SegmentBuilder>,
) -> Result<Applied, StorageError> {
    check_room(subject, &examined)?;
    let moved_to = set_aside(subject.backend, &subject.dir, &examined.report.damages)?;
    let mut maker =
        Maker { subject, manifest: &examined.manifest, next_segment: next_segment(subject, &examined)?, builder };
    let mut sealed = Vec::new();
    for source in examined.sources.into_iter().filter(|source| source.view.live_rows() > 0) {
        sealed.extend(if source.is_whole { Some(source.view) } else { maker.make(&[source.view])? });
    }
    let mut replay = Replay {
        rows: Rows::new(&examined.manifest.spec, sealed),
        receipts: Receipts::from_stored(examined.manifest.receipts.clone(), receipts_max),
        sequence: examined.replay.after,
    };
    for &first in &examined.replay.files {
        replay_file(subject, first, examined.replay.last, &mut replay)?;
    }
    let mut segments = replay.rows.sealed;
    segments.retain(|view| view.live_rows() > 0);
    segments.extend(maker.make(&replay.rows.fresh)?);
    let next_segment = maker.next_segment;
    let sequence = examined.replay.highest;
    let identity = Identity { collection: subject.id, first_sequence: sequence + 1 };
    Journal::create(subject.backend, &subject.dir, identity).map_err(|error| match error {
        AppendError::Undone(error) | AppendError::Poisoned(error) => error,
    })?;
    let manifest = Manifest {
        generation: examined.highest_generation + 1,
        sequence,
        next_segment,
        segments: segments.iter().filter_map(entry_of).collect(),
        receipts: replay.receipts.stored(),
        ..examined.manifest
    };
    manifest.write(subject.backend, &subject.dir)?;
    subject.backend.sync_dir(&subject.dir).map_err(|e| StorageError::io(&subject.dir, "sync", e))?;
    Ok(Applied { generation: manifest.generation, sequence, moved_to })
}

/// Refuses to begin what the disk has no room for.
fn check_room(subject: &Subject<'_>, examined: &Examined) -> Result<(), StorageError> {
    let rewritten = examined.sources.iter().filter(|source| !source.is_whole);
    let needed = rewritten.filter_map(|source| source.view.sealed_body()).map(|sealed| sealed.file_bytes()).sum();
    backend::check_room(subject.backend, &subject.dir, needed)
}

fn next_segment(subject: &Subject<'_>, examined: &Examined) -> Result<u64, StorageError> {
    let entries = subject.backend.list(&subject.dir).map_err(|e| StorageError::io(&subject.dir, "list", e))?;
    let on_disk = entries.iter().filter_map(|entry| layout::id_of(&entry.name)).max().unwrap_or(0);
    Ok(examined.manifest.next_segment.max(on_disk + 1))
}

/// Makes segments of live rows.
struct Maker<'a> {
    subject: &'a Subject<'a>,
    manifest: &'a Manifest,
    next_segment: u64,
    builder: Option<&'a dyn SegmentBuilder>,
}

impl Maker<'_> {
    fn make(&mut self, sources: &[SegmentView]) -> Result<Option<SegmentView>, StorageError> {
        let header = Header {
            collection: self.subject.id,
            segment: self.next_segment,
            dim: self.manifest.spec.dim,
            vector_type: self.manifest.spec.vector_type,
            feature_dim: self.manifest.spec.feature_dim,
            rows: sources.iter().map(SegmentView::live_rows).sum(),
            block_bytes: BLOCK_BYTES as u32,
        };
        if header.rows == 0 {
            return Ok(None);
        }
        self.next_segment += 1;
        let guarded = Guarded { builder: self.builder, collection: &self.manifest.name };
        build::make(self.subject.backend, &self.subject.dir, header, sources, guarded, &mut Task::waited_for())
            .map(Some)
    }
}

fn replay_file(subject: &Subject<'_>, first_sequence: u64, last: u64, replay: &mut Replay) -> Result<(), StorageError> {
    let identity = Identity { collection: subject.id, first_sequence };
    let path = subject.dir.join(identity.file_name());
    let mapping = subject.backend.map(&path).map_err(|e| StorageError::io(&path, "map", e))?;
    let read = scan::scan(&path, mapping.bytes(), identity, true, &mut |sequence, batch| match sequence <= last {
        true => replay.apply(sequence, batch),
        false => Ok(()),
    });
    match read {
        // Known from the examination: what can be replayed was.
        Err(StorageError::Damaged(damage)) if damage.path == path => Ok(()),
        other => other.map(|_| ()),
    }
}

/// Gives the damaged files of `dir` a second name in a new folder, or a copy where that cannot be; returns the folder.
pub(crate) fn set_aside(backend: &dyn Backend, dir: &Path, damages: &[Damage]) -> Result<PathBuf, StorageError> {
    let aside = new_folder(backend, dir)?;
    let paths: BTreeSet<&Path> = damages.iter().map(|damage| damage.path.as_path()).collect();
    for path in paths {
        let Some(name) = path.file_name().filter(|_| path.parent() == Some(dir)) else { continue };
        match backend::link_or_copy(backend, path, &aside.join(name)) {
            Err(StorageError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            other => drop(other?),
        }
    }
    backend.sync_dir(&aside).map_err(|e| StorageError::io(&aside, "sync", e))?;
    backend.sync_dir(dir).map_err(|e| StorageError::io(dir, "sync", e))?;
    Ok(aside)
}

/// A folder for damaged files that is not there yet.
pub(super) fn new_folder(backend: &dyn Backend, dir: &Path) -> Result<PathBuf, StorageError> {
    let entries = backend.list(dir).map_err(|e| StorageError::io(dir, "list", e))?;
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
    let mut n = 0;
    let mut name = || {
        n += 1;
        format!("{ASIDE}{seconds}-{n}")
    };
    let mut candidate = name();
    while entries.iter().any(|entry| entry.name == candidate) {
        candidate = name();
    }
    let folder = dir.join(candidate);
    backend.create_dir(&folder).map_err(|e| StorageError::io(&folder, "create", e))?;
    Ok(folder)
}
