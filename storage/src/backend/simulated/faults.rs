//! Operations that fail on command: the n-th, once or from there on, in every way in which a disk fails.

use std::io;
use std::time::Duration;

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// EIO, of any operation; nothing of it is done.
    Eio,
    /// ENOSPC, of an operation that changes something; half of what was to be appended is there.
    NoSpace,
    /// An append ends early; half of it is there.
    Short,
    /// EINTR, of any operation; nothing of it is done.
    Interrupted,
    /// A sync of a file fails: what was not yet on the disk never will be, and the next sync succeeds.
    FileSync,
    /// A sync of a directory fails.
    DirSync,
}

impl Failure {
    /// Every way to fail.
    pub const ALL: [Failure; 6] =
        [Failure::Eio, Failure::NoSpace, Failure::Short, Failure::Interrupted, Failure::FileSync, Failure::DirSync];

    /// Whether an operation can fail in this way.
    fn hits(self, operation: Operation) -> bool {
        match self {
            Failure::Eio | Failure::Interrupted => true,
            Failure::NoSpace => operation != Operation::Read,
            Failure::Short => operation == Operation::Append,
            Failure::FileSync => operation == Operation::FileSync,
            Failure::DirSync => operation == Operation::DirSync,
        }
    }

    pub(super) fn leaves_half(self) -> bool {
        matches!(self, Failure::NoSpace | Failure::Short)
    }

    fn error(self) -> io::Error {
        match self {
            Failure::NoSpace => io::ErrorKind::StorageFull.into(),
            Failure::Short => io::ErrorKind::WriteZero.into(),
            Failure::Interrupted => io::ErrorKind::Interrupted.into(),
            Failure::Eio | Failure::FileSync | Failure::DirSync => io::Error::other("input/output error, as ordered"),
        }
    }
}

/// What goes wrong, and when. Operations that can fail in that way are counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing; operations are only counted.
    None,
    /// The n-th operation from now fails; later ones succeed.
    Once(u64, Failure),
    /// The n-th operation from now and all after it fail: with [`Failure::Eio`], as if the process were gone.
    From(u64, Failure),
}

/// What an operation does, as far as faults tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Read,
    Append,
    FileSync,
    DirSync,
    /// Names, lengths, the catalog.
    Other,
}

/// The fault that is set, and what was counted.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) fault: Fault,
    /// Operations that the fault could have hit.
    pub(super) count: u64,
    /// Syncs of files that succeeded.
    pub(super) file_syncs: u64,
    pub(super) sync_time: Duration,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan { fault: Fault::None, count: 0, file_syncs: 0, sync_time: Duration::ZERO }
    }
}

impl Plan {
    /// Counts an operation, and fails it when it is due.
    pub(super) fn pass(&mut self, operation: Operation) -> Result<(), (Failure, io::Error)> {
        let due = match self.fault {
            Fault::Once(n, failure) | Fault::From(n, failure) if failure.hits(operation) => {
                self.count += 1;
                let is_due = if matches!(self.fault, Fault::Once(..)) { self.count == n } else { self.count >= n };
                is_due.then_some(failure)
            }
            Fault::Once(..) | Fault::From(..) => None,
            Fault::None => {
                self.count += 1;
                None
            }
        };
        match due {
            Some(failure) => Err((failure, failure.error())),
            None => {
                self.file_syncs += u64::from(operation == Operation::FileSync);
                Ok(())
            }
        }
    }
}
