//! The seam between models and everything that uses one.
//!
//! [`Model`] is object-safe on purpose: the engine holds an `Arc<dyn Model>` and neither knows nor cares whether ONNX
//! Runtime, or a few lines of arithmetic in a test, answers. Text becomes token ids, ids and pictures become rows of
//! [`Embeds`], rows go through [`Model::forward`] once, and what they leave behind stays in a [`Cache`].

use crate::bundle::generation::GenerationConfig;
use crate::bundle::manifest::Manifest;
use crate::cache::Cache;
use crate::embeds::Embeds;
use crate::error::ModelError;
use crate::image::{Pixels, Preprocessor};
use crate::schedule::BatchStats;
use crate::tokenizer::TokenStream;

/// A language model with eyes: a tokenizer, a decoder with a cache, and an image encoder in one retrieval space.
///
/// Calls may come from many threads; an implementation may let them wait for each other.
pub trait Model: Send + Sync {
    /// What the model is: its sizes, its `[RET]` ids, its dialogue template.
    fn manifest(&self) -> &Manifest;

    /// How the model likes to generate.
    fn generation(&self) -> &GenerationConfig;

    /// How a picture becomes this model's [`Pixels`].
    fn preprocessor(&self) -> &Preprocessor;

    /// The retrieval space: vectors may be compared when these 32 bytes are equal, and only then.
    fn fingerprint(&self) -> [u8; 32];

    /// Token ids of `text`. No BOS is added.
    ///
    /// With `special`, the text of special tokens (`<|im_end|>`, `[RET]`) becomes those tokens: for templates.
    /// Without, it becomes ordinary text, so that no user can forge a turn: for everything that a user wrote.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] when the tokenizer cannot represent the text.
    fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, ModelError>;

    /// The text of `ids`; special tokens appear in it with `special` and are left out without.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] or [`ModelError::TokenOutOfRange`] for ids which the vocabulary lacks.
    fn decode(&self, ids: &[u32], special: bool) -> Result<String, ModelError>;

    /// Input embeddings of `ids`, one row each.
    ///
    /// # Errors
    /// [`ModelError::TokenOutOfRange`]; [`ModelError::Graph`].
    fn embed(&self, ids: &[u32]) -> Result<Embeds, ModelError>;

    /// A cache that holds nothing.
    fn new_cache(&self) -> Cache;

    /// Reads `embeds` after what `cache` holds, and keeps them there. Logits are of the last position.
    ///
    /// The cache is as before when this fails.
    ///
    /// # Errors
    /// [`ModelError::Empty`], [`ModelError::ContextFull`], [`ModelError::WrongWidth`], [`ModelError::ForeignCache`],
    /// [`ModelError::Graph`].
    fn forward(&self, embeds: &Embeds, cache: &mut Cache) -> Result<Forward, ModelError>;

    /// As [`Model::forward`], with the logits of every position: `[n, vocab_size]`. For ranking by likelihood.
    ///
    /// # Errors
    /// As [`Model::forward`].
    fn forward_all(&self, embeds: &Embeds, cache: &mut Cache) -> Result<Forward, ModelError>;

    /// Encodes a batch of pictures, in order. The caller bounds the batch: memory grows with it.
    ///
    /// # Errors
    /// [`ModelError::WrongPixels`], [`ModelError::Degenerate`], [`ModelError::Graph`].
    fn encode_images(&self, images: &[Pixels]) -> Result<Vec<ImageEncoding>, ModelError>;

    /// The passes that steps of concurrent sequences were brought together in; `None` where each step runs alone.
    fn batch_stats(&self) -> Option<BatchStats> {
        None
    }

    /// The encoder without its maps: features may be exchanged between models when these 32 bytes are equal. `None` when
    /// the model does not say.
    fn encoder_fingerprint(&self) -> Option<[u8; 32]> {
        None
    }

    /// The retrieval vectors that this model's map makes of `features` (`[n, feature_dim]`, as
    /// [`ImageEncoding::features`] of this encoder): `[n, dim]`, each of unit length.
    ///
    /// # Errors
    /// [`ModelError::NoRetrievalMap`] for a model whose map cannot be had alone; [`ModelError::WrongWidth`];
    /// [`ModelError::Degenerate`]; [`ModelError::Graph`].
    fn map_features(&self, features: &[f32]) -> Result<Vec<f32>, ModelError> {
        let _ = features;
        Err(ModelError::NoRetrievalMap { model: self.manifest().name.clone() })
    }
}

impl dyn Model + '_ {
    /// Text for a reader, token by token.
    pub fn token_stream(&self) -> TokenStream<'_> {
        TokenStream::new(|ids| self.decode(ids, false))
    }
}

/// What one pass through the decoder says.
#[derive(Debug, Clone, PartialEq)]
pub struct Forward {
    /// `[vocab_size]` of the last position, or `[n, vocab_size]` after [`Model::forward_all`].
    pub logits: Vec<f32>,
    /// `[n, dim]`: each position's hidden state mapped into the retrieval space, not normalised.
    pub retrieval: Vec<f32>,
}

impl Forward {
    /// The unit retrieval embedding of position `position`, counted from the first row of this call.
    ///
    /// # Errors
    /// [`ModelError::Degenerate`] when it has no direction, or when the position was not part of the call.
    pub fn query(&self, position: usize, dim: usize) -> Result<Vec<f32>, ModelError> {
        let row = self.retrieval.get(position * dim..(position + 1) * dim).unwrap_or_default();
        unit(row.to_vec(), "a text")
    }
}

/// What a vision encoder makes of one picture.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageEncoding {
    /// `[dim]`, unit length: the vector which a collection keeps.
    pub retrieval: Vec<f32>,
    /// `[num_visual_tokens, hidden_size]`: rows for the prompt.
    pub visual_tokens: Vec<f32>,
    /// `[feature_dim]`: the encoder's own output, from which another map can make vectors without the picture.
    pub features: Vec<f32>,
}

/// `vector` scaled to unit length.
pub(crate) fn unit(mut vector: Vec<f32>, what: &'static str) -> Result<Vec<f32>, ModelError> {
    let norm = vector.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    if !norm.is_finite() || norm < 1e-12 {
        return Err(ModelError::Degenerate { what, norm: norm as f32 });
    }
    for value in &mut vector {
        *value = (f64::from(*value) / norm) as f32;
    }
    Ok(vector)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_without_direction_is_refused() {
        for bad in [vec![0.0; 4], vec![f32::NAN, 1.0], vec![f32::INFINITY, 1.0]] {
            assert!(matches!(unit(bad, "a test"), Err(ModelError::Degenerate { .. })));
        }
        assert_eq!(unit(vec![3.0, 4.0], "a test").unwrap(), [0.6, 0.8]);
        let forward = Forward { logits: vec![], retrieval: vec![0.0, 2.0] };
        assert_eq!(forward.query(0, 2).unwrap(), [0.0, 1.0]);
        assert!(forward.query(1, 2).is_err());
    }
}
