//! Lines of a text, each of a bounded length: what is longer is passed over, not kept.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use super::SourceError;
use crate::error::{Error, Result};

/// Longest line that is read, in bytes: a vector of 65,536 numbers fits.
const LINE_BYTES_MAX: usize = 4 << 20;

/// A text, line by line.
pub(super) struct Lines {
    reader: BufReader<File>,
    /// Lines read so far.
    number: u64,
    buffer: Vec<u8>,
    ended: bool,
}

impl Lines {
    pub(super) fn open(path: &Path) -> Result<Lines> {
        let file = File::open(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
        Ok(Lines { reader: BufReader::with_capacity(64 << 10, file), number: 0, buffer: Vec::new(), ended: false })
    }

    /// The number of the line that was read last, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The next line without its end; `None` after the last.
    pub(super) fn next(&mut self) -> Option<Result<&str, SourceError>> {
        if self.ended {
            return None;
        }
        self.number += 1;
        self.buffer.clear();
        let length = match self.fill() {
            Ok(0) => {
                self.ended = true;
                return None;
            }
            Ok(length) => length,
            Err(error) => {
                self.ended = true;
                return Some(Err(SourceError::damaged(format!("it cannot be read on: {error}"))));
            }
        };
        if length > LINE_BYTES_MAX as u64 {
            let limit = LINE_BYTES_MAX as u64;
            return Some(Err(SourceError::TooLarge { what: "the line".into(), bytes: length, limit }));
        }
        let line = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = if self.number == 1 { line.strip_prefix("\u{FEFF}".as_bytes()).unwrap_or(line) } else { line };
        Some(std::str::from_utf8(line).map_err(|_| SourceError::damaged("the line is not UTF-8")))
    }

    /// Reads a line into the buffer, as far as it is allowed; its length with its end.
    fn fill(&mut self) -> io::Result<u64> {
        let mut length = 0;
        loop {
            let chunk = self.reader.fill_buf()?;
            if chunk.is_empty() {
                return Ok(length);
            }
            let end = chunk.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
            let taken = end.unwrap_or(chunk.len());
            length += taken as u64;
            if self.buffer.len() + taken <= LINE_BYTES_MAX {
                self.buffer.extend_from_slice(&chunk[..taken]);
            }
            self.reader.consume(taken);
            if end.is_some() {
                return Ok(length);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_too_long_is_named_and_the_next_one_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let long = "x".repeat(LINE_BYTES_MAX + 1);
        std::fs::write(file.path(), format!("\u{FEFF}a\r\n{long}\n\nlast")).unwrap();
        let mut lines = Lines::open(file.path()).unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "a");
        assert!(matches!(lines.next().unwrap(), Err(SourceError::TooLarge { .. })));
        assert_eq!(lines.next().unwrap().unwrap(), "");
        assert_eq!((lines.next().unwrap().unwrap().to_owned(), lines.number()), ("last".into(), 4));
        assert!(lines.next().is_none());
    }
}
