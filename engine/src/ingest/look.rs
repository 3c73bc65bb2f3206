//! One record, looked at: is it new, and can it be used?

use fromagerie_storage::VectorType;
use half::f16;
use sha2::{Digest, Sha256};

use super::source::{Body, Failure, Found, Made, Place, SourceError, Stage};
use crate::bounds::check_item;
use crate::collection::Collection;
use crate::encoder::content_hash;
use crate::error::{Error, ErrorKind, Result};
use crate::item::{Content, Document, Item, StoredItem, read_file};
use crate::prepare::{Origin, Prepared};

/// What became of one record.
pub(super) enum Looked {
    /// Ready to be encoded and written.
    New { key: String, hash: Option<[u8; 32]>, content: [u8; 32], place: Place, prepared: Box<Prepared> },
    /// The collection has it.
    Unchanged { key: String, hash: Option<[u8; 32]>, content: [u8; 32], place: Place },
    /// It is left out.
    Failed(Failure),
    /// What is no single record's fault: no model, a damaged database.
    Fatal(Error),
}

/// A record that can be used.
struct Usable {
    /// Of its picture.
    hash: Option<[u8; 32]>,
    /// Of whatever its vector is made from.
    content: [u8; 32],
    /// Nothing when the collection has it.
    prepared: Option<Prepared>,
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
            Ok(Usable { hash, content, prepared: Some(prepared) }) => {
                Looked::New { key, hash, content, place, prepared: Box::new(prepared) }
            }
            Ok(Usable { hash, content, prepared: None }) => Looked::Unchanged { key, hash, content, place },
            Err(error) if error.kind() == ErrorKind::InvalidArgument => {
                let stage = if matches!(error, Error::File { .. }) { Stage::Read } else { Stage::Decode };
                Looked::Failed(Failure::new(Some(key), place, stage, error))
            }
            Err(error) => Looked::Fatal(error),
        }
    }

    fn look(&self, found: Found) -> Result<Usable> {
        let Found { key, body, caption, uri, payload, content_hash, .. } = found;
        let item = |content| Item { key, content, caption, uri, payload };
        match body {
            Body::Bytes(bytes) => self.look_at_picture(item(Content::Image(bytes)), content_hash),
            Body::File(path) => self.look_at_picture(item(Content::Image(read_file(&path)?)), content_hash),
            Body::Url(url) => Err(SourceError::unsupported(format!("{url} was not fetched")).into()),
            Body::Vector(vector) => {
                self.look_at_made(item(Content::Image(Vec::new())), Made { vector: Some(vector), ..Made::default() })
            }
            Body::Made(made) => self.look_at_made(item(Content::Image(Vec::new())), *made),
        }
    }

    fn look_at_picture(&self, item: Item, expected: Option<[u8; 32]>) -> Result<Usable> {
        let Content::Image(bytes) = &item.content else { return Err(SourceError::unsupported("no picture").into()) };
        let hash = content_hash(bytes);
        if expected.is_some_and(|expected| expected != hash) {
            let problem = format!("{} is another picture now than the one that is stored; ingest it anew", item.uri);
            return Err(Error::BadItem { key: item.key, problem });
        }
        let stored = self.stored_under(&item.key)?.filter(|stored| stored.document.content_hash == Some(hash));
        let prepared = match stored {
            Some(stored) if says_the_same(&stored.document, &item) => None,
            Some(stored) => Some(of_new_words(item, stored)?),
            None => Some(self.prepare(item)?),
        };
        Ok(Usable { hash: Some(hash), content: hash, prepared })
    }

    fn look_at_made(&self, item: Item, made: Made) -> Result<Usable> {
        check_item(&item.key, &item.caption, &item.uri, &item.payload)?;
        let Made { vector, features, picture } = made;
        let vector = vector.map(|vector| self.checked(vector)).transpose()?;
        if vector.is_none() && features.is_none() {
            return Err(SourceError::damaged("it has neither a vector nor features").into());
        }
        if let Some(features) = &features {
            self.check_features(&item.key, features)?;
        }
        let hash = picture.as_ref().map(|picture| picture.hash);
        let features = features.filter(|_| self.feature_dim() > 0 || vector.is_none());
        let has = self.has(&item, |stored| {
            stored.document.content_hash == hash
                && vector.as_ref().is_none_or(|vector| self.keeps_as(vector, &stored.vector))
                && features.as_ref().is_none_or(|features| stored.features.as_ref() == Some(features))
        })?;
        let content = content_of(vector.as_deref(), features.as_deref());
        let origin = match (vector, features) {
            (Some(vector), features) => Origin::Vector(vector, features),
            (None, features) => Origin::Features(features.unwrap_or_default()),
        };
        Ok(Usable { hash, content, prepared: (!has).then(|| Prepared::new(item, picture, origin)) })
    }

    /// Whether `vector` is `stored` here, which may be rounded to halves.
    fn keeps_as(&self, vector: &[f32], stored: &[f32]) -> bool {
        match self.vector_type() {
            VectorType::F32 => vector == stored,
            VectorType::F16 => vector.iter().map(|value| f16::from_f32(*value).to_f32()).eq(stored.iter().copied()),
        }
    }

    /// Whether features can be kept, or mapped.
    fn check_features(&self, key: &str, features: &[f32]) -> Result<()> {
        let expected = match self.feature_dim() {
            0 if self.space().is_none() => features.len(),
            0 => self.model("an image's features")?.model.manifest().vision.feature_dim as usize,
            dim => dim,
        };
        if features.len() != expected || features.iter().any(|value| !value.is_finite()) {
            let problem =
                format!("its {} features are not {expected} numbers, as this collection's are", features.len());
            return Err(Error::BadItem { key: key.to_owned(), problem });
        }
        Ok(())
    }

    /// True when what is stored under the item's key says the same, and `same` of what belongs to its picture.
    fn has(&self, item: &Item, same: impl Fn(&StoredItem) -> bool) -> Result<bool> {
        Ok(self.stored_under(&item.key)?.is_some_and(|stored| says_the_same(&stored.document, item) && same(&stored)))
    }

    fn stored_under(&self, key: &str) -> Result<Option<StoredItem>> {
        if self.is_empty() { Ok(None) } else { self.get(key) }
    }
}

fn says_the_same(document: &Document, item: &Item) -> bool {
    document.caption == item.caption && document.uri == item.uri && document.payload_is(&item.payload)
}

/// New words for a picture that is stored: it needs neither to be decoded nor encoded again.
fn of_new_words(item: Item, stored: StoredItem) -> Result<Prepared> {
    check_item(&item.key, &item.caption, &item.uri, &item.payload)?;
    Ok(Prepared::new(item, stored.document.picture(), Origin::Vector(stored.vector, stored.features)))
}

/// A digest of numbers.
fn content_of(vector: Option<&[f32]>, features: Option<&[f32]>) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut bytes = [0; 1024];
    for values in [vector, features] {
        for chunk in values.unwrap_or_default().chunks(bytes.len() / 4) {
            let filled = &mut bytes[..chunk.len() * 4];
            filled.chunks_exact_mut(4).zip(chunk).for_each(|(to, value)| to.copy_from_slice(&value.to_le_bytes()));
            hash.update(filled);
        }
        hash.update([0xFF]);
    }
    hash.finalize().into()
}
