//! What lies on disk: a directory that says what it is, and is checked to be exactly that.
//!
//! A bundle is a directory in Hugging Face's style. `fromagerie.json` ([`manifest`]) names its architecture and
//! sizes, and lists every other file with its length and SHA-256; [`Bundle::open`] reads each of them once and refuses
//! the whole on the first difference ([`files`]). [`generation`] and [`crate::image::preprocess`] read the two
//! Hugging Face configurations, and [`fingerprint`] says which bundles share a retrieval space.

pub mod fields;
pub mod files;
pub mod fingerprint;
pub mod generation;
pub mod manifest;

use std::path::{Path, PathBuf};

use crate::image::Preprocessor;
use fields::ConfigError;
use generation::GenerationConfig;
use manifest::{Manifest, Variant};

/// The bundle's own file, which lists all others.
pub const MANIFEST: &str = "fromagerie.json";
/// The tokenizer, in the format of Hugging Face `tokenizers`.
pub const TOKENIZER: &str = "tokenizer.json";
/// How pictures are prepared.
pub const PREPROCESSOR: &str = "preprocessor_config.json";
/// How text is generated.
pub const GENERATION: &str = "generation_config.json";
/// `pixel_values` to `retrieval_embedding`, `visual_tokens` and `features`.
pub const VISION_ENCODER: &str = "onnx/vision_encoder.onnx";
/// `features` to `retrieval_embedding`: the vision graph's retrieval map alone. A bundle may lack it.
pub const RETRIEVAL_MAP: &str = "onnx/retrieval_map.onnx";
/// `input_ids` to `inputs_embeds`, where the manifest names no variants.
pub const EMBED_TOKENS: &str = "onnx/embed_tokens.onnx";
/// `inputs_embeds` and the past to `logits`, `retrieval_embedding` and the present, where the manifest names no variants.
pub const DECODER: &str = "onnx/decoder_model_merged.onnx";

/// Files that every bundle has besides its manifest and the graphs of its language model.
pub const REQUIRED: [&str; 4] = [TOKENIZER, PREPROCESSOR, GENERATION, VISION_ENCODER];

/// Configurations longer than this are not read: the longest known is a few kilobytes.
pub const JSON_BYTES_MAX: u64 = 1 << 20;

/// A bundle whose every file was read and found to be what the manifest says.
#[derive(Debug, Clone)]
pub struct Bundle {
    dir: PathBuf,
    manifest: Manifest,
    generation: GenerationConfig,
    preprocessor: Preprocessor,
    fingerprint: [u8; 32],
    variant: Variant,
}

/// How a bundle is opened.
#[derive(Debug, Clone, Default)]
pub struct BundleOptions {
    /// The variant of the language model; the bundle's default when absent.
    pub variant: Option<String>,
    /// Most bytes that the graphs may have; what the machine has in memory when absent.
    pub bytes_max: Option<u64>,
}

impl Bundle {
    /// Opens the bundle's default variant.
    ///
    /// # Errors
    /// As [`Bundle::open_with`].
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, BundleError> {
        Self::open_with(dir, &BundleOptions::default())
    }

    /// Reads the manifest, checks every file that the variant needs against it, and parses the configurations.
    ///
    /// Costs one read of each of those files, at the speed of SHA-256. Files of other variants need only have their length.
    ///
    /// # Errors
    /// [`BundleError`], which names the file and what to do about it.
    pub fn open_with(dir: impl AsRef<Path>, options: &BundleOptions) -> Result<Self, BundleError> {
        let dir = dir.as_ref();
        let manifest = read_config(&dir.join(MANIFEST), Manifest::parse)?;
        let variant = manifest
            .variant(options.variant.as_deref())
            .map_err(|source| BundleError::Config { path: dir.join(MANIFEST), source })?;
        let unused = |name: &str| {
            let graph = name.strip_suffix("_data").unwrap_or(name);
            let of_variant = |v: &Variant| [&v.decoder, &v.embed_tokens].contains(&&graph.to_owned());
            manifest.variants.values().any(of_variant) && !of_variant(&variant)
        };
        files::check_room(&manifest.files, &unused, options.bytes_max)?;
        files::check(dir, &manifest.files, &unused)?;
        let preprocessor = read_config(&dir.join(PREPROCESSOR), Preprocessor::parse)?;
        let generation = read_config(&dir.join(GENERATION), |json| {
            GenerationConfig::parse(json, manifest.language_model.vocab_size)
        })?;
        let fingerprint = fingerprint::of(&manifest);
        Ok(Self { dir: dir.to_path_buf(), manifest, generation, preprocessor, fingerprint, variant })
    }

    /// The language model's graphs that are used.
    pub fn variant(&self) -> &Variant {
        &self.variant
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the file of this name in the manifest lies.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The parsed manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The model's name, for people.
    pub fn name(&self) -> &str {
        &self.manifest.name
    }

    /// The parsed `generation_config.json`.
    pub fn generation(&self) -> &GenerationConfig {
        &self.generation
    }

    /// The parsed `preprocessor_config.json`.
    pub fn preprocessor(&self) -> &Preprocessor {
        &self.preprocessor
    }

    /// The retrieval space; see [`fingerprint`].
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// The encoder without its maps, when the manifest names it; see [`fingerprint`].
    pub fn encoder_fingerprint(&self) -> Option<[u8; 32]> {
        fingerprint::of_encoder(&self.manifest)
    }
}

fn read_config<T>(path: &Path, parse: impl FnOnce(&[u8]) -> Result<T, ConfigError>) -> Result<T, BundleError> {
    let json = files::read_bounded(path, JSON_BYTES_MAX)?;
    parse(&json).map_err(|source| BundleError::Config { path: path.to_path_buf(), source })
}

/// Why a directory is not a usable bundle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// A file, or the directory itself, is not there.
    #[error("{} is missing: a bundle is a directory with a {MANIFEST} and every file it lists; fetch or export the bundle again", path.display())]
    Missing {
        /// The file looked for.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{} cannot be read: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// A configuration too long to be one.
    #[error("{} has {bytes} bytes, and no more than {limit} are read of a configuration", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
        /// The longest that is read.
        limit: u64,
    },
    /// A configuration that does not say what it must.
    #[error("{}: {source}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        source: ConfigError,
    },
    /// A file shorter or longer than the manifest says.
    #[error("{} has {found} bytes and the manifest says {expected}: the copy is incomplete or of another bundle; fetch or export it again", path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// Bytes by the manifest.
        expected: u64,
        /// Bytes on disk.
        found: u64,
    },
    /// A file of the right length with other bytes.
    #[error("{} has SHA-256 {found} and the manifest says {expected}: the file was changed or damaged; fetch or export it again", path.display())]
    Hash {
        /// The file.
        path: PathBuf,
        /// Digest by the manifest, hexadecimal.
        expected: String,
        /// Digest on disk, hexadecimal.
        found: String,
    },
    /// Graphs that would fill the memory.
    #[error(
        "the bundle's graphs have {bytes} bytes and {limit} are allowed: choose a smaller variant, or allow more with --model-bytes-max"
    )]
    TooLarge {
        /// Bytes of the graphs that would be loaded.
        bytes: u64,
        /// Most bytes allowed.
        limit: u64,
    },
    /// A file beside the graphs which nothing vouches for; a graph could read weights from it.
    #[error("{} is not listed in {MANIFEST}: remove it, or export the bundle again so that it is listed", path.display())]
    Unlisted {
        /// The file.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests;
