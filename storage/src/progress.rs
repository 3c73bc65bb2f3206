//! How far a long operation is, told to whoever watches.

use std::path::Path;

/// Bytes done of all there are to do, and where the work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file that is being read or written.
    pub path: &'a Path,
    /// Bytes done.
    pub bytes: u64,
    /// Bytes to do in all, as far as is known by now.
    pub total_bytes: u64,
}

/// Told of progress: at least once a file, and every few megabytes of a large one.
pub type Watch<'a> = &'a mut (dyn FnMut(&Progress<'_>) + Send);

/// Counts bytes for a [`Watch`].
pub(crate) struct Meter<'a> {
    watch: Watch<'a>,
    pub(crate) bytes: u64,
    pub(crate) total_bytes: u64,
}

impl<'a> Meter<'a> {
    pub(crate) fn new(watch: Watch<'a>) -> Meter<'a> {
        Meter { watch, bytes: 0, total_bytes: 0 }
    }

    /// More bytes of `path` are done.
    pub(crate) fn add(&mut self, path: &Path, bytes: u64) {
        self.reach(path, self.bytes + bytes);
    }

    /// So many bytes in all are done, at `path`.
    pub(crate) fn reach(&mut self, path: &Path, bytes: u64) {
        self.bytes = bytes;
        let total_bytes = self.total_bytes.max(self.bytes);
        (self.watch)(&Progress { path, bytes: self.bytes, total_bytes });
    }
}
