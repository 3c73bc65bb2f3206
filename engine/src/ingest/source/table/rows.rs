//! The rows of a table as texts, each of a bounded size.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use csv::{ByteRecord, Reader, ReaderBuilder};

use super::super::SourceError;
use super::super::lines::Lines;
use crate::error::{Error, Result};

/// Longest record between commas, in bytes.
const RECORD_BYTES_MAX: u64 = 4 << 20;

/// Rows between tabs or between commas.
pub(super) enum Rows {
    Tabs(Lines),
    Commas(Box<Commas>),
}

/// Rows between commas.
pub(super) struct Commas {
    reader: Reader<Rationed>,
    record: ByteRecord,
    number: u64,
    line: u64,
    ended: bool,
}

impl Rows {
    pub(super) fn tabs(path: &Path) -> Result<Rows> {
        Ok(Rows::Tabs(Lines::open(path)?))
    }

    pub(super) fn commas(path: &Path) -> Result<Rows> {
        let file = File::open(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
        let mut builder = ReaderBuilder::new();
        let reader = builder.has_headers(false).flexible(true).from_reader(Rationed { file, left: 0 });
        Ok(Rows::Commas(Box::new(Commas { reader, record: ByteRecord::new(), number: 0, line: 0, ended: false })))
    }

    /// Records read so far.
    pub(super) fn number(&self) -> u64 {
        match self {
            Rows::Tabs(lines) => lines.number(),
            Rows::Commas(commas) => commas.number,
        }
    }

    /// The line on which the record read last begins, from 1.
    pub(super) fn line(&self) -> u64 {
        match self {
            Rows::Tabs(lines) => lines.number(),
            Rows::Commas(commas) => commas.line,
        }
    }

    /// The next row; `None` after the last.
    pub(super) fn next(&mut self) -> Option<Result<Vec<String>, SourceError>> {
        match self {
            Rows::Tabs(lines) => loop {
                match lines.next()? {
                    Ok("") => {}
                    Ok(line) => return Some(Ok(line.split('\t').map(unquoted).collect())),
                    Err(error) => return Some(Err(error)),
                }
            },
            Rows::Commas(commas) => commas.next(),
        }
    }
}

impl Commas {
    fn next(&mut self) -> Option<Result<Vec<String>, SourceError>> {
        if self.ended {
            return None;
        }
        self.reader.get_mut().left = RECORD_BYTES_MAX;
        self.number += 1;
        self.line = self.reader.position().line();
        match self.reader.read_byte_record(&mut self.record) {
            Ok(false) => {
                self.ended = true;
                None
            }
            Ok(true) => {
                self.line = self.record.position().map_or(self.line, |position| position.line());
                let fields = self.record.iter().enumerate().map(|(at, field)| {
                    let field = if self.number == 1 && at == 0 { without_mark(field) } else { field };
                    std::str::from_utf8(field).map(str::to_owned)
                });
                Some(fields.collect::<Result<_, _>>().map_err(|_| SourceError::damaged("the line is not UTF-8")))
            }
            Err(error) => {
                self.ended = true;
                let lost = "what comes after is not read";
                Some(Err(SourceError::damaged(format!("it cannot be read on: {error}; {lost}"))))
            }
        }
    }
}

/// `field` without the quotes around it and with those in it undoubled, when it is wholly in quotes.
fn unquoted(field: &str) -> String {
    let inner = field.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match inner.map(|inner| inner.replace("\"\"", "\u{0}")) {
        Some(inner) if !inner.contains('"') => inner.replace('\u{0}', "\""),
        _ => field.to_owned(),
    }
}

fn without_mark(field: &[u8]) -> &[u8] {
    field.strip_prefix("\u{FEFF}".as_bytes()).unwrap_or(field)
}

/// A file that gives out no more than was allowed since the last record, so that a quote that is never closed does not
/// fill the memory.
struct Rationed {
    file: File,
    left: u64,
}

impl Read for Rationed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other(format!("a record of more than {RECORD_BYTES_MAX} bytes (is a quote open?)")));
        }
        let read = self.file.read(buffer)?;
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_that_is_never_closed_ends_in_an_error_not_in_memory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("a,b\n1,\"{}", "x\n".repeat(RECORD_BYTES_MAX as usize))).unwrap();
        let mut rows = Rows::commas(file.path()).unwrap();
        assert_eq!(rows.next().unwrap().unwrap(), ["a", "b"]);
        let error = rows.next().unwrap().unwrap_err().to_string();
        assert!(error.contains("is a quote open?"), "{error}");
        assert!(rows.next().is_none());
    }

    #[test]
    fn only_what_is_wholly_in_quotes_is_undone() {
        for (field, text) in [("\"a \"\"b\"\"\"", "a \"b\""), ("\"a\" b\"", "\"a\" b\""), ("\"", "\""), ("a\"", "a\"")]
        {
            assert_eq!(unquoted(field), text);
        }
    }
}
