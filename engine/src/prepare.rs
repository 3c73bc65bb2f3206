//! How an item becomes what storage keeps: checked, decoded, encoded in one batch, written.

use fromagerie_models::Pixels;
use fromagerie_storage::{Batch, Op, Receipt, Record};

use crate::bounds::check_item;
use crate::collection::Collection;
use crate::encoder::DecodedImage;
use crate::error::Result;
use crate::item::{Content, Document, Item, read_file};

/// One item that is ready to be encoded and written.
pub(crate) struct Prepared {
    pub(crate) key: String,
    document: Document,
    pub(crate) origin: Origin,
}

/// What an item's vector comes from.
pub(crate) enum Origin {
    /// A picture that the encoder is still to read.
    Pixels(Pixels),
    /// The encoder's features of a picture, from which the map makes the vector.
    Features(Vec<f32>),
    /// A vector, and the features that it was made of when they are known.
    Vector(Vec<f32>, Option<Vec<f32>>),
}

impl Prepared {
    pub(crate) fn new(item: Item, picture: Option<DecodedImage>, origin: Origin) -> Prepared {
        let mut document =
            Document { caption: item.caption, uri: item.uri, payload: item.payload, ..Document::default() };
        if let Some(picture) = picture {
            document.width = picture.width;
            document.height = picture.height;
            document.content_hash = Some(picture.hash);
            document.thumbnail = picture.thumbnail;
        }
        Prepared { key: item.key, document, origin }
    }
}

impl Collection {
    /// Checks an item and decodes its picture.
    pub(crate) fn prepare(&self, mut item: Item) -> Result<Prepared> {
        check_item(&item.key, &item.caption, &item.uri, &item.payload)?;
        let bytes = match std::mem::replace(&mut item.content, Content::Image(Vec::new())) {
            Content::Vector(vector) => {
                let vector = self.checked(vector)?;
                return Ok(Prepared::new(item, None, Origin::Vector(vector, None)));
            }
            Content::Image(bytes) => bytes,
            Content::File(path) => read_file(&path)?,
        };
        let (picture, pixels) = self.model("an image")?.encoder.decode(&bytes, self.thumbnails())?;
        Ok(Prepared::new(item, Some(picture), Origin::Pixels(pixels)))
    }

    /// Encodes what is a picture, in one batch, and writes all, durably.
    pub(crate) fn write(&self, mut prepared: Vec<Prepared>, request_id: Option<String>) -> Result<Receipt> {
        self.make_vectors(&mut prepared)?;
        let ops = prepared.into_iter().map(|one| Op::Put(self.record(one))).collect();
        Ok(self.stored().write(Batch { ops, request_id })?)
    }

    /// What storage keeps of an item whose vector is made.
    pub(crate) fn record(&self, one: Prepared) -> Record {
        let (vector, features) = match one.origin {
            Origin::Vector(vector, features) => (vector, features.filter(|_| self.feature_dim() > 0)),
            Origin::Pixels(_) | Origin::Features(_) => (Vec::new(), None),
        };
        Record { key: one.key, vector, features, document: one.document.stored() }
    }

    /// Puts vectors in the place of pixels and features.
    pub(crate) fn make_vectors(&self, prepared: &mut [Prepared]) -> Result<()> {
        let (mut pixels, mut features) = (Vec::new(), Vec::new());
        for one in prepared.iter_mut() {
            match &mut one.origin {
                Origin::Pixels(input) => pixels.push(std::mem::take(input)),
                Origin::Features(of_one) => features.extend_from_slice(of_one),
                Origin::Vector(..) => {}
            }
        }
        let encoded = if pixels.is_empty() { Vec::new() } else { self.model("an image")?.encoder.encode(&pixels)? };
        let mapped = match features.is_empty() {
            true => Vec::new(),
            false => self.model("an image's features")?.model.map_features(&features)?,
        };
        let (mut encoded, mut mapped) = (encoded.into_iter(), mapped.chunks_exact(self.dim()));
        for one in prepared {
            one.origin = match std::mem::replace(&mut one.origin, Origin::Features(Vec::new())) {
                Origin::Pixels(_) => {
                    let encoding = encoded.next();
                    encoding.map_or(Origin::Vector(Vec::new(), None), |e| Origin::Vector(e.retrieval, Some(e.features)))
                }
                Origin::Features(features) => {
                    Origin::Vector(mapped.next().unwrap_or_default().to_vec(), Some(features))
                }
                made @ Origin::Vector(..) => made,
            };
        }
        Ok(())
    }
}
