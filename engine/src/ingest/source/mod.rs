//! Where records come from: one small trait, and a file for each kind of source.
//!
//! A source is read from front to back, always in the same order, and says where it stands, so that whoever reads it
//! can go on there later. What it hands over is a [`Found`]: a key, a picture (bytes, a file, an address) or a vector,
//! and what is known of it. What cannot be read is handed over too, as a [`Failure`] with its place: nothing is left
//! out in silence, and no record stops those after it.
//!
//! Which file is of which kind is decided in [`shards`]; what a row's columns mean in [`columns`]. All bytes here are a
//! stranger's: every length is bounded before memory is taken for it.

#[cfg(feature = "parquet")]
mod arrow;
mod captions;
mod columns;
pub(crate) mod error;
mod expand;
mod failure;
mod floats;
pub(crate) mod folder;
mod format;
mod jsonl;
mod lines;
mod npy;
mod peeked;
mod pickle;
mod shards;
mod table;
#[cfg(feature = "parquet")]
pub(crate) mod table_marks;
mod tar;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::encoder::DecodedImage;

pub use columns::Columns;
pub use error::SourceError;
pub use failure::{Failure, Place, Spot, Stage};
pub use format::Format;
pub use shards::Position;
pub(crate) use shards::Shards;
pub(super) use shards::ends_run;

/// Longest caption that is read, in bytes.
const CAPTION_BYTES_MAX: u64 = 64 << 10;
/// Longest JSON object that is read beside a picture, in bytes.
const PAYLOAD_BYTES_MAX: u64 = 1 << 20;

/// What a record's vector is made from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Body {
    /// The bytes of a picture.
    Bytes(Vec<u8>),
    /// A picture on disk.
    File(PathBuf),
    /// A picture on the network.
    Url(String),
    /// A vector that somebody made before.
    Vector(Vec<f32>),
    /// What a run made of a picture before.
    Made(Box<Made>),
}

/// What was made of a picture before: a vector or features, or both.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Made {
    /// `[dim]`; without it the vector is mapped from the features.
    pub(crate) vector: Option<Vec<f32>>,
    /// `[feature_dim]`.
    pub(crate) features: Option<Vec<f32>>,
    /// What is known of the picture itself.
    pub(crate) picture: Option<DecodedImage>,
}

impl Body {
    /// Bytes that it takes in memory, more or less.
    pub(super) fn len(&self) -> usize {
        match self {
            Body::Bytes(bytes) => bytes.len(),
            Body::Vector(vector) => size_of_val(vector.as_slice()),
            Body::Made(made) => {
                let floats = made.vector.as_ref().map_or(0, Vec::len) + made.features.as_ref().map_or(0, Vec::len);
                floats * size_of::<f32>() + made.picture.as_ref().map_or(0, |picture| picture.thumbnail.len())
            }
            Body::File(_) | Body::Url(_) => 0,
        }
    }
}

/// One record of a source.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) key: String,
    pub(crate) body: Body,
    pub(crate) caption: String,
    pub(crate) uri: String,
    pub(crate) payload: Map<String, Value>,
    pub(crate) place: Place,
    /// What the picture's bytes must hash to, where that is known: else it is another picture.
    pub(crate) content_hash: Option<[u8; 32]>,
}

/// What a run reads: records in a fixed order, and a place to begin again.
pub(crate) trait Records: Send {
    /// The next record, or why it could not be read; `None` at the end.
    fn next(&mut self) -> Option<Result<Found, Failure>>;

    /// Where the next record is.
    fn position(&self) -> Position;

    /// Records still to come, when that is known.
    fn remaining(&self) -> Option<u64>;
}

/// Records, one after another, always in the same order.
pub(crate) trait Source: Send {
    /// The next record, or why it could not be read; `None` at the end.
    fn next(&mut self) -> Option<Result<Found, Failure>>;

    /// Where the record that `next` will give begins: a number that means something to this source alone.
    fn position(&self) -> u64;

    /// Records still to come, when the source knows.
    fn remaining(&self) -> Option<u64> {
        None
    }

    /// The vectors it holds; `None` when it holds pictures.
    fn vectors(&self) -> Option<Vectors> {
        None
    }
}

/// What is known of a source's vectors before the first is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vectors {
    /// Their length.
    pub dim: usize,
    /// The fingerprint of the retrieval space they were made in, when the source says so.
    pub space: Option<[u8; 32]>,
}

/// How sources are read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceOptions {
    /// What the files are. Unset: told by their names and first bytes.
    pub format: Option<Format>,
    /// Which columns mean what.
    pub columns: Columns,
    /// Where the pictures are whose paths a table names. Unset: beside the table.
    pub image_root: Option<PathBuf>,
    /// A TSV of file names and captions, for folders. Unset: `captions.tsv` at the top of a folder, when there is one.
    pub captions: Option<PathBuf>,
    /// Of folders, the pictures with these keys only.
    #[serde(skip)]
    pub only: Option<Arc<BTreeSet<String>>>,
    /// Keys of the vectors of a `.npy` file: a text file with one a line, or a `.npy` of strings. Unset: the file of
    /// the same name that ends in `.keys.txt` or `.keys.npy`, when there is one; else they are numbered.
    pub keys: Option<PathBuf>,
}

/// The key of a record that has none of its own: the file's stem and the record's number.
fn numbered(path: &Path, row: u64) -> String {
    format!("{}/{row:08}", path.file_stem().unwrap_or_default().to_string_lossy())
}

/// True for an address that is fetched.
pub(super) fn is_url(text: &str) -> bool {
    let begins = |with: &str| text.get(..with.len()).is_some_and(|head| head.eq_ignore_ascii_case(with));
    begins("http://") || begins("https://")
}

#[cfg(test)]
mod tests;
