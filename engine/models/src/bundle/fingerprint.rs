//! Which vectors may be compared: one digest for each retrieval space.
//!
//! An image's vector depends on the vision graph (which contains the maps), on the preprocessing, and on nothing
//! else; so those are what the fingerprint covers. Two bundles with the same pictures' side and different language
//! models share a space. The digest is SHA-256 over:
//!
//! ```text
//! "fromagerie-space-1\n"
//! u32 LE  number of vision files: onnx/vision_encoder.onnx, and its external weights where it has them
//!         (every listed file whose path starts with "onnx/vision_encoder")
//! [32]    SHA-256 of each, in the order of their paths
//! [32]    SHA-256 of preprocessor_config.json
//! u32 LE  retrieval.dim
//!         the architecture's name, UTF-8
//! ```
//!
//! Features, which the encoder makes before any map, depend on less. Where the manifest names the encoder
//! (`vision.encoder_sha256`), theirs is SHA-256 over:
//!
//! ```text
//! "fromagerie-encoder-1\n"
//! [32]    vision.encoder_sha256
//! [32]    SHA-256 of preprocessor_config.json
//! u32 LE  vision.feature_dim
//! ```

use sha2::{Digest, Sha256};

use super::PREPROCESSOR;
use super::manifest::Manifest;

/// The fingerprint of a manifest's retrieval space.
pub fn of(manifest: &Manifest) -> [u8; 32] {
    let vision = || manifest.files.iter().filter(|(name, _)| name.starts_with("onnx/vision_encoder"));
    let mut hash = Sha256::new();
    hash.update(b"fromagerie-space-1\n");
    hash.update((vision().count() as u32).to_le_bytes());
    let preprocessing = manifest.files.get_key_value(PREPROCESSOR);
    for (_, digest) in vision().chain(preprocessing) {
        // The manifest's check leaves nothing but 64 hexadecimal digits here; a fake may have none.
        hash.update(hex::decode(&digest.sha256).unwrap_or_default());
    }
    hash.update(manifest.retrieval.dim.to_le_bytes());
    hash.update(manifest.architecture.as_bytes());
    hash.finalize().into()
}

/// The fingerprint of the encoder whose features a model's maps read; `None` when the manifest does not name it.
pub fn of_encoder(manifest: &Manifest) -> Option<[u8; 32]> {
    let encoder = hex::decode(manifest.vision.encoder_sha256.as_ref()?).ok()?;
    let preprocessing = manifest.files.get(PREPROCESSOR).map(|digest| digest.sha256.as_str()).unwrap_or_default();
    let mut hash = Sha256::new();
    hash.update(b"fromagerie-encoder-1\n");
    hash.update(encoder);
    hash.update(hex::decode(preprocessing).unwrap_or_default());
    hash.update(manifest.vision.feature_dim.to_le_bytes());
    Some(hash.finalize().into())
}
