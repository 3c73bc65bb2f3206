//! The files of a collection at one moment, mapped: what `verify` reads and a snapshot copies while writing goes on.
//!
//! Who captures holds the publisher's lock, so that no generation comes or goes, and lets go of it at once: what is
//! mapped stays readable when a merge removes the file. Batches wait for neither.

use std::path::PathBuf;

use crate::error::StorageError;
use crate::journal::Identity;
use crate::manifest::{self, Manifest};
use crate::mmap::Mapping;
use crate::segment::SegmentView;

use super::open::open_segment;
use super::{Inner, Published, State};

/// A collection as its files have it.
pub(crate) struct Captured {
    pub(crate) id: u64,
    pub(crate) manifest_path: PathBuf,
    pub(crate) manifest: Manifest,
    /// Mapped anew: what the open handle remembers as good does not count.
    pub(crate) segments: Vec<SegmentView>,
    pub(crate) journals: Vec<CapturedJournal>,
    /// Files that are not what they should be, and are not among those above.
    pub(crate) problems: Vec<StorageError>,
}

/// The durable part of a journal.
pub(crate) struct CapturedJournal {
    pub(crate) identity: Identity,
    pub(crate) path: PathBuf,
    mapping: Mapping,
    durable: usize,
}

impl CapturedJournal {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.mapping.bytes()[..self.durable]
    }
}

/// Which journal takes new batches, and how much of it is durable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JournalEnd {
    pub(super) first_sequence: u64,
    pub(super) durable: u64,
}

impl Captured {
    /// Bytes of all that was captured.
    pub(crate) fn total_bytes(&self) -> u64 {
        let segments = self.segments.iter().filter_map(SegmentView::sealed_body).map(|sealed| sealed.file_bytes());
        let journals = self.journals.iter().map(|journal| journal.durable as u64);
        segments.sum::<u64>() + journals.sum::<u64>() + self.manifest.to_bytes().len() as u64
    }
}

impl State {
    /// Where the journal ends now.
    pub(crate) fn journal_end(&self) -> JournalEnd {
        JournalEnd { first_sequence: self.journal.identity.first_sequence, durable: self.journal.durable }
    }
}

impl Inner {
    /// Maps the collection's files as they are now.
    pub(crate) fn capture_now(&self) -> Captured {
        let published = self.publishing.lock();
        let end = self.state.lock().journal_end();
        self.capture(&published, end)
    }

    /// Maps the collection's files, with batches up to `end`; `published` is under its lock.
    pub(crate) fn capture(&self, published: &Published, end: JournalEnd) -> Captured {
        let manifest_path = self.dir.join(manifest::file_name(published.generation));
        let mut problems = Vec::new();
        let as_known = || self.manifest_of(published);
        let manifest = if self.root.is_read_only() {
            // The writer may have removed the file since; what was read then was checked.
            as_known()
        } else {
            Manifest::read(&*self.root.backend, &self.dir, published.generation).unwrap_or_else(|error| {
                problems.push(missing_is_damage(error));
                as_known()
            })
        };
        let mut captured =
            Captured { id: self.id, manifest_path, manifest, segments: Vec::new(), journals: Vec::new(), problems };
        self.capture_segments(published, &mut captured);
        self.capture_journals(published, end, &mut captured);
        captured
    }

    fn capture_segments(&self, published: &Published, captured: &mut Captured) {
        for (entry, held) in captured.manifest.segments.iter().zip(&published.segments) {
            match open_segment(&*self.root.backend, &self.dir, &captured.manifest, entry) {
                Ok(view) => captured.segments.push(view),
                Err(error) if self.root.is_read_only() && is_missing(&error) => captured.segments.push(held.clone()),
                Err(error) => captured.problems.push(error),
            }
        }
    }

    fn capture_journals(&self, published: &Published, end: JournalEnd, captured: &mut Captured) {
        for &first_sequence in published.journals.iter().filter(|&&first| first > published.sequence) {
            let identity = Identity { collection: self.id, first_sequence };
            let path = self.dir.join(identity.file_name());
            let backend = &self.root.backend;
            let mapped = if self.root.is_read_only() { backend.read(&path) } else { backend.map(&path) };
            let mapping = match mapped {
                Ok(mapping) => mapping,
                Err(error) if self.root.is_read_only() && error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => {
                    captured.problems.push(missing_is_damage(StorageError::io(&path, "map", error)));
                    continue;
                }
            };
            let there = mapping.bytes().len();
            let durable = if first_sequence == end.first_sequence { end.durable as usize } else { there };
            if durable > there {
                let what = format!("journal: {there} bytes, {durable} were written");
                captured.problems.push(StorageError::damaged(&path, there as u64, what));
                continue;
            }
            captured.journals.push(CapturedJournal { identity, path, mapping, durable });
        }
    }
}

/// A file that the manifest names and that is not there is damage, not an accident of reading.
pub(crate) fn missing_is_damage(error: StorageError) -> StorageError {
    match error {
        StorageError::Io { path, source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            StorageError::damaged(&path, 0, MISSING)
        }
        error => error,
    }
}

/// What damage says of a file that is not there.
pub(crate) const MISSING: &str = "the file is missing";

/// Whether an error says that a file is not there, as all of storage says it.
pub(crate) fn is_missing(error: &StorageError) -> bool {
    match error {
        StorageError::Damaged(damage) => damage.what.contains("is missing"),
        StorageError::Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}
