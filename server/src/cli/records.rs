//! Progress of work that is counted in records: a bar with rate and time left for people, events for programs.

use std::time::Duration;

use fromagerie::{IngestEvent, failure_json};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::Output;

/// A bar that counts records; hidden where programs read.
pub(super) fn bar(output: &Output) -> ProgressBar {
    let target = if output.is_json() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(None, target);
    bar.set_style(style("{spinner} {pos}  {per_sec}  {wide_msg}"));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Tells what an ingest does: on the bar, and as a line.
pub(super) fn tell(event: &IngestEvent<'_>, output: &Output, bar: &ProgressBar) -> std::io::Result<()> {
    match event {
        IngestEvent::Found { items } => {
            if let Some(items) = items {
                bar.set_length(*items);
                bar.set_style(style("{bar:30} {pos}/{len}  {per_sec}  {eta} left  {wide_msg}"));
            }
            output.value(&json!({"event": "found", "items": items}))
        }
        IngestEvent::Written { keys, sequence } => {
            bar.inc(keys.len() as u64);
            output.value(&json!({"event": "written", "keys": keys, "sequence": sequence}))
        }
        IngestEvent::Unchanged { items } => {
            bar.inc(*items as u64);
            output.value(&json!({"event": "unchanged", "items": items}))
        }
        IngestEvent::Duplicate { key, skipped } => {
            bar.inc(u64::from(*skipped));
            output.value(&json!({"event": "duplicate", "key": key, "skipped": skipped}))
        }
        IngestEvent::Failed(failure) => {
            bar.inc(1);
            let key = failure.key.as_deref().unwrap_or("a record");
            let message = format!("skipped {key} ({}): {}", failure.place, failure.error);
            bar.suspend(|| output.text(&format!("{message}\n")))?;
            let mut object = json!({"event": "failed"});
            if let (Value::Object(object), Value::Object(failure)) = (&mut object, failure_json(failure)) {
                object.extend(failure);
            }
            output.value(&object)
        }
        IngestEvent::Reached(_) => Ok(()),
        IngestEvent::Sealing => {
            // All records are written: neither a rate nor a time left says anything any more.
            bar.set_style(style("{spinner} {pos} done, merging segments  {elapsed} in all"));
            output.value(&json!({"event": "sealing"}))
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
