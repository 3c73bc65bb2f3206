//! The keys of a matrix's rows: a text with one a line, a `.npy` of texts, or none.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::super::SourceError;
use super::super::lines::Lines;
use super::header::Header;
use crate::error::{Error, Result};

/// Longest text of a `.npy`, in bytes: 512 characters of four bytes.
const TEXT_BYTES_MAX: usize = 2048;

/// Keys, in the order of the rows.
pub(super) enum Keys {
    Numbered,
    Lines(Lines),
    Texts(Texts),
}

/// Texts of one length each.
pub(super) struct Texts {
    file: BufReader<File>,
    /// Bytes of a text.
    bytes: usize,
    /// Four bytes a character, or one.
    wide: bool,
}

impl Keys {
    /// The keys in `given`, or in the file that belongs to `matrix` by its name; those from row `from` on.
    ///
    /// # Errors
    /// There are not as many keys as `rows`.
    pub(super) fn open(matrix: &Path, given: Option<&Path>, rows: u64, from: u64) -> Result<Keys> {
        let beside =
            || ["keys.txt", "keys.npy"].map(|ending| matrix.with_extension(ending)).into_iter().find(|p| p.is_file());
        let Some(path) = given.map(Path::to_owned).or_else(beside) else { return Ok(Keys::Numbered) };
        let (keys, count) = if path.extension().is_some_and(|e| e == "npy") {
            let (texts, count) = Texts::open(&path, from)?;
            (Keys::Texts(texts), count)
        } else {
            let mut lines = Lines::open(&path)?;
            let mut count = 0;
            while lines.next().is_some() {
                count += 1;
            }
            let mut lines = Lines::open(&path)?;
            while lines.number() < from && lines.next().is_some() {}
            (Keys::Lines(lines), count)
        };
        if count != rows {
            return Err(SourceError::WrongCount { keys: count, rows, path }.into());
        }
        Ok(keys)
    }

    /// The next row's key; `None` where rows have none.
    pub(super) fn next(&mut self) -> Option<Result<String, SourceError>> {
        match self {
            Keys::Numbered => None,
            Keys::Lines(lines) => {
                let gone = || Err(SourceError::damaged("the file of keys became shorter while it was read"));
                Some(lines.next().map_or_else(gone, |line| line.map(str::to_owned)))
            }
            Keys::Texts(texts) => Some(texts.next()),
        }
    }
}

impl Texts {
    fn open(path: &Path, from: u64) -> Result<(Texts, u64)> {
        let failed = |source| Error::File { path: PathBuf::from(path), source };
        let mut file = File::open(path).map_err(failed)?;
        let header = Header::read(&mut file)?;
        let length = |name: &str, width| header.descr.strip_prefix(name)?.parse::<usize>().ok()?.checked_mul(width);
        let (bytes, wide) = match (length("<U", 4), length("|S", 1)) {
            (Some(bytes), _) => (bytes, true),
            (None, Some(bytes)) => (bytes, false),
            _ => (0, false),
        };
        let [rows] = header.shape[..] else {
            return Err(SourceError::unsupported(format!("keys of shape {:?}; wanted is [keys]", header.shape)).into());
        };
        if !(1..=TEXT_BYTES_MAX).contains(&bytes) {
            let what =
                format!("keys of type {:?}; wanted are texts of a fixed length, such as astype('U64')", header.descr);
            return Err(SourceError::unsupported(what).into());
        }
        file.seek(SeekFrom::Start(header.len.saturating_add(from.saturating_mul(bytes as u64)))).map_err(failed)?;
        Ok((Texts { file: BufReader::new(file), bytes, wide }, rows))
    }

    fn next(&mut self) -> Result<String, SourceError> {
        let mut bytes = vec![0; self.bytes];
        self.file.read_exact(&mut bytes).map_err(|error| SourceError::damaged(format!("the file of keys: {error}")))?;
        let text = if self.wide {
            let characters = bytes.as_chunks().0.iter().map(|b| char::from_u32(u32::from_le_bytes(*b)));
            characters.collect::<Option<String>>()
        } else {
            String::from_utf8(bytes).ok()
        };
        let text = text.ok_or_else(|| SourceError::damaged("a key is no text"))?;
        Ok(text.trim_end_matches('\0').to_owned())
    }
}
