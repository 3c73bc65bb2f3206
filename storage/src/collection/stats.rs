//! Numbers about a collection: what its items cost on disk by part, what is dead, what is mapped and what is resident.

use std::sync::atomic::Ordering;

use crate::error::StorageError;
use crate::journal;
use crate::segment::layout::PartKind;
use crate::segment::sealed::Sealed;

use super::Collection;

/// Numbers about a collection.
#[derive(Debug, Clone, Default)]
pub struct CollectionStats {
    /// Live items.
    pub live: u64,
    /// Rows that were deleted or replaced and still take space.
    pub dead: u64,
    /// Segments in files.
    pub sealed_segments: u32,
    /// Segments in memory.
    pub memory_segments: u32,
    /// Rows in memory.
    pub memory_rows: u64,
    /// Heap that those take, in bytes.
    pub memory_bytes: u64,
    /// Size of the sealed segments' files in bytes.
    pub sealed_bytes: u64,
    /// The same by what is in them, dead rows too; together they are all of it.
    pub parts: Vec<PartBytes>,
    /// About how many of the sealed bytes are dead rows': their share of each file. `compact` gives them back.
    pub dead_bytes: u64,
    /// Bytes of sealed segments that are mapped: all that are open.
    pub mapped_bytes: u64,
    /// Bytes among those that are in memory now; none where the system does not say.
    pub resident_bytes: Option<u64>,
    /// Size of the journal that takes new batches, in bytes.
    pub journal_bytes: u64,
    /// Size of all journals' files in bytes.
    pub journals_bytes: u64,
    /// Request ids that are remembered.
    pub request_ids: u64,
    /// Sequence of the last batch.
    pub sequence: u64,
    /// Generation of the manifest.
    pub generation: u64,
    /// Why the last seal or merge failed; none when it succeeded. Nothing is lost by it: it is tried again.
    pub last_seal_error: Option<StorageError>,
}

/// What one part takes in all sealed segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartBytes {
    /// `vectors`, `keys`, `documents`, `features`, `graph`, `payloads`, `others`, or `checks` (checksums, heads and padding).
    pub name: &'static str,
    /// Bytes.
    pub bytes: u64,
}

impl Collection {
    /// Numbers about the collection.
    pub fn stats(&self) -> CollectionStats {
        let snapshot = self.snapshot();
        let inner = &self.inner;
        let mut stats = CollectionStats {
            live: snapshot.len() as u64,
            sequence: snapshot.sequence(),
            memory_rows: inner.sizes.memory_rows.load(Ordering::Relaxed),
            memory_bytes: inner.sizes.memory_bytes.load(Ordering::Relaxed),
            journal_bytes: inner.sizes.journal_bytes.load(Ordering::Relaxed),
            journals_bytes: self.journals_bytes(),
            request_ids: inner.state.lock().receipts.len() as u64,
            generation: inner.generation.load(Ordering::Relaxed),
            last_seal_error: inner.seal_trouble.error().or_else(|| inner.merge_trouble.error()),
            parts: NAMES.map(|name| PartBytes { name, bytes: 0 }).to_vec(),
            resident_bytes: Some(0),
            ..CollectionStats::default()
        };
        for segment in snapshot.segments() {
            stats.dead += u64::from(segment.rows() - segment.live_rows());
            match segment.sealed_body() {
                Some(sealed) => {
                    stats.add(sealed);
                    stats.dead_bytes += sealed.file_bytes() - segment.live_bytes();
                }
                None => stats.memory_segments += 1,
            }
        }
        stats.mapped_bytes = stats.sealed_bytes;
        stats
    }

    /// A journal that goes while it is looked at counts for nothing.
    fn journals_bytes(&self) -> u64 {
        let (backend, dir) = (&self.inner.root.backend, &self.inner.dir);
        let entries = backend.list(dir).unwrap_or_default();
        let journals = entries.iter().filter(|entry| journal::first_sequence_of(&entry.name).is_some());
        journals.filter_map(|entry| backend.map(&dir.join(&entry.name)).ok()).map(|map| map.bytes().len() as u64).sum()
    }
}

impl CollectionStats {
    fn add(&mut self, sealed: &Sealed) {
        self.sealed_segments += 1;
        self.sealed_bytes += sealed.file_bytes();
        self.resident_bytes = self.resident_bytes.zip(sealed.resident_bytes()).map(|(sum, more)| sum + more);
        let mut checks = sealed.file_bytes();
        for part in &sealed.footer.parts {
            self.parts[place_of(part.kind)].bytes += part.bytes;
            checks -= part.bytes.min(checks);
        }
        self.parts[CHECKS].bytes += checks;
    }
}

const NAMES: [&str; 8] = ["vectors", "keys", "documents", "features", "graph", "payloads", "others", "checks"];
const OTHERS: usize = 6;
const CHECKS: usize = 7;

/// Where a part is counted, in [`NAMES`].
fn place_of(kind: u32) -> usize {
    match PartKind::ALL.into_iter().find(|&known| known as u32 == kind) {
        Some(PartKind::Vectors) => 0,
        Some(PartKind::KeyOffsets | PartKind::Keys | PartKind::KeyOrder) => 1,
        Some(PartKind::DocumentOffsets | PartKind::Documents) => 2,
        Some(PartKind::FeatureRows | PartKind::Features) => 3,
        Some(PartKind::Graph) => 4,
        Some(PartKind::Payloads) => 5,
        None => OTHERS,
    }
}
