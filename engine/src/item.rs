//! What a caller writes under a key.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::bounds::PICTURE_BYTES_MAX;
use crate::encoder::DecodedImage;
use crate::error::{Error, Result};

/// What an item's vector is made from.
#[derive(Clone, Debug)]
pub enum Content {
    /// The bytes of a picture, which the model embeds.
    Image(Vec<u8>),
    /// A picture on disk, which the model embeds.
    File(PathBuf),
    /// `[dim]` f32 of any non-zero norm; it is stored normalised.
    Vector(Vec<f32>),
}

/// One item: a key, a picture or a vector, and what is known of it. An item with the same key is replaced.
///
/// ```
/// use fromagerie::Item;
/// let item = Item::file("cat.jpg").caption("our cat");
/// assert_eq!(item.key, "cat.jpg");
/// ```
#[derive(Clone, Debug)]
pub struct Item {
    /// UTF-8, 1 to 512 bytes.
    pub key: String,
    /// What the vector is made from.
    pub content: Content,
    /// Words that describe it; may be empty.
    pub caption: String,
    /// Where it came from; may be empty.
    pub uri: String,
    /// Anything else, as JSON.
    pub payload: Map<String, Value>,
}

impl Item {
    /// A picture on disk; the key and the URI are the path as given.
    pub fn file(path: impl Into<PathBuf>) -> Item {
        let path = path.into();
        let name = path.to_string_lossy().into_owned();
        Item { uri: name.clone(), ..Item::new(name, Content::File(path)) }
    }

    /// A picture in memory.
    pub fn image(key: impl Into<String>, bytes: Vec<u8>) -> Item {
        Item::new(key.into(), Content::Image(bytes))
    }

    /// A vector that the caller made.
    pub fn vector(key: impl Into<String>, vector: Vec<f32>) -> Item {
        Item::new(key.into(), Content::Vector(vector))
    }

    pub(crate) fn new(key: String, content: Content) -> Item {
        Item { key, content, caption: String::new(), uri: String::new(), payload: Map::new() }
    }

    /// Sets the key.
    pub fn key(mut self, key: impl Into<String>) -> Item {
        self.key = key.into();
        self
    }

    /// Sets the caption.
    pub fn caption(mut self, caption: impl Into<String>) -> Item {
        self.caption = caption.into();
        self
    }

    /// Sets the URI.
    pub fn uri(mut self, uri: impl Into<String>) -> Item {
        self.uri = uri.into();
        self
    }

    /// Sets one value of the payload.
    pub fn payload(mut self, name: impl Into<String>, value: impl Into<Value>) -> Item {
        self.payload.insert(name.into(), value.into());
        self
    }
}

/// An item as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredItem {
    /// The caller's key.
    pub key: String,
    /// `[dim]` f32, unit length.
    pub vector: Vec<f32>,
    /// `[feature_dim]`: what the encoder made of the picture, where the collection keeps it.
    pub features: Option<Vec<f32>>,
    /// What is known of it.
    pub document: Document,
}

/// What an item carries beside its vector.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// Words that describe it; may be empty.
    pub caption: String,
    /// Where it came from; may be empty.
    pub uri: String,
    /// Anything else.
    pub payload: Map<String, Value>,
    /// Pixels across, 0 without a picture.
    pub width: u32,
    /// Pixels down, 0 without a picture.
    pub height: u32,
    /// sha-256 of the picture's bytes.
    pub content_hash: Option<[u8; 32]>,
    /// A JPEG or WebP file; empty without a picture, or where the collection keeps none.
    pub thumbnail: Vec<u8>,
}

impl Document {
    /// What storage keeps, with its payload parsed.
    pub(crate) fn read(stored: fromagerie_storage::Document) -> Result<Document> {
        let payload = match stored.payload.as_str() {
            "" => Map::new(),
            json => serde_json::from_str(json).map_err(|e| Error::BadItem {
                key: String::new(),
                problem: format!("its stored payload is not a JSON object: {e}"),
            })?,
        };
        Ok(Document {
            caption: stored.caption,
            uri: stored.uri,
            payload,
            width: stored.width,
            height: stored.height,
            content_hash: stored.content_hash,
            thumbnail: stored.thumbnail,
        })
    }

    /// What is kept of its picture, when it has one.
    pub(crate) fn picture(&self) -> Option<DecodedImage> {
        let (width, height, thumbnail) = (self.width, self.height, self.thumbnail.clone());
        self.content_hash.map(|hash| DecodedImage { hash, width, height, thumbnail })
    }

    /// Whether `payload` is stored here, as it comes back from storage: numbers pass through their text.
    pub(crate) fn payload_is(&self, payload: &Map<String, Value>) -> bool {
        self.payload == *payload
            || serde_json::from_str(&Value::Object(payload.clone()).to_string())
                .is_ok_and(|back: Map<_, _>| back == self.payload)
    }

    /// What storage keeps.
    pub(crate) fn stored(self) -> fromagerie_storage::Document {
        fromagerie_storage::Document {
            payload: if self.payload.is_empty() { String::new() } else { Value::Object(self.payload).to_string() },
            caption: self.caption,
            uri: self.uri,
            width: self.width,
            height: self.height,
            content_hash: self.content_hash,
            thumbnail: self.thumbnail,
        }
    }
}

/// The bytes of a picture in a file that the caller named; what is no file, or too long for a picture, is not read.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    let refused = |problem: String| failed(io::Error::new(io::ErrorKind::InvalidInput, problem));
    if !metadata.is_file() {
        return Err(refused("it is no file".to_owned()));
    }
    if metadata.len() > PICTURE_BYTES_MAX {
        return Err(refused(format!("it has {} bytes, a picture {PICTURE_BYTES_MAX} at most", metadata.len())));
    }
    std::fs::read(path).map_err(failed)
}
