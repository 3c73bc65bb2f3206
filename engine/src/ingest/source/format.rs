//! What a file is, by its name, and by its first bytes where the name says nothing.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::SourceError;
use super::folder::is_picture;
use crate::error::{Error, Result};

/// A kind of source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Pictures in a folder, or a picture.
    Pictures,
    /// A tar of samples, as webdataset and img2dataset write it.
    Tar,
    /// Values between commas.
    Csv,
    /// Values between tabs.
    Tsv,
    /// One JSON object a line.
    Jsonl,
    /// A table in columns.
    Parquet,
    /// A table in columns, as Arrow writes it to files.
    Arrow,
    /// A matrix of vectors, as NumPy writes it.
    Npy,
    /// Paths and embeddings, as FROMAGe keeps them.
    Pickle,
}

/// Each kind, the word for it, and the endings of its files.
const FORMATS: [(Format, &str, &[&str]); 9] = [
    (Format::Pictures, "pictures", &[]),
    (Format::Tar, "tar", &["tar", "tgz"]),
    (Format::Csv, "csv", &["csv"]),
    (Format::Tsv, "tsv", &["tsv", "tab"]),
    (Format::Jsonl, "jsonl", &["jsonl", "ndjson"]),
    (Format::Parquet, "parquet", &["parquet"]),
    (Format::Arrow, "arrow", &["arrow", "feather", "ipc"]),
    (Format::Npy, "npy", &["npy"]),
    (Format::Pickle, "pickle", &["pkl", "pickle"]),
];

impl Format {
    /// The words that [`std::str::FromStr`] knows.
    pub const NAMES: [&'static str; FORMATS.len()] = {
        let mut names = [""; FORMATS.len()];
        let mut at = 0;
        while at < names.len() {
            names[at] = FORMATS[at].1;
            at += 1;
        }
        names
    };

    /// By the name's ending.
    pub(super) fn by_name(path: &Path) -> Option<Format> {
        if is_picture(path) {
            return Some(Format::Pictures);
        }
        if path.to_string_lossy().to_ascii_lowercase().ends_with(".tar.gz") {
            return Some(Format::Tar);
        }
        let ending = path.extension()?.to_string_lossy().to_ascii_lowercase();
        FORMATS.iter().find(|(_, _, endings)| endings.contains(&ending.as_str())).map(|(format, ..)| *format)
    }

    /// By the name's ending, or else by the first bytes.
    pub(super) fn of(path: &Path) -> Result<Format> {
        if let Some(format) = Format::by_name(path) {
            return Ok(format);
        }
        let failed = |source| Error::File { path: path.to_owned(), source };
        let mut head = Vec::new();
        File::open(path).map_err(failed)?.take(512).read_to_end(&mut head).map_err(failed)?;
        Format::by_content(&head).ok_or_else(|| SourceError::UnknownFormat { path: path.to_owned() }.into())
    }

    fn by_content(head: &[u8]) -> Option<Format> {
        const PICTURES: [&[u8]; 7] = [b"\xFF\xD8\xFF", b"\x89PNG", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*"];
        match head {
            _ if PICTURES.iter().any(|magic| head.starts_with(magic)) => Some(Format::Pictures),
            _ if head.starts_with(b"\x1F\x8B") => Some(Format::Tar),
            _ if head.starts_with(b"PAR1") => Some(Format::Parquet),
            _ if head.starts_with(b"ARROW1") => Some(Format::Arrow),
            _ if head.starts_with(b"\x93NUMPY") => Some(Format::Npy),
            _ if head.get(257..262) == Some(b"ustar") => Some(Format::Tar),
            [0x80, 2..=5, ..] => Some(Format::Pickle),
            [b'{', ..] => Some(Format::Jsonl),
            _ => None,
        }
    }
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(word: &str) -> Result<Format, String> {
        let found = FORMATS.iter().find(|(_, name, _)| *name == word).map(|(format, ..)| *format);
        found.ok_or_else(|| format!("{word:?} is no format; use one of {}", Format::NAMES.join(", ")))
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = FORMATS.iter().find(|(format, ..)| format == self).map_or("", |(_, name, _)| *name);
        f.write_str(name)
    }
}
