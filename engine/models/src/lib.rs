//! Tensors: bundles, ONNX sessions, the tokenizer and image preprocessing.
//!
//! This room turns text and pictures into vectors and back, and knows nothing of collections, turns or the wire.
//! Whoever needs a model holds a [`Model`]: [`onnx::OnnxModel`] runs a [`Bundle`] through ONNX Runtime, and
//! [`fake::FakeModel`] plays one in tests, without any file. Read [`model`] for the seam, [`bundle`] for what lies
//! on disk, [`image`] for how a picture becomes the tensor that the vision graph reads.
//!
//! Heavy dependencies have one owner each: `ort` is named in [`onnx`] alone, `tokenizers` in [`tokenizer`], and the
//! `image` crate in [`image`].

pub mod bundle;
pub mod cache;
pub mod embeds;
pub mod error;
pub mod fake;
pub mod image;
pub mod model;
pub mod onnx;
mod schedule;
pub mod tokenizer;

pub use bundle::generation::{BosPosition, GenerationConfig};
pub use bundle::manifest::{Captioning, Dialogue, Manifest, QueryContext, Variant};
pub use bundle::{Bundle, BundleError, BundleOptions};
pub use cache::{Cache, CacheState};
pub use embeds::Embeds;
pub use error::ModelError;
pub use fake::FakeModel;
pub use image::{ImageError, ImageLimits, Picture, Pixels, Preprocessor, ThumbnailFormat, decode_image, thumbnail};
pub use model::{Forward, ImageEncoding, Model};
pub use onnx::{Device, GraphError, LibraryError, OnnxModel, Runtime, RuntimeOptions};
pub use schedule::{BatchOptions, BatchStats};
pub use tokenizer::{TokenStream, Tokenizer, TokenizerError};
