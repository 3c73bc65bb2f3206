//! `verify`: reads every live byte again, whatever was found good before, and lists what is damaged.
//!
//! It goes on after damage, so that one report names all of it. Seals of a collection wait while it is being read;
//! batches and searches do not.

use std::path::{Path, PathBuf};

use crate::codec::{FRAME_HEAD_BYTES, read_u32};
use crate::collection::Inner;
use crate::error::{Damage, StorageError};
use crate::journal::{Identity, scan};
use crate::manifest::{self, Manifest, SegmentEntry};
use crate::segment::SegmentView;
use crate::segment::layout::{self, ALIGNMENT, PartKind};
use crate::segment::sealed::{Sealed, recheck_part};
use crate::store::root::Root;
use crate::store::{aliases, open};

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyStep {
    /// The file.
    pub path: PathBuf,
    /// Files read so far, this one counted.
    pub files: u64,
    /// Bytes read so far.
    pub bytes: u64,
}

/// What `verify` found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Files read.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Collections read, damaged ones counted.
    pub collections: u64,
    /// Live rows of the collections that are open.
    pub rows: u64,
    /// All damage, in the order in which it was met.
    pub damages: Vec<Damage>,
}

impl VerifyReport {
    /// Whether nothing is damaged.
    pub fn is_clean(&self) -> bool {
        self.damages.is_empty()
    }
}

/// Collects what is found and tells who watches.
pub(crate) struct Verifier<'a> {
    pub(crate) report: VerifyReport,
    watch: &'a mut dyn FnMut(&VerifyStep),
}

impl<'a> Verifier<'a> {
    pub(crate) fn new(watch: &'a mut dyn FnMut(&VerifyStep)) -> Verifier<'a> {
        Verifier { report: VerifyReport::default(), watch }
    }

    /// Notes a file that was read.
    pub(crate) fn read(&mut self, path: &Path, bytes: u64) {
        self.report.files += 1;
        self.report.bytes += bytes;
        let (files, bytes) = (self.report.files, self.report.bytes);
        (self.watch)(&VerifyStep { path: path.to_path_buf(), files, bytes });
    }

    /// Notes damage; any other error ends the verification.
    pub(crate) fn found(&mut self, error: StorageError) -> Result<(), StorageError> {
        match error {
            StorageError::Damaged(damage) => {
                if !self.report.damages.contains(&damage) {
                    self.report.damages.push(damage);
                }
                Ok(())
            }
            StorageError::UnsupportedVersion { .. } | StorageError::Catalog { .. } => {
                let what = error.to_string();
                let path = match error {
                    StorageError::UnsupportedVersion { path, .. } | StorageError::Catalog { path, .. } => path,
                    _ => PathBuf::new(),
                };
                self.report.damages.push(Damage { path, offset: 0, what });
                Ok(())
            }
            error => Err(error),
        }
    }

    /// Reads the database's own files and every record of the catalog.
    pub(crate) fn database(&mut self, root: &Root) -> Result<(), StorageError> {
        if let Err(error) = open::read_database_file(&*root.backend, &root.dir) {
            self.found(error)?;
        }
        if let Err(error) = aliases::read(&*root.backend, &root.dir) {
            self.found(error)?;
        }
        for problem in root.catalog.check() {
            self.found(problem)?;
        }
        self.read(root.catalog.path(), 0);
        Ok(())
    }

    /// Reads every file of an open collection.
    pub(crate) fn collection(&mut self, inner: &Inner) -> Result<(), StorageError> {
        let published = inner.publishing.lock();
        let backend = &*inner.root.backend;
        let path = inner.dir.join(manifest::file_name(published.generation));
        match Manifest::read(backend, &inner.dir, published.generation) {
            Ok(manifest) => {
                self.read(&path, manifest.to_bytes().len() as u64);
                for entry in &manifest.segments {
                    self.segment(inner, &manifest, entry)?;
                }
            }
            Err(error) => self.found(missing_is_damage(error))?,
        }
        let current = {
            let state = inner.state.lock();
            (state.journal.identity.first_sequence, state.journal.durable)
        };
        for &first in published.journals.iter().filter(|&&first| first > published.sequence) {
            let durable = (first == current.0).then_some(current.1);
            self.journal(inner, first, durable)?;
        }
        Ok(())
    }

    /// `durable`: length to read of the journal that is being appended to.
    fn journal(&mut self, inner: &Inner, first_sequence: u64, durable: Option<u64>) -> Result<(), StorageError> {
        let identity = Identity { collection: inner.id, first_sequence };
        let path = inner.dir.join(identity.file_name());
        let mapping = match inner.root.backend.map(&path) {
            Ok(mapping) => mapping,
            Err(error) => {
                return self.found(missing_is_damage(StorageError::io(&path, "map", error)));
            }
        };
        let file = mapping.bytes();
        let length = durable.map_or(file.len(), |durable| durable as usize);
        let Some(bytes) = file.get(..length) else {
            let what = format!("journal: {} bytes, {length} were written", file.len());
            return self.found(StorageError::damaged(&path, file.len() as u64, what));
        };
        self.read(&path, bytes.len() as u64);
        match scan::scan(&path, bytes, identity, false, &mut |_, _| Ok(())) {
            Ok(_) => Ok(()),
            Err(error) => self.found(error),
        }
    }

    fn segment(&mut self, inner: &Inner, manifest: &Manifest, entry: &SegmentEntry) -> Result<(), StorageError> {
        // Mapped anew: what the open handle remembers as good does not count.
        let opened = crate::collection::open::open_segment(&*inner.root.backend, &inner.dir, manifest, entry);
        let view = match opened {
            Ok(view) => view,
            Err(error) => return self.found(missing_is_damage(error)),
        };
        let Some(sealed) = view.sealed_body() else {
            return Ok(());
        };
        self.read(&sealed.path, sealed.file_bytes());
        let before = self.report.damages.len();
        let mut errors = Vec::new();
        for part in &sealed.footer.parts {
            let kind = PartKind::ALL.into_iter().find(|&kind| kind as u32 == part.kind);
            let name = kind.map_or("an unknown part", PartKind::name);
            recheck_part(&sealed.path, sealed.file(), part, name, &mut |error| {
                errors.push(error);
            });
        }
        errors.extend(check_gaps(sealed));
        for error in errors {
            self.found(error)?;
        }
        if self.report.damages.len() == before
            && let Err(error) = check_rows(&view, sealed)
        {
            self.found(error)?;
        }
        Ok(())
    }
}

/// A file that the manifest names and that is not there is damage, not an accident of reading.
fn missing_is_damage(error: StorageError) -> StorageError {
    match error {
        StorageError::Io { path, source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            StorageError::damaged(&path, 0, "the file is missing")
        }
        error => error,
    }
}

/// The bytes between parts are zeros, and no others: so every byte of the file is accounted for.
fn check_gaps(sealed: &Sealed) -> Vec<StorageError> {
    let file = sealed.file();
    let frame_bytes = |at: usize| FRAME_HEAD_BYTES + read_u32(file, at + 12) as usize;
    let mut used: Vec<(usize, usize)> = vec![(0, frame_bytes(0))];
    if let Ok(footer) = layout::read_tail(&sealed.path, file) {
        used.push((footer, footer + frame_bytes(footer)));
    }
    for part in &sealed.footer.parts {
        used.push((part.offset as usize, (part.offset + part.bytes) as usize));
        used.push((part.sums_offset as usize, (part.sums_offset + part.blocks() * 4) as usize));
    }
    used.push((file.len() - layout::TAIL_BYTES, file.len()));
    used.sort_unstable();
    let mut errors = Vec::new();
    let mut at = 0;
    for (start, end) in used {
        let gap = file.get(at..start).unwrap_or_default();
        if gap.len() as u64 >= ALIGNMENT || gap.iter().any(|&byte| byte != 0) {
            errors.push(StorageError::damaged(&sealed.path, at as u64, "segment: bytes between its parts"));
        }
        at = at.max(end);
    }
    errors
}

/// What checksums cannot tell: keys in order and unique, every row readable.
fn check_rows(view: &SegmentView, sealed: &Sealed) -> Result<(), StorageError> {
    let mut before: Option<&str> = None;
    for place in 0..view.rows() {
        let row = sealed.key_order(place)?;
        let key = sealed.key(row)?;
        if before.is_some_and(|before| before >= key) {
            return Err(StorageError::damaged(&sealed.path, 0, format!("key order: place {place} is out of order")));
        }
        before = Some(key);
        sealed.document(row)?;
        sealed.features(row)?;
    }
    Ok(())
}
