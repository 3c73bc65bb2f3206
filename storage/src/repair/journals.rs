//! What the journals still tell: every batch up to the first that cannot be read, and what stands after it.

use std::collections::{BTreeSet, HashMap};

use crate::backend::Entry;
use crate::batch::{Batch, Op, check};
use crate::collection::capture::MISSING;
use crate::collection::open::cut_journal;
use crate::error::{Damage, StorageError};
use crate::journal::scan::{self, ScanEnd};
use crate::journal::{self, Identity};
use crate::mmap::Mapping;

use super::base::Base;
use super::subject::Subject;
use super::{LostBatches, RepairReport};

/// What will be replayed.
#[derive(Default)]
pub(crate) struct Replayable {
    /// Batches up to this one are in segments.
    pub(crate) after: u64,
    /// Last batch to be replayed; `after` when there is none.
    pub(crate) last: u64,
    /// First sequences of the journals that hold those, ascending.
    pub(crate) files: Vec<u64>,
    /// Highest sequence that was ever heard of: it is not given to another batch.
    pub(crate) highest: u64,
    /// Keys that those batches put or delete, and whether they are alive in the end.
    pub(crate) touched: HashMap<String, bool>,
}

/// Reads the journals beyond `base`; damage and what it costs goes to `report`.
pub(super) fn survey(
    subject: &Subject<'_>,
    base: &Base,
    entries: &[Entry],
    report: &mut RepairReport,
) -> Result<Replayable, StorageError> {
    let mut after = base.manifest.sequence;
    let mut firsts: Vec<u64> = entries.iter().filter_map(|entry| journal::first_sequence_of(&entry.name)).collect();
    firsts.retain(|&first| first > after);
    firsts.sort_unstable();
    if !base.is_newest
        && let Some(&first) = firsts.first()
    {
        // The batches between are in segments that the manifest does not name, but for what they deleted.
        after = first - 1;
    }
    let mut replay = Replayable { after, last: after, highest: after, ..Replayable::default() };
    for (place, &first) in firsts.iter().enumerate() {
        replay.highest = replay.highest.max(first - 1);
        if first != replay.last + 1 {
            break;
        }
        match read(subject, base, first, place + 1 == firsts.len(), &mut replay) {
            Ok(_) => replay.files.push(first),
            Err(StorageError::Damaged(damage)) => {
                replay.files.push(first);
                report.damages.push(damage);
                report.lost_batches = Some(lost(subject, &firsts[place..], &mut replay)?);
                return Ok(replay);
            }
            Err(error) => return Err(error),
        }
    }
    if replay.files.len() < firsts.len() || firsts.is_empty() {
        let identity = Identity { collection: subject.id, first_sequence: replay.last + 1 };
        let path = subject.dir.join(identity.file_name());
        report.damages.push(Damage { path, offset: 0, what: format!("journal: {MISSING}") });
        report.lost_batches = Some(lost(subject, &firsts[replay.files.len()..], &mut replay)?);
    }
    let durable = subject.record.as_ref().map_or(0, |record| record.sequence);
    replay.highest = replay.highest.max(durable);
    if report.lost_batches.is_none() && replay.last < durable {
        let first_sequence = replay.files.last().copied().unwrap_or(replay.last + 1);
        let path = subject.dir.join(Identity { collection: subject.id, first_sequence }.file_name());
        report.damages.push(Damage { path, offset: 0, what: cut_journal(replay.last, durable) });
        report.lost_batches = Some(LostBatches { first: replay.last + 1, ..LostBatches::default() });
    }
    Ok(replay)
}

fn read(
    subject: &Subject<'_>,
    base: &Base,
    first_sequence: u64,
    is_last: bool,
    replay: &mut Replayable,
) -> Result<ScanEnd, StorageError> {
    let identity = Identity { collection: subject.id, first_sequence };
    let path = subject.dir.join(identity.file_name());
    let mapping = map(subject, identity)?;
    scan::scan(&path, mapping.bytes(), identity, is_last, &mut |sequence, batch| {
        check(&batch, &base.manifest.spec)
            .map_err(|error| StorageError::damaged(&path, 0, format!("journal record {sequence}: {error}")))?;
        for op in &batch.ops {
            replay.touched.insert(op.key().to_owned(), matches!(op, Op::Put(_)));
        }
        replay.last = sequence;
        replay.highest = replay.highest.max(sequence);
        Ok(())
    })
}

/// What the journals `firsts` hold beyond the last batch that is replayed, as far as it can be read.
fn lost(subject: &Subject<'_>, firsts: &[u64], replay: &mut Replayable) -> Result<LostBatches, StorageError> {
    let mut lost = LostBatches { first: replay.last + 1, ..LostBatches::default() };
    let mut keys = BTreeSet::new();
    for &first_sequence in firsts {
        let identity = Identity { collection: subject.id, first_sequence };
        let mapping = map(subject, identity)?;
        scan::readable(mapping.bytes(), identity, &mut |sequence, batch: Batch| {
            if sequence > replay.last {
                lost.readable += 1;
                keys.extend(batch.ops.iter().map(|op| op.key().to_owned()));
                replay.highest = replay.highest.max(sequence);
            }
        });
    }
    lost.keys = keys.into_iter().collect();
    Ok(lost)
}

fn map(subject: &Subject<'_>, identity: Identity) -> Result<Mapping, StorageError> {
    let path = subject.dir.join(identity.file_name());
    subject.backend.map(&path).map_err(|e| StorageError::io(&path, "map", e))
}
