//! `fromagerie chat`.

use std::io::{self, BufRead, IsTerminal};
use std::path::Path;

use clap::Args;
use fromagerie::Database;
use fromagerie::dialogue::{ChatOptions, ChatSummary, Event, Finish, Part};
use serde::Deserialize;
use serde_json::json;

use super::output::UsageError;
use super::parts::{PartLine, parts, read_image};
use super::search::{SpreadArgs, value as hit_value};
use super::{DatabaseArgs, Outcome, Output};

const HELP: &str = "\
Say something; an empty line ends the conversation.
  /image FILE   puts a picture into your next turn
  /force        shows a picture after your next turn, whatever the model thinks
";

/// Talk, and be shown pictures.
///
/// With --json, each line of standard input is a turn: {"text": "..."} or {"parts": [{"text": "..."}, {"image": "FILE"}]},
/// with `force_ret` if a picture must be shown. Words, pictures and the summary of each turn come out as JSON lines.
#[derive(Args)]
pub(super) struct Chat {
    #[command(flatten)]
    database: DatabaseArgs,
    /// The collection that pictures come from.
    #[arg(long)]
    collection: String,
    /// Go on with this session, or begin it under this name; without it, a session of its own that is then forgotten.
    #[arg(long, value_name = "NAME")]
    session: Option<String>,
    #[command(flatten)]
    how: How,
}

/// Options of a reply.
#[derive(Args, Clone)]
struct How {
    /// Most tokens of a reply.
    #[arg(long)]
    max_tokens: Option<usize>,
    /// Added to the log-odds of [RET]: above 0, pictures come more easily.
    #[arg(long, allow_negative_numbers = true)]
    ret_bias: Option<f32>,
    /// Multiplies the logit of [RET], for parity with the reference; prefer --ret-bias.
    #[arg(long)]
    ret_scale: Option<f32>,
    /// Pictures shown together.
    #[arg(long, default_value_t = 1)]
    images: usize,
    #[command(flatten)]
    spread: SpreadArgs,
}

/// A turn as a program sends it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TurnLine {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    parts: Vec<PartLine>,
    #[serde(default)]
    force_ret: bool,
}

impl Chat {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let db = self.database.open(false)?;
        db.open_collection(&self.collection)?;
        db.model()?.warm_up()?;
        let (name, keep) = match &self.session {
            Some(name) => (name.clone(), true),
            None => (db.create_session(&self.collection, None)?.name, false),
        };
        if keep && !db.sessions()?.contains(&name) {
            db.create_session(&self.collection, Some(&name))?;
        }
        let of = db.session(&name)?.collection;
        if db.open_collection(&of)?.name() != db.open_collection(&self.collection)?.name() {
            let asked = &self.collection;
            let problem =
                format!("session {name:?} is over the collection {of:?}, not {asked:?}: name that, or another session");
            return Err(UsageError(problem).into());
        }
        let outcome = if output.is_json() { self.program(&db, &name, output) } else { self.person(&db, &name, output) };
        if !keep {
            db.delete_session(&name)?;
        }
        outcome
    }

    fn person(&self, db: &Database, session: &str, output: &Output) -> anyhow::Result<Outcome> {
        if io::stdin().is_terminal() {
            output.text(HELP)?;
        }
        let (mut parts, mut force, mut outcome) = (Vec::new(), false, Outcome::Done);
        loop {
            output.text("\nyou> ")?;
            let mut line = String::new();
            if io::stdin().lock().read_line(&mut line)? == 0 || (line.trim().is_empty() && parts.is_empty()) {
                return Ok(outcome);
            }
            match line.trim().split_once(' ').unwrap_or((line.trim(), "")) {
                ("/image", file) => match read_image(Path::new(file.trim())) {
                    Ok(part) => parts.push(part),
                    Err(error) => output.error(&error),
                },
                ("/force", _) => force = true,
                _ => {
                    if !line.trim().is_empty() {
                        parts.push(Part::Text(line.trim().to_owned()));
                    }
                    // A turn that cannot be answered is no reason to end the conversation.
                    if let Err(error) = self.turn(db, session, std::mem::take(&mut parts), force, output) {
                        output.error(&error);
                        outcome = Outcome::Partly;
                    }
                    force = false;
                }
            }
        }
    }

    fn program(&self, db: &Database, session: &str, output: &Output) -> anyhow::Result<Outcome> {
        let (mut turns, mut failed) = (0, 0);
        for line in io::stdin().lock().lines() {
            let line = line?;
            if line.trim().is_empty() {
                continue;
            }
            turns += 1;
            if let Err(error) = read_turn(&line).and_then(|(parts, force)| self.turn(db, session, parts, force, output))
            {
                failed += 1;
                output.error(&error);
            }
        }
        output.value(&json!({"event": "summary", "session": session, "turns": turns, "failed": failed}))?;
        Ok(if failed > 0 { Outcome::Partly } else { Outcome::Done })
    }

    fn turn(&self, db: &Database, session: &str, parts: Vec<Part>, force: bool, output: &Output) -> anyhow::Result<()> {
        let options = ChatOptions {
            tokens_max: self.how.max_tokens,
            ret_bias: self.how.ret_bias,
            ret_scale: self.how.ret_scale,
            images_per_ret: Some(self.how.images),
            force_ret: force,
            spread: self.how.spread.spread(),
            ..ChatOptions::default()
        };
        let mut told = Ok(());
        let summary = db.chat(session, parts, &options, &|| false, &mut |event| {
            if told.is_ok() {
                told = tell(&event, output);
            }
            Ok(())
        })?;
        told?;
        Ok(finish(&summary, output)?)
    }
}

fn tell(event: &Event<'_>, output: &Output) -> io::Result<()> {
    match event {
        Event::Token { text, ret_probability, .. } => {
            output.text(text)?;
            output.value(&json!({"event": "text", "text": text, "ret_probability": ret_probability}))
        }
        Event::Images { ret_probability, retrieved, .. } => {
            for hit in retrieved.iter().map(|r| &r.hit) {
                output.text(&format!("\n  [{}  {:+.3}  {}]\n", hit.key, hit.score, hit.document.caption))?;
            }
            if retrieved.is_empty() {
                output.text("\n  [every picture was shown already]\n")?;
            }
            let hits: Vec<_> = retrieved.iter().map(|r| hit_value(&r.hit)).collect();
            output.value(&json!({"event": "images", "hits": hits, "ret_probability": ret_probability}))
        }
    }
}

fn finish(summary: &ChatSummary, output: &Output) -> io::Result<()> {
    let reply = &summary.reply;
    output.text("\n")?;
    output.value(&json!({
        "event": "turn", "text": summary.text, "shown": summary.shown,
        "finish": if reply.finish == Finish::Stop { "stop" } else { "max_tokens" },
        "prompt_tokens": reply.prompt_tokens, "prompt_tokens_run": reply.prompt_tokens_run,
        "reply_tokens": reply.reply_tokens, "ret_probability_max": reply.ret_probability_max,
        "forgotten_turns": summary.forgotten_turns, "first_token_ms": summary.first_token_ms,
        "first_image_ms": summary.first_image_ms, "total_ms": summary.total_ms,
    }))
}

fn read_turn(line: &str) -> anyhow::Result<(Vec<Part>, bool)> {
    let turn: TurnLine =
        serde_json::from_str(line).map_err(|e| UsageError(format!("this turn cannot be read: {e}")))?;
    let mut parts = parts(&turn.parts)?;
    parts.extend(turn.text.map(Part::Text));
    Ok((parts, turn.force_ret))
}
