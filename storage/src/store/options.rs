//! How a database is opened: what it may hold in memory, and which disk it lies on.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::{Backend, Disk};

/// How a database is opened.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Make the database when there is none.
    pub create: bool,
    /// Rows in memory that are sealed into a segment.
    pub seal_rows: usize,
    /// Bytes of heap in memory segments that are sealed into a segment.
    pub seal_bytes: usize,
    /// Bytes of vectors from which on a batch that only puts becomes a segment at once: it is written once, and neither to the
    /// journal nor through memory.
    pub bulk_bytes: usize,
    /// Seal and merge in threads of their own; else in the thread whose write made it due.
    pub in_background: bool,
    /// Live rows that a merge may bring together, which bounds its heap (about 100 bytes and a key a row).
    pub merge_rows_max: usize,
    /// Room that is kept for deletes on a full disk, in bytes.
    pub reserve_bytes: usize,
    /// How long seals rest after one failed; twice as long after each further failure, up to 64 times.
    pub seal_rest: Duration,
    /// Request ids that each collection remembers; a repeat of an older one is applied again. About 200 bytes each.
    pub request_ids_max: usize,
    /// Bytes of batches that one append and fsync may bring together, unless a single batch is larger.
    pub group_bytes_max: usize,
    /// How many times `seal_rows` or `seal_bytes` memory may hold before writers wait for a seal.
    pub memory_budgets_max: u64,
    /// Heap that the catalog may use for its pages, in bytes.
    pub catalog_cache_bytes: u64,
    /// The disk. Tests put another one here.
    pub backend: Arc<dyn Backend>,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions {
            create: false,
            seal_rows: 16_384,
            seal_bytes: 256 << 20,
            bulk_bytes: 8 << 20,
            in_background: true,
            merge_rows_max: 4 << 20,
            reserve_bytes: 1 << 20,
            seal_rest: Duration::from_millis(100),
            request_ids_max: 10_000,
            group_bytes_max: 64 << 20,
            memory_budgets_max: 4,
            catalog_cache_bytes: 8 << 20,
            backend: Arc::new(Disk),
        }
    }
}

impl StoreOptions {
    /// The defaults, making the database when there is none.
    pub fn create() -> StoreOptions {
        StoreOptions { create: true, ..StoreOptions::default() }
    }
}
