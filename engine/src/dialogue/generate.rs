//! A prompt of words and pictures read or continued with no database at all: for parity with the reference, and for
//! programs that want the `[RET]` embeddings themselves.

use std::sync::Arc;

use fromagerie_models::BosPosition;

use super::context::Atom;
use super::live::LiveContext;
use super::reply::{Event, Prompt, Reply, Retrieved, Retriever, Speaker};
use super::template::pieces_of;
use super::{ChatOptions, Part};
use crate::encoder::EncodedImage;
use crate::error::{Error, Result};
use crate::model::LoadedModel;

/// A piece of a prompt that a program writes.
#[derive(Clone, Debug, PartialEq)]
pub enum PromptPart {
    /// Words or a picture.
    Said(Part),
    /// `[RET]` itself, which no text of [`PromptPart::Said`] becomes.
    Ret,
}

/// What one pass over a prompt says.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// `[vocab_size]`, of the last position.
    pub logits: Vec<f32>,
    /// The position of each `[RET]` in the prompt, and its unit embedding `[dim]`.
    pub rets: Vec<(usize, Vec<f32>)>,
    /// Positions of the prompt.
    pub positions: usize,
}

/// Reads `parts` in one pass, without continuing them.
///
/// # Errors
/// As [`generate`].
pub fn read(loaded: &LoadedModel, parts: &[PromptPart]) -> Result<Reading> {
    let model = loaded.model.as_ref();
    let (atoms, images) = prompt_atoms(loaded, parts)?;
    check_length(loaded, atoms.len(), 0)?;
    let (forward, _) = LiveContext::new(model).read(model, &images, &atoms, true)?;
    let is_ret = |atom: &Atom| matches!(atom, Atom::Token(id) if model.manifest().is_ret(*id));
    let at = atoms.iter().enumerate().filter(|(_, atom)| is_ret(atom)).map(|(at, _)| at);
    let rets = at.map(|at| Ok((at, forward.query(at, model.manifest().dim())?))).collect::<Result<_>>()?;
    Ok(Reading { logits: forward.logits, rets, positions: atoms.len() })
}

/// Continues `parts` after one BOS, without any chat template. `[RET]` shows nothing here: its embedding is in
/// [`Event::Images`], and generation goes on after it.
///
/// # Errors
/// [`Error::PromptTooLong`]; a picture of a collection, as there is none; whatever the model says.
pub fn generate(
    loaded: &LoadedModel,
    parts: &[PromptPart],
    options: &ChatOptions,
    cancelled: &dyn Fn() -> bool,
    on_event: &mut dyn FnMut(Event<'_>) -> Result<()>,
) -> Result<Reply> {
    loaded.check_speaks("generating text")?;
    let model = loaded.model.as_ref();
    let options = options.resolve(model.generation())?;
    let (atoms, mut images) = prompt_atoms(loaded, parts)?;
    check_length(loaded, atoms.len(), options.tokens_max)?;
    let prompt = Prompt { atoms, ..Prompt::default() };
    let mut live = LiveContext::new(model);
    let speaker =
        Speaker { model, live: &mut live, images: &mut images, retriever: &mut EmptyShelf, cancelled, on_event };
    speaker.reply(prompt, &options)
}

/// The prompt as the model reads it, with its BOS where the bundle wants it, and its pictures by number.
pub(super) fn prompt_atoms(loaded: &LoadedModel, parts: &[PromptPart]) -> Result<(Vec<Atom>, Vec<Arc<EncodedImage>>)> {
    let generation = loaded.model.generation();
    let (mut atoms, mut images) = (Vec::new(), Vec::new());
    let mut bos = generation.bos_token_id.map(Atom::Token);
    if generation.bos_position == BosPosition::Prompt {
        atoms.extend(bos.take());
    }
    for part in parts {
        if matches!(part, PromptPart::Said(Part::Text(_)) | PromptPart::Ret) {
            atoms.extend(bos.take());
        }
        atoms.extend(part_atoms(loaded, part, &mut images)?);
    }
    if atoms.is_empty() {
        return Err(Error::EmptyQuery { problem: "the prompt has neither words nor pictures" });
    }
    Ok((atoms, images))
}

/// One part as the model reads it, without a BOS.
pub(super) fn part_atoms(
    loaded: &LoadedModel,
    part: &PromptPart,
    images: &mut Vec<Arc<EncodedImage>>,
) -> Result<Vec<Atom>> {
    let model = loaded.model.as_ref();
    match part {
        PromptPart::Ret => Ok(model.manifest().retrieval.ret_token_ids.iter().copied().map(Atom::Token).collect()),
        PromptPart::Said(said) => {
            let no_shelf = |key: &str| Err(Error::UnknownKey { collection: String::new(), key: key.to_owned() });
            pieces_of(model, &loaded.pieces(std::slice::from_ref(said), images, &no_shelf)?)
        }
    }
}

/// Holds a prompt to the model's window, less what is to be said after it.
pub(super) fn check_length(loaded: &LoadedModel, tokens: usize, after: usize) -> Result<()> {
    let window = loaded.model.manifest().language_model.max_position_embeddings as usize;
    let limit = window.saturating_sub(after);
    if tokens > limit { Err(Error::PromptTooLong { tokens, limit }) } else { Ok(()) }
}

/// A shelf with nothing on it.
pub(super) struct EmptyShelf;

impl Retriever for EmptyShelf {
    fn retrieve(&mut self, _query: &[f32], _limit: usize) -> Result<Vec<Retrieved>> {
        Ok(Vec::new())
    }
}
