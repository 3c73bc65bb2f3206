//! A bundle, loaded and ready to answer.

use super::decoder::Decoder;
use super::decoder_graph::Keep;
use super::embed::Embed;
use super::map::RetrievalMap;
use super::past::Past;
use super::runtime::Runtime;
use super::vision::Vision;
use crate::bundle::generation::GenerationConfig;
use crate::bundle::manifest::Manifest;
use crate::bundle::{Bundle, RETRIEVAL_MAP, TOKENIZER, VISION_ENCODER};
use crate::cache::Cache;
use crate::embeds::Embeds;
use crate::error::ModelError;
use crate::image::{Pixels, Preprocessor};
use crate::model::{Forward, ImageEncoding, Model};
use crate::schedule::BatchStats;
use crate::tokenizer::Tokenizer;

/// A FROMAGe-like model: a decoder, an image encoder, and maps between them, as ONNX graphs.
pub struct OnnxModel {
    bundle: Bundle,
    tokenizer: Tokenizer,
    embed: Embed,
    decoder: Decoder,
    vision: Vision,
    map: Option<RetrievalMap>,
}

impl OnnxModel {
    /// Loads the graphs of `bundle`, holds each to the manifest, and reads one token and one grey picture as a trial.
    ///
    /// # Errors
    /// [`ModelError::Graph`] or [`ModelError::Tokenizer`], naming what does not fit.
    pub fn load(runtime: &Runtime, bundle: &Bundle) -> Result<Self, ModelError> {
        let manifest = bundle.manifest();
        let has_map = manifest.files.contains_key(RETRIEVAL_MAP);
        let map = has_map.then(|| RetrievalMap::load(runtime, &bundle.path(RETRIEVAL_MAP), manifest)).transpose()?;
        let mut model = Self {
            map,
            tokenizer: Tokenizer::open(&bundle.path(TOKENIZER), manifest, bundle.generation())?,
            embed: Embed::load(runtime, &bundle.path(&bundle.variant().embed_tokens), manifest)?,
            decoder: Decoder::load(runtime, &bundle.path(&bundle.variant().decoder), manifest)?,
            vision: Vision::load(runtime, &bundle.path(VISION_ENCODER), manifest, bundle.preprocessor())?,
            bundle: bundle.clone(),
        };
        model.trial()?;
        Ok(model)
    }

    /// A graph may leave its sizes open and only show them when it runs; better now than in the first conversation.
    fn trial(&mut self) -> Result<(), ModelError> {
        let start = self.bundle.generation().bos_token_id.unwrap_or(0);
        let rows = self.embed(&[start])?;
        let mut cache = self.new_cache();
        self.forward(&rows, &mut cache)?;
        self.forward(&rows, &mut cache)?;
        self.decoder.try_batch(&rows);
        let (width, height) = (self.preprocessor().width(), self.preprocessor().height());
        let grey = Pixels::new(width, height, vec![0.1; 3 * width as usize * height as usize]);
        match self.vision.run(grey.as_slice()) {
            Ok(encodings) => match (&self.map, encodings.first()) {
                (Some(map), Some(encoding)) => map.check(encoding),
                _ => Ok(()),
            },
            // A flat picture may well have no direction; others will.
            Err(ModelError::Degenerate { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn pass(&self, embeds: &Embeds, cache: &mut Cache, keep: Keep) -> Result<Forward, ModelError> {
        self.decoder.run(embeds, cache.state::<Past>()?, keep)
    }
}

impl Model for OnnxModel {
    fn manifest(&self) -> &Manifest {
        self.bundle.manifest()
    }

    fn generation(&self) -> &GenerationConfig {
        self.bundle.generation()
    }

    fn preprocessor(&self) -> &Preprocessor {
        self.bundle.preprocessor()
    }

    fn fingerprint(&self) -> [u8; 32] {
        self.bundle.fingerprint()
    }

    fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, ModelError> {
        Ok(self.tokenizer.encode(text, special)?)
    }

    fn decode(&self, ids: &[u32], special: bool) -> Result<String, ModelError> {
        Ok(self.tokenizer.decode(ids, special)?)
    }

    fn embed(&self, ids: &[u32]) -> Result<Embeds, ModelError> {
        self.embed.run(ids)
    }

    fn new_cache(&self) -> Cache {
        Cache::new(self.decoder.past())
    }

    fn forward(&self, embeds: &Embeds, cache: &mut Cache) -> Result<Forward, ModelError> {
        self.pass(embeds, cache, Keep::Last)
    }

    fn forward_all(&self, embeds: &Embeds, cache: &mut Cache) -> Result<Forward, ModelError> {
        self.pass(embeds, cache, Keep::All)
    }

    fn encode_images(&self, images: &[Pixels]) -> Result<Vec<ImageEncoding>, ModelError> {
        self.vision.run(images)
    }

    fn batch_stats(&self) -> Option<BatchStats> {
        self.decoder.batch_stats()
    }

    fn encoder_fingerprint(&self) -> Option<[u8; 32]> {
        self.bundle.encoder_fingerprint()
    }

    fn map_features(&self, features: &[f32]) -> Result<Vec<f32>, ModelError> {
        match &self.map {
            Some(map) => map.run(features),
            None => Err(ModelError::NoRetrievalMap { model: self.bundle.name().to_owned() }),
        }
    }
}
