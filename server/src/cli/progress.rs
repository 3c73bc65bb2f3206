//! Progress of work that is counted in bytes: a bar with rate and time left for people, a line a second for programs.

use std::time::{Duration, Instant};

use fromagerie::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::Output;

/// How often programs are told.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Shows how far a long operation is.
pub(super) struct ByteProgress<'a> {
    output: &'a Output,
    bar: ProgressBar,
    told: Instant,
}

impl<'a> ByteProgress<'a> {
    pub(super) fn new(output: &'a Output) -> ByteProgress<'a> {
        let target = if output.is_json() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let template =
            "{bar:30} {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  {eta} left  {wide_msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        ByteProgress { output, bar, told: Instant::now() }
    }

    /// Shows a step.
    pub(super) fn step(&mut self, step: &Progress<'_>) {
        self.bar.set_length(step.total_bytes);
        self.bar.set_position(step.bytes);
        self.bar.set_message(step.path.file_name().unwrap_or_default().to_string_lossy().into_owned());
        if self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            // Who stopped reading is told so by the lines that matter.
            let _ = self.output.value(&json!({
                "event": "progress", "path": step.path, "bytes": step.bytes, "total_bytes": step.total_bytes,
            }));
        }
    }

    /// Takes the bar away.
    pub(super) fn done(self) {
        self.bar.finish_and_clear();
    }
}

/// A number of bytes as people say it: `1.5 MiB`.
pub(super) fn human(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}
