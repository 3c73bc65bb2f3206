//! One writer: the lock file that says who has the database open.
//!
//! The lock is the kernel's (it goes with the process that held it, however that ended); the text in the file is
//! only there to tell the next one whom to ask.

use std::fmt::Debug;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use crate::error::StorageError;

/// Name of the lock file in the database directory.
pub(crate) const LOCK_FILE: &str = "LOCK";

/// Held as long as the database is open.
#[derive(Debug)]
pub struct Lock {
    _held: Box<dyn Debug + Send + Sync>,
}

impl Lock {
    /// A lock that is held as long as `held` lives.
    pub(crate) fn holding(held: impl Debug + Send + Sync + 'static) -> Lock {
        Lock { _held: Box::new(held) }
    }

    /// Takes the lock of the database in `dir`, which exists.
    pub(crate) fn take(dir: &Path) -> Result<Lock, StorageError> {
        let path = dir.join(LOCK_FILE);
        let failed = |action, source| StorageError::io(&path, action, source);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| failed("open", e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StorageError::Locked { path: dir.to_path_buf(), holder: holder(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(failed("lock", source)),
        }
        // The text is a courtesy: a full disk must not keep anyone from opening and reading.
        let _ = write_holder(&mut file);
        Ok(Lock::holding(file))
    }
}

fn write_holder(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "pid {} on {}", std::process::id(), host())
}

/// Who holds the lock, and for how long: the file was written when it was taken.
fn holder(file: &mut File) -> String {
    let taken = file.metadata().and_then(|m| m.modified()).ok();
    let mut text = String::new();
    // A holder that is just starting has not written its line yet.
    match file.take(256).read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => {
            let held = taken.and_then(|t| t.elapsed().ok()).map(|d| format!(" for {}", span(d.as_secs())));
            format!("{}{}", text.trim(), held.unwrap_or_default())
        }
        _ => "a process that has not said who it is".to_owned(),
    }
}

/// A length of time, as people say it.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

fn host() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}
