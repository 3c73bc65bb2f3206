//! The headers of a Parquet file's pages, read before the pages are: how much each of them unpacks to.
//!
//! A page header is a struct in Thrift's compact protocol. Only sizes and counts are taken from it; the rest is passed
//! over. Source: `parquet.thrift` of apache/parquet-format, and Thrift's compact protocol specification.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};

use super::super::SourceError;
use super::guarded;

/// Most bytes that a page unpacks to.
const PAGE_BYTES_MAX: u64 = 1 << 30;
/// A page of more bytes than this must not be packed by more than [`RATIO_MAX`]: no picture is.
const PACKED_BYTES_MAX: u64 = 64 << 20;
const RATIO_MAX: u64 = 100;
/// Most numbers of a list column's row group: two million vectors of 1024.
const LIST_VALUES_MAX: u64 = 1 << 31;
/// Deepest nesting of a page header.
const DEPTH_MAX: usize = 8;

/// # Errors
/// It is no Parquet file, or its footer is larger than it may be.
pub(super) fn check_footer(mut file: &File, limit: u64) -> Result<(), SourceError> {
    let mut tail = [0; 8];
    let read = file.seek(SeekFrom::End(-8)).and_then(|at| file.read_exact(&mut tail).map(|()| at));
    let at = read.map_err(|_| SourceError::damaged("no Parquet file: it is too short"))?;
    let [a, b, c, d, magic @ ..] = tail;
    if &magic != b"PAR1" {
        return Err(SourceError::damaged("no Parquet file, or one that was cut off: it does not end in PAR1"));
    }
    let len = u64::from(u32::from_le_bytes([a, b, c, d]));
    if len > at.min(limit) {
        return Err(SourceError::TooLarge { what: "its footer".into(), bytes: len, limit: at.min(limit) });
    }
    Ok(())
}

/// The sum over the columns of the largest page's unpacked bytes: no row has more, but for lists over several pages.
///
/// # Errors
/// A page that unpacks to more than may be.
pub(super) fn check_group(file: &File, group: &RowGroupMetaData) -> Result<u64, SourceError> {
    let mut sum = 0u64;
    for column in group.columns() {
        sum = sum.saturating_add(check_column(file, column)?);
    }
    Ok(sum)
}

fn check_column(file: &File, column: &ColumnChunkMetaData) -> Result<u64, SourceError> {
    let name = || column.column_path().string();
    let is_list = column.column_descr().max_rep_level() > 0;
    let values = u64::try_from(column.num_values()).unwrap_or(u64::MAX);
    if is_list && values > LIST_VALUES_MAX {
        let what = format!("{values} values of column {:?} in one row group; write smaller row groups", name());
        return Err(SourceError::unsupported(what));
    }
    let (begin, len) = guarded(|| Ok::<_, String>(column.byte_range()))?;
    let end = begin.saturating_add(len);
    let mut pages = Compact::at(file, begin)?;
    let mut largest = 0;
    while pages.at < end {
        let page = pages.page().map_err(|problem| SourceError::damaged(format!("column {:?}: {problem}", name())))?;
        let packed_hard = page.unpacked > PACKED_BYTES_MAX && page.unpacked / page.packed.max(1) > RATIO_MAX;
        if page.unpacked > PAGE_BYTES_MAX || packed_hard {
            let what = format!("a page of column {:?}, packed into {} bytes,", name(), page.packed);
            let limit = if packed_hard { RATIO_MAX * page.packed } else { PAGE_BYTES_MAX };
            return Err(SourceError::TooLarge { what, bytes: page.unpacked, limit });
        }
        // Four bytes at least for each value of a list, even where a few bits tell a million of them.
        let values = if is_list { page.values.saturating_mul(4) } else { 0 };
        largest = largest.max(page.unpacked).max(values);
        pages.skip(page.packed).map_err(SourceError::damaged)?;
    }
    Ok(largest)
}

/// What a page header says.
#[derive(Debug, Default)]
struct Page {
    unpacked: u64,
    packed: u64,
    values: u64,
}

/// A reader of Thrift's compact protocol.
struct Compact<R> {
    reader: R,
    at: u64,
}

impl<'a> Compact<BufReader<&'a File>> {
    fn at(mut file: &'a File, at: u64) -> Result<Self, SourceError> {
        file.seek(SeekFrom::Start(at)).map_err(|error| SourceError::damaged(error.to_string()))?;
        Ok(Compact { reader: BufReader::with_capacity(4 << 10, file), at })
    }
}

impl<R: Read + Seek> Compact<BufReader<R>> {
    /// The page header at the present place.
    fn page(&mut self) -> Result<Page, String> {
        let mut page = Page::default();
        self.fields(DEPTH_MAX, &mut |this, id, kind| {
            match (id, kind) {
                (2, I32) => page.unpacked = this.size()?,
                (3, I32) => page.packed = this.size()?,
                // A data page's header, of both versions: its first field counts values.
                (5 | 8, STRUCT) => this.fields(DEPTH_MAX, &mut |this, id, kind| match (id, kind) {
                    (1, I32) => {
                        page.values = this.size()?;
                        Ok(())
                    }
                    _ => this.pass(kind, DEPTH_MAX),
                })?,
                _ => this.pass(kind, DEPTH_MAX)?,
            }
            Ok(())
        })?;
        Ok(page)
    }
}

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;

impl<R: Read + Seek> Compact<BufReader<R>> {
    /// Calls `field` with the number and kind of each field of a struct; it reads the value.
    fn fields(
        &mut self,
        depth: usize,
        field: &mut dyn FnMut(&mut Self, i16, u8) -> Result<(), String>,
    ) -> Result<(), String> {
        if depth == 0 {
            return Err("a page header that is nested too deep".into());
        }
        let mut id = 0i16;
        loop {
            let head = self.byte()?;
            let kind = head & 0x0F;
            if head == 0 {
                return Ok(());
            }
            id = match head >> 4 {
                0 => self.varint()? as i16,
                step => id.wrapping_add(step.into()),
            };
            field(self, id, kind)?;
        }
    }

    /// Passes over a value.
    fn pass(&mut self, kind: u8, depth: usize) -> Result<(), String> {
        if depth == 0 {
            return Err("a page header that is nested too deep".into());
        }
        match kind {
            TRUE | FALSE => Ok(()),
            BYTE => self.skip(1),
            I16 | I32 | I64 => self.varint().map(drop),
            DOUBLE => self.skip(8),
            BINARY => {
                let len = self.varint()?;
                self.skip(len)
            }
            LIST | SET => {
                let head = self.byte()?;
                let len = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
                (0..len).try_for_each(|_| match head & 0x0F {
                    TRUE | FALSE => self.skip(1),
                    kind => self.pass(kind, depth - 1),
                })
            }
            STRUCT => self.fields(depth - 1, &mut |this, _, kind| this.pass(kind, depth - 1)),
            MAP => Err("a page header with a map".into()),
            _ => Err("a page header of unknown types".into()),
        }
    }

    /// A number that is no less than 0.
    fn size(&mut self) -> Result<u64, String> {
        let zigzag = self.varint()?;
        if zigzag & 1 == 0 { Ok(zigzag >> 1) } else { Err("a page header with a negative size".into()) }
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a page header with an endless number".into())
    }

    fn byte(&mut self) -> Result<u8, String> {
        let mut byte = [0];
        self.reader.read_exact(&mut byte).map_err(|_| "the file ends inside a page header".to_owned())?;
        self.at += 1;
        Ok(byte[0])
    }

    fn skip(&mut self, len: u64) -> Result<(), String> {
        let step = i64::try_from(len).map_err(|_| "a page header that leads out of the file".to_owned())?;
        self.reader.seek_relative(step).map_err(|error| error.to_string())?;
        self.at = self.at.saturating_add(len);
        Ok(())
    }
}
