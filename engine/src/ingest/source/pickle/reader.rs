//! The bytes of a pickle, never beyond its end.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use super::super::SourceError;
use super::value::{Data, Text, damaged};
use crate::error::{Error, Result};

/// Longest text that is read, in bytes.
const TEXT_BYTES_MAX: u32 = 64 << 10;

/// Longest text that may be a name.
const WORD_BYTES_MAX: u32 = 256;

/// A file and a place in it.
pub(super) struct Reader {
    file: BufReader<File>,
    len: u64,
    at: u64,
}

impl Reader {
    pub(super) fn open(path: &Path) -> Result<Reader> {
        let failed = |source| Error::File { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        Ok(Reader { file: BufReader::with_capacity(256 << 10, file), len, at: 0 })
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], SourceError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Up to and without the next line end.
    pub(super) fn line(&mut self) -> Result<String, SourceError> {
        let mut line = Vec::new();
        loop {
            match self.array::<1>()? {
                [b'\n'] => return Ok(String::from_utf8_lossy(&line).into_owned()),
                [byte] if line.len() < 256 => line.push(byte),
                _ => return Err(SourceError::damaged("a pickle with a name of more than 256 bytes")),
            }
        }
    }

    /// Passes over `len` bytes; where they are.
    pub(super) fn skip(&mut self, len: u64) -> Result<u64, SourceError> {
        let at = self.at;
        self.go_to(self.end_of(at, len)?)?;
        Ok(at)
    }

    /// The next `len` bytes.
    pub(super) fn bytes(&mut self, len: u64) -> Result<Vec<u8>, SourceError> {
        self.end_of(self.at, len)?;
        let mut bytes = vec![0; len as usize];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn text(&mut self, text: Text) -> Result<String, SourceError> {
        if text.len > TEXT_BYTES_MAX {
            let (bytes, limit) = (text.len.into(), TEXT_BYTES_MAX.into());
            return Err(SourceError::TooLarge { what: "a path".into(), bytes, limit });
        }
        self.go_to(text.at)?;
        String::from_utf8(self.bytes(text.len.into())?).map_err(|_| SourceError::damaged("a path is not UTF-8"))
    }

    /// The bytes of a text that was passed; the place stays.
    pub(super) fn peek(&mut self, text: Text) -> Result<Vec<u8>, SourceError> {
        let here = self.at;
        self.go_to(text.at)?;
        let bytes = self.bytes(text.len.into())?;
        self.go_to(here)?;
        Ok(bytes)
    }

    /// A text that is short enough to be a name; the place stays.
    pub(super) fn word(&mut self, text: Option<Text>) -> Result<String, SourceError> {
        let text = text.filter(|text| text.len <= WORD_BYTES_MAX).ok_or_else(damaged)?;
        String::from_utf8(self.peek(text)?).map_err(|_| damaged())
    }

    /// `len` bytes of `data`, from `skip` on.
    pub(super) fn data<'a>(&mut self, data: &'a Data, skip: u64, len: u64) -> Result<Cow<'a, [u8]>, SourceError> {
        match data {
            Data::Held(bytes) => {
                let part = bytes.get(skip as usize..).and_then(|rest| rest.get(..len as usize));
                part.map(Cow::Borrowed).ok_or_else(|| SourceError::damaged("an array that is too short"))
            }
            Data::InFile { at, .. } => {
                self.go_to(at + skip)?;
                self.bytes(len).map(Cow::Owned)
            }
        }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), SourceError> {
        let end = self.end_of(self.at, bytes.len() as u64)?;
        self.file.read_exact(bytes).map_err(unreadable)?;
        self.at = end;
        Ok(())
    }

    fn go_to(&mut self, at: u64) -> Result<(), SourceError> {
        let moved = match i64::try_from(at.wrapping_sub(self.at)) {
            Ok(ahead) if at >= self.at => self.file.seek_relative(ahead),
            _ => self.file.seek(SeekFrom::Start(at)).map(|_| ()),
        };
        self.at = at;
        moved.map_err(unreadable)
    }

    fn end_of(&self, at: u64, len: u64) -> Result<u64, SourceError> {
        at.checked_add(len).filter(|end| *end <= self.len).ok_or_else(|| SourceError::cut_off(self.len, "the pickle"))
    }
}

fn unreadable(error: std::io::Error) -> SourceError {
    SourceError::damaged(format!("it cannot be read on: {error}"))
}
