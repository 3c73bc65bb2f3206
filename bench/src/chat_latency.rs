//! What a turn of a chat costs: with keys and values kept, and the reference's way, where the whole sequence is run
//! again for each token. Same bundle, same process, same turns; the contenders take turns, and the ratios are of
//! medians.
//!
//! The turns are those of a short conversation about pictures of plain colours, so that nothing but the bundle and
//! ONNX Runtime is needed.

#![allow(clippy::print_stdout)]

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use fromagerie::dialogue::{ChatOptions, ChatSummary, Part};
use fromagerie::{Database, Item, Options};
use serde_json::{Value, json};

/// Measures the latency of chat turns, with and without a cache.
#[derive(Parser)]
struct Arguments {
    /// The bundle.
    #[arg(long, env = "FROMAGERIE_BUNDLE")]
    bundle: PathBuf,
    /// Rounds, each of one conversation either way.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// One round, to see that it runs.
    #[arg(long)]
    once: bool,
    /// Where the figures go, as JSON.
    #[arg(long)]
    out: Option<PathBuf>,
}

const TURNS: [&str; 5] = [
    "Show me a picture of a dog.",
    "Show me another.",
    "What do dogs eat?",
    "Can you show me a red apple?",
    "Another one like that, but green.",
];

/// Milliseconds of one turn.
struct Measured {
    turn: usize,
    first_token: f32,
    first_image: Option<f32>,
    total: f32,
    tokens: usize,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir()?;
    let db = Database::open_with(folder.path(), Options { bundle: Some(arguments.bundle), ..Options::default() })?;
    db.model()?.warm_up()?;
    let collection = db.collection("colours")?;
    collection.insert_many((0..64).map(|n| Item::image(format!("{n}"), bmp(n))).collect(), None)?;

    let rounds = if arguments.once { 1 } else { arguments.rounds };
    let (mut cached, mut uncached) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        cached.extend(conversation(&db, false)?);
        uncached.extend(conversation(&db, true)?);
    }
    let figures = compare(&cached, &uncached, rounds);
    println!("{figures:#}");
    if let Some(out) = arguments.out {
        std::fs::write(&out, format!("{figures:#}\n")).with_context(|| out.display().to_string())?;
    }
    Ok(())
}

fn conversation(db: &Database, without_cache: bool) -> anyhow::Result<Vec<Measured>> {
    let session = db.create_session("colours", None)?.name;
    let options = ChatOptions { tokens_max: Some(12), without_cache, ..ChatOptions::default() };
    let mut measured = Vec::new();
    for (turn, words) in TURNS.into_iter().enumerate() {
        let summary = db.chat(&session, vec![Part::Text(words.to_owned())], &options, &|| false, &mut |_| Ok(()))?;
        measured.push(of_turn(turn, &summary));
    }
    db.delete_session(&session)?;
    Ok(measured)
}

fn of_turn(turn: usize, summary: &ChatSummary) -> Measured {
    Measured {
        turn,
        first_token: summary.first_token_ms,
        first_image: summary.first_image_ms,
        total: summary.total_ms,
        tokens: summary.reply.reply_tokens,
    }
}

fn compare(cached: &[Measured], uncached: &[Measured], rounds: usize) -> Value {
    let row = |name: &str, pick: &dyn Fn(&Measured) -> Option<f32>| {
        let with = median(cached.iter().filter_map(pick).collect());
        let without = median(uncached.iter().filter_map(pick).collect());
        json!({"what": name, "with_cache_ms": with, "without_cache_ms": without, "ratio": without / with})
    };
    let per_turn = (0..TURNS.len()).map(|turn| {
        let of = |all: &[Measured]| {
            let mine = || all.iter().filter(|m| m.turn == turn);
            json!({
                "total_ms": median(mine().map(|m| m.total).collect()),
                "reply_tokens": mine().next().map(|m| m.tokens),
            })
        };
        json!({"said": TURNS[turn], "with_cache": of(cached), "without_cache": of(uncached)})
    });
    json!({
        "bench": "chat_latency",
        "rounds": rounds,
        "medians": [
            row("first token", &|m| Some(m.first_token)),
            row("first picture", &|m| m.first_image),
            row("whole turn", &|m| Some(m.total)),
        ],
        "turns": per_turn.collect::<Vec<_>>(),
    })
}

fn median(mut values: Vec<f32>) -> f32 {
    values.sort_by(f32::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f32::NAN)
}

/// A picture of one colour, 8 by 8, as Windows writes it.
fn bmp(n: u8) -> Vec<u8> {
    let colour = [n.wrapping_mul(97), n.wrapping_mul(57), n.wrapping_mul(29)];
    let pixels = colour.repeat(64);
    let mut bytes = b"BM".to_vec();
    for field in [54 + pixels.len() as u32, 0, 54, 40, 8, 8, 1 | 24 << 16, 0, pixels.len() as u32, 2835, 2835, 0, 0] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend(pixels);
    bytes
}
