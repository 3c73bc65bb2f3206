//! One record, looked at: is it new, and can it be used?

use super::source::{Body, Failure, Found, Place, SourceError, Stage};
use crate::collection::{Collection, Prepared};
use crate::encoder::content_hash;
use crate::error::{Error, ErrorKind, Result};
use crate::item::{Content, Item};

/// What became of one record.
pub(super) enum Looked {
    /// Ready to be encoded and written.
    New { key: String, hash: Option<[u8; 32]>, place: Place, prepared: Box<Prepared> },
    /// The collection has it.
    Unchanged { key: String, hash: Option<[u8; 32]>, place: Place },
    /// It is left out.
    Failed(Failure),
    /// What is no single record's fault: no model, a damaged database.
    Fatal(Error),
}

impl Collection {
    /// Decodes a record's picture, or checks its vector, unless the collection has it.
    pub(super) fn look_at(&self, found: Result<Found, Failure>) -> Looked {
        let found = match found {
            Ok(found) => found,
            Err(failure) => return Looked::Failed(failure),
        };
        let (key, place) = (found.key.clone(), found.place.clone());
        match self.look(found) {
            Ok((hash, Some(prepared))) => Looked::New { key, hash, place, prepared: Box::new(prepared) },
            Ok((hash, None)) => Looked::Unchanged { key, hash, place },
            Err(error) if error.kind() == ErrorKind::InvalidArgument => {
                let stage = if matches!(error, Error::File { .. }) { Stage::Read } else { Stage::Decode };
                Looked::Failed(Failure::new(Some(key), place, stage, error))
            }
            Err(error) => Looked::Fatal(error),
        }
    }

    /// The content hash of a picture, and the record when it is new.
    fn look(&self, found: Found) -> Result<(Option<[u8; 32]>, Option<Prepared>)> {
        let Found { key, body, caption, uri, payload, .. } = found;
        let content = match body {
            Body::Vector(vector) => Content::Vector(vector),
            Body::Bytes(bytes) => Content::Image(bytes),
            Body::Url(url) => return Err(SourceError::unsupported(format!("{url} was not fetched")).into()),
            Body::File(path) => {
                Content::Image(std::fs::read(&path).map_err(|source| Error::File { path: path.clone(), source })?)
            }
        };
        let item = Item { key, content, caption, uri, payload };
        match &item.content {
            Content::Image(bytes) => {
                let hash = content_hash(bytes);
                let has = self.has(&item, |_, stored_hash| stored_hash == Some(hash))?;
                Ok((Some(hash), if has { None } else { Some(self.prepare(item)?) }))
            }
            _ => {
                let prepared = self.prepare(item)?;
                let has = match &prepared {
                    Prepared::Vector(item, vector) => self.has(item, |stored, _| stored == vector.as_slice())?,
                    Prepared::Image(..) => false,
                };
                Ok((None, (!has).then_some(prepared)))
            }
        }
    }

    /// True when what is stored under the item's key says the same, and `same` of its vector and content hash.
    fn has(&self, item: &Item, same: impl Fn(&[f32], Option<[u8; 32]>) -> bool) -> Result<bool> {
        if self.is_empty() {
            return Ok(false);
        }
        Ok(self.get(&item.key)?.is_some_and(|stored| {
            let document = &stored.document;
            document.caption == item.caption
                && same(&stored.vector, document.content_hash)
                && document.payload_is(&item.payload)
        }))
    }
}
