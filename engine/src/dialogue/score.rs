//! How likely the model finds texts: candidate answers ranked after one prompt, whose keys and values they share.
//!
//! The log-likelihood of a token is what the model gave it at the position before. Visual tokens are read and not
//! scored, and the first position of a prompt has nothing before it. FROMAGe's `get_log_lik_scores` of prompt and
//! candidate together is [`Score::mean_with`].

use std::sync::Arc;

use super::context::Atom;
use super::generate::{PromptPart, check_length, part_atoms, prompt_atoms};
use super::live::LiveContext;
use crate::encoder::EncodedImage;
use crate::error::{Error, Result};
use crate::model::LoadedModel;

/// Positions whose logits are held at once.
const CHUNK: usize = 64;

/// The log-likelihood of a row of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Sum of the tokens' natural logarithms of probability; 0 or less.
    pub log_likelihood: f64,
    /// Tokens scored.
    pub tokens: usize,
}

impl Score {
    /// Mean per token of this and `other` together; 0 when nothing was scored.
    pub fn mean_with(&self, other: &Score) -> f64 {
        let tokens = self.tokens + other.tokens;
        if tokens == 0 { 0.0 } else { (self.log_likelihood + other.log_likelihood) / tokens as f64 }
    }
}

/// Scores of a prompt and of what may follow it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    /// The prompt's own.
    pub prompt: Score,
    /// Each candidate's after the prompt, in the order given.
    pub candidates: Vec<Score>,
}

impl Scores {
    /// Numbers of the candidates, the likeliest first.
    pub fn ranking(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.candidates.len()).collect();
        order.sort_by(|a, b| self.candidates[*b].log_likelihood.total_cmp(&self.candidates[*a].log_likelihood));
        order
    }
}

/// Scores `prompt` and each of `candidates` after it. The prompt is run once.
///
/// # Errors
/// [`Error::PromptTooLong`], [`Error::Cancelled`] between candidates; whatever the pictures and the model say.
pub fn score(
    loaded: &LoadedModel,
    prompt: &[PromptPart],
    candidates: &[Vec<PromptPart>],
    cancelled: &dyn Fn() -> bool,
) -> Result<Scores> {
    loaded.check_speaks("a log-likelihood")?;
    let (atoms, mut images) = prompt_atoms(loaded, prompt)?;
    check_length(loaded, atoms.len(), 0)?;
    let mut live = LiveContext::new(loaded.model.as_ref());
    let (prompt, last) = walk(loaded, &mut live, &images, &atoms, None)?;
    let mut scores = Scores { prompt, candidates: Vec::with_capacity(candidates.len()) };
    for candidate in candidates {
        if cancelled() {
            return Err(Error::Cancelled);
        }
        let parts = candidate.iter().map(|part| part_atoms(loaded, part, &mut images)).collect::<Result<Vec<_>>>()?;
        let own = parts.concat();
        check_length(loaded, atoms.len() + own.len(), 0)?;
        live.truncate(atoms.len())?;
        scores.candidates.push(walk(loaded, &mut live, &images, &own, last.as_deref())?.0);
    }
    Ok(scores)
}

/// Reads `atoms` after what `live` holds and scores its tokens; `before`: the logits of the position before.
/// Returns the logits of the last position too.
fn walk(
    loaded: &LoadedModel,
    live: &mut LiveContext,
    images: &[Arc<EncodedImage>],
    atoms: &[Atom],
    before: Option<&[f32]>,
) -> Result<(Score, Option<Vec<f32>>)> {
    let model = loaded.model.as_ref();
    let mut before = before.map(<[f32]>::to_vec);
    let mut score = Score::default();
    for chunk in atoms.chunks(CHUNK) {
        let logits = live.append(model, images, chunk)?.logits;
        let rows: Vec<&[f32]> = logits.chunks_exact(model.manifest().vocab_size()).collect();
        for (at, atom) in chunk.iter().enumerate() {
            let given = if at == 0 { before.as_deref() } else { rows.get(at - 1).copied() };
            if let (Atom::Token(id), Some(given)) = (atom, given) {
                score.log_likelihood += log_probability(given, *id);
                score.tokens += 1;
            }
        }
        before = rows.last().map(|row| row.to_vec());
    }
    Ok((score, before))
}

fn log_probability(logits: &[f32], id: u32) -> f64 {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = logits.iter().map(|logit| f64::from(logit - top).exp()).sum();
    logits.get(id as usize).map_or(f64::NEG_INFINITY, |logit| f64::from(logit - top) - total.ln())
}

#[cfg(test)]
mod tests {
    use fromagerie_models::FakeModel;

    use super::*;
    use crate::dialogue::Part;

    fn text(words: &str) -> PromptPart {
        PromptPart::Said(Part::Text(words.to_owned()))
    }

    #[test]
    fn candidates_after_a_shared_prompt_score_as_one_text() {
        let loaded = LoadedModel::new(Arc::new(FakeModel::new()), "cpu", "none").unwrap();
        let long = "red cat ".repeat(CHUNK);
        for prompt in ["a dog", long.as_str()] {
            let candidates = [vec![text("red cat")], vec![text("blue"), PromptPart::Ret], vec![]];
            let scores = score(&loaded, &[text(prompt)], &candidates, &|| false).unwrap();
            for (candidate, found) in candidates.iter().zip(&scores.candidates) {
                let whole: Vec<PromptPart> = [text(prompt)].iter().chain(candidate).cloned().collect();
                let alone = score(&loaded, &whole, &[], &|| false).unwrap().prompt;
                assert_eq!(alone.tokens, scores.prompt.tokens + found.tokens);
                assert!((alone.mean_with(&Score::default()) - scores.prompt.mean_with(found)).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn a_probability_is_a_share_of_the_whole() {
        let logits = [1.0, 2.0, -3.0, 0.5];
        let sum: f64 = (0..4).map(|id| log_probability(&logits, id).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-12 && log_probability(&logits, 1) > log_probability(&logits, 0));
    }
}
