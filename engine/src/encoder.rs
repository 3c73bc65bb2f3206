//! Pictures in, encodings out: decoded with limits, encoded in batches, and kept by content hash.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use fromagerie_models::{ImageEncoding, ImageLimits, Model, Pixels, decode_image, thumbnail};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::settings::Thumbnails;

/// Longest side of the thumbnails that are stored, in pixels.
pub const THUMBNAIL_SIDE: u32 = 256;

/// Pictures whose encodings are kept. One is a few visual tokens and a vector: about 10 KB.
const KEPT_MAX: usize = 2048;

/// What is kept of a picture beside its vector.
#[derive(Clone, Debug, PartialEq)]
pub struct DecodedImage {
    /// sha-256 of the bytes.
    pub hash: [u8; 32],
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// A file, at most [`THUMBNAIL_SIDE`] on its longest side; empty where none is wanted.
    pub thumbnail: Vec<u8>,
}

/// A picture as the model sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodedImage {
    /// sha-256 of the bytes that it was made from.
    pub hash: [u8; 32],
    /// Its retrieval vector, visual tokens and features.
    pub encoding: ImageEncoding,
}

/// The picture half of a model.
pub struct Encoder {
    model: Arc<dyn Model>,
    limits: ImageLimits,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    by_hash: HashMap<[u8; 32], Arc<EncodedImage>>,
    oldest_first: VecDeque<[u8; 32]>,
}

impl Encoder {
    /// An encoder for `model`.
    pub fn new(model: Arc<dyn Model>, limits: ImageLimits) -> Encoder {
        Encoder { model, limits, kept: Mutex::default() }
    }

    /// Decodes a picture, makes its thumbnail and what the encoder reads. Touches no model, so that many threads can do
    /// it at once.
    ///
    /// # Errors
    /// What is wrong with the bytes: no picture, truncated, too large.
    pub fn decode(&self, bytes: &[u8], thumbnails: Thumbnails) -> Result<(DecodedImage, Pixels)> {
        let picture = decode_image(bytes, &self.limits)?;
        let decoded = DecodedImage {
            hash: content_hash(bytes),
            width: picture.width(),
            height: picture.height(),
            thumbnail: match thumbnails.format() {
                Some(format) => thumbnail(&picture, THUMBNAIL_SIDE, format)?,
                None => Vec::new(),
            },
        };
        Ok((decoded, self.model.preprocessor().pixels(&picture)))
    }

    /// Encodes pictures in one batch, in their order.
    pub fn encode(&self, images: &[Pixels]) -> Result<Vec<ImageEncoding>> {
        Ok(self.model.encode_images(images)?)
    }

    /// Decodes and encodes one picture, unless its encoding is kept from before.
    pub fn encode_bytes(&self, bytes: &[u8]) -> Result<Arc<EncodedImage>> {
        let hash = content_hash(bytes);
        if let Some(known) = self.kept(&hash) {
            return Ok(known);
        }
        let picture = decode_image(bytes, &self.limits)?;
        let pixels = self.model.preprocessor().pixels(&picture);
        let encoding = self.encode(std::slice::from_ref(&pixels))?.swap_remove(0);
        let encoded = Arc::new(EncodedImage { hash, encoding });
        self.keep(encoded.clone());
        Ok(encoded)
    }

    /// The encoding of the picture with this content hash, if it was made lately.
    pub fn kept(&self, hash: &[u8; 32]) -> Option<Arc<EncodedImage>> {
        self.kept.lock().by_hash.get(hash).cloned()
    }

    fn keep(&self, image: Arc<EncodedImage>) {
        let mut kept = self.kept.lock();
        if kept.by_hash.insert(image.hash, image.clone()).is_none() {
            kept.oldest_first.push_back(image.hash);
        }
        while kept.oldest_first.len() > KEPT_MAX {
            if let Some(oldest) = kept.oldest_first.pop_front() {
                kept.by_hash.remove(&oldest);
            }
        }
    }
}

/// sha-256 of a picture's bytes.
pub fn content_hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
