//! The file of a segment while it is written: parts with their block checksums, then footer and tail.

use std::path::{Path, PathBuf};

use crate::backend::{Backend, BackendFile};
use crate::codec;
use crate::error::StorageError;

use super::layout::{self, ALIGNMENT, BLOCK_BYTES, Footer, Header, Part, PartKind};

const BUFFER_BYTES: usize = 1 << 20;

/// A file being written through a buffer, with its parts so far.
#[derive(Debug)]
pub(super) struct Writer {
    path: PathBuf,
    file: Box<dyn BackendFile>,
    buffer: Vec<u8>,
    /// Bytes written, those in the buffer too.
    at: u64,
    parts: Vec<(Part, Vec<u8>)>,
}

impl Writer {
    pub(super) fn create(backend: &dyn Backend, path: &Path) -> Result<Writer, StorageError> {
        let file = backend.create(path).map_err(|e| StorageError::io(path, "create", e))?;
        let buffer = Vec::with_capacity(BUFFER_BYTES);
        Ok(Writer { path: path.to_path_buf(), file, buffer, at: 0, parts: Vec::new() })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.at += bytes.len() as u64;
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.flush()?;
        }
        if bytes.len() >= BUFFER_BYTES {
            return self.file.append(bytes).map_err(|e| StorageError::io(&self.path, "write", e));
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    pub(super) fn flush(&mut self) -> Result<(), StorageError> {
        self.file.append(&self.buffer).map_err(|e| StorageError::io(&self.path, "write", e))?;
        self.buffer.clear();
        Ok(())
    }

    fn align(&mut self) -> Result<(), StorageError> {
        let gap = self.at.next_multiple_of(ALIGNMENT) - self.at;
        self.write(&[0; ALIGNMENT as usize][..gap as usize])
    }

    /// Writes one part; `fill` puts its bytes.
    pub(super) fn part(
        &mut self,
        kind: PartKind,
        fill: impl FnOnce(&mut PartWriter<'_>) -> Result<(), StorageError>,
    ) -> Result<Part, StorageError> {
        self.align()?;
        let offset = self.at;
        let mut out = PartWriter { writer: self, sums: Vec::new(), crc: 0, in_block: 0 };
        fill(&mut out)?;
        let sums = out.end();
        let part = Part { kind: kind as u32, offset, bytes: self.at - offset, sums_offset: 0, sums_crc: 0 };
        self.parts.push((part, sums));
        Ok(part)
    }

    /// Writes checksums, footer and tail, and syncs the file.
    pub(super) fn finish(mut self, header: &Header) -> Result<(), StorageError> {
        self.align()?;
        let mut parts = Vec::new();
        for (mut part, sums) in std::mem::take(&mut self.parts) {
            part.sums_offset = self.at;
            part.sums_crc = crc32c::crc32c(&sums);
            self.write(&sums)?;
            parts.push(part);
        }
        self.align()?;
        let footer_offset = self.at;
        let footer = Footer { segment: header.segment, rows: header.rows, parts };
        self.write(&codec::frame(layout::FOOTER, &footer))?;
        self.write(&layout::tail(footer_offset))?;
        self.flush()?;
        self.file.sync().map_err(|e| StorageError::io(&self.path, "sync", e))
    }
}

/// The part being written, with the checksums of its blocks.
#[derive(Debug)]
pub(super) struct PartWriter<'a> {
    writer: &'a mut Writer,
    sums: Vec<u8>,
    crc: u32,
    in_block: u64,
}

impl PartWriter<'_> {
    pub(super) fn put(&mut self, mut bytes: &[u8]) -> Result<(), StorageError> {
        self.writer.write(bytes)?;
        while !bytes.is_empty() {
            let take = bytes.len().min((BLOCK_BYTES - self.in_block) as usize);
            self.crc = crc32c::crc32c_append(self.crc, &bytes[..take]);
            self.in_block += take as u64;
            bytes = &bytes[take..];
            if self.in_block == BLOCK_BYTES {
                self.end_block();
            }
        }
        Ok(())
    }

    fn end_block(&mut self) {
        self.sums.extend_from_slice(&self.crc.to_le_bytes());
        self.crc = 0;
        self.in_block = 0;
    }

    fn end(mut self) -> Vec<u8> {
        if self.in_block > 0 {
            self.end_block();
        }
        self.sums
    }
}
