//! The structure of a sealed segment's file; `docs/FORMAT.md` draws it.
//!
//! A framed header, parts that begin at multiples of 64 bytes, the parts' block checksums, a framed footer with the
//! table of parts, and a tail of 16 bytes that says where the footer is. Everything is under a checksum: blocks
//! under the part's sums, sums under the footer, the footer under its frame (and the manifest knows that one).

use std::path::Path;

use bincode::{Decode, Encode};

use crate::backend::Backend;
use crate::batch::VectorType;
use crate::codec::{self, FrameKind, read_u32, read_u64};
use crate::error::StorageError;

pub(crate) const HEADER: FrameKind = FrameKind { magic: *b"FROMSGMT", version: 1, name: "segment header" };
pub(crate) const FOOTER: FrameKind = FrameKind { magic: *b"FROMFOOT", version: 1, name: "segment footer" };
/// Parts begin at multiples of this, so that vectors can be read in place with any vector instruction.
pub(crate) const ALIGNMENT: u64 = 64;
/// A part is checked in blocks of this size, so that one document does not cost the whole part.
pub(crate) const BLOCK_BYTES: u64 = 64 << 10;
/// Bytes of the tail.
pub(crate) const TAIL_BYTES: usize = 16;
const TAIL_MAGIC: u32 = u32::from_le_bytes(*b"FMSG");

/// What a segment file is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Header {
    pub(crate) collection: u64,
    pub(crate) segment: u64,
    pub(crate) dim: u32,
    pub(crate) vector_type: VectorType,
    pub(crate) feature_dim: u32,
    pub(crate) rows: u32,
    pub(crate) block_bytes: u32,
}

/// Where the parts are.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Footer {
    pub(crate) segment: u64,
    pub(crate) rows: u32,
    pub(crate) parts: Vec<Part>,
}

/// One part of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Part {
    /// A [`PartKind`] as a number: unknown ones are checked but not read.
    pub(crate) kind: u32,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    /// Where the CRC-32C of each block stand, 4 bytes each.
    pub(crate) sums_offset: u64,
    /// CRC-32C of those sums.
    pub(crate) sums_crc: u32,
}

impl Part {
    /// Blocks of the part.
    pub(crate) fn blocks(&self) -> u64 {
        self.bytes.div_ceil(BLOCK_BYTES)
    }
}

/// The parts that this version knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PartKind {
    /// `[rows, dim]` f32 or f16.
    Vectors = 1,
    /// `rows + 1` u64: where each key begins in `Keys`.
    KeyOffsets = 2,
    /// Keys, one after the other.
    Keys = 3,
    /// `rows` u32: rows in the order of their keys.
    KeyOrder = 4,
    /// `rows + 1` u64: where each document begins in `Documents`.
    DocumentOffsets = 5,
    /// Documents as bincode records.
    Documents = 6,
    /// A bit a row: whether it has features. Absent when none has.
    FeatureRows = 7,
    /// `[rows, feature_dim]` f32, zeros where a row has none. Absent when none has.
    Features = 8,
    /// The graph's bytes, the caller's. Absent when the builder made none.
    Graph = 9,
    /// Which rows have which values in their payloads, in the caller's bytes. Absent when the builder made none.
    Payloads = 10,
}

impl PartKind {
    /// All kinds; `kind as usize - 1` is the index here.
    pub(crate) const ALL: [PartKind; 10] = [
        PartKind::Vectors,
        PartKind::KeyOffsets,
        PartKind::Keys,
        PartKind::KeyOrder,
        PartKind::DocumentOffsets,
        PartKind::Documents,
        PartKind::FeatureRows,
        PartKind::Features,
        PartKind::Graph,
        PartKind::Payloads,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            PartKind::Vectors => "vectors",
            PartKind::KeyOffsets => "key offsets",
            PartKind::Keys => "keys",
            PartKind::KeyOrder => "key order",
            PartKind::DocumentOffsets => "document offsets",
            PartKind::Documents => "documents",
            PartKind::FeatureRows => "feature rows",
            PartKind::Features => "features",
            PartKind::Graph => "graph",
            PartKind::Payloads => "payloads",
        }
    }

    /// The length that the part must have; none when any will do.
    pub(crate) fn expected_bytes(self, header: &Header) -> Option<u64> {
        let rows = u64::from(header.rows);
        match self {
            PartKind::Vectors => Some(rows * u64::from(header.dim) * header.vector_type.bytes() as u64),
            PartKind::KeyOffsets | PartKind::DocumentOffsets => Some((rows + 1) * 8),
            PartKind::KeyOrder => Some(rows * 4),
            PartKind::FeatureRows => Some(rows.div_ceil(8)),
            PartKind::Features => Some(rows * u64::from(header.feature_dim) * 4),
            PartKind::Keys | PartKind::Documents | PartKind::Graph | PartKind::Payloads => None,
        }
    }

    /// Whether every segment has it.
    pub(crate) fn is_required(self) -> bool {
        !matches!(self, PartKind::FeatureRows | PartKind::Features | PartKind::Graph | PartKind::Payloads)
    }
}

/// Name of a segment's file.
pub(crate) fn file_name(segment: u64) -> String {
    format!("segment-{segment:016x}.fms")
}

/// The id that a file's name tells, when it is a segment's name.
pub(crate) fn id_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("segment-")?.strip_suffix(".fms")?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

/// The last bytes of a file whose footer is at `footer_offset`.
pub(crate) fn tail(footer_offset: u64) -> [u8; TAIL_BYTES] {
    let mut tail = [0; TAIL_BYTES];
    tail[..8].copy_from_slice(&footer_offset.to_le_bytes());
    tail[8..12].copy_from_slice(&TAIL_MAGIC.to_le_bytes());
    let crc = crc32c::crc32c(&tail[..12]);
    tail[12..].copy_from_slice(&crc.to_le_bytes());
    tail
}

/// Where the footer of the file is.
pub(crate) fn read_tail(path: &Path, file: &[u8]) -> Result<usize, StorageError> {
    let at = file.len().saturating_sub(TAIL_BYTES);
    let tail = &file[at..];
    let good = tail.len() == TAIL_BYTES
        && read_u32(tail, 8) == TAIL_MAGIC
        && read_u32(tail, 12) == crc32c::crc32c(&tail[..12]);
    let offset = if good { usize::try_from(read_u64(tail, 0)).ok() } else { None };
    match offset {
        Some(offset) if offset <= at => Ok(offset),
        _ => Err(StorageError::damaged(path, at as u64, "segment tail: bad checksum")),
    }
}

/// Reads and checks header and footer of a segment; returns them with the footer's checksum.
pub(crate) fn read(path: &Path, file: &[u8]) -> Result<(Header, Footer, u32), StorageError> {
    let header: Header = codec::unframe(HEADER, path, file, 0)?.value;
    let footer_offset = read_tail(path, file)?;
    let footer = codec::unframe::<Footer>(FOOTER, path, file, footer_offset)?;
    let damaged = |what: String| StorageError::damaged(path, footer_offset as u64, what);
    if footer_offset + footer.bytes + TAIL_BYTES != file.len() {
        return Err(damaged("segment footer: not followed by the tail".into()));
    }
    let (crc, footer) = (footer.crc, footer.value);
    check_footer(&header, &footer, footer_offset as u64, &damaged)?;
    if u64::from(header.block_bytes) != BLOCK_BYTES {
        return Err(StorageError::damaged(path, 0, format!("segment header: blocks of {}", header.block_bytes)));
    }
    Ok((header, footer, crc))
}

/// The header of a segment's file, when it is there and good.
pub(crate) fn read_header(backend: &dyn Backend, path: &Path) -> Result<Option<Header>, StorageError> {
    match backend.map(path) {
        Ok(mapping) => Ok(codec::unframe(HEADER, path, mapping.bytes(), 0).ok().map(|unframed| unframed.value)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StorageError::io(path, "map", error)),
    }
}

/// The last footer in a file that may be damaged elsewhere: one that belongs to `header` and has the checksum `crc`,
/// when that is known. Footers begin at multiples of 64, so that it is found without the tail.
pub(crate) fn find_footer(path: &Path, file: &[u8], header: &Header, crc: Option<u32>) -> Option<(Footer, u32)> {
    let damaged = |what: String| StorageError::damaged(path, 0, what);
    let places = (0..file.len().div_ceil(ALIGNMENT as usize)).rev().map(|place| place * ALIGNMENT as usize);
    places.filter(|&at| file[at..].starts_with(&FOOTER.magic)).find_map(|at| {
        let footer = codec::unframe::<Footer>(FOOTER, path, file, at).ok()?;
        let is_it = crc.is_none_or(|crc| crc == footer.crc);
        (is_it && check_footer(header, &footer.value, at as u64, &damaged).is_ok())
            .then_some((footer.value, footer.crc))
    })
}

fn check_footer(
    header: &Header,
    footer: &Footer,
    footer_offset: u64,
    damaged: &dyn Fn(String) -> StorageError,
) -> Result<(), StorageError> {
    if footer.segment != header.segment || footer.rows != header.rows {
        return Err(damaged("segment footer: of another segment than the header".into()));
    }
    for part in &footer.parts {
        let inside = |offset: u64, bytes: u64| offset.checked_add(bytes).is_some_and(|end| end <= footer_offset);
        let sums_inside = inside(part.sums_offset, part.blocks().saturating_mul(4));
        if part.offset % ALIGNMENT != 0 || !inside(part.offset, part.bytes) || !sums_inside {
            return Err(damaged(format!("segment footer: part {} lies outside of the file", part.kind)));
        }
    }
    check_parts(header, footer, damaged)
}

fn check_parts(header: &Header, footer: &Footer, damaged: &dyn Fn(String) -> StorageError) -> Result<(), StorageError> {
    for kind in PartKind::ALL {
        let mut parts = footer.parts.iter().filter(|part| part.kind == kind as u32);
        match (parts.next(), parts.next()) {
            (None, _) if kind.is_required() => {
                return Err(damaged(format!("segment footer: no part of {}", kind.name())));
            }
            (Some(_), Some(_)) => {
                return Err(damaged(format!("segment footer: {} twice", kind.name())));
            }
            (Some(part), None) if kind.expected_bytes(header).is_some_and(|bytes| bytes != part.bytes) => {
                return Err(damaged(format!("segment footer: {} of {} bytes", kind.name(), part.bytes)));
            }
            _ => {}
        }
    }
    Ok(())
}
