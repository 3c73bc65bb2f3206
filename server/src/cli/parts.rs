//! Words and pictures as programs write them on standard input.

use std::path::Path;

use fromagerie::dialogue::Part;
use fromagerie::dialogue::generate::PromptPart;
use serde::Deserialize;

use super::output::UsageError;

/// A part of a prompt: words, or a picture's file.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PartLine {
    /// Words.
    Text(String),
    /// The picture's file.
    Image(String),
}

/// A part of a prompt that a program writes: as [`PartLine`], or `[RET]` itself.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PromptLine {
    /// Words.
    Text(String),
    /// The picture's file.
    Image(String),
    /// `[RET]`.
    Ret,
}

/// Reads the pictures of a prompt that a program writes.
pub(super) fn prompt_parts(lines: &[PromptLine]) -> anyhow::Result<Vec<PromptPart>> {
    let part = |line: &PromptLine| match line {
        PromptLine::Text(text) => Ok(PromptPart::Said(Part::Text(text.clone()))),
        PromptLine::Image(path) => Ok(PromptPart::Said(read_image(Path::new(path))?)),
        PromptLine::Ret => Ok(PromptPart::Ret),
    };
    lines.iter().map(part).collect()
}

/// Reads the pictures of a prompt.
pub(super) fn parts(lines: &[PartLine]) -> anyhow::Result<Vec<Part>> {
    let part = |line: &PartLine| match line {
        PartLine::Text(text) => Ok(Part::Text(text.clone())),
        PartLine::Image(path) => read_image(Path::new(path)),
    };
    lines.iter().map(part).collect()
}

/// The picture at `path` as a part of a turn.
pub(super) fn read_image(path: &Path) -> anyhow::Result<Part> {
    let bytes = std::fs::read(path).map_err(|e| UsageError(format!("{}: {e}", path.display())))?;
    Ok(Part::Image(bytes))
}
