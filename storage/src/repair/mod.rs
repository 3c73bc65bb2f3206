//! `repair`: a collection that is damaged becomes one that is whole, by dropping what is damaged and nothing else.
//!
//! It looks first ([`examine`]: the newest manifest that can be read, [`base`]; each segment, [`segments`]; each
//! journal, [`journals`]) and says what every damage costs, key by key. Only when it is told to does it write
//! ([`apply`]): damaged files get a second name in a folder beside them, what is good is written anew where it must be,
//! and one new manifest makes that the truth. Until that manifest is published the directory is as it was. An item is
//! kept whole or not at all: one that has lost its caption in silence would be a wrong answer.

pub(crate) mod apply;
mod base;
pub(crate) mod catalog;
pub(crate) mod examine;
mod journals;
mod segments;
pub(crate) mod subject;

use std::ops::Range;
use std::path::PathBuf;

use crate::error::Damage;

/// Name of a folder of damaged files begins with this.
pub(crate) const ASIDE: &str = "damaged-";

/// What a repair finds, and what it costs or would cost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// The collection.
    pub collection: String,
    /// Its id.
    pub id: u64,
    /// All damage of its files.
    pub damages: Vec<Damage>,
    /// Items that are kept.
    pub kept: u64,
    /// Items that are lost, by key, in order.
    pub lost_keys: Vec<String>,
    /// Rows whose keys cannot be read: each held one item more that is lost, unless it was written again since.
    pub lost_rows: Vec<LostRows>,
    /// Batches at the end of the history that are lost.
    pub lost_batches: Option<LostBatches>,
    /// Why deletes may be forgotten, so that items that were deleted are back; none when all deletes are known.
    pub deletes_unknown: Option<String>,
    /// Segments whose graph, order or checksums are made anew without the loss of an item.
    pub rebuilt: u64,
    /// Where the damaged files are now; none when nothing was written.
    pub moved_to: Option<PathBuf>,
}

/// Rows of a segment whose keys cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostRows {
    /// The segment's file.
    pub path: PathBuf,
    /// The rows; none when it cannot even be said how many there were.
    pub rows: Vec<Range<u32>>,
}

impl LostRows {
    /// How many rows; none when that cannot be said.
    pub fn count(&self) -> Option<u64> {
        let count = self.rows.iter().map(|range| u64::from(range.end - range.start)).sum();
        (count > 0).then_some(count)
    }
}

/// Acknowledged batches that are lost, because one of them cannot be read: what opens is always a prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LostBatches {
    /// Sequence of the first one.
    pub first: u64,
    /// Batches among them that can still be read, in the file that is moved aside.
    pub readable: u64,
    /// Keys that those put or delete, in order: their items are as they were before.
    pub keys: Vec<String>,
}

impl RepairReport {
    /// Whether there is nothing to repair.
    pub fn is_clean(&self) -> bool {
        self.damages.is_empty()
    }

    /// Whether repairing loses nothing.
    pub fn is_lossless(&self) -> bool {
        self.lost_keys.is_empty()
            && self.lost_rows.is_empty()
            && self.lost_batches.is_none()
            && self.deletes_unknown.is_none()
    }

    /// Items that are known to be lost, named or not.
    pub fn lost(&self) -> u64 {
        self.lost_keys.len() as u64 + self.lost_rows.iter().filter_map(LostRows::count).sum::<u64>()
    }
}

/// What a repair of the catalog finds: records that nothing else knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CatalogRepair {
    /// Sessions whose records are damaged.
    pub lost_sessions: Vec<String>,
    /// Jobs whose records are damaged.
    pub lost_jobs: Vec<String>,
    /// Where the damaged records are now; none when nothing was written.
    pub moved_to: Option<PathBuf>,
}

impl CatalogRepair {
    /// Whether there is nothing to repair.
    pub fn is_clean(&self) -> bool {
        self.lost_sessions.is_empty() && self.lost_jobs.is_empty()
    }
}
