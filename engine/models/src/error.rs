//! What can go wrong between a caller and a model.
//!
//! Loading has its own enums, one for each thing that is loaded: [`BundleError`], [`LibraryError`], [`GraphError`]
//! and [`TokenizerError`]. [`ModelError`] holds them, and adds what can go wrong with a call.

use crate::bundle::BundleError;
use crate::onnx::{GraphError, LibraryError};
use crate::tokenizer::error::TokenizerError;

/// Why a model could not be loaded, or could not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The bundle's directory is not what its manifest says.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// ONNX Runtime could not be found or loaded.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// A graph does not fit the manifest, or failed while running.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The tokenizer does not fit the manifest, or refused a text.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A token id that the vocabulary does not have.
    #[error("token id {id} is outside the vocabulary of {vocab_size}")]
    TokenOutOfRange {
        /// The id given.
        id: u32,
        /// Ids end before this one.
        vocab_size: u32,
    },
    /// A call without a single position or picture.
    #[error("{what} was called with nothing to read")]
    Empty {
        /// The method called.
        what: &'static str,
    },
    /// The conversation does not fit the model's window any more.
    #[error("the model reads {limit} positions: {cached} are in use and {added} more were asked for")]
    ContextFull {
        /// Positions the cache holds.
        cached: usize,
        /// Positions this call would add.
        added: usize,
        /// The most positions the model was made for.
        limit: usize,
    },
    /// Embeddings of another width than the model's.
    #[error("embeddings are {found} wide and the model reads {expected}")]
    WrongWidth {
        /// The model's hidden size.
        expected: usize,
        /// The width given.
        found: usize,
    },
    /// A picture of another size than the vision graph's input.
    #[error("pixels are {found_width}x{found_height} and the model reads {width}x{height}")]
    WrongPixels {
        /// Width the preprocessing of this model makes.
        width: u32,
        /// Height the preprocessing of this model makes.
        height: u32,
        /// Width given.
        found_width: u32,
        /// Height given.
        found_height: u32,
    },
    /// A model whose retrieval map cannot be had without its encoder.
    #[error("the bundle {model:?} has no onnx/retrieval_map.onnx, so features cannot be mapped; export it again")]
    NoRetrievalMap {
        /// Its name.
        model: String,
    },
    /// A bundle whose two drawings of one map disagree.
    #[error("onnx/retrieval_map.onnx makes other vectors than onnx/vision_encoder.onnx; export the bundle again")]
    OtherMap,
    /// A cache made by another kind of model.
    #[error("the cache was not made by this model")]
    ForeignCache,
    /// An embedding that has no direction, so that nothing can be compared with it.
    #[error("the model's embedding of {what} has a norm of {norm}, which no search can use")]
    Degenerate {
        /// What was embedded.
        what: &'static str,
        /// Its norm: zero, infinite or not a number.
        norm: f32,
    },
}
