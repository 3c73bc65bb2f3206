//! `fromagerie generate`.

use clap::Args;
use fromagerie::LoadedModel;
use fromagerie::dialogue::generate::{generate, read};
use fromagerie::dialogue::{ChatOptions, Event, Finish, Sampling};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Outcome;
use super::lines::Lines;
use super::output::UsageError;
use super::parts::{PromptLine, prompt_parts};

/// Continue prompts with the model alone, without a database.
///
/// Reads prompts as JSON lines, to which no chat template is added but one BOS, and prints, for each, the tokens, the text, P([RET]) by step and the retrieval embedding
/// at each [RET]:
///
///   {"parts":[{"text":"..."},{"image":"FILE"},"ret"],"max_tokens":32,"ret_scale":1.0,"ret_bias":0.0,"force_ret":false,"seed":0}
///
/// A part "ret" is [RET] itself. With "max_tokens":0 the prompt is only read: the logits after it, and the embedding at
/// each of its [RET], are printed.
#[derive(Args)]
pub(super) struct Generate {
    #[command(flatten)]
    lines: Lines,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    parts: Vec<PromptLine>,
    max_tokens: Option<usize>,
    ret_scale: Option<f32>,
    ret_bias: Option<f32>,
    #[serde(default)]
    force_ret: bool,
    #[serde(default)]
    temperature: f32,
    top_p: Option<f32>,
    repetition_penalty: Option<f32>,
    #[serde(default)]
    seed: u64,
    ret_max: Option<usize>,
    ret_min: Option<usize>,
    #[serde(default)]
    ignore_stops: bool,
    #[serde(default)]
    without_cache: bool,
}

impl Generate {
    /// Prints JSON in any case: its output is for programs.
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        self.lines.answer("generate", one)
    }
}

fn one(loaded: &LoadedModel, line: &str) -> anyhow::Result<Value> {
    let prompt: Line =
        serde_json::from_str(line).map_err(|e| UsageError(format!("this prompt cannot be read: {e}")))?;
    let parts = prompt_parts(&prompt.parts)?;
    let begun = std::time::Instant::now();
    if prompt.max_tokens == Some(0) {
        let reading = read(loaded, &parts)?;
        let rets: Vec<Value> =
            reading.rets.iter().map(|(at, query)| json!({"position": at, "embedding": query})).collect();
        return Ok(json!({
            "logits": reading.logits, "ret": rets, "prompt_tokens": reading.positions,
            "milliseconds": begun.elapsed().as_secs_f64() * 1e3,
        }));
    }
    let options = ChatOptions {
        tokens_max: prompt.max_tokens,
        ret_bias: prompt.ret_bias,
        ret_scale: prompt.ret_scale,
        rets_max: prompt.ret_max,
        rets_min: prompt.ret_min,
        force_ret: prompt.force_ret,
        sampling: Sampling {
            temperature: prompt.temperature,
            top_p: prompt.top_p.unwrap_or(1.0),
            repetition_penalty: prompt.repetition_penalty.unwrap_or(1.0),
            seed: prompt.seed,
        },
        ignore_stops: prompt.ignore_stops,
        without_cache: prompt.without_cache,
        ..ChatOptions::default()
    };
    let (mut tokens, mut text, mut probabilities, mut rets) = (Vec::new(), String::new(), Vec::new(), Vec::new());
    let ret_id = loaded.model.manifest().retrieval.ret_token_ids[0];
    let reply = generate(loaded, &parts, &options, &|| false, &mut |event| {
        match event {
            Event::Token { id, text: words, ret_probability } => {
                tokens.push(id);
                text.push_str(words);
                probabilities.push(ret_probability);
            }
            Event::Images { ret_probability, query, .. } => {
                rets.push(json!({"step": probabilities.len(), "embedding": query}));
                tokens.push(ret_id);
                probabilities.push(ret_probability);
            }
        }
        Ok(())
    })?;
    Ok(json!({
        "tokens": tokens, "text": text, "ret_probability": probabilities, "ret": rets,
        "finish": if reply.finish == Finish::Stop { "stop" } else { "max_tokens" },
        "prompt_tokens": reply.prompt_tokens, "milliseconds": begun.elapsed().as_secs_f64() * 1e3,
    }))
}
