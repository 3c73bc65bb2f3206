//! `fromagerie generate`.

use std::io::{self, BufRead};

use clap::Args;
use fromagerie::dialogue::{ChatOptions, Event, Finish, Sampling, generate::generate};
use fromagerie::{LoadedModel, load_bundle};
use serde::Deserialize;
use serde_json::json;

use super::output::UsageError;
use super::parts::{PartLine, parts};
use super::{ModelArgs, Outcome, Output};

/// Continues prompts with the model alone: no database, no chat template, one BOS at the start.
///
/// Reads prompts as JSON lines and prints, for each, the tokens, the text, P([RET]) by step and the retrieval embedding
/// at each [RET]:
///
///   {"parts":[{"text":"..."},{"image":"FILE"}],"max_tokens":32,"ret_scale":1.0,"ret_bias":0.0,"force_ret":false,"seed":0}
#[derive(Args)]
pub(super) struct Generate {
    #[command(flatten)]
    model: ModelArgs,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PromptLine {
    parts: Vec<PartLine>,
    max_tokens: Option<usize>,
    ret_scale: Option<f32>,
    ret_bias: Option<f32>,
    #[serde(default)]
    force_ret: bool,
    #[serde(default)]
    temperature: f32,
    top_p: Option<f32>,
    #[serde(default)]
    seed: u64,
    ret_max: Option<usize>,
    #[serde(default)]
    without_cache: bool,
}

impl Generate {
    /// Prints JSON in any case: its output is for programs.
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let Some(directory) = self.model.bundle.clone() else {
            return Err(UsageError("generate needs --bundle DIR".to_owned()).into());
        };
        let loaded = load_bundle(&directory, &self.model.options(false))?;
        let output = Output::new(true);
        let (mut prompts, mut failed) = (0, 0);
        for line in io::stdin().lock().lines() {
            let line = line?;
            if line.trim().is_empty() {
                continue;
            }
            prompts += 1;
            if let Err(error) = one(&loaded, &line, &output) {
                failed += 1;
                output.error(&error);
            }
        }
        output.value(&json!({"event": "summary", "prompts": prompts, "failed": failed}))?;
        Ok(if failed > 0 { Outcome::Partly } else { Outcome::Done })
    }
}

fn one(loaded: &LoadedModel, line: &str, output: &Output) -> anyhow::Result<()> {
    let prompt: PromptLine =
        serde_json::from_str(line).map_err(|e| UsageError(format!("this prompt cannot be read: {e}")))?;
    let options = ChatOptions {
        tokens_max: prompt.max_tokens,
        ret_bias: prompt.ret_bias,
        ret_scale: prompt.ret_scale,
        rets_max: prompt.ret_max,
        force_ret: prompt.force_ret,
        sampling: Sampling {
            temperature: prompt.temperature,
            top_p: prompt.top_p.unwrap_or(1.0),
            seed: prompt.seed,
            ..Sampling::default()
        },
        without_cache: prompt.without_cache,
        ..ChatOptions::default()
    };
    let (mut tokens, mut text, mut probabilities, mut rets) = (Vec::new(), String::new(), Vec::new(), Vec::new());
    let begun = std::time::Instant::now();
    let ret_id = loaded.model.manifest().retrieval.ret_token_ids[0];
    let reply = generate(loaded, &parts(&prompt.parts)?, &options, &mut |event| {
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
    output.value(&json!({
        "tokens": tokens, "text": text, "ret_probability": probabilities, "ret": rets,
        "finish": if reply.finish == Finish::Stop { "stop" } else { "max_tokens" },
        "prompt_tokens": reply.prompt_tokens, "milliseconds": begun.elapsed().as_secs_f64() * 1e3,
    }))?;
    Ok(())
}
