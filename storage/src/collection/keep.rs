//! Which files of a collection's directory are needed, and the removal of the others.

use std::path::Path;

use crate::backend::{Backend, TEMPORARY};
use crate::journal;
use crate::manifest;
use crate::segment::layout;

/// What a generation needs; all else that has our names is removed.
pub(super) struct Keep {
    pub(super) generation: u64,
    pub(super) first_journal: u64,
    pub(super) segments: Vec<u64>,
    /// The segment that is being written, whose file may still have a temporary name.
    pub(super) being_made: Option<u64>,
}

impl Keep {
    fn needs(&self, name: &str) -> bool {
        if self.being_made.is_some_and(|id| name.starts_with(&layout::file_name(id))) {
            return true;
        }
        if name.ends_with(TEMPORARY) {
            return false;
        }
        manifest::generation_of(name).is_none_or(|generation| generation >= self.generation)
            && journal::first_sequence_of(name).is_none_or(|first| first >= self.first_journal)
            && layout::id_of(name).is_none_or(|id| self.segments.contains(&id))
    }

    /// Removes the files of `dir` that are ours and not needed; what cannot be removed is tried again at open.
    pub(super) fn remove_others(&self, backend: &dyn Backend, dir: &Path) {
        let entries = backend.list(dir).unwrap_or_default();
        for entry in entries.iter().filter(|entry| !entry.is_dir && !self.needs(&entry.name)) {
            if let Err(error) = backend.remove_file(&dir.join(&entry.name)) {
                tracing::warn!(file = %entry.name, %error, "an old file could not be removed");
            }
        }
    }
}
