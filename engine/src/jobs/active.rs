//! Jobs that this process runs, and what is asked of them meanwhile.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::ask::{self, Ask};
use super::record::Record;

/// How often another process's wish is looked for.
const LOOK_EVERY_MS: u64 = 100;

const PAUSE: u8 = 1;
const CANCEL: u8 = 2;

/// Jobs that this process runs, by id.
pub(crate) type ActiveJobs = Mutex<HashMap<String, Arc<Active>>>;

/// A job that this process runs.
pub(crate) struct Active {
    pub(super) record: Mutex<Record>,
    asked: AtomicU8,
    looked_ms: AtomicU64,
    begun: Instant,
    /// Tells other processes that it runs.
    _held: Option<File>,
}

impl Active {
    pub(super) fn new(record: Record, held: Option<File>) -> Active {
        Active {
            record: Mutex::new(record),
            asked: AtomicU8::new(0),
            looked_ms: AtomicU64::new(0),
            begun: Instant::now(),
            _held: held,
        }
    }

    pub(super) fn ask(&self, ask: Ask) {
        let word = if ask == Ask::Pause { PAUSE } else { CANCEL };
        // Who was asked to cancel does not go back to a pause.
        self.asked.fetch_max(word, Ordering::Relaxed);
    }

    pub(super) fn asked(&self) -> Option<Ask> {
        match self.asked.load(Ordering::Relaxed) {
            0 => None,
            PAUSE => Some(Ask::Pause),
            _ => Some(Ask::Cancel),
        }
    }

    /// Whether it is to stop, as this process or, now and then looked for, another one that has the database at
    /// `directory` wishes.
    pub(super) fn is_asked_to_stop(&self, directory: &Path) -> bool {
        let now = self.begun.elapsed().as_millis() as u64;
        let last = self.looked_ms.load(Ordering::Relaxed);
        if now >= last + LOOK_EVERY_MS
            && self.looked_ms.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
            && let Some(ask) = ask::take(directory, &self.record.lock().id)
        {
            self.ask(ask);
        }
        self.asked().is_some()
    }
}
