//! Text to token ids and back. The only room that names the `tokenizers` crate.
//!
//! Two readings of one `tokenizer.json` are kept. One knows the special tokens in a text, for templates. The other takes
//! the same characters for ordinary text, for whatever a user wrote: nobody can end a turn, or make the model retrieve,
//! by typing `<|im_end|>` or `[RET]`. [`TokenStream`] shows a reply while it grows, in whole characters.

pub(crate) mod error;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use serde_json::Value;

use crate::bundle::files;
use crate::bundle::generation::GenerationConfig;
use crate::bundle::manifest::Manifest;
use crate::error::ModelError;

pub use error::TokenizerError;

/// Longer tokenizers are not read: the longest known has 35 MB.
const BYTES_MAX: u64 = 128 << 20;

/// A bundle's tokenizer.
pub struct Tokenizer {
    /// Knows special tokens in a text.
    template: tokenizers::Tokenizer,
    /// Takes them for ordinary text.
    plain: tokenizers::Tokenizer,
    /// Ids that plain text never becomes.
    reserved: BTreeSet<u32>,
}

impl Tokenizer {
    /// Reads `tokenizer.json`, and checks that the tokens which the configurations speak of are in it.
    ///
    /// # Errors
    /// [`TokenizerError`], naming the file.
    pub fn open(path: &Path, manifest: &Manifest, generation: &GenerationConfig) -> Result<Self, TokenizerError> {
        let json = files::read_bounded(path, BYTES_MAX)?;
        let parse = |why: String| TokenizerError::Parse { path: path.into(), why };
        let template = guarded(|| tokenizers::Tokenizer::from_bytes(&json)).map_err(parse)?;
        let ret = &manifest.retrieval.ret_token_ids;
        let mut described: Value = serde_json::from_slice(&json).map_err(|why| parse(why.to_string()))?;
        make_special(&mut described, ret);
        let mut plain = guarded(|| tokenizers::Tokenizer::from_bytes(described.to_string())).map_err(parse)?;
        plain.set_encode_special_tokens(true);

        let special = plain.get_added_tokens_decoder().into_iter().filter(|(_, token)| token.special).map(|(id, _)| id);
        let ends = generation.eos_token_id.iter().chain(&generation.bos_token_id);
        let reserved = special.chain(ret.iter().chain(ends).copied()).collect();
        let tokenizer = Self { template, plain, reserved };
        tokenizer.check(path, manifest, generation)?;
        Ok(tokenizer)
    }

    fn check(&self, path: &Path, manifest: &Manifest, generation: &GenerationConfig) -> Result<(), TokenizerError> {
        let (fromagerie, generating) = (crate::bundle::MANIFEST, crate::bundle::GENERATION);
        let ret = manifest.retrieval.ret_token_ids.iter().map(|id| (*id, "[RET]", fromagerie));
        let bos = generation.bos_token_id.iter().map(|id| (*id, "beginning-of-text", generating));
        let eos = generation.eos_token_id.iter().map(|id| (*id, "end-of-text", generating));
        for (id, role, said_in) in ret.chain(bos).chain(eos) {
            if self.template.id_to_token(id).is_none() {
                return Err(TokenizerError::NoToken { path: path.into(), id, role, said_in });
            }
        }
        let vocab_size = manifest.language_model.vocab_size;
        match self.template.get_vocab(true).into_values().max() {
            Some(id) if id >= vocab_size => Err(TokenizerError::TooManyTokens { path: path.into(), id, vocab_size }),
            _ => Ok(()),
        }
    }

    /// Token ids of `text`, without a BOS. See [`crate::Model::encode`] for `special`.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`].
    pub fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, TokenizerError> {
        let tokenizer = if special { &self.template } else { &self.plain };
        let encoding = guarded(|| tokenizer.encode_fast(text, false)).map_err(|why| TokenizerError::Encode { why })?;
        let mut ids = encoding.get_ids().to_vec();
        if !special {
            // A vocabulary may hold a special token as an ordinary word too; then that word has no tokens here.
            ids.retain(|id| !self.reserved.contains(id));
        }
        Ok(ids)
    }

    /// The text of `ids`; special tokens appear in it with `special`, and are left out without.
    ///
    /// # Errors
    /// [`TokenizerError::Decode`].
    pub fn decode(&self, ids: &[u32], special: bool) -> Result<String, TokenizerError> {
        // In the plain reading [RET] is a special token, which is what it is in a reply.
        let decode = || if special { self.template.decode(ids, false) } else { self.plain.decode(ids, true) };
        guarded(decode).map_err(|why| TokenizerError::Decode { why })
    }
}

/// What other people's code makes of a file that it did not write, with a panic as an error.
fn guarded<T, E: Display>(read: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(read) => read.map_err(|why| why.to_string()),
        Err(_) => Err("its reader gave up".to_owned()),
    }
}

/// Marks these added tokens as special: `[RET]` is often added as an ordinary one, and would then be read in any text.
fn make_special(tokenizer: &mut Value, ids: &[u32]) {
    let added = tokenizer.get_mut("added_tokens").and_then(Value::as_array_mut);
    for token in added.into_iter().flatten() {
        let listed = token["id"].as_u64().is_some_and(|id| ids.iter().any(|ret| u64::from(*ret) == id));
        if listed {
            token["special"] = Value::Bool(true);
        }
    }
}

/// Turns tokens into text as they come, in whole characters.
///
/// A character may be spread over several tokens; it appears with its last one. Special tokens never appear.
pub struct TokenStream<'a> {
    decode: Box<Decode<'a>>,
    /// The last tokens, from a place where a character begins.
    ids: Vec<u32>,
    /// How many of `ids` came before the last text given out; a token's text may depend on the one before.
    context: usize,
    /// Bytes of the text of `ids` that were given out.
    shown: usize,
}

type Decode<'a> = dyn Fn(&[u32]) -> Result<String, ModelError> + Send + 'a;

/// Half a character is at most three bytes, and shows as at most this many U+FFFD.
const HELD_BACK_MAX: usize = 3;

impl<'a> TokenStream<'a> {
    /// A stream that decodes with `decode`, which leaves special tokens out.
    pub fn new(decode: impl Fn(&[u32]) -> Result<String, ModelError> + Send + 'a) -> Self {
        Self { decode: Box::new(decode), ids: Vec::new(), context: 0, shown: 0 }
    }

    /// Takes the next token, and returns the text that is complete with it.
    ///
    /// # Errors
    /// When the token cannot be decoded.
    pub fn push(&mut self, id: u32) -> Result<Option<String>, ModelError> {
        self.ids.push(id);
        let text = (self.decode)(&self.ids)?;
        let settled = settled(&text);
        let new = text.get(self.shown..settled).filter(|new| !new.is_empty()).map(str::to_owned);
        self.shown = self.shown.max(settled);
        if new.is_some() && settled == text.len() {
            self.ids.drain(..self.context);
            self.context = self.ids.len();
            self.shown = (self.decode)(&self.ids)?.len();
        }
        Ok(new)
    }

    /// What is left when no token will follow: half a character shows as U+FFFD.
    ///
    /// # Errors
    /// When the tokens cannot be decoded.
    pub fn finish(self) -> Result<Option<String>, ModelError> {
        let text = (self.decode)(&self.ids)?;
        Ok(text.get(self.shown..).filter(|rest| !rest.is_empty()).map(str::to_owned))
    }
}

/// Where the text ends that no further token can change.
fn settled(text: &str) -> usize {
    let unsettled = text.chars().rev().take(HELD_BACK_MAX).take_while(|c| *c == char::REPLACEMENT_CHARACTER).count();
    text.len() - unsettled * char::REPLACEMENT_CHARACTER.len_utf8()
}

#[cfg(test)]
mod tests;
