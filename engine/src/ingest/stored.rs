//! A collection as what a run reads: what it has of each item is taken over, and only what is missing is made anew.
//!
//! Items come segment by segment, row by row, of one snapshot. That order does not outlive the snapshot, so a run over
//! it begins at its beginning each time, and passes over what the new collection has.

use std::path::PathBuf;

use fromagerie_storage::Snapshot;

use super::source::{Body, Failure, Found, Made, Place, Position, Records, Spot, Stage, is_url};
use crate::collection::Collection;
use crate::encoder::DecodedImage;
use crate::error::{Error, Result};
use crate::item::{Document, StoredItem};

/// What of an item is good for the new collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakeOver {
    /// Vectors: both collections are of one space.
    Vectors,
    /// Features: both models have one encoder.
    Features,
    /// The picture alone, which is read again from where it came.
    Pictures,
}

/// The items of a collection at one moment.
pub(crate) struct StoredRecords {
    name: String,
    snapshot: Snapshot,
    take: TakeOver,
    /// Where they go: a picture that is there already is not read again.
    into: Collection,
    /// Whether thumbnails may be taken over too.
    same_thumbnails: bool,
    segment: usize,
    row: u32,
    done: u64,
}

impl StoredRecords {
    pub(crate) fn new(from: &Collection, into: &Collection, take: TakeOver) -> StoredRecords {
        StoredRecords {
            name: from.name().to_owned(),
            snapshot: from.stored().snapshot(),
            take,
            into: into.clone(),
            same_thumbnails: from.thumbnails() == into.thumbnails(),
            segment: 0,
            row: 0,
            done: 0,
        }
    }

    /// The place in the collection's history that is read.
    pub(crate) fn sequence(&self) -> u64 {
        self.snapshot.sequence()
    }

    fn record(&self, segment: usize, row: u32) -> Result<Found, Failure> {
        let view = &self.snapshot.segments()[segment];
        let place = Place { source: self.name.clone(), spot: Spot::Row(u64::from(row)) };
        let key = view.key(row).map_err(|error| Failure::read(None, place.clone(), error))?.to_owned();
        let read = || -> Result<Found> {
            let document = Document::read(view.document(row)?)?;
            let features = if self.take == TakeOver::Pictures { None } else { view.features(row)? };
            let vector = match self.take {
                TakeOver::Vectors => Some(view.vector(row)?.to_f32().into_owned()),
                _ => None,
            };
            let has_picture = document.content_hash.is_some();
            let picture = document.picture().map(|picture| DecodedImage {
                thumbnail: if self.same_thumbnails { picture.thumbnail } else { Vec::new() },
                ..picture
            });
            let body = if vector.is_some() || features.is_some() {
                Body::Made(Box::new(Made { vector, features, picture }))
            } else if let Some(made) = self.made_before(&key, &document)? {
                Body::Made(Box::new(made))
            } else if !has_picture {
                let problem = "it is a vector without a picture, and vectors of another model cannot be taken over";
                return Err(Error::BadItem { key: key.clone(), problem: problem.to_owned() });
            } else if is_url(&document.uri) {
                Body::Url(document.uri.clone())
            } else {
                Body::File(PathBuf::from(&document.uri))
            };
            let Document { caption, uri, payload, content_hash, .. } = document;
            Ok(Found { key: key.clone(), body, caption, uri, payload, place: place.clone(), content_hash })
        };
        read().map_err(|error| Failure::new(Some(key.clone()), place.clone(), Stage::Read, error))
    }
}

impl StoredRecords {
    /// What was made of the item's picture where it goes, by an earlier pass.
    fn made_before(&self, key: &str, document: &Document) -> Result<Option<Made>> {
        let is_same = |there: &StoredItem| {
            document.content_hash.is_some() && there.document.content_hash == document.content_hash
        };
        Ok(self.into.get(key)?.filter(is_same).map(|there| {
            let picture = there.document.picture();
            Made { vector: Some(there.vector), features: there.features, picture }
        }))
    }
}

impl Records for StoredRecords {
    fn next(&mut self) -> Option<Result<Found, Failure>> {
        loop {
            let view = self.snapshot.segments().get(self.segment)?;
            if self.row >= view.rows() {
                (self.segment, self.row) = (self.segment + 1, 0);
                continue;
            }
            let row = self.row;
            self.row += 1;
            if view.is_live(row) {
                self.done += 1;
                return Some(self.record(self.segment, row));
            }
        }
    }

    fn position(&self) -> Position {
        Position { shard: 0, at: self.done }
    }

    fn remaining(&self) -> Option<u64> {
        Some((self.snapshot.len() as u64).saturating_sub(self.done))
    }
}
