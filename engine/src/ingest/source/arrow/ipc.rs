//! An Arrow file (also called Feather), one record batch after another.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{FileDecoder, read_footer_length};
use arrow_ipc::{Block, Message, root_as_footer, root_as_message};
use arrow_schema::SchemaRef;

use super::super::SourceError;
use super::{Batches, Lost, Rows, check_rows, guarded};
use crate::error::{Error, Result};

/// Largest footer, in bytes.
const FOOTER_BYTES_MAX: u64 = 64 << 20;
/// Most bytes of a record batch, packed or unpacked.
const BATCH_BYTES_MAX: u64 = 1 << 30;

/// An Arrow file that is being read.
pub(super) struct Ipc {
    file: File,
    len: u64,
    decoder: FileDecoder,
    schema: SchemaRef,
    blocks: Vec<(Block, u64)>,
    next: usize,
    /// Rows of the next batch to pass over.
    skip: u64,
}

impl Ipc {
    pub(super) fn open(path: &Path, from: u64) -> Result<Ipc> {
        let failed = |source| Error::File { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        let footer = footer(&mut file, len)?;
        let (schema, version, dictionaries, batches) = guarded(|| {
            let footer = root_as_footer(&footer).map_err(|error| error.to_string())?;
            let schema = footer.schema().ok_or("an Arrow file without a schema")?;
            let schema = Arc::new(try_fb_to_schema(schema).map_err(|error| error.to_string())?);
            let dictionaries: Vec<Block> = footer.dictionaries().iter().flatten().copied().collect();
            let batches: Vec<Block> = footer.recordBatches().iter().flatten().copied().collect();
            Ok::<_, String>((schema, footer.version(), dictionaries, batches))
        })?;
        let decoder = FileDecoder::new(schema.clone(), version);
        let mut ipc = Ipc { file, len, decoder, schema, blocks: Vec::new(), next: 0, skip: from };
        ipc.check_overlap(dictionaries.iter().chain(&batches))?;
        for block in dictionaries {
            let bytes = ipc.bytes(&block)?;
            let decoder = &mut ipc.decoder;
            guarded(|| decoder.read_dictionary(&block, &bytes.into()))?;
        }
        for block in batches {
            let rows = ipc.rows_of(&block)?;
            if rows > 0 {
                ipc.blocks.push((block, rows));
            }
        }
        check_rows(ipc.blocks.iter().map(|(_, rows)| *rows), len)?;
        while ipc.blocks.get(ipc.next).is_some_and(|(_, rows)| ipc.skip >= *rows) {
            ipc.skip -= ipc.blocks[ipc.next].1;
            ipc.next += 1;
        }
        Ok(ipc)
    }

    pub(super) fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Rows of the whole file.
    pub(super) fn rows(&self) -> u64 {
        self.blocks.iter().map(|(_, rows)| rows).sum()
    }
}

impl Ipc {
    /// # Errors
    /// Blocks that have more bytes than the file: some lie in each other, and a small file could be read without end.
    fn check_overlap<'a>(&self, blocks: impl Iterator<Item = &'a Block>) -> Result<(), SourceError> {
        let mut left = self.len;
        for block in blocks {
            let (_, head, body) = self.bounds(block)?;
            let overlap = || SourceError::damaged("record batches that have more bytes than the file");
            left = left.checked_sub((head + body).max(1)).ok_or_else(overlap)?;
        }
        Ok(())
    }

    /// The bytes of a block, after a look at what they unpack to.
    fn bytes(&mut self, block: &Block) -> Result<Vec<u8>, SourceError> {
        let (at, head, body) = self.bounds(block)?;
        let bytes = read(&mut self.file, at, head + body)?;
        let (head, body) = bytes.split_at(head as usize);
        check(head, body)?;
        Ok(bytes)
    }

    /// Rows of a batch, by its header.
    fn rows_of(&mut self, block: &Block) -> Result<u64, SourceError> {
        let (at, head, _) = self.bounds(block)?;
        let head = read(&mut self.file, at, head)?;
        guarded(|| {
            let message = message(&head)?;
            let batch = message.header_as_record_batch().ok_or("a block that is no record batch")?;
            u64::try_from(batch.length()).map_err(|_| "a record batch of a negative length".to_owned())
        })
    }

    /// Where a block is, and the lengths of its header and its body.
    fn bounds(&self, block: &Block) -> Result<(u64, u64, u64), SourceError> {
        let number = |value: i64| u64::try_from(value).map_err(|_| SourceError::damaged("a block of negative length"));
        let (at, head, body) =
            (number(block.offset())?, number(block.metaDataLength().into())?, number(block.bodyLength())?);
        let len = head.saturating_add(body);
        if len > BATCH_BYTES_MAX {
            let what = "a record batch (write smaller ones)".into();
            return Err(SourceError::TooLarge { what, bytes: len, limit: BATCH_BYTES_MAX });
        }
        if at.saturating_add(len) > self.len {
            return Err(SourceError::cut_off(self.len, "a record batch"));
        }
        Ok((at, head, body))
    }

    fn batch(&mut self, block: &Block) -> Result<Option<arrow_array::RecordBatch>, SourceError> {
        let bytes = self.bytes(block)?;
        guarded(|| self.decoder.read_record_batch(block, &bytes.into()))
    }
}

impl Batches for Ipc {
    fn next(&mut self) -> Option<Rows> {
        let (block, rows) = *self.blocks.get(self.next)?;
        self.next += 1;
        let (skip, lost) = (std::mem::take(&mut self.skip), |rows, error| Some(Err(Lost { rows, error })));
        match self.batch(&block) {
            Ok(Some(batch)) if batch.num_rows() as u64 == rows => {
                Some(Ok(batch.slice(skip as usize, (rows - skip) as usize)))
            }
            Ok(_) => lost(rows - skip, SourceError::damaged("a block that is not the record batch it was")),
            Err(error) => lost(rows - skip, error),
        }
    }
}

fn footer(file: &mut File, len: u64) -> Result<Vec<u8>, SourceError> {
    let damaged = || SourceError::damaged("no Arrow file, or one that was cut off: it does not end in ARROW1");
    let tail = read(file, len.checked_sub(10).ok_or_else(damaged)?, 10)?;
    let tail = tail.try_into().map_err(|_| damaged())?;
    let bytes = read_footer_length(tail).map_err(|_| damaged())? as u64;
    let limit = FOOTER_BYTES_MAX.min(len - 10);
    if bytes > limit {
        return Err(SourceError::TooLarge { what: "its footer".into(), bytes, limit });
    }
    read(file, len - 10 - bytes, bytes)
}

fn read(file: &mut File, at: u64, len: u64) -> Result<Vec<u8>, SourceError> {
    let mut bytes = vec![0; len as usize];
    let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut bytes));
    read.map_err(|error| SourceError::damaged(format!("byte {at} cannot be read: {error}")))?;
    Ok(bytes)
}

/// The message in a block's header, which begins with its length, and in newer files with a mark before that.
fn message(head: &[u8]) -> Result<Message<'_>, String> {
    let head = head.strip_prefix(&[0xFF; 4]).unwrap_or(head);
    root_as_message(head.get(4..).unwrap_or_default()).map_err(|error| error.to_string())
}

/// # Errors
/// The buffers of a block say that they unpack to more than may be.
fn check(head: &[u8], body: &[u8]) -> Result<(), SourceError> {
    let unpacked = guarded(|| {
        let message = message(head)?;
        let dictionary = message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data());
        let Some(batch) = message.header_as_record_batch().or(dictionary) else { return Ok(0) };
        let buffers = batch.buffers().filter(|_| batch.compression().is_some());
        let unpacked = |at: i64| {
            let prefix = body.get(usize::try_from(at).ok()?..)?.first_chunk()?;
            u64::try_from(i64::from_le_bytes(*prefix)).ok()
        };
        let lengths = buffers.iter().flatten().filter(|b| b.length() > 0).filter_map(|b| unpacked(b.offset()));
        Ok::<_, String>(lengths.fold(0, u64::saturating_add))
    })?;
    if unpacked > BATCH_BYTES_MAX {
        let what = "an unpacked record batch".into();
        return Err(SourceError::TooLarge { what, bytes: unpacked, limit: BATCH_BYTES_MAX });
    }
    Ok(())
}
