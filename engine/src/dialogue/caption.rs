//! What a picture shows, in words.
//!
//! A bundle says how its maps were taught to speak of a picture: as the answer to a question in a chat, or, as in FROMAGe,
//! by going on after the picture alone.

use fromagerie_models::Captioning;

use super::generate::{EmptyShelf, PromptPart, check_length, prompt_atoms};
use super::live::LiveContext;
use super::reply::{Event, Finish, Prompt, Speaker};
use super::template::{Piece, pieces_of};
use super::{ChatOptions, Part, Sampling};
use crate::error::Result;
use crate::model::LoadedModel;

/// What a caller may ask of a caption; what is left unset is the bundle's default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CaptionOptions {
    /// Asked of the picture instead of the bundle's own question, and answered freely.
    pub question: Option<String>,
    /// Most tokens; at most 4096.
    pub tokens_max: Option<usize>,
    /// How tokens are chosen; by default the likeliest.
    pub sampling: Sampling,
}

/// Words about one picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caption {
    /// Without the opening that the bundle puts before it, and without blanks around it.
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
    /// Tokens chosen.
    pub tokens: usize,
}

/// Says what the picture in `bytes` shows.
///
/// # Errors
/// [`Error::OnlySearches`](crate::Error), [`Error::OutOfRange`](crate::Error), [`Error::PromptTooLong`](crate::Error),
/// [`Error::Cancelled`](crate::Error) within one token; whatever the picture and the model say.
pub fn caption(
    loaded: &LoadedModel,
    bytes: Vec<u8>,
    options: &CaptionOptions,
    cancelled: &dyn Fn() -> bool,
) -> Result<Caption> {
    loaded.check_speaks("a caption")?;
    let model = loaded.model.as_ref();
    let chat = ChatOptions {
        tokens_max: options.tokens_max,
        rets_max: Some(0),
        sampling: options.sampling,
        ..ChatOptions::default()
    };
    let reply_options = chat.resolve(model.generation())?;
    let asked = match &options.question {
        Some(question) => Some(Captioning { question: question.clone(), opening: String::new() }),
        None => model.manifest().dialogue.caption.clone(),
    };
    let (atoms, mut images, mut live) = match asked {
        Some(asked) => {
            let images = vec![loaded.encoder.encode_bytes(&bytes)?];
            let template = &loaded.template;
            let atoms = [
                template.preamble.clone(),
                template.user_turn(model, &[Piece::Image(0), Piece::Text(&asked.question)])?,
                template.assistant_prefix.clone(),
                pieces_of(model, &[Piece::Text(&asked.opening)])?,
            ];
            (atoms.concat(), images, loaded.opened_context()?)
        }
        None => {
            let (atoms, images) = prompt_atoms(loaded, &[PromptPart::Said(Part::Image(bytes))])?;
            (atoms, images, LiveContext::new(model))
        }
    };
    check_length(loaded, atoms.len(), reply_options.tokens_max)?;
    let mut text = String::new();
    let speaker = Speaker {
        model,
        live: &mut live,
        images: &mut images,
        retriever: &mut EmptyShelf,
        cancelled,
        on_event: &mut |event| {
            if let Event::Token { text: words, .. } = event {
                text.push_str(words);
            }
            Ok(())
        },
    };
    let reply = speaker.reply(Prompt { atoms, ..Prompt::default() }, &reply_options)?;
    Ok(Caption { text: text.trim().to_owned(), finish: reply.finish, tokens: reply.reply_tokens })
}
