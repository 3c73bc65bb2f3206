//! How the fake reads rows: what they are, whose turn it is, and what the conversation asks for.

use super::space::{self, DIM};
use super::words::{BOS, IM_END, IM_START, NEWLINE, RET, Words};

/// Width of an input embedding: what it is, which token, and a vector.
pub(super) const HIDDEN: usize = 2 + DIM;
/// What a turn counts in a query, against the turn after it.
const FADE: f32 = 0.25;

/// One row of input embeddings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Row {
    Token(u32),
    Visual([f32; DIM]),
}

impl Row {
    /// Ids are far below 2^24, so a float holds them exactly.
    pub(super) fn write(self, rows: &mut Vec<f32>) {
        let (kind, id, vector) = match self {
            Self::Token(id) => (0.0, id as f32, [0.0; DIM]),
            Self::Visual(vector) => (1.0, 0.0, vector),
        };
        rows.extend([kind, id]);
        rows.extend(vector);
    }

    /// `row` is [`HIDDEN`] wide.
    pub(super) fn read(row: &[f32]) -> Self {
        if row[0] > 0.5 { Self::Visual(std::array::from_fn(|at| row[2 + at])) } else { Self::Token(row[1] as u32) }
    }

    fn is(self, id: u32) -> bool {
        self == Self::Token(id)
    }
}

/// What the user said last, and how many tokens the reply has so far.
///
/// With a chat template the last turn opened is the assistant's and the one before is the question. In plain text the
/// last line is the reply and the one before is the question.
pub(super) fn turn(rows: &[Row], words: &Words) -> (String, usize) {
    let chat = rows.iter().any(|row| row.is(IM_START));
    let (opens, closes) = if chat { (IM_START, IM_END) } else { (NEWLINE, NEWLINE) };
    let last = rows.iter().rposition(|row| row.is(opens)).map_or(0, |at| at + 1);
    // `assistant`, newline
    let header = if chat { 2 } else { 0 };
    let said = rows[last..].iter().filter(|row| matches!(row, Row::Token(_))).count().saturating_sub(header);
    let before = &rows[..last.saturating_sub(1)];
    let question = before.iter().rposition(|row| row.is(opens)).map_or(0, |at| at + 1 + header);
    let asked = before.get(question..).unwrap_or_default();
    let end = asked.iter().position(|row| row.is(closes)).unwrap_or(asked.len());
    (text(&asked[..end], words), said)
}

fn text(rows: &[Row], words: &Words) -> String {
    let piece = |row: &Row| match row {
        Row::Token(id) if *id >= NEWLINE && *id != RET => words.piece(*id),
        _ => None,
    };
    rows.iter().filter_map(piece).collect()
}

/// The query at the last of `rows`: what each turn is about, fading by turns. A turn ends at `<|im_end|>`, or at a
/// newline where no chat template is in use; the assistant's own words say nothing about what the user wants.
pub(super) fn query(rows: &[Row], words: &Words) -> [f32; DIM] {
    let chat = rows.iter().any(|row| row.is(IM_START));
    let ends = if chat { IM_END } else { NEWLINE };
    let mut sum = [0.0; DIM];
    let mut asked_in_turn = false;
    let mut assistant = false;
    for (at, row) in rows.iter().enumerate() {
        let vector = match row {
            Row::Token(id) if *id == ends => {
                asked_in_turn = false;
                None
            }
            Row::Token(IM_START) => {
                assistant = is_assistant(rows.get(at + 1), words);
                None
            }
            Row::Token(BOS | RET | NEWLINE) => None,
            Row::Token(_) if assistant => None,
            Row::Token(id) => words.piece(*id).and_then(|piece| space::of_word(&piece.trim().to_lowercase())),
            Row::Visual(vector) => Some(vector.map(|value| value / super::VISUAL_TOKENS as f32)),
        };
        if let Some(vector) = vector {
            if !asked_in_turn {
                // Something new is asked for: what was asked before fades.
                sum = sum.map(|value| value * FADE);
                asked_in_turn = true;
            }
            sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value);
        }
    }
    // A conversation about nothing still has a direction, so that a query exists.
    if sum.iter().all(|value| *value == 0.0) {
        sum[DIM - 1] = 1.0;
    }
    sum
}

fn is_assistant(row: Option<&Row>, words: &Words) -> bool {
    matches!(row, Some(Row::Token(id)) if words.piece(*id).as_deref() == Some("assistant"))
}
