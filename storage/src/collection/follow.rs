//! A collection that another process writes, opened for reading only: it takes what that process has published.
//!
//! The writer removes files when it publishes a generation; one that is gone before it could be mapped means that there
//! is a newer manifest, so the reader looks again. A file that was mapped stays readable.

use std::sync::Arc;
use std::time::Duration;

use crate::error::StorageError;
use crate::journal;
use crate::manifest;
use crate::store::root::Root;

use super::capture::is_missing;
use super::{Inner, open};

/// How often a reader looks again before it believes that a file is missing.
const TRIES: u32 = 50;
/// How long it waits in between: a publish takes about as long.
const PAUSE: Duration = Duration::from_millis(10);

/// Opens a collection for reading only.
pub(crate) fn open(root: &Arc<Root>, id: u64) -> Result<Inner, StorageError> {
    patiently(|| open::open(root, id, None, &mut Vec::new()))
}

impl Inner {
    /// Takes what was written since. Snapshots that are held stay as they are.
    pub(crate) fn follow(&self) -> Result<(), StorageError> {
        let mut published = self.publishing.lock();
        if !self.is_behind(published.generation) {
            return Ok(());
        }
        let known = published.segments.clone();
        let mut fresh = patiently(|| open::open_again(&self.root, self.id, None, &known, &mut Vec::new()))?;
        let mut state = self.state.lock();
        if fresh.state.lock().sequence < state.sequence {
            // The directory was listed while names changed in it. The next look will find what is newer.
            return Ok(());
        }
        std::mem::swap(&mut *state, fresh.state.get_mut());
        std::mem::swap(&mut *published, fresh.publishing.get_mut());
        self.generation.store(published.generation, std::sync::atomic::Ordering::Relaxed);
        self.show(&state);
        Ok(())
    }

    /// Whether the directory tells of more than was read: a newer manifest, another journal, or a longer one. What
    /// cannot be told is looked at.
    fn is_behind(&self, generation: u64) -> bool {
        let Ok(entries) = self.root.backend.list(&self.dir) else {
            return true;
        };
        let newest = entries.iter().filter_map(|entry| manifest::generation_of(&entry.name)).max();
        let last = entries.iter().filter_map(|entry| journal::first_sequence_of(&entry.name)).max();
        let (end, path) = {
            let state = self.state.lock();
            (state.journal_end(), state.journal.path.clone())
        };
        newest != Some(generation)
            || last != Some(end.first_sequence)
            || self.root.backend.map(&path).map_or(true, |there| there.bytes().len() as u64 != end.durable)
    }
}

/// Tries again as long as files are missing.
fn patiently(mut look: impl FnMut() -> Result<Inner, StorageError>) -> Result<Inner, StorageError> {
    let mut tries = 1;
    loop {
        match look() {
            Err(error) if is_missing(&error) && tries < TRIES => {
                tries += 1;
                std::thread::sleep(PAUSE);
            }
            other => return other,
        }
    }
}
