//! What a job keeps beside its record: what it has met, and its report.
//!
//! Both files only grow. How long they were when the record was written stands in the record, so what a killed process
//! added after that is cut off before anything is added again. What was met decides what a sync removes, so the record
//! has its digest too: a file that has changed is as good as none. A third file is locked for as long as a process runs the job,
//! however that ends: so processes that only read know which jobs run.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Folder of the database.
const FOLDER: &str = "jobs";
/// How often, and how long each time, a job waits for a reader that just looks whether it runs.
const LOOKS: u32 = 50;
const LOOK: Duration = Duration::from_millis(10);
/// How the names of shown records end.
const RECORD: &str = ".json";

/// Where the files of a job are.
pub(super) struct Files {
    folder: PathBuf,
    id: String,
}

impl Files {
    /// Those of a job of the database at `directory`.
    ///
    /// # Errors
    /// An id that is no name of a job.
    pub(super) fn of(directory: &Path, id: &str) -> Result<Files> {
        crate::name::check_name("job", id)?;
        Ok(Files { folder: directory.join(FOLDER), id: id.to_owned() })
    }

    /// Makes the folder.
    pub(super) fn begin(&self) -> Result<()> {
        fs::create_dir_all(&self.folder).map_err(|source| Error::File { path: self.folder.clone(), source })
    }

    pub(super) fn seen(&self) -> PathBuf {
        self.folder.join(format!("{}.seen", self.id))
    }

    pub(super) fn failures(&self) -> PathBuf {
        self.folder.join(format!("{}.failed.jsonl", self.id))
    }

    /// What was met by the time the record was written; `None` when the file has less, or other bytes.
    pub(super) fn read_seen(&self, bytes: u64, sha256: &str) -> Option<Vec<u8>> {
        if bytes == 0 {
            return Some(Vec::new());
        }
        let mut entries = fs::read(self.seen()).ok()?;
        let bytes = usize::try_from(bytes).ok().filter(|bytes| entries.len() >= *bytes)?;
        entries.truncate(bytes);
        (hex::encode(Sha256::digest(&entries)) == sha256).then_some(entries)
    }

    /// Both files, open behind what was met so far and at the place of the report that the record names.
    pub(super) fn open(&self, seen: &[u8], failures_bytes: u64) -> Result<Opened> {
        self.begin()?;
        let open = |path: PathBuf, bytes: u64| {
            let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
            let cut = opened.and_then(|mut file| {
                file.set_len(bytes)?;
                file.seek(SeekFrom::End(0))?;
                Ok(file)
            });
            cut.map_err(|source| Error::File { path, source })
        };
        Ok(Opened {
            seen: open(self.seen(), seen.len() as u64)?,
            digest: Sha256::new_with_prefix(seen),
            failures: open(self.failures(), failures_bytes)?,
        })
    }

    /// A copy of the record for processes that only read: the catalog is the writer's alone.
    pub(super) fn record(&self) -> PathBuf {
        self.folder.join(format!("{}{RECORD}", self.id))
    }

    /// Shows the record to readers. Should that fail, they see an older one.
    pub(super) fn show(&self, json: &[u8]) {
        let new = self.folder.join(format!("{}.new", self.id));
        if fs::write(&new, json).is_ok() {
            let _ = fs::rename(new, self.record());
        }
    }

    fn running(&self) -> PathBuf {
        self.folder.join(format!("{}.running", self.id))
    }

    /// Says that the job runs, as long as what is returned lives. Where the system has no locks, nobody is told.
    pub(super) fn hold(&self) -> Option<File> {
        let file = File::create(self.running()).ok()?;
        for _ in 0..LOOKS {
            match file.try_lock() {
                Ok(()) => return Some(file),
                Err(TryLockError::WouldBlock) => sleep(LOOK),
                Err(TryLockError::Error(_)) => return None,
            }
        }
        None
    }

    /// Whether a process runs the job.
    pub(super) fn is_held(&self) -> bool {
        File::open(self.running()).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Removes them, as far as they are there.
    pub(super) fn remove(&self) {
        let _ = fs::remove_file(self.running());
        let _ = fs::remove_file(self.record());
        let _ = fs::remove_file(self.seen());
        let _ = fs::remove_file(self.failures());
    }

    /// Removes what only a job that goes on needs.
    pub(super) fn finish(&self) {
        let _ = fs::remove_file(self.running());
        let _ = fs::remove_file(self.seen());
        if fs::metadata(self.failures()).is_ok_and(|file| file.len() == 0) {
            let _ = fs::remove_file(self.failures());
        }
    }
}

/// Ids of the records that are shown.
pub(super) fn shown(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory.join(FOLDER)).into_iter().flatten().flatten();
    let name = |entry: fs::DirEntry| entry.file_name().into_string().ok();
    entries.filter_map(name).filter_map(|name| name.strip_suffix(RECORD).map(str::to_owned)).collect()
}

/// The files of a job that runs.
pub(super) struct Opened {
    seen: File,
    /// Of all that was met.
    digest: Sha256,
    failures: File,
}

impl Opened {
    /// Adds to both; durable on return. The digest of all that was met, in hex.
    pub(super) fn add(&mut self, seen: &[u8], failures: &[u8]) -> io::Result<String> {
        for (file, bytes) in [(&mut self.seen, seen), (&mut self.failures, failures)] {
            if !bytes.is_empty() {
                file.write_all(bytes)?;
                file.sync_data()?;
            }
        }
        self.digest.update(seen);
        Ok(hex::encode(self.digest.clone().finalize()))
    }
}
