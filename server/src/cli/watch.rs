//! Following a folder: what changed in it since it was last looked at.
//!
//! Names, lengths and times of change are compared, every few seconds. A change is acted on once the folder has stayed
//! as it is for one look, so that a file that is still being written is left to be finished.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fromagerie::{Collection, IngestEvent, IngestOptions, JobInput, SourceOptions, folder_pictures};
use serde_json::json;

use super::output::UsageError;
use super::{Outcome, Output};

/// What tells that a picture, or the text beside it, is another than before.
type State = BTreeMap<String, (u64, Option<SystemTime>, Option<SystemTime>)>;

/// The one folder that can be followed.
pub(super) fn folder(sources: &[PathBuf]) -> anyhow::Result<&Path> {
    match sources {
        [folder] if folder.is_dir() => Ok(folder),
        [other] => Err(UsageError(format!("--watch follows a folder, and {} is none", other.display())).into()),
        _ => Err(UsageError("--watch follows one folder of pictures".to_owned()).into()),
    }
}

/// Follows the folder until the process is stopped.
pub(super) fn follow(
    collection: &Collection,
    input: &JobInput,
    every: Duration,
    output: &Output,
) -> anyhow::Result<Outcome> {
    let folder = folder(&input.sources)?;
    output.line(
        &format!("following {}", folder.display()),
        &json!({"event": "following", "folder": folder.display().to_string()}),
    )?;
    // What changed while the first run was going on is caught by comparing with nothing: every picture is looked at.
    let (mut known, mut last, mut told_empty) = (State::new(), state(folder)?, false);
    loop {
        std::thread::sleep(every);
        let now = state(folder)?;
        if now != last {
            last = now;
            continue;
        }
        // A folder that is not mounted is empty too: as in a sync, an empty one empties nothing.
        if now.is_empty() && !known.is_empty() {
            if !std::mem::replace(&mut told_empty, true) {
                let text = format!("{} holds no pictures any more: nothing is removed", folder.display());
                output.line(&text, &json!({"event": "emptied", "folder": folder.display().to_string()}))?;
            }
            continue;
        }
        told_empty = false;
        if now == known {
            continue;
        }
        let changed: Vec<String> =
            now.iter().filter(|(key, state)| known.get(*key) != Some(state)).map(|(key, _)| key.clone()).collect();
        let removed: Vec<String> = match known.is_empty() {
            true => Vec::new(),
            false => known.keys().filter(|key| !now.contains_key(*key)).cloned().collect(),
        };
        let source = SourceOptions { only: Some(Arc::new(changed.into_iter().collect())), ..input.source.clone() };
        let options = IngestOptions { batch: input.batch, source, ..IngestOptions::default() };
        let mut told = Ok(());
        let report = collection.ingest(&input.sources, &options, &|| false, &mut |event| {
            if let (IngestEvent::Failed(_), Ok(())) = (&event, &told) {
                told = super::records::tell(&event, output, &super::records::bar(output));
            }
        })?;
        told?;
        let gone = if removed.is_empty() { 0 } else { collection.delete(removed, None)?.deleted };
        if report.written > 0 || gone > 0 {
            output.line(
                &format!("{} written, {gone} removed", report.written),
                &json!({"event": "followed", "written": report.written, "removed": gone, "failed": report.failed}),
            )?;
        }
        known = now;
    }
}

fn state(folder: &Path) -> fromagerie::Result<State> {
    let changed = |path: &Path| std::fs::metadata(path).and_then(|file| file.modified()).ok();
    let state = |(key, path): (String, std::path::PathBuf)| {
        let len = std::fs::metadata(&path).map_or(0, |file| file.len());
        (key, (len, changed(&path), changed(&path.with_extension("txt"))))
    };
    Ok(folder_pictures(folder)?.into_iter().map(state).collect())
}
