//! The loaded model with all that the engine does with it: pictures, words and conversations to unit vectors.

use std::sync::Arc;

use fromagerie_models::{ImageLimits, Model, QueryContext};
use parking_lot::Mutex;

use crate::dialogue::{
    Part, Role, Turn,
    context::Atom,
    live::{LiveContext, embedding_at_end, prefill},
    template::{Piece, Template, pieces_of},
};
use crate::encoder::{EncodedImage, Encoder};
use crate::error::{Error, Result};
use crate::vector::unit;

/// A model and what goes with it.
pub struct LoadedModel {
    /// The model itself.
    pub model: Arc<dyn Model>,
    /// Its picture half.
    pub encoder: Encoder,
    /// The device that really runs it.
    pub device: String,
    /// The version of ONNX Runtime.
    pub runtime_version: String,
    /// Its chat template.
    pub template: Template,
    /// The preamble, read once; conversations start from a copy.
    preamble: Mutex<Option<LiveContext>>,
}

/// Finds the picture behind a key of the collection that is searched.
pub(crate) type ImageByKey<'a> = dyn Fn(&str) -> Result<Arc<EncodedImage>> + 'a;

impl LoadedModel {
    /// Makes `model` ready for use.
    pub fn new(model: Arc<dyn Model>, device: &str, runtime_version: &str) -> Result<LoadedModel> {
        let encoder = Encoder::new(model.clone(), ImageLimits::default());
        let template = Template::of(model.as_ref())?;
        let (device, runtime_version) = (device.to_owned(), runtime_version.to_owned());
        Ok(LoadedModel { model, encoder, device, runtime_version, template, preamble: Mutex::new(None) })
    }

    /// Refuses what only a model that speaks can do; `operation` is who asks.
    pub(crate) fn check_speaks(&self, operation: &'static str) -> Result<()> {
        let manifest = self.model.manifest();
        if manifest.speaks() {
            return Ok(());
        }
        let (name, architecture) = (manifest.name.clone(), manifest.architecture.clone());
        Err(Error::OnlySearches { operation, name, architecture })
    }

    /// Reads the preamble now, so that the first conversation need not wait for it.
    pub fn warm_up(&self) -> Result<()> {
        if !self.model.manifest().speaks() {
            return Ok(());
        }
        self.opened_context().map(drop)
    }

    /// A context that has read the preamble already.
    pub(crate) fn opened_context(&self) -> Result<LiveContext> {
        let mut preamble = self.preamble.lock();
        if let Some(live) = preamble.as_ref() {
            return live.duplicate();
        }
        let mut live = LiveContext::new(self.model.as_ref());
        prefill(self.model.as_ref(), &mut live, &self.template.preamble)?;
        let copy = live.duplicate()?;
        *preamble = Some(live);
        Ok(copy)
    }

    /// The retrieval embedding of words: `[dim]`, unit length. BOS, the bundle's sentence around the words, `[RET]`.
    pub fn embed_text(&self, text: &str) -> Result<Vec<f32>> {
        if text.trim().is_empty() {
            return Err(Error::EmptyQuery { problem: "the text has no words" });
        }
        let written = self.model.manifest().retrieval.text_template.replace("{}", text.trim());
        let mut prompt: Vec<Atom> = self.model.generation().bos_token_id.into_iter().map(Atom::Token).collect();
        prompt.extend(pieces_of(self.model.as_ref(), &[Piece::Text(&written)])?);
        self.embed_prompt(prompt, &[], LiveContext::new(self.model.as_ref()))
    }

    /// The retrieval embedding of a picture: `[dim]`, unit length.
    pub fn embed_image(&self, bytes: &[u8]) -> Result<Vec<f32>> {
        Ok(self.encoder.encode_bytes(bytes)?.encoding.retrieval.clone())
    }

    /// The `[RET]` state of a reply to `turns`: `[dim]`, unit length.
    pub(crate) fn embed_dialogue(&self, turns: &[Turn], by_key: &ImageByKey<'_>) -> Result<Vec<f32>> {
        self.check_speaks("a dialogue")?;
        if turns.last().is_none_or(|t| t.role != Role::User) {
            return Err(Error::EmptyQuery { problem: "the last turn of a dialogue must be the user's" });
        }
        let mut images = Vec::new();
        let mut prompt = self.template.preamble.clone();
        let read = match self.model.manifest().dialogue.query_context {
            QueryContext::Conversation => turns,
            QueryContext::Exchange => &turns[turns.len() - 1..],
        };
        for turn in read {
            let atoms = self.turn_atoms(turn, &mut images, by_key)?;
            prompt.extend(atoms);
        }
        prompt.extend(&self.template.assistant_prefix);
        let mut query = self.embed_prompt(prompt, &images, self.opened_context()?)?;
        let extra = self.query_extra(&turns[turns.len() - 1..], &images);
        if !extra.is_empty() {
            query.iter_mut().zip(&extra).for_each(|(q, e)| *q += e);
            query = unit(query)?;
        }
        Ok(query)
    }

    /// Encodes a turn's pictures, which get the next numbers of `images`, and writes the turn as atoms.
    pub(crate) fn turn_atoms(
        &self,
        turn: &Turn,
        images: &mut Vec<Arc<EncodedImage>>,
        by_key: &ImageByKey<'_>,
    ) -> Result<Vec<Atom>> {
        let pieces = self.pieces(&turn.parts, images, by_key)?;
        match turn.role {
            Role::User => self.template.user_turn(self.model.as_ref(), &pieces),
            Role::Assistant => Ok(self.template.assistant_turn(&pieces_of(self.model.as_ref(), &pieces)?)),
        }
    }

    /// The turn's parts with numbered pictures.
    pub(crate) fn pieces<'p>(
        &self,
        parts: &'p [Part],
        images: &mut Vec<Arc<EncodedImage>>,
        by_key: &ImageByKey<'_>,
    ) -> Result<Vec<Piece<'p>>> {
        let mut pieces = Vec::with_capacity(parts.len());
        for part in parts {
            let image = match part {
                Part::Text(text) => {
                    pieces.push(Piece::Text(text));
                    continue;
                }
                Part::Image(bytes) => self.encoder.encode_bytes(bytes)?,
                Part::ImageKey(key) => by_key(key)?,
            };
            pieces.push(Piece::Image(images.len() as u32));
            images.push(image);
        }
        Ok(pieces)
    }

    /// What the pictures of the user's turn add to its queries; empty when the bundle gives them no weight.
    pub(crate) fn extra_of(&self, images: &[Arc<EncodedImage>]) -> Vec<f32> {
        let weight = self.model.manifest().dialogue.image_context_weight;
        if weight == 0.0 || images.is_empty() {
            return Vec::new();
        }
        let mut sum = vec![0.0; self.model.manifest().dim()];
        for image in images {
            sum.iter_mut().zip(&image.encoding.retrieval).for_each(|(s, v)| *s += weight * v);
        }
        sum
    }

    fn query_extra(&self, last: &[Turn], images: &[Arc<EncodedImage>]) -> Vec<f32> {
        let own = last.iter().flat_map(|t| &t.parts).filter(|p| !matches!(p, Part::Text(_))).count();
        self.extra_of(&images[images.len() - own..])
    }

    fn embed_prompt(
        &self,
        mut prompt: Vec<Atom>,
        images: &[Arc<EncodedImage>],
        mut live: LiveContext,
    ) -> Result<Vec<f32>> {
        let manifest = self.model.manifest();
        prompt.extend(manifest.retrieval.ret_token_ids.iter().copied().map(Atom::Token));
        let limit = manifest.language_model.max_position_embeddings as usize;
        if prompt.len() > limit {
            return Err(Error::PromptTooLong { tokens: prompt.len(), limit });
        }
        embedding_at_end(self.model.as_ref(), &mut live, images, &prompt)
    }
}
