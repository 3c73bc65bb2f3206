//! How a collection is indexed: what its spec keeps.

use std::path::PathBuf;

use fromagerie_models::ThumbnailFormat;
use serde::{Deserialize, Serialize};

use crate::usage::QUERIES_KEPT;

/// How sealed segments are searched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IndexKind {
    /// A graph over codes, built in one go, for segments that are too large to scan.
    #[default]
    Vamana,
    /// The same, built by inserting one row after the other: slower to build and to search, kept to compare with.
    Hnsw,
    /// Always an exact scan.
    Flat,
}

impl std::str::FromStr for IndexKind {
    type Err = String;

    fn from_str(word: &str) -> Result<IndexKind, String> {
        match word {
            "vamana" => Ok(IndexKind::Vamana),
            "hnsw" => Ok(IndexKind::Hnsw),
            "flat" => Ok(IndexKind::Flat),
            _ => Err(format!("{word:?} is no kind of index; use vamana, hnsw or flat")),
        }
    }
}

/// What is kept of pictures for people to look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Thumbnails {
    /// JPEG: small for photographs.
    #[default]
    Jpeg,
    /// WebP without loss: for drawings.
    Webp,
    /// Nothing. A conversation can then show the model only pictures whose files are still there.
    None,
}

impl Thumbnails {
    pub(crate) fn format(self) -> Option<ThumbnailFormat> {
        match self {
            Thumbnails::Jpeg => Some(ThumbnailFormat::Jpeg),
            Thumbnails::Webp => Some(ThumbnailFormat::Webp),
            Thumbnails::None => None,
        }
    }
}

impl std::str::FromStr for Thumbnails {
    type Err = String;

    fn from_str(word: &str) -> Result<Thumbnails, String> {
        match word {
            "jpeg" => Ok(Thumbnails::Jpeg),
            "webp" => Ok(Thumbnails::Webp),
            "none" => Ok(Thumbnails::None),
            _ => Err(format!("{word:?} is no kind of thumbnail; use jpeg, webp or none")),
        }
    }
}

/// What the engine keeps in a collection's spec.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) index: IndexKind,
    /// Received queries that are kept, so that graphs learn from them.
    pub(crate) queries_kept: u32,
    pub(crate) thumbnails: Thumbnails,
    /// Hex fingerprint of the encoder that makes the features, when features are kept and the model names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) encoder: Option<String>,
    /// Which generation of an alias this is; absent for a collection that was not made for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) generation: Option<GenerationOf>,
    /// Where the bundle lay that made the vectors, when it was not the database's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bundle: Option<PathBuf>,
}

/// How the type of vectors is written in JSON.
pub(crate) mod vector_type {
    use fromagerie_storage::VectorType;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(kind: &VectorType, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(match kind {
            VectorType::F32 => "f32",
            VectorType::F16 => "f16",
        })
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<VectorType, D::Error> {
        match String::deserialize(from)?.as_str() {
            "f32" => Ok(VectorType::F32),
            "f16" => Ok(VectorType::F16),
            other => Err(serde::de::Error::custom(format!("{other:?} is no type of vectors"))),
        }
    }
}

/// A collection's place among those that an alias has named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GenerationOf {
    pub(crate) alias: String,
    pub(crate) number: u64,
    /// What the alias named when this one was begun.
    pub(crate) replaces: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        let (index, thumbnails) = (IndexKind::default(), Thumbnails::default());
        Settings { index, queries_kept: QUERIES_KEPT, thumbnails, encoder: None, generation: None, bundle: None }
    }
}

impl Settings {
    pub(crate) fn encoder_fingerprint(&self) -> Option<[u8; 32]> {
        let mut fingerprint = [0; 32];
        hex::decode_to_slice(self.encoder.as_ref()?, &mut fingerprint).ok()?;
        Some(fingerprint)
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::json!(self).to_string()
    }
}
