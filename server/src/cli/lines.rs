//! Commands that answer JSON lines of standard input with JSON lines, in the same order.

use std::io::{self, BufRead};

use anyhow::Context;
use clap::Args;
use fromagerie::LoadedModel;
use serde_json::{Value, json};

use super::in_order::in_order;
use super::{ModelArgs, Outcome, Output};

/// Where the model is, and how many lines are answered at once.
#[derive(Args)]
pub(super) struct Lines {
    #[command(flatten)]
    model: ModelArgs,
    /// Lines that are answered at once; answers come in the order of the lines.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    parallel: u16,
}

impl Lines {
    /// Answers each line with `one`, and counts what failed.
    pub(super) fn answer(
        &self,
        command: &str,
        one: impl Fn(&LoadedModel, &str) -> anyhow::Result<Value> + Sync,
    ) -> anyhow::Result<Outcome> {
        let loaded = self.model.load(command)?;
        let mut is_broken = false;
        let lines = io::BufReader::new(io::stdin())
            .lines()
            // A line that is no text is one failure; input that cannot be read at all would fail for ever.
            .take_while(move |line| {
                let is_lost = matches!(line, Err(error) if error.kind() != io::ErrorKind::InvalidData);
                !std::mem::replace(&mut is_broken, is_lost)
            })
            .zip(1_u64..)
            .filter(|(line, _)| line.as_ref().map_or(true, |line| !line.trim().is_empty()));
        let output = Output::new(true);
        let answered = |(line, number): (io::Result<String>, u64)| {
            let answer = line.map_err(Into::into).and_then(|line| one(&loaded, line.trim_start_matches('\u{feff}')));
            answer.with_context(|| format!("input line {number}"))
        };
        let told = in_order(lines, self.parallel, answered, &output, |value| output.value(&value))?;
        let prompts = told.answered + told.failed;
        output.value(&json!({"event": "summary", "prompts": prompts, "failed": told.failed}))?;
        Ok(told.outcome())
    }
}
