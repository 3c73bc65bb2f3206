//! What can be kept of each segment, row by row.

use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::backend::Entry;
use crate::collection::open::open_segment;
use crate::error::StorageError;
use crate::manifest::SegmentEntry;
use crate::progress::Meter;
use crate::segment::SegmentView;
use crate::segment::dead::DeadRows;
use crate::segment::layout::{self, BLOCK_BYTES, Header};
use crate::segment::sealed::Sealed;
use crate::verify::segment::check;

use super::base::Base;
use super::subject::Subject;
use super::{LostRows, RepairReport};

/// A segment with what is lost of it marked dead.
pub(crate) struct Source {
    pub(crate) view: SegmentView,
    /// Whether its file can stay as it is; else its rows are written anew.
    pub(crate) is_whole: bool,
}

/// Surveys the segments of a collection, reading every byte of them.
pub(super) struct Survey<'a, 'b> {
    pub(super) subject: &'a Subject<'a>,
    pub(super) base: &'a Base,
    pub(super) entries: &'a [Entry],
    pub(super) report: &'a mut RepairReport,
    pub(super) meter: &'a mut Meter<'b>,
}

impl Survey<'_, '_> {
    /// What can be kept, oldest segment first.
    pub(super) fn run(mut self) -> Result<Vec<Source>, StorageError> {
        let mut sources = Vec::new();
        for entry in &self.base.manifest.segments {
            sources.extend(self.named(entry)?);
        }
        if !self.base.is_newest {
            for id in self.unnamed_ids() {
                sources.extend(self.unnamed(id)?);
            }
            sources.sort_by_key(|source| source.view.id());
            drop_doubles(&mut sources)?;
        }
        Ok(sources)
    }

    /// A segment that the manifest names.
    fn named(&mut self, entry: &SegmentEntry) -> Result<Option<Source>, StorageError> {
        let path = self.subject.dir.join(layout::file_name(entry.id));
        let dead = DeadRows::from_stored(&entry.dead, entry.rows).unwrap_or_default();
        match open_segment(self.subject.backend, &self.subject.dir, &self.base.manifest, entry) {
            Ok(view) if self.is_whole(&view) => return Ok(Some(Source { view, is_whole: true })),
            Ok(_) => {}
            Err(StorageError::Damaged(damage)) => self.report.damages.push(damage),
            Err(error) => return Err(error),
        }
        let header = self.header(entry.id, entry.rows);
        let mut places = vec![path.clone()];
        // A file that was given another's name is found by what it says of itself.
        places.extend(self.segment_files().filter(|other| *other != path));
        for place in places {
            let found = Sealed::salvage(self.subject.backend, &place, header, Some(entry.footer_crc))?;
            if let Some(sealed) = found {
                return self.rows_of(SegmentView::sealed(Arc::new(sealed), dead)).map(Some);
            }
        }
        let rows = ranges((0..entry.rows).filter(|&row| !dead.contains(row)));
        if !rows.is_empty() {
            self.report.lost_rows.push(LostRows { path, rows });
        }
        Ok(None)
    }

    /// A segment that is newer than the manifest, and is believed for what it says of itself.
    fn unnamed(&mut self, id: u64) -> Result<Option<Source>, StorageError> {
        let backend = self.subject.backend;
        let path = self.subject.dir.join(layout::file_name(id));
        let opened = Sealed::open(backend, &self.subject.dir, id);
        let header = match &opened {
            Ok(sealed) => Some(sealed.header),
            Err(_) => layout::read_header(backend, &path)?,
        };
        let wanted = header.map(|header| self.header(id, header.rows));
        if header != wanted {
            let what = "segment: of another collection or another shape";
            self.report.damages.extend(StorageError::damaged(&path, 0, what).damage().cloned());
            return Ok(None);
        }
        match opened {
            Ok(sealed) => {
                let view = SegmentView::sealed(Arc::new(sealed), DeadRows::default());
                if self.is_whole(&view) {
                    return Ok(Some(Source { view, is_whole: true }));
                }
            }
            Err(StorageError::Damaged(damage)) => self.report.damages.push(damage),
            Err(error) => return Err(error),
        }
        let found = match header {
            Some(header) => Sealed::salvage(backend, &path, header, None)?,
            None => None,
        };
        match found {
            Some(sealed) => self.rows_of(SegmentView::sealed(Arc::new(sealed), DeadRows::default())).map(Some),
            None => {
                self.report.lost_rows.push(LostRows { path, rows: Vec::new() });
                Ok(None)
            }
        }
    }

    /// Reads every byte of a segment; damage goes to the report.
    fn is_whole(&mut self, view: &SegmentView) -> bool {
        let before = self.report.damages.len();
        let damages = &mut self.report.damages;
        check(view, self.meter, &mut |error| damages.extend(error.damage().cloned()));
        self.report.damages.len() == before
    }

    /// Marks dead what cannot be read whole, and reports it.
    fn rows_of(&mut self, mut view: SegmentView) -> Result<Source, StorageError> {
        let mut unnamed = Vec::new();
        let live: Vec<u32> = view.live().collect();
        for row in live {
            if view.is_row_whole(row) {
                continue;
            }
            match view.key(row) {
                Ok(key) => self.report.lost_keys.push(key.to_owned()),
                Err(_) => unnamed.push(row),
            }
            view.kill(row);
        }
        let path = view.sealed_body().map(|sealed| sealed.path.clone()).unwrap_or_default();
        if !unnamed.is_empty() {
            self.report.lost_rows.push(LostRows { path, rows: ranges(unnamed.into_iter()) });
        }
        self.report.rebuilt += 1;
        Ok(Source { view, is_whole: false })
    }

    fn header(&self, segment: u64, rows: u32) -> Header {
        let spec = &self.base.manifest.spec;
        Header {
            collection: self.subject.id,
            segment,
            dim: spec.dim,
            vector_type: spec.vector_type,
            feature_dim: spec.feature_dim,
            rows,
            block_bytes: BLOCK_BYTES as u32,
        }
    }

    fn segment_files(&self) -> impl Iterator<Item = PathBuf> + '_ {
        let dir: &Path = &self.subject.dir;
        self.entries.iter().filter(|entry| layout::id_of(&entry.name).is_some()).map(|entry| dir.join(&entry.name))
    }

    fn unnamed_ids(&self) -> Vec<u64> {
        let ids = self.entries.iter().filter_map(|entry| layout::id_of(&entry.name));
        ids.filter(|&id| id >= self.base.manifest.next_segment).collect()
    }
}

/// Of several rows with one key, the newest is kept: segments are numbered in the order in which they were made, and
/// each held only what was alive then.
fn drop_doubles(sources: &mut [Source]) -> Result<(), StorageError> {
    let mut seen: HashSet<String> = HashSet::new();
    for source in sources.iter_mut().rev() {
        let live: Vec<u32> = source.view.live().collect();
        for row in live {
            if !seen.insert(source.view.key(row)?.to_owned()) {
                source.view.kill(row);
            }
        }
    }
    Ok(())
}

/// Ascending rows as ranges.
fn ranges(rows: impl Iterator<Item = u32>) -> Vec<Range<u32>> {
    let mut ranges: Vec<Range<u32>> = Vec::new();
    for row in rows {
        match ranges.last_mut() {
            Some(last) if last.end == row => last.end += 1,
            _ => ranges.push(row..row + 1),
        }
    }
    ranges
}
