//! Commands that answer JSON lines of standard input with JSON lines, in the same order.

use std::collections::BTreeMap;
use std::io::{self, BufRead};
use std::sync::{Mutex, PoisonError, mpsc};

use clap::Args;
use fromagerie::{LoadedModel, load_bundle};
use serde_json::{Value, json};

use super::output::UsageError;
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
        let Some(directory) = &self.model.bundle else {
            return Err(UsageError(format!("{command} needs --bundle DIR")).into());
        };
        let loaded = load_bundle(directory, &self.model.options(false))?;
        let mut is_broken = false;
        let lines = io::BufReader::new(io::stdin())
            .lines()
            // A line that is no text is one failure; input that cannot be read at all would fail for ever.
            .take_while(move |line| {
                let is_lost = matches!(line, Err(error) if error.kind() != io::ErrorKind::InvalidData);
                !std::mem::replace(&mut is_broken, is_lost)
            })
            .filter(|line| line.as_ref().map_or(true, |line| !line.trim().is_empty()));
        let lines = Mutex::new(lines.enumerate());
        let (send, answers) = mpsc::sync_channel(usize::from(self.parallel));
        let failed = std::thread::scope(|scope| {
            for _ in 0..self.parallel {
                let (send, lines, loaded, one) = (send.clone(), &lines, &loaded, &one);
                scope.spawn(move || {
                    // The lock is given back before the line is answered.
                    let next = || lines.lock().unwrap_or_else(PoisonError::into_inner).next();
                    while let Some((number, line)) = next() {
                        let answer = line.map_err(Into::into).and_then(|line| one(loaded, &line));
                        if send.send((number, answer)).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(send);
            print_in_order(answers)
        })?;
        Ok(if failed > 0 { Outcome::Partly } else { Outcome::Done })
    }
}

/// Prints each answer as soon as all before it are printed, and at last how many there were. Returns how many failed.
fn print_in_order(answers: mpsc::Receiver<(usize, anyhow::Result<Value>)>) -> io::Result<usize> {
    let output = Output::new(true);
    let (mut early, mut printed, mut failed) = (BTreeMap::new(), 0, 0);
    for (number, answer) in answers {
        early.insert(number, answer);
        while let Some(answer) = early.remove(&printed) {
            printed += 1;
            match answer {
                Ok(value) => output.value(&value)?,
                Err(error) => {
                    failed += 1;
                    output.error(&error);
                }
            }
        }
    }
    output.value(&json!({"event": "summary", "prompts": printed, "failed": failed}))?;
    Ok(failed)
}
