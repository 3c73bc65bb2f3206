//! Writing a sealed segment from the live rows of other segments, part by part, with little on the heap.
//!
//! Sealing gives it the memory chunks, merging gives it sealed segments: both are the same work. The graph is built
//! over the vectors as they already lie in the new file, so a large merge does not copy them to the heap.

use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::backend::{Backend, TEMPORARY};
use crate::batch::VectorType;
use crate::codec;
use crate::error::StorageError;
use crate::mmap::{self, Mapping};

use super::SegmentView;
use super::builder::{Guarded, Task};
use super::dead::DeadRows;
use super::file::{PartWriter, Writer};
use super::layout::{self, Header, Part, PartKind};
use super::sealed::Sealed;
use super::vectors::Vectors;

/// Floats that are widened at a time.
const WIDENED: usize = 1 << 18;

/// Rows after which it is asked whether the segment is still wanted.
const ASKED_AFTER: usize = 1 << 14;

/// Fails when the segment is not wanted any more.
type Wanted<'a> = &'a mut dyn FnMut() -> Result<(), StorageError>;

/// Writes the live rows of `sources` as a new segment, durably, and opens it.
///
/// # Errors
/// An I/O error, damage in a source, or [`StorageError::Stopped`].
pub(crate) fn make(
    backend: &dyn Backend,
    dir: &Path,
    header: Header,
    sources: &[SegmentView],
    guarded: Guarded<'_>,
    task: &mut Task<'_>,
) -> Result<SegmentView, StorageError> {
    build(backend, dir, header, sources, guarded, task)?;
    let sealed = Sealed::open(backend, dir, header.segment)?;
    Ok(SegmentView::sealed(Arc::new(sealed), DeadRows::default()))
}

/// Writes the live rows of `sources` as a new segment file; durable on return, so that no manifest can reach the disk
/// before what it names.
///
/// # Errors
/// An I/O error, damage in a source, or [`StorageError::Stopped`]; the unfinished file is removed.
fn build(
    backend: &dyn Backend,
    dir: &Path,
    header: Header,
    sources: &[SegmentView],
    guarded: Guarded<'_>,
    task: &mut Task<'_>,
) -> Result<(), StorageError> {
    let target = dir.join(layout::file_name(header.segment));
    let temporary = dir.join(format!("{}{TEMPORARY}", layout::file_name(header.segment)));
    let written = write(backend, &temporary, header, sources, guarded, task)
        .and_then(|()| backend.rename(&temporary, &target).map_err(|e| StorageError::io(&target, "rename to", e)))
        .and_then(|()| backend.sync_dir(dir).map_err(|e| StorageError::io(dir, "sync", e)));
    if written.is_err() {
        let _ = backend.remove_file(&temporary);
    }
    written
}

fn write(
    backend: &dyn Backend,
    path: &Path,
    header: Header,
    sources: &[SegmentView],
    guarded: Guarded<'_>,
    task: &mut Task<'_>,
) -> Result<(), StorageError> {
    let rows: Vec<(&SegmentView, u32)> =
        sources.iter().flat_map(|source| source.live().map(move |row| (source, row))).collect();
    assert_eq!(rows.len(), header.rows as usize, "the header tells the live rows");
    let mut writer = Writer::create(backend, path)?;
    writer.write(&codec::frame(layout::HEADER, &header))?;

    for source in sources {
        // Checked once; of a damaged part, the rows below are checked one by one.
        let _ = source.vectors();
    }
    let _in_order: Vec<_> = sources.iter().map(SegmentView::rows_in_order).collect();
    let mut wanted = || task.check(guarded.collection);
    let vectors = write_vectors(&mut writer, &rows, &mut wanted)?;
    writer.flush()?;
    let dim = header.dim as usize;
    let graph = match header.vector_type {
        _ if !guarded.wants_graph(header.rows) => None,
        VectorType::F32 => guarded.graph(&map_floats(backend, path, vectors)?, dim, sources, task)?,
        VectorType::F16 => {
            let scratch = Scratch::write(backend, path, vectors)?;
            guarded.graph(&map_floats(backend, &scratch.path, scratch.part)?, dim, sources, task)?
        }
    };
    write_keys(&mut writer, &rows)?;
    let payloads = write_documents(&mut writer, &rows, guarded, &mut || task.check(guarded.collection))?;
    if header.feature_dim > 0 {
        write_features(&mut writer, &rows, header.feature_dim as usize)?;
    }
    if let Some(graph) = graph {
        writer.part(PartKind::Graph, |out| out.put(&graph))?;
    }
    if let Some(payloads) = payloads {
        writer.part(PartKind::Payloads, |out| out.put(&payloads))?;
    }
    writer.finish(&header)
}

fn write_vectors(writer: &mut Writer, rows: &[(&SegmentView, u32)], wanted: Wanted<'_>) -> Result<Part, StorageError> {
    writer.part(PartKind::Vectors, |out| {
        rows.chunks(ASKED_AFTER).try_for_each(|rows| {
            wanted()?;
            rows.iter().try_for_each(|(source, row)| out.put(source.vector(*row)?.bytes()))
        })
    })
}

/// Single floats of a file that was just written.
struct MappedFloats {
    mapping: Mapping,
    range: Range<usize>,
}

impl Deref for MappedFloats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        mmap::floats(&self.mapping.bytes()[self.range.clone()]).unwrap_or_default()
    }
}

fn map_floats(backend: &dyn Backend, path: &Path, part: Part) -> Result<MappedFloats, StorageError> {
    let mapping = backend.map(path).map_err(|e| StorageError::io(path, "map", e))?;
    let range = part.offset as usize..(part.offset + part.bytes) as usize;
    if mapping.bytes().get(range.clone()).and_then(mmap::floats).is_none() {
        return Err(StorageError::damaged(path, part.offset, "vectors: not as just written"));
    }
    Ok(MappedFloats { mapping, range })
}

/// Halves as single floats in a file beside them, which is removed when the graph is made: builders want floats, and a
/// large merge has no room for them on the heap. Left behind by a crash, it is removed at open.
struct Scratch<'a> {
    backend: &'a dyn Backend,
    path: PathBuf,
    part: Part,
}

impl Scratch<'_> {
    fn write<'a>(backend: &'a dyn Backend, beside: &Path, halves: Part) -> Result<Scratch<'a>, StorageError> {
        let path = beside.with_extension(format!("floats{TEMPORARY}"));
        let failed = |action| move |e| StorageError::io(beside, action, e);
        let mapping = backend.map(beside).map_err(failed("map"))?;
        let range = halves.offset as usize..(halves.offset + halves.bytes) as usize;
        let vectors = mapping.bytes().get(range).and_then(|bytes| Vectors::of_bytes(VectorType::F16, bytes));
        let vectors =
            vectors.ok_or_else(|| StorageError::damaged(beside, halves.offset, "vectors: not as just written"))?;
        let part = Part { offset: 0, bytes: halves.bytes * 2, ..halves };
        // From here on it is removed, whatever comes.
        let scratch = Scratch { backend, path, part };
        let mut file = backend.create(&scratch.path).map_err(failed("create"))?;
        for start in (0..vectors.len()).step_by(WIDENED) {
            let floats = vectors.slice(start..vectors.len().min(start + WIDENED)).to_f32();
            file.append(mmap::bytes_of(&floats)).map_err(failed("write"))?;
        }
        Ok(scratch)
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.backend.remove_file(&self.path) {
            tracing::warn!(file = %self.path.display(), %error, "a file is removed at the next open");
        }
    }
}

fn write_keys(writer: &mut Writer, rows: &[(&SegmentView, u32)]) -> Result<(), StorageError> {
    let keys = rows.iter().map(|(source, row)| source.key(*row)).collect::<Result<Vec<&str>, _>>()?;
    writer.part(PartKind::Keys, |out| keys.iter().try_for_each(|key| out.put(key.as_bytes())))?;
    let lengths = keys.iter().map(|key| key.len() as u64);
    writer.part(PartKind::KeyOffsets, |out| put_offsets(out, lengths))?;
    let mut order: Vec<u32> = (0..keys.len() as u32).collect();
    order.sort_unstable_by_key(|&row| keys[row as usize]);
    writer.part(PartKind::KeyOrder, |out| order.iter().try_for_each(|row| out.put(&row.to_le_bytes())))?;
    Ok(())
}

/// Writes the documents and returns the list of their payloads, if the builder makes one.
fn write_documents(
    writer: &mut Writer,
    rows: &[(&SegmentView, u32)],
    guarded: Guarded<'_>,
    wanted: Wanted<'_>,
) -> Result<Option<Vec<u8>>, StorageError> {
    let (mut lengths, mut lister) = (Vec::with_capacity(rows.len()), guarded.lister());
    writer.part(PartKind::Documents, |out| {
        rows.chunks(ASKED_AFTER).try_for_each(|rows| {
            wanted()?;
            rows.iter().try_for_each(|(source, row)| {
                let document = source.document(*row)?;
                lister.add(&document.payload);
                let bytes = codec::encode(&document);
                lengths.push(bytes.len() as u64);
                out.put(&bytes)
            })
        })
    })?;
    let payloads = lister.finish();
    writer.part(PartKind::DocumentOffsets, |out| put_offsets(out, lengths.into_iter()))?;
    Ok(payloads)
}

fn write_features(writer: &mut Writer, rows: &[(&SegmentView, u32)], dim: usize) -> Result<(), StorageError> {
    let mut present = vec![0_u8; rows.len().div_ceil(8)];
    for (place, (source, row)) in rows.iter().enumerate() {
        if source.features_ref(*row)?.is_some() {
            present[place / 8] |= 1 << (place % 8);
        }
    }
    if present.iter().all(|&byte| byte == 0) {
        return Ok(());
    }
    writer.part(PartKind::FeatureRows, |out| out.put(&present))?;
    let absent = vec![0.0; dim];
    writer.part(PartKind::Features, |out| {
        rows.iter().try_for_each(|(source, row)| {
            let features = source.features_ref(*row)?;
            out.put(mmap::bytes_of(features.as_deref().unwrap_or(&absent)))
        })
    })?;
    Ok(())
}

/// Puts `0`, then the running sum after each length.
fn put_offsets(out: &mut PartWriter<'_>, lengths: impl Iterator<Item = u64>) -> Result<(), StorageError> {
    let mut end = 0_u64;
    out.put(&end.to_le_bytes())?;
    for length in lengths {
        end += length;
        out.put(&end.to_le_bytes())?;
    }
    Ok(())
}
