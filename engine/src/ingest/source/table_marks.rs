//! Names in the tables that `embed` writes and an ingest reads: columns, and words of the schema's metadata.

/// Its value is the version of the columns.
pub(crate) const EMBEDDED: &str = "fromagerie.embed";
/// The fingerprint (hex) of the retrieval space that the vectors were made in.
pub(crate) const SPACE: &str = "fromagerie.space";
/// The fingerprint (hex) of the encoder that made the features.
pub(crate) const ENCODER: &str = "fromagerie.encoder";

pub(crate) const KEY: &str = "key";
pub(crate) const VECTOR: &str = "vector";
pub(crate) const FEATURES: &str = "features";
pub(crate) const CAPTION: &str = "caption";
pub(crate) const URI: &str = "uri";
pub(crate) const WIDTH: &str = "width";
pub(crate) const HEIGHT: &str = "height";
pub(crate) const CONTENT_HASH: &str = "content_hash";
pub(crate) const THUMBNAIL: &str = "thumbnail";
pub(crate) const PAYLOAD: &str = "payload";
