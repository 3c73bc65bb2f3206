//! Pictures in a folder, walked in the order of names, or a single picture.
//!
//! Its caption stands in a TSV, or in a text file of the same name beside it.

use std::path::{Path, PathBuf};

use serde_json::Map;
use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use super::captions::Captions;
use super::{Body, Failure, Found, Place, Source, SourceOptions, captions};
use crate::error::{Error, Result};

/// File names that promise a picture. What is inside is decided by the bytes.
pub(super) const PICTURE_ENDINGS: [&str; 9] = ["bmp", "gif", "jpeg", "jpg", "png", "tif", "tiff", "webp", "jfif"];

/// True for the name of a picture.
pub(super) fn is_picture(path: &Path) -> bool {
    path.extension().is_some_and(|e| PICTURE_ENDINGS.iter().any(|known| e.eq_ignore_ascii_case(known)))
}

/// Pictures below a folder. Its position is a number of pictures.
pub(super) struct Folder {
    pictures: Vec<(String, PathBuf)>,
    captions: Captions,
    next: usize,
}

impl Folder {
    /// # Errors
    /// The source is not there, or nothing in it promises to be a picture.
    pub(super) fn open(source: &Path, options: &SourceOptions, from: u64) -> Result<Folder> {
        let metadata =
            std::fs::metadata(source).map_err(|error| Error::File { path: source.to_owned(), source: error })?;
        let captions = Captions::for_source(source, options.captions.as_deref())?;
        let mut pictures = if metadata.is_file() {
            let key = source.file_name().unwrap_or(source.as_os_str()).to_string_lossy().into_owned();
            vec![(key, source.to_owned())]
        } else {
            walk(source)?
        };
        if let Some(only) = &options.only {
            pictures.retain(|(key, _)| only.contains(key));
        } else if pictures.is_empty() {
            return Err(Error::NoPictures { folder: source.to_owned(), extensions: PICTURE_ENDINGS.join(", ") });
        }
        Ok(Folder { pictures, captions, next: usize::try_from(from).unwrap_or(usize::MAX) })
    }

    /// A digest of the pictures' names.
    pub(super) fn listed(&self) -> String {
        let mut hash = Sha256::new();
        for (key, _) in &self.pictures {
            hash.update(key.as_bytes());
            hash.update([0]);
        }
        hex::encode(hash.finalize())
    }

    fn record(&self, key: &str, path: &Path) -> Result<Found> {
        let caption = match self.captions.of(key) {
            Some(caption) => caption.to_owned(),
            None => captions::sidecar(path)?,
        };
        Ok(Found {
            content_hash: None,
            key: key.to_owned(),
            body: Body::File(path.to_owned()),
            caption,
            uri: path.to_string_lossy().into_owned(),
            payload: Map::new(),
            place: Place::whole(path),
        })
    }
}

impl Source for Folder {
    fn next(&mut self) -> Option<Result<Found, Failure>> {
        let (key, path) = self.pictures.get(self.next)?;
        self.next += 1;
        Some(self.record(key, path).map_err(|error| Failure::read(Some(key.clone()), Place::whole(path), error)))
    }

    fn position(&self) -> u64 {
        self.next as u64
    }

    fn remaining(&self) -> Option<u64> {
        Some(self.pictures.len().saturating_sub(self.next) as u64)
    }
}

/// Keys and paths of the pictures below a folder, in the order of names.
pub(crate) fn walk(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut pictures = Vec::new();
    for entry in WalkDir::new(folder).follow_links(true).sort_by_file_name() {
        let entry = match entry {
            Ok(entry) => entry,
            // A link back to a folder that it is in: all behind it is met elsewhere.
            Err(error) if error.loop_ancestor().is_some() => continue,
            Err(error) => {
                let path = error.path().unwrap_or(folder).to_owned();
                let is_link = error.depth() > 0 && path.is_symlink();
                if is_link && is_picture(&path) {
                    // A picture that cannot be read: told with its key when its turn comes.
                    pictures.push((key_within(folder, &path), path));
                    continue;
                }
                // It may stand for a folder that is not mounted: a sync must not take that for an empty one.
                let nowhere = "a link that leads nowhere, and nobody knows what lies behind it: mend it or remove it";
                let source = match error.into_io_error() {
                    Some(error) if !is_link => error,
                    _ => std::io::Error::other(nowhere),
                };
                return Err(Error::File { path, source });
            }
        };
        if entry.file_type().is_file() && is_picture(entry.path()) {
            pictures.push((key_within(folder, entry.path()), entry.path().to_owned()));
        }
    }
    Ok(pictures)
}

/// The path within the folder, with `/` on every system.
fn key_within(folder: &Path, path: &Path) -> String {
    let relative = path.strip_prefix(folder).unwrap_or(path);
    let parts: Vec<_> = relative.components().map(|c| c.as_os_str().to_string_lossy()).collect();
    parts.join("/")
}
