//! Tar shards of samples, as webdataset reads them and img2dataset writes them.
//!
//! Members that follow each other and share their name up to the first dot are one sample: a picture, its caption
//! (`.txt`), its payload (`.json`), its class (`.cls`). Names are keys and nothing else: nothing is ever written to
//! where a name points, so a name full of `..` is an odd key and no more.
//!
//! Members are passed one by one and only what is wanted is read. A tar ends with a block of zeros; one that does not
//! was cut off, and is reported as such, even when the cut falls between two members. A tar packed by gzip is unpacked
//! as it is read, to the checksum at its end; to begin in the middle of one, all that comes before is unpacked and passed
//! over.

mod bytes;
mod members;
mod sample;

use std::path::{Path, PathBuf};

use super::{Columns, Failure, Found, Place, Source, SourceError, SourceOptions};
use crate::error::{Error, Result};
use members::{Member, Members};
use sample::Sample;

/// Most members of a sample.
const MEMBERS_MAX: usize = 64;

/// A tar of samples. Its position is an offset in bytes.
pub(super) struct Tar {
    path: PathBuf,
    members: Members,
    /// The first member of the next sample, whose bytes are not read yet.
    ahead: Option<Member>,
    columns: Columns,
    /// What ended the file, told after the last sample.
    last: Option<Failure>,
}

impl Tar {
    pub(super) fn open(path: &Path, options: &SourceOptions, from: u64) -> Result<Tar> {
        let members = Members::open(path, from)?;
        Ok(Tar { path: path.to_owned(), members, ahead: None, columns: options.columns.clone(), last: None })
    }

    /// The next member, or `None` when no more can be read.
    fn member(&mut self) -> Option<Member> {
        if let Some(member) = self.ahead.take() {
            return Some(member);
        }
        match self.members.next()? {
            Ok(member) => Some(member),
            Err((offset, error)) => {
                self.last = Some(Failure::read(None, Place::offset(&self.path, offset), error));
                None
            }
        }
    }
}

impl Source for Tar {
    fn next(&mut self) -> Option<Result<Found, Failure>> {
        let Some(first) = self.member() else {
            return self.last.take().map(Err);
        };
        let place = Place::offset(&self.path, first.offset);
        let mut sample = Sample::new(sample::split(&first.name).0);
        let mut read = sample.take(&first, &mut self.members);
        let mut members = 1;
        while let Some(member) = self.member() {
            // A name that comes again begins another sample, as in a shard that was appended to itself.
            if sample::split(&member.name).0 != sample.key || sample.has(&member) {
                self.ahead = Some(member);
                break;
            }
            members += 1;
            if members > MEMBERS_MAX {
                read = read.and(Err(SourceError::damaged(format!("more than {MEMBERS_MAX} members of one name"))));
            } else if read.is_ok() {
                read = sample.take(&member, &mut self.members);
            }
        }
        let key = sample.key.clone();
        let found = read.and_then(|()| sample.found(&self.path, place.clone(), &self.columns));
        // A file that ends inside this sample is this sample's failure, and told once.
        let is_cut_off = |failure: &mut Failure| matches!(*failure.error, Error::Source(SourceError::Truncated { .. }));
        if found.is_err()
            && let Some(cut_off) = self.last.take_if(is_cut_off)
        {
            return Some(Err(Failure { key: Some(key), place, ..cut_off }));
        }
        Some(found.map_err(|error| Failure::read(Some(key), place, error)))
    }

    fn position(&self) -> u64 {
        self.ahead.as_ref().map_or(self.members.offset(), |member| member.offset)
    }
}
