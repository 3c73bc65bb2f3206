//! The headers of a Parquet file's pages, read before the pages are: how much each of them unpacks to.
//!
//! A page header is a struct in Thrift's compact protocol. Only sizes and counts are taken from it; the rest is passed
//! over. Source: `parquet.thrift` of apache/parquet-format.

use std::fs::File;
use std::io::{BufReader, Read, Seek};

use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};

use super::super::SourceError;
use super::guarded;
use super::thrift::{Compact, Kind, Shape};

/// Most bytes that a page unpacks to.
const PAGE_BYTES_MAX: u64 = 1 << 30;
/// A page of more bytes than this must not be packed by more than [`RATIO_MAX`]: no picture is.
const PACKED_BYTES_MAX: u64 = 64 << 20;
const RATIO_MAX: u64 = 100;
/// Most numbers of a list column's row group: two million vectors of 1024.
const LIST_VALUES_MAX: u64 = 1 << 31;

const STATISTICS: Shape = &[
    (1, Kind::Binary),
    (2, Kind::Binary),
    (3, Kind::I64),
    (4, Kind::I64),
    (5, Kind::Binary),
    (6, Kind::Binary),
    (7, Kind::Bool),
    (8, Kind::Bool),
    (9, Kind::I64),
];
const DATA_PAGE: Shape =
    &[(1, Kind::I32), (2, Kind::I32), (3, Kind::I32), (4, Kind::I32), (5, Kind::Struct(STATISTICS))];
const DICTIONARY_PAGE: Shape = &[(1, Kind::I32), (2, Kind::I32), (3, Kind::Bool)];
const DATA_PAGE_V2: Shape = &[
    (1, Kind::I32),
    (2, Kind::I32),
    (3, Kind::I32),
    (4, Kind::I32),
    (5, Kind::I32),
    (6, Kind::I32),
    (7, Kind::Bool),
    (8, Kind::Struct(STATISTICS)),
];
const PAGE: Shape = &[
    (1, Kind::I32),
    (2, Kind::I32),
    (3, Kind::I32),
    (4, Kind::I32),
    (5, Kind::Struct(DATA_PAGE)),
    (6, Kind::Empty),
    (7, Kind::Struct(DICTIONARY_PAGE)),
    (8, Kind::Struct(DATA_PAGE_V2)),
];

/// The sum over the columns of the largest page's unpacked bytes: no row has more, but for lists over several pages.
///
/// # Errors
/// A page that unpacks to more than may be; columns that share bytes, each of which would be read again, or that have
/// more rows than their group, or fewer.
pub(super) fn check_group(file: &File, group: &RowGroupMetaData) -> Result<u64, SourceError> {
    let len = file.metadata().map_err(|error| SourceError::damaged(error.to_string()))?.len();
    let (mut sum, mut left) = (0u64, len);
    for column in group.columns() {
        let is_flat = column.column_descr().max_rep_level() == 0;
        if is_flat && column.num_values() != group.num_rows() {
            let (name, values, rows) = (column.column_path().string(), column.num_values(), group.num_rows());
            return Err(SourceError::damaged(format!(
                "column {name:?} has {values} values in a row group of {rows} rows"
            )));
        }
        let (begin, bytes) = guarded(|| Ok::<_, String>(column.byte_range()))?;
        let overlap = || SourceError::damaged("columns that have more bytes than the file");
        left = left.checked_sub(bytes).ok_or_else(overlap)?;
        sum = sum.saturating_add(check_column(Compact::at(file, begin, len)?, column, begin + bytes)?);
    }
    Ok(sum)
}

/// The largest page's unpacked bytes in the column whose pages lie up to `end`.
fn check_column(
    mut pages: Compact<BufReader<&File>>,
    column: &ColumnChunkMetaData,
    end: u64,
) -> Result<u64, SourceError> {
    let name = || column.column_path().string();
    let is_list = column.column_descr().max_rep_level() > 0;
    let values = u64::try_from(column.num_values()).unwrap_or(u64::MAX);
    if is_list && values > LIST_VALUES_MAX {
        let what = format!("{values} values of column {:?} in one row group; write smaller row groups", name());
        return Err(SourceError::unsupported(what));
    }
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

impl<R: Read + Seek> Compact<BufReader<R>> {
    /// The page header at the present place.
    fn page(&mut self) -> Result<Page, String> {
        let mut sizes = [0; 3];
        self.read(0, PAGE, &mut |parent, id, value| match (parent, id) {
            (0, 2) => sizes[0] = value,
            (0, 3) => sizes[1] = value,
            // A data page's header, of both versions: its first field counts values.
            (5 | 8, 1) => sizes[2] = value,
            _ => {}
        })?;
        let [unpacked, packed, values] = sizes.map(u64::try_from);
        let negative = |_| "a page header with a negative size".to_owned();
        Ok(Page {
            unpacked: unpacked.map_err(negative)?,
            packed: packed.map_err(negative)?,
            values: values.map_err(negative)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn page(header: &[u8]) -> Result<Page, String> {
        let reader = BufReader::new(Cursor::new(header.to_vec()));
        Compact { reader, at: 0, end: header.len() as u64 }.page()
    }

    #[test]
    fn sizes_are_taken_and_the_rest_is_passed_over() {
        // type 0, unpacked 300, packed 40, a CRC, a data page's header of 7 values.
        let header = [0x15, 0, 0x15, 0xD8, 4, 0x15, 80, 0x15, 2, 0x1C, 0x15, 14, 0x15, 0, 0, 0];
        let Page { unpacked, packed, values } = page(&header).unwrap();
        assert_eq!((unpacked, packed, values), (300, 40, 7));
    }
}
