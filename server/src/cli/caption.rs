//! `fromagerie caption`.

use std::path::{Path, PathBuf};

use clap::Args;
use fromagerie::LoadedModel;
use fromagerie::dialogue::caption::{CaptionOptions, caption};
use serde_json::json;

use super::in_order::in_order;
use super::output::UsageError;
use super::{ModelArgs, Outcome, Output};

/// Say what pictures show, in words, without a database.
///
/// Prints a table of files and captions, in the order given. `ingest` takes it, as a source or, under this name, beside a
/// folder's pictures:
///
///   cd photos; fromagerie caption --bundle BUNDLE *.jpg > captions.tsv
#[derive(Args)]
pub(super) struct Caption {
    #[command(flatten)]
    model: ModelArgs,
    /// The pictures' files.
    #[arg(value_name = "PICTURE", required = true)]
    pictures: Vec<PathBuf>,
    /// Asked of each picture instead of the bundle's own question.
    #[arg(long, value_name = "TEXT")]
    question: Option<String>,
    /// Most tokens of a caption; the bundle says how many when not given.
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,
    /// Pictures that are looked at at once; their captions share passes through the model.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    parallel: u16,
}

impl Caption {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let loaded = self.model.load("caption")?;
        let options =
            CaptionOptions { question: self.question, tokens_max: self.max_tokens, ..CaptionOptions::default() };
        output.text("image\tcaption\n")?;
        let one = |path: PathBuf| {
            if !output.is_json() && path.to_string_lossy().contains(['\t', '\n', '\r']) {
                let problem = "a table has no room for a name with tabs or line breaks: use --json";
                return Err(UsageError(format!("{:?}: {problem}", path.display().to_string())).into());
            }
            Ok((caption_of(&loaded, &path, &options)?, path))
        };
        let told = in_order(self.pictures.into_iter(), self.parallel, one, output, |(caption, path)| {
            let file = path.display().to_string();
            output.line(&format!("{file}\t{caption}"), &json!({"file": file, "caption": caption}))
        })?;
        output.value(&json!({"event": "summary", "captions": told.answered, "failed": told.failed}))?;
        Ok(told.outcome())
    }
}

/// The caption of the picture at `path`, in one line.
fn caption_of(loaded: &LoadedModel, path: &Path, options: &CaptionOptions) -> anyhow::Result<String> {
    let bytes = std::fs::read(path).map_err(|e| UsageError(format!("{}: {e}", path.display())))?;
    let found = caption(loaded, bytes, options, &|| false)
        .map_err(|error| anyhow::Error::from(error).context(path.display().to_string()))?;
    Ok(found.text.split_whitespace().collect::<Vec<_>>().join(" "))
}
