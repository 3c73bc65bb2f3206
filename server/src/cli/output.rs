//! What commands print: lines for people, or JSON for programs. The only place that writes to standard output.

use std::borrow::Cow;
use std::io::{self, ErrorKind, Write};

use fromagerie::Error;
use serde_json::{Value, json};

/// Standard output in one of its two languages.
pub(super) struct Output {
    json: bool,
}

/// A command line that asks for what cannot be.
#[derive(Debug)]
pub(super) struct UsageError(pub(super) String);

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

impl Output {
    pub(super) fn new(json: bool) -> Output {
        Output { json }
    }

    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// A line for people, or `value` for programs.
    pub(super) fn line(&self, text: &str, value: &Value) -> io::Result<()> {
        if self.json { self.value(value) } else { self.text(&format!("{text}\n")) }
    }

    /// For people only, written at once.
    pub(super) fn text(&self, text: &str) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        write_now(&visible(text))
    }

    /// For programs only.
    pub(super) fn value(&self, value: &Value) -> io::Result<()> {
        if self.json { write_now(&format!("{value}\n")) } else { Ok(()) }
    }

    /// The error that ends the command: to standard error for people, and as the last line for programs.
    pub(super) fn error(&self, error: &anyhow::Error) {
        let mut text = error.to_string();
        for cause in error.chain().skip(1) {
            let cause = cause.to_string();
            if !text.contains(&cause) {
                text = format!("{text}: {cause}");
            }
        }
        let reason = error.downcast_ref::<Error>().map_or("USAGE", Error::reason);
        let _ = self.value(&json!({"error": {"reason": reason, "message": text}}));
        let _ = writeln!(io::stderr(), "fromagerie: {}", visible(&text));
    }
}

/// Keys, captions and names are strangers': what would steer a terminal is shown as what it is.
fn visible(text: &str) -> Cow<'_, str> {
    let steers = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if !text.contains(steers) {
        return text.into();
    }
    let shown = |c: char| if steers(c) { c.escape_default().collect::<String>() } else { c.to_string() };
    text.chars().map(shown).collect::<String>().into()
}

fn write_now(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// The reader of our output has gone; that is its right.
pub(super) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe)
}

/// True when the caller can mend it.
pub(super) fn is_users_fault(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<Error>() {
        Some(error) => error.kind().is_users_fault(),
        None => {
            error.is::<UsageError>() || error.is::<crate::grpc::ListenError>() || error.is::<crate::grpc::ServerError>()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_steer_a_terminal_is_shown() {
        assert_eq!(visible("key\tof \u{e9}t\u{e9}\n"), "key\tof \u{e9}t\u{e9}\n");
        assert_eq!(visible("a\u{1b}[2Jb\r\u{9b}c"), "a\\u{1b}[2Jb\\r\\u{9b}c");
    }
}
