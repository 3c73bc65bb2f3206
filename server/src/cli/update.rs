//! `fromagerie update`.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use fromagerie::{Change, Collection, Content};
use indicatif::ProgressBar;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::filter::named;
use super::output::UsageError;
use super::{DatabaseArgs, Outcome, Output};

/// Changes that are made durable together.
const BATCH: usize = 256;

/// Change what is known of items that are there.
///
/// What is not named stays as it is. One item by its key:
///
///   fromagerie update --db DB --collection photos cat.jpg --caption 'our cat' --payload mood=calm --without draft
///
/// or many from JSON lines, where null removes a value of the payload ("image" is a file's path, "vector" a list):
///
///   {"key":"cat.jpg","caption":"our cat","uri":"...","payload":{"mood":"calm","draft":null}}
#[derive(Args)]
pub(super) struct Update {
    #[command(flatten)]
    database: DatabaseArgs,
    /// A collection or an alias.
    #[arg(long)]
    collection: String,
    /// The item's key.
    #[arg(required_unless_present = "input")]
    key: Option<String>,
    #[command(flatten)]
    one: One,
    /// A file of JSON lines; - is standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "caption", "uri", "image", "payload", "without"])]
    input: Option<PathBuf>,
}

/// What changes of the item that is named.
#[derive(Args)]
struct One {
    /// Its caption from now on.
    #[arg(long)]
    caption: Option<String>,
    /// Where it comes from.
    #[arg(long)]
    uri: Option<String>,
    /// Another picture, which the model embeds.
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// A value of the payload: JSON, or else a string; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = named)]
    payload: Vec<(String, Value)>,
    /// A name that the payload shall not have; may be repeated.
    #[arg(long, value_name = "NAME")]
    without: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    key: String,
    caption: Option<String>,
    uri: Option<String>,
    #[serde(default)]
    payload: Map<String, Value>,
    image: Option<PathBuf>,
    vector: Option<Vec<f32>>,
}

impl Update {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let collection = self.database.open(false)?.open_collection(&self.collection)?;
        let bar = super::records::bar(output);
        let mut told = Told { output, bar, collection: &collection, updated: 0, failed: 0 };
        match (self.key, self.input) {
            (Some(key), _) => {
                self.one.check()?;
                collection.update(self.one.change(key.clone()))?;
                told.updated(key)?;
            }
            (None, Some(input)) if input == Path::new("-") => told.all(io::stdin().lock(), "standard input")?,
            (None, Some(input)) => {
                let file = File::open(&input).map_err(|e| UsageError(format!("{}: {e}", input.display())))?;
                told.all(BufReader::new(file), &input.display().to_string())?;
            }
            (None, None) => return Err(UsageError("name an item, or --input FILE".to_owned()).into()),
        }
        told.bar.finish_and_clear();
        let (updated, failed) = (told.updated, told.failed);
        output.text(&format!("{updated} updated, {failed} failed\n"))?;
        output.value(&json!({
            "event": "summary", "collection": collection.name(), "updated": updated, "failed": failed,
        }))?;
        Ok(if failed > 0 { Outcome::Partly } else { Outcome::Done })
    }
}

/// What came of changes so far.
struct Told<'a> {
    output: &'a Output,
    bar: ProgressBar,
    collection: &'a Collection,
    updated: usize,
    failed: usize,
}

impl Told<'_> {
    fn all(&mut self, input: impl BufRead, place: &str) -> anyhow::Result<()> {
        let mut changes = Vec::new();
        for (line, number) in input.lines().zip(1_u64..) {
            let line = match line {
                Err(error) if error.kind() == io::ErrorKind::InvalidData => Err("no UTF-8".to_owned()),
                line => Ok(line.with_context(|| place.to_owned())?),
            };
            match line.and_then(|line| read(line.trim_start_matches('\u{feff}'))) {
                Ok(change) => changes.extend(change),
                Err(problem) => self.failed(&format!("{place} line {number}"), "BAD_LINE", &problem)?,
            }
            if changes.len() == BATCH {
                self.write(std::mem::take(&mut changes))?;
            }
        }
        self.write(changes)
    }

    fn write(&mut self, changes: Vec<Change>) -> anyhow::Result<()> {
        let mut keys: Vec<String> = changes.iter().map(|change| change.key.clone()).collect();
        let outcome = self.collection.update_many(changes, None)?;
        for (key, error) in &outcome.failures {
            if let Some(at) = keys.iter().position(|each| each == key) {
                keys.remove(at);
            }
            self.failed(key, error.reason(), &error.to_string())?;
        }
        keys.into_iter().try_for_each(|key| self.updated(key))
    }

    fn updated(&mut self, key: String) -> anyhow::Result<()> {
        self.updated += 1;
        self.bar.inc(1);
        Ok(self.output.value(&json!({"event": "updated", "key": key}))?)
    }

    fn failed(&mut self, place: &str, reason: &str, problem: &str) -> anyhow::Result<()> {
        self.failed += 1;
        let value = json!({"event": "failed", "place": place, "reason": reason, "message": problem});
        Ok(self.bar.suspend(|| self.output.line(&format!("{place}: {problem}"), &value))?)
    }
}

impl One {
    fn check(&self) -> Result<(), UsageError> {
        if let Some((name, _)) = self.payload.iter().find(|(name, _)| self.without.contains(name)) {
            return Err(UsageError(format!("--payload sets {name:?} and --without removes it; which is meant?")));
        }
        let words = self.caption.is_some() || self.uri.is_some() || self.image.is_some();
        match words || !self.payload.is_empty() || !self.without.is_empty() {
            true => Ok(()),
            false => {
                Err(UsageError("nothing changes: say --caption, --uri, --image, --payload or --without".to_owned()))
            }
        }
    }

    fn change(self, key: String) -> Change {
        let set = self.payload.into_iter().map(|(name, value)| (name, Some(value)));
        Change {
            caption: self.caption,
            uri: self.uri,
            content: self.image.map(Content::File),
            payload: set.chain(self.without.into_iter().map(|name| (name, None))).collect(),
            ..Change::of(key)
        }
    }
}

/// The change of a line; none of an empty one.
fn read(line: &str) -> Result<Option<Change>, String> {
    if line.trim().is_empty() {
        return Ok(None);
    }
    let line: Line = serde_json::from_str(line).map_err(|e| e.to_string())?;
    let content = match (line.image, line.vector) {
        (Some(_), Some(_)) => return Err("an item has an image or a vector, not both".to_owned()),
        (image, vector) => image.map(Content::File).or(vector.map(Content::Vector)),
    };
    Ok(Some(Change {
        caption: line.caption,
        uri: line.uri,
        content,
        payload: line.payload.into_iter().map(|(name, value)| (name, Some(value).filter(|v| !v.is_null()))).collect(),
        ..Change::of(line.key)
    }))
}
