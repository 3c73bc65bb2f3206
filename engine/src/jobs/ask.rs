//! What a job can be asked while it runs, by this process or by another one.
//!
//! Only one process writes to a database. Another leaves its wish in a small file, which the job looks for.

use std::path::{Path, PathBuf};
use std::{fs, io};

use super::record::JobState;

/// A wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Stop where it can be gone on with.
    Pause,
    /// Stop for good.
    Cancel,
}

impl Ask {
    pub(super) fn state(self) -> JobState {
        match self {
            Ask::Pause => JobState::Paused,
            Ask::Cancel => JobState::Cancelled,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Ask::Pause => "pause",
            Ask::Cancel => "cancel",
        }
    }
}

/// Asks a job that another process runs in the database at `directory`.
///
/// # Errors
/// What the system said.
pub fn ask_job(directory: &Path, id: &str, ask: Ask) -> io::Result<()> {
    let path = path(directory, id);
    let parts = path.with_extension("ask.new");
    fs::write(&parts, ask.word())?;
    fs::rename(parts, path)
}

/// The wish that another process left, which is then forgotten.
pub(super) fn take(directory: &Path, id: &str) -> Option<Ask> {
    let path = path(directory, id);
    let word = fs::read_to_string(&path).ok()?;
    let _ = fs::remove_file(path);
    [Ask::Pause, Ask::Cancel].into_iter().find(|ask| ask.word() == word)
}

fn path(directory: &Path, id: &str) -> PathBuf {
    directory.join("jobs").join(format!("{id}.ask"))
}
