//! How turns are written for one model: its chat template, as tokens.

use fromagerie_models::Model;

use super::context::{Atom, visual};
use crate::error::Result;

/// A bundle's chat template. All its texts are parsed for special tokens; what people write never is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Template {
    /// BOS and the system turn.
    pub preamble: Vec<Atom>,
    /// Before what the user says.
    pub user_prefix: Vec<Atom>,
    /// After it.
    pub user_suffix: Vec<Atom>,
    /// Before what the model says.
    pub assistant_prefix: Vec<Atom>,
    /// After it.
    pub assistant_suffix: Vec<Atom>,
}

/// What a turn consists of once its pictures have numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece<'a> {
    /// Words.
    Text(&'a str),
    /// The conversation's picture of this number.
    Image(u32),
}

impl Template {
    /// The template of `model`'s bundle.
    pub fn of(model: &dyn Model) -> Result<Template> {
        let dialogue = &model.manifest().dialogue;
        let special = |text: &str| -> Result<Vec<Atom>> { tokens(model, text, true) };
        let mut preamble: Vec<Atom> = model.generation().bos_token_id.into_iter().map(Atom::Token).collect();
        // A preamble that opens with the BOS token (as ChatML's does) must not get two.
        let written = special(&dialogue.preamble)?;
        let double = !written.is_empty() && written.first() == preamble.first();
        preamble.extend(&written[usize::from(double)..]);
        Ok(Template {
            preamble,
            user_prefix: special(&dialogue.user[0])?,
            user_suffix: special(&dialogue.user[1])?,
            assistant_prefix: special(&dialogue.assistant[0])?,
            assistant_suffix: special(&dialogue.assistant[1])?,
        })
    }

    /// The atoms of a user's turn.
    pub fn user_turn(&self, model: &dyn Model, pieces: &[Piece<'_>]) -> Result<Vec<Atom>> {
        let mut atoms = self.user_prefix.clone();
        atoms.extend(pieces_of(model, pieces)?);
        atoms.extend(&self.user_suffix);
        Ok(atoms)
    }

    /// The atoms of a reply that was said before.
    pub fn assistant_turn(&self, said: &[Atom]) -> Vec<Atom> {
        [&self.assistant_prefix, said, &self.assistant_suffix].concat()
    }
}

/// Words and pictures as atoms, with no template around them.
pub fn pieces_of(model: &dyn Model, pieces: &[Piece<'_>]) -> Result<Vec<Atom>> {
    let mut atoms = Vec::new();
    for piece in pieces {
        match *piece {
            Piece::Text(text) => atoms.extend(tokens(model, text, false)?),
            Piece::Image(number) => atoms.extend(visual(number, model.manifest().vision.num_visual_tokens as usize)),
        }
    }
    Ok(atoms)
}

fn tokens(model: &dyn Model, text: &str, special: bool) -> Result<Vec<Atom>> {
    Ok(model.encode(text, special)?.into_iter().map(Atom::Token).collect())
}
