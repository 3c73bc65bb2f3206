//! A context that was read: its atoms, and the keys and values that reading them cost.
//!
//! Reading another context runs only what comes after the prefix that the two share.

use std::sync::Arc;

use fromagerie_models::{Cache, Embeds, Forward, Model};

use super::context::{Atom, common_prefix};
use crate::encoder::EncodedImage;
use crate::error::{Error, Result};

/// Keys and values of a context, and the context they belong to.
#[derive(Debug)]
pub struct LiveContext {
    atoms: Vec<Atom>,
    cache: Cache,
}

impl LiveContext {
    /// Nothing read yet.
    pub fn new(model: &dyn Model) -> LiveContext {
        LiveContext { atoms: Vec::new(), cache: model.new_cache() }
    }

    /// The same, for another conversation that begins alike.
    pub fn duplicate(&self) -> Result<LiveContext> {
        Ok(LiveContext { atoms: self.atoms.clone(), cache: self.cache.try_clone()? })
    }

    /// Heap bytes of the keys and values.
    pub fn bytes(&self) -> usize {
        self.cache.bytes()
    }

    /// Positions held.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.atoms.len()
    }

    /// Makes the context read `atoms`, running only what it has not read; the last position is always run.
    pub(crate) fn read(
        &mut self,
        model: &dyn Model,
        images: &[Arc<EncodedImage>],
        atoms: &[Atom],
        reuse: bool,
    ) -> Result<(Forward, usize)> {
        let shared = if reuse { common_prefix(&self.atoms, atoms).min(atoms.len().saturating_sub(1)) } else { 0 };
        self.cache.truncate(shared)?;
        self.atoms.truncate(shared);
        let forward = model.forward(&embed(model, images, &atoms[shared..])?, &mut self.cache)?;
        self.atoms.extend_from_slice(&atoms[shared..]);
        Ok((forward, atoms.len() - shared))
    }
}

impl LiveContext {
    /// Reads `atoms` after what was read, with the logits of each of them.
    pub(crate) fn append(
        &mut self,
        model: &dyn Model,
        images: &[Arc<EncodedImage>],
        atoms: &[Atom],
    ) -> Result<Forward> {
        let forward = model.forward_all(&embed(model, images, atoms)?, &mut self.cache)?;
        self.atoms.extend_from_slice(atoms);
        Ok(forward)
    }

    /// Says that nothing is read for now, so that no other conversation waits for this one.
    pub(crate) fn rest(&mut self) -> Result<()> {
        Ok(self.cache.rest()?)
    }

    /// Forgets all but the first `len` positions.
    pub(crate) fn truncate(&mut self, len: usize) -> Result<()> {
        self.cache.truncate(len)?;
        self.atoms.truncate(len);
        Ok(())
    }
}

/// Reads `prompt` into `live` without saying anything, so that what begins alike later need not be run again.
pub fn prefill(model: &dyn Model, live: &mut LiveContext, prompt: &[Atom]) -> Result<()> {
    if !prompt.is_empty() {
        live.read(model, &[], prompt, true)?;
    }
    Ok(())
}

/// The retrieval embedding at the last position of `prompt`: `[dim]`, unit length.
pub fn embedding_at_end(
    model: &dyn Model,
    live: &mut LiveContext,
    images: &[Arc<EncodedImage>],
    prompt: &[Atom],
) -> Result<Vec<f32>> {
    let (forward, _) = live.read(model, images, prompt, true)?;
    last_retrieval(model, &forward)
}

/// `[atoms, hidden]`: what the model reads at each position.
fn embed(model: &dyn Model, images: &[Arc<EncodedImage>], atoms: &[Atom]) -> Result<Embeds> {
    let hidden = model.manifest().hidden_size();
    let mut embeds = Embeds::empty(hidden);
    let mut tokens = Vec::new();
    for (at, &atom) in atoms.iter().enumerate() {
        match atom {
            Atom::Token(id) => {
                tokens.push(id);
                // Tokens are looked up in runs.
                if !matches!(atoms.get(at + 1), Some(Atom::Token(_))) {
                    embeds.extend(&model.embed(&tokens)?)?;
                    tokens.clear();
                }
            }
            Atom::Visual { image, slot } => {
                let start = usize::from(slot) * hidden;
                let row = images
                    .get(image as usize)
                    .and_then(|i| i.encoding.visual_tokens.get(start..start + hidden))
                    .ok_or_else(|| Error::BadSession {
                        name: String::new(),
                        problem: format!("it speaks of picture {image}, which it does not have"),
                    })?;
                embeds.extend_rows(row, hidden)?;
            }
        }
    }
    Ok(embeds)
}

/// The mapped hidden state of the last position read: `[dim]`, unit length.
pub(crate) fn last_retrieval(model: &dyn Model, forward: &Forward) -> Result<Vec<f32>> {
    let dim = model.manifest().dim();
    let positions = forward.retrieval.len() / dim;
    Ok(forward.query(positions.saturating_sub(1), dim)?)
}
