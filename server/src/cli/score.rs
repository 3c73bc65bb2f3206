//! `fromagerie score`.

use clap::Args;
use fromagerie::LoadedModel;
use fromagerie::dialogue::score::{Score as Scored, score};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Outcome;
use super::lines::Lines;
use super::output::UsageError;
use super::parts::{PromptLine, prompt_parts};

/// Rank candidate answers by their likelihood after a prompt, without a database.
///
/// Reads each prompt once. Takes JSON lines and prints, for each, the log-likelihoods and the candidates' numbers, the likeliest first:
///
///   {"parts":[{"image":"FILE"},{"text":"..."}],"candidates":[[{"text":"yes"}],[{"text":"no"}]]}
///
/// "mean" is per token of prompt and candidate together, which is the reference's score.
#[derive(Args)]
pub(super) struct Score {
    #[command(flatten)]
    lines: Lines,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    parts: Vec<PromptLine>,
    #[serde(default)]
    candidates: Vec<Vec<PromptLine>>,
}

impl Score {
    /// Prints JSON in any case: its output is for programs.
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        self.lines.answer("score", one)
    }
}

fn one(loaded: &LoadedModel, line: &str) -> anyhow::Result<Value> {
    let line: Line = serde_json::from_str(line).map_err(|e| UsageError(format!("this line cannot be read: {e}")))?;
    let candidates = line.candidates.iter().map(|parts| prompt_parts(parts)).collect::<anyhow::Result<Vec<_>>>()?;
    let scores = score(loaded, &prompt_parts(&line.parts)?, &candidates, &|| false)?;
    let value = |score: &Scored, mean: f64| json!({"log_likelihood": score.log_likelihood, "tokens": score.tokens, "mean": mean});
    let of_candidate = |score: &Scored| value(score, scores.prompt.mean_with(score));
    Ok(json!({
        "prompt": value(&scores.prompt, scores.prompt.mean_with(&Scored::default())),
        "candidates": scores.candidates.iter().map(of_candidate).collect::<Vec<_>>(),
        "ranking": scores.ranking(),
    }))
}
