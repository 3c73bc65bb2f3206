//! A model for tests: deterministic, tiny, without files, and rather literal.
//!
//! [`FakeModel`] implements [`Model`] by arithmetic that a test can foresee, so that whatever drives a
//! model (turns, caches, exclusion, budgets) can be tested as a table:
//!
//! - **Words** become tokens by hashing ([`words`]); text survives encoding and decoding unchanged.
//! - **Vectors** have [`space::DIM`] values ([`space`]). A picture's vector is its mean colour; the name of a colour
//!   points the same way, so "red" is near a red picture and "dark blue" nearer to blue than to red. Other words point
//!   into dimensions that no picture uses.
//! - **A query** at a position sums what the conversation said up to there: words and pictures of the current turn count
//!   fully, those of each earlier turn a quarter as much, so "show me another" still means what was asked before.
//! - **Replies** follow a [`script`]: by default a user who says "show", "picture", "image", "photo" or "another" gets
//!   `Here it is:[RET]`, and anyone else `You said: ...`; [`FakeModel::on`] adds rules.
//! - **Work is counted** ([`FakeModel::counts`]), so that a test can see what a cache saved.

mod read;
pub mod script;
pub mod space;
pub mod words;

use std::sync::atomic::{AtomicU64, Ordering};

use crate::bundle::fingerprint;
use crate::bundle::generation::GenerationConfig;
use crate::bundle::manifest::{
    Captioning, Dialogue, FORMAT, LanguageModel, Manifest, QueryContext, Retrieval, VERSION, Vision, bare_text,
};
use crate::cache::{Cache, CacheState};
use crate::embeds::Embeds;
use crate::error::ModelError;
use crate::image::{Pixels, Preprocessor};
use crate::model::{Forward, ImageEncoding, Model};
use read::{HIDDEN, Row};
use script::Script;
use words::{BOS, IM_END, RET, VOCAB_SIZE, Words};

/// Positions the model reads at most, unless a test says otherwise.
pub const POSITIONS: u32 = 2048;
/// Rows a picture takes in the prompt.
pub const VISUAL_TOKENS: usize = 2;

/// Logit of the token that the script says next.
const NEXT: f32 = 4.0;
/// Logit of `[RET]` when it is not next: negative, so that scaling it up makes it less likely, as in real models.
const RET_UNASKED: f32 = -2.0;
const OTHER: f32 = -8.0;

/// The deterministic model. See the [module](self) for what it does.
pub struct FakeModel {
    manifest: Manifest,
    generation: GenerationConfig,
    preprocessor: Preprocessor,
    words: Words,
    script: Script,
    counters: Counters,
}

/// Work done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Calls of `forward` and `forward_all`.
    pub forward_calls: u64,
    /// Rows those calls read.
    pub tokens_fed: u64,
    /// Pictures encoded.
    pub images_encoded: u64,
    /// Calls of `encode_images`.
    pub image_batches: u64,
}

#[derive(Default)]
struct Counters {
    forward_calls: AtomicU64,
    tokens_fed: AtomicU64,
    images_encoded: AtomicU64,
    image_batches: AtomicU64,
}

impl Default for FakeModel {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeModel {
    /// The model with its default script and a chat template.
    pub fn new() -> Self {
        let turn = |who: &str| [format!("<|im_start|>{who}\n"), "<|im_end|>\n".to_owned()];
        let dialogue = Dialogue {
            preamble: String::new(),
            user: turn("user"),
            assistant: turn("assistant"),
            image_context_weight: 0.0,
            query_context: QueryContext::Conversation,
            caption: Some(Captioning { question: "What is this?".into(), opening: String::new() }),
        };
        Self {
            manifest: Manifest {
                format: FORMAT.into(),
                version: VERSION,
                name: "fake".into(),
                architecture: "fromage".into(),
                language_model: LanguageModel {
                    hidden_size: HIDDEN as u32,
                    num_hidden_layers: 1,
                    num_key_value_heads: 1,
                    head_dim: HIDDEN as u32,
                    vocab_size: VOCAB_SIZE,
                    max_position_embeddings: POSITIONS,
                },
                vision: Vision { num_visual_tokens: VISUAL_TOKENS as u32, feature_dim: 3, encoder_sha256: None },
                retrieval: Retrieval {
                    dim: space::DIM as u32,
                    ret_token_ids: vec![RET],
                    text_template: bare_text(),
                    logit_scale: None,
                },
                variants: Default::default(),
                default_variant: None,
                dialogue,
                files: Default::default(),
            },
            generation: GenerationConfig {
                bos_token_id: Some(BOS),
                bos_position: Default::default(),
                eos_token_id: vec![IM_END, BOS],
                max_new_tokens: 32,
                ret_bias: 0.0,
                ret_scale: 1.0,
                stop_at_newline: false,
                suppress_tokens: vec![],
                pad_token_id: None,
                transformers_version: None,
                from_model_config: None,
            },
            preprocessor: Preprocessor::bytes(8),
            words: Words::default(),
            script: Script::default(),
            counters: Counters::default(),
        }
    }

    /// Replies with `reply` when the user says the word `trigger`; `[RET]` in the reply is the token. The rule given
    /// last is tried first. An empty trigger fits everything.
    #[must_use]
    pub fn on(mut self, trigger: &str, reply: &str) -> Self {
        self.script.add(trigger, reply);
        self
    }

    /// Replaces the chat template; [`Dialogue::default`] is plain text, where a newline ends a turn.
    #[must_use]
    pub fn with_dialogue(mut self, dialogue: Dialogue) -> Self {
        self.manifest.dialogue = dialogue;
        self
    }

    /// Replaces how the model likes to generate.
    #[must_use]
    pub fn with_generation(mut self, generation: GenerationConfig) -> Self {
        self.generation = generation;
        self
    }

    /// Bounds the positions it reads.
    #[must_use]
    pub fn with_positions(mut self, positions: u32) -> Self {
        self.manifest.language_model.max_position_embeddings = positions;
        self
    }

    /// Gives the model a retrieval space of its own: another `architecture` is another fingerprint.
    #[must_use]
    pub fn with_space(mut self, name: &str) -> Self {
        self.manifest.architecture = name.into();
        self
    }

    /// Work done so far.
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            forward_calls: read(&self.counters.forward_calls),
            tokens_fed: read(&self.counters.tokens_fed),
            images_encoded: read(&self.counters.images_encoded),
            image_batches: read(&self.counters.image_batches),
        }
    }

    fn pass(&self, embeds: &Embeds, cache: &mut Cache, all: bool) -> Result<Forward, ModelError> {
        let state = cache.state::<Rows>()?;
        if embeds.is_empty() {
            return Err(ModelError::Empty { what: "forward" });
        }
        if embeds.width() != HIDDEN {
            return Err(ModelError::WrongWidth { expected: HIDDEN, found: embeds.width() });
        }
        let (cached, added) = (state.0.len(), embeds.len());
        let limit = self.manifest.language_model.max_position_embeddings as usize;
        if cached + added > limit {
            return Err(ModelError::ContextFull { cached, added, limit });
        }
        self.counters.forward_calls.fetch_add(1, Ordering::Relaxed);
        self.counters.tokens_fed.fetch_add(added as u64, Ordering::Relaxed);
        state.0.extend(embeds.data().chunks_exact(HIDDEN).map(Row::read));
        let mut forward = Forward { logits: Vec::new(), retrieval: Vec::with_capacity(added * space::DIM) };
        for end in cached + 1..=cached + added {
            let read = &state.0[..end];
            forward.retrieval.extend(read::query(read, &self.words));
            if all || end == cached + added {
                forward.logits.extend(self.logits(read));
            }
        }
        Ok(forward)
    }

    fn logits(&self, read: &[Row]) -> Vec<f32> {
        let mut logits = vec![OTHER; VOCAB_SIZE as usize];
        logits[RET as usize] = RET_UNASKED;
        let (question, said) = read::turn(read, &self.words);
        let reply = self.words.encode(&self.script.reply(&question), true);
        let next = reply.get(said).copied().unwrap_or(IM_END);
        logits[next as usize] = NEXT;
        logits
    }
}

impl Model for FakeModel {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn generation(&self) -> &GenerationConfig {
        &self.generation
    }

    fn preprocessor(&self) -> &Preprocessor {
        &self.preprocessor
    }

    fn fingerprint(&self) -> [u8; 32] {
        fingerprint::of(&self.manifest)
    }

    fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, ModelError> {
        Ok(self.words.encode(text, special))
    }

    fn decode(&self, ids: &[u32], special: bool) -> Result<String, ModelError> {
        self.words.decode(ids, special)
    }

    fn embed(&self, ids: &[u32]) -> Result<Embeds, ModelError> {
        let mut rows = Vec::with_capacity(ids.len() * HIDDEN);
        for id in ids {
            if *id >= VOCAB_SIZE {
                return Err(ModelError::TokenOutOfRange { id: *id, vocab_size: VOCAB_SIZE });
            }
            Row::Token(*id).write(&mut rows);
        }
        let mut embeds = Embeds::empty(HIDDEN);
        embeds.extend_rows(&rows, HIDDEN)?;
        Ok(embeds)
    }

    fn new_cache(&self) -> Cache {
        Cache::new(Rows(Vec::new()))
    }

    fn forward(&self, embeds: &Embeds, cache: &mut Cache) -> Result<Forward, ModelError> {
        self.pass(embeds, cache, false)
    }

    fn forward_all(&self, embeds: &Embeds, cache: &mut Cache) -> Result<Forward, ModelError> {
        self.pass(embeds, cache, true)
    }

    fn encode_images(&self, images: &[Pixels]) -> Result<Vec<ImageEncoding>, ModelError> {
        self.counters.image_batches.fetch_add(1, Ordering::Relaxed);
        self.counters.images_encoded.fetch_add(images.len() as u64, Ordering::Relaxed);
        images.iter().map(|pixels| self.encode_image(pixels)).collect()
    }

    fn encoder_fingerprint(&self) -> Option<[u8; 32]> {
        Some([3; 32])
    }

    fn map_features(&self, features: &[f32]) -> Result<Vec<f32>, ModelError> {
        if !features.len().is_multiple_of(3) {
            return Err(ModelError::WrongWidth { expected: 3, found: features.len() });
        }
        Ok(features.chunks_exact(3).flat_map(|rgb| space::of_colour([rgb[0], rgb[1], rgb[2]])).collect())
    }
}

impl FakeModel {
    fn encode_image(&self, pixels: &Pixels) -> Result<ImageEncoding, ModelError> {
        let (width, height) = (self.preprocessor.width(), self.preprocessor.height());
        let (found_width, found_height) = (pixels.width(), pixels.height());
        if (width, height) != (found_width, found_height) {
            return Err(ModelError::WrongPixels { width, height, found_width, found_height });
        }
        let plane = width as usize * height as usize;
        let mean: Vec<f32> =
            pixels.data().chunks_exact(plane).map(|plane| plane.iter().sum::<f32>() / plane.len() as f32).collect();
        let colour = [mean[0], mean[1], mean[2]];
        let retrieval = space::of_colour(colour);
        let mut visual_tokens = Vec::new();
        for _ in 0..VISUAL_TOKENS {
            Row::Visual(retrieval).write(&mut visual_tokens);
        }
        Ok(ImageEncoding { retrieval: retrieval.to_vec(), visual_tokens, features: mean })
    }
}

/// What the fake's cache holds: the rows themselves.
struct Rows(Vec<Row>);

impl CacheState for Rows {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn truncate(&mut self, len: usize) -> Result<(), ModelError> {
        self.0.truncate(len);
        Ok(())
    }

    fn try_clone(&self) -> Result<Box<dyn CacheState>, ModelError> {
        Ok(Box::new(Rows(self.0.clone())))
    }

    fn bytes(&self) -> usize {
        self.0.len() * HIDDEN * size_of::<f32>()
    }
}

#[cfg(test)]
mod tests;
