//! Whether the files on disk are the ones which the manifest lists, byte for byte.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::BundleError;
use super::manifest::FileDigest;

const CHUNK_BYTES: usize = 1 << 20;

/// Checks that the graphs which will be loaded have no more than `bytes_max` bytes, or than the machine's memory.
///
/// # Errors
/// [`BundleError::TooLarge`].
pub(crate) fn check_room(
    files: &BTreeMap<String, FileDigest>,
    unused: &dyn Fn(&str) -> bool,
    bytes_max: Option<u64>,
) -> Result<(), BundleError> {
    let loaded = files.iter().filter(|(name, _)| name.starts_with("onnx/") && !unused(name));
    let bytes = loaded.map(|(_, digest)| digest.bytes).sum();
    match bytes_max.or_else(memory_bytes) {
        Some(limit) if bytes > limit => Err(BundleError::TooLarge { bytes, limit }),
        _ => Ok(()),
    }
}

/// The machine's memory, where the system tells.
fn memory_bytes() -> Option<u64> {
    let told = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = told.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Checks the length of every file, then the digest of every file but the `unused`, then that no unlisted file lies
/// beside the graphs.
///
/// # Errors
/// [`BundleError`] for the first file that differs.
pub(crate) fn check(
    dir: &Path,
    files: &BTreeMap<String, FileDigest>,
    unused: &dyn Fn(&str) -> bool,
) -> Result<(), BundleError> {
    // Lengths first: an incomplete download is then told at once, not after a minute of hashing.
    for (name, digest) in files {
        check_length(&dir.join(name), digest.bytes)?;
    }
    for (name, digest) in files.iter().filter(|(name, _)| !unused(name)) {
        check_digest(&dir.join(name), digest)?;
    }
    check_unlisted(dir, files)
}

/// The whole of a file that is not longer than `limit`.
///
/// # Errors
/// [`BundleError::Missing`], [`BundleError::TooLong`] or [`BundleError::Io`].
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, BundleError> {
    let file = open(path)?;
    let bytes = file.metadata().map_err(|source| unreadable(path, source))?.len();
    if bytes > limit {
        return Err(BundleError::TooLong { path: path.to_path_buf(), bytes, limit });
    }
    let mut contents = Vec::new();
    file.take(limit).read_to_end(&mut contents).map_err(|source| unreadable(path, source))?;
    Ok(contents)
}

fn check_length(path: &Path, expected: u64) -> Result<(), BundleError> {
    let found = open(path)?.metadata().map_err(|source| unreadable(path, source))?.len();
    if found != expected {
        return Err(BundleError::Length { path: path.to_path_buf(), expected, found });
    }
    Ok(())
}

fn check_digest(path: &Path, digest: &FileDigest) -> Result<(), BundleError> {
    let mut file = open(path)?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => hash.update(&chunk[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(path, error)),
        }
    }
    let found = hex::encode(hash.finalize());
    if found != digest.sha256 {
        return Err(BundleError::Hash { path: path.to_path_buf(), expected: digest.sha256.clone(), found });
    }
    Ok(())
}

fn check_unlisted(dir: &Path, files: &BTreeMap<String, FileDigest>) -> Result<(), BundleError> {
    let graphs = dir.join("onnx");
    let entries = std::fs::read_dir(&graphs).map_err(|source| unreadable(&graphs, source))?;
    for entry in entries {
        let name = entry.map_err(|source| unreadable(&graphs, source))?.file_name();
        let listed = name.to_str().is_some_and(|name| files.contains_key(&format!("onnx/{name}")));
        if !listed && graphs.join(&name).is_file() {
            return Err(BundleError::Unlisted { path: graphs.join(name) });
        }
    }
    Ok(())
}

fn open(path: &Path) -> Result<File, BundleError> {
    match File::open(path) {
        Ok(file) => Ok(file),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Err(BundleError::Missing { path: path.to_path_buf() })
        }
        Err(error) => Err(unreadable(path, error)),
    }
}

fn unreadable(path: &Path, source: std::io::Error) -> BundleError {
    BundleError::Io { path: PathBuf::from(path), source }
}
