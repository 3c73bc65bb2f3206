//! Which record a key has: what a batch is held to that was made from what somebody read.

use crate::error::StorageError;
use crate::segment::SegmentView;

/// A record, told apart from every other that its key ever has in this process. Sealing and merging give a record another
/// name: a version then differs although nothing was written, and never the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordName {
    /// A row of memory, by its number.
    InMemory(u64),
    /// A row of a sealed segment.
    Sealed { segment: u64, row: u32 },
}

/// What a key had in a [`Snapshot`](crate::Snapshot): a record, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    key: String,
    record: Option<RecordName>,
}

impl Version {
    /// What `key` has in these segments, the newest last.
    pub(crate) fn of<'a>(
        key: &str,
        segments: impl DoubleEndedIterator<Item = &'a SegmentView>,
    ) -> Result<Version, StorageError> {
        let mut record = None;
        for segment in segments.rev() {
            if let Some(row) = segment.find(key)? {
                record = segment.record_name(row);
                break;
            }
        }
        Ok(Version { key: key.to_owned(), record })
    }

    /// The key.
    pub fn key(&self) -> &str {
        &self.key
    }
}
