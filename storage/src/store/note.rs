//! What opening a database did beyond reading it, for whoever operates it.

use std::fmt;
use std::path::PathBuf;

/// Something that opening did, which an operator may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenNote {
    /// The unacknowledged end of a journal was cut off.
    JournalTailCut {
        /// The journal.
        path: PathBuf,
        /// Its length now, in bytes.
        offset: u64,
        /// Bytes cut off.
        bytes: u64,
    },
    /// The catalog was damaged; it was moved aside and rebuilt from the collections' files.
    CatalogRebuilt {
        /// Where the damaged one is now.
        moved_to: PathBuf,
        /// What was wrong with it.
        cause: String,
        /// Sessions that could still be read, and are kept; others are lost.
        sessions: usize,
        /// The same of jobs.
        jobs: usize,
    },
    /// A record of the catalog was missing or damaged and was restored from files.
    CatalogRecordRestored {
        /// The collection's name.
        name: String,
    },
    /// The file of aliases was missing, damaged, an older one or another database's, and was restored from the catalog.
    AliasesRestored {
        /// What was wrong with it.
        cause: String,
    },
    /// The file of aliases was missing, damaged or another database's, and the catalog knew of none: there are none now.
    AliasesLost {
        /// What was wrong with it.
        cause: String,
    },
    /// The database file was missing, damaged or another database's, and was written anew.
    DatabaseFileRestored {
        /// The file.
        path: PathBuf,
    },
}

impl fmt::Display for OpenNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenNote::JournalTailCut { path, offset, bytes } => {
                write!(f, "{}: {bytes} unacknowledged bytes cut off at byte {offset}", path.display())
            }
            OpenNote::CatalogRebuilt { moved_to, cause, sessions, jobs } => {
                let moved_to = moved_to.display();
                write!(
                    f,
                    "the catalog was rebuilt ({cause}), with {sessions} sessions and {jobs} jobs that could be read; the damaged one is {moved_to}"
                )
            }
            OpenNote::CatalogRecordRestored { name } => {
                write!(f, "the catalog's record of `{name}` was restored")
            }
            OpenNote::AliasesRestored { cause } => {
                write!(f, "the aliases were restored from the catalog ({cause})")
            }
            OpenNote::AliasesLost { cause } => {
                write!(f, "the aliases are lost ({cause}), and the catalog knows of none: set them again")
            }
            OpenNote::DatabaseFileRestored { path } => {
                write!(f, "{} was written anew", path.display())
            }
        }
    }
}
