//! The fake's tokenizer: a token for each word with the space before it, for each newline, and for anything else.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::space::hash;
use crate::error::ModelError;
use crate::tokenizer::TokenizerError;

/// `<|endoftext|>`: starts a text, and ends one.
pub const BOS: u32 = 0;
/// `<|im_start|>`.
pub const IM_START: u32 = 1;
/// `<|im_end|>`: ends a turn.
pub const IM_END: u32 = 2;
/// A newline.
pub const NEWLINE: u32 = 3;
/// `[RET]`.
pub const RET: u32 = 4;
/// Ids end before this one.
pub const VOCAB_SIZE: u32 = 8192;

const SPECIAL: [(&str, u32); 4] =
    [("<|endoftext|>", BOS), ("<|im_start|>", IM_START), ("<|im_end|>", IM_END), ("[RET]", RET)];
const FIRST_WORD: u32 = 16;

/// Every word met so far. An id follows from the word's hash, so it is the same in every run unless two collide.
#[derive(Default)]
pub struct Words {
    known: Mutex<HashMap<u32, String>>,
}

impl Words {
    /// Token ids of `text`; special tokens are only known with `special`.
    pub fn encode(&self, text: &str, special: bool) -> Vec<u32> {
        let mut ids = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let marked = SPECIAL.iter().find(|(name, _)| special && rest.starts_with(name));
            let (id, len) = match marked {
                Some((name, id)) => (*id, name.len()),
                None => {
                    let len = piece(rest);
                    (if &rest[..len] == "\n" { NEWLINE } else { self.id(&rest[..len]) }, len)
                }
            };
            ids.push(id);
            rest = &rest[len..];
        }
        ids
    }

    /// The text of `ids`.
    ///
    /// # Errors
    /// [`TokenizerError::Decode`] for an id that no text has had yet.
    pub fn decode(&self, ids: &[u32], special: bool) -> Result<String, ModelError> {
        let mut text = String::new();
        for id in ids {
            match SPECIAL.iter().find(|(_, known)| known == id) {
                Some((name, _)) if special => text.push_str(name),
                Some(_) => {}
                None => text.push_str(&self.piece(*id).ok_or_else(|| unknown(*id))?),
            }
        }
        Ok(text)
    }

    /// The piece of text behind an id.
    pub fn piece(&self, id: u32) -> Option<String> {
        if id == NEWLINE { Some("\n".into()) } else { self.known.lock().get(&id).cloned() }
    }

    fn id(&self, piece: &str) -> u32 {
        let mut known = self.known.lock();
        let words = u64::from(VOCAB_SIZE - FIRST_WORD);
        let start = hash(piece.as_bytes()) % words;
        // A test that uses up the whole vocabulary gets the first id again, which is a good deal better than a hang.
        let place = (0..words).map(|step| FIRST_WORD + ((start + step) % words) as u32);
        let free = place.into_iter().find(|id| known.get(id).is_none_or(|other| other == piece));
        let id = free.unwrap_or(FIRST_WORD + start as u32);
        known.entry(id).or_insert_with(|| piece.into());
        id
    }
}

fn unknown(id: u32) -> ModelError {
    TokenizerError::Decode { why: format!("no text has had the token {id}") }.into()
}

/// Length of the first piece: a word with one space before it, or any one character.
fn piece(text: &str) -> usize {
    let space = usize::from(text.starts_with(' '));
    let word = text[space..].find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len() - space);
    if word > 0 { space + word } else { text.chars().next().map_or(0, char::len_utf8) }
}
