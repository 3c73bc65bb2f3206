//! The pictures of a source: a folder, walked in the order of names, or a single file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use walkdir::WalkDir;

use super::captions::Captions;
use crate::error::{Error, Result};

/// File names that promise a picture. What is inside is decided by the bytes.
const EXTENSIONS: [&str; 9] = ["bmp", "gif", "jpeg", "jpg", "png", "tif", "tiff", "webp", "jfif"];

/// A file to be looked at.
pub(super) struct Found {
    pub(super) key: String,
    pub(super) path: PathBuf,
    captions: Arc<Captions>,
}

impl Found {
    /// From the TSV, or a text file of the same name beside the picture; else empty.
    pub(super) fn caption(&self) -> Result<String> {
        match self.captions.of(&self.key) {
            Some(caption) => Ok(caption.to_owned()),
            None => super::captions::sidecar(&self.path),
        }
    }
}

/// Lists the pictures of `sources` with their keys.
///
/// # Errors
/// A source that is not there, or in which nothing promises to be a picture.
pub(super) fn list(sources: &[PathBuf], captions: Option<&Path>) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for source in sources {
        let before = found.len();
        let metadata =
            std::fs::metadata(source).map_err(|error| Error::File { path: source.clone(), source: error })?;
        let captions = Arc::new(Captions::for_source(source, captions)?);
        if metadata.is_file() {
            let key = source.file_name().unwrap_or(source.as_os_str()).to_string_lossy().into_owned();
            found.push(Found { key, path: source.clone(), captions });
        } else {
            list_folder(source, &captions, &mut found)?;
        }
        if found.len() == before {
            return Err(Error::NoPictures { folder: source.clone(), extensions: EXTENSIONS.join(", ") });
        }
    }
    Ok(found)
}

fn list_folder(folder: &Path, captions: &Arc<Captions>, found: &mut Vec<Found>) -> Result<()> {
    for entry in WalkDir::new(folder).follow_links(true).sort_by_file_name() {
        let entry = entry.map_err(|error| Error::File {
            path: error.path().unwrap_or(folder).to_owned(),
            source: error.into_io_error().unwrap_or_else(|| std::io::Error::other("a link that leads back to itself")),
        })?;
        let path = entry.path();
        let promises = path.extension().is_some_and(|e| EXTENSIONS.iter().any(|known| e.eq_ignore_ascii_case(known)));
        if entry.file_type().is_file() && promises {
            let key = key_within(folder, path);
            found.push(Found { key, path: path.to_owned(), captions: captions.clone() });
        }
    }
    Ok(())
}

/// The path within the folder, with `/` on every system.
fn key_within(folder: &Path, path: &Path) -> String {
    let relative = path.strip_prefix(folder).unwrap_or(path);
    let parts: Vec<_> = relative.components().map(|c| c.as_os_str().to_string_lossy()).collect();
    parts.join("/")
}
