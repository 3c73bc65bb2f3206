//! A prompt of words and pictures continued with no database at all: for parity with the reference, and for programs that
//! want the `[RET]` embeddings themselves.

use super::context::Atom;
use super::live::LiveContext;
use super::reply::{Event, Prompt, Reply, Retrieved, Retriever, Speaker};
use super::template::pieces_of;
use super::{ChatOptions, Part};
use crate::error::{Error, Result};
use crate::model::LoadedModel;

/// Continues `parts` after one BOS, without any chat template. `[RET]` shows nothing here: its embedding is in
/// [`Event::Images`], and generation goes on after it.
///
/// # Errors
/// [`Error::PromptTooLong`]; a picture of a collection, as there is none; whatever the model says.
pub fn generate(
    loaded: &LoadedModel,
    parts: &[Part],
    options: &ChatOptions,
    on_event: &mut dyn FnMut(Event<'_>) -> Result<()>,
) -> Result<Reply> {
    let model = loaded.model.as_ref();
    let options = options.resolve(model.generation())?;
    let mut images = Vec::new();
    let pieces = loaded
        .pieces(parts, &mut images, &|key| Err(Error::UnknownKey { collection: String::new(), key: key.to_owned() }))?;
    let mut atoms: Vec<Atom> = model.generation().bos_token_id.into_iter().map(Atom::Token).collect();
    atoms.extend(pieces_of(model, &pieces)?);
    if atoms.is_empty() {
        return Err(Error::EmptyQuery { problem: "the prompt has neither words nor pictures" });
    }
    let limit = (model.manifest().language_model.max_position_embeddings as usize).saturating_sub(options.tokens_max);
    if atoms.len() > limit {
        return Err(Error::PromptTooLong { tokens: atoms.len(), limit });
    }
    let prompt = Prompt { atoms, ..Prompt::default() };
    let mut live = LiveContext::new(model);
    let speaker = Speaker {
        model,
        live: &mut live,
        images: &mut images,
        retriever: &mut EmptyShelf,
        cancelled: &|| false,
        on_event,
    };
    speaker.reply(prompt, &options)
}

/// A shelf with nothing on it.
struct EmptyShelf;

impl Retriever for EmptyShelf {
    fn retrieve(&mut self, _query: &[f32], _limit: usize) -> Result<Vec<Retrieved>> {
        Ok(Vec::new())
    }
}
