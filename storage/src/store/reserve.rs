//! Room that is kept for deletes: a file that is given up when the disk is full, so that what makes room can be written.
//!
//! What it holds means nothing. It is made when a database is opened, and again after it was given up as soon as a put
//! shows that there is room.

use std::path::PathBuf;

use parking_lot::Mutex;

use crate::backend::Backend;

/// Name of the file in the database directory.
pub(crate) const RESERVE_FILE: &str = "reserve.fmr";
/// Not zeros, which a file system may leave out.
const FILLING: u8 = 0xA5;

/// The file, and whether it is there.
#[derive(Debug)]
pub(crate) struct Reserve {
    dir: PathBuf,
    bytes: usize,
    is_held: Mutex<bool>,
}

impl Reserve {
    pub(crate) fn new(dir: PathBuf, bytes: usize) -> Reserve {
        Reserve { dir, bytes, is_held: Mutex::new(false) }
    }

    /// Makes sure that the room is kept, if as much again stays free. A disk that has none is no error: there will be a
    /// next time.
    pub(crate) fn take(&self, backend: &dyn Backend) {
        let mut is_held = self.is_held.lock();
        if !*is_held {
            *is_held = self.is_there(backend) || self.make(backend);
        }
    }

    /// Gives the room up; false when there was none to give.
    pub(crate) fn give_up(&self, backend: &dyn Backend) -> bool {
        let mut is_held = self.is_held.lock();
        let was_held = std::mem::take(&mut *is_held);
        was_held && backend.remove_file(&self.dir.join(RESERVE_FILE)).is_ok()
    }

    fn is_there(&self, backend: &dyn Backend) -> bool {
        backend.map(&self.dir.join(RESERVE_FILE)).is_ok_and(|mapping| mapping.bytes().len() == self.bytes)
    }

    fn make(&self, backend: &dyn Backend) -> bool {
        if !backend.free_bytes(&self.dir).is_ok_and(|free| free >= 2 * self.bytes as u64) {
            return false;
        }
        let path = self.dir.join(RESERVE_FILE);
        let made = backend.create(&path).and_then(|mut file| {
            file.append(&vec![FILLING; self.bytes])?;
            file.sync()
        });
        if let Err(error) = &made {
            tracing::warn!(path = %path.display(), %error, "no room could be kept for deletes on a full disk");
            // Best effort: a part of it is no use, and the next open finds that it is too short.
            let _ = backend.remove_file(&path);
        }
        made.is_ok()
    }
}
